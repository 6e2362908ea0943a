// SPDX-License-Identifier: Apache-2.0
// What opens TCP: grants of UDP knocks, the plan of a broker's door, the client's schedule of SYNs.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <vector>

#include <natt/address_grants.h>
#include <natt/connect_schedule.h>
#include <natt/tcp_door_plan.h>

#include "support/seeded_random.h"

using namespace natt;
using namespace std::chrono_literals;
using Verdict = AddressGrants::Verdict;

namespace {

const Identity kAlice{"hq", Role::kClient, "alice"};
const Identity kBob{"hq", Role::kClient, "bob"};

SocketAddress address(const std::string& text) { return SocketAddress::parse(text).value(); }

spa::Grant grant_of(const Identity& identity, std::uint16_t knock_id, spa::FrameType type = spa::FrameType::kKnock) {
  return {.identity = &identity,
          .device = spa::DeviceId::of(identity),
          .type = type,
          .flags = spa::kFlagTcpWanted | spa::kFlagUdpWanted,
          .knock_id = knock_id};
}

struct Door {
  AddressGrants grants;
  Instant now{1h};
  SocketAddress home = address("192.0.2.20:4711");
  SocketAddress elsewhere = address("192.0.2.21:4711");

  Door() : grants(AddressGrantsOptions{.max_grants = 8}) {}
  void knock(const Identity& who, std::uint16_t id, const SocketAddress& from) {
    grants.on_knock(now, grant_of(who, id), from);
  }
  Verdict connect(const Identity& who, std::uint16_t id, const SocketAddress& from) {
    return grants.redeem(now, grant_of(who, id), from.ip);
  }
};

}  // namespace

TEST_CASE("grants: without a knock no connection counts, and the reason is told apart", "[natt][door]") {
  Door door;
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kMissing);
  door.knock(kAlice, 1, door.elsewhere);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kElsewhere);
  CHECK(door.grants.other_source(door.now, spa::DeviceId::of(kAlice), door.home.ip) == door.elsewhere.ip);
  CHECK(door.connect(kAlice, 1, door.elsewhere) == Verdict::kGranted);
}

TEST_CASE("grants: the port of the knock does not matter, the device does", "[natt][door]") {
  Door door;
  door.knock(kAlice, 1, door.home);
  CHECK(door.connect(kBob, 1, door.home) == Verdict::kMissing);
  CHECK(door.connect(kAlice, 1, {door.home.ip, 9}) == Verdict::kGranted);
}

TEST_CASE("grants: a grant lasts ten seconds from the last repeat of its knock", "[natt][door]") {
  Door door;
  door.knock(kAlice, 1, door.home);
  door.now += 300ms;
  door.knock(kAlice, 1, door.home);
  door.now += 9'999ms;
  CHECK(door.grants.expects(door.now, door.home.ip));
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kGranted);
  door.now += 1ms;
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kMissing);
  CHECK(door.grants.size() == 0);
}

TEST_CASE("grants: eight connections of one knock, repeats of it bring no more", "[natt][door]") {
  Door door;
  door.knock(kAlice, 1, door.home);
  for (int i = 0; i < 8; ++i) CHECK(door.connect(kAlice, 1, door.home) == Verdict::kGranted);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kUsedUp);
  door.knock(kAlice, 1, door.home);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kUsedUp);
  door.knock(kAlice, 2, door.home);
  CHECK(door.connect(kAlice, 2, door.home) == Verdict::kGranted);
  CHECK(door.grants.stats().redeemed == 9);
  CHECK(door.grants.stats().used_up == 2);
}

TEST_CASE("grants: the first hello consumes the grant for its own knock id", "[natt][door]") {
  Door door;
  door.knock(kAlice, 1, door.home);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kGranted);
  CHECK(door.connect(kAlice, 2, door.home) == Verdict::kUsedUp);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kGranted);
}

