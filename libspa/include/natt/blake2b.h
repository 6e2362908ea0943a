// SPDX-License-Identifier: Apache-2.0
#pragma once

// BLAKE2b (RFC 7693) with the output size as a template argument. The size enters
// the hash, so blake2b<16> is not a prefix of blake2b<32>. Pure functions, usable
// from any thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include <natt/bytes.h>

namespace natt {

namespace detail {
// `out` 16 to 64 octets, `key` empty or 16 to 64: RFC 7693 allows less, libsodium and good sense do not.
void blake2b_into(MutableBytes out, ByteView key, std::initializer_list<ByteView> parts);
}  // namespace detail

// The hash of the parts one after the other, as if they were one message. The parts
// carry no length of their own: where one has a variable size, let it be the last.
template <std::size_t N>
requires(N >= 16 && N <= 64) [[nodiscard]] std::array<std::uint8_t, N> blake2b(std::initializer_list<ByteView> parts) {
  std::array<std::uint8_t, N> out{};
  detail::blake2b_into(out, {}, parts);
  return out;
}

template <std::size_t N>
requires(N >= 16 && N <= 64) [[nodiscard]] std::array<std::uint8_t, N> blake2b(ByteView message) {
  return blake2b<N>({message});
}

// Keyed, RFC 7693 section 2.9: a MAC and a pseudo-random function. `key` has 16 to 64 octets.
template <std::size_t N>
requires(N >= 16 && N <= 64)
    [[nodiscard]] std::array<std::uint8_t, N> blake2b_keyed(ByteView key, std::initializer_list<ByteView> parts) {
  std::array<std::uint8_t, N> out{};
  detail::blake2b_into(out, key, parts);
  return out;
}

template <std::size_t N>
requires(N >= 16 && N <= 64) [[nodiscard]] std::array<std::uint8_t, N> blake2b_keyed(ByteView key, ByteView message) {
  return blake2b_keyed<N>(key, {message});
}

}  // namespace natt
