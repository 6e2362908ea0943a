// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <natt/spa/keys.h>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "apps/config/broker_config.h"
#include "apps/config/gateway_config.h"
#include "apps/config/site_material.h"
#include "apps/nattctl/device_argument.h"
#include "unit/apps/nattctl_fixture.h"
#include "unit/apps/temporary_folder.h"

namespace natt::ctl {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::client_config;
using test::init_arguments;
using test::kAlice;
using test::roster_in;
using test::TemporaryFolder;

std::vector<std::string> names_in(const std::filesystem::path& dir) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dir)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

TEST_CASE("init: writes every file 0600 into a folder 0700, each readable by its program", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";

  REQUIRE(run_init(init_arguments(dir)));

  CHECK(names_in(dir) == std::vector<std::string>{"broker.toml", "ca.key", "certificates", "client-alice.toml",
                                                  "client-bob.toml", "gateway-gw1.toml", "roster", "site"});
  CHECK(folder.mode("site") == 0700);
  for (const std::string& name : names_in(dir)) {
    CAPTURE(name);
    CHECK(folder.mode("site/" + name) == 0600);
  }
  CHECK(config::load_broker_config(dir / "broker.toml"));
  CHECK(config::load_gateway_config(dir / "gateway-gw1.toml"));
  CHECK(config::load_client_config(dir / "client-alice.toml"));
}

TEST_CASE("init: the CA key stands in ca.key and in no other file", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));

  const std::string ca = folder.read("site/ca.key");
  const std::size_t at = ca.find("PRIVATE KEY-----\n");
  REQUIRE(at != std::string::npos);
  const std::string secret = ca.substr(at + 17, 60);
  for (const std::string& name : names_in(dir)) {
    CAPTURE(name);
    CHECK((folder.read("site/" + name).find(secret) != std::string::npos) == (name == "ca.key"));
  }
}

TEST_CASE("init: a client learns of no other client, and only brokers hand the client view on", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));

  const auto views = [](const config::SiteConfig& site) {
    const auto documents = SignedRoster::parse(site.roster);
    REQUIRE(documents);
    return std::pair(!documents->full.empty(), !documents->client.empty());
  };
  CHECK(views(config::load_broker_config(dir / "broker.toml")->sites[0]) == std::pair(true, true));
  CHECK(views(config::load_gateway_config(dir / "gateway-gw1.toml")->site) == std::pair(true, false));
  CHECK(views(client_config(dir / "client-alice.toml").sites[0]) == std::pair(false, true));
}

TEST_CASE("init: the keys in the files are the ones of the roster", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));

  const auto alice = client_config(dir / "client-alice.toml");
  const auto bob = client_config(dir / "client-bob.toml");
  const Roster roster = roster_in(dir);
  const RosterDevice* listed = roster.find(kAlice);
  REQUIRE(listed != nullptr);
  const auto pair = spa::KeyPair::from_secret(alice.sites[0].spa_keys[0].secret.view());
  CHECK(listed->spa_keys == std::vector<SpaPublicKey>{{1, pair.public_key().bytes}});
  CHECK(alice.sites[0].psk == bob.sites[0].psk);
  CHECK_FALSE(alice.sites[0].spa_keys[0].secret == bob.sites[0].spa_keys[0].secret);
  CHECK(roster.number == 1);
  CHECK(roster.devices.size() == 4);
}