TEST_CASE("grants: connections of several knocks at once all get in when the knocks are repeated", "[natt][door]") {
  // A gateway that joins a relay for two clients: the knocks and connections of both overtake each other.
  Door door;
  door.knock(kAlice, 1, door.home);
  door.knock(kAlice, 2, door.home);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kGranted);
  CHECK(door.connect(kAlice, 2, door.home) == Verdict::kUsedUp);
  door.knock(kAlice, 2, door.home);
  CHECK(door.grants.expects(door.now, door.home.ip));
  CHECK(door.connect(kAlice, 2, door.home) == Verdict::kGranted);
  door.knock(kAlice, 2, door.home);
  CHECK_FALSE(door.grants.expects(door.now, door.home.ip));
}

TEST_CASE("grants: an address expects somebody until everyone who knocked there has come", "[natt][door]") {
  Door door;
  CHECK_FALSE(door.grants.expects(door.now, door.home.ip));
  door.knock(kAlice, 1, door.home);
  door.knock(kBob, 1, door.home);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kGranted);
  CHECK(door.grants.expects(door.now, door.home.ip));
  CHECK(door.connect(kBob, 1, door.home) == Verdict::kGranted);
  CHECK_FALSE(door.grants.expects(door.now, door.home.ip));
  // A further repeat of a knock that has been used expects nobody.
  door.knock(kBob, 1, door.home);
  CHECK_FALSE(door.grants.expects(door.now, door.home.ip));
}

TEST_CASE("grants: only knocks that want TCP open it, and a close takes it back", "[natt][door]") {
  Door door;
  auto udp_only = grant_of(kAlice, 1);
  udp_only.flags = spa::kFlagUdpWanted;
  door.grants.on_knock(door.now, udp_only, door.home);
  door.grants.on_knock(door.now, grant_of(kAlice, 1, spa::FrameType::kRelayJoin), door.home);
  door.grants.on_knock(door.now, grant_of(kAlice, 1, spa::FrameType::kClose), door.home);
  CHECK(door.grants.size() == 0);

  door.knock(kAlice, 1, door.home);
  door.grants.on_knock(door.now, grant_of(kAlice, 2, spa::FrameType::kClose), door.elsewhere);
  CHECK(door.grants.size() == 1);
  door.grants.on_knock(door.now, grant_of(kAlice, 2, spa::FrameType::kClose), door.home);
  CHECK(door.grants.size() == 0);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kMissing);
}

TEST_CASE("grants: the table is bounded, the grant that ends first makes room", "[natt][door]") {
  Door door;
  for (std::uint16_t i = 0; i < 8; ++i) {
    door.knock(kAlice, i, address("198.51.100." + std::to_string(i + 1) + ":1"));
    door.now += 1ms;
  }
  door.knock(kBob, 1, door.home);
  CHECK(door.grants.size() == 8);
  CHECK(door.grants.stats().evicted == 1);
  CHECK(door.connect(kAlice, 0, address("198.51.100.1:1")) == Verdict::kElsewhere);
  CHECK(door.connect(kAlice, 1, address("198.51.100.2:1")) == Verdict::kGranted);
  CHECK(door.connect(kBob, 1, door.home) == Verdict::kGranted);
}

TEST_CASE("grants: a device that knocks from everywhere takes only its own room", "[natt][door]") {
  AddressGrants grants({.max_grants = 100, .max_per_device = 4});
  const Instant now{1h};
  const SocketAddress home = address("192.0.2.20:4711");
  grants.on_knock(now, grant_of(kBob, 1), home);
  for (int i = 1; i <= 250; ++i) {
    grants.on_knock(now + std::chrono::milliseconds(i), grant_of(kAlice, 7),
                    address("198.51.100." + std::to_string(i) + ":1"));
  }
  CHECK(grants.size() == 5);
  CHECK(grants.stats().evicted == 246);
  CHECK(grants.redeem(now + 1s, grant_of(kAlice, 7), address("198.51.100.250:1").ip) == Verdict::kGranted);
  CHECK(grants.redeem(now + 1s, grant_of(kAlice, 7), address("198.51.100.1:1").ip) == Verdict::kElsewhere);
  CHECK(grants.redeem(now + 1s, grant_of(kBob, 1), home.ip) == Verdict::kGranted);
}

