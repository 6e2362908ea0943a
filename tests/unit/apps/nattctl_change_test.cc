// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/keys.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "apps/config/broker_config.h"
#include "apps/config/gateway_config.h"
#include "apps/config/site_material.h"
#include "apps/config/state_dir.h"
#include "apps/nattctl/registrar.h"
#include "support/seeded_random.h"
#include "unit/apps/nattctl_fixture.h"
#include "unit/apps/site_fixture.h"
#include "unit/apps/temporary_folder.h"

namespace natt::ctl {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::client_config;
using test::init_arguments;
using test::kAlice;
using test::kSiteTime;
using test::roster_in;
using test::TemporaryFolder;

TEST_CASE("enroll: adds a device and raises the roster number", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));

  REQUIRE(run_enroll({.dir = dir, .client = "carol", .gateway = {}, .broker = {}}));
  REQUIRE(run_enroll({.dir = dir, .client = {}, .gateway = "gw2=203.0.113.8", .broker = {}}));
  REQUIRE(run_enroll({.dir = dir, .client = {}, .gateway = {}, .broker = "b2=198.51.100.11"}));

  CHECK(roster_in(dir).number == 4);
  CHECK(roster_in(dir).find({"hq", Role::kClient, "carol"}) != nullptr);
  CHECK(config::load_client_config(dir / "client-carol.toml"));
  CHECK(config::load_broker_config(dir / "broker-b2.toml"));
  CHECK(config::load_gateway_config(dir / "gateway-gw2.toml")->entitlements.size() == 1);
  CHECK_THAT(run_enroll({.dir = dir, .client = "carol", .gateway = {}, .broker = {}}).error().message,
             ContainsSubstring("enrolled already"));
  CHECK_THAT(run_enroll({.dir = dir, .client = {}, .gateway = {}, .broker = "b3"}).error().message,
             ContainsSubstring("needs an address"));
  CHECK(roster_in(dir).number == 4);
}

TEST_CASE("renew: new keys and certificate, the old pair stays beside the new one", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  const auto before = client_config(dir / "client-alice.toml").sites[0];

  REQUIRE(run_renew(dir, "alice"));

  const auto after = client_config(dir / "client-alice.toml").sites[0];
  CHECK(after.certificate_pem != before.certificate_pem);
  CHECK_FALSE(after.private_key_pem == before.private_key_pem);
  REQUIRE(after.spa_keys.size() == 2);
  CHECK(after.spa_keys[0].generation == 2);
  CHECK(after.spa_keys[1].generation == 1);
  CHECK(after.spa_keys[1].secret == before.spa_keys[0].secret);
  const Roster roster = roster_in(dir);
  const RosterDevice* alice = roster.find(kAlice);
  REQUIRE(alice->spa_keys.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto pair = spa::KeyPair::from_secret(after.spa_keys[i].secret.view());
    CHECK(alice->spa_keys[1 - i] == SpaPublicKey{after.spa_keys[i].generation, pair.public_key().bytes});
  }
  CHECK(roster.number == 2);
  CHECK(roster.revoked.empty());

  REQUIRE(run_renew(dir, "client/alice"));
  CHECK(client_config(dir / "client-alice.toml").sites[0].spa_keys[0].generation == 3);
  CHECK(roster_in(dir).find(kAlice)->spa_keys.size() == 3);
}

TEST_CASE("renew: no key goes before its successor was used, as far as the roster has room", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  const auto first = client_config(dir / "client-alice.toml").sites[0].spa_keys[0].secret;
  const auto lists_first = [&dir, &first] {
    const auto pair = spa::KeyPair::from_secret(first.view());
    const Roster roster = roster_in(dir);
    const auto& keys = roster.find(kAlice)->spa_keys;
    return std::find(keys.begin(), keys.end(), SpaPublicKey{1, pair.public_key().bytes}) != keys.end();
  };

  for (int missed = 0; missed < 3; ++missed) {
    const auto text = run_renew(dir, "alice");
    REQUIRE(text);
    CHECK_THAT(*text, !ContainsSubstring("no more"));
    CHECK(lists_first());
  }
  const auto text = run_renew(dir, "alice");
  REQUIRE(text);
  CHECK_THAT(*text, ContainsSubstring("SPA key generation 1 works no more"));
  CHECK_FALSE(lists_first());
  CHECK(roster_in(dir).find(kAlice)->spa_keys.size() == 4);
}

TEST_CASE("renew: a gateway's file goes to its host before the roster goes to the brokers", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  auto arguments = init_arguments(dir);
  REQUIRE(run_init(arguments));
  const auto text = run_renew(dir, "gateway/" + arguments.gateways.front());
  REQUIRE(text);
  const auto file = text->find(", which takes it over while it runs");
  REQUIRE(file != std::string::npos);
  CHECK(text->find("then roster number") > file);
}

