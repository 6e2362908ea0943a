// SPDX-License-Identifier: Apache-2.0
#include "support/signal_world.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

namespace natt::test {
namespace {

template <typename T>
T value_or_die(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "signal_world: %s\n", result.error().message.c_str());
  std::abort();
}

constexpr Role kRoles[] = {Role::kGateway, Role::kClient};

}  // namespace

SignalWorld::SignalWorld(std::vector<std::string> sites, SignalHubOptions options) {
  options.seen = this;
  hub = std::make_unique<SignalHub>(options, random);
  for (const std::string& name : sites) make_site(name);
  admission = std::make_unique<SignalAdmission>(SignalAdmissionOptions{}, verifiers_, grants, random);
}

SignalWorld::~SignalWorld() = default;

void SignalWorld::ask(const AdmissionPolicy& policy) {
  admission = std::make_unique<SignalAdmission>(SignalAdmissionOptions{.policy = &policy}, verifiers_, grants, random);
}

void SignalWorld::make_site(const std::string& name) {
  Site& site = sites_[name];
  site.pki = std::make_unique<TestPki>(name, sites_.size());
  site.store = std::make_unique<RosterStore>(site.pki->ca(), RosterView::kFull);
  site.tls = value_or_die(TlsContext::make(site.pki->credentials(Role::kBroker, "b1"), TlsDirection::kServer, ""));
  site.broker_keys = spa::KeyPair::generate(random);
  random.fill(site.mask.mutable_view());
  random.fill(site.psk.mutable_view());
  spa::VerifierOptions options{.identity = site.pki->identity(Role::kBroker, "b1"), .psk = site.psk, .mask = site.mask};
  options.keys.push_back(spa::KeyPair::from_secret(site.broker_keys->secret()));
  site.verifier = std::make_unique<spa::Verifier>(std::move(options), random);
  site.verifier->handle_timeout(now, wall);
  verifiers_.add(*site.verifier);
  hub->add_site({name, site.tls.get(), site.store.get()});
  for (const Role role : kRoles) static_cast<void>(site.pki->device(role, role == Role::kGateway ? "gw1" : "alice"));
  publish(name);
}

void SignalWorld::publish(const std::string& name) {
  publish(name, sites_.at(name).pki->roster(sites_.at(name).number + 1));
}

void SignalWorld::publish(const std::string& name, const Roster& roster) {
  Site& site = sites_.at(name);
  site.number = roster.number;
  const auto change = value_or_die(site.store->handle_roster(value_or_die(site.pki->authority().sign_roster(roster))));
  hub->handle_roster_change(now, name, change);
  if (admission) run();
}

SignalPeer& SignalWorld::prepare(Role role, const std::string& name, const PeerOptions& options,
                                 const std::string& site_name) {
  Site& site = sites_.at(site_name);
  auto& peer = *peers_.emplace_back(std::make_unique<SignalPeer>());
  const Credentials credentials = options.credentials ? *options.credentials : site.pki->credentials(role, name);
  peer.identity = options.spa_identity.value_or(site.pki->identity(role, name));
  const auto keys = spa::KeyPair::generate(random);
  const spa::DeviceKey listed{1, keys.public_key()};
  static_cast<void>(value_or_die(site.verifier->put_device(peer.identity, {&listed, 1}).map([] { return 0; })));
  site.verifier->handle_timeout(now, wall);
  const Identity broker = site.pki->identity(Role::kBroker, "b1");
  const auto pair = spa::PairKey::derive(keys, site.broker_keys->public_key(), spa::DeviceId::of(peer.identity),
                                         spa::DeviceId::of(broker), site.psk);
  const spa::KnockerOptions knocker{
      .device = peer.identity, .verifier = broker, .port = 443, .mask = site.mask, .key_generation = 1};
  peer.knocker = std::make_unique<spa::Knocker>(knocker, *pair, random);
  peer.tls = value_or_die(TlsContext::make(credentials, TlsDirection::kClient, ""));
  SignalClientOptions client{.self = credentials.identity(), .broker = broker};
  client.boot_id = options.boot_id;
  client.roster_number = options.roster_number;
  client.software = "test";
  peer.client = value_or_die(SignalClient::make(client, *peer.tls, *peer.knocker, random, now, wall));
  return peer;
}

