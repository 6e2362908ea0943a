// SPDX-License-Identifier: Apache-2.0
#pragma once

// How much an end may send to addresses that have not answered: the last line of
// defence when signaling lies (DESIGN section 7). At most 50 unanswered packets per
// IP in any 60 s over all sessions, at most 500 packets in any second in all.
//
// Value type of one loop's thread. Memory is bounded by the rate: an IP is kept for as
// long as its packets count, so the table holds at most kMaxDestinations.

#include <array>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include <natt/address.h>
#include <natt/time.h>

namespace natt {

struct ProbeBudgetOptions {
  std::uint32_t unanswered_per_ip = 50;
  // Burst + refill per second: in any second at most their sum leaves.
  std::uint32_t burst = 100;
  std::uint32_t refill_per_second = 400;
};

class ProbeBudget {
 public:
  // 500 packets/s for the 70 s that a packet counts at most.
  static constexpr std::size_t kMaxDestinations = 35000;

  explicit ProbeBudget(ProbeBudgetOptions options = {}) : options_(options), tokens_(options.burst) {}

  // Takes one packet's share, or refuses and changes nothing.
  [[nodiscard]] bool take(Instant now, const IpAddress& ip);
  // The packet of `sent_at` was answered (authentically) and does not count any more.
  void give_back(Instant now, const IpAddress& ip, Instant sent_at);

  // When the next packet may leave as far as the overall rate is concerned.
  [[nodiscard]] Instant next_token(Instant now) const;
  [[nodiscard]] std::uint32_t unanswered(Instant now, const IpAddress& ip) const;
  [[nodiscard]] std::size_t destination_count() const { return destinations_.size(); }

 private:
  // Counts by 10 s slots: the current one and the six before it cover every 60 s window.
  static constexpr std::size_t kSlots = 7;
  struct Destination {
    std::int64_t newest_slot = 0;
    std::array<std::uint16_t, kSlots> counts{};
  };

  [[nodiscard]] static std::int64_t slot_of(Instant at);
  static void advance(Destination& destination, std::int64_t slot);
  void refill(Instant now);
  [[nodiscard]] Destination* destination(Instant now, const IpAddress& ip);
  void drop_expired(Instant now);

  ProbeBudgetOptions options_;
  std::unordered_map<IpAddress, Destination> destinations_;
  double tokens_;
  std::optional<Instant> refilled_;
  std::optional<Instant> swept_;
};

}  // namespace natt
