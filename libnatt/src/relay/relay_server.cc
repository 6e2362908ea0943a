// SPDX-License-Identifier: Apache-2.0
#include <natt/relay_server.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include <natt/errc.h>

#include "src/relay/relay_server_impl.h"

namespace natt {
namespace {

using relay::ForwardingLeg;
using relay::ForwardingTable;
using relay::Session;

constexpr std::size_t kLegIdOffset = 2;
// Sessions that ended within the life of a grant; beyond, one may come back as an unbound shell.
constexpr std::size_t kEndedSessionsLimit = 65536;

// How many octets at the front of a train carry the header of its first segment, and in how many segments.
struct Run {
  std::size_t bytes = 0;
  std::size_t segments = 0;
};

Run leading_run(ByteView train, std::size_t segment_size) {
  Run run{std::min(segment_size, train.size()), 1};
  while (run.bytes < train.size()) {
    const std::size_t length = std::min(segment_size, train.size() - run.bytes);
    if (length < kRelayHeaderSize || std::memcmp(train.data(), train.data() + run.bytes, kRelayHeaderSize) != 0) break;
    run.bytes += length;
    ++run.segments;
  }
  return run;
}

void write_leg_id(MutableBytes segments, std::size_t segment_size, RelayLegId id) {
  std::array<std::uint8_t, kRelayHeaderSize - kLegIdOffset> octets{};
  store_be(octets.data(), id.slot);
  store_be(octets.data() + 4, id.tag);
  for (std::size_t at = 0; at < segments.size(); at += segment_size) {
    std::memcpy(segments.data() + at + kLegIdOffset, octets.data(), octets.size());
  }
}

std::optional<SocketAddress> bound_source(const ForwardingLeg& leg) {
  return leg.bound() ? std::optional(leg.source) : std::nullopt;
}

}  // namespace

RelayServer::Impl::Impl(const RelayServerOptions& given, const RelayKey& broker_key, Random& source)
    : options(given),
      random(source),
      sealer(broker_key),
      forwarding(source),
      cookie(source),
      ended(kEndedSessionsLimit),
      accounts(given) {}

std::optional<RelayForward> RelayServer::Impl::forward(Instant now, const SocketAddress& from, RelayLegId id,
                                                       MutableBytes segments, std::size_t segment_size,
                                                       std::size_t count) {
  const auto slot = forwarding.find(id);
  if (!slot) {
    stats.unknown_leg += count;
    return std::nullopt;
  }
  ForwardingLeg& leg = forwarding.at(*slot);
  if (leg.source != from) {
    stats.wrong_source += count;
    return std::nullopt;
  }
  const std::uint32_t peer_slot = ForwardingTable::peer_of(*slot);
  const ForwardingLeg& peer = forwarding.at(peer_slot);
  if (!peer.bound()) {
    stats.peer_unbound += count;
    return std::nullopt;
  }
  const std::size_t bytes = segments.size() - count * kRelayHeaderSize;
  if (!accounts.take(now, sessions.at(ForwardingTable::session_of(*slot)).seat, bytes)) {
    stats.over_rate += count;
    return std::nullopt;
  }
  write_leg_id(segments, segment_size, {peer_slot, peer.tag});
  leg.packets += count;
  leg.bytes += bytes;
  stats.packets_forwarded += count;
  stats.bytes_forwarded += bytes;
  accounts.count(bytes);
  return RelayForward{peer.source, peer.local, segments};
}

void RelayServer::Impl::notify_and_end(std::uint32_t session, RelayCloseReason reason) {
  send_closed(ForwardingTable::slot_of(session, RelaySide::kClient), reason);
  send_closed(ForwardingTable::slot_of(session, RelaySide::kGateway), reason);
  end_session(session, reason);
}

void RelayServer::Impl::end_session(std::uint32_t session, RelayCloseReason reason) {
  const Session& ended_session = sessions.at(session);
  if (options.log.enabled(LogLevel::kInfo)) {
    options.log(LogLevel::kInfo,
                fmt::format("natt.relay.session_end client={} gateway={} transport=udp reason={} bytes_from_client={} "
                            "bytes_from_gateway={}",
                            ended_session.client.uri(), ended_session.gateway.uri(), to_string(reason),
                            forwarding.leg(session, RelaySide::kClient).bytes,
                            forwarding.leg(session, RelaySide::kGateway).bytes));
  }
  ended.add(ended_session.id, latest_wall);
  accounts.give_seat_back(ended_session.seat);
  accounts.end();
  sessions.erase(session);
  forwarding.close_pair(session);
  ++stats.sessions_closed;
}

RelayServer::RelayServer(const RelayServerOptions& options, const RelayKey& broker_key, Random& random)
    : impl_(std::make_unique<Impl>(options, broker_key, random)) {}
RelayServer::~RelayServer() = default;

std::optional<RelayForward> RelayServer::handle_train(Instant now, WallTime wall_now, const SocketAddress& from,
                                                      const IpAddress& local, MutableBytes& train,
                                                      std::size_t segment_size) {
  if (train.empty()) return std::nullopt;
  impl_->latest_wall = wall_now;
  const std::size_t step = segment_size == 0 ? train.size() : segment_size;
  const auto header = parse_relay_header(train.first(std::min(step, train.size())));
  const bool data = header && header->kind == RelayKind::kData;
  const Run run = data ? leading_run(train, step) : Run{std::min(step, train.size()), 1};
  const MutableBytes taken = train.first(run.bytes);
  train = train.subspan(run.bytes);
  if (data) return impl_->forward(now, from, header->leg, taken, step, run.segments);
  impl_->handle_control({now, wall_now, from, local}, taken);
  return std::nullopt;
}

void RelayServer::handle_timeout(Instant now, WallTime wall_now) {
  impl_->latest_wall = wall_now;
  while (const auto session = impl_->sessions.due(now)) {
    impl_->notify_and_end(*session, RelayCloseReason::kExpired);
  }
  impl_->accounts.sample(now);
  impl_->revoked.prune(wall_now, impl_->options.clock_tolerance);
  impl_->ended.prune(wall_now, impl_->options.clock_tolerance);
}

std::optional<Instant> RelayServer::next_deadline() const {
  return earlier(impl_->sessions.next_deadline(), impl_->accounts.next_sample());
}

std::optional<Transmit> RelayServer::poll_transmit() {
  if (impl_->replies.empty()) return std::nullopt;
  Transmit reply = std::move(impl_->replies.front());
  impl_->replies.pop_front();
  return reply;
}

Result<RelayGrantPair> RelayServer::issue(const Identity& client, const Identity& gateway,
                                          std::optional<RelaySessionId> session, WallTime wall_now) {
  impl_->latest_wall = wall_now;
  for (const Identity* identity : {&client, &gateway}) {
    if (impl_->revoked.covers(*identity, wall_now)) return fail(Errc::kRevoked, identity->uri() + " was revoked");
  }
  return impl_->sealer.issue(impl_->random, client, gateway, session, wall_now);
}

std::optional<RelayGrantClaims> RelayServer::open_grant(ByteView sealed) const { return impl_->sealer.open(sealed); }

std::size_t RelayServer::revoke(const Identity& identity, WallTime wall_now) {
  impl_->latest_wall = wall_now;
  impl_->revoked.add(identity, wall_now);
  std::size_t count = 0;
  for (const std::uint32_t index : impl_->sessions.indices()) {
    const Session& session = impl_->sessions.at(index);
    if (session.client != identity && session.gateway != identity) continue;
    impl_->notify_and_end(index, RelayCloseReason::kRevoked);
    ++count;
  }
  return count;
}

bool RelayServer::end_session(const RelaySessionId& session) {
  const auto found = impl_->sessions.find(session);
  if (found) impl_->notify_and_end(*found, RelayCloseReason::kPeerClosed);
  return found.has_value();
}

void RelayServer::shutdown() {
  for (const std::uint32_t index : impl_->sessions.indices()) {
    impl_->notify_and_end(index, RelayCloseReason::kShutdown);
  }
}

void RelayServer::set_quotas(const RelayQuota& per_client, const RelayQuota& per_site, const RelayQuota& broker) {
  impl_->accounts.set_quotas(per_client, per_site, broker);
}

void RelayServer::set_thresholds(std::uint64_t sessions, std::uint64_t bits_per_second) {
  impl_->accounts.set_thresholds(sessions, bits_per_second);
}

const RelayStats& RelayServer::stats() const { return impl_->stats; }

RelayLoad RelayServer::load() const { return impl_->accounts.load(); }

RelayAccounts& RelayServer::accounts() { return impl_->accounts; }

std::vector<RelaySessionReport> RelayServer::sessions() const {
  std::vector<RelaySessionReport> reports;
  for (const std::uint32_t index : impl_->sessions.indices()) {
    const Session& session = impl_->sessions.at(index);
    const ForwardingLeg& client = impl_->forwarding.leg(index, RelaySide::kClient);
    const ForwardingLeg& gateway = impl_->forwarding.leg(index, RelaySide::kGateway);
    reports.push_back({session.id, session.client, session.gateway, bound_source(client), bound_source(gateway),
                       client.bytes, gateway.bytes, client.packets, gateway.packets, session.since,
                       RelayTransport::kUdp});
  }
  return reports;
}

}  // namespace natt
