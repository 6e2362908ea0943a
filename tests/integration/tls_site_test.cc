// SPDX-License-Identifier: Apache-2.0
// A TLS site as the programs compose it, on real sockets over loopback: direct and relayed
// tunnels are TLS and HTTP/2 over TCP. Punched ones need NATs: tests/lab/test_tls_sites.py.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <algorithm>

#include "integration/tls_site.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;
using tunnel::TunnelProtocol;

TEST_CASE("tls site: a stream travels through a direct TLS tunnel and back", "[integration][tls-site]") {
  LoopbackSite site(tls_site());
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
  LoopbackSite site(tls_site(false));
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

TEST_CASE("tls site: sixteen megabytes come back unchanged, and both half-closes arrive", "[integration][tls-site]") {
  const bool direct = GENERATE(true, false);
  CAPTURE(direct);
  LoopbackSite site(tls_site(direct));
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  const std::string sent = text_pattern(16 << 20);

  application.write(as_bytes(sent));
  application.shutdown();

  CHECK(site.loop.run_until([&] { return application.eof; }, 30'000));
  CHECK(application.received == sent);
  CHECK(site.loop.run_until([&] { return site.gateway->stream_count() == 0; }));
  CHECK_FALSE(application.reset);
}

TEST_CASE("tls site: two hundred streams at once keep their bytes apart", "[integration][tls-site]") {
  LoopbackSite site(tls_site());
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
  LoopbackSite site(tls_site());
  site.open_all();
  LocalApplication stuck(site.loop);
  site.open_echo(stuck);
  stuck.stop_reading();
  stuck.write(as_bytes(text_pattern(32 << 20)));
  static_cast<void>(site.loop.run_until([] { return false; }, 500));

  check_echo(site, "still here");
}

TEST_CASE("tls site: a target that no rule allows is refused with 403 and the connection reset",
          "[integration][tls-site]") {
  LoopbackSite site(tls_site());
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
  LoopbackSite site(tls_site(direct));
  site.open_all();
  UdpEcho echo(site.loop.get());
  const auto id = site.client->open_udp(uv::now(), "gw1", tunnel::Authority::of(echo.address()));
  REQUIRE(site.loop.run_until([&] { return !site.opened.empty(); }, 8000));

  CHECK(site.client->send_datagram(uv::now(), id, as_bytes("one")));
  CHECK(site.client->send_datagram(uv::now(), id, as_bytes(text_pattern(1472))));

  CHECK(site.loop.run_until([&] { return site.datagrams[id].size() == 2; }));
  CHECK(site.datagrams[id].at(0) == "one");
  CHECK(site.datagrams[id].at(1) == text_pattern(1472));
  site.client->cancel(uv::now(), id);
  CHECK(site.loop.run_until([&] { return site.gateway->stream_count() == 0; }));
}
