// SPDX-License-Identifier: Apache-2.0
#include <natt/probe_budget.h>

#include <algorithm>
#include <numeric>

namespace natt {
namespace {

constexpr Duration kSlotLength = std::chrono::seconds(10);

}  // namespace

std::int64_t ProbeBudget::slot_of(Instant at) { return at.time_since_epoch() / kSlotLength; }

// Moves the window so that `slot` is its newest; what falls out of it does not count any more.
void ProbeBudget::advance(Destination& destination, std::int64_t slot) {
  const std::int64_t steps = std::min<std::int64_t>(slot - destination.newest_slot, kSlots);
  for (std::int64_t i = 1; i <= steps; ++i) {
    destination.counts[static_cast<std::size_t>(slot - steps + i) % kSlots] = 0;
  }
  destination.newest_slot = std::max(destination.newest_slot, slot);
}

void ProbeBudget::refill(Instant now) {
  if (refilled_ && now > *refilled_) {
    const double elapsed = std::chrono::duration<double>(now - *refilled_).count();
    tokens_ = std::min<double>(options_.burst, tokens_ + elapsed * options_.refill_per_second);
  }
  refilled_ = now;
}

void ProbeBudget::drop_expired(Instant now) {
  if (swept_ && now - *swept_ < kSlotLength) return;
  swept_ = now;
  const std::int64_t oldest = slot_of(now) - static_cast<std::int64_t>(kSlots);
  std::erase_if(destinations_, [&](const auto& item) { return item.second.newest_slot <= oldest; });
}

ProbeBudget::Destination* ProbeBudget::destination(Instant now, const IpAddress& ip) {
  drop_expired(now);
  auto found = destinations_.find(ip);
  if (found == destinations_.end()) {
    if (destinations_.size() >= kMaxDestinations) return nullptr;
    Destination fresh;
    fresh.newest_slot = slot_of(now);
    found = destinations_.emplace(ip, fresh).first;
  }
  advance(found->second, slot_of(now));
  return &found->second;
}

bool ProbeBudget::take(Instant now, const IpAddress& ip) {
  refill(now);
  if (tokens_ < 1) return false;
  Destination* found = destination(now, ip);
  if (found == nullptr) return false;
  const std::uint32_t sent = std::accumulate(found->counts.begin(), found->counts.end(), 0U);
  if (sent >= options_.unanswered_per_ip) return false;
  ++found->counts[static_cast<std::size_t>(slot_of(now)) % kSlots];
  tokens_ -= 1;
  return true;
}

void ProbeBudget::give_back(Instant now, const IpAddress& ip, Instant sent_at) {
  const auto found = destinations_.find(ip);
  if (found == destinations_.end()) return;
  advance(found->second, slot_of(now));
  const std::int64_t slot = slot_of(sent_at);
  if (found->second.newest_slot - slot >= static_cast<std::int64_t>(kSlots)) return;
  std::uint16_t& count = found->second.counts[static_cast<std::size_t>(slot) % kSlots];
  if (count > 0) --count;
}

Instant ProbeBudget::next_token(Instant now) const {
  const double elapsed = refilled_ && now > *refilled_ ? std::chrono::duration<double>(now - *refilled_).count() : 0;
  const double missing = 1 - (tokens_ + elapsed * options_.refill_per_second);
  if (missing <= 0) return now;
  return now +
         std::chrono::duration_cast<Duration>(std::chrono::duration<double>(missing / options_.refill_per_second)) +
         std::chrono::microseconds(1);
}

std::uint32_t ProbeBudget::unanswered(Instant now, const IpAddress& ip) const {
  const auto found = destinations_.find(ip);
  if (found == destinations_.end()) return 0;
  Destination destination = found->second;
  advance(destination, slot_of(now));
  return std::accumulate(destination.counts.begin(), destination.counts.end(), 0U);
}

}  // namespace natt
