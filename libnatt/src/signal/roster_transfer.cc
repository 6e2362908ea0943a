// SPDX-License-Identifier: Apache-2.0
#include "src/signal/roster_transfer.h"

#include <algorithm>
#include <utility>

#include <natt/errc.h>

namespace natt {

std::optional<RosterChunk> RosterPush::next_chunk(const RosterStore& store, RosterView view) {
  const ByteBuffer& document = view == RosterView::kFull ? store.documents().full : store.documents().client;
  if (store.number() != number_) {
    number_ = store.number();
    offset_ = 0;
  }
  if (offset_ >= document.size()) {
    active_ = false;
    return std::nullopt;
  }
  const ByteView piece = ByteView(document).subspan(offset_).first(std::min(kChunkSize, document.size() - offset_));
  RosterChunk chunk{.number = number_,
                    .view = view,
                    .offset = static_cast<std::uint32_t>(offset_),
                    .total = static_cast<std::uint32_t>(document.size()),
                    .bytes = ByteBuffer(piece.begin(), piece.end())};
  offset_ += piece.size();
  return chunk;
}

Result<std::optional<RosterDocument>> RosterAssembler::handle_chunk(RosterChunk chunk) {
  if (chunk.offset == 0) {
    document_ = {.number = chunk.number, .view = chunk.view, .bytes = {}};
    total_ = chunk.total;
  }
  if (chunk.offset != document_.bytes.size() || chunk.total != total_ || chunk.number != document_.number ||
      chunk.view != document_.view) {
    return fail(Errc::kMalformed, "a piece of a roster does not continue the one before");
  }
  document_.bytes.insert(document_.bytes.end(), chunk.bytes.begin(), chunk.bytes.end());
  if (document_.bytes.size() < total_) return std::optional<RosterDocument>();
  total_ = 0;
  return std::optional(std::exchange(document_, {}));
}

}  // namespace natt
