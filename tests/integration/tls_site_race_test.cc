// SPDX-License-Identifier: Apache-2.0
// How a client of a TLS site comes to its tunnel: addresses that lead nowhere, grants that run out, impostors.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

#include <natt/tls_stream.h>

#include "integration/free_port.h"
#include "integration/tls_site.h"
#include "integration/watched_connection.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

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
      return std::all_of(taken_.begin(), taken_.end(), [](const auto& each) { return each->over(); });
    });
  }
  [[nodiscard]] std::size_t taken() const { return taken_.size(); }

 private:
  void on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    taken_.push_back(std::make_unique<WatchedConnection>(std::move(connection)));
  }
  std::unique_ptr<uv::TcpListener> listener_;
  std::vector<std::unique_ptr<WatchedConnection>> taken_;
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

}  // namespace

TEST_CASE("tls site: the relay is taken where nothing listens at the known address", "[integration][tls-site]") {
  LoopbackSite site(tls_site());
  site.know_gateway_at(nobodys_address(site.loop, site.random));
  site.open_all();

  check_echo(site, "hello");

  CHECK(site.connection_type() == ConnectionType::kRelay);
}

TEST_CASE("tls site: the relay wins over an address that is silent, and lets go of it", "[integration][tls-site]") {
  LoopbackSite site(tls_site());
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
  LoopbackSite::Options options = tls_site(false);
  options.relay_after = 10'500ms;
  LoopbackSite site(options);
  site.open_all();
  site.client->keep_up(uv::now(), "gw1");

  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().tokens_issued == 2; }));
  CHECK(site.loop.run_until([&] { return site.connection_type() == ConnectionType::kRelay; }, 15'000));
  CHECK(site.broker->tcp_relay_stats().tokens_issued == 4);
  CHECK(site.broker->tcp_relay_stats().expired_token == 0);
}

TEST_CASE("tls site: whoever shows a gateway's certificate of another authority gets nothing",
          "[integration][tls-site]") {
  LoopbackSite::Options options = tls_site();
  options.race_timeout = 1500ms;
  LoopbackSite site(options);
  Impostor impostor(site.loop.get(), site.random);
  site.know_gateway_at(impostor.address());
  site.open_broker();
  site.open_client();
  LocalApplication application(site.loop);
  const auto id = site.open_echo(application);
  application.write(as_bytes("secret"));

  REQUIRE(site.loop.run_until([&] { return site.failed.contains(id); }));
  CHECK(site.failed[id].status == 0);
  CHECK(site.failed[id].reason.find("Direct=handshake") != std::string::npos);
  CHECK(site.loop.run_until([&] { return application.reset; }));
  CHECK(impostor.handshakes_begun >= 1);
  CHECK(impostor.alerts == impostor.handshakes_begun);
  CHECK(impostor.plaintext == 0);
}

TEST_CASE("tls site: a client that goes away while its race is on is boring", "[integration][tls-site]") {
  const int turns = GENERATE(1, 3, 10, 30, 100);
  CAPTURE(turns);
  LoopbackSite site(tls_site(turns % 2 == 1));
  site.open_all();
  site.client->keep_up(uv::now(), "gw1");
  site.loop.run_turns(turns);
  if (turns > 5) site.client->close(uv::now());
  site.client.reset();
  site.loop.run_turns(20);
  CHECK(site.loop.run_until([&] { return site.gateway->connections().empty(); }));
}