TEST_CASE("init: several brokers and gateways, ports and modes reach their files", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  InitArguments several = init_arguments(dir);
  several.broker_address = "[2001:db8::10]:8443";
  several.broker_name = "east";
  several.brokers = {"west=198.51.100.11:9443"};
  several.broker_dns_port = 5353;
  several.gateways = {"gw1=203.0.113.7:4433", "gw2"};
  several.gateway_address = "";
  several.spa_mode = "tcp";
  several.protocol = "tls";

  REQUIRE(run_init(several));

  const auto east = config::load_broker_config(dir / "broker.toml");
  REQUIRE(east);
  CHECK(east->sites[0].identity.name == "east");
  CHECK(east->listen.port == 8443);
  CHECK(east->listen.dns_port == 5353);
  CHECK(east->spa.mode == config::SpaMode::kTcp);
  CHECK(east->sites[0].protocol == tunnel::TunnelProtocol::kTls);
  CHECK(config::load_broker_config(dir / "broker-west.toml")->listen.port == 9443);
  CHECK(config::load_gateway_config(dir / "gateway-gw1.toml")->listen.port == 4433);
  CHECK(config::load_gateway_config(dir / "gateway-gw2.toml")->listen.port == 443);
  const Roster roster = roster_in(dir);
  const auto brokers = config::brokers_of(client_config(dir / "client-alice.toml").sites[0], roster);
  REQUIRE(brokers.size() == 2);
  CHECK(brokers[0].addresses == std::vector{*IpAddress::parse("2001:db8::10")});
  CHECK(brokers[0].port == 8443);
  CHECK(brokers[0].dns_port == 5353);
  const auto gateways = config::gateways_of(client_config(dir / "client-alice.toml").sites[0], roster);
  REQUIRE(gateways.size() == 2);
  CHECK(gateways[0].addresses == std::vector{*SocketAddress::parse("203.0.113.7:4433")});
  CHECK(gateways[1].addresses.empty());
}

TEST_CASE("init: a broker may have a mode of its own, which the others' files know", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  InitArguments init = init_arguments(dir);
  init.brokers = {"b2=198.51.100.11"};
  init.broker_spa_modes = {"b2=tcp"};

  REQUIRE(run_init(init));
  REQUIRE(run_enroll({.dir = dir, .broker = "b3=198.51.100.12", .spa_mode = "tcp"}));
  REQUIRE(run_enroll({.dir = dir, .broker = "b4=198.51.100.13"}));
  REQUIRE(run_enroll({.dir = dir, .client = "zoe"}));

  using config::SpaMode;
  CHECK(config::load_broker_config(dir / "broker.toml")->spa.mode == SpaMode::kUdpTcp);
  CHECK(config::load_broker_config(dir / "broker-b2.toml")->spa.mode == SpaMode::kTcp);
  CHECK(config::load_broker_config(dir / "broker-b3.toml")->spa.mode == SpaMode::kTcp);
  CHECK(config::load_broker_config(dir / "broker-b4.toml")->spa.mode == SpaMode::kUdpTcp);
  const auto modes_in = [&](const char* file) { return config::broker_modes_of(client_config(dir / file).sites[0]); };
  CHECK(modes_in("client-alice.toml") == std::map<std::string, SpaMode>{{"b2", SpaMode::kTcp}});
  CHECK(modes_in("client-zoe.toml") == std::map<std::string, SpaMode>{{"b2", SpaMode::kTcp}, {"b3", SpaMode::kTcp}});
  // An entry that only tells the mode takes no address away.
  const auto brokers = config::brokers_of(client_config(dir / "client-alice.toml").sites[0], roster_in(dir));
  REQUIRE(brokers.size() == 4);
  for (const config::BrokerPeer& broker : brokers) CHECK(broker.addresses.size() == 1);

  REQUIRE(run_revoke(dir, "broker/b2"));
  REQUIRE(run_enroll({.dir = dir, .client = "yan"}));
  CHECK(modes_in("client-yan.toml") == std::map<std::string, SpaMode>{{"b3", SpaMode::kTcp}});
  CHECK(run_enroll({.dir = dir, .client = "xu", .spa_mode = "tcp"}).error().message == "--spa-mode: goes with --broker");
}

