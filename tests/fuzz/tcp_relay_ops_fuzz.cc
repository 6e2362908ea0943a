// SPDX-License-Identifier: Apache-2.0
// Whatever joins, talks, leaves, is revoked and runs out, in whatever order: legs end once, and nothing is left behind.
#include <natt/tcp_relay.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <set>
#include <vector>

#include "support/seeded_random.h"

namespace {

using namespace natt;
using namespace std::chrono_literals;

void check(bool condition) {
  if (!condition) std::abort();
}

// What the driver would do.
struct Driver {
  test::SeededRandom random{1};
  RelayServer server{{.per_client = {.sessions = 3, .bits_per_second = 1'000'000}, .per_site = {}, .broker = {}},
                     RelayKey{},
                     random};
  TcpRelay relay{{.max_unpaired = 8}, server.accounts(), random};
  Instant now{1h};
  std::uint64_t next = 1;
  std::vector<TcpRelayTokens> tokens{{}};
  std::set<TcpLegId> legs;
  std::set<TcpPairId> pairs;
  std::map<TcpLegId, ByteBuffer> said;  // by legs, confirmations included

  // What came behind the confirmation, all of it and in order.
  void check_early(TcpLegId leg, const ByteBuffer& early) {
    const ByteBuffer& whole = said[leg];
    const auto behind = whole.begin() + static_cast<std::ptrdiff_t>(kRelayJoinConfirmation.size());
    check(early.size() <= TcpRelay::kMaxEarlyBytes);
    check(whole.size() == kRelayJoinConfirmation.size() + early.size());
    check(std::equal(whole.begin(), behind, kRelayJoinConfirmation.begin()));
    check(std::equal(behind, whole.end(), early.begin()));
  }
  void take_events() {
    while (auto event = relay.poll_event()) {
      if (const auto* pair = std::get_if<TcpRelayPaired>(&*event)) {
        check(legs.erase(pair->client) == 1 && legs.erase(pair->gateway) == 1 && pairs.insert(pair->pair).second);
        check_early(pair->client, pair->early_from_client);
        check_early(pair->gateway, pair->early_from_gateway);
      }
      if (const auto* leg = std::get_if<TcpRelayLegDropped>(&*event)) check(legs.erase(leg->leg) == 1);
      if (const auto* pair = std::get_if<TcpRelayPairEnded>(&*event)) check(pairs.erase(pair->pair) == 1);
    }
    check(relay.unpaired() == legs.size() && server.load().sessions == pairs.size());
  }
};

template <typename Id>
Id pick(const std::set<Id>& from, std::size_t index) {
  return from.empty() ? Id{} : *std::next(from.begin(), static_cast<std::ptrdiff_t>(index % from.size()));
}

Identity identity(std::uint8_t number) {
  return number % 3 == 2 ? Identity{"hq", Role::kGateway, "gw1"}
                         : Identity{"hq", Role::kClient, number % 3 == 0 ? "alice" : "bob"};
}

// Of one of the newest sessions.
const TcpRelayTokens& tokens_of(const Driver& driver, std::uint8_t which) {
  return driver.tokens[driver.tokens.size() - 1 - which % std::min<std::size_t>(driver.tokens.size(), 4)];
}

void join(Driver& driver, const Identity& who, const TcpRelayToken& token) {
  const TcpLegId leg{driver.next++};
  if (driver.relay.handle_join(driver.now, leg, who, {}, token)) driver.legs.insert(leg);
}

void talk(Driver& driver, ByteView bytes, std::uint8_t which) {
  const TcpLegId leg = pick(driver.legs, which);
  ByteBuffer& said = driver.said[leg];
  said.insert(said.end(), bytes.begin(), bytes.end());
  static_cast<void>(driver.relay.handle_bytes(driver.now, leg, bytes));
}

void leave(Driver& driver, std::uint8_t which) {
  const TcpLegId leg = pick(driver.legs, which);
  driver.relay.handle_disconnected(driver.now, leg);
  driver.legs.erase(leg);
}

void move_octets(Driver& driver, std::uint8_t which) {
  const TcpPairId pair = pick(driver.pairs, which);
  driver.relay.give_back(pair, driver.relay.take_allowance(driver.now, pair, which + std::size_t{1}));
  driver.relay.handle_forwarded(pair, RelaySide::kGateway, which);
  if (which % 2 == 0) return;
  driver.relay.handle_pair_ended(driver.now, pair);
  driver.pairs.erase(pair);
}

void end(Driver& driver, std::uint8_t which) {
  const RelaySessionId session{static_cast<std::uint8_t>(which % 4)};
  if (which % 2 == 0) static_cast<void>(driver.relay.revoke(driver.now, identity(which)));
  if (which % 2 == 1) static_cast<void>(driver.relay.end_session(driver.now, "hq", session));
}

void issue(Driver& driver, std::uint8_t which) {
  const RelaySessionId session{static_cast<std::uint8_t>(which % 4)};
  const auto issued = driver.relay.issue(driver.now, identity(which), identity(2), session);
  if (issued) driver.tokens.push_back(*issued);
}

void step(Driver& driver, std::uint8_t what, std::uint8_t which) {
  switch (what % 10) {
    case 0: return issue(driver, which);
    case 1: return join(driver, identity(which), tokens_of(driver, which).client);
    case 2: return join(driver, identity(2), tokens_of(driver, which).gateway);
    case 3: return talk(driver, ByteView(kRelayJoinConfirmation).first(which % 7), which);
    case 4: return talk(driver, kRelayJoinConfirmation, which);
    case 5: return talk(driver, ByteBuffer(which * std::size_t{100}, which), which);
    case 6: return leave(driver, which);
    case 7: return move_octets(driver, which);
    case 8: return end(driver, which);
    default: break;
  }
  driver.now += which * 100ms;
  driver.relay.handle_timeout(driver.now);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Driver driver;
  for (std::size_t at = 0; at + 1 < size && at < 4096; at += 2) {
    step(driver, data[at], data[at + 1]);
    driver.take_events();
  }
  driver.now += kTcpRelayTokenLifetime;
  driver.relay.handle_timeout(driver.now);
  driver.take_events();
  check(driver.legs.empty());
  return 0;
}
