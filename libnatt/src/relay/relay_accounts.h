// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who uses how much of the relay, over UDP and TCP together: the quotas of sessions and
// bits/s of clients, sites and the broker, and what health looks at. A session holds a seat
// from when it may relay; it counts as load while it does.
//
// Resource type, one thread.

#include <cstdint>
#include <optional>

#include <natt/identity.h>
#include <natt/relay_server.h>
#include <natt/time.h>
#include <natt/token_bucket.h>

#include "src/relay/account_table.h"
#include "src/relay/throughput_window.h"

namespace natt {

class RelayAccounts {
 public:
  // Valid until it is given back.
  struct Seat {
    relay::Account* client = nullptr;
    relay::Account* site = nullptr;
  };

  explicit RelayAccounts(const RelayServerOptions& options);
  RelayAccounts(const RelayAccounts&) = delete;
  RelayAccounts& operator=(const RelayAccounts&) = delete;

  // Absent: a quota of sessions is used up.
  [[nodiscard]] std::optional<Seat> take_seat(const Identity& client);
  void give_seat_back(const Seat& seat);
  // The session relays from now on, until it does no more.
  void begin(Instant now);
  void end() { --relaying_; }

  // Whether so many octets may pass now.
  [[nodiscard]] bool take(Instant now, const Seat& seat, std::uint64_t octets) {
    const std::uint64_t bits = octets * 8;
    if (!broker_rate_.take(now, bits)) return false;
    return (!clients_.limits_rate() && !sites_.limits_rate()) || take_of_seat(now, seat, bits);
  }
  // What take() allowed and did not pass.
  void give_back(const Seat& seat, std::uint64_t octets);
  // That so many have passed.
  void count(std::uint64_t octets) { octets_ += octets; }

  // To be called about once a second while next_sample() is there.
  void sample(Instant now) { throughput_.sample(now, octets_); }
  [[nodiscard]] std::optional<Instant> next_sample() const;

  // At once, for existing sessions too.
  void set_quotas(const RelayQuota& per_client, const RelayQuota& per_site, const RelayQuota& broker);
  void set_thresholds(std::uint64_t sessions, std::uint64_t bits_per_second);
  [[nodiscard]] RelayLoad load() const;

 private:
  [[nodiscard]] bool take_of_seat(Instant now, const Seat& seat, std::uint64_t bits);

  Duration burst_;
  RelayQuota broker_;
  relay::AccountTable clients_;
  relay::AccountTable sites_;
  TokenBucket broker_rate_;
  std::uint64_t sessions_threshold_;
  std::uint64_t throughput_threshold_;
  std::uint64_t seats_ = 0;
  std::uint64_t relaying_ = 0;
  std::uint64_t octets_ = 0;
  relay::ThroughputWindow throughput_;
};

}  // namespace natt
