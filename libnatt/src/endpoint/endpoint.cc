// SPDX-License-Identifier: Apache-2.0
#include <natt/endpoint.h>

#include <algorithm>
#include <utility>

#include <natt/demux.h>
#include <natt/errc.h>

namespace natt {

Endpoint::Endpoint(EndpointOptions options, Random& random)
    : options_(std::move(options)), random_(random), paths_(options_.paths, random), punch_(options_.punch, random) {}

Endpoint::~Endpoint() = default;

Endpoint::Session& Endpoint::session_entry(const SessionId& session) {
  Session& entry = sessions_[session];
  if (entry.leg_handle.value == 0) {
    entry.leg_handle = {next_leg_++};
    by_leg_handle_.emplace(entry.leg_handle.value, session);
  }
  return entry;
}

Result<void> Endpoint::open_session(Instant now, const SessionId& session, PunchCredential local,
                                    PunchCredential remote, const StunTransactionKey& transaction_key, Instant start,
                                    PeerVouch vouch) {
  if (const auto known = sessions_.find(session); known != sessions_.end() && known->second.punching) {
    return fail(Errc::kRefused, "session " + session.to_string() + " exists already");
  }
  const PunchSessionId punch{next_punch_++};
  PunchSession plan{.id = punch, .role = options_.role, .local = std::move(local), .remote = std::move(remote),
                    .transaction_key = transaction_key, .start = start, .vouch = std::move(vouch)};
  if (auto added = punch_.add_session(now, std::move(plan)); !added) return tl::unexpected(added.error());
  Session& entry = session_entry(session);
  entry.punch = punch;
  entry.punching = true;
  by_punch_.emplace(punch, session);
  drain(now);
  return {};
}

void Endpoint::add_remote_candidates(Instant now, const SessionId& session, const std::vector<Candidate>& candidates,
                                     PeerVouch vouch) {
  const auto entry = sessions_.find(session);
  if (entry == sessions_.end() || !entry->second.punching) return;
  punch_.set_vouch(now, entry->second.punch, std::move(vouch));
  for (const Candidate& candidate : candidates) {
    const CandidateVerdict verdict = punch_.add_remote_candidate(now, entry->second.punch, candidate);
    options_.log(LogLevel::kDebug, "natt.candidate session=" + session.to_string() + " address=" +
                                       candidate.address.to_string() + " verdict=" + std::string(to_string(verdict)));
  }
  drain(now);
}

void Endpoint::close_session(WallTime wall_now, const SessionId& session) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  Session& entry = found->second;
  if (entry.punching) {
    punch_.remove_session(entry.punch);
    by_punch_.erase(entry.punch);
  }
  if (entry.leg) {
    entry.leg->close(wall_now);
    drain_leg(session, entry);
    drop_leg(session, entry);
  }
  by_leg_handle_.erase(entry.leg_handle.value);
  forget_paths(session);
  sessions_.erase(session);
}

std::optional<TunnelPacket> Endpoint::handle_datagram(Instant now, WallTime wall_now, const SocketAddress& from,
                                                      const IpAddress& local, ByteView bytes) {
  switch (classify_datagram(bytes)) {
    case DatagramKind::kQuic: return TunnelPacket{Route::direct(from, local), bytes};
    case DatagramKind::kRelay: return handle_relay(now, wall_now, from, bytes);
    case DatagramKind::kStun:
      if (handle_stun(now, from, local, bytes)) drain(now);
      return std::nullopt;
    case DatagramKind::kKnock:
    case DatagramKind::kDns:
    case DatagramKind::kUnknown: return std::nullopt;
  }
  return std::nullopt;
}

void Endpoint::handle_timeout(Instant now, WallTime wall_now) {
  for (StunServerLink& link : stun_) link.client->handle_timeout(now, wall_now);
  punch_.handle_timeout(now);
  while (const auto handle = leg_deadlines_.take_due(now)) {
    const auto owner = by_leg_handle_.find(*handle);
    if (owner == by_leg_handle_.end()) continue;
    const SessionId id = owner->second;
    Session& session = sessions_.at(id);
    if (!session.leg) continue;
    session.leg->handle_timeout(now, wall_now);
    drain_leg(id, session);
  }
  drain(now);
}

std::optional<Instant> Endpoint::next_deadline() const {
  std::optional<Instant> deadline = earlier(punch_.next_deadline(), leg_deadlines_.next());
  for (const StunServerLink& link : stun_) deadline = earlier(deadline, link.client->next_deadline());
  return deadline;
}

std::optional<Transmit> Endpoint::poll_transmit() {
  if (transmits_.empty()) return std::nullopt;
  Transmit transmit = std::move(transmits_.front());
  transmits_.pop_front();
  return transmit;
}

std::optional<EndpointEvent> Endpoint::poll_event() {
  if (events_.empty()) return std::nullopt;
  EndpointEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

void Endpoint::push(EndpointEvent event) {
  if (events_.size() >= kMaxEvents) events_.pop_front();
  events_.push_back(std::move(event));
}

void Endpoint::drain(Instant now) {
  for (StunServerLink& link : stun_) drain_stun(link);
  drain_punch(now);
}

}  // namespace natt
