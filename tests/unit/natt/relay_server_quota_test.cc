// SPDX-License-Identifier: Apache-2.0
// Quotas and load.
#include <natt/relay_server.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "unit/natt/relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

TEST_CASE("relay server: session quotas hold per client, site and broker", "[natt][relay]") {
  RelayServerOptions options;
  const auto sessions_with = [&](const Identity& second, const Identity& third) {
    RelayWorld world(options);
    for (const Identity& who : {kAlice, second, third}) {
      ByteBuffer bind = make_bind(world.grant(who).client, 1, world.wall);
      (void)world.give(address("203.0.113.1:4000"), bind);
    }
    CHECK(world.server->load().sessions + world.server->stats().over_quota == 3);
    return world.server->load().sessions;
  };
  CHECK(sessions_with(kAlice, kAlice) == 3);
  options.per_client.sessions = 2;
  CHECK(sessions_with(kAlice, kAlice) == 2);
  CHECK(sessions_with(kAlice, kBob) == 3);
  options.per_site.sessions = 2;
  CHECK(sessions_with(kAlice, kBob) == 2);
  options.per_site.sessions = 0;
  options.broker.sessions = 1;
  CHECK(sessions_with(kBob, kBob) == 1);
}

TEST_CASE("relay server: a session that ends makes room in its quotas", "[natt][relay]") {
  RelayServerOptions options;
  options.per_client.sessions = 1;
  RelayWorld world(options);
  for (int i = 0; i < 3; ++i) {
    BoundSession session(world);
    world.wall += 1ms;
    CHECK(world.server->end_session(session.client->leg.session()));
    world.ends.clear();
  }
  CHECK(world.server->stats().over_quota == 0);
}

TEST_CASE("relay server: rate quotas hold per client, site and broker, and change at once", "[natt][relay]") {
  // 8 Mbit/s is 1000 octets a millisecond; the bucket holds 256 KiB.
  const RelayQuota limit{.bits_per_second = 8'000'000};
  RelayServerOptions options;
  const int which = GENERATE(0, 1, 2);
  CAPTURE(which);
  (which == 0 ? options.per_client : which == 1 ? options.per_site : options.broker) = limit;
  RelayWorld world(options);
  BoundSession alice(world);
  BoundSession bob(world, kBob, "203.0.113.2:4000");
  const auto forwarded = [&](BoundSession& session, int milliseconds) {
    std::size_t bytes = 0;
    for (int i = 0; i < milliseconds; ++i) {
      for (int j = 0; j < 10; ++j) {  // ten times the rate
        ByteBuffer train = make_train(session.client->leg, 1000, 1);
        if (world.give(session.client->source, train)) bytes += 1000;
      }
      world.now += 1ms;
    }
    return bytes;
  };

  const std::size_t first = forwarded(alice, 100);
  CHECK(first >= 256 * 1024 - 1000);
  CHECK(first <= 256 * 1024 + 100'000);
  CHECK(world.server->stats().over_rate > 0);
  const std::size_t steady = forwarded(alice, 100);
  CHECK(steady >= 99'000);
  CHECK(steady <= 101'000);
  // Bob has a bucket of his own only when the quota is the client's.
  CHECK((forwarded(bob, 10) > 50'000) == (which == 0));

  world.server->set_quotas({}, {}, {});
  CHECK(forwarded(alice, 10) == 100'000);
}

TEST_CASE("relay server: a refused packet costs the other quotas nothing", "[natt][relay]") {
  RelayServerOptions options;
  options.per_client.bits_per_second = 8'000'000;
  options.per_site.bits_per_second = 16'000'000;
  options.broker.bits_per_second = 16'000'000;
  RelayWorld world(options);
  BoundSession alice(world);
  BoundSession bob(world, kBob, "203.0.113.2:4000");
  const auto drain = [&](BoundSession& session) {
    std::size_t bytes = 0;
    for (int i = 0; i < 5000; ++i) {
      ByteBuffer train = make_train(session.client->leg, 1000, 1);
      if (world.give(session.client->source, train)) bytes += 1000;
    }
    return bytes;
  };

  // Both buckets hold 256 KiB (the least) or 400 KB (200 ms of 16 Mbit/s); Alice offers 5 MB.
  CHECK(drain(alice) == 262'000);
  CHECK(drain(bob) == 400'000 - 262'000);
}

TEST_CASE("relay server: load is the average of the last minute, and thresholds warn", "[natt][relay]") {
  RelayServerOptions options;
  options.sessions_threshold = 1;
  options.throughput_threshold = 1'000'000;
  RelayWorld world(options);
  BoundSession alice(world);
  CHECK(world.server->load().sessions == 1);
  CHECK_FALSE(world.server->load().above_sessions_threshold);
  BoundSession bob(world, kBob, "203.0.113.2:4000");
  CHECK(world.server->load().above_sessions_threshold);
  CHECK(world.server->load().bits_per_second == 0);

  // 200 kB a second is 1.6 Mbit/s.
  const auto run = [&](int seconds, std::size_t kilobytes) {
    for (int i = 0; i < seconds; ++i) {
      for (std::size_t j = 0; j < kilobytes; ++j) {
        ByteBuffer train = make_train(alice.client->leg, 1000, 1);
        REQUIRE(world.give(alice.client->source, train));
      }
      world.pass(1s);
    }
  };
  run(70, 200);
  CHECK(world.server->load().bits_per_second > 1'550'000);
  CHECK(world.server->load().bits_per_second < 1'650'000);
  CHECK(world.server->load().above_throughput_threshold);
  run(30, 0);
  CHECK(world.server->load().bits_per_second > 700'000);
  CHECK(world.server->load().bits_per_second < 900'000);
  CHECK_FALSE(world.server->load().above_throughput_threshold);
  run(40, 0);
  CHECK(world.server->load().bits_per_second == 0);
  world.server->set_thresholds(0, 0);
  CHECK_FALSE(world.server->load().above_sessions_threshold);
}
