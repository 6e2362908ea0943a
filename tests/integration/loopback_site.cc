// SPDX-License-Identifier: Apache-2.0
#include "integration/loopback_site.h"

namespace natt::test {
namespace {

const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});

// A UDP and TCP port that is free right now; the roster has to name it before the program binds it. Below the range
// from which the kernel takes ports for others in the meantime.
std::uint16_t free_port(uv_loop_t& loop, Random& random) {
  struct Nothing final : uv::UdpSocket::Listener, uv::TcpListener::Listener {
    void on_train(Instant, const uv::ReceivedTrain&) override {}
    void on_receive_done(Instant) override {}
    void on_writable(Instant) override {}
    void on_connection(Instant, std::unique_ptr<uv::TcpConnection>) override {}
  } nothing;
  for (int tries = 0; tries < 100; ++tries) {
    const auto port = static_cast<std::uint16_t>(15'000 + random.uniform(15'000));
    const auto udp = uv::UdpSocket::open(loop, {.bind = {kLoopback, port}}, nothing);
    const auto tcp = uv::TcpListener::open(loop, {.bind = {kLoopback, port}}, nothing);
    if (udp && tcp) return port;
  }
  FAIL("no free port");
  return 0;
}

}  // namespace

std::string test_pattern(std::size_t size) {
  std::string text(size, '\0');
  SeededRandom random(7);
  random.fill({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  return text;
}

class EchoService::Connection final : public uv::TcpConnection::Listener {
 public:
  explicit Connection(std::unique_ptr<uv::TcpConnection> connection) : connection_(std::move(connection)) {
    connection_->set_listener(*this);
  }
  [[nodiscard]] bool open() const { return open_; }

 private:
  void on_connected(Instant) override {}
  void on_bytes(Instant, ByteView bytes) override {
    connection_->write(bytes);
    if (connection_->write_queue_bytes() > (std::size_t{1} << 20)) connection_->pause_reading();
  }
  void on_eof(Instant) override {
    connection_->shutdown();
    open_ = false;
  }
  void on_drained(Instant) override { connection_->resume_reading(); }
  void on_closed(Instant, const Error&) override { open_ = false; }

  std::unique_ptr<uv::TcpConnection> connection_;
  bool open_ = true;
};

EchoService::EchoService(uv_loop_t& loop) {
  auto listener = uv::TcpListener::open(loop, {.bind = {kLoopback, 0}}, *this);
  REQUIRE(listener);
  listener_ = std::move(*listener);
}
EchoService::~EchoService() = default;

std::size_t EchoService::open() const {
  std::size_t count = 0;
  for (const auto& connection : connections_) count += connection->open() ? 1U : 0U;
  return count;
}

void EchoService::on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) {
  connections_.push_back(std::make_unique<Connection>(std::move(connection)));
}

UdpEcho::UdpEcho(uv_loop_t& loop) {
  auto socket = uv::UdpSocket::open(loop, {.bind = {kLoopback, 0}, .gro = false}, *this);
  REQUIRE(socket);
  socket_ = std::move(*socket);
}

void UdpEcho::on_train(Instant, const uv::ReceivedTrain& train) {
  socket_->send({.to = train.from, .from = {}, .header = {}, .bytes = train.bytes});
}

LocalApplication::LocalApplication(UvLoop& loop) {
  auto listener = uv::TcpListener::open(loop.get(), {.bind = {kLoopback, 0}}, *this);
  REQUIRE(listener);
  listener_ = std::move(*listener);
  auto connection = uv::TcpConnection::connect(loop.get(), {.to = listener_->local_address()}, *this);
  REQUIRE(connection);
  connection_ = std::move(*connection);
  REQUIRE(loop.run_until([this] { return connected_ && accepted_; }));
}
LocalApplication::~LocalApplication() = default;

LoopbackSite::LoopbackSite(Options options) : options_(options) {
  auto authority = Authority::create("hq", uv::wall_now(), random);
  REQUIRE(authority);
  authority_ = std::move(*authority);
  psk_ = spa::SitePsk(random.bytes<32>());
  broker_port_ = free_port(loop.get(), random);
  gateway_port_ = free_port(loop.get(), random);
  loop.run_turns();
  add_device(Role::kBroker, "b1");
  add_device(Role::kGateway, "gw1");
  if (options_.gateway_has_older_key) {
    device(Role::kGateway, "gw1").older = std::make_unique<spa::KeyPair>(spa::KeyPair::generate(random));
  }
  add_device(Role::kClient, "alice");
  add_device(Role::kClient, "mallory");
  echo = std::make_unique<EchoService>(loop.get());
}

LoopbackSite::~LoopbackSite() {
  client.reset();
  gateway.reset();
  broker.reset();
  echo.reset();
}

void LoopbackSite::add_device(Role role, const std::string& name) {
  const Identity identity{"hq", role, name};
  auto certificate = authority_->issue(identity, uv::wall_now(), kCertificateLifetime);
  REQUIRE(certificate);
  auto key = std::make_unique<spa::KeyPair>(spa::KeyPair::generate(random));
  devices_.emplace(identity, Device{identity, std::move(*certificate), std::move(key), nullptr});
  if (role != Role::kClient) masks_.emplace(identity, Secret<16>(random.bytes<16>()));
}

LoopbackSite::Device& LoopbackSite::device(Role role, const std::string& name) {
  return devices_.at({"hq", role, name});
}

Credentials LoopbackSite::credentials(const Device& device) const {
  auto credentials = Credentials::from_pem(device.certificate.certificate_pem, device.certificate.key_pem,
                                           authority_->certificate_pem());
  REQUIRE(credentials);
  return std::move(*credentials);
}

SignedRoster LoopbackSite::make_roster() {
  Roster roster{.site = "hq", .number = ++roster_number_, .issued_at = uv::wall_now(),
                .next_update = uv::wall_now() + std::chrono::hours(24), .devices = {}, .revoked = {}};
  for (const auto& [identity, device] : devices_) {
    RosterDevice entry{.identity = identity, .spa_keys = {{1, device.key->public_key().bytes}}, .mask_key = {},
                       .addresses = {}};
    if (device.older) entry.spa_keys.insert(entry.spa_keys.begin(), {0, device.older->public_key().bytes});
    if (const auto mask = masks_.find(identity); mask != masks_.end()) entry.mask_key = mask->second;
    if (identity.role == Role::kBroker) entry.addresses = {{kLoopback, broker_port_}};
    roster.devices.push_back(std::move(entry));
  }
  auto documents = authority_->sign_roster(roster);
  REQUIRE(documents);
  return *documents;
}

void LoopbackSite::open_broker() {
  uv::BrokerOptions options{.address = kLoopback, .port = broker_port_, .dns_port = 0,
                            .relay_key = RelayKey(random.bytes<32>()),
                            .persist_retry = std::chrono::milliseconds(50)};
  uv::BrokerSiteOptions site{.credentials = credentials(device(Role::kBroker, "b1")), .spa_keys = {}, .psk = psk_,
                             .roster = make_roster()};
  site.spa_keys.push_back(spa::KeyPair::from_secret(device(Role::kBroker, "b1").key->secret()));
  options.sites.push_back(std::move(site));
  auto made = uv::Broker::open(loop.get(), std::move(options), random);
  REQUIRE(made);
  broker = std::move(*made);
}

void LoopbackSite::open_gateway() {
  const Device& own = device(Role::kGateway, "gw1");
  // SPA frames of a gateway carry no port, so any will do.
  tunnel::uv::GatewayOptions options{.listen = {kLoopback, gateway_port_}, .credentials = credentials(own),
                                     .spa_keys = {}, .psk = psk_, .roster = make_roster(),
                                     .persist_retry = std::chrono::milliseconds(50),
                                     .protocol = options_.protocol, .gate = options_.gate};
  options.spa_keys.push_back({1, spa::KeyPair::from_secret(own.key->secret())});
  if (own.older) options.spa_keys.push_back({0, spa::KeyPair::from_secret(own.older->secret())});
  auto made = tunnel::uv::Gateway::open(loop.get(), std::move(options), policy, random, *this);
  REQUIRE(made);
  gateway = std::move(*made);
}

void LoopbackSite::open_client() {
  const Device& own = device(Role::kClient, "alice");
  tunnel::uv::SiteClientOptions options{.bind = {kLoopback, 0},
                                        .credentials = credentials(own),
                                        .spa_key = {1, spa::KeyPair::from_secret(own.key->secret())},
                                        .psk = psk_,
                                        .roster = make_roster(),
                                        .protocol = options_.protocol,
                                        .natt_after = options_.natt_after,
                                        .relay_after = options_.relay_after,
                                        .race_timeout = options_.race_timeout};
  if (options_.direct) options.gateway_addresses["gw1"] = {known_address_.value_or(gateway_address())};
  auto made = tunnel::uv::SiteClient::open(loop.get(), std::move(options), random, *this);
  REQUIRE(made);
  client = std::move(*made);
}

Result<void> LoopbackSite::renew_gateway() {
  Device& own = device(Role::kGateway, "gw1");
  auto certificate = authority_->issue(own.identity, uv::wall_now(), kCertificateLifetime);
  REQUIRE(certificate);
  own.certificate = std::move(*certificate);
  std::vector<uv::SpaOwnKey> keys;
  keys.push_back({1, spa::KeyPair::from_secret(own.key->secret())});
  return gateway->update_keys(uv::now(), credentials(own), std::move(keys));
}

Credentials LoopbackSite::client_credentials(const std::string& name) {
  return credentials(device(Role::kClient, name));
}

std::unique_ptr<spa::Knocker> LoopbackSite::make_knocker(const std::string& name, Role role,
                                                         const std::string& verifier) {
  const Device& own = device(Role::kClient, name);
  const Device& theirs = device(role, verifier);
  const auto pair = spa::PairKey::derive(*own.key, theirs.key->public_key(), spa::DeviceId::of(own.identity),
                                         spa::DeviceId::of(theirs.identity), psk_);
  REQUIRE(pair);
  return std::make_unique<spa::Knocker>(
      spa::KnockerOptions{.device = own.identity, .verifier = theirs.identity, .mask = masks_.at(theirs.identity),
                          .key_generation = 1},
      *pair, random);
}

void LoopbackSite::open_all() {
  open_broker();
  open_gateway();
  REQUIRE(loop.run_until([this] { return broker->sites(uv::wall_now())[0].gateways_online == 1; }));
  open_client();
}

std::optional<tunnel::uv::SiteConnection> LoopbackSite::connection() const {
  for (const auto& each : client->connections()) {
    if (each.connected) return each;
  }
  return std::nullopt;
}

std::optional<ConnectionType> LoopbackSite::connection_type() const {
  const auto up = connection();
  return up ? std::optional(up->type) : std::nullopt;
}

SocketAddress LoopbackSite::gateway_address() const { return {kLoopback, gateway_port_}; }

tunnel::uv::StreamRequestId LoopbackSite::open_echo(LocalApplication& application) {
  const auto id = client->open_stream(uv::now(), "gw1", tunnel::Authority::of(echo->address()));
  client->attach(uv::now(), id, application.take_other_end());
  return id;
}

bool LoopbackSite::connect() {
  client->keep_up(uv::now(), "gw1");
  return loop.run_until([this] { return connection_type().has_value(); }, 5000);
}

void LoopbackSite::revoke(Role role, const std::string& name) {
  devices_.erase({"hq", role, name});
  push_roster();
}

void LoopbackSite::push_roster() {
  REQUIRE(broker->update_roster(uv::now(), "hq", make_roster()));
}

void LoopbackSite::load_roster(std::function<Result<void>()> persist) {
  broker->load_roster("hq", {.read = [documents = make_roster()]() -> Result<SignedRoster> { return documents; },
                             .persist = [persist = std::move(persist)](const SignedRoster&) { return persist(); }});
}

}  // namespace natt::test
