// SPDX-License-Identifier: Apache-2.0
// A verifier whose own pairs are renewed.
#include <natt/own_keys.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "loading_site.h"

using namespace natt;
using namespace natt::test;

namespace {

// A broker with a pair of its own that replaces another.
struct OwnRenewal : LoadingSite {
  spa::KeyPair older = spa::KeyPair::from_secret(broker_keys.secret());
  spa::KeyPair newer = spa::KeyPair::generate(random);
  std::unique_ptr<OwnKeys> own;

  OwnRenewal() {
    list(kAlice, {1});
    list(client_named("bob"), {1});
    take();
    load();
    own = std::make_unique<OwnKeys>(kBroker, only_older(), *verifier, *loader, LogSink{});
    own->handle_roster(*store.roster());
  }
  [[nodiscard]] std::vector<spa::KeyPair> only_older() const {
    std::vector<spa::KeyPair> pairs;
    pairs.push_back(spa::KeyPair::from_secret(older.secret()));
    return pairs;
  }
  [[nodiscard]] std::vector<spa::KeyPair> both() const {
    auto pairs = only_older();
    pairs.insert(pairs.begin(), spa::KeyPair::from_secret(newer.secret()));
    return pairs;
  }
  void list_own(std::initializer_list<const spa::KeyPair*> pairs) {
    auto& keys = roster.devices.front().spa_keys;
    keys.clear();
    for (const spa::KeyPair* pair : pairs) {
      keys.push_back({static_cast<std::uint16_t>(pair == &older ? 1 : 2), pair->public_key().bytes});
    }
    take();
    own->handle_roster(*store.roster());
    load();
  }
  [[nodiscard]] bool opens_with(const spa::KeyPair& pair, const Identity& client) {
    broker_keys = spa::KeyPair::from_secret(pair.secret());
    return opens(client, 1);
  }
};

}  // namespace

TEST_CASE("own keys: both pairs are served until every device has used the newer", "[natt][keys]") {
  OwnRenewal site;
  REQUIRE(site.own->set(site.both()));
  site.load();
  site.list_own({&site.older, &site.newer});
  CHECK(site.opens_with(site.older, kAlice));
  CHECK(site.opens_with(site.newer, kAlice));
  site.own->retire_used();
  CHECK(site.opens_with(site.older, kAlice));
  CHECK(site.loader->take_retired_lines().empty());

  CHECK(site.opens_with(site.newer, client_named("bob")));
  site.own->retire_used();
  CHECK_FALSE(site.opens_with(site.older, kAlice));
  CHECK(site.opens_with(site.newer, kAlice));
  const SpaPublicKey gone{1, site.older.public_key().bytes};
  CHECK(site.loader->take_retired_lines() == RetiredKeys::line(kBroker, gone));

  // A later change of the broker's own entry keeps the memory as long as the key is listed.
  site.roster.devices.front().dns_port = 5353;
  site.list_own({&site.older, &site.newer});
  const RetiredKeys kept = *RetiredKeys::parse(site.loader->retired().serialize());
  REQUIRE(OwnKeys::without_retired(kBroker, site.both(), kept).size() == 1);
  CHECK(OwnKeys::without_retired(kBroker, site.both(), kept).front().public_key() == site.newer.public_key());
  // The same file again changes nothing.
  REQUIRE(site.own->set(site.both()));
  site.load();
  CHECK_FALSE(site.opens_with(site.older, kAlice));
}

TEST_CASE("own keys: a file that holds nothing but a retired pair is served", "[natt][keys]") {
  const OwnRenewal site;
  RetiredKeys retired;
  retired.add(kBroker, {1, site.older.public_key().bytes});
  CHECK(OwnKeys::without_retired(kBroker, site.only_older(), retired).size() == 1);
}

TEST_CASE("own keys: the older pair goes with a roster that lists the newer alone, not with one that lists neither",
          "[natt][keys]") {
  OwnRenewal site;
  REQUIRE(site.own->set(site.both()));
  site.load();
  const spa::KeyPair foreign = spa::KeyPair::generate(site.random);
  site.list_own({&foreign});
  CHECK(site.own->missing_in(*site.store.roster()) == 2);
  CHECK(site.opens_with(site.older, kAlice));
  site.list_own({&site.newer});
  CHECK_FALSE(site.own->missing_in(*site.store.roster()));
  CHECK_FALSE(site.opens_with(site.older, kAlice));
  CHECK(site.opens_with(site.newer, kAlice));
}

TEST_CASE("own keys: none or three pairs are refused and change nothing", "[natt][keys]") {
  OwnRenewal site;
  CHECK_FALSE(site.own->set({}));
  auto three = site.both();
  three.push_back(spa::KeyPair::generate(site.random));
  CHECK_FALSE(site.own->set(std::move(three)));
  CHECK(site.opens_with(site.older, kAlice));
}
