// SPDX-License-Identifier: Apache-2.0
#pragma once

// The rules of the TCP relay in memory: the test is the driver, and keeps what it is told.

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <natt/tcp_relay.h>

#include "relay_world.h"

namespace natt::test {

inline constexpr RelaySessionId kSession{1, 2, 3};
inline constexpr RelaySessionId kOther{9};
inline const Identity kElsewhere{"other", Role::kGateway, "gw1"};

struct TcpRelayWorld {
  explicit TcpRelayWorld(RelayServerOptions quotas = {}, TcpRelayOptions options = {})
      : server(quotas, RelayKey{}, random), relay(options, server.accounts(), random) {}

  SeededRandom random{test_seed()};
  RelayServer server;
  TcpRelay relay;
  Instant now{std::chrono::hours(1)};
  std::uint64_t next = 1;
  std::vector<TcpLegId> dropped;
  std::vector<TcpRelayPaired> paired;
  std::vector<TcpPairId> ended;

  void take_events() {
    while (auto event = relay.poll_event()) {
      if (auto* pair = std::get_if<TcpRelayPaired>(&*event)) paired.push_back(std::move(*pair));
      if (const auto* leg = std::get_if<TcpRelayLegDropped>(&*event)) dropped.push_back(leg->leg);
      if (const auto* pair = std::get_if<TcpRelayPairEnded>(&*event)) ended.push_back(pair->pair);
    }
  }
  TcpRelayTokens issue(const RelaySessionId& session = kSession, const Identity& client = kAlice) {
    const auto tokens = relay.issue(now, client, kGateway, session);
    REQUIRE(tokens);
    take_events();
    return *tokens;
  }
  // A connection that has shown its token; absent when it was refused.
  std::optional<TcpLegId> attempt(const Identity& who, const TcpRelayToken& token) {
    const TcpLegId leg{next++};
    const bool taken = relay.handle_join(now, leg, who, address("192.0.2.1:" + std::to_string(next)), token);
    take_events();
    return taken ? std::optional(leg) : std::nullopt;
  }
  bool say(TcpLegId leg, ByteView bytes) {
    const bool more = relay.handle_bytes(now, leg, bytes);
    take_events();
    return more;
  }
  TcpLegId join(const Identity& who, const TcpRelayToken& token) {
    const auto leg = attempt(who, token);
    REQUIRE(leg);
    say(*leg, kRelayJoinConfirmation);
    return *leg;
  }
  TcpPairId pair(const RelaySessionId& session = kSession, const Identity& client = kAlice) {
    const TcpRelayTokens tokens = issue(session, client);
    join(client, tokens.client);
    join(kGateway, tokens.gateway);
    REQUIRE(!paired.empty());
    return paired.back().pair;
  }
  [[nodiscard]] bool was_dropped(TcpLegId leg) const { return std::find(dropped.begin(), dropped.end(), leg) != dropped.end(); }
  void wait(Duration time) {
    now += time;
    relay.handle_timeout(now);
    take_events();
  }
};

}  // namespace natt::test
