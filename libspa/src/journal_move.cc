// SPDX-License-Identifier: Apache-2.0
#include "journal_move.h"

#include <algorithm>

namespace natt::spa {

JournalMove::State JournalMove::step(std::size_t budget) {
  to_.take_plan(from_);
  for (std::size_t at = 0; at < kJournalSegments; ++at) {
    const JournalWriter::Segment& source = from_.segment(at);
    if (source.slot == kNoSlot) continue;
    if (followed_[at].slot != source.slot) followed_[at] = {source.slot, 0, source.seed};
    move(at, budget);
    if (followed_[at].count < source.count) return State::kMoving;
    if (followed_[at].chain != source.chain) return State::kDamaged;
  }
  return State::kLevel;
}

void JournalMove::move(std::size_t at, std::size_t& budget) {
  Followed& followed = followed_[at];
  for (; followed.count < from_.segment(at).count && budget > 0; ++followed.count, --budget) {
    ReplayRecord record{{followed.slot}, {}};
    const auto opening = from_.opening(at, followed.count);
    std::copy(opening.begin(), opening.end(), record.opening.begin());
    followed.chain = next_chain(from_.key(), followed.chain, followed.count, record.opening);
    // `to` is larger: never full.
    static_cast<void>(to_.append(record));
  }
}

}  // namespace natt::spa
