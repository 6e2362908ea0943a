// SPDX-License-Identifier: Apache-2.0
// How often tokens of the TCP relay are given out to those who ask for them (docs/WIRE.md 6.5).
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/device_rate.h>
#include <natt/errc.h>

#include "tcp_relay_world.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;
using World = TcpRelayWorld;

namespace {

Result<TcpRelayAnswer> ask(World& world, const RelaySessionId& session = kSession,
                           RelaySide requester = RelaySide::kClient, const Identity& client = kAlice) {
  auto answer = world.relay.handle_request(world.now, client, kGateway, session, requester);
  world.take_events();
  return answer;
}

RelaySessionId numbered(std::uint64_t number) {
  RelaySessionId id{0xee};
  for (std::size_t at = 0; at < 8; ++at) id[at + 1] = static_cast<std::uint8_t>(number >> (8 * at));
  return id;
}

}  // namespace

TEST_CASE("tcp relay: a request tells both ends of their tokens", "[natt][tcp_relay]") {
  World world;
  const auto answer = ask(world);
  REQUIRE(answer);
  REQUIRE((answer->client && answer->gateway));
  CHECK(answer->client->left == kTcpRelayTokenLifetime);
  world.join(kAlice, answer->client->token);
  world.join(kGateway, answer->gateway->token);
  CHECK(world.paired.size() == 1);
}

TEST_CASE("tcp relay: a session asked for again within a second has the tokens it had", "[natt][tcp_relay]") {
  World world;
  const auto first = ask(world);
  REQUIRE(first);
  world.wait(999ms);
  const RelaySide requester = GENERATE(RelaySide::kClient, RelaySide::kGateway);
  const bool by_client = requester == RelaySide::kClient;

  const auto again = ask(world, kSession, requester);

  REQUIRE(again);
  const auto& told = by_client ? again->client : again->gateway;
  CHECK_FALSE((by_client ? again->gateway : again->client));
  REQUIRE(told);
  CHECK(told->token == (by_client ? first->client : first->gateway)->token);
  CHECK(told->left == 9001ms);
  CHECK(world.relay.stats().tokens_issued == 2);
  CHECK(world.relay.stats().rate_limited == 1);
  world.wait(1ms);
  CHECK(ask(world, kSession, requester)->gateway);
  CHECK(world.relay.stats().tokens_issued == 4);
}

TEST_CASE("tcp relay: an end that has joined is refused further tokens within a second", "[natt][tcp_relay]") {
  World world;
  const auto first = ask(world);
  REQUIRE(first);
  const TcpLegId leg = world.join(kAlice, first->client->token);

  const auto again = ask(world);

  REQUIRE_FALSE(again);
  CHECK(again.error().code == make_error_code(Errc::kUnavailable));
  world.join(kGateway, first->gateway->token);
  REQUIRE(world.paired.size() == 1);
  CHECK(world.paired[0].client == leg);
}

TEST_CASE("tcp relay: a client that asks all the time makes its gateway join a few times", "[natt][tcp_relay]") {
  World world;
  const bool one_session = GENERATE(true, false);
  std::uint64_t told = 0;
  std::uint64_t sessions = 0;
  // The 200 messages a second that its channel passes, for one slot of the gateway's nonces.
  for (const Instant end = world.now + 64s; world.now < end; world.wait(5ms)) {
    const auto answer = ask(world, one_session ? kSession : numbered(sessions++));
    if (answer && answer->gateway) ++told;
  }
  // One a second, or four and a burst: 7 nonces each are a small part of 12'288.
  CHECK(told <= (one_session ? 64U : 32U + 4U * 64U));
  CHECK(told * 7 < 12'288 / 5);
  // Another one's requests are another matter.
  const auto bob = ask(world, kOther, RelaySide::kClient, kBob);
  REQUIRE(bob);
  CHECK(bob->gateway);
}

TEST_CASE("tcp relay: a gateway's requests are its own, not its client's", "[natt][tcp_relay]") {
  World world;
  for (std::uint64_t number = 0; number < 100; ++number) static_cast<void>(ask(world, numbered(number), RelaySide::kGateway));
  CHECK_FALSE(ask(world, numbered(200), RelaySide::kGateway));
  const auto answer = ask(world);
  REQUIRE(answer);
  CHECK(answer->gateway);
}

// A race asks at its start, 2 s before each grant ends, and 3 s after a question without an answer; sessions begin as
// often as offers are taken.
TEST_CASE("tcp relay: honest races never meet the limits", "[natt][tcp_relay]") {
  World world;
  const Duration between = GENERATE(Duration(8s), Duration(3s));
  constexpr Duration kRace = 20s;
  const Duration offers = between == Duration(8s) ? Duration(900ms) : Duration(2700ms);
  std::vector<std::pair<Instant, RelaySessionId>> due;
  const Instant start = world.now;
  // A client whose brokers and gateways come and go without end: a race after the other, as often as may be.
  for (std::uint64_t number = 0; offers * static_cast<std::int64_t>(number) < 2min; ++number) {
    const Instant begins = start + offers * static_cast<std::int64_t>(number);
    for (Duration after{}; after < kRace; after += between) due.emplace_back(begins + after, numbered(number));
  }
  std::sort(due.begin(), due.end());
  for (const auto& [when, session] : due) {
    world.wait(when - world.now);
    const auto answer = ask(world, session);
    REQUIRE(answer);
    REQUIRE((answer->client && answer->gateway));
  }
  CHECK(world.relay.stats().rate_limited == 0);
}

TEST_CASE("tcp relay: several gateways at once and a reconnect are no flood", "[natt][tcp_relay]") {
  World world;
  for (int times = 0; times < 2; ++times) {
    for (std::uint64_t number = 0; number < 16; ++number) {
      const auto answer = ask(world, numbered(static_cast<std::uint64_t>(times) * 100 + number));
      REQUIRE(answer);
      CHECK(answer->gateway);
    }
  }
}

TEST_CASE("device rate: so many at once, then one an interval", "[natt][tcp_relay]") {
  DeviceRate rate({.interval = 4s, .burst = 2}, 8);
  Instant now{1h};
  CHECK(rate.take(now, kAlice));
  CHECK(rate.take(now, kAlice));
  CHECK_FALSE(rate.take(now, kAlice));
  CHECK(rate.take(now, kBob));
  now += 3999ms;
  CHECK_FALSE(rate.take(now, kAlice));
  now += 1ms;
  CHECK(rate.take(now, kAlice));
  CHECK_FALSE(rate.take(now, kAlice));
  // Saved up: no more than the burst.
  now += 1h;
  CHECK(rate.take(now, kAlice));
  CHECK(rate.take(now, kAlice));
  CHECK_FALSE(rate.take(now, kAlice));
}

TEST_CASE("device rate: devices are bounded, and those that ask no more are forgotten", "[natt][tcp_relay]") {
  DeviceRate rate({.interval = 1s, .burst = 2}, 2);
  Instant now{1h};
  const auto device = [](int number) { return Identity{"hq", Role::kClient, "c" + std::to_string(number)}; };
  for (int times = 0; times < 2; ++times) REQUIRE(rate.take(now, device(1)));
  CHECK(rate.take(now, device(2)));
  CHECK_FALSE(rate.take(now, device(1)));
  CHECK(rate.take(now, device(3)));  // in the place of the second
  CHECK(rate.size() == 2);
  CHECK_FALSE(rate.take(now, device(1)));
  now += 2s;
  CHECK(rate.take(now, device(4)));
  CHECK(rate.size() == 1);
}
