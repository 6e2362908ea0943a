// SPDX-License-Identifier: Apache-2.0
// A TLS site as the programs compose it, on real sockets over loopback: direct and relayed
// tunnels are TLS and HTTP/2 over TCP. Punched ones need NATs: tests/lab/test_tls_sites.py.
#include <algorithm>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/tls_stream.h>

#include "integration/loopback_site.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;
using tunnel::TunnelProtocol;

namespace {

LoopbackSite::Options tls(bool direct = true) { return {.direct = direct, .protocol = TunnelProtocol::kTls}; }

// Takes connections and says nothing.
class SilentListener final : private uv::TcpListener::Listener {
 public:
  explicit SilentListener(uv_loop_t& loop) {
    auto listener = uv::TcpListener::open(loop, {.bind = {IpAddress::v4({127, 0, 0, 1}), 0}}, *this);
    REQUIRE(listener);
    listener_ = std::move(*listener);
  }
  [[nodiscard]] SocketAddress address() const { return listener_->local_address(); }
  // Until every connection it took is over.
  [[nodiscard]] bool all_ended(UvLoop& loop) {
    return loop.run_until([this] {
      return std::all_of(taken_.begin(), taken_.end(), [](const auto& each) { return each->ended; });
    });
  }
  [[nodiscard]] std::size_t taken() const { return taken_.size(); }

 private:
  struct Taken final : uv::TcpConnection::Listener {
    std::unique_ptr<uv::TcpConnection> connection;
    bool ended = false;
    void on_connected(Instant) override {}
    void on_bytes(Instant, ByteView) override {}
    void on_eof(Instant) override { ended = true; }
    void on_drained(Instant) override {}
    void on_closed(Instant, const Error&) override { ended = true; }
  };
  void on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    taken_.push_back(std::make_unique<Taken>());
    taken_.back()->connection = std::move(connection);
    taken_.back()->connection->set_listener(*taken_.back());
  }
  std::unique_ptr<uv::TcpListener> listener_;
  std::vector<std::unique_ptr<Taken>> taken_;
};

// Takes a gateway's address, strips the SPA records and answers with a certificate that names the gateway, but is of
// an authority of its own.
class Impostor final : private uv::TcpListener::Listener {
 public:
  Impostor(uv_loop_t& loop, Random& random) {
    const auto forger = Authority::create("hq", uv::wall_now(), random);
    REQUIRE(forger);
    const auto certificate = (*forger)->issue({"hq", Role::kGateway, "gw1"}, uv::wall_now(), kCertificateLifetime);
    REQUIRE(certificate);
    const auto forged =
        Credentials::from_pem(certificate->certificate_pem, certificate->key_pem, (*forger)->certificate_pem());
    REQUIRE(forged);
    auto context = TlsContext::make(*forged, TlsDirection::kServer, "h2");
    auto listener = uv::TcpListener::open(loop, {.bind = {IpAddress::v4({127, 0, 0, 1}), 0}}, *this);
    REQUIRE((context && listener));
    context_ = std::move(*context);
    listener_ = std::move(*listener);
  }
  [[nodiscard]] SocketAddress address() const { return listener_->local_address(); }

  std::size_t handshakes_begun = 0;
  std::size_t alerts = 0;
  std::size_t plaintext = 0;

 private:
  struct Victim final : uv::TcpConnection::Listener {
    Impostor& impostor;
    std::unique_ptr<uv::TcpConnection> connection;
    std::unique_ptr<TlsStream> tls;
    ByteBuffer early;

    Victim(Impostor& owner, std::unique_ptr<uv::TcpConnection> taken) : impostor(owner), connection(std::move(taken)) {
      connection->set_listener(*this);
    }
    void on_connected(Instant) override {}
    void on_bytes(Instant, ByteView bytes) override {
      if (!tls && !strip_first_record(bytes)) return;
      const bool failed_before = tls->state() == TlsStream::State::kFailed;
      tls->handle_bytes(tls->state() == TlsStream::State::kHandshaking && !early.empty() ? ByteView(early) : bytes);
      early.clear();
      impostor.plaintext += tls->take_plaintext().size();
      connection->write(tls->take_ciphertext());
      if (!failed_before && tls->state() == TlsStream::State::kFailed) ++impostor.alerts;
    }
    bool strip_first_record(ByteView bytes) {
      early.insert(early.end(), bytes.begin(), bytes.end());
      const std::size_t header = 5;
      if (early.size() < header) return false;
      const std::size_t record = header + load_be<std::uint16_t>(early.data() + 3);
      if (early.size() <= record) return false;
      early.erase(early.begin(), early.begin() + static_cast<std::ptrdiff_t>(record));
      auto accepted = TlsStream::accept(*impostor.context_, {.site = "hq", .role = Role::kClient, .identity = {}},
                                        uv::wall_now());
      REQUIRE(accepted);
      tls = std::move(*accepted);
      ++impostor.handshakes_begun;
      return true;
    }
    void on_eof(Instant) override {}
    void on_drained(Instant) override {}
    void on_closed(Instant, const Error&) override {}
  };
  void on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    victims_.push_back(std::make_unique<Victim>(*this, std::move(connection)));
  }
  std::unique_ptr<TlsContext> context_;
  std::unique_ptr<uv::TcpListener> listener_;
  std::vector<std::unique_ptr<Victim>> victims_;
};

