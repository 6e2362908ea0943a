// SPDX-License-Identifier: Apache-2.0
// Rosters that reach a verifier piece by piece, and keys that are retired on the way.
#include <natt/own_keys.h>
#include <natt/retired_keys.h>
#include <natt/roster_loader.h>
#include <natt/roster_store.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/authority.h>
#include <natt/errc.h>
#include <natt/spa/knocker.h>
#include <natt/spa/udp_carrier.h>

#include "support/seeded_random.h"

using namespace natt;

namespace {

const Identity kBroker{"hq", Role::kBroker, "b1"};
const Identity kAlice{"hq", Role::kClient, "alice"};

Identity client_named(const std::string& name) { return {"hq", Role::kClient, name}; }

// A site whose CA signs rosters, a store that takes them and a verifier that is loaded from it.
struct LoadingSite {
  test::SeededRandom random{test::test_seed()};
  WallTime wall{std::chrono::seconds(64 * 27'600'000)};
  Instant now{std::chrono::hours(1)};
  std::unique_ptr<Authority> authority = *Authority::create("hq", wall, random);
  spa::KeyPair broker_keys = spa::KeyPair::generate(random);
  std::vector<spa::KeyPair> generations;  // of every client
  spa::SitePsk psk{random.bytes<32>()};
  spa::MaskKey mask{random.bytes<16>()};
  Roster roster;
  RosterStore store{authority->certificate(), RosterView::kFull};
  std::unique_ptr<spa::Verifier> verifier;
  std::unique_ptr<RosterLoader> loader;

  LoadingSite() {
    for (int i = 0; i < 4; ++i) generations.push_back(spa::KeyPair::generate(random));
    roster.site = "hq";
    roster.issued_at = wall;
    roster.next_update = wall + std::chrono::hours(24);
    roster.devices.push_back({.identity = kBroker,
                              .spa_keys = {{1, broker_keys.public_key().bytes}},
                              .mask_key = Secret<16>(mask),
                              .addresses = {{IpAddress::v4({192, 0, 2, 1}), 443}}});
    start({});
  }
  void start(RetiredKeys retired) {
    spa::VerifierOptions options;
    options.identity = kBroker;
    options.keys.push_back(spa::KeyPair::from_secret(broker_keys.secret()));
    options.psk = psk;
    options.mask = mask;
    loader.reset();
    verifier = std::make_unique<spa::Verifier>(std::move(options), random);
    verifier->handle_timeout(now, wall);
    loader = std::make_unique<RosterLoader>(
        RosterLoaderOptions{.self = kBroker, .retired = std::move(retired), .log = {}}, *verifier);
  }
  // Lists a client with these of its generations.
  void list(const Identity& client, std::initializer_list<std::uint16_t> wanted) {
    std::erase_if(roster.devices, [&client](const RosterDevice& device) { return device.identity == client; });
    RosterDevice device{.identity = client, .spa_keys = {}, .mask_key = {}, .addresses = {}};
    for (const std::uint16_t generation : wanted) device.spa_keys.push_back(key(generation));
    if (!device.spa_keys.empty()) roster.devices.push_back(std::move(device));
  }
  [[nodiscard]] SpaPublicKey key(std::uint16_t generation) const {
    return {generation, generations[generation - 1u].public_key().bytes};
  }
  [[nodiscard]] SignedRoster sign() {
    ++roster.number;
    return *authority->sign_roster(roster);
  }
  void take() {
    const auto change = store.handle_roster(sign());
    REQUIRE(change);
    loader->handle_roster(*store.roster(), *change);
  }
  void load() {
    while (!loader->done()) loader->step();
  }
  [[nodiscard]] bool opens(const Identity& client, std::uint16_t generation) {
    const auto pair = spa::PairKey::derive(generations[generation - 1u], broker_keys.public_key(),
                                           spa::DeviceId::of(client), spa::DeviceId::of(kBroker), psk);
    spa::KnockerOptions options;
    options.device = client;
    options.verifier = kBroker;
    options.mask = mask;
    options.key_generation = generation;
    spa::Knocker knocker(options, *pair, random);
    const auto frame = spa::parse_udp_carrier(knocker.make_udp_knock(wall, knocker.next_knock_id()));
    const bool opened =
        verifier->verify(now, wall, spa::Transport::kUdp, *frame, {.port = 443, .binding = {}, .source = {}})
            .has_value();
    while (const auto event = verifier->poll_event()) loader->handle_key_used(std::get<spa::NewKeyUsed>(*event));
    return opened;
  }
};

}  // namespace

