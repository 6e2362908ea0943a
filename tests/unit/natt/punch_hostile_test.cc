// SPDX-License-Identifier: Apache-2.0
// What strangers, liars and the network itself may send to an agent.

#include <catch2/catch_test_macros.hpp>

#include <functional>

#include <natt/stun_builder.h>

#include "unit/natt/punch_pair.h"

namespace natt::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const SocketAddress kStranger = *SocketAddress::parse("192.0.2.66:666");

struct CheckParts {
  StunTransactionId id;
  std::string username;
  Secret<32> password;
  std::optional<StunAttribute> role = StunAttribute::kIceControlling;
  bool fingerprint = true;
  std::function<void(StunBuilder&)> extra = nullptr;
};

CheckParts check_of_a(PunchPair& pair) {
  return {make_transaction_id(pair.key, pair.random), pair.of_b.ufrag + ":" + pair.of_a.ufrag, pair.of_b.password};
}

ByteBuffer build(const CheckParts& parts) {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, StunClass::kRequest, kStunBinding, parts.id);
  builder.add_text(StunAttribute::kUsername, parts.username);
  builder.add_number32(StunAttribute::kPriority, 1);
  if (parts.role) builder.add_number64(*parts.role, 1);
  if (parts.extra) parts.extra(builder);
  builder.add_integrity_sha256(parts.password.view());
  if (parts.fingerprint) builder.add_fingerprint();
  const auto bytes = *builder.finish();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("punch: an unauthentic check is dropped in silence, with a counter for its reason", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  CheckParts parts = check_of_a(pair);
  using Stats = PunchAgent::Stats;
  std::uint64_t Stats::*counter = nullptr;
  SocketAddress from = kAddressA;

  SECTION("no username") {
    parts.username = "";
    counter = &Stats::dropped_unknown_username;
  }
  SECTION("unknown receiver") {
    parts.username = "nobody:" + pair.of_a.ufrag;
    counter = &Stats::dropped_unknown_username;
  }
  SECTION("wrong sender") {
    parts.username = pair.of_b.ufrag + ":somebody";
    counter = &Stats::dropped_unknown_username;
  }
  SECTION("two colons") {
    parts.username += ":x";
    counter = &Stats::dropped_unknown_username;
  }
  SECTION("reflected: our own check comes back") {
    parts.username = pair.of_a.ufrag + ":" + pair.of_b.ufrag;
    parts.password = pair.of_a.password;
    counter = &Stats::dropped_unknown_username;
  }
  SECTION("transaction id without a tag") {
    parts.id.bytes[5] ^= 1;
    counter = &Stats::dropped_bad_tag;
  }
  SECTION("no FINGERPRINT") {
    parts.fingerprint = false;
    counter = &Stats::dropped_bad_fingerprint;
  }
  SECTION("signed with another password") {
    parts.password = pair.of_a.password;
    counter = &Stats::dropped_bad_integrity;
  }
  SECTION("without a role") {
    parts.role.reset();
    counter = &Stats::dropped_role;
  }
  SECTION("with our own role") {
    parts.role = StunAttribute::kIceControlled;
    counter = &Stats::dropped_role;
  }
  SECTION("with both roles") {
    parts.extra = [](StunBuilder& b) { b.add_number64(StunAttribute::kIceControlled, 1); };
    counter = &Stats::dropped_role;
  }
  SECTION("unknown required attribute") {
    parts.extra = [](StunBuilder& b) { b.add_flag(static_cast<StunAttribute>(0x7001)); };
    counter = &Stats::dropped_malformed;
  }
  SECTION("from a private address of somewhere else") {
    from = *SocketAddress::parse("10.0.0.5:22");
    counter = &Stats::dropped_source;
  }
  SECTION("from loopback") {
    from = *SocketAddress::parse("127.0.0.1:22");
    counter = &Stats::dropped_source;
  }

  CHECK(pair.deliver(pair.b, from, kAddressB, build(parts)));
  CHECK(pair.b.stats().*counter == 1);
  CHECK_FALSE(pair.next(pair.b));
  CHECK_FALSE(pair.b.poll_event());
  CHECK(pair.b.stats().requests_accepted == 0);
}

TEST_CASE("punch: garbage, truncations and every flipped bit of a check get no answer", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  const ByteBuffer check = build(check_of_a(pair));

  CHECK_FALSE(pair.deliver(pair.b, kStranger, kAddressB, {}));
  CHECK_FALSE(pair.deliver(pair.b, kStranger, kAddressB, ByteBuffer(1200, 0xc3)));
  for (std::size_t size = 0; size < check.size(); ++size) {
    static_cast<void>(pair.deliver(pair.b, kStranger, kAddressB, ByteView(check).first(size)));
  }
  for (std::size_t bit = 0; bit < check.size() * 8; ++bit) {
    ByteBuffer flipped = check;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    static_cast<void>(pair.deliver(pair.b, kStranger, kAddressB, flipped));
  }
  CHECK_FALSE(pair.next(pair.b));
  CHECK(pair.b.stats().requests_accepted == 0);
  CHECK(pair.deliver(pair.b, kAddressA, kAddressB, check));
  CHECK(pair.b.stats().requests_accepted == 1);
}