void SignalWorld::open(SignalPeer& peer, ByteView first) {
  peer.channel = {next_channel_++};
  by_channel_[peer.channel] = &peer;
  if (!admission->handle_accepted(now, peer.channel, kPeerAddress)) {
    refused.insert(peer.channel);
    return;
  }
  deliver(peer.channel, first);
  run();
}

ChannelId SignalWorld::open_raw(ByteView first) {
  const ChannelId channel{next_channel_++};
  if (!admission->handle_accepted(now, channel, *SocketAddress::parse("203.0.113.66:6666"))) refused.insert(channel);
  feed(channel, first);
  return channel;
}

void SignalWorld::feed(ChannelId channel, ByteView bytes) {
  deliver(channel, bytes);
  run();
}

SignalPeer& SignalWorld::connect(Role role, const std::string& name, const PeerOptions& options,
                                 const std::string& site) {
  SignalPeer& peer = prepare(role, name, options, site);
  open(peer, value_or_die(peer.client->first_flight(wall)));
  return peer;
}

void SignalWorld::cut(SignalPeer& peer) {
  peer.attached = false;
  hub->handle_disconnected(now, peer.channel);
  peer.client->handle_disconnected(now);
  run();
}

void SignalWorld::deliver(ChannelId channel, ByteView bytes) {
  if (admitted_.contains(channel)) {
    hub->handle_bytes(now, wall + broker_ahead, channel, bytes);
  } else {
    admission->handle_bytes(now, wall, channel, bytes);
  }
}

void SignalWorld::hand_over(ChannelId channel, const ByteBuffer& bytes) {
  const auto peer = by_channel_.find(channel);
  if (peer == by_channel_.end()) {
    raw_output[channel].insert(raw_output[channel].end(), bytes.begin(), bytes.end());
  } else if (peer->second->attached && peer->second->reads) {
    peer->second->client->handle_bytes(now, wall, bytes);
  }
}

bool SignalWorld::step_admission() {
  auto event = admission->poll_event();
  if (!event) return false;
  if (const auto* close = std::get_if<CloseConnection>(&*event)) {
    refused.insert(close->channel);
    return true;
  }
  if (const auto* missing = std::get_if<KnockMissing>(&*event)) {
    knocks_missing.push_back(*missing);
    return true;
  }
  const auto& come = std::get<Admitted>(*event);
  admitted_.insert(come.channel);
  if (come.purpose != Admitted::Purpose::kSignaling ||
      !hub->handle_admitted(now, wall, come.channel, come.identity, come.remote, come.record, come.rest)) {
    refused.insert(come.channel);
  }
  return true;
}

bool SignalWorld::step_hub() {
  if (const auto channel = hub->poll_writable()) {
    const auto peer = by_channel_.find(*channel);
    if (peer == by_channel_.end() || peer->second->reads) hand_over(*channel, hub->take_output(*channel));
    return true;
  }
  auto event = hub->poll_event();
  if (!event) return false;
  if (const auto* closed = std::get_if<ChannelClosed>(&*event)) {
    hand_over(closed->channel, hub->take_output(closed->channel));
    refused.insert(closed->channel);
  }
  hub_events.push_back(std::move(*event));
  return true;
}

bool SignalWorld::step_peers() {
  bool moved = false;
  for (const auto& peer : peers_) {
    const ByteBuffer bytes = peer->client->take_output();
    if (!bytes.empty() && peer->attached && peer->channel.value != 0) {
      deliver(peer->channel, bytes);
      moved = true;
    }
    while (auto event = peer->client->poll_event()) {
      peer->events.push_back(std::move(*event));
      moved = true;
    }
  }
  return moved;
}

bool SignalWorld::step() { return step_admission() || step_hub() || step_peers(); }

void SignalWorld::run() {
  while (step()) {
  }
}

void SignalWorld::advance(Duration duration, Duration step_size) {
  const Instant end = now + duration;
  while (now < end) {
    const Duration step_now = std::min(step_size, end - now);
    now += step_now;
    wall += std::chrono::duration_cast<std::chrono::milliseconds>(step_now);
    admission->handle_timeout(now);
    hub->handle_timeout(now);
    for (auto& [name, site] : sites_) site.verifier->handle_timeout(now, wall);
    for (const auto& peer : peers_) peer->client->handle_timeout(now);
    run();
  }
}

std::vector<IpAddress> SignalWorld::seen_addresses(Instant, const Identity& device) const {
  const auto found = seen.find(device);
  return found == seen.end() ? std::vector<IpAddress>{} : found->second;
}

}  // namespace natt::test
