// SPDX-License-Identifier: Apache-2.0
#include "src/quic/closing_state.h"

#include <bit>
#include <utility>

namespace natt::tunnel {

void ClosingState::arm(std::size_t size, PathId path, Instant until) {
  size_ = size;
  path_ = path;
  until_ = until;
  due_ = size > 0;
}

// Only on the path it was sent on: another one is not validated, and a copy of a packet from
// elsewhere must not draw an answer.
void ClosingState::handle_packet(PathId path) {
  if (size_ > 0 && path == path_ && std::has_single_bit(++received_)) due_ = true;
}

ByteView ClosingState::take() {
  if (!std::exchange(due_, false)) return {};
  return ByteView{packet_}.first(size_);
}

}  // namespace natt::tunnel
