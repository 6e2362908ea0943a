// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which SPA keys to try while a renewal is under way: the verifier says nothing when it does
// not know one yet (its own file came later than its roster) or any more. Pure function.

#include <cstddef>

namespace natt {

// Counted from the newest: 0 is the newest key, 1 the one before.
struct KeyChoice {
  std::size_t own = 0;
  std::size_t theirs = 0;
  friend bool operator==(const KeyChoice&, const KeyChoice&) = default;
};

// For the `attempt`-th try since the last success, from 0: the newest of both ends at every other try, so that a
// verifier that was away is reached at once, and in between the other combinations in turn.
[[nodiscard]] constexpr KeyChoice choose_keys(std::size_t attempt, std::size_t own_keys, std::size_t their_keys) {
  const std::size_t others = own_keys * their_keys - 1;
  if (attempt % 2 == 0 || others == 0) return {};
  const std::size_t combination = 1 + attempt / 2 % others;
  return {combination / their_keys, combination % their_keys};
}

}  // namespace natt
