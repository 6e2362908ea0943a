// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <variant>

#include <natt/errc.h>

#include "unit/natt/stun_pair.h"

namespace natt::test {
namespace {

using Catch::Matchers::StartsWith;
using std::chrono::milliseconds;
using std::chrono::seconds;

template <typename Event>
std::optional<Event> next(StunClient& client) {
  const auto event = client.poll_event();
  if (!event || !std::holds_alternative<Event>(*event)) return std::nullopt;
  return std::get<Event>(*event);
}

// Asks and answers once; false when the client did not ask.
bool exchange(StunPair& pair, StunClient& client, const SocketAddress& mapped = kClientAddress) {
  const auto transmit = client.poll_transmit();
  if (!transmit) return false;
  const auto reply = pair.ask(transmit->bytes, mapped);
  return reply && client.handle_datagram(pair.now, kServerAddress, kClientLocal, *reply);
}

void expire(StunPair& pair, StunClient& client) {
  pair.now = *client.next_deadline();
  client.handle_timeout(pair.now, pair.wall());
}

}  // namespace

TEST_CASE("stun client: missing configuration is one clear error", "[natt][stun]") {
  SeededRandom random(test_seed());
  const auto check = [&](StunClientOptions options) {
    const auto client = StunClient::make(std::move(options), random);
    REQUIRE_FALSE(client);
    CHECK_THAT(client.error().message, StartsWith("STUN client initialization failed: "));
    CHECK(client.error().code == Errc::kUnavailable);
  };

  check({});
  check({.server = {kServerAddress.ip, 0}});
  check({.server = kServerAddress, .credential = StunCredential{}});
  check({.server = kServerAddress, .keepalive_interval = milliseconds(10)});
  check({.server = kServerAddress, .retransmission = {.rc = 0}});
}

TEST_CASE("stun client: an answer makes Mapped with address, local address and RTT", "[natt][stun]") {
  StunPair pair;
  const auto client = pair.make_client();

  client->start(pair.now, pair.wall());
  const auto transmit = client->poll_transmit();
  REQUIRE(transmit);
  CHECK(transmit->to == kServerAddress);
  const auto reply = pair.ask(transmit->bytes);
  REQUIRE(reply);
  pair.advance(milliseconds(42));
  REQUIRE(client->handle_datagram(pair.now, kServerAddress, kClientLocal, *reply));

  const auto mapped = next<StunMapped>(*client);
  REQUIRE(mapped);
  CHECK(mapped->mapped == kClientAddress);
  CHECK(mapped->local == kClientLocal);
  CHECK(mapped->rtt == milliseconds(42));
  CHECK(client->mapped() == kClientAddress);
  CHECK(client->last_answer() == pair.now);
  CHECK(client->next_deadline() == pair.now + seconds(15));
}

TEST_CASE("stun client: an answer is never longer than its question", "[natt][stun]") {
  StunPair pair;
  const ByteBuffer request = pair.request();

  CHECK(pair.ask(request)->size() <= request.size());
  CHECK(pair.ask(pair.request(), *SocketAddress::parse("[2001:db8::5]:51000"))->size() <= request.size());
}

TEST_CASE("stun client: it keeps asking at the keepalive interval and reports a changed mapping", "[natt][stun]") {
  StunPair pair;
  const auto client = pair.make_client({.keepalive_interval = seconds(20)});
  client->start(pair.now, pair.wall());
  REQUIRE(exchange(pair, *client));
  REQUIRE(next<StunMapped>(*client));
  CHECK_FALSE(client->poll_transmit());

  expire(pair, *client);
  CHECK(pair.now == Instant{} + seconds(20));
  REQUIRE(exchange(pair, *client));
  CHECK_FALSE(client->poll_event());

  expire(pair, *client);
  const SocketAddress other{kClientAddress.ip, 52000};
  REQUIRE(exchange(pair, *client, other));
  const auto changed = next<StunMappingChanged>(*client);
  REQUIRE(changed);
  CHECK(changed->previous == kClientAddress);
  CHECK(changed->mapped == other);
}

TEST_CASE("stun client: retransmits the same request and fails by name after Rc requests", "[natt][stun]") {
  StunPair pair;
  const auto client = pair.make_client();
  client->start(pair.now, pair.wall());
  const auto first = client->poll_transmit();

  std::size_t sent = 1;
  while (!client->poll_event() && sent < 20) {
    expire(pair, *client);
    if (const auto again = client->poll_transmit()) {
      ++sent;
      CHECK(again->bytes == first->bytes);
    }
    if (pair.now >= Instant{} + milliseconds(39500)) break;
  }

  CHECK(sent == 7);
  CHECK(pair.now == Instant{} + milliseconds(39500));
}

TEST_CASE("stun client: after a failure it says why, tries again and recovers", "[natt][stun]") {
  StunPair pair;
  const auto client = pair.make_client({.retransmission = {.rto = milliseconds(100), .rc = 2, .rm = 2}});
  client->start(pair.now, pair.wall());
  expire(pair, *client);
  expire(pair, *client);

  const auto failed = next<StunFailed>(*client);
  REQUIRE(failed);
  CHECK(failed->error.message ==
        "STUN Binding Request failed: no answer from 198.51.100.10:443 to 2 requests in 0.3 s");
  CHECK_FALSE(client->mapped());
  static_cast<void>(client->poll_transmit());

  expire(pair, *client);
  REQUIRE(exchange(pair, *client));
  CHECK(next<StunMapped>(*client));
}

TEST_CASE("stun client: waits for its credential and uses a renewed one", "[natt][stun]") {
  StunPair pair;
  StunClientOptions options{.server = kServerAddress};
  const auto client = std::move(*StunClient::make(options, pair.random));
  client->start(pair.now, pair.wall());
  CHECK_FALSE(client->poll_transmit());
  CHECK_FALSE(client->next_deadline());

  client->set_credential(pair.now, pair.wall(), pair.credential);
  REQUIRE(exchange(pair, *client));

  const StunCredential renewed = make_stun_credential(pair.key, pair.random);
  REQUIRE(pair.server.add_credential(kAlice, renewed));
  pair.server.remove_credential(pair.credential.username);
  client->set_credential(pair.now, pair.wall(), renewed);
  expire(pair, *client);
  CHECK(exchange(pair, *client));
}

TEST_CASE("stun client: drops what is not the asked server's authentic answer", "[natt][stun]") {
  StunPair pair;
  const auto client = pair.make_client();
  client->start(pair.now, pair.wall());
  const ByteBuffer reply = *pair.ask(client->poll_transmit()->bytes);

  SECTION("from another source") {
    const SocketAddress other{kServerAddress.ip, 444};
    CHECK(client->handle_datagram(pair.now, other, kClientLocal, reply));
    CHECK(client->stats().dropped_wrong_source == 1);
  }
  SECTION("any bit flipped") {
    for (std::size_t bit = 0; bit < reply.size() * 8; ++bit) {
      ByteBuffer flipped = reply;
      flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1U << (bit % 8)));
      static_cast<void>(client->handle_datagram(pair.now, kServerAddress, kClientLocal, flipped));
    }
    CHECK(client->stats().responses == 0);
  }
  SECTION("another transaction") {
    const ByteBuffer other = *pair.ask(pair.request());
    CHECK_FALSE(client->handle_datagram(pair.now, kServerAddress, kClientLocal, other));
  }
  SECTION("garbage, requests and nothing") {
    CHECK_FALSE(client->handle_datagram(pair.now, kServerAddress, kClientLocal, {}));
    CHECK_FALSE(client->handle_datagram(pair.now, kServerAddress, kClientLocal, ByteBuffer(100, 0x41)));
    CHECK_FALSE(client->handle_datagram(pair.now, kServerAddress, kClientLocal, pair.request()));
  }
  CHECK_FALSE(client->mapped());
  CHECK_FALSE(client->poll_event());
}

