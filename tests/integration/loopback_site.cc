// SPDX-License-Identifier: Apache-2.0
#include "integration/loopback_site.h"

#include "integration/free_port.h"

namespace natt::test {
namespace {

using namespace std::chrono_literals;

const IpAddress kLoopback = IpAddress::v4({127, 0, 0, 1});

const Identity kBroker{"hq", Role::kBroker, "b1"};
const Identity kGateway{"hq", Role::kGateway, "gw1"};
const Identity kAlice{"hq", Role::kClient, "alice"};

}  // namespace

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

LoopbackSite::LoopbackSite(Options options) : options_(options), devices_(random) {
  broker_port_ = free_port(loop, random);
  gateway_port_ = free_port(loop, random);
  loop.run_turns();
  for (const Identity& identity : {kBroker, kGateway, kAlice, Identity{"hq", Role::kClient, "mallory"}}) {
    devices_.add(identity);
  }
  if (options_.gateway_has_older_key) devices_.add_older_key(kGateway);
  echo = std::make_unique<EchoService>(loop.get());
}

LoopbackSite::~LoopbackSite() {
  client.reset();
  gateway.reset();
  broker.reset();
  echo.reset();
}

SignedRoster LoopbackSite::make_roster() { return devices_.make_roster({kLoopback, broker_port_}); }

void LoopbackSite::open_broker() {
  uv::BrokerOptions options{.address = kLoopback, .port = broker_port_, .dns_port = 0,
                            .relay_key = RelayKey(random.bytes<32>()),
                            .persist_retry = std::chrono::milliseconds(50)};
  uv::BrokerSiteOptions site{.credentials = devices_.credentials(kBroker), .spa_keys = {}, .psk = devices_.psk(),
                             .roster = make_roster()};
  site.spa_keys.push_back(devices_.spa_key(kBroker));
  options.sites.push_back(std::move(site));
  auto made = uv::Broker::open(loop.get(), std::move(options), random);
  REQUIRE(made);
  broker = std::move(*made);
}

void LoopbackSite::open_gateway() {
  // SPA frames of a gateway carry no port, so any will do.
  tunnel::uv::GatewayOptions options{.listen = {kLoopback, gateway_port_}, .credentials = devices_.credentials(kGateway),
                                     .spa_keys = devices_.spa_keys(kGateway), .psk = devices_.psk(),
                                     .roster = make_roster(), .persist_retry = std::chrono::milliseconds(50),
                                     .protocol = options_.protocol, .gate = options_.gate};
  auto made = tunnel::uv::Gateway::open(loop.get(), std::move(options), policy, random, *this);
  REQUIRE(made);
  gateway = std::move(*made);
}

void LoopbackSite::open_client() {
  tunnel::uv::SiteClientOptions options{.bind = {kLoopback, 0},
                                        .credentials = devices_.credentials(kAlice),
                                        .spa_key = {1, devices_.spa_key(kAlice)},
                                        .psk = devices_.psk(),
                                        .roster = make_roster(),
                                        .protocol = options_.protocol,
                                        .natt_after = options_.natt_after.value_or(options_.direct ? 5s : 300ms),
                                        .relay_after = options_.relay_after.value_or(options_.direct ? 5s : 200ms),
                                        .race_timeout = options_.race_timeout};
  if (options_.direct) options.gateway_addresses["gw1"] = {known_address_.value_or(gateway_address())};
  auto made = tunnel::uv::SiteClient::open(loop.get(), std::move(options), random, *this);
  REQUIRE(made);
  client = std::move(*made);
}

Result<void> LoopbackSite::renew_gateway() {
  devices_.renew_certificate(kGateway);
  std::vector<uv::SpaOwnKey> keys;
  keys.push_back({1, devices_.spa_key(kGateway)});
  return gateway->update_keys(uv::now(), devices_.credentials(kGateway), std::move(keys));
}

Credentials LoopbackSite::client_credentials(const std::string& name) {
  return devices_.credentials({"hq", Role::kClient, name});
}

std::unique_ptr<spa::Knocker> LoopbackSite::make_knocker(const std::string& name, Role role,
                                                         const std::string& verifier) {
  return devices_.make_knocker({"hq", Role::kClient, name}, {"hq", role, verifier});
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
  return loop.run_until([this] { return connection_type().has_value(); });
}

void LoopbackSite::revoke(Role role, const std::string& name) {
  devices_.remove({"hq", role, name});
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
