// SPDX-License-Identifier: Apache-2.0
// Rosters that reach a verifier piece by piece, and keys that are retired on the way.
#include <natt/retired_keys.h>
#include <natt/roster_loader.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>

#include "loading_site.h"

using namespace natt;
using namespace natt::test;

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
