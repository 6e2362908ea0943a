// SPDX-License-Identifier: Apache-2.0
#include "slot_history.h"

#include <algorithm>

namespace natt::spa {

bool SlotHistory::contains(Slot slot) const {
  return std::any_of(ranges_.begin(), ranges_.begin() + static_cast<std::ptrdiff_t>(count_),
                     [slot](const SlotRange& range) { return range.first <= slot && slot <= range.last; });
}

void SlotHistory::add(Slot slot) {
  if (!contains(slot)) add(SlotRange{slot, slot});
}

void SlotHistory::add(const SlotRange& range) {
  if (range.last < range.first) return;
  const auto end = ranges_.begin() + static_cast<std::ptrdiff_t>(count_);
  const auto next =
      std::find_if(ranges_.begin(), end, [&range](const SlotRange& other) { return other.first > range.first; });
  std::move_backward(next, end, end + 1);
  *next = range;
  ++count_;
  std::size_t i = 0;
  while (i + 1 < count_) {
    if (ranges_[i + 1].first <= ranges_[i].last || ranges_[i].last.plus(1) == ranges_[i + 1].first) {
      join(i);
    } else {
      ++i;
    }
  }
  if (count_ > kMaxRanges) join_nearest();
}

void SlotHistory::join_nearest() {
  std::size_t nearest = 0;
  const auto gap = [this](std::size_t i) { return ranges_[i + 1].first.number - ranges_[i].last.number; };
  for (std::size_t i = 1; i + 1 < count_; ++i) {
    if (gap(i) < gap(nearest)) nearest = i;
  }
  join(nearest);
}

void SlotHistory::join(std::size_t at) {
  ranges_[at].last = std::max(ranges_[at].last, ranges_[at + 1].last);
  const auto rest = ranges_.begin() + static_cast<std::ptrdiff_t>(at);
  std::move(rest + 2, ranges_.begin() + static_cast<std::ptrdiff_t>(count_), rest + 1);
  --count_;
}

}  // namespace natt::spa