// One echo through the site: proves that the tunnel carries bytes both ways now.
void check_echo(LoopbackSite& site, const std::string& text) {
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes(text));
  CHECK(site.loop.run_until([&] { return application.received == text; }, 20'000));
}

}  // namespace

TEST_CASE("tls site: a stream travels through a direct TLS tunnel and back", "[integration][tls-site]") {
  LoopbackSite site(tls());
  site.open_all();

  check_echo(site, "hello");

  const auto connection = site.connection();
  REQUIRE(connection);
  CHECK(connection->type == ConnectionType::kDirect);
  CHECK(connection->protocol == TunnelProtocol::kTls);
  CHECK(connection->remote == site.gateway_address());
  CHECK(connection->local.ip == site.gateway_address().ip);
  CHECK(connection->stats.bytes_in > 0);
  CHECK(connection->stats.bytes_out > 0);
  REQUIRE(site.gateway->connections().size() == 1);
  CHECK(site.gateway->connections()[0].protocol == TunnelProtocol::kTls);
  CHECK(site.gateway->connections()[0].type == ConnectionType::kDirect);
  CHECK(site.loop.run_until([&] { return site.broker->sessions().size() == 1; }));
  CHECK(site.broker->sessions()[0].type == ConnectionType::kDirect);
}

TEST_CASE("tls site: without a known address the tunnel is TLS through the relay", "[integration][tls-site]") {
  LoopbackSite site(tls(false));
  site.open_all();

  check_echo(site, "hello");

  const auto connection = site.connection();
  REQUIRE(connection);
  CHECK(connection->type == ConnectionType::kRelay);
  CHECK(connection->protocol == TunnelProtocol::kTls);
  CHECK(connection->relay_reason);
  REQUIRE(site.gateway->connections().size() == 1);
  CHECK(site.gateway->connections()[0].type == ConnectionType::kRelay);
  CHECK(site.gateway->connections()[0].protocol == TunnelProtocol::kTls);
  CHECK(site.loop.run_until([&] {
    const auto sessions = site.broker->sessions();
    return sessions.size() == 1 && sessions[0].type == ConnectionType::kRelay;
  }));
}

TEST_CASE("tls site: the relay is taken where nothing listens at the known address", "[integration][tls-site]") {
  LoopbackSite site(tls());
  site.know_gateway_at({IpAddress::v4({127, 0, 0, 1}), 1});
  site.open_all();

  check_echo(site, "hello");

  CHECK(site.connection_type() == ConnectionType::kRelay);
}

TEST_CASE("tls site: the relay wins over an address that is silent, and lets go of it", "[integration][tls-site]") {
  LoopbackSite site(tls());
  SilentListener silent(site.loop.get());
  site.know_gateway_at(silent.address());
  site.open_all();

  check_echo(site, "hello");

  CHECK(site.connection_type() == ConnectionType::kRelay);
  CHECK(silent.taken() >= 1);
  CHECK(silent.all_ended(site.loop));
  CHECK(site.gateway->connections().size() == 1);
}