TEST_CASE("renew: a broker keeps two pairs, and the text says what to copy first", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  const std::string name = config::load_broker_config(dir / "broker.toml")->sites[0].identity.name;

  const auto text = run_renew(dir, "broker/" + name);
  REQUIRE(text);
  CHECK_THAT(*text, ContainsSubstring("which takes it over while it runs"));
  REQUIRE(run_renew(dir, "broker/" + name));

  const auto keys = config::load_broker_config(dir / "broker.toml")->sites[0].spa_keys;
  REQUIRE(keys.size() == 2);
  CHECK(keys[0].generation == 3);
  CHECK(keys[1].generation == 2);
  const Roster roster = roster_in(dir);
  const auto& listed = roster.find({"hq", Role::kBroker, name})->spa_keys;
  REQUIRE(listed.size() == 2);
  CHECK(listed[0].generation == 2);
}

TEST_CASE("retire: only the newest key stays in the roster, the file as it was", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  CHECK_THAT(*run_retire(dir, "alice"), ContainsSubstring("nothing to retire"));
  CHECK(roster_in(dir).number == 1);
  REQUIRE(run_renew(dir, "alice"));
  REQUIRE(run_renew(dir, "alice"));

  CHECK_THAT(*run_retire(dir, "alice"), ContainsSubstring("retired SPA key generations 1, 2"));

  const Roster roster = roster_in(dir);
  REQUIRE(roster.find(kAlice)->spa_keys.size() == 1);
  CHECK(roster.find(kAlice)->spa_keys[0].generation == 3);
  CHECK(roster.number == 4);
  CHECK(client_config(dir / "client-alice.toml").sites[0].spa_keys[0].generation == 3);
  CHECK_THAT(run_retire(dir, "nobody").error().message, ContainsSubstring("no device"));
}

TEST_CASE("renew: an operator's settings and comments survive", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  const std::string before = folder.read("site/client-alice.toml");
  const std::string head = "# \xc3\xa4\xc3\xb6 mine: \"quoted\"\n[race] # first\nnatt_after = 100\n\n";
  const std::string tail = "\n[[forward]] # web\nlisten = \"127.0.0.1:8080\"\ntarget = \"10.99.0.5:80\"\n";
  folder.write("site/client-alice.toml", head + before + tail);

  REQUIRE(run_renew(dir, "alice"));

  const std::string after = folder.read("site/client-alice.toml");
  CHECK(after.starts_with(head));
  CHECK(after.ends_with(tail));
  CHECK(client_config(dir / "client-alice.toml").forwards.size() == 1);
  CHECK(client_config(dir / "client-alice.toml").race.natt_after == std::chrono::milliseconds(100));
}

TEST_CASE("renew: a file that another tool wrote on single lines is renewed too", "[apps][nattctl]") {
  std::string text = test::device_text(Role::kClient);
  for (const std::string_view key : {"certificate = ", "private_key = ", "ca = ", "roster = "}) {
    const std::size_t begin = text.find("\n" + std::string(key)) + 1 + key.size();
    const std::size_t end = text.find("\n\"\"\"", begin) + 4;
    std::string value = text.substr(begin + 4, end - begin - 7);
    for (std::size_t at = 0; (at = value.find('\n', at)) != std::string::npos; at += 2) value.replace(at, 1, "\\n");
    text.replace(begin, end - begin, "\"" + value + "\"  # \xc3\xa9");
  }
  const DeviceSecrets secrets{
      .certificate_pem = "CERT\n", .private_key_pem = "KEY\n", .spa_keys = {}, .roster = {1, 2, 3}};

  const auto renewed = renew_device_file(text, "/client.toml", "hq", secrets);

  REQUIRE(renewed);
  CHECK_THAT(*renewed, ContainsSubstring("certificate = \"\"\"\nCERT\n\"\"\"  # \xc3\xa9\n"));
  CHECK_THAT(*renewed, ContainsSubstring("private_key = \"\"\"\nKEY\n\"\"\"  # \xc3\xa9\n"));
  CHECK_THAT(*renewed, ContainsSubstring("roster = \"\"\"\nAQID\n\"\"\"  # \xc3\xa9\n"));
  CHECK_THAT(*renewed, ContainsSubstring("spa_keys = []\n"));
}

TEST_CASE("renew: a file without its site is refused and left alone", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  folder.write("site/client-alice.toml", "# lost\n");

  CHECK_THAT(run_renew(dir, "alice").error().message,
             ContainsSubstring("client-alice.toml") && ContainsSubstring("site"));
  CHECK(folder.read("site/client-alice.toml") == "# lost\n");
  CHECK(roster_in(dir).number == 1);
}

