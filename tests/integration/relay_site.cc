// SPDX-License-Identifier: Apache-2.0
#include "integration/relay_site.h"

#include <algorithm>

#include <natt/uv/tcp_listener.h>

namespace natt::test {
namespace {

const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});
const Identity kBroker{"hq", Role::kBroker, "b1"};

// A TCP port that is free right now, below the range from which the kernel takes ports for others meanwhile: the roster
// has to name it before the broker binds it.
std::uint16_t free_port(UvLoop& loop, Random& random) {
  struct Nothing final : uv::TcpListener::Listener {
    void on_connection(Instant, std::unique_ptr<uv::TcpConnection>) override {}
  } nothing;
  for (int tries = 0; tries < 100; ++tries) {
    const auto port = static_cast<std::uint16_t>(15'000 + random.uniform(15'000));
    if (uv::TcpListener::open(loop.get(), {.bind = {kLoopback, port}}, nothing)) return port;
  }
  FAIL("no free port");
  return 0;
}

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

RelaySite::RelaySite(uv::BrokerOptions options, std::uint64_t gateway_features) {
  auto authority = Authority::create("hq", uv::wall_now(), random);
  REQUIRE(authority);
  authority_ = std::move(*authority);
  psk_ = spa::SitePsk(random.bytes<32>());
  broker_address = {kLoopback, free_port(loop, random)};
  loop.run_turns();
  for (const Identity& identity : {kBroker, gateway_identity, alice_identity, mallory_identity}) add(identity);
  options.address = kLoopback;
  options.port = broker_address.port;
  options.dns_port = 0;
  options.relay_key = RelayKey(random.bytes<32>());
  uv::BrokerSiteOptions site{.credentials = credentials(kBroker), .spa_keys = {}, .psk = psk_, .roster = make_roster()};
  site.spa_keys.push_back(spa::KeyPair::from_secret(devices_.at(kBroker).key.secret()));
  options.sites.push_back(std::move(site));
  auto made = uv::Broker::open(loop.get(), std::move(options), random);
  REQUIRE(made);
  broker = std::move(*made);
  gateway = open(gateway_identity, gateway_features);
  alice = open(alice_identity, kFeatureRelayUdp | kFeatureRelayTcp);
  mallory = open(mallory_identity, kFeatureRelayUdp | kFeatureRelayTcp);
  REQUIRE(loop.run_until([&] { return gateway->connected() && alice->connected() && mallory->connected(); }, 5000));
}

RelaySite::~RelaySite() {
  for (auto* device : {&gateway, &alice, &mallory}) device->reset();
  broker.reset();
}

void RelaySite::add(const Identity& identity) {
  auto certificate = authority_->issue(identity, uv::wall_now(), kCertificateLifetime);
  REQUIRE(certificate);
  std::optional<Secret<16>> mask;
  if (identity.role != Role::kClient) mask = Secret<16>(random.bytes<16>());
  devices_.emplace(identity, Device{std::move(*certificate), spa::KeyPair::generate(random), mask});
}

Credentials RelaySite::credentials(const Identity& identity) const {
  const Device& device = devices_.at(identity);
  auto credentials = Credentials::from_pem(device.certificate.certificate_pem, device.certificate.key_pem,
                                           authority_->certificate_pem());
  REQUIRE(credentials);
  return std::move(*credentials);
}

SignedRoster RelaySite::make_roster() {
  Roster roster{.site = "hq", .number = ++roster_number_, .issued_at = uv::wall_now(),
                .next_update = uv::wall_now() + std::chrono::hours(24), .devices = {}, .revoked = {}};
  for (const auto& [identity, device] : devices_) {
    RosterDevice entry{.identity = identity, .spa_keys = {{1, device.key.public_key().bytes}}, .mask_key = device.mask,
                       .addresses = {}};
    if (identity.role == Role::kBroker) entry.addresses = {broker_address};
    roster.devices.push_back(std::move(entry));
  }
  auto documents = authority_->sign_roster(roster);
  REQUIRE(documents);
  return *documents;
}

std::unique_ptr<RelayDevice> RelaySite::open(const Identity& identity, std::uint64_t features) {
  return std::make_unique<RelayDevice>(loop, random, credentials(identity), devices_.at(identity).key, psk_,
                                       make_roster(), features);
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
  REQUIRE(loop.run_until([&] { return !alice->accepted.empty() && alice->accepted.back() == session; }, 3000));
  return session;
}

void RelaySite::request_relay(const SessionId& session) {
  const std::size_t before = alice->grants.size();
  const std::size_t gateway_before = gateway->grants.size();
  alice->send(RelayRequest{.session = session, .transport = RelayTransport::kTcp});
  REQUIRE(loop.run_until(
      [&] { return alice->grants.size() > before && gateway->grants.size() > gateway_before; }, 3000));
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
  const auto pair = spa::PairKey::derive(devices_.at(identity).key, {devices_.at(kBroker).key.public_key().bytes},
                                         spa::DeviceId::of(identity), spa::DeviceId::of(kBroker), psk_);
  REQUIRE(pair);
  spa::Knocker knocker({.device = identity, .verifier = kBroker, .port = broker_address.port,
                        .mask = *devices_.at(kBroker).mask, .key_generation = 1, .dns_suffix = {}},
                       *pair, random);
  const auto hello = knocker.make_relay_join(uv::wall_now(), knocker.next_knock_id(), token);
  ByteBuffer flight = hello.record1;
  flight.insert(flight.end(), hello.record2.begin(), hello.record2.end());
  return flight;
}

std::unique_ptr<JoinedLeg> RelaySite::connect_raw(ByteView bytes) {
  struct Connecting final : uv::TcpConnection::Listener {
    bool connected = false;
    void on_connected(Instant) override { connected = true; }
    void on_bytes(Instant, ByteView) override {}
    void on_eof(Instant) override {}
    void on_drained(Instant) override {}
    void on_closed(Instant, const Error&) override {}
  } connecting;
  auto connection = uv::TcpConnection::connect(loop.get(), {.to = broker_address}, connecting);
  REQUIRE(connection);
  REQUIRE(loop.run_until([&] { return connecting.connected; }, 2000));
  auto leg = std::make_unique<JoinedLeg>(std::move(*connection));
  leg->connection->write(bytes);
  return leg;
}

void RelaySite::revoke(const Identity& identity) {
  devices_.erase(identity);
  REQUIRE(broker->update_roster(uv::now(), "hq", make_roster()));
}

}  // namespace natt::test