TEST_CASE("retired keys: what was written is read again", "[natt][keys]") {
  LoadingSite site;
  RetiredKeys keys;
  keys.add(kAlice, site.key(2));
  keys.add(kAlice, site.key(1));
  keys.add(kAlice, site.key(1));
  keys.add(client_named("bob"), site.key(3));
  CHECK(keys.size() == 3);
  CHECK(keys.contains(kAlice, site.key(1)));
  CHECK_FALSE(keys.contains(kAlice, site.key(3)));

  const auto read = RetiredKeys::parse(keys.serialize());
  REQUIRE(read);
  CHECK(*read == keys);
  CHECK(RetiredKeys::parse("")->size() == 0);
}

TEST_CASE("retired keys: a line that was being written is ignored, a damaged one named", "[natt][keys]") {
  LoadingSite site;
  const std::string line = RetiredKeys::line(kAlice, site.key(1));
  for (std::size_t cut = 0; cut < line.size(); ++cut) {
    const auto read = RetiredKeys::parse(line + line.substr(0, cut));
    CAPTURE(cut);
    REQUIRE(read);
    CHECK(read->size() == 1);
  }

  const auto refused = [](const std::string& text) {
    const auto read = RetiredKeys::parse(text);
    return !read && read.error().code == Errc::kMalformed && read.error().message.find("line 2") != std::string::npos;
  };
  CHECK(refused(line + "\n"));
  CHECK(refused(line + "spiffe://hq/client/alice\n"));
  CHECK(refused(line + "spiffe://hq/client/alice 1\n"));
  CHECK(refused(line + "spiffe://hq/client/alice 70000 " + std::string(64, 'a') + "\n"));
  CHECK(refused(line + "spiffe://hq/client/alice 1x " + std::string(64, 'a') + "\n"));
  CHECK(refused(line + "spiffe://hq/client/alice 1 " + std::string(63, 'a') + "\n"));
  CHECK(refused(line + "spiffe://hq/client/alice 1 " + std::string(65, 'a') + "\n"));
  CHECK(refused(line + "spiffe://hq/client/alice 1 " + std::string(63, 'a') + "g\n"));
  CHECK(refused(line + "spiffe://hq/janitor/alice 1 " + std::string(64, 'a') + "\n"));
  CHECK(refused(line + line.substr(0, line.size() - 2) + "\n"));
}

TEST_CASE("retired keys: the CA has the last word when it lists nothing else", "[natt][keys]") {
  LoadingSite site;
  RetiredKeys keys;
  keys.add(kAlice, site.key(1));
  RosterDevice device{.identity = kAlice, .spa_keys = {site.key(1), site.key(2)}, .mask_key = {}, .addresses = {}};
  CHECK(keys.usable(device) == std::vector{site.key(2)});
  device.spa_keys = {site.key(1)};
  CHECK(keys.usable(device) == std::vector{site.key(1)});
  // Revoked and enrolled again: another key of the same generation.
  device.spa_keys = {{1, site.key(3).key}};
  CHECK(keys.usable(device) == device.spa_keys);
}

TEST_CASE("roster loader: a large roster comes in pieces, and devices knock as they come", "[natt][keys]") {
  LoadingSite site;
  constexpr int kDevices = 200;
  for (int i = 0; i < kDevices; ++i) site.list(client_named("d" + std::to_string(1000 + i)), {1});
  site.take();
  CHECK_FALSE(site.loader->done());
  CHECK(site.verifier->stats().devices == 0);

  int steps = 0;
  std::size_t most = 0;
  for (; !site.loader->done(); ++steps) {
    const std::size_t before = site.verifier->stats().devices;
    site.loader->step();
    most = std::max(most, site.verifier->stats().devices - before);
    if (site.verifier->stats().devices > 40) CHECK(site.opens(client_named("d1000"), 1));
    site.now += std::chrono::seconds(1);
  }
  CHECK(most == 32);
  CHECK(steps >= kDevices / 32);
  CHECK(site.verifier->stats().devices == kDevices);
  CHECK(site.loader->loaded() == site.loader->total());
}

