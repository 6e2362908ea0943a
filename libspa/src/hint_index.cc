// SPDX-License-Identifier: Apache-2.0
#include "hint_index.h"

#include <natt/spa/verifier.h>

namespace natt::spa {
namespace {

// Wall clocks that are disciplined move back by milliseconds; up to this nothing is rebuilt, and frames of the slot
// that is gone stay refused.
constexpr std::chrono::seconds kJitter{2};

}  // namespace

HintIndex::Advance HintIndex::advance(WallTime wall_now) {
  Advance result;
  const Slot wanted = Slot::of(wall_now - Verifier::kMaxSkew);
  if (first_ == wanted) return result;
  if (first_ && wanted < *first_) {
    if (Slot::of(wall_now - Verifier::kMaxSkew + kJitter) >= *first_) return result;
    result.backwards = true;
  }
  const bool initial = !first_.has_value();
  result.stepped = !initial && wanted != first_->plus(1);
  first_ = wanted;
  for (std::size_t i = 0; i < kSlots; ++i) {
    const Slot slot = wanted.plus(i);
    if (initial) {
      start(i, slot);
      result.replaced[i] = true;
    } else if (!table_of(slot)) {
      result.replaced[retire_unwanted(slot)] = true;
    }
  }
  return result;
}

// Gives `slot` the table of one that is not covered any more; there is one, as there are as many tables as slots.
std::size_t HintIndex::retire_unwanted(Slot slot) {
  std::size_t at = 0;
  while (tables_[at].slot() >= *first_ && tables_[at].slot() < first_->plus(kSlots)) ++at;
  if (listener_ != nullptr) listener_->on_slot_retired(tables_[at].slot());
  start(at, slot);
  return at;
}

void HintIndex::start(std::size_t table, Slot slot) {
  tables_[table].reset(slot, credentials_.extent());
  built_[table] = 0;
  revisited_[table] = history_.contains(slot);
  history_.add(slot);
}

void HintIndex::build_piece(WallTime wall_now) {
  const auto table = next_to_build(wall_now);
  if (!table) return;
  const std::size_t end = std::min(credentials_.extent(), built_[*table] + kPiece);
  for (; built_[*table] < end; ++built_[*table]) {
    if (credentials_.at(built_[*table]).alive) insert(*table, built_[*table]);
  }
}

std::optional<std::size_t> HintIndex::next_to_build(WallTime wall_now) const {
  std::optional<std::size_t> found;
  if (!first_) return found;
  const Slot current = Slot::of(wall_now);
  for (std::size_t i = 0; i < kSlots; ++i) {
    if (built_[i] >= credentials_.extent()) continue;
    if (!found || tables_[i].slot() == current) found = i;
  }
  return found;
}

bool HintIndex::complete() const {
  return first_ && std::all_of(built_.begin(), built_.end(),
                               [this](CredentialIndex built) { return built >= credentials_.extent(); });
}

void HintIndex::add(CredentialIndex credential) {
  if (!first_) return;
  for (std::size_t i = 0; i < kSlots; ++i) {
    // At the end of what is built the credential just extends it; beyond, building will come to it.
    if (credential == built_[i]) ++built_[i];
    if (credential < built_[i]) insert(i, credential);
  }
}

void HintIndex::remove(CredentialIndex credential) {
  for (std::size_t i = 0; i < kSlots; ++i) {
    if (listener_ != nullptr && credential < built_[i]) {
      std::array<std::uint8_t, 8> hint{};
      store_be(hint.data(), tables_[i].record(credential).hint);
      listener_->on_hint_removed(tables_[i].slot(), hint);
    }
    tables_[i].erase(credential);
  }
}

void HintIndex::insert(std::size_t table, CredentialIndex credential) {
  const SlotKeys keys = credentials_.slot_keys(credential, tables_[table].slot());
  tables_[table].insert(credential, credentials_.at(credential), keys);
  if (listener_ != nullptr) listener_->on_hint_added(tables_[table].slot(), keys.hint, keys.prefilter.view());
}

void HintIndex::prefetch(std::uint64_t hint) const {
  for (const SlotTable& table : tables_) table.prefetch(hint);
}

HintIndex::Hit HintIndex::guess(std::uint64_t hint) const {
  for (std::size_t i = 0, table = likely_; i < kSlots; ++i, table = table + 1 == kSlots ? 0 : table + 1) {
    const CredentialIndex credential = tables_[table].guess(hint);
    if (credential == kNoCredential) continue;
    tables_[table].prefetch_record(credential);
    return {table, credential};
  }
  return {};
}

HintIndex::Hit HintIndex::confirm(std::uint64_t hint, const Hit& guess) {
  if (guess.credential == kNoCredential) return guess;
  if (tables_[guess.table].record(guess.credential).hint == hint) {
    likely_ = guess.table;
    return guess;
  }
  for (std::size_t i = 0; i < kSlots; ++i) {
    const CredentialIndex credential = tables_[i].find(hint);
    if (credential != kNoCredential) return {i, credential};
  }
  return {};
}

std::optional<std::size_t> HintIndex::table_of(Slot slot) const {
  for (std::size_t i = 0; i < kSlots; ++i) {
    if (first_ && tables_[i].slot() == slot) return i;
  }
  return std::nullopt;
}

bool HintIndex::locked() const {
  return std::all_of(tables_.begin(), tables_.end(), [](const SlotTable& table) { return table.locked(); });
}

}  // namespace natt::spa
