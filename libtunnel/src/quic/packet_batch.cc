// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/packet_batch.h>

#include <algorithm>

namespace natt::tunnel {

MutableBytes PacketBatch::next_slot(std::size_t largest) {
  if (count_ == 0) return {storage_.data(), std::min(largest, storage_.size())};
  const std::size_t begin = offset(count_);
  if (count_ == kMaxPackets || last_size_ < segment_size_ || begin + segment_size_ > storage_.size()) return {};
  return {storage_.data() + begin, segment_size_};
}

void PacketBatch::push(PathId path, std::uint8_t ecn, std::size_t size) {
  if (count_ == 0) {
    path_ = path;
    ecn_ = ecn;
    segment_size_ = size;
  }
  last_size_ = size;
  ++count_;
}

}  // namespace natt::tunnel