TEST_CASE("init: a wrong command line is one sentence and leaves no file", "[apps][nattctl]") {
  struct Row {
    void (*bend)(InitArguments&);
    std::string_view says;
  };
  const auto row = GENERATE(values<Row>({
      {[](InitArguments& init) { init.site = "HQ"; }, "--site"},
      {[](InitArguments& init) { init.site = ""; }, "--site"},
      {[](InitArguments& init) { init.broker_address = "example.org"; }, "--broker-address"},
      {[](InitArguments& init) { init.broker_address = "0.0.0.0"; }, "--broker-address"},
      {[](InitArguments& init) { init.broker_name = "b 1"; }, "\"b 1\" is no device name"},
      {[](InitArguments& init) { init.brokers = {"b2"}; }, "needs an address"},
      {[](InitArguments& init) { init.brokers = {"b1=192.0.2.1"}; }, "enrolled already"},
      {[](InitArguments& init) {
         init.gateways = {"gw1", "gw2"};
       },
       "--gateway-address: goes with exactly one"},
      {[](InitArguments& init) { init.gateways = {"gw1=nowhere"}; }, "--gateway"},
      {[](InitArguments& init) {
         init.clients = {"alice", "alice"};
       },
       "enrolled already"},
      {[](InitArguments& init) { init.clients = {"../alice"}; }, "is no device name"},
      {[](InitArguments& init) { init.protocol = "dtls"; }, "QUIC (quic) or TLS (tls)"},
      {[](InitArguments& init) { init.protocol = "tcp"; }, "--protocol"},
      {[](InitArguments& init) { init.spa_mode = "udp"; }, "--spa-mode"},
      {[](InitArguments& init) { init.broker_spa_modes = {"b1=udp"}; }, "--broker-spa-mode"},
      {[](InitArguments& init) { init.broker_spa_modes = {"b1"}; }, "--broker-spa-mode"},
      {[](InitArguments& init) { init.broker_spa_modes = {"b7=tcp"}; }, "names no broker of this command"},
      {[](InitArguments& init) { init.allow = {"tcp/10.99.0.0/24"}; }, "--allow \"tcp/10.99.0.0/24\""},
  }));
  CAPTURE(row.says);
  const TemporaryFolder folder;
  InitArguments bent = init_arguments(folder.path() / "site");
  row.bend(bent);

  const auto done = run_init(bent);

  REQUIRE_FALSE(done);
  CHECK_THAT(done.error().message, ContainsSubstring(std::string(row.says)));
  if (std::filesystem::exists(bent.dir)) CHECK(names_in(bent.dir).empty());
  CHECK(run_init(init_arguments(bent.dir)));
}

TEST_CASE("init: a site is never overwritten", "[apps][nattctl]") {
  const TemporaryFolder folder;
  const auto dir = folder.path() / "site";
  REQUIRE(run_init(init_arguments(dir)));
  const std::string before = folder.read("site/client-alice.toml");

  CHECK_THAT(run_init(init_arguments(dir)).error().message, ContainsSubstring("holds a site already"));
  CHECK(folder.read("site/client-alice.toml") == before);
}

TEST_CASE("init: somebody's files in the folder stay as they are", "[apps][nattctl]") {
  const TemporaryFolder folder;
  folder.write("client-alice.toml", "mine");

  CHECK_THAT(run_init(init_arguments(folder.path())).error().message, ContainsSubstring("is there already"));
  CHECK(names_in(folder.path()) == std::vector<std::string>{"client-alice.toml"});
  CHECK(folder.read("client-alice.toml") == "mine");
}

TEST_CASE("init: an empty folder is closed to others, a full one that others may read is refused", "[apps][nattctl]") {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path() / "open");
  std::filesystem::permissions(folder.path() / "open", std::filesystem::perms(0755));
  folder.write("open/file", "");

  CHECK_THAT(run_init(init_arguments(folder.path() / "open")).error().message, ContainsSubstring("others may use it"));
  std::filesystem::remove(folder.path() / "open/file");
  CHECK(run_init(init_arguments(folder.path() / "open")));
  CHECK(folder.mode("open") == 0700);
}

TEST_CASE("device argument: names and addresses", "[apps][nattctl]") {
  CHECK(parse_address_argument("198.51.100.10", "--x") == *SocketAddress::parse("198.51.100.10:443"));
  CHECK(parse_address_argument("198.51.100.10:8443", "--x") == *SocketAddress::parse("198.51.100.10:8443"));
  CHECK(parse_address_argument("2001:db8::1", "--x") == *SocketAddress::parse("[2001:db8::1]:443"));
  CHECK(parse_device_argument("b2=198.51.100.11", "--x")->name == "b2");
  CHECK_FALSE(parse_device_argument("b2", "--x")->address);
  for (const std::string_view text : {"", "=198.51.100.11", "b2=", "b2=x", "B2=198.51.100.11", "b2=198.51.100.11:0",
                                      "b2=198.51.100.11:99999", "b2=::", "b2=224.0.0.1"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_device_argument(text, "--x"));
  }
}

}  // namespace
}  // namespace natt::ctl
