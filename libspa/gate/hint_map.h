// SPDX-License-Identifier: Apache-2.0
#pragma once

// The kernel's table of hints, written in batches: a system call for each of the 300,000
// hints of 100,000 devices would stall the loop. Hints of a slot that is over are taken out
// in pieces as new ones come in; until then they let through what user space refuses.
// Resource class; the map outlives it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "gate/bpf/gate_abi.h"

namespace natt::spa::gate {

using Hint = std::array<std::uint8_t, 8>;

// The hints that one verifier has given for one slot.
struct HintGroup {
  std::uint64_t slot = 0;
  std::vector<Hint> hints;
  std::size_t lost = 0;  // of these, how many did not fit
};

class HintMap {
 public:
  // Entries written or removed by one system call: below half a millisecond.
  static constexpr std::size_t kBatch = 1024;

  explicit HintMap(int map) : map_(map) { staged_hints_.reserve(kBatch); }
  ~HintMap() { wipe_staged(); }
  HintMap(const HintMap&) = delete;
  HintMap& operator=(const HintMap&) = delete;

  // `group` outlives the entry's way into the kernel: the next flush or retire.
  void add(HintGroup& group, const Hint& hint, std::span<const std::uint8_t, 16> prefilter_key);
  // Gone when this returns.
  void remove(const Hint& hint);
  // None of the group is needed any more; what it holds is taken.
  void retire(HintGroup& group);
  void flush();

  [[nodiscard]] std::size_t size() const { return size_; }
  // Entries that did not fit, of groups that still count.
  [[nodiscard]] std::size_t lost() const { return lost_; }

 private:
  void write_staged();
  void lose_staged(std::size_t from);
  void remove_retired();
  void wipe_staged();

  int map_;
  std::vector<Hint> staged_hints_;
  std::array<gate_hint, kBatch> staged_values_{};
  std::array<HintGroup*, kBatch> staged_groups_{};
  std::deque<HintGroup> retired_;
  std::size_t size_ = 0;
  std::size_t lost_ = 0;
};

}  // namespace natt::spa::gate
