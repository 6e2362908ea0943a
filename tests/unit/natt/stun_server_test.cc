// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <functional>

#include <natt/errc.h>

#include "unit/natt/stun_pair.h"

namespace natt::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

struct RequestParts {
  StunTransactionId id;
  std::string username;
  WallTime time;
  ByteBuffer password;
  std::function<void(StunBuilder&)> extra = nullptr;
  StunClass message_class = StunClass::kRequest;
  bool fingerprint = true;
  bool with_time = true;
};

RequestParts parts(StunPair& pair) {
  const auto password = pair.credential.password.view();
  return {make_transaction_id(pair.key, pair.random), pair.credential.username, pair.wall(),
          ByteBuffer(password.begin(), password.end())};
}

ByteBuffer build(const RequestParts& parts) {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, parts.message_class, kStunBinding, parts.id);
  builder.add_text(StunAttribute::kUsername, parts.username);
  if (parts.with_time) {
    builder.add_number64(StunAttribute::kNattTime, static_cast<std::uint64_t>(parts.time.time_since_epoch().count()));
  }
  if (parts.extra) parts.extra(builder);
  builder.add_integrity_sha256(parts.password);
  if (parts.fingerprint) builder.add_fingerprint();
  const auto bytes = *builder.finish();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("stun server: answers an authentic request from the address asked", "[natt][stun]") {
  StunPair pair;
  const ByteBuffer request = build(parts(pair));
  const SocketAddress local = *SocketAddress::parse("198.51.100.11:53");

  const auto reply = pair.ask(request, kClientAddress, local);

  REQUIRE(reply);
  CHECK(pair.last_reply->from == local);
  CHECK(pair.last_reply->to == kClientAddress);
  const auto message = StunMessage::parse(*reply);
  REQUIRE(message);
  CHECK(message->message_class() == StunClass::kSuccess);
  CHECK(message->transaction_id() == StunMessage::parse(request)->transaction_id());
  CHECK(message->xor_mapped_address() == kClientAddress);
  CHECK(message->has_valid_integrity_sha256(pair.credential.password.view()));
  CHECK(message->has_valid_fingerprint());
  CHECK(reply->size() <= request.size());
  CHECK(pair.server.stats().answered == 1);
}

TEST_CASE("stun server: is silent to whatever does not prove itself, with a counter for each reason", "[natt][stun]") {
  StunPair pair;
  RequestParts request = parts(pair);
  using Stats = StunServer::Stats;
  std::uint64_t Stats::*counter = nullptr;

  SECTION("tag") {
    request.id.bytes[11] ^= 1;
    counter = &Stats::dropped_bad_tag;
  }
  SECTION("username") {
    request.username[0] ^= 1;
    counter = &Stats::dropped_unknown_username;
  }
  SECTION("FINGERPRINT") {
    request.fingerprint = false;
    counter = &Stats::dropped_bad_fingerprint;
  }
  SECTION("MESSAGE-INTEGRITY-SHA256") {
    request.password[31] ^= 1;
    counter = &Stats::dropped_bad_integrity;
  }
  SECTION("no time") {
    request.with_time = false;
    counter = &Stats::dropped_stale;
  }
  SECTION("old time") {
    request.time -= milliseconds(60001);
    counter = &Stats::dropped_stale;
  }
  SECTION("time ahead") {
    request.time += milliseconds(60001);
    counter = &Stats::dropped_stale;
  }
  SECTION("unknown required attribute") {
    request.extra = [](StunBuilder& b) { b.add_flag(static_cast<StunAttribute>(0x7001)); };
    counter = &Stats::dropped_unknown_attribute;
  }
  SECTION("RESPONSE-PORT") {
    request.extra = [](StunBuilder& b) { b.add_number32(static_cast<StunAttribute>(0x0027), 53U << 16); };
    counter = &Stats::dropped_unknown_attribute;
  }
  SECTION("PADDING") {
    request.extra = [](StunBuilder& b) { b.add_bytes(static_cast<StunAttribute>(0x0026), ByteBuffer(64, 0)); };
    counter = &Stats::dropped_unknown_attribute;
  }
  SECTION("CHANGE-REQUEST where there is no other port") {
    request.extra = [](StunBuilder& b) { b.add_number32(StunAttribute::kChangeRequest, 2); };
    counter = &Stats::dropped_no_other_address;
  }
  SECTION("an indication") {
    request.message_class = StunClass::kIndication;
    counter = &Stats::dropped_not_a_request;
  }
  SECTION("an answer") {
    request.message_class = StunClass::kSuccess;
    counter = &Stats::dropped_not_a_request;
  }
  const auto reply = pair.ask(build(request));

  CHECK_FALSE(reply);
  CHECK(pair.server.stats().*counter == 1);
  CHECK(pair.server.stats().answered == 0);
  if (counter != &Stats::dropped_no_other_address) CHECK(pair.server.seen_addresses(pair.now, kAlice).empty());
}

