// SPDX-License-Identifier: Apache-2.0
#pragma once

// The nonces of the last checks that a session accepted. A check that comes twice is
// a copy made on the way (harmless, the first was answered) or a replay from
// somewhere else (RFC 8445 section 19.5.2 knows it as a way to plant candidates). Value type.

#include <algorithm>
#include <array>
#include <cstdint>

namespace natt {

class RecentNonces {
 public:
  // A pair sends 11 checks in its 10 s and then one in 5 s: this covers the tries of four pairs.
  static constexpr std::size_t kRemembered = 48;

  // False when it was there already.
  [[nodiscard]] bool insert(std::uint32_t nonce) {
    const auto end = nonces_.begin() + static_cast<std::ptrdiff_t>(count_);
    if (std::find(nonces_.begin(), end, nonce) != end) return false;
    nonces_[next_] = nonce;
    next_ = (next_ + 1) % kRemembered;
    count_ = std::min(count_ + 1, kRemembered);
    return true;
  }

 private:
  std::array<std::uint32_t, kRemembered> nonces_{};
  std::size_t next_ = 0;
  std::size_t count_ = 0;
};

}  // namespace natt
