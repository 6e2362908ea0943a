// SPDX-License-Identifier: Apache-2.0
#pragma once

// Hints by number, as a verifier of many devices tells them.

#include <time.h>

#include <array>
#include <chrono>
#include <cstdint>

#include <natt/bytes.h>
#include <natt/spa/hint_listener.h>

namespace natt::test {

[[nodiscard]] inline std::array<std::uint8_t, 8> hint_of(std::uint64_t number) {
  std::array<std::uint8_t, 8> hint{};
  store_be(hint.data(), (number + 1) * 0x9e3779b97f4a7c15);
  return hint;
}

inline void add_hints(spa::HintListener& listener, spa::Slot slot, std::uint64_t first, std::uint64_t count) {
  const std::array<std::uint8_t, 16> key{};
  for (std::uint64_t i = first; i < first + count; ++i) listener.on_hint_added(slot, hint_of(i), key);
}

// What a loop pays, whoever else keeps the machine busy.
[[nodiscard]] inline std::chrono::nanoseconds cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace natt::test
