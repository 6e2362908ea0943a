// SPDX-License-Identifier: Apache-2.0
#pragma once

// How large a flow-control window should be: it doubles each time the application took a
// whole window off, up to a maximum. Over TCP this end knows no round-trip time, so a window
// grows for who keeps taking, whatever the path. Value type.

#include <algorithm>
#include <cstdint>
#include <optional>

namespace natt::tunnel {

class ReceiveWindow {
 public:
  // RFC 9113 section 6.9.1: 2^31 - 1 is the largest window there is.
  static constexpr std::uint64_t kLargest = 0x7fffffff;

  ReceiveWindow(std::uint64_t initial, std::uint64_t max)
      : size_(std::min(initial, kLargest)), max_(std::clamp(max, size_, kLargest)) {}

  [[nodiscard]] std::int32_t size() const { return static_cast<std::int32_t>(size_); }
  // The application took `count` octets off: the new size, when it should grow.
  [[nodiscard]] std::optional<std::int32_t> handle_taken(std::uint64_t count) {
    taken_ += count;
    if (taken_ < size_ || size_ == max_) return std::nullopt;
    taken_ = 0;
    size_ = std::min(size_ * 2, max_);
    return size();
  }

 private:
  std::uint64_t size_;
  std::uint64_t max_;
  std::uint64_t taken_ = 0;
};

}  // namespace natt::tunnel
