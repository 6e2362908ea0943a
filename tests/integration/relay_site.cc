// SPDX-License-Identifier: Apache-2.0
#include "integration/relay_site.h"

#include "integration/free_port.h"

namespace natt::test {
namespace {

const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});
const Identity kBroker{"hq", Role::kBroker, "b1"};

}  // namespace

RelayDevice::RelayDevice(UvLoop& loop, Random& random, Credentials own, const spa::KeyPair& key,
                         const spa::SitePsk& psk, const SignedRoster& roster, std::uint64_t features)
    : credentials(std::move(own)),
      random_(random),
      key_{1, spa::KeyPair::from_secret(key.secret())},
      psk_(psk),
      offers_(credentials) {
  auto driver = uv::EndpointDriver::open(loop.get(), {.bind = {kLoopback, 0}, .endpoint = {}}, random, *this);
  REQUIRE(driver);
  driver_ = std::move(*driver);
  const bool client = credentials.identity().role == Role::kClient;
  uv::SiteSignaling::Options options{.view = client ? RosterView::kClient : RosterView::kFull, .features = features};
  auto made = uv::SiteSignaling::make(loop.get(), std::move(options), credentials, key_, psk_, roster, *driver_, random,
                                      *this);
  REQUIRE(made);
  signaling = std::move(*made);
  signaling->start(uv::now());
}

RelayDevice::~RelayDevice() { joins.clear(); }

void RelayDevice::send(const SignalMessage& message) {
  REQUIRE(signaling->send(uv::now(), signaling->connected().at(0), message));
}

void RelayDevice::join(const RelayGrantMessage& grant) {
  auto join = signaling->join_relay(uv::now(), signaling->connected().at(0), grant, *this);
  REQUIRE(join);
  joins.push_back(std::move(*join));
}

void RelayDevice::on_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event) {
  if (const auto* grant = std::get_if<RelayGrantMessage>(&event)) grants.push_back(*grant);
  if (const auto* refusal = std::get_if<RelayRefusal>(&event)) refusals.push_back(*refusal);
  if (const auto* answer = std::get_if<AnswerMessage>(&event)) accepted.push_back(answer->session);
  if (const auto* end = std::get_if<SessionEnd>(&event)) ends.push_back(*end);
  if (const auto* offer = std::get_if<ForwardedOffer>(&event)) {
    const auto verified = offers_.verify(offer->sealed_offer, signaling->roster(), uv::wall_now());
    REQUIRE(verified);
    const auto sealed = seal_answer({.session = offer->session,
                                     .client = verified->client,
                                     .refusal = {},
                                     .punch = make_punch_credential(random_),
                                     .transaction_key = StunTransactionKey(random_.bytes<16>()),
                                     .udp = {},
                                     .candidates = {},
                                     .time = uv::wall_now()},
                                    verified->digest, credentials);
    REQUIRE(sealed);
    REQUIRE(signaling->send(now, broker, AnswerMessage{.session = offer->session, .sealed_answer = *sealed}));
  }
}

RelaySite::RelaySite(uv::BrokerOptions options, std::uint64_t gateway_features) : devices_(random) {
  broker_address = {kLoopback, free_port(loop, random)};
  loop.run_turns();
  for (const Identity& identity : {kBroker, gateway_identity, alice_identity, mallory_identity}) devices_.add(identity);
  options.address = kLoopback;
  options.port = broker_address.port;
  options.dns_port = 0;
  options.relay_key = RelayKey(random.bytes<32>());
  uv::BrokerSiteOptions site{.credentials = devices_.credentials(kBroker),
                             .spa_keys = {},
                             .psk = devices_.psk(),
                             .roster = devices_.make_roster(broker_address)};
  site.spa_keys.push_back(devices_.spa_key(kBroker));
  options.sites.push_back(std::move(site));
  auto made = uv::Broker::open(loop.get(), std::move(options), random);
  REQUIRE(made);
  broker = std::move(*made);
  gateway = open(gateway_identity, gateway_features);
  alice = open(alice_identity, kFeatureRelayUdp | kFeatureRelayTcp);
  mallory = open(mallory_identity, kFeatureRelayUdp | kFeatureRelayTcp);
  REQUIRE(loop.run_until([&] { return gateway->connected() && alice->connected() && mallory->connected(); }));
}

RelaySite::~RelaySite() {
  for (auto* device : {&gateway, &alice, &mallory}) device->reset();
  broker.reset();
}

std::unique_ptr<RelayDevice> RelaySite::open(const Identity& identity, std::uint64_t features) {
  return std::make_unique<RelayDevice>(loop, random, devices_.credentials(identity), devices_.spa_key(identity),
                                       devices_.psk(), devices_.make_roster(broker_address), features);
}

SessionId RelaySite::open_session() {
  const SessionId session = SessionId::make(random);
  const auto sealed = seal_offer({.session = session,
                                  .gateway = gateway_identity,
                                  .punch = make_punch_credential(random),
                                  .udp = {},
                                  .candidates = {},
                                  .time = uv::wall_now()},
                                 alice->credentials);
  REQUIRE(sealed);
  alice->send(OfferMessage{.session = session, .gateway = gateway_identity, .sealed_offer = sealed->bytes});
  REQUIRE(loop.run_until([&] { return !alice->accepted.empty() && alice->accepted.back() == session; }));
  return session;
}

void RelaySite::request_relay(const SessionId& session) {
  const std::size_t before = alice->grants.size();
  const std::size_t gateway_before = gateway->grants.size();
  const auto granted = [&] { return alice->grants.size() > before && gateway->grants.size() > gateway_before; };
  // A session gets new tokens once a second: earlier the broker says no, or repeats itself to one end.
  for (int tries = 0; tries < 10 && !granted(); ++tries) {
    alice->send(RelayRequest{.session = session, .transport = RelayTransport::kTcp});
    static_cast<void>(loop.run_until(granted, 300));
  }
  REQUIRE(granted());
}

void RelaySite::join_both() {
  const std::uint64_t before = broker->tcp_relay_stats().pairs_opened;
  request_relay(open_session());
  gateway->join();
  alice->join();
  REQUIRE(loop.run_until(
      [&] {
        return !gateway->legs.empty() && !alice->legs.empty() && broker->tcp_relay_stats().pairs_opened > before;
      },
      5000));
}

ByteBuffer RelaySite::make_flight(const Identity& identity, const std::array<std::uint8_t, 16>& token) {
  const auto knocker = devices_.make_knocker(identity, kBroker, broker_address.port);
  const auto hello = knocker->make_relay_join(uv::wall_now(), knocker->next_knock_id(), token);
  ByteBuffer flight = hello.record1;
  flight.insert(flight.end(), hello.record2.begin(), hello.record2.end());
  return flight;
}

std::unique_ptr<WatchedConnection> RelaySite::connect_raw(ByteView bytes) {
  auto leg = std::make_unique<WatchedConnection>(loop, broker_address, bytes);
  REQUIRE(loop.run_until([&] { return leg->connected; }));
  return leg;
}

void RelaySite::revoke(const Identity& identity) {
  devices_.remove(identity);
  REQUIRE(broker->update_roster(uv::now(), "hq", devices_.make_roster(broker_address)));
}

}  // namespace natt::test
