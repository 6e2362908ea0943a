// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/gateway_link.h"

#include <algorithm>

#include "src/uv/client/gateway_knocker.h"

namespace natt::tunnel::uv {
namespace {

std::string_view name_of(GatewayLink::State state) {
  switch (state) {
    case GatewayLink::State::kIdle: return "idle";
    case GatewayLink::State::kRacing: return "racing";
    case GatewayLink::State::kUp: return "up";
    case GatewayLink::State::kBackoff: return "backoff";
  }
  return "unknown";
}

MappingDifficulty difficulty_of(const NatBehavior& nat) {
  switch (nat.mapping) {
    case NatMapping::kUnknown: return MappingDifficulty::kUnknown;
    case NatMapping::kNone:
    case NatMapping::kEndpointIndependent: return MappingDifficulty::kEasy;
    case NatMapping::kAddressDependent:
    case NatMapping::kAddressAndPortDependent: return MappingDifficulty::kHard;
  }
  return MappingDifficulty::kUnknown;
}

Tristate tristate(bool value) { return value ? Tristate::kYes : Tristate::kNo; }

PeerExpectation expectation_of(const Identity& gateway) {
  return {.site = gateway.site, .role = Role::kGateway, .identity = gateway};
}

std::string describe_loss(const RaceCore::Lost& lost) {
  std::string text = "no path to the gateway:";
  for (const ConnectionType step : {ConnectionType::kDirect, ConnectionType::kNatTraversal, ConnectionType::kRelay}) {
    text += " " + std::string(to_string(step)) + "=" +
            std::string(to_string(lost.reasons[static_cast<std::size_t>(step)])) + ",";
  }
  text.pop_back();
  return text;
}

}  // namespace

Result<std::unique_ptr<GatewayLink>> GatewayLink::make(const LinkSite& site, const Identity& gateway) {
  auto knocker = make_gateway_knocker(site, gateway, 0);
  if (!knocker) return tl::unexpected(knocker.error());
  return std::unique_ptr<GatewayLink>(new GatewayLink(site, gateway, std::move(*knocker)));
}

void GatewayLink::renew_key() {
  auto knocker = make_gateway_knocker(site_, gateway_, races_lost_);
  if (!knocker) {
    return site_.options.log(LogLevel::kWarning, "natt.gateway.key reason=\"" + knocker.error().message + "\"");
  }
  knocker_ = std::move(*knocker);
  attempts_.set_knocker(*knocker_);
}

GatewayLink::GatewayLink(const LinkSite& site, Identity gateway, std::unique_ptr<spa::Knocker> knocker)
    : site_(site),
      gateway_(std::move(gateway)),
      knocker_(std::move(knocker)),
      negotiator_(site.options.credentials, site.signaling, site.driver, site.random, site.options.log, gateway_,
                  site.is_tls() ? RelayTransport::kTcp : RelayTransport::kUdp),
      attempts_(site_, *knocker_, expectation_of(gateway_)),
      streams_(site.listener, site.streams, site.options.log),
      backoff_(site.random) {}

GatewayLink::~GatewayLink() = default;

void GatewayLink::transition_to(State next) {
  if (state_ == next) return;
  site_.options.log(LogLevel::kDebug, "natt.gateway_link gateway=" + gateway_.uri() +
                                          " from=" + std::string(name_of(state_)) +
                                          " to=" + std::string(name_of(next)));
  state_ = next;
}

void GatewayLink::set_ip(ClientIp* ip) {
  ip_ = ip;
  if (ip_ != nullptr && transport_) ip_->handle_tunnel_up(transport_->tunnel());
}

std::vector<SocketAddress> GatewayLink::direct_addresses() const {
  std::vector<SocketAddress> addresses;
  const auto add = [&](const std::vector<SocketAddress>& more) {
    for (const SocketAddress& address : more) {
      if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
    }
  };
  const auto configured = site_.options.gateway_addresses.find(gateway_.name);
  if (configured != site_.options.gateway_addresses.end()) add(configured->second);
  if (const RosterDevice* device = site_.signaling.roster().find(gateway_)) add(device->addresses);
  add(directory_addresses_);
  return addresses;
}

void GatewayLink::start_race_if_listed(Instant now) {
  if (site_.signaling.roster().find(gateway_) != nullptr) return start_race(now);
  streams_.fail_waiting(now, "the gateway is not in the roster");
}

void GatewayLink::start_race(Instant now) {
  transition_to(State::kRacing);
  retry_at_.reset();
  ready_.clear();
  race_ = std::make_unique<RaceCore>(RaceCore::Options{.natt_after = site_.options.natt_after,
                                                       .relay_after = site_.options.relay_after,
                                                       .timeout = site_.options.race_timeout,
                                                       .direct = !direct_addresses().empty(),
                                                       .log = site_.options.log});
  site_.options.log(LogLevel::kInfo, "natt.race.start gateway=" + gateway_.uri());
  race_->start(now);
  race_->path_available(ConnectionType::kDirect, now);
  negotiator_.start(now);
  drain_race(now);
}

void GatewayLink::drain_race(Instant now) {
  update_facts();
  while (race_) {
    const auto event = race_->poll_event();
    if (!event) break;
    handle_race_event(now, *event);
  }
}

void GatewayLink::update_facts() {
  if (!race_) return;
  const UdpReach own = site_.driver.endpoint().udp_reach();
  RaceFacts facts{.stun_answered = tristate(own.stun_answered), .mapping = difficulty_of(own.nat)};
  if (const auto& peer = negotiator_.peer_udp()) {
    facts.peer_stun_answered = tristate(peer->stun_answered);
    facts.peer_mapping = difficulty_of(peer->nat);
  }
  race_->set_facts(facts);
}

void GatewayLink::handle_race_event(Instant now, const RaceCore::Event& event) {
  if (const auto* start = std::get_if<RaceCore::StartAttempt>(&event)) {
    start_attempts(now, start->step);
  } else if (const auto* cancel = std::get_if<RaceCore::CancelAttempt>(&event)) {
    attempts_.cancel(now, cancel->step);
  } else if (const auto* won = std::get_if<RaceCore::Won>(&event)) {
    on_won(now, *won);
  } else if (const auto* lost = std::get_if<RaceCore::Lost>(&event)) {
    on_lost(now, *lost);
  }
}

void GatewayLink::update_relay_path(Instant now) {
  if (!race_ || !site_.is_tls()) return;
  if (negotiator_.has_relay_grant(now)) {
    race_->path_available(ConnectionType::kRelay, now);
  } else {
    race_->path_unavailable(ConnectionType::kRelay, now);
  }
}

void GatewayLink::start_attempts(Instant now, ConnectionType step) {
  bool any = false;
  if (step == ConnectionType::kDirect) any = start_direct(now);
  if (step == ConnectionType::kRelay && site_.is_tls()) any = start_relayed(now);
  for (const auto& [path, type] : ready_) {
    if (type == step) any = start_on_path(now, step, path) || any;
  }
  if (!any) race_->attempt_failed(step, AttemptFailure::kUnavailable, now);
}

bool GatewayLink::start_direct(Instant now) {
  bool any = false;
  for (const SocketAddress& address : direct_addresses()) {
    if (site_.is_tls()) {
      any = note_attempt(attempts_.start_direct(now, address)) || any;
    } else if (const auto path = site_.driver.endpoint().direct_path(address)) {
      any = start_on_path(now, ConnectionType::kDirect, *path) || any;
    }
  }
  return any;
}

bool GatewayLink::start_relayed(Instant now) {
  const auto grant = negotiator_.take_relay_grant(now);
  return grant && note_attempt(attempts_.start_relayed(now, *negotiator_.broker(), *grant));
}

bool GatewayLink::start_on_path(Instant now, ConnectionType step, PathId path) {
  return note_attempt(attempts_.start(now, step, path));
}

bool GatewayLink::note_attempt(const Result<void>& started) const {
  if (started) return true;
  site_.options.log(LogLevel::kError, "natt.attempt.failed reason=\"" + started.error().message + "\"");
  return false;
}

void GatewayLink::handle_outcome(Instant now, const ConnectionAttempts::Outcome& outcome) {
  if (!race_) return;
  if (outcome.failure != AttemptFailure::kNone) {
    race_->attempt_failed(outcome.step, outcome.failure, now);
  } else {
    race_->attempt_connected(outcome.step, now);
  }
  drain_race(now);
}

void GatewayLink::on_won(Instant now, const RaceCore::Won& won) {
  transport_ = attempts_.take(now, won.type);
  attempts_.cancel_all(now);
  race_.reset();
  negotiator_.stop_asking();
  if (!transport_) return on_tunnel_lost(now, "the winning tunnel is gone");
  // The next race begins with the newest keys.
  if (std::exchange(races_lost_, 0) != 0) renew_key();
  type_ = won.type;
  reason_ = won.reason;
  since_ = now;
  silence_ = {};
  transport_->start_use(now);
  transition_to(State::kUp);
  site_.options.log(LogLevel::kInfo,
                    "natt.tunnel.open gateway=" + gateway_.uri() + " type=\"" + std::string(to_string(type_)) +
                        "\" protocol=" + std::string(to_string(transport_->protocol())) +
                        (reason_ ? " relay_reason=" + std::string(to_string(*reason_)) : ""));
  // In this order: the end of the negotiated session would take a report of the same id with it.
  const auto broker = negotiator_.broker();
  if (type_ == ConnectionType::kDirect) negotiator_.end(now);
  report(now, broker, false);
  streams_.handle_tunnel_up(transport_->tunnel());
  if (ip_ != nullptr) ip_->handle_tunnel_up(transport_->tunnel());
}

void GatewayLink::on_lost(Instant now, const RaceCore::Lost& lost) {
  std::string reason = describe_loss(lost);
  if (negotiator_.refusal()) reason += "; the offer was refused: " + std::string(to_string(*negotiator_.refusal()));
  if (site_.signaling.connected().empty()) reason += "; no broker of the site is reachable";
  site_.options.log(LogLevel::kWarning, "natt.race.lost gateway=" + gateway_.uri() + " reason=\"" + reason + "\"");
  attempts_.cancel_all(now);
  race_.reset();
  negotiator_.end(now);
  streams_.fail_waiting(now, reason);
  transition_to(State::kBackoff);
  retry_at_ = now + backoff_.next_delay();
  ++races_lost_;
  renew_key();
}

void GatewayLink::report(Instant now, std::optional<BrokerIndex> broker, bool ended) {
  const SessionReport message{.session = negotiator_.session(), .gateway = gateway_, .type = type_,
                              .reason = reason_, .ended = ended};
  if (!broker) broker = negotiator_.broker();
  if (!broker && !site_.signaling.connected().empty()) broker = site_.signaling.connected().front();
  if (broker) static_cast<void>(site_.signaling.send(now, *broker, message));
}

void GatewayLink::handle_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event) {
  if (std::holds_alternative<SignalConnected>(event)) {
    negotiator_.handle_broker_connected(now, broker);
    // A restarted broker counts its sessions from what clients tell.
    if (state_ == State::kUp) report(now, broker, false);
  } else if (std::holds_alternative<SignalClosed>(event)) {
    negotiator_.handle_broker_lost(now, broker);
  } else if (const auto* answer = std::get_if<AnswerMessage>(&event)) {
    if (negotiator_.handle_answer(now, *answer) && race_ && negotiator_.state() == SessionNegotiator::State::kRefused) {
      race_->attempt_failed(ConnectionType::kNatTraversal, AttemptFailure::kRefused, now);
      race_->attempt_failed(ConnectionType::kRelay, AttemptFailure::kRefused, now);
    }
  } else if (const auto* rejection = std::get_if<OfferRejection>(&event)) {
    static_cast<void>(negotiator_.handle_rejection(now, broker, *rejection));
  } else if (const auto* batch = std::get_if<CandidateBatch>(&event)) {
    static_cast<void>(negotiator_.handle_candidates(now, *batch));
  } else if (const auto* grant = std::get_if<RelayGrantMessage>(&event)) {
    if (negotiator_.handle_relay_grant(now, *grant)) update_relay_path(now);
  } else if (const auto* refusal = std::get_if<RelayRefusal>(&event)) {
    if (negotiator_.handle_relay_refusal(now, *refusal) && race_) {
      race_->attempt_failed(ConnectionType::kRelay, AttemptFailure::kRefused, now);
    }
  }
}

