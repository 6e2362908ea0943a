// SPDX-License-Identifier: Apache-2.0
#include <natt/session_offer.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "support/test_pki.h"

using namespace natt;
using namespace std::chrono_literals;
using natt::test::kTestNow;
using natt::test::TestPki;

namespace {

struct OfferWorld {
  TestPki site;
  Credentials alice = site.credentials(Role::kClient, "alice");
  Credentials gateway = site.credentials(Role::kGateway, "gw1");
  Roster roster = site.roster(1);
  OfferVerifier verifier{gateway};

  SessionOffer offer() {
    return {.session = SessionId::make(site.random()),
            .gateway = gateway.identity(),
            .punch = make_punch_credential(site.random()),
            .udp = {.nat = {NatMapping::kAddressDependent, NatFiltering::kNone}, .stun_answered = true},
            .candidates = {{.address = *SocketAddress::parse("192.0.2.9:1234"), .base = {}}},
            .time = kTestNow};
  }
  SessionAnswer answer(const SessionOffer& to) {
    return {.session = to.session,
            .client = alice.identity(),
            .refusal = {},
            .punch = make_punch_credential(site.random()),
            .transaction_key = StunTransactionKey(site.random().bytes<16>()),
            .udp = {},
            .candidates = {},
            .time = kTestNow};
  }
};

}  // namespace

TEST_CASE("offer: what the client sealed is what the gateway reads", "[natt][signal]") {
  OfferWorld world;
  const SessionOffer offer = world.offer();
  const auto sealed = seal_offer(offer, world.alice);
  REQUIRE(sealed);
  CHECK(sealed->bytes.size() < 1500);

  const auto verified = world.verifier.verify(sealed->bytes, world.roster, kTestNow);

  REQUIRE(verified);
  CHECK(verified->client == world.alice.identity());
  CHECK(verified->serial == world.alice.serial());
  CHECK(verified->digest == sealed->digest);
  CHECK(verified->offer.session == offer.session);
  CHECK(verified->offer.punch.ufrag == offer.punch.ufrag);
  CHECK(verified->offer.punch.password == offer.punch.password);
  CHECK(verified->offer.udp == offer.udp);
  CHECK(verified->offer.candidates == offer.candidates);
  CHECK(verified->offer.time == offer.time);
}

TEST_CASE("offer: every flipped bit and every truncation is refused", "[natt][signal]") {
  OfferWorld world;
  ByteBuffer sealed = seal_offer(world.offer(), world.alice)->bytes;
  for (std::size_t size = 0; size < sealed.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(world.verifier.verify(ByteView(sealed).first(size), world.roster, kTestNow));
  }
  for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    CAPTURE(bit);
    sealed[bit / 8] = static_cast<std::uint8_t>(sealed[bit / 8] ^ (1u << (bit % 8)));
    CHECK_FALSE(world.verifier.verify(sealed, world.roster, kTestNow));
    sealed[bit / 8] = static_cast<std::uint8_t>(sealed[bit / 8] ^ (1u << (bit % 8)));
  }
  CHECK(world.verifier.verify(sealed, world.roster, kTestNow));
}

TEST_CASE("offer: a second look at the same session is a replay, for as long as it could count", "[natt][signal]") {
  OfferWorld world;
  const auto sealed = seal_offer(world.offer(), world.alice);
  REQUIRE(world.verifier.verify(sealed->bytes, world.roster, kTestNow - 60s));

  CHECK(world.verifier.verify(sealed->bytes, world.roster, kTestNow - 60s).error().code == Errc::kRefused);
  CHECK(world.verifier.verify(sealed->bytes, world.roster, kTestNow + 60s).error().code == Errc::kRefused);
  CHECK(world.verifier.verify(sealed->bytes, world.roster, kTestNow + 61s).error().code == Errc::kExpired);
}

TEST_CASE("offer: sixty seconds of clock difference are accepted, more are not", "[natt][signal]") {
  OfferWorld world;
  const auto code_at = [&](WallTime at) {
    const auto verified = world.verifier.verify(seal_offer(world.offer(), world.alice)->bytes, world.roster, at);
    return verified ? std::error_code() : verified.error().code;
  };
  CHECK_FALSE(code_at(kTestNow + 60s));
  CHECK_FALSE(code_at(kTestNow - 60s));
  CHECK(code_at(kTestNow + 60s + 1ms) == Errc::kExpired);
  CHECK(code_at(kTestNow - 60s - 1ms) == Errc::kExpired);
}

