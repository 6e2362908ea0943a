// SPDX-License-Identifier: Apache-2.0
// Rosters that are prepared apart, and what is remembered of refused ones.
#include <natt/roster_store.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "loading_site.h"

using namespace natt;
using namespace natt::test;

TEST_CASE("roster store: preparing changes nothing, accepting takes over and gives the old one back", "[natt][keys]") {
  LoadingSite site;
  site.list(kAlice, {1});
  site.take();
  site.list(client_named("bob"), {1});
  auto prepared = site.store.prepare(site.sign());
  REQUIRE(prepared);
  CHECK(site.store.number() == 1);
  CHECK(prepared->change.added == std::vector{client_named("bob")});

  std::unique_ptr<const Roster> replaced;
  const auto change = site.store.accept(std::move(*prepared), replaced);
  REQUIRE(change);
  CHECK(site.store.number() == 2);
  REQUIRE(replaced);
  CHECK(replaced->number == 1);
  CHECK(site.store.stats().accepted == 2);
}

TEST_CASE("roster store: a roster that was prepared before another was accepted is compared again", "[natt][keys]") {
  LoadingSite site;
  site.list(kAlice, {1});
  site.take();
  site.list(client_named("bob"), {1});
  const SignedRoster second = site.sign();
  site.list(client_named("carol"), {1});
  const SignedRoster third = site.sign();
  auto older = site.store.prepare(second);
  auto newer = site.store.prepare(third);
  REQUIRE(older);
  REQUIRE(newer);
  std::unique_ptr<const Roster> replaced;

  SECTION("the newer one last") {
    REQUIRE(site.store.accept(std::move(*older), replaced));
    const auto change = site.store.accept(std::move(*newer), replaced);
    REQUIRE(change);
    CHECK(change->added == std::vector{client_named("carol")});
  }
  SECTION("the newer one first: the older is refused") {
    REQUIRE(site.store.accept(std::move(*newer), replaced));
    const auto change = site.store.accept(std::move(*older), replaced);
    REQUIRE_FALSE(change);
    CHECK(change.error().code == Errc::kRefused);
    CHECK(site.store.number() == 3);
    CHECK(site.store.stats().rejected_rollback == 1);
  }
}

TEST_CASE("roster store: what was refused is remembered until one is taken, an older one as such", "[natt][keys]") {
  LoadingSite site;
  site.list(kAlice, {1});
  site.take();
  const SignedRoster first = site.store.documents();
  CHECK_FALSE(site.store.last_rejection());

  SignedRoster damaged = site.sign();
  damaged.full.back() ^= 1;
  REQUIRE_FALSE(site.store.handle_roster(damaged));
  REQUIRE(site.store.last_rejection());
  CHECK_FALSE(site.store.last_rejection()->is_older);
  CHECK_FALSE(site.store.last_rejection()->reason.empty());

  site.take();
  CHECK_FALSE(site.store.last_rejection());
  REQUIRE_FALSE(site.store.handle_roster(first));
  REQUIRE(site.store.last_rejection());
  CHECK(site.store.last_rejection()->is_older);
  // The one that is held.
  REQUIRE(site.store.handle_roster(site.store.documents()));
  CHECK_FALSE(site.store.last_rejection());
}

TEST_CASE("roster store: a second roster with the number of the one held is no older one", "[natt][keys]") {
  LoadingSite site;
  site.list(kAlice, {1});
  site.take();
  site.list(kAlice, {2});
  --site.roster.number;
  const auto change = site.store.handle_roster(site.sign());
  REQUIRE_FALSE(change);
  CHECK(change.error().code == Errc::kMalformed);
  REQUIRE(site.store.last_rejection());
  CHECK_FALSE(site.store.last_rejection()->is_older);
}
