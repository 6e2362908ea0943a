// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which slots a verifier has been in. A slot that comes again, because the wall clock
// was set, comes without the nonces that were accepted in it the first time.

#include <array>
#include <cstddef>
#include <span>

#include <natt/spa/keys.h>
#include <natt/spa/replay_journal.h>

namespace natt::spa {

class SlotHistory {
 public:
  [[nodiscard]] bool contains(Slot slot) const;
  // A clock that only runs makes one range that grows. Past kMaxRanges the two nearest are joined, and the slots
  // between them count as visited: that errs towards refusing.
  void add(Slot slot);
  // Nothing when the last comes before the first.
  void add(const SlotRange& range);
  // Sorted, neither touching nor overlapping; at most kMaxRanges. Valid until the next add.
  [[nodiscard]] std::span<const SlotRange> ranges() const { return std::span(ranges_).first(count_); }

  static constexpr std::size_t kMaxRanges = 16;

 private:
  // Makes one range of range `at` and the one after it.
  void join(std::size_t at);
  void join_nearest();

  std::array<SlotRange, kMaxRanges + 1> ranges_{};
  std::size_t count_ = 0;
};

}  // namespace natt::spa
