// SPDX-License-Identifier: Apache-2.0
#include "src/masque/datagram_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace natt::tunnel {

std::optional<std::size_t> DatagramQueue::place_for(std::size_t need) {
  if (wrapped_) return need <= begin_ - end_ ? std::optional(end_) : std::nullopt;
  if (need <= ring_.size() - end_) return end_;
  if (need > begin_) return std::nullopt;
  wrap_ = end_;
  wrapped_ = true;
  return 0;
}

bool DatagramQueue::push(StreamId stream, ByteView first, ByteView second) {
  if (ring_.empty()) ring_.resize(capacity_);
  const Header header{stream, first.size() + second.size()};
  const auto at = place_for(sizeof(header) + header.size);
  if (!at) return false;

  std::memcpy(ring_.data() + *at, &header, sizeof(header));
  std::uint8_t* const payload = ring_.data() + *at + sizeof(header);
  std::copy(first.begin(), first.end(), payload);
  std::copy(second.begin(), second.end(), payload + first.size());
  end_ = *at + sizeof(header) + header.size;
  ++count_;
  return true;
}

std::optional<Datagram> DatagramQueue::front() const {
  if (empty()) return std::nullopt;
  Header header;
  std::memcpy(&header, ring_.data() + begin_, sizeof(header));
  return Datagram{header.stream, ByteView{ring_}.subspan(begin_ + sizeof(header), header.size)};
}

void DatagramQueue::pop() {
  const auto oldest = front();
  if (!oldest) return;
  begin_ += sizeof(Header) + oldest->payload.size();
  --count_;
  if (wrapped_ && begin_ == wrap_) {
    begin_ = 0;
    wrapped_ = false;
  }
  if (count_ == 0) begin_ = end_ = 0;
}

std::optional<Datagram> DatagramQueue::poll() {
  if (std::exchange(given_, false)) pop();
  const auto oldest = front();
  given_ = oldest.has_value();
  return oldest;
}

}  // namespace natt::tunnel
