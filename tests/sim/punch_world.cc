// SPDX-License-Identifier: Apache-2.0
#include "sim/punch_world.h"

#include <algorithm>
#include <array>

namespace natt::test {
namespace {

const SocketAddress kBroker = *SocketAddress::parse("198.51.100.10:443");

StunTransactionKey make_key(Random& random) {
  StunTransactionKey key;
  random.fill(key.mutable_view());
  return key;
}

NatBoxOptions nat_options(const NatBehavior& behavior, std::string_view outside) {
  return {.mapping = behavior.mapping, .filtering = behavior.filtering, .outside = {*IpAddress::parse(outside)}};
}

}  // namespace

void StunHost::handle_datagram(Instant now, const SimPacket& packet) {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  const auto reply = server_.handle_datagram(now, wall_of(now), packet.from, packet.to, packet.bytes, out);
  if (reply) out_.push_back({reply->from, reply->to, {reply->bytes.begin(), reply->bytes.end()}});
}

std::optional<SimPacket> StunHost::poll_packet() {
  if (out_.empty()) return std::nullopt;
  SimPacket packet = std::move(out_.front());
  out_.erase(out_.begin());
  return packet;
}

PunchHost::PunchHost(SocketAddress own, StunClientOptions stun, PunchOptions punch, Random& random)
    : own_(own), stun_(std::move(*StunClient::make(std::move(stun), random))), agent_(std::move(punch), random) {}

void PunchHost::handle_datagram(Instant now, const SimPacket& packet) {
  last_now_ = now;
  if (dead_) return;
  if (!stun_->handle_datagram(now, packet.from, packet.to.ip, packet.bytes)) {
    static_cast<void>(agent_.handle_datagram(now, packet.from, packet.to.ip, packet.bytes));
  }
  drain(now);
}

void PunchHost::handle_timeout(Instant now) {
  last_now_ = now;
  stun_->handle_timeout(now, wall_of(now));
  agent_.handle_timeout(now);
  drain(now);
}

std::optional<Instant> PunchHost::next_deadline() const {
  if (dead_) return std::nullopt;
  return earlier(stun_->next_deadline(), agent_.next_deadline());
}

std::optional<SimPacket> PunchHost::poll_packet() {
  drain(last_now_);
  auto transmit = stun_->poll_transmit();
  if (!transmit) transmit = agent_.poll_transmit();
  if (!transmit || dead_) return std::nullopt;
  return SimPacket{{}, transmit->to, std::move(transmit->bytes)};
}

void PunchHost::drain(Instant now) {
  while (auto event = agent_.poll_event()) punch_events_.emplace_back(now, std::move(*event));
  while (auto event = stun_->poll_event()) stun_events_.push_back(std::move(*event));
}

PunchWorld::PunchWorld(std::uint64_t seed)
    : random(seed), network(random), broker({.transaction_key = make_key(random)}), broker_key_() {
  broker_key_ = make_key(random);
  broker.server().set_transaction_key(broker_key_);
  network.attach(SimNetwork::kInternet, kBroker, broker);
}

std::unique_ptr<PunchHost> PunchWorld::make_host_at(const SocketAddress& own, std::string_view name, Role role,
                                                    PunchOptions punch) {
  const StunCredential credential = make_stun_credential(broker_key_, random);
  static_cast<void>(broker.server().add_credential({"hq", role, std::string(name)}, credential));
  punch.policy.own_addresses = {own.ip};
  punch.policy.broker_addresses = {kBroker.ip};
  return std::make_unique<PunchHost>(own, StunClientOptions{.server = kBroker, .credential = credential},
                                     std::move(punch), random);
}

std::unique_ptr<PunchHost> PunchWorld::make_host(const Site& site, const EndOptions& options, PunchOptions punch,
                                                 SimNetwork::RealmId& realm) {
  realm = SimNetwork::kInternet;
  const bool open = options.nat.mapping == NatMapping::kNone;
  if (options.carrier) realm = network.add_nat(realm, nat_options(*options.carrier, site.outside));
  if (!open) realm = network.add_nat(realm, nat_options(options.nat, options.carrier ? site.carrier : site.outside));
  const SocketAddress own{*IpAddress::parse(open ? site.outside : site.inside), 40000};
  auto host = make_host_at(own, site.name, site.name == "alice" ? Role::kClient : Role::kGateway, std::move(punch));
  network.attach(realm, own, *host, options.link);
  return host;
}

void PunchWorld::add_client(const EndOptions& options, PunchOptions punch) {
  client = make_host({"10.1.0.2", "100.64.1.2", "203.0.113.1", "alice"}, options, std::move(punch), client_realm);
}

void PunchWorld::add_gateway(const EndOptions& options, PunchOptions punch) {
  gateway = make_host({"10.2.0.2", "100.64.2.2", "203.0.113.2", "gw1"}, options, std::move(punch), gateway_realm);
}

void PunchWorld::add_client_behind(SimNetwork::RealmId realm) {
  const SocketAddress own = *SocketAddress::parse("10.1.0.2:40000");
  client = make_host_at(own, "alice", Role::kClient, {});
  client_realm = realm;
  network.attach(realm, own, *client);
}

void PunchWorld::add_gateway_behind(SimNetwork::RealmId realm) {
  const SocketAddress own = *SocketAddress::parse("10.2.0.2:40000");
  gateway = make_host_at(own, "gw1", Role::kGateway, {});
  gateway_realm = realm;
  network.attach(realm, own, *gateway);
}

void PunchWorld::add_gateway_beside_client(PunchOptions punch) {
  const SocketAddress own = *SocketAddress::parse("10.1.0.3:40000");
  gateway = make_host_at(own, "gw1", Role::kGateway, std::move(punch));
  gateway_realm = client_realm;
  network.attach(gateway_realm, own, *gateway);
}

bool PunchWorld::discover() {
  for (PunchHost* host : {client.get(), gateway.get()}) host->stun().start(network.now(), wall_of(network.now()));
  return network.run_for(std::chrono::seconds(5), [&] { return client->stun().mapped() && gateway->stun().mapped(); });
}

void PunchWorld::open_session(PunchHost& host, PunchRole role, const PunchCredential& local,
                              const PunchCredential& remote, const StunTransactionKey& key, Instant start,
                              const PunchHost& peer) {
  const Role peer_role = role == PunchRole::kControlling ? Role::kGateway : Role::kClient;
  const Identity identity{"hq", peer_role, peer_role == Role::kGateway ? "gw1" : "alice"};
  host.agent().policy().set_public_addresses({host.stun().mapped()->ip});
  PunchSession session{.id = kSession, .role = role, .local = local, .remote = remote, .transaction_key = key};
  session.start = start;
  session.vouch.seen = broker.server().seen_addresses(network.now(), identity);
  static_cast<void>(host.agent().add_session(network.now(), std::move(session)));
  const auto& peer_stun = const_cast<PunchHost&>(peer).stun();
  host.agent().add_remote_candidate(network.now(), kSession, {peer.own(), CandidateType::kHost, {}});
  if (*peer_stun.mapped() != peer.own()) {
    host.agent().add_remote_candidate(network.now(), kSession,
                                      {*peer_stun.mapped(), CandidateType::kServerReflexive, peer.own()});
  }
}

void PunchWorld::exchange(Duration skew) {
  const PunchCredential of_client = make_punch_credential(random);
  const PunchCredential of_gateway = make_punch_credential(random);
  const StunTransactionKey key = make_key(random);
  const Instant start = network.now() + std::chrono::milliseconds(200);
  open_session(*client, PunchRole::kControlling, of_client, of_gateway, key, start, *gateway);
  open_session(*gateway, PunchRole::kControlled, of_gateway, of_client, key, start + skew, *client);
}

PunchPath PunchWorld::client_path() const { return client->events<PathValidated>().front().second.path; }

bool PunchWorld::connected() const {
  return !client->events<PathValidated>().empty() && !gateway->events<PathValidated>().empty();
}

}  // namespace natt::test