void GatewayLink::handle_endpoint_event(Instant now, const EndpointEvent& event) {
  if (std::holds_alternative<LocalCandidatesChanged>(event)) {
    negotiator_.trickle(now);
  } else if (const auto* ready = std::get_if<SessionPathReady>(&event)) {
    if (ready->session != negotiator_.session()) return;
    ready_.insert_or_assign(ready->path, ready->type);
    if (race_) race_->path_available(ready->type, now);
  } else if (const auto* lost = std::get_if<SessionPathLost>(&event)) {
    ready_.erase(lost->path);
    if (state_ == State::kUp && transport_->path() == lost->path) on_tunnel_lost(now, "the path no longer answers");
  } else if (const auto* failed = std::get_if<SessionPunchFailed>(&event)) {
    if (race_ && failed->session == negotiator_.session()) {
      race_->attempt_failed(ConnectionType::kNatTraversal, AttemptFailure::kPunchTimeout, now);
    }
  } else if (const auto* renewal = std::get_if<SessionRelayRenewal>(&event)) {
    negotiator_.request_relay_renewal(now, *renewal);
  }
}

void GatewayLink::handle_directory(Instant now, const GatewayEntry& entry) {
  if (!entry.online) return;
  directory_addresses_ = entry.registration.addresses;
  const std::uint64_t boot_id = entry.registration.boot_id;
  if (boot_id_ && *boot_id_ != boot_id && state_ == State::kUp) {
    on_tunnel_lost(now, "the gateway has restarted");
  }
  boot_id_ = boot_id;
}

