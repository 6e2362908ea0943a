// SPDX-License-Identifier: Apache-2.0
#pragma once

// What one verifier tells about its hints, sorted by slot. Resource class; the table outlives
// it.

#include <algorithm>
#include <list>

#include <natt/spa/hint_listener.h>

#include "gate/hint_table.h"

namespace natt::spa::gate {

class VerifierHints final : public HintListener {
 public:
  explicit VerifierHints(HintTable& table) : table_(table) {}
  VerifierHints(const VerifierHints&) = delete;
  VerifierHints& operator=(const VerifierHints&) = delete;

  void on_hint_added(Slot slot, const Hint& hint,
                     std::span<const std::uint8_t, 16> prefilter_key) noexcept override {
    table_.add(group_of(slot), hint, prefilter_key);
  }
  void on_hint_removed(Slot, const Hint& hint) noexcept override { table_.remove(hint); }
  void on_slot_retired(Slot slot) noexcept override {
    const auto found = find(slot);
    if (found == groups_.end()) return;
    table_.retire(*found);
    groups_.erase(found);
  }

 private:
  [[nodiscard]] std::list<HintGroup>::iterator find(Slot slot) {
    return std::find_if(groups_.begin(), groups_.end(), [slot](auto& group) { return group.slot == slot.number; });
  }
  [[nodiscard]] HintGroup& group_of(Slot slot) {
    const auto found = find(slot);
    if (found != groups_.end()) return *found;
    table_.forget_retired(this, slot.number);  // the clock was set back
    return groups_.emplace_back(HintGroup{.owner = this, .slot = slot.number, .hints = {}});
  }

  HintTable& table_;
  std::list<HintGroup> groups_;  // three, of the slots that count
};

}  // namespace natt::spa::gate
