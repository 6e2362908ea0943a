// SPDX-License-Identifier: Apache-2.0
// What a broker's TCP door tells the kernel gate about addresses.
#include <catch2/catch_test_macros.hpp>

#include <map>
#include <set>

#include <natt/spa/errc.h>
#include <natt/spa/verifier_group.h>

#include "src/uv/broker/tcp_door.h"
#include "support/idle_gate.h"
#include "support/seeded_random.h"

using namespace natt;

namespace {

// Only knows whose SYNs it would let through, and on which sockets it is.
class AddressGate final : public test::IdleGate {
 public:
  void allow_source(const IpAddress& source) override { open.insert(source); }
  void forget_source(const IpAddress& source) override { open.erase(source); }
  Result<void> attach(int socket, spa::GateSocket kind) override {
    if (refuses) return fail(spa::Errc::kUnavailable, "no room");
    gated[socket] = kind;
    return {};
  }
  Result<void> detach(int socket) override {
    gated.erase(socket);
    return {};
  }

  std::set<IpAddress> open;
  std::map<int, spa::GateSocket> gated;
  bool refuses = false;
};

struct DoorWorld {
  DoorWorld() { REQUIRE(door.set_policy(now, SpaMode::kUdpTcp, TcpVisibility::kIp)); }

  void knock(const Identity& device, const SocketAddress& from) {
    door.on_knock(now,
                  {.identity = &device,
                   .device = spa::DeviceId::of(device),
                   .type = spa::FrameType::kKnock,
                   .flags = spa::kFlagTcpWanted,
                   .knock_id = 1},
                  from);
  }

  const Identity alice{"hq", Role::kClient, "alice"};
  const Identity bob{"hq", Role::kClient, "bob"};
  const SocketAddress shared = *SocketAddress::parse("192.0.2.20:4711");
  const SocketAddress own = *SocketAddress::parse("192.0.2.21:4711");
  Instant now{std::chrono::hours(1)};
  test::SeededRandom random{test::test_seed()};
  spa::VerifierGroup verifiers;
  AddressGrants grants;
  SignalAdmission admission{{}, verifiers, grants, random};
  AddressGate gate;
  uv::TcpDoor door{admission, grants, &gate, {}};
};

}  // namespace

TEST_CASE("tcp door: a revoked device's addresses are closed, but for others that knocked there", "[natt][door]") {
  DoorWorld world;
  world.knock(world.alice, world.shared);
  world.knock(world.alice, world.own);
  world.knock(world.bob, world.shared);
  REQUIRE(world.gate.open == std::set{world.shared.ip, world.own.ip});

  world.door.remove_device(world.now, world.alice);
  CHECK(world.gate.open == std::set{world.shared.ip});
  world.door.remove_device(world.now, world.bob);
  CHECK(world.gate.open.empty());
}

TEST_CASE("tcp door: a gate that is to leave the listener knows of it", "[natt][door]") {
  DoorWorld world;
  constexpr int kListener = 7;
  REQUIRE(world.door.set_listener(kListener));
  CHECK(world.gate.gated == std::map<int, spa::GateSocket>{{kListener, spa::GateSocket::kTcpIp}});
  REQUIRE(world.door.set_policy(world.now, SpaMode::kUdpTcp, TcpVisibility::kOpen));
  CHECK(world.gate.gated.empty());
}

TEST_CASE("tcp door: a listener that does not take the gate is served as without one", "[natt][door]") {
  DoorWorld world;
  constexpr int kListener = 7;
  world.gate.refuses = true;
  REQUIRE(world.door.set_listener(kListener));
  const TcpDoorPlan without = plan_tcp_door(SpaMode::kUdpTcp, TcpVisibility::kIp, false);
  CHECK(world.door.plan().visibility == TcpVisibility::kOpen);
  CHECK(world.door.plan().wants_knock);
  CHECK(world.door.plan().shortfall == without.shortfall + ": no room");
  world.knock(world.alice, world.own);
  CHECK(world.gate.open.empty());
  // A reload tries again.
  REQUIRE(world.door.set_policy(world.now, SpaMode::kUdpTcp, TcpVisibility::kIp));
  CHECK(world.door.plan().visibility == TcpVisibility::kOpen);
  world.gate.refuses = false;
  REQUIRE(world.door.set_policy(world.now, SpaMode::kUdpTcp, TcpVisibility::kIp));
  CHECK(world.door.plan() == plan_tcp_door(SpaMode::kUdpTcp, TcpVisibility::kIp, true));
  CHECK(world.gate.gated.at(kListener) == spa::GateSocket::kTcpIp);
}

TEST_CASE("tcp door: a listener that keeps its old program says so and is tried again", "[natt][door]") {
  DoorWorld world;
  constexpr int kListener = 7;
  REQUIRE(world.door.set_listener(kListener));
  world.gate.refuses = true;
  CHECK_FALSE(world.door.set_policy(world.now, SpaMode::kTcp, TcpVisibility::kSyn));
  CHECK(world.gate.gated.at(kListener) == spa::GateSocket::kTcpIp);
  world.gate.refuses = false;
  CHECK(world.door.set_policy(world.now, SpaMode::kTcp, TcpVisibility::kSyn));
  CHECK(world.gate.gated.at(kListener) == spa::GateSocket::kTcpSyn);
}