bool GatewayLink::handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  if (transport_ && transport_->handle_packet(now, path, ecn, packet)) return true;
  return attempts_.handle_packet(now, path, ecn, packet);
}

void GatewayLink::handle_timeout(Instant now) {
  negotiator_.handle_timeout(now);
  update_relay_path(now);
  if (race_) race_->handle_timeout(now);
  attempts_.handle_timeout(now);
  if (transport_) transport_->tunnel().handle_timeout(now);
  watch_silence(now);
}

std::optional<Instant> GatewayLink::next_deadline(Instant now) const {
  std::optional<Instant> deadline = earlier(negotiator_.next_deadline(now), attempts_.next_deadline());
  if (race_) deadline = earlier(deadline, race_->next_deadline());
  if (transport_) deadline = earlier(earlier(deadline, transport_->tunnel().next_deadline()), silence_.next_deadline());
  deadline = earlier(deadline, retired_.next_deadline());
  if (is_needed()) deadline = earlier(deadline, retry_at_);
  return deadline;
}

void GatewayLink::watch_silence(Instant now) {
  if (!transport_ || !silence_.is_dead(now, transport_->tunnel().stats())) return;
  if (transport_->moves_backlog()) return silence_.excuse(now);
  on_tunnel_lost(now, "the gateway has gone silent");
}

