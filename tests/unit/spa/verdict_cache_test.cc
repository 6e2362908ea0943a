// SPDX-License-Identifier: Apache-2.0
// QUIC Initials: retransmissions pass, copies do not.
#include <natt/spa/verifier.h>

#include <catch2/catch_test_macros.hpp>

#include "spa_site.h"

using namespace natt;
using spa::DropReason;
using std::chrono::seconds;
using test::OneClientSite;

namespace {

struct QuicSite : OneClientSite {
  ByteBuffer dcid = ByteBuffer(18, 0xd0);
  ByteBuffer scid = ByteBuffer(16, 0x5c);
  spa::Frame token = alice_knocker->make_quic_token(wall, alice_knocker->next_knock_id(), dcid, scid);
  SocketAddress from{IpAddress::v4({192, 0, 2, 7}), 40'000};

  [[nodiscard]] std::optional<spa::Grant> initial() {
    return broker_verifier->verify_initial(now, wall, {spa::kQuicVersion1, dcid, scid, token}, from);
  }
  // Whether it may cost anything before the whole verdict.
  [[nodiscard]] bool plausible() {
    return broker_verifier->plausible_initial(now, {spa::kQuicVersion1, dcid, scid, token}, from);
  }
};

}  // namespace

TEST_CASE("spa verdict cache: a retransmitted Initial passes from its source", "[spa][verdict_cache]") {
  QuicSite site;
  const auto first = site.initial();
  REQUIRE(first);
  CHECK(first->novelty == spa::Novelty::kFirst);
  CHECK(first->transport == spa::Transport::kQuicToken);

  for (int i = 0; i < 5; ++i) {
    const auto again = site.initial();
    REQUIRE(again);
    CHECK(again->novelty == spa::Novelty::kRetransmit);
    CHECK(again->knock_id == first->knock_id);
    CHECK(*again->identity == site.alice);
  }
  CHECK(site.broker_verifier->stats().retransmits == 5);
}

TEST_CASE("spa verdict cache: a copy from elsewhere or of another connection is a replay", "[spa][verdict_cache]") {
  QuicSite site;
  REQUIRE(site.initial());

  SECTION("another port") { site.from.port = 40'001; }
  SECTION("another address") { site.from.ip = IpAddress::v4({192, 0, 2, 8}); }
  SECTION("another DCID") { site.dcid[0] ^= 1; }
  SECTION("another SCID") { site.scid[0] ^= 1; }
  SECTION("an octet moved from SCID to DCID") {
    site.dcid.push_back(site.scid.front());
    site.scid.erase(site.scid.begin());
  }

  CHECK_FALSE(site.initial());
  CHECK(site.dropped(DropReason::kReplayed) == 1);
}

TEST_CASE("spa verdict cache: a stolen token does not open another connection first", "[spa][verdict_cache]") {
  QuicSite site;
  site.dcid[0] ^= 1;
  CHECK_FALSE(site.initial());
  CHECK(site.dropped(DropReason::kBadTag) == 1);

  site.dcid[0] ^= 1;
  CHECK(site.initial());
}

TEST_CASE("spa verdict cache: a verdict ends after its lifetime", "[spa][verdict_cache]") {
  QuicSite site;
  REQUIRE(site.initial());
  site.advance(spa::Verifier::kVerdictLifetime - std::chrono::nanoseconds(1'000'000));
  CHECK(site.initial());
  site.advance(std::chrono::milliseconds(1));
  CHECK_FALSE(site.initial());
}

TEST_CASE("spa verdict cache: revocation ends retransmissions at once", "[spa][verdict_cache]") {
  QuicSite site;
  REQUIRE(site.initial());
  site.broker_verifier->remove_device(site.alice);
  CHECK_FALSE(site.initial());

  site.enroll(*site.broker_verifier);
  site.from.port = 1;
  CHECK_FALSE(site.initial());
}

TEST_CASE("spa verdict cache: an Initial refused for its budget is not cached", "[spa][verdict_cache]") {
  QuicSite site;
  for (int i = 0; i < 32; ++i) REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));

  CHECK_FALSE(site.initial());
  CHECK(site.dropped(DropReason::kOverBudget) == 1);
  site.advance(seconds(5));
  CHECK_FALSE(site.initial());
  CHECK(site.dropped(DropReason::kReplayed) == 1);
}

TEST_CASE("spa verdict cache: only a fresh Initial or its repeat from the same source is plausible",
          "[spa][verdict_cache]") {
  QuicSite site;
  CHECK(site.plausible());
  CHECK(site.broker_verifier->stats().granted == 0);
  REQUIRE(site.initial());
  CHECK(site.plausible());
  const SocketAddress own = site.from;

  SECTION("copies from a thousand sources are not, the owner's repeat is") {
    for (std::uint16_t i = 0; i < 1000; ++i) {
      site.from = {IpAddress::v4({203, 0, 113, static_cast<std::uint8_t>(i % 250)}), static_cast<std::uint16_t>(2000 + i)};
      REQUIRE_FALSE(site.plausible());
    }
    CHECK(site.dropped(DropReason::kReplayed) == 1000);
    site.from = own;
    CHECK(site.plausible());
  }
  SECTION("the token on another connection is not") {
    site.dcid[0] ^= 1;
    CHECK_FALSE(site.plausible());
  }
  SECTION("a repeat is not when the verdict has ended") {
    site.advance(spa::Verifier::kVerdictLifetime);
    CHECK_FALSE(site.plausible());
    CHECK(site.dropped(DropReason::kReplayed) == 1);
  }
  SECTION("nothing of a revoked device is") {
    site.broker_verifier->remove_device(site.alice);
    CHECK_FALSE(site.plausible());
    CHECK(site.dropped(DropReason::kUnknownHint) == 1);
  }
  SECTION("damage is not") {
    site.token.back() ^= 1;
    CHECK_FALSE(site.plausible());
    CHECK(site.dropped(DropReason::kBadPrefilter) == 1);
  }
}