TEST_CASE("stun server: times at the very edge are fresh", "[natt][stun]") {
  StunPair pair;
  RequestParts request = parts(pair);
  const auto offset = GENERATE(-60000, 0, 60000);

  request.time += milliseconds(offset);

  CHECK(pair.ask(build(request)));
}

TEST_CASE("stun server: garbage, truncations and every flipped bit get no answer", "[natt][stun]") {
  StunPair pair({.requests_per_second = 1000000});
  const ByteBuffer request = build(parts(pair));

  CHECK_FALSE(pair.ask({}));
  CHECK_FALSE(pair.ask(ByteBuffer(1200, 0)));
  for (std::size_t size = 0; size < request.size(); ++size) CHECK_FALSE(pair.ask(ByteView(request).first(size)));
  for (std::size_t bit = 0; bit < request.size() * 8; ++bit) {
    ByteBuffer flipped = request;
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
    CAPTURE(bit);
    CHECK_FALSE(pair.ask(flipped));
  }
  CHECK(pair.server.stats().answered == 0);
}

TEST_CASE("stun server: a retransmission is answered, a replay from elsewhere is not", "[natt][stun]") {
  StunPair pair;
  const ByteBuffer request = build(parts(pair));
  const SocketAddress elsewhere = *SocketAddress::parse("192.0.2.66:9");
  REQUIRE(pair.ask(request));

  CHECK(pair.ask(request));
  CHECK_FALSE(pair.ask(request, elsewhere));
  CHECK_FALSE(pair.ask(request, {kClientAddress.ip, 51001}));
  CHECK(pair.server.stats().dropped_replay == 2);
  CHECK_FALSE(pair.server.was_seen(pair.now, kAlice, elsewhere.ip));
}

TEST_CASE("stun server: a replay is refused for as long as its time is fresh", "[natt][stun]") {
  StunPair pair;
  RequestParts ahead = parts(pair);
  ahead.time += seconds(60);
  const ByteBuffer request = build(ahead);
  REQUIRE(pair.ask(request));

  for (int second = 1; second <= 240; ++second) {
    pair.advance(seconds(1));
    static_cast<void>(pair.ask(build(parts(pair))));  // keeps the windows turning
    CAPTURE(second);
    CHECK_FALSE(pair.ask(request, *SocketAddress::parse("192.0.2.66:9")));
  }
}

TEST_CASE("stun server: ten requests a second for each credential", "[natt][stun]") {
  StunPair pair;
  const StunCredential other = make_stun_credential(pair.key, pair.random);
  REQUIRE(pair.server.add_credential({"hq", Role::kClient, "bob"}, other));

  int answered = 0;
  for (int i = 0; i < 100; ++i) answered += pair.ask(build(parts(pair))) ? 1 : 0;
  CHECK(answered == 10);
  CHECK(pair.server.stats().dropped_rate == 90);

  RequestParts of_bob = parts(pair);
  of_bob.username = other.username;
  of_bob.password = {other.password.view().begin(), other.password.view().end()};
  CHECK(pair.ask(build(of_bob)));

  pair.advance(milliseconds(500));
  answered = 0;
  for (int i = 0; i < 100; ++i) answered += pair.ask(build(parts(pair))) ? 1 : 0;
  CHECK(answered == 5);
}

