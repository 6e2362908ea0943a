// SPDX-License-Identifier: Apache-2.0
// What a broker counts as it goes is what counting anew would find, through any history.
#include <algorithm>

#include <catch2/catch_test_macros.hpp>

#include "src/uv/broker/online_devices.h"
#include "src/uv/broker/session_table.h"
#include "support/seeded_random.h"

using namespace natt;
using natt::uv::BrokerSession;
using natt::uv::OnlineDevices;
using natt::uv::SessionTable;

namespace {

const Instant kNow{std::chrono::hours(1)};

Identity device(Role role, std::uint64_t number) {
  return {number % 2 == 0 ? "hq" : "lab", role, "d" + std::to_string(number)};
}

SessionKey key_of(std::uint64_t number) {
  SessionKey key{.site = "hq", .session = {}};
  key.session.octets[0] = static_cast<std::uint8_t>(number);
  return key;
}

ConnectionCounts counted_anew(const SessionTable& table) {
  ConnectionCounts counts{};
  for (const BrokerSession& session : table.list()) {
    if (session.type) ++counts[static_cast<std::size_t>(*session.type)];
  }
  return counts;
}

}  // namespace

TEST_CASE("broker sessions: counts by type follow every change", "[natt][broker]") {
  SessionTable table;
  const Identity alice = device(Role::kClient, 0);
  const Identity gateway = device(Role::kGateway, 2);
  table.open(kNow, key_of(1), alice, gateway);
  CHECK(table.counts() == ConnectionCounts{0, 0, 0});
  BrokerSession report{.key = key_of(1), .client = alice, .gateway = gateway, .type = ConnectionType::kRelay};
  table.report(kNow, report);
  table.report(kNow, report);
  CHECK(table.counts() == ConnectionCounts{0, 0, 1});
  report.type = ConnectionType::kNatTraversal;
  table.report(kNow, report);
  CHECK(table.counts() == ConnectionCounts{0, 1, 0});
  table.close(key_of(1));
  CHECK(table.counts() == ConnectionCounts{0, 0, 0});
  table.report(kNow, report);
  CHECK(table.counts() == ConnectionCounts{0, 1, 0});
  table.remove_device(gateway);
  CHECK(table.counts() == ConnectionCounts{0, 0, 0});
}

TEST_CASE("broker sessions: counts are right after any history", "[natt][broker]") {
  test::SeededRandom random(test::test_seed());
  SessionTable table;
  Instant now = kNow;
  for (int i = 0; i < 20'000; ++i) {
    const std::uint64_t choice = random.next_u64();
    const Identity client = device(Role::kClient, choice % 5);
    const SessionKey key = key_of((choice >> 8) % 40);
    switch ((choice >> 16) % 7) {
      case 0: table.open(now, key, client, device(Role::kGateway, 1)); break;
      case 1:
      case 2:
        table.report(now, {.key = key,
                           .client = client,
                           .gateway = device(Role::kGateway, 1),
                           .type = static_cast<ConnectionType>((choice >> 24) % 3)});
        break;
      case 3: table.close_reported(key, client); break;
      case 4: table.client_left(now, client); break;
      case 5: table.client_returned(client); break;
      case 6:
        now += std::chrono::seconds((choice >> 24) % 30);
        table.handle_timeout(now);
        break;
    }
    REQUIRE(table.counts() == counted_anew(table));
  }
}

TEST_CASE("broker devices: a device is online once, whatever its address", "[natt][broker]") {
  OnlineDevices online;
  const Identity alice = device(Role::kClient, 2);
  online.set(alice, *SocketAddress::parse("192.0.2.1:1"), kFeatureRelayUdp);
  online.set(alice, *SocketAddress::parse("192.0.2.2:1"), kFeatureRelayUdp);
  online.set(device(Role::kClient, 4), *SocketAddress::parse("192.0.2.3:1"), kFeatureRelayUdp);
  online.set(device(Role::kClient, 1), *SocketAddress::parse("192.0.2.4:1"), kFeatureRelayUdp);
  online.set(device(Role::kGateway, 2), *SocketAddress::parse("192.0.2.5:1"), kFeatureRelayUdp);
  CHECK(online.count("hq", Role::kClient) == 2);
  CHECK(online.count("lab", Role::kClient) == 1);
  CHECK(online.count("hq", Role::kGateway) == 1);
  online.erase(alice);
  online.erase(alice);
  CHECK(online.count("hq", Role::kClient) == 1);
  online.erase(device(Role::kClient, 4));
  CHECK(online.count("hq", Role::kClient) == 0);
  CHECK_FALSE(online.find(alice));
}
