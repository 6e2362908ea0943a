// SPDX-License-Identifier: Apache-2.0
#include "src/relay/relay_accounts.h"

namespace natt {

RelayAccounts::RelayAccounts(const RelayServerOptions& options)
    : burst_(options.burst),
      broker_(options.broker),
      clients_(options.per_client, options.burst),
      sites_(options.per_site, options.burst),
      broker_rate_(relay::make_rate(options.broker, options.burst)),
      sessions_threshold_(options.sessions_threshold),
      throughput_threshold_(options.throughput_threshold) {}

std::optional<RelayAccounts::Seat> RelayAccounts::take_seat(const Identity& client) {
  const bool full = broker_.sessions != 0 && seats_ >= broker_.sessions;
  if (full || !sites_.has_room(client.site) || !clients_.has_room(client.uri())) return std::nullopt;
  ++seats_;
  return Seat{.client = &clients_.acquire(client.uri()), .site = &sites_.acquire(client.site)};
}

void RelayAccounts::give_seat_back(const Seat& seat) {
  clients_.release(*seat.client);
  sites_.release(*seat.site);
  --seats_;
}

void RelayAccounts::begin(Instant now) {
  ++relaying_;
  sample(now);
}

bool RelayAccounts::take_of_seat(Instant now, const Seat& seat, std::uint64_t bits) {
  if (!seat.site->rate.take(now, bits)) {
    broker_rate_.give_back(bits);
    return false;
  }
  if (seat.client->rate.take(now, bits)) return true;
  seat.site->rate.give_back(bits);
  broker_rate_.give_back(bits);
  return false;
}

void RelayAccounts::give_back(const Seat& seat, std::uint64_t octets) {
  const std::uint64_t bits = octets * 8;
  seat.client->rate.give_back(bits);
  seat.site->rate.give_back(bits);
  broker_rate_.give_back(bits);
}

std::optional<Instant> RelayAccounts::next_sample() const {
  return relaying_ > 0 || throughput_.moving() ? throughput_.next_sample() : std::nullopt;
}

void RelayAccounts::set_quotas(const RelayQuota& per_client, const RelayQuota& per_site, const RelayQuota& broker) {
  broker_ = broker;
  clients_.set_quota(per_client);
  sites_.set_quota(per_site);
  broker_rate_ = relay::make_rate(broker, burst_);
}

void RelayAccounts::set_thresholds(std::uint64_t sessions, std::uint64_t bits_per_second) {
  sessions_threshold_ = sessions;
  throughput_threshold_ = bits_per_second;
}

RelayLoad RelayAccounts::load() const {
  RelayLoad load;
  load.sessions = relaying_;
  load.bits_per_second = throughput_.bits_per_second();
  const auto above = [](std::uint64_t value, std::uint64_t threshold) { return threshold != 0 && value > threshold; };
  load.above_sessions_threshold = above(load.sessions, sessions_threshold_);
  load.above_throughput_threshold = above(load.bits_per_second, throughput_threshold_);
  return load;
}

}  // namespace natt