TEST_CASE("offer: only a listed client of the site may offer, and only to this gateway", "[natt][signal]") {
  OfferWorld world;
  TestPki namesake("hq", 5);
  const auto code_for = [&](const SessionOffer& offer, const Credentials& signer) {
    const auto verified = world.verifier.verify(seal_offer(offer, signer)->bytes, world.roster, kTestNow);
    return verified ? std::error_code() : verified.error().code;
  };

  CHECK(code_for(world.offer(), namesake.credentials(Role::kClient, "alice")) == Errc::kUntrusted);
  CHECK(code_for(world.offer(), world.gateway) == Errc::kWrongIdentity);
  CHECK(code_for(world.offer(), world.site.credentials(Role::kClient, "new")) == Errc::kRevoked);
  CHECK(code_for(world.offer(), world.site.credentials_at(Role::kClient, "alice", kTestNow - 48h, 24h)) ==
        Errc::kExpired);
  SessionOffer other = world.offer();
  other.gateway.name = "gw2";
  CHECK(code_for(other, world.alice) == Errc::kWrongIdentity);
  world.roster.revoked.push_back({world.alice.serial(), world.alice.identity()});
  CHECK(code_for(world.offer(), world.alice) == Errc::kRevoked);
}

TEST_CASE("offer: more candidates or other values than the schema has are not sealed", "[natt][signal]") {
  OfferWorld world;
  SessionOffer many = world.offer();
  many.candidates.assign(kMaxSignalCandidates + 1, many.candidates[0]);
  SessionOffer nameless = world.offer();
  nameless.punch.ufrag = "abc";
  SessionOffer split = world.offer();
  split.punch.ufrag = "abcd:efgh";

  CHECK(seal_offer(many, world.alice).error().code == Errc::kLimit);
  CHECK(seal_offer(nameless, world.alice).error().code == Errc::kLimit);
  CHECK(seal_offer(split, world.alice).error().code == Errc::kLimit);
}

TEST_CASE("answer: counts for the offer, the client and the gateway it is about", "[natt][signal]") {
  OfferWorld world;
  const SessionOffer offer = world.offer();
  const auto sealed = *seal_offer(offer, world.alice);
  const auto check = [&](const SessionAnswer& answer, const std::array<std::uint8_t, 32>& digest,
                         const Credentials& signer, WallTime at = kTestNow) {
    const auto bytes = seal_answer(answer, digest, signer);
    REQUIRE(bytes);
    const auto verified =
        verify_answer(*bytes, offer.session, world.gateway.identity(), sealed.digest, world.alice, world.roster, at);
    return verified ? std::error_code() : verified.error().code;
  };
  SessionAnswer refusal = world.answer(offer);
  refusal.refusal = RefusalReason::kNotEntitled;
  SessionAnswer to_bob = world.answer(offer);
  to_bob.client.name = "bob";
  SessionAnswer other_session = world.answer(offer);
  other_session.session = SessionId::make(world.site.random());

  CHECK_FALSE(check(world.answer(offer), sealed.digest, world.gateway));
  CHECK_FALSE(check(refusal, sealed.digest, world.gateway));
  CHECK(check(world.answer(offer), {}, world.gateway) == Errc::kWrongIdentity);
  CHECK(check(to_bob, sealed.digest, world.gateway) == Errc::kWrongIdentity);
  CHECK(check(other_session, sealed.digest, world.gateway) == Errc::kWrongIdentity);
  CHECK(check(world.answer(offer), sealed.digest, world.site.credentials(Role::kGateway, "gw2")) ==
        Errc::kWrongIdentity);
  CHECK(check(world.answer(offer), sealed.digest, world.alice) == Errc::kWrongIdentity);
  CHECK(check(world.answer(offer), sealed.digest, world.gateway, kTestNow + 61s) == Errc::kExpired);
  // An offer's signature is none of an answer, whatever the bytes say.
  CHECK_FALSE(verify_answer(sealed.bytes, offer.session, world.gateway.identity(), sealed.digest, world.alice,
                            world.roster, kTestNow));
}

TEST_CASE("answer: every flipped bit is refused", "[natt][signal]") {
  OfferWorld world;
  const SessionOffer offer = world.offer();
  const auto digest = seal_offer(offer, world.alice)->digest;
  ByteBuffer bytes = *seal_answer(world.answer(offer), digest, world.gateway);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    CAPTURE(bit);
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1u << (bit % 8)));
    CHECK_FALSE(
        verify_answer(bytes, offer.session, world.gateway.identity(), digest, world.alice, world.roster, kTestNow));
    bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1u << (bit % 8)));
  }
}
