// SPDX-License-Identifier: Apache-2.0
// What sessions that are relayed over TCP leave each other: quotas and turns.
#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include "integration/relay_site.h"
#include "support/pattern.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

TEST_CASE("tcp relay: a rate quota slows a session down and loses nothing", "[integration][tcp_relay]") {
  uv::BrokerOptions options = in_mode(SpaMode::kUdpTcp);
  options.relay.per_client.bits_per_second = 16'000'000;
  RelaySite site(std::move(options));
  site.join_both();
  const ByteBuffer up = pattern(std::size_t{3} << 20, 6);
  const Instant begun = uv::now();

  site.client_leg().connection->write(up);

  CHECK(site.loop.run_until([&] { return site.gateway_leg().received.size() >= up.size(); }, 10'000));
  const auto took = uv::now() - begun;
  CHECK(site.gateway_leg().received == up);
  // 24 Mbit less the burst of 3.2 at 16 Mbit/s: 1.37 s.
  CHECK(took > 1200ms);
  CHECK(took < 8s);
  CHECK(site.broker->tcp_relay_stats().over_rate > 0);
}

TEST_CASE("tcp relay: a fast session leaves the others their turn", "[integration][tcp_relay]") {
  RelaySite site(in_mode(SpaMode::kTcp));
  site.join_both();
  static_cast<void>(site.loop.run_until([] { return false; }, 1050));  // one offer a second
  site.join_both();
  WatchedConnection& fast = *site.alice->legs[0];
  WatchedConnection& fast_end = *site.gateway->legs[0];
  WatchedConnection& slow = *site.alice->legs[1];
  WatchedConnection& slow_end = *site.gateway->legs[1];
  const ByteBuffer much = pattern(std::size_t{64} << 20, 11);
  fast.connection->write(much);
  Duration worst{};

  for (std::size_t i = 1; i <= 20; ++i) {
    const Instant asked = uv::now();
    slow.connection->write(as_bytes("x"));
    REQUIRE(site.loop.run_until([&] { return slow_end.received.size() == i; }));
    worst = std::max(worst, uv::now() - asked);
  }

  CHECK(fast_end.received.size() < much.size());
  CHECK(worst < 1s);
  REQUIRE(site.loop.run_until([&] { return fast_end.received.size() == much.size(); }, 20'000));
  CHECK(fast_end.received == much);
}

TEST_CASE("tcp relay: sessions under one quota share it", "[integration][tcp_relay]") {
  uv::BrokerOptions options = in_mode(SpaMode::kTcp);
  options.relay.per_site.bits_per_second = 24'000'000;
  RelaySite site(std::move(options));
  constexpr std::size_t kSessions = 3;
  for (std::size_t i = 0; i < kSessions; ++i) {
    if (i > 0) static_cast<void>(site.loop.run_until([] { return false; }, 1050));  // one offer a second
    site.join_both();
  }
  const ByteBuffer much = pattern(std::size_t{8} << 20, 12);
  for (const auto& leg : site.alice->legs) leg->connection->write(much);

  static_cast<void>(site.loop.run_until([] { return false; }, 2000));

  std::size_t total = 0;
  std::size_t least = much.size();
  for (const auto& leg : site.gateway->legs) {
    total += leg->received.size();
    least = std::min(least, leg->received.size());
  }
  CHECK(total > 4'000'000);
  CHECK(total < 9'000'000);
  CHECK(least > total / kSessions / 2);
}