TEST_CASE("tls site: a grant that has run out by the relay's time is asked for again", "[integration][tls-site]") {
  LoopbackSite::Options options = tls(false);
  options.relay_after = 10'500ms;
  LoopbackSite site(options);
  site.open_all();
  site.client->keep_up(uv::now(), "gw1");

  CHECK(site.loop.run_until([&] { return site.connection_type() == ConnectionType::kRelay; }, 15'000));
}

TEST_CASE("tls site: sixteen megabytes come back unchanged, and both half-closes arrive", "[integration][tls-site]") {
  const bool direct = GENERATE(true, false);
  CAPTURE(direct);
  LoopbackSite site(tls(direct));
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  const std::string sent = test_pattern(16 << 20);

  application.write(as_bytes(sent));
  application.shutdown();

  CHECK(site.loop.run_until([&] { return application.eof; }, 30'000));
  CHECK(application.received == sent);
  CHECK(site.loop.run_until([&] { return site.gateway->stream_count() == 0; }));
  CHECK_FALSE(application.reset);
}

TEST_CASE("tls site: two hundred streams at once keep their bytes apart", "[integration][tls-site]") {
  LoopbackSite site(tls());
  site.open_all();
  std::vector<std::unique_ptr<LocalApplication>> applications;
  for (int i = 0; i < 200; ++i) {
    applications.push_back(std::make_unique<LocalApplication>(site.loop));
    site.open_echo(*applications.back());
    applications.back()->write(as_bytes("stream " + std::to_string(i)));
    applications.back()->shutdown();
  }

  CHECK(site.loop.run_until([&] {
    return std::all_of(applications.begin(), applications.end(), [](const auto& each) { return each->eof; });
  }, 20'000));

  for (int i = 0; i < 200; ++i) {
    CHECK(applications[static_cast<std::size_t>(i)]->received == "stream " + std::to_string(i));
  }
  CHECK(site.gateway->connections().size() == 1);
}

TEST_CASE("tls site: one stream that nobody reads does not hold up another", "[integration][tls-site]") {
  LoopbackSite site(tls());
  site.open_all();
  LocalApplication stuck(site.loop);
  site.open_echo(stuck);
  stuck.stop_reading();
  stuck.write(as_bytes(test_pattern(32 << 20)));
  static_cast<void>(site.loop.run_until([] { return false; }, 500));

  check_echo(site, "still here");
}

TEST_CASE("tls site: a target that no rule allows is refused with 403 and the connection reset",
          "[integration][tls-site]") {
  LoopbackSite site(tls());
  site.open_all();
  LocalApplication application(site.loop);
  const auto target = tunnel::Authority::of({IpAddress::v4({127, 0, 0, 1}), site.policy.forbidden_port});
  const auto id = site.client->open_stream(uv::now(), "gw1", target);
  site.client->attach(uv::now(), id, application.take_other_end());

  CHECK(site.loop.run_until([&] { return site.failed.contains(id); }, 5000));
  CHECK(site.failed[id].status == 403);
  CHECK(site.failed[id].reason == "no rule");
  CHECK(site.loop.run_until([&] { return application.reset; }));
}

TEST_CASE("tls site: datagrams of a UDP flow reach their target and come back", "[integration][tls-site]") {
  const bool direct = GENERATE(true, false);
  CAPTURE(direct);
  LoopbackSite site(tls(direct));
  site.open_all();
  UdpEcho echo(site.loop.get());
  const auto id = site.client->open_udp(uv::now(), "gw1", tunnel::Authority::of(echo.address()));
  REQUIRE(site.loop.run_until([&] { return !site.opened.empty(); }, 8000));

  CHECK(site.client->send_datagram(uv::now(), id, as_bytes("one")));
  CHECK(site.client->send_datagram(uv::now(), id, as_bytes(test_pattern(1472))));

  CHECK(site.loop.run_until([&] { return site.datagrams[id].size() == 2; }));
  CHECK(site.datagrams[id].at(0) == "one");
  CHECK(site.datagrams[id].at(1) == test_pattern(1472));
  site.client->cancel(uv::now(), id);
  CHECK(site.loop.run_until([&] { return site.gateway->stream_count() == 0; }));
}

TEST_CASE("tls site: a direct tunnel outlives its broker and loses nothing", "[integration][tls-site]") {
  LoopbackSite site(tls());
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes("before"));
  REQUIRE(site.loop.run_until([&] { return application.received == "before"; }, 5000));

  site.broker.reset();
  application.write(as_bytes(" after"));

  CHECK(site.loop.run_until([&] { return application.received == "before after"; }));
  site.open_broker();
  // The new broker learns from the client what it never saw.
  CHECK(site.loop.run_until([&] { return site.broker->sessions().size() == 1; }, 10'000));
  application.write(as_bytes(" all"));
  CHECK(site.loop.run_until([&] { return application.received == "before after all"; }));
  CHECK(site.connection_type() == ConnectionType::kDirect);
  CHECK_FALSE(application.reset);
}

TEST_CASE("tls site: a relayed tunnel ends with its broker at once and is raced for again", "[integration][tls-site]") {
  LoopbackSite site(tls(false));
  site.open_all();
  LocalApplication application(site.loop);
  const auto id = site.open_echo(application);
  application.write(as_bytes("before"));
  REQUIRE(site.loop.run_until([&] { return application.received == "before"; }, 8000));

  site.broker.reset();
  CHECK(site.loop.run_until([&] { return application.reset && site.failed.contains(id); }, 1000));
  CHECK_FALSE(site.connection_type());

  site.open_broker();
  check_echo(site, "again");
  CHECK(site.connection_type() == ConnectionType::kRelay);
}

TEST_CASE("tls site: a restarted gateway is noticed at once and raced for again", "[integration][tls-site]") {
  const bool direct = GENERATE(true, false);
  CAPTURE(direct);
  LoopbackSite site(tls(direct));
  site.open_all();
  site.client->keep_up(uv::now(), "gw1");
  REQUIRE(site.loop.run_until([&] { return site.connection_type().has_value(); }, 8000));

  site.gateway.reset();
  CHECK(site.loop.run_until([&] { return !site.connection_type(); }, 1000));
  site.open_gateway();

  CHECK(site.loop.run_until([&] { return site.gateway->connections().size() == 1; }, 30'000));
  check_echo(site, "again");
}

TEST_CASE("tls site: revoking a client at the broker ends its tunnel within a second", "[integration][tls-site]") {
  const bool direct = GENERATE(true, false);
  CAPTURE(direct);
  LoopbackSite site(tls(direct));
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes("hello"));
  REQUIRE(site.loop.run_until([&] { return application.received == "hello"; }, 8000));

  site.revoke(Role::kClient, "alice");

  CHECK(site.loop.run_until([&] { return application.reset && site.gateway->connections().empty(); }, 1000));
  CHECK(site.broker->sites(uv::wall_now())[0].clients_online == 0);
  CHECK_FALSE(site.connection_type());
}

TEST_CASE("tls site: whoever shows a gateway's certificate of another authority gets nothing",
          "[integration][tls-site]") {
  LoopbackSite::Options options = tls();
  options.race_timeout = 1500ms;
  LoopbackSite site(options);
  Impostor impostor(site.loop.get(), site.random);
  site.know_gateway_at(impostor.address());
  site.open_broker();
  site.open_client();
  LocalApplication application(site.loop);
  const auto id = site.open_echo(application);
  application.write(as_bytes("secret"));

  REQUIRE(site.loop.run_until([&] { return site.failed.contains(id); }, 5000));
  CHECK(site.failed[id].status == 0);
  CHECK(site.failed[id].reason.find("Direct=handshake") != std::string::npos);
  CHECK(site.loop.run_until([&] { return application.reset; }));
  CHECK(impostor.handshakes_begun >= 1);
  CHECK(impostor.alerts == impostor.handshakes_begun);
  CHECK(impostor.plaintext == 0);
}

TEST_CASE("tls site: a client leaves its gateway with a word", "[integration][tls-site]") {
  const bool direct = GENERATE(true, false);
  CAPTURE(direct);
  LoopbackSite site(tls(direct));
  site.open_all();
  site.client->keep_up(uv::now(), "gw1");
  REQUIRE(site.loop.run_until([&] { return site.gateway->connections().size() == 1; }, 8000));

  site.client->close(uv::now());

  CHECK(site.loop.run_until([&] { return site.gateway->connections().empty(); }, 1000));
}

TEST_CASE("tls site: destroying any part in the middle of a transfer is boring", "[integration][tls-site]") {
  const int part = GENERATE(0, 1, 2);
  CAPTURE(part);
  LoopbackSite site(tls(part != 2));
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes(test_pattern(8 << 20)));
  REQUIRE(site.loop.run_until([&] { return application.received.size() > 100'000; }, 8000));

  if (part == 0) site.client.reset();
  if (part == 1) site.gateway.reset();
  if (part == 2) site.broker.reset();

  CHECK(site.loop.run_until([&] { return application.reset; }, 2000));
}

TEST_CASE("tls site: a client that goes away while its race is on is boring", "[integration][tls-site]") {
  const int turns = GENERATE(1, 3, 10, 30, 100);
  CAPTURE(turns);
  LoopbackSite site(tls(turns % 2 == 1));
  site.open_all();
  site.client->keep_up(uv::now(), "gw1");
  site.loop.run_turns(turns);
  if (turns > 5) site.client->close(uv::now());
  site.client.reset();
  site.loop.run_turns(20);
  CHECK(site.loop.run_until([&] { return site.gateway->connections().empty(); }));
}