TEST_CASE("stun server: copies of a request do not use up its owner's rate", "[natt][stun]") {
  StunPair pair;
  const ByteBuffer captured = pair.request();
  REQUIRE(pair.ask(captured));
  const SocketAddress thief = *SocketAddress::parse("203.0.113.99:4444");

  for (int second = 0; second < 10; ++second) {
    for (int i = 0; i < 200; ++i) {
      pair.now += milliseconds(5);
      CHECK_FALSE(pair.ask(captured, thief));
      static_cast<void>(pair.ask(captured));  // with its owner's address as source
    }
    CHECK(pair.ask(pair.request()));
  }

  // Its own, and six retransmissions of the captured one (RFC 8489 section 6.2.1: seven in all).
  CHECK(pair.server.stats().answered == 1 + 6 + 10);
}

TEST_CASE("stun server: forged requests do not use up a credential's rate", "[natt][stun]") {
  StunPair pair;
  RequestParts forged = parts(pair);
  forged.password[0] ^= 1;
  for (int i = 0; i < 100; ++i) CHECK_FALSE(pair.ask(build(forged)));

  CHECK(pair.ask(build(parts(pair))));
}

TEST_CASE("stun server: remembers where a device was seen for 60 s", "[natt][stun]") {
  StunPair pair;
  const SocketAddress second = *SocketAddress::parse("[2001:db8::7]:51000");
  REQUIRE(pair.ask(build(parts(pair))));
  pair.advance(seconds(30));
  REQUIRE(pair.ask(build(parts(pair)), second));

  CHECK(pair.server.seen_addresses(pair.now, kAlice) == std::vector{second.ip, kClientAddress.ip});
  CHECK(pair.server.was_seen(pair.now, kAlice, kClientAddress.ip));
  CHECK(pair.server.seen_addresses(pair.now, {"hq", Role::kClient, "bob"}).empty());
  pair.advance(seconds(30));
  CHECK(pair.server.was_seen(pair.now, kAlice, kClientAddress.ip));
  pair.advance(milliseconds(1));
  CHECK(pair.server.seen_addresses(pair.now, kAlice) == std::vector{second.ip});
}

TEST_CASE("stun server: of too many sources the oldest goes", "[natt][stun]") {
  StunPair pair;
  for (std::uint8_t i = 1; i <= 6; ++i) {
    pair.advance(seconds(1));
    REQUIRE(pair.ask(build(parts(pair)), {IpAddress::v4({203, 0, 113, i}), 1}));
  }

  const auto seen = pair.server.seen_addresses(pair.now, kAlice);
  REQUIRE(seen.size() == StunServer::kMaxSeenPerCredential);
  CHECK(seen.front() == IpAddress::v4({203, 0, 113, 6}));
  CHECK(seen.back() == IpAddress::v4({203, 0, 113, 3}));
}

TEST_CASE("stun server: a removed credential or device is a stranger at once", "[natt][stun]") {
  StunPair pair;
  const StunCredential second = make_stun_credential(pair.key, pair.random);
  REQUIRE(pair.server.add_credential(kAlice, second));
  REQUIRE(pair.ask(build(parts(pair))));

  SECTION("credential") {
    pair.server.remove_credential(pair.credential.username);
    CHECK(pair.server.credential_count() == 1);
  }
  SECTION("device") {
    pair.server.remove_device(kAlice);
    CHECK(pair.server.credential_count() == 0);
  }
  CHECK_FALSE(pair.ask(build(parts(pair))));
  CHECK(pair.server.seen_addresses(pair.now, kAlice).empty());
  pair.server.remove_credential("never there");
  pair.server.remove_device({"hq", Role::kClient, "bob"});
}

