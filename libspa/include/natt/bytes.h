// SPDX-License-Identifier: Apache-2.0
#pragma once

// Views of bytes and big-endian (network order) access to them. Octets are
// `std::uint8_t`, not `std::byte`: every C library below speaks it, and a cast at
// each call would hide more than the stronger type shows.

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace natt {

using ByteView = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;
using ByteBuffer = std::vector<std::uint8_t>;

// `at` has to hold at least sizeof(T) octets.
template <std::unsigned_integral T>
[[nodiscard]] constexpr T load_be(const std::uint8_t* at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>((static_cast<std::uint64_t>(value) << 8) | at[i]);
  return value;
}

template <std::unsigned_integral T>
constexpr void store_be(std::uint8_t* at, T value) {
  for (std::size_t i = sizeof(T); i-- > 0;) {
    at[i] = static_cast<std::uint8_t>(value & 0xff);
    value = static_cast<T>(static_cast<std::uint64_t>(value) >> 8);
  }
}

[[nodiscard]] inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

[[nodiscard]] inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Reads forward through a view. A read past the end returns nothing and leaves
// the reader where it was.
class ByteReader {
 public:
  explicit ByteReader(ByteView bytes) : rest_(bytes) {}

  template <std::unsigned_integral T>
  [[nodiscard]] std::optional<T> read() {
    if (rest_.size() < sizeof(T)) return std::nullopt;
    const T value = load_be<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }

  // The view lives as long as the bytes given to the constructor.
  [[nodiscard]] std::optional<ByteView> read_bytes(std::size_t count) {
    if (rest_.size() < count) return std::nullopt;
    const ByteView taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }

  [[nodiscard]] ByteView rest() const { return rest_; }
  [[nodiscard]] bool empty() const { return rest_.empty(); }

 private:
  ByteView rest_;
};

// Appends to a buffer it borrows; the buffer has to outlive it.
class ByteWriter {
 public:
  explicit ByteWriter(ByteBuffer& out) : out_(out) {}

  template <std::unsigned_integral T>
  void write(T value) {
    std::array<std::uint8_t, sizeof(T)> bytes{};
    store_be(bytes.data(), value);
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  void write_bytes(ByteView bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }

 private:
  ByteBuffer& out_;
};

}  // namespace natt
