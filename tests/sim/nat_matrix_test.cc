// SPDX-License-Identifier: Apache-2.0
// Every pair of NAT kinds, with real packets between the cores: the simulation has to
// agree with punch_outlook(), and docs/TESTING.md with both.

#include <catch2/catch_test_macros.hpp>

#include <fstream>
#include <iterator>

#include "sim/nat_matrix.h"
#include "sim/punch_world.h"

namespace natt::test {
namespace {

bool punches(const EndOptions& client, const EndOptions& gateway, std::uint64_t seed) {
  PunchWorld world(seed);
  world.add_client(client);
  world.add_gateway(gateway);
  REQUIRE(world.discover());
  world.exchange();
  const bool connected = world.network.run_for(std::chrono::seconds(12), [&] { return world.connected(); });
  // Half a path is none.
  if (!connected) {
    CHECK(world.client->events<PathValidated>().empty());
    CHECK(world.gateway->events<PathValidated>().empty());
    CHECK(world.client->events<PunchFailed>().size() == 1);
    CHECK(world.gateway->events<PunchFailed>().size() == 1);
  }
  return connected;
}

// Two NATs in a row behave as the stricter of each kind (RFC 6888 section 3 warns of nothing else).
NatBehavior in_a_row(const NatBehavior& home, const NatBehavior& carrier) {
  return {std::max(home.mapping, carrier.mapping), std::max(home.filtering, carrier.filtering)};
}

}  // namespace

TEST_CASE("punch: every pair of NAT kinds connects exactly when the outlook says so", "[natt][sim][matrix]") {
  std::uint64_t seed = test_seed();
  for (const NatKind& client : kNatKinds) {
    for (const NatKind& gateway : kNatKinds) {
      CAPTURE(client.name, gateway.name, seed);
      const bool expected = punch_outlook(client.behavior, gateway.behavior) == PunchOutlook::kPossible;
      CHECK(punches({.nat = client.behavior}, {.nat = gateway.behavior}, seed++) == expected);
    }
  }
}

TEST_CASE("punch: carrier-grade NAT counts as the stricter of both NATs", "[natt][sim][matrix]") {
  std::uint64_t seed = test_seed();
  for (const NatKind& carrier : kNatKinds) {
    if (carrier.behavior.mapping == NatMapping::kNone) continue;
    for (const NatKind& gateway : kNatKinds) {
      const NatBehavior home{NatMapping::kEndpointIndependent, NatFiltering::kAddressAndPortDependent};
      CAPTURE(carrier.name, gateway.name, seed);
      const NatBehavior both = in_a_row(home, carrier.behavior);
      const bool expected = punch_outlook(both, gateway.behavior) == PunchOutlook::kPossible;
      CHECK(punches({.nat = home, .carrier = carrier.behavior}, {.nat = gateway.behavior}, seed++) == expected);
    }
  }
}

TEST_CASE("punch: docs/TESTING.md prints the matrix that the tests check", "[natt][sim][matrix]") {
  std::ifstream file(NATT_SOURCE_DIR "/docs/TESTING.md");
  const std::string text{std::istreambuf_iterator<char>(file), {}};

  INFO("expected table:\n" << nat_matrix_table());
  CHECK(text.find(nat_matrix_table()) != std::string::npos);
}

}  // namespace natt::test