TEST_CASE("roster loader: what a roster takes away is refused before anything it brings is there", "[natt][keys]") {
  LoadingSite site;
  site.list(kAlice, {1, 2});
  site.list(client_named("bob"), {1});
  for (int i = 0; i < 100; ++i) site.list(client_named("d" + std::to_string(i)), {1});
  site.take();
  site.load();
  REQUIRE(site.opens(kAlice, 1));
  REQUIRE(site.opens(client_named("bob"), 1));

  site.list(kAlice, {2, 3});
  site.list(client_named("bob"), {});
  for (int i = 0; i < 100; ++i) site.list(client_named("e" + std::to_string(i)), {1});
  site.take();

  CHECK_FALSE(site.opens(client_named("bob"), 1));
  CHECK_FALSE(site.opens(kAlice, 1));
  CHECK(site.opens(kAlice, 2));
  site.load();
  CHECK(site.opens(kAlice, 3));
  CHECK(site.verifier->stats().devices == 201);
}

TEST_CASE("roster loader: thousands that go at once are gone within a few pieces", "[natt][keys]") {
  LoadingSite site;
  constexpr std::size_t kDevices = RosterLoader::kAtOnce + 600;
  for (std::size_t i = 0; i < kDevices; ++i) site.list(client_named("d" + std::to_string(i)), {1});
  site.take();
  site.load();
  REQUIRE(site.verifier->stats().devices == kDevices);

  site.roster.devices.resize(1);
  site.take();
  CHECK(site.verifier->stats().devices == kDevices - RosterLoader::kAtOnce);
  site.loader->step();
  site.loader->step();
  CHECK(site.verifier->stats().devices == 0);
}

TEST_CASE("roster loader: a roster that replaces one that is being loaded wins", "[natt][keys]") {
  LoadingSite site;
  for (int i = 0; i < 100; ++i) site.list(client_named("d" + std::to_string(i)), {1});
  site.take();
  site.loader->step();
  site.loader->step();
  for (int i = 0; i < 100; i += 2) site.list(client_named("d" + std::to_string(i)), {});
  site.take();
  site.load();
  CHECK(site.verifier->stats().devices == 50);
  CHECK_FALSE(site.opens(client_named("d0"), 1));
  CHECK(site.opens(client_named("d1"), 1));
}

TEST_CASE("roster loader: a device's older keys are retired when a newer one was used, not before", "[natt][keys]") {
  LoadingSite site;
  site.list(kAlice, {1, 2, 3});
  site.take();
  site.load();
  REQUIRE(site.opens(kAlice, 1));
  REQUIRE(site.loader->take_retired_lines().empty());

  REQUIRE(site.opens(kAlice, 2));
  CHECK_FALSE(site.opens(kAlice, 1));
  CHECK(site.opens(kAlice, 2));
  CHECK(site.loader->take_retired_lines() == RetiredKeys::line(kAlice, site.key(1)));
  CHECK(site.loader->take_retired_lines().empty());

  SECTION("a roster that lists them still does not bring them back") {
    site.list(client_named("bob"), {1});
    site.take();
    site.load();
    CHECK_FALSE(site.opens(kAlice, 1));
  }
  SECTION("nor does a restart") {
    site.start(*RetiredKeys::parse(site.loader->retired().serialize()));
    site.loader->handle_roster(*site.store.roster(), {});
    site.load();
    CHECK_FALSE(site.opens(kAlice, 1));
    CHECK(site.opens(kAlice, 2));
    CHECK(site.opens(kAlice, 3));
  }
  SECTION("a roster without them ends the memory of them") {
    site.list(kAlice, {2, 3});
    site.take();
    site.load();
    CHECK(site.loader->retired().size() == 0);
  }
  SECTION("revocation ends it, too, and a new enrolment starts over") {
    site.list(kAlice, {});
    site.take();
    CHECK(site.loader->retired().size() == 0);
    site.list(kAlice, {1});
    site.take();
    site.load();
    CHECK(site.opens(kAlice, 1));
  }
}

TEST_CASE("roster loader: the keys of a former run that nobody lists are forgotten at the start", "[natt][keys]") {
  LoadingSite site;
  RetiredKeys former;
  former.add(client_named("gone"), site.key(1));
  former.add(kAlice, site.key(1));
  site.start(former);
  site.list(kAlice, {1, 2});
  site.take();
  CHECK(site.loader->retired().size() == 1);
  site.load();
  CHECK_FALSE(site.opens(kAlice, 1));
  CHECK(site.opens(kAlice, 2));
}

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