TEST_CASE("punch: every flipped bit of an answer is refused", "[natt][punch]") {
  PunchPair pair;
  pair.open_and_tell();
  PunchPair::drain(pair.b);
  REQUIRE(pair.deliver(pair.b, kAddressA, kAddressB, pair.next(pair.a)->bytes));
  const ByteBuffer answer = pair.next(pair.b)->bytes;

  for (std::size_t bit = 0; bit < answer.size() * 8; ++bit) {
    ByteBuffer flipped = answer;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    CAPTURE(bit);
    static_cast<void>(pair.deliver(pair.a, kAddressB, kAddressA, flipped));
    CHECK_FALSE(pair.a.is_validated(kPathToB));
  }
  CHECK(pair.deliver(pair.a, kAddressB, kAddressA, answer));
  CHECK(pair.a.is_validated(kPathToB));
}

TEST_CASE("punch: an answer from another address validates nothing", "[natt][punch]") {
  PunchPair pair;
  pair.open_and_tell();
  PunchPair::drain(pair.b);
  REQUIRE(pair.deliver(pair.b, kAddressA, kAddressB, pair.next(pair.a)->bytes));
  const ByteBuffer answer = pair.next(pair.b)->bytes;

  CHECK(pair.deliver(pair.a, kStranger, kAddressA, answer));

  CHECK_FALSE(pair.a.is_validated(kPathToB));
  CHECK_FALSE(pair.a.is_validated({kSession, kStranger}));
  CHECK(pair.a.stats().dropped_source == 1);
}

TEST_CASE("punch: an answer nobody asked for is left to others on the socket", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, StunClass::kSuccess, kStunBinding, make_transaction_id(pair.key, pair.random));
  builder.add_fingerprint();

  CHECK_FALSE(pair.deliver(pair.a, kStranger, kAddressA, *builder.finish()));
}

TEST_CASE("punch: a check that comes twice is answered once", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  const ByteBuffer check = build(check_of_a(pair));
  REQUIRE(pair.deliver(pair.b, kAddressA, kAddressB, check));
  PunchPair::drain(pair.b);

  CHECK(pair.deliver(pair.b, kAddressA, kAddressB, check));
  CHECK(pair.deliver(pair.b, kStranger, kAddressB, check));

  CHECK(pair.b.stats().dropped_replay == 2);
  CHECK_FALSE(pair.next(pair.b));
}

TEST_CASE("punch: a peer with a thousand sources sends no more than 50 packets to a victim a minute", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  std::size_t reached = 0;

  for (int i = 0; i < 1000; ++i) {
    const SocketAddress victim{kStranger.ip, static_cast<std::uint16_t>(1 + i)};
    static_cast<void>(pair.deliver(pair.b, victim, kAddressB, build(check_of_a(pair))));
    pair.now += milliseconds(50);
    pair.b.handle_timeout(pair.now);
    while (const auto packet = pair.next(pair.b)) reached += packet->to.ip == kStranger.ip ? 1U : 0U;
  }

  CHECK(reached <= 50);
  CHECK(reached >= 10);
}

TEST_CASE("punch: sixteen false candidates give way to the peer that really calls", "[natt][punch]") {
  PunchPair pair;
  pair.open();
  for (std::uint16_t port = 1; port <= kMaxCandidates; ++port) pair.tell(pair.b, {kAddressA.ip, port});
  PunchPair::drain(pair.b);
  pair.tell(pair.a, kAddressB);

  pair.pump();

  CHECK(pair.a.is_validated(kPathToB));
  CHECK(pair.b.is_validated(kPathToA));
}

TEST_CASE("punch: thousands of sessions at once stay below 500 packets a second", "[natt][punch]") {
  PunchPair pair;
  for (std::uint32_t i = 0; i < 3000; ++i) {
    PunchSession session = pair.session(PunchRole::kControlled);
    const IpAddress peer = IpAddress::v4({198, 18, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)});
    session.id = {i + 1};
    session.local.ufrag = "u" + std::to_string(100000 + i);
    session.vouch = {.seen = {peer}, .configured = {}};
    REQUIRE(pair.b.add_session(pair.now, session));
    pair.b.add_remote_candidate(pair.now, session.id, {{peer, 4000}, CandidateType::kServerReflexive, {}});
  }
  const std::size_t at_once = PunchPair::drain(pair.b);
  CHECK(at_once <= 100);

  for (int second = 0; second < 10; ++second) {
    const Instant until = pair.now + seconds(1);
    std::size_t sent = 0;
    while (pair.b.next_deadline() && *pair.b.next_deadline() <= until) {
      pair.now = std::max(pair.now, *pair.b.next_deadline());
      pair.b.handle_timeout(pair.now);
      sent += PunchPair::drain(pair.b);
    }
    pair.now = until;
    CHECK(sent <= 500);
    if (second < 8) CHECK(sent >= 300);
  }
}

}  // namespace natt::test