TEST_CASE("stun client: a second copy of an answer changes nothing", "[natt][stun]") {
  StunPair pair;
  const auto client = pair.make_client();
  client->start(pair.now, pair.wall());
  const ByteBuffer reply = *pair.ask(client->poll_transmit()->bytes);
  REQUIRE(client->handle_datagram(pair.now, kServerAddress, kClientLocal, reply));
  REQUIRE(client->poll_event());

  CHECK_FALSE(client->handle_datagram(pair.now, kServerAddress, kClientLocal, reply));
  CHECK_FALSE(client->poll_event());
  CHECK(client->stats().responses == 1);
}

namespace {

// What an ordinary server might answer to a request.
ByteBuffer plain_answer(ByteView request, StunClass message_class, const std::function<void(StunBuilder&)>& fill) {
  std::array<std::uint8_t, kStunMaxMessageSize> out{};
  StunBuilder builder(out, message_class, kStunBinding, StunMessage::parse(request)->transaction_id());
  fill(builder);
  const auto bytes = *builder.finish();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

TEST_CASE("stun client: asks an ordinary server without a credential", "[natt][stun]") {
  SeededRandom random(test_seed());
  const auto client = std::move(*StunClient::make({.server = kServerAddress, .credential_required = false}, random));
  client->start({}, kWall);
  const auto request = client->poll_transmit();
  REQUIRE(request);
  CHECK_FALSE(StunMessage::parse(request->bytes)->text(StunAttribute::kUsername));
  const auto answer = [&](StunClass message_class, const std::function<void(StunBuilder&)>& fill) {
    const ByteBuffer bytes = plain_answer(request->bytes, message_class, fill);
    REQUIRE(client->handle_datagram({}, kServerAddress, kClientLocal, bytes));
  };

  SECTION("XOR-MAPPED-ADDRESS") {
    answer(StunClass::kSuccess, [](StunBuilder& b) { b.add_xor_mapped_address(kClientAddress); });
    CHECK(next<StunMapped>(*client)->mapped == kClientAddress);
  }
  SECTION("MAPPED-ADDRESS of an old server") {
    answer(StunClass::kSuccess, [](StunBuilder& b) { b.add_address(StunAttribute::kMappedAddress, kClientAddress); });
    CHECK(next<StunMapped>(*client)->mapped == kClientAddress);
  }
  SECTION("no address") {
    answer(StunClass::kSuccess, [](StunBuilder& b) { b.add_text(StunAttribute::kSoftware, "x"); });
    CHECK(next<StunFailed>(*client)->error.message == "STUN Binding Request failed: the answer has no mapped address");
  }
  SECTION("an error") {
    answer(StunClass::kError, [](StunBuilder& b) { b.add_error_code(401, "Unauthenticated"); });
    CHECK(next<StunFailed>(*client)->error.message ==
          "STUN Binding Request failed: the server answered with error 401");
  }
  SECTION("an unknown comprehension-required attribute fails the transaction") {
    answer(StunClass::kSuccess, [](StunBuilder& b) {
      b.add_xor_mapped_address(kClientAddress);
      b.add_flag(static_cast<StunAttribute>(0x7001));
    });
    CHECK(next<StunFailed>(*client)->error.message ==
          "STUN Binding Request failed: the answer has an unknown required attribute 0x7001");
  }
  SECTION("a wrong FINGERPRINT is not an answer") {
    answer(StunClass::kSuccess, [](StunBuilder& b) {
      b.add_xor_mapped_address(kClientAddress);
      b.add_number32(StunAttribute::kFingerprint, 1);
    });
    CHECK_FALSE(client->poll_event());
    CHECK(client->stats().dropped_unauthentic == 1);
  }
}

TEST_CASE("stun client: every verb in every state", "[natt][stun]") {
  StunPair pair;
  enum class Start { kIdle, kAsking, kWaiting, kClosed };
  for (const Start state : {Start::kIdle, Start::kAsking, Start::kWaiting, Start::kClosed}) {
    const auto client = pair.make_client();
    if (state != Start::kIdle) client->start(pair.now, pair.wall());
    if (state == Start::kWaiting) REQUIRE(exchange(pair, *client));
    if (state == Start::kClosed) client->close();
    while (client->poll_transmit() || client->poll_event()) {
    }
    const bool asks = state == Start::kAsking || state == Start::kWaiting;
    CAPTURE(static_cast<int>(state));

    CHECK(client->next_deadline().has_value() == asks);
    client->set_keepalive_interval(pair.now, seconds(5));
    client->set_credential(pair.now, pair.wall(), pair.credential);
    CHECK_FALSE(client->poll_transmit());
    client->refresh(pair.now, pair.wall());
    CHECK(client->poll_transmit().has_value() == asks);
    client->start(pair.now, pair.wall());
    CHECK(client->poll_transmit().has_value() == (state == Start::kIdle));
    client->close();
    client->handle_timeout(pair.now + std::chrono::hours(1), pair.wall());
    CHECK_FALSE(client->poll_transmit());
    CHECK_FALSE(client->next_deadline());
    CHECK_FALSE(client->poll_event());
  }
}

}  // namespace natt::test