TEST_CASE("grants: revoking a device takes every address of it", "[natt][door]") {
  Door door;
  door.knock(kAlice, 1, door.home);
  door.knock(kAlice, 1, door.elsewhere);
  door.knock(kBob, 1, door.home);
  CHECK(door.grants.remove_device(spa::DeviceId::of(kAlice)) == std::vector{door.home.ip, door.elsewhere.ip});
  CHECK(door.grants.size() == 1);
  CHECK(door.connect(kAlice, 1, door.home) == Verdict::kMissing);
  CHECK(door.connect(kBob, 1, door.home) == Verdict::kGranted);
}

TEST_CASE("door plan: every mode, visibility and gate", "[natt][door]") {
  using V = TcpVisibility;
  struct Row {
    SpaMode mode;
    std::optional<V> wanted;
    bool gate;
    V visibility;
    bool opens_sources;
    bool short_of;
  };
  const auto row = GENERATE(values<Row>({
      {SpaMode::kTcp, std::nullopt, true, V::kSyn, false, false},
      {SpaMode::kTcp, V::kSyn, true, V::kSyn, false, false},
      {SpaMode::kTcp, V::kIp, true, V::kIp, true, false},
      {SpaMode::kTcp, V::kOpen, true, V::kOpen, false, false},
      {SpaMode::kTcp, std::nullopt, false, V::kOpen, false, true},
      {SpaMode::kTcp, V::kSyn, false, V::kOpen, false, true},
      {SpaMode::kTcp, V::kIp, false, V::kOpen, false, true},
      {SpaMode::kTcp, V::kOpen, false, V::kOpen, false, false},
      {SpaMode::kUdpTcp, std::nullopt, true, V::kIp, true, false},
      {SpaMode::kUdpTcp, V::kSyn, true, V::kSyn, false, false},
      {SpaMode::kUdpTcp, V::kIp, true, V::kIp, true, false},
      {SpaMode::kUdpTcp, V::kOpen, true, V::kOpen, false, false},
      {SpaMode::kUdpTcp, std::nullopt, false, V::kOpen, false, true},
      {SpaMode::kUdpTcp, V::kSyn, false, V::kOpen, false, true},
      {SpaMode::kUdpTcp, V::kIp, false, V::kOpen, false, true},
      {SpaMode::kUdpTcp, V::kOpen, false, V::kOpen, false, false},
  }));
  CAPTURE(to_string(row.mode), row.gate, row.wanted ? to_string(*row.wanted) : "best");
  const TcpDoorPlan plan = plan_tcp_door(row.mode, row.wanted, row.gate);
  CHECK(plan.visibility == row.visibility);
  CHECK(plan.wants_knock == (row.mode == SpaMode::kUdpTcp));
  CHECK(plan.opens_sources == row.opens_sources);
  CHECK(plan.shortfall.empty() != row.short_of);
}

namespace {

struct Connecting {
  ConnectSchedule schedule;
  Instant start{1h};
  Instant now = start;
  struct Opened {
    std::size_t number;
    ConnectSchedule::Kind kind;
    Duration at;
  };
  std::vector<Opened> opened;
  std::vector<std::pair<std::size_t, Duration>> abandoned;

  Connecting() {
    schedule.start(now);
    drain();
  }
  void drain() {
    while (const auto end = schedule.poll_abandoned()) abandoned.emplace_back(*end, now - start);
    while (const auto attempt = schedule.poll_attempt())
      opened.push_back({attempt->number, attempt->kind, now - start});
  }
  void run_until(Duration end) {
    while (schedule.next_deadline() && *schedule.next_deadline() <= start + end) {
      now = std::max(now, *schedule.next_deadline());
      schedule.handle_timeout(now);
      drain();
    }
    now = start + end;
  }
};

}  // namespace

