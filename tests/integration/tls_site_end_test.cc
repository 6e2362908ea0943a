// SPDX-License-Identifier: Apache-2.0
// How tunnels of a TLS site end, whatever goes first.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "integration/tls_site.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

TEST_CASE("tls site: a relayed tunnel ends with its broker at once and is raced for again", "[integration][tls-site]") {
  LoopbackSite site(tls_site(false));
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
  LoopbackSite site(tls_site(direct));
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
  LoopbackSite site(tls_site(direct));
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

TEST_CASE("tls site: a client leaves its gateway with a word", "[integration][tls-site]") {
  const bool direct = GENERATE(true, false);
  CAPTURE(direct);
  LoopbackSite site(tls_site(direct));
  site.open_all();
  site.client->keep_up(uv::now(), "gw1");
  REQUIRE(site.loop.run_until([&] { return site.gateway->connections().size() == 1; }, 8000));

  site.client->close(uv::now());

  CHECK(site.loop.run_until([&] { return site.gateway->connections().empty(); }, 1000));
}

TEST_CASE("tls site: destroying any part in the middle of a transfer is boring", "[integration][tls-site]") {
  const int part = GENERATE(0, 1, 2);
  CAPTURE(part);
  LoopbackSite site(tls_site(part != 2));
  site.open_all();
  LocalApplication application(site.loop);
  site.open_echo(application);
  application.write(as_bytes(text_pattern(8 << 20)));
  REQUIRE(site.loop.run_until([&] { return application.received.size() > 100'000; }, 8000));

  if (part == 0) site.client.reset();
  if (part == 1) site.gateway.reset();
  if (part == 2) site.broker.reset();

  CHECK(site.loop.run_until([&] { return application.reset; }));
}
