// SPDX-License-Identifier: Apache-2.0
#pragma once

// Bytes that the kernel has not taken yet, first in first out. Value type.

#include <natt/bytes.h>

namespace natt::uv {

class WriteQueue {
 public:
  [[nodiscard]] bool empty() const { return head_ == bytes_.size(); }
  [[nodiscard]] std::size_t size() const { return bytes_.size() - head_; }
  [[nodiscard]] ByteView front() const { return ByteView(bytes_).subspan(head_); }

  void push(ByteView bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }

  void pop(std::size_t count) {
    head_ += count;
    if (head_ == bytes_.size()) {
      // A burst must not hold its memory for the life of the connection.
      if (bytes_.capacity() > kKeep) bytes_ = ByteBuffer();
      bytes_.clear();
      head_ = 0;
    } else if (head_ > bytes_.size() / 2) {
      // Moves less than it frees, so each byte moves at most once on average.
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }

  void clear() {
    bytes_ = ByteBuffer();
    head_ = 0;
  }

 private:
  static constexpr std::size_t kKeep = 64 * 1024;
  ByteBuffer bytes_;
  std::size_t head_ = 0;
};

}  // namespace natt::uv