void GatewayLink::drain_tunnel(Instant now) {
  while (transport_) {
    const auto event = transport_->tunnel().poll_event();
    if (!event) break;
    handle_tunnel_event(now, *event);
  }
  while (transport_) {
    const auto datagram = transport_->tunnel().poll_datagram();
    if (!datagram) break;
    if (ip_ != nullptr && ip_->owns(datagram->stream)) {
      ip_->handle_packet(datagram->payload);
    } else {
      streams_.handle_datagram(now, *datagram);
    }
  }
}

void GatewayLink::handle_tunnel_event(Instant now, const ClientEvent& event) {
  if (const auto* closed = std::get_if<ConnectionClosed>(&event)) return on_tunnel_lost(now, closed->error.message);
  const StreamId* stream = nullptr;
  if (const auto* response = std::get_if<Response>(&event)) stream = &response->stream;
  if (const auto* capsule = std::get_if<CapsuleReceived>(&event)) stream = &capsule->stream;
  if (const auto* ended = std::get_if<StreamClosed>(&event)) stream = &ended->stream;
  if (stream != nullptr && ip_ != nullptr && ip_->owns(*stream)) return ip_->handle_event(event);
  streams_.handle_event(now, event);
}

void GatewayLink::on_tunnel_lost(Instant now, const std::string& reason) {
  site_.options.log(LogLevel::kWarning, "natt.tunnel.lost gateway=" + gateway_.uri() + " reason=\"" + reason + "\"");
  report(now, std::nullopt, true);
  // First: the end of the session below tells this very link that the session's paths are gone.
  transition_to(State::kBackoff);
  if (transport_) {
    transport_->close(now, reason);
    transport_->end_use(now);
    retired_.add(now, std::move(transport_));
  }
  if (ip_ != nullptr) ip_->handle_tunnel_down();
  streams_.handle_tunnel_down(now, reason);
  negotiator_.end(now);
  // At once when it had lasted: the loss is news then. A gateway that accepts and closes again is not hammered.
  const bool lasted = now - since_ >= kLasted;
  if (lasted) backoff_.reset();
  retry_at_ = lasted ? now : now + backoff_.next_delay();
}