TEST_CASE("connect schedule: eleven SYNs with data and a plain one, each at its time", "[natt][door]") {
  Connecting connecting;
  CHECK(connecting.opened.size() == 1);
  connecting.run_until(10s);
  REQUIRE(connecting.opened.size() == ConnectSchedule::kSteps.size());
  for (std::size_t i = 0; i < connecting.opened.size(); ++i) {
    CHECK(connecting.opened[i].number == i);
    CHECK(connecting.opened[i].at == ConnectSchedule::kSteps[i].at);
    CHECK(connecting.opened[i].kind == ConnectSchedule::kSteps[i].kind);
    CHECK(connecting.abandoned.at(i) == std::pair{i, ConnectSchedule::kSteps[i].at + ConnectSchedule::kAttemptTime});
  }
  CHECK(connecting.schedule.is_lost());
  CHECK_FALSE(connecting.schedule.next_deadline());
}

TEST_CASE("connect schedule: a stopped one does nothing more", "[natt][door]") {
  Connecting connecting;
  connecting.run_until(150ms);
  connecting.schedule.stop();
  CHECK_FALSE(connecting.schedule.next_deadline());
  connecting.schedule.handle_timeout(connecting.start + 5s);
  CHECK_FALSE(connecting.schedule.poll_attempt());
  CHECK_FALSE(connecting.schedule.poll_abandoned());
  CHECK_FALSE(connecting.schedule.is_lost());
}

TEST_CASE("connect schedule: it is lost when both kinds are refused, or all have failed", "[natt][door]") {
  using Failure = ConnectSchedule::Failure;
  Connecting refused;
  refused.schedule.handle_failed(0, Failure::kRefused);
  CHECK_FALSE(refused.schedule.is_lost());  // a box may refuse SYNs with data only
  refused.run_until(300ms);
  CHECK_FALSE(refused.schedule.is_lost());
  refused.schedule.handle_failed(3, Failure::kRefused);
  CHECK(refused.schedule.is_lost());
  CHECK(refused.opened.size() == 4);

  Connecting failing;
  failing.run_until(1600ms);
  for (std::size_t i = 0; i < ConnectSchedule::kSteps.size(); ++i) {
    CHECK_FALSE(failing.schedule.is_lost());
    failing.schedule.handle_failed(i, Failure::kOther);
  }
  CHECK(failing.schedule.is_lost());
  failing.schedule.handle_failed(99, Failure::kOther);
}

TEST_CASE("connect schedule: it may be started again", "[natt][door]") {
  Connecting connecting;
  connecting.run_until(10s);
  REQUIRE(connecting.schedule.is_lost());
  connecting.schedule.start(connecting.now);
  CHECK_FALSE(connecting.schedule.is_lost());
  REQUIRE(connecting.schedule.poll_attempt());
}

// A listener that hides (T-SYN): a SYN has to arrive with its data, then the SYN-ACK has to come back; the kernels
// repeat SYN-ACK and SYN (which the gate knows by its port) after a second.
TEST_CASE("connect schedule: at 30 % loss each way 99.9 % are connected within three seconds", "[natt][door]") {
  test::SeededRandom random(test::test_seed());
  constexpr int kTrials = 200'000;
  constexpr Duration kRoundTrip = 40ms;
  const auto lost = [&random] { return random.uniform(10) < 3; };
  int late = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    Duration first = 1h;
    for (const auto& step : ConnectSchedule::kSteps) {
      if (step.kind == ConnectSchedule::Kind::kPlain || lost()) continue;
      // Server: SYN-ACK at once and after 1 s; client: SYN again after 1 s, answered again.
      if (!lost()) first = std::min(first, step.at + kRoundTrip);
      if (!lost()) first = std::min(first, step.at + 1s + kRoundTrip);
      if (!lost() && !lost()) first = std::min(first, step.at + 1s + kRoundTrip);
    }
    if (first > 3s) ++late;
  }
  CAPTURE(late);
  CHECK(late < kTrials / 1000);
}
