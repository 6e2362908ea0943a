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

