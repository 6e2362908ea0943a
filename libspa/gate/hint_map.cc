// SPDX-License-Identifier: Apache-2.0
#include "gate/hint_map.h"

#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <natt/secret.h>

namespace natt::spa::gate {

void HintMap::add(HintGroup& group, const Hint& hint, std::span<const std::uint8_t, 16> prefilter_key) {
  const std::size_t at = staged_hints_.size();
  staged_hints_.push_back(hint);
  staged_values_[at] = {};
  std::memcpy(&staged_values_[at].prefilter, prefilter_key.data(), prefilter_key.size());
  staged_groups_[at] = &group;
  group.hints.push_back(hint);
  if (staged_hints_.size() == kBatch) flush();
}

void HintMap::remove(const Hint& hint) {
  if (!staged_hints_.empty()) write_staged();
  if (bpf_map_delete_elem(map_, hint.data()) == 0) --size_;
}

void HintMap::retire(HintGroup& group) {
  if (!staged_hints_.empty()) write_staged();
  lost_ -= group.lost;
  retired_.push_back(std::move(group));
}

// As much room is made as is needed, so that the map never holds more than the slots that count.
void HintMap::flush() {
  remove_retired();
  if (!staged_hints_.empty()) write_staged();
}

void HintMap::write_staged() {
  auto count = static_cast<std::uint32_t>(staged_hints_.size());
  const bool written =
      bpf_map_update_batch(map_, staged_hints_.data(), staged_values_.data(), &count, nullptr) == 0;
  const std::size_t done = written ? staged_hints_.size() : std::min<std::size_t>(count, staged_hints_.size());
  size_ += done;
  lose_staged(done);
  wipe_staged();
}

// What did not fit: the map is full, and so it is for the rest of the batch.
void HintMap::lose_staged(std::size_t from) {
  for (std::size_t i = from; i < staged_hints_.size(); ++i) {
    ++staged_groups_[i]->lost;
    ++lost_;
  }
}

void HintMap::wipe_staged() {
  secure_zero({reinterpret_cast<std::uint8_t*>(staged_values_.data()), staged_hints_.size() * sizeof(gate_hint)});
  staged_hints_.clear();
}

void HintMap::remove_retired() {
  for (std::size_t left = kBatch; left > 0 && !retired_.empty();) {
    std::vector<Hint>& hints = retired_.front().hints;
    if (hints.empty()) {
      retired_.pop_front();
      continue;
    }
    const std::size_t piece = std::min(left, hints.size());
    auto count = static_cast<std::uint32_t>(piece);
    Hint* first = hints.data() + (hints.size() - piece);
    const bool all = bpf_map_delete_batch(map_, first, &count, nullptr) == 0;
    const std::size_t done = all ? piece : std::min<std::size_t>(count, piece);
    size_ -= done;
    // It stops at one that is not there: removed with its device, or lost. That one is skipped.
    const std::size_t taken = std::min(piece, all ? done : done + 1);
    std::copy(first + taken, first + piece, first);
    hints.resize(hints.size() - taken);
    left -= taken;
  }
}

}  // namespace natt::spa::gate