TEST_CASE("revoke: the device leaves the roster and all its certificates are listed", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  const auto first = config::make_credentials(client_config(dir / "client-alice.toml").sites[0]);
  REQUIRE(run_renew(dir, "alice"));
  const auto second = config::make_credentials(client_config(dir / "client-alice.toml").sites[0]);
  REQUIRE((first && second));

  REQUIRE(run_revoke(dir, "alice"));

  const Roster roster = roster_in(dir);
  CHECK(roster.number == 3);
  CHECK(roster.find(kAlice) == nullptr);
  CHECK(roster.revoked.size() == 2);
  CHECK(roster.is_revoked(first->serial()));
  CHECK(roster.is_revoked(second->serial()));

  SECTION("once more does no harm") {
    CHECK(run_revoke(dir, "alice"));
    CHECK(roster_in(dir).number == 3);
  }
  SECTION("the name may be enrolled again, and the old certificates stay revoked") {
    REQUIRE(run_enroll({.dir = dir, .client = "alice", .gateway = {}, .broker = {}}));
    CHECK(roster_in(dir).find(kAlice) != nullptr);
    CHECK(roster_in(dir).is_revoked(first->serial()));
    const auto third = config::make_credentials(client_config(dir / "client-alice.toml").sites[0]);
    REQUIRE(third);
    CHECK_FALSE(roster_in(dir).is_revoked(third->serial()));
  }
  SECTION("signing again keeps it all") {
    REQUIRE(run_sign(dir));
    CHECK(roster_in(dir).number == 4);
    CHECK(roster_in(dir).revoked.size() == 2);
  }
}

TEST_CASE("revoke: a name that is unknown or means two devices is refused", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  InitArguments twins = init_arguments(dir);
  twins.clients = {"gw1"};
  REQUIRE(run_init(twins));

  CHECK_THAT(run_revoke(dir, "carol").error().message, ContainsSubstring("no device \"carol\""));
  CHECK_THAT(run_revoke(dir, "gw1").error().message,
             ContainsSubstring("several devices") && ContainsSubstring("client/gw1"));
  CHECK(run_revoke(dir, "client/gw1"));
  CHECK(run_revoke(dir, "spiffe://hq/gateway/gw1"));
}

TEST_CASE("registrar: revocations of expired certificates are forgotten, younger ones kept", "[apps][nattctl]") {
  const TemporaryFolder folder;
  test::SeededRandom random(3);
  auto site = SiteFolder::create(folder.path() / "site");
  REQUIRE(site);
  SiteRecord record;
  record.name = "hq";
  record.first_broker = "b1";
  {
    auto registrar = Registrar::create(**site, record, kSiteTime, random);
    REQUIRE(registrar);
    REQUIRE((*registrar)->enroll({Role::kBroker, "b1", {*SocketAddress::parse("198.51.100.10:443")}, 53}));
    REQUIRE((*registrar)->enroll({.role = Role::kClient, .name = "alice", .addresses = {}}));
    REQUIRE((*registrar)->save());
  }
  const auto revoked_at = [&](WallTime time) {
    auto registrar = Registrar::open(**site, time, random);
    REQUIRE(registrar);
    if ((*registrar)->find("alice")) REQUIRE((*registrar)->revoke(kAlice));
    REQUIRE((*registrar)->save());
    return (*registrar)->roster().revoked.size();
  };

  CHECK(revoked_at(kSiteTime + std::chrono::hours(1)) == 1);
  CHECK(revoked_at(kSiteTime + kCertificateLifetime - std::chrono::hours(1)) == 1);
  CHECK(revoked_at(kSiteTime + kCertificateLifetime + std::chrono::hours(1)) == 0);
}

TEST_CASE("site material: the newest of the embedded, the neighbouring and the persisted roster wins",
          "[apps][config]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  const auto config = client_config(dir / "client-bob.toml");
  const auto& site = config.sites[0];
  const auto ca = SiteCa::from_pem(site.ca_pem);
  REQUIRE(ca);
  REQUIRE(config::prepare_state_dir(config.state.dir));
  const auto loaded = [&] {
    RosterStore store(*ca, RosterView::kClient);
    REQUIRE(config::load_rosters(site, config.state.dir, store, {}));
    return store.number();
  };
  CHECK(loaded() == 1);

  REQUIRE(run_revoke(dir, "alice"));
  CHECK(loaded() == 2);

  RosterStore store(*ca, RosterView::kClient);
  REQUIRE(config::load_rosters(site, config.state.dir, store, {}));
  REQUIRE(config::persist_roster(store, site.name, config.state.dir));
  std::filesystem::remove(dir / "roster");
  CHECK(loaded() == 2);
  CHECK(config::read_roster_file(site, store)->number == 0);

  folder.write("site/roster", "garbage");
  CHECK(loaded() == 2);
  CHECK_FALSE(config::read_roster_file(site, store));
}

}  // namespace
}  // namespace natt::ctl