TEST_CASE("stun server: the credential table is bounded and exact", "[natt][stun]") {
  StunPair pair({.max_credentials = 2});
  const auto fresh = [&] { return make_stun_credential(pair.key, pair.random); };

  REQUIRE(pair.server.add_credential(kAlice, fresh()));
  const auto full = pair.server.add_credential(kAlice, fresh());
  REQUIRE_FALSE(full);
  CHECK(full.error().code == Errc::kLimit);
  const auto duplicate = pair.server.add_credential(kAlice, pair.credential);
  CHECK(duplicate.error().code == Errc::kMalformed);
  StunCredential nameless = fresh();
  nameless.username.clear();
  CHECK_FALSE(pair.server.add_credential(kAlice, nameless));
  nameless.username.assign(65, 'x');
  CHECK_FALSE(pair.server.add_credential(kAlice, nameless));
}

TEST_CASE("stun server: ids of the previous transaction key are accepted until the next rotation", "[natt][stun]") {
  StunPair pair;
  StunTransactionKey second = pair.key;
  second.data()[0] ^= 1;

  pair.server.set_transaction_key(second);
  CHECK(pair.ask(build(parts(pair))));
  second.data()[0] ^= 2;
  pair.server.set_transaction_key(second);
  CHECK_FALSE(pair.ask(build(parts(pair))));
}

TEST_CASE("stun server: CHANGE-REQUEST is answered from the other port, never from another IP", "[natt][stun]") {
  StunPair pair({.primary_port = std::uint16_t{443}, .alternate_port = std::uint16_t{53}});
  RequestParts request = parts(pair);
  const std::uint32_t flags = GENERATE(0U, 2U, 4U, 6U);
  request.extra = [&](StunBuilder& b) { b.add_number32(StunAttribute::kChangeRequest, flags); };

  const auto reply = pair.ask(build(request));

  CHECK(reply.has_value() == ((flags & 4) == 0));
  if (reply) CHECK(pair.last_reply->from.port == (flags == 2 ? 53 : 443));
}

TEST_CASE("stun server: OTHER-ADDRESS is told to questions that are long enough", "[natt][stun]") {
  StunPair pair({.primary_port = std::uint16_t{443}, .alternate_port = std::uint16_t{53}});
  RequestParts request = parts(pair);
  const auto size = static_cast<std::size_t>(GENERATE(0, 96, 100, 104, 128));
  request.extra = [&](StunBuilder& b) { b.add_fill(size); };
  const ByteBuffer bytes = build(request);

  const auto reply = pair.ask(bytes);

  REQUIRE(reply);
  CHECK(reply->size() <= bytes.size());
  const auto message = StunMessage::parse(*reply);
  const bool told = bytes.size() >= 100;
  CHECK(message->address(StunAttribute::kOtherAddress).has_value() == told);
  if (told) {
    CHECK(message->address(StunAttribute::kOtherAddress) == SocketAddress{kServerAddress.ip, 53});
    CHECK(message->address(StunAttribute::kResponseOrigin) == kServerAddress);
  }
}

TEST_CASE("stun server: an answer that would be longer than its question stays unsent", "[natt][stun]") {
  StunPair pair;
  StunCredential tiny = make_stun_credential(pair.key, pair.random);
  tiny.username = "a";
  REQUIRE(pair.server.add_credential(kAlice, tiny));
  RequestParts request = parts(pair);
  request.username = "a";
  request.password = {tiny.password.view().begin(), tiny.password.view().end()};

  CHECK(pair.ask(build(request)));  // 76 octets for 84
  request.id = make_transaction_id(pair.key, pair.random);
  CHECK_FALSE(pair.ask(build(request), *SocketAddress::parse("[2001:db8::5]:1")));  // 88 for 84
  CHECK(pair.server.stats().dropped_would_amplify == 1);
}

}  // namespace natt::test
