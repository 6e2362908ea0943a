// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/tcp_relay.h>

#include "src/uv/client/relay_ticket.h"
#include "unit/natt/tcp_relay_world.h"

using namespace natt;
using namespace natt::tunnel::uv;
using namespace std::chrono_literals;

namespace {

constexpr Instant kStart{1000s};
constexpr WallTime kWall{1'800'000'000s};

// What a broker sends whose clock is `ahead` of ours, for a token that it keeps ten seconds.
RelayGrantMessage grant_at(WallTime wall, std::uint8_t mark = 1, std::chrono::milliseconds ahead = 0ms) {
  RelayGrantMessage message{.transport = RelayTransport::kTcp};
  message.grant.expires = wall + ahead + 10s;
  message.pairing_token.fill(mark);
  return message;
}

RelayTicket asked() {
  RelayTicket ticket;
  ticket.start(kStart);
  ticket.note_asked(kStart);
  return ticket;
}

}  // namespace

TEST_CASE("relay ticket: a session asks at once, and no grant is there before one came", "[tunnel][relay-ticket]") {
  RelayTicket ticket;
  CHECK_FALSE(ticket.wants_asking(kStart));
  CHECK_FALSE(ticket.next_deadline(kStart));

  ticket.start(kStart);

  CHECK(ticket.wants_asking(kStart));
  CHECK(ticket.next_deadline(kStart) == kStart);
  CHECK_FALSE(ticket.is_valid(kStart));
  CHECK_FALSE(ticket.take(kStart));
}

TEST_CASE("relay ticket: a grant is asked for again two seconds before its end", "[tunnel][relay-ticket]") {
  RelayTicket ticket = asked();

  ticket.handle_grant(kStart, kWall, grant_at(kWall));

  CHECK(ticket.is_valid(kStart + 9999ms));
  CHECK_FALSE(ticket.is_valid(kStart + 10s));
  CHECK(ticket.next_deadline(kStart) == kStart + 8s);
  CHECK_FALSE(ticket.wants_asking(kStart + 7999ms));
  REQUIRE(ticket.wants_asking(kStart + 8s));
  ticket.note_asked(kStart + 8s);
  CHECK(ticket.is_valid(kStart + 8s));  // the old one serves until the new one is there

  ticket.handle_grant(kStart + 8200ms, kWall + 8200ms, grant_at(kWall + 8200ms, 2));

  const auto taken = ticket.take(kStart + 12s);
  REQUIRE(taken);
  CHECK(taken->pairing_token[0] == 2);
}

TEST_CASE("relay ticket: without an answer it asks again and the old grant lapses in time", "[tunnel][relay-ticket]") {
  RelayTicket ticket = asked();
  CHECK(ticket.next_deadline(kStart) == kStart + RelayTicket::kNoAnswer);
  CHECK(ticket.wants_asking(kStart + 3s));

  ticket.handle_grant(kStart, kWall, grant_at(kWall));
  ticket.note_asked(kStart + 8s);

  CHECK(ticket.next_deadline(kStart + 8s) == kStart + 10s);  // the race has to hear of the end
  CHECK(ticket.next_deadline(kStart + 10s) == kStart + 11s);
  CHECK_FALSE(ticket.take(kStart + 10s));
}

TEST_CASE("relay ticket: neither a clock far off nor a grant without a time asks all the time",
          "[tunnel][relay-ticket]") {
  for (const auto ahead : {-1h, 1h}) {
    RelayTicket ticket = asked();
    ticket.handle_grant(kStart, kWall, grant_at(kWall, 1, ahead));
    const Instant end = kStart + (ahead < 0h ? RelayTicket::kShortest : kTcpRelayTokenLifetime);
    CHECK(ticket.next_deadline(kStart) == end - RelayTicket::kAhead);
    CHECK(ticket.is_valid(end - 1ms));
    CHECK_FALSE(ticket.is_valid(end));
  }
  RelayTicket ticket = asked();
  ticket.handle_grant(kStart, kWall, RelayGrantMessage{.transport = RelayTransport::kTcp});
  CHECK(ticket.next_deadline(kStart) == kStart + 1s);
}

TEST_CASE("relay ticket: the step that has started asks no more, whatever comes late", "[tunnel][relay-ticket]") {
  RelayTicket ticket = asked();
  ticket.handle_grant(kStart, kWall, grant_at(kWall));
  REQUIRE(ticket.take(kStart + 1s));

  CHECK_FALSE(ticket.take(kStart + 1s));
  ticket.handle_grant(kStart + 2s, kWall, grant_at(kWall));
  CHECK_FALSE(ticket.is_valid(kStart + 2s));
  CHECK_FALSE(ticket.next_deadline(kStart + 2s));
  CHECK_FALSE(ticket.wants_asking(kStart + 1min));
}

TEST_CASE("relay ticket: a refusal ends the asking, not the grant at hand", "[tunnel][relay-ticket]") {
  RelayTicket ticket = asked();
  ticket.handle_grant(kStart, kWall, grant_at(kWall));
  ticket.note_asked(kStart + 8s);
  ticket.handle_refusal();

  CHECK(ticket.is_valid(kStart + 9s));
  CHECK(ticket.next_deadline(kStart + 9s) == kStart + 10s);
  CHECK_FALSE(ticket.next_deadline(kStart + 10s));

  RelayTicket refused = asked();
  refused.handle_refusal();
  CHECK_FALSE(refused.next_deadline(kStart));
}

TEST_CASE("relay ticket: questions of one session are counted, of the next one anew", "[tunnel][relay-ticket]") {
  RelayTicket ticket;
  ticket.start(kStart);
  int questions = 0;
  for (Instant now = kStart; now < kStart + 10min; now += 1s) {
    if (!ticket.wants_asking(now)) continue;
    ticket.note_asked(now);
    ++questions;
  }
  CHECK(questions == RelayTicket::kMaxAsked);
  // The answer to the last one still counts.
  ticket.handle_grant(kStart + 10min, kWall, grant_at(kWall));
  CHECK(ticket.is_valid(kStart + 10min));
  CHECK_FALSE(ticket.wants_asking(kStart + 11min));

  ticket.start(kStart + 12min);
  CHECK(ticket.wants_asking(kStart + 12min));
  CHECK_FALSE(ticket.is_valid(kStart + 12min));
}

TEST_CASE("relay ticket: a race that is over takes its grant along", "[tunnel][relay-ticket]") {
  RelayTicket ticket = asked();
  ticket.handle_grant(kStart, kWall, grant_at(kWall));

  ticket.stop();

  CHECK_FALSE(ticket.is_valid(kStart));
  CHECK_FALSE(ticket.next_deadline(kStart));
  ticket.handle_grant(kStart, kWall, grant_at(kWall));
  CHECK_FALSE(ticket.is_valid(kStart));
}

TEST_CASE("relay ticket: the grant at hand joins though a further one is under way", "[tunnel][relay-ticket]") {
  test::TcpRelayWorld broker;
  const auto granted = [&](const TcpRelayTokens& tokens) {
    RelayGrantMessage message = grant_at(kWall);
    message.pairing_token = tokens.client;
    return message;
  };
  RelayTicket ticket;
  ticket.start(broker.now);
  ticket.note_asked(broker.now);
  const std::chrono::milliseconds asked_again = GENERATE(3000ms, 8000ms);
  const TcpRelayTokens first = broker.issue();
  const bool stalled = asked_again == RelayTicket::kNoAnswer;  // the first answer is as late as the second question
  if (!stalled) ticket.handle_grant(broker.now, kWall, granted(first));
  broker.wait(asked_again);
  REQUIRE(ticket.wants_asking(broker.now));
  ticket.note_asked(broker.now);
  const TcpRelayTokens second = broker.issue();
  if (stalled) ticket.handle_grant(broker.now, kWall + asked_again, granted(first));

  const auto taken = ticket.take(broker.now);
  REQUIRE(taken);
  ticket.handle_grant(broker.now, kWall, granted(second));
  CHECK_FALSE(ticket.is_valid(broker.now));

  broker.join(test::kGateway, second.gateway);
  broker.join(test::kAlice, taken->pairing_token);
  CHECK(broker.paired.size() == 1);
}