void GatewayLink::flush(Instant now) {
  while (auto outcome = attempts_.poll_outcome(now)) handle_outcome(now, *outcome);
  drain_race(now);
  drain_tunnel(now);
  if (state_ == State::kBackoff && retry_at_ && now >= *retry_at_) transition_to(State::kIdle);
  if (state_ == State::kIdle && is_needed()) start_race_if_listed(now);
  streams_.open_waiting(now);
  watch_silence(now);
  pump(now);
  streams_.collect();
  retired_.pump(now);
}

void GatewayLink::pump(Instant now) {
  attempts_.pump(now);
  if (transport_) static_cast<void>(transport_->pump(now));
}

void GatewayLink::fail(Instant now, const std::string& reason) {
  wanted_ = false;
  if (state_ == State::kUp) on_tunnel_lost(now, reason);
  attempts_.cancel_all(now);
  race_.reset();
  negotiator_.end(now);
  streams_.fail_waiting(now, reason);
  retry_at_.reset();
  transition_to(State::kIdle);
}

void GatewayLink::close(Instant now) {
  fail(now, "the client is stopping");
  ip_ = nullptr;
  attempts_.pump(now);
  retired_.pump(now);
}

void GatewayLink::drop_tunnel(Instant now, const std::string& reason) {
  if (state_ == State::kUp) on_tunnel_lost(now, reason);
}

SiteConnection GatewayLink::describe() const {
  SiteConnection connection{.gateway = gateway_, .connected = state_ == State::kUp, .type = type_,
                            .relay_reason = reason_, .since = since_};
  if (!transport_) return connection;
  connection.protocol = transport_->protocol();
  connection.remote = transport_->remote();
  connection.local = transport_->local();
  connection.stats = transport_->stats();
  return connection;
}

}  // namespace natt::tunnel::uv
