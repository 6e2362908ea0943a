// SPDX-License-Identifier: Apache-2.0
#pragma once

// Key material. Wiped when destroyed or moved from, compared in constant time,
// and without any way to print it.

#include <array>
#include <cstddef>
#include <cstdint>

#include <natt/bytes.h>

namespace natt {

// Not removed by the optimiser.
void secure_zero(MutableBytes bytes);
// Constant time in the contents; false when the sizes differ.
[[nodiscard]] bool constant_time_equal(ByteView a, ByteView b);

template <std::size_t N>
class Secret {
 public:
  static constexpr std::size_t kSize = N;

  Secret() = default;
  explicit Secret(std::span<const std::uint8_t, N> bytes) { std::copy(bytes.begin(), bytes.end(), bytes_.begin()); }
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { secure_zero(other.bytes_); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      secure_zero(other.bytes_);
    }
    return *this;
  }
  ~Secret() { secure_zero(bytes_); }

  [[nodiscard]] std::span<const std::uint8_t, N> view() const { return bytes_; }
  [[nodiscard]] std::span<std::uint8_t, N> mutable_view() { return bytes_; }
  [[nodiscard]] const std::uint8_t* data() const { return bytes_.data(); }
  [[nodiscard]] std::uint8_t* data() { return bytes_.data(); }

  friend bool operator==(const Secret& a, const Secret& b) { return constant_time_equal(a.bytes_, b.bytes_); }

 private:
  std::array<std::uint8_t, N> bytes_{};
};

}  // namespace natt
