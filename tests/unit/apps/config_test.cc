// SPDX-License-Identifier: Apache-2.0
// What good files give, and which files are read at all.
#include <sys/stat.h>

#include <cstdlib>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "unit/apps/config_complaint.h"
#include "unit/apps/site_fixture.h"
#include "unit/apps/temporary_folder.h"

namespace natt::config {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::complaint;
using test::device_text;
using test::kConfigFile;
using test::replaced;

TEST_CASE("config: a broker's generated file gives the documented defaults", "[apps][config]") {
  const auto config = parse_broker_config(device_text(Role::kBroker), kConfigFile);

  REQUIRE(config);
  CHECK(config->file == kConfigFile);
  CHECK(config->listen.address.is_unspecified());
  CHECK(config->listen.port == 443);
  CHECK(config->listen.dns_port == 53);
  CHECK(config->spa.mode == SpaMode::kUdpTcp);
  CHECK_FALSE(config->spa.tcp_visibility);
  CHECK_FALSE(config->spa.dns_suffix);
  CHECK(config->state.dir == "/etc/natt/state-device");
  CHECK(config->control.socket == "/etc/natt/state-device/control.sock");
  CHECK(config->log.level == LogLevel::kInfo);
  CHECK_FALSE(config->metrics.listen);
  CHECK(config->natt.relay_sessions_threshold == 1000);
  CHECK(config->natt.relay_throughput_bits_per_second_threshold == 1'000'000'000);
  CHECK(config->natt.stun_keepalive_interval == std::chrono::seconds(15));
  REQUIRE(config->sites.size() == 1);
  CHECK(config->sites[0].identity.uri() == "spiffe://hq/broker/b1");
  CHECK(config->sites[0].roster_file == "/etc/natt/roster");
  CHECK(config->sites[0].spa_keys.size() == 1);
}

TEST_CASE("config: the suffix of DNS knocks is a host name, in any case and in every program", "[apps][config]") {
  const std::string appended = "\n[spa]\ndns_suffix = \"NS.Example.net\"\n";
  const auto expected = spa::DnsSuffix::parse("ns.example.net");
  const auto broker = parse_broker_config(device_text(Role::kBroker) + appended, kConfigFile);
  const auto gateway = parse_gateway_config(device_text(Role::kGateway) + appended, kConfigFile);
  const auto client = parse_client_config(device_text(Role::kClient) + appended, kConfigFile);

  REQUIRE((broker && gateway && client));
  CHECK(broker->spa.dns_suffix == expected);
  CHECK(gateway->spa.dns_suffix == expected);
  CHECK(client->spa.dns_suffix == expected);
}

TEST_CASE("config: a gateway's generated file carries the entitlements of init", "[apps][config]") {
  const auto config = parse_gateway_config(device_text(Role::kGateway), kConfigFile);

  REQUIRE(config);
  CHECK(config->site.identity.uri() == "spiffe://hq/gateway/gw1");
  CHECK(config->listen.port == 443);
  CHECK(config->listen.spa == ListenSpa::kOn);
  CHECK_FALSE(config->tun.enabled);
  REQUIRE(config->entitlements.size() == 1);
  CHECK(config->entitlements[0].client == "*");
  REQUIRE(config->entitlements[0].allow.size() == 1);
  CHECK(config->entitlements[0].allow[0].text == "tcp/10.99.0.0/24:1-65535");
}

TEST_CASE("config: brokers and gateways use the kernel gate unless told not to", "[apps][config]") {
  const std::string off = "\n[spa]\nkernel_gate = false\n";
  CHECK(parse_broker_config(device_text(Role::kBroker), kConfigFile)->spa.kernel_gate);
  CHECK(parse_gateway_config(device_text(Role::kGateway), kConfigFile)->spa.kernel_gate);
  CHECK_FALSE(parse_broker_config(device_text(Role::kBroker) + off, kConfigFile)->spa.kernel_gate);
  CHECK_FALSE(parse_gateway_config(device_text(Role::kGateway) + off, kConfigFile)->spa.kernel_gate);
}

TEST_CASE("config: a client's generated file races at 300 ms and 2.5 s and takes private routes only",
          "[apps][config]") {
  const auto config = parse_client_config(device_text(Role::kClient), kConfigFile);

  REQUIRE(config);
  CHECK(config->race.natt_after == std::chrono::milliseconds(300));
  CHECK(config->race.relay_after == std::chrono::milliseconds(2500));
  CHECK(config->forwards.empty());
  CHECK_FALSE(config->socks.listen);
  CHECK(accepts_route(config->tun, *IpPrefix::parse("10.99.0.0/24")));
  CHECK(accepts_route(config->tun, *IpPrefix::parse("fd00:1::/32")));
  CHECK_FALSE(accepts_route(config->tun, *IpPrefix::parse("0.0.0.0/0")));
  CHECK_FALSE(accepts_route(config->tun, *IpPrefix::parse("0.0.0.0/1")));
  CHECK_FALSE(accepts_route(config->tun, *IpPrefix::parse("10.0.0.0/7")));
  CHECK_FALSE(accepts_route(config->tun, *IpPrefix::parse("203.0.113.0/24")));
  CHECK_FALSE(accepts_route(config->tun, *IpPrefix::parse("::/0")));
}

TEST_CASE("config: an accepted default route of one family says nothing about the other", "[apps][config]") {
  ClientTun tun;
  tun.accept_routes = {*IpPrefix::parse("::/0")};

  CHECK(accepts_route(tun, *IpPrefix::parse("2001:db8::/32")));
  CHECK_FALSE(accepts_route(tun, *IpPrefix::parse("10.0.0.0/8")));
}

TEST_CASE("config: the state goes where the service manager says, unless the file says otherwise", "[apps][config]") {
  const std::string text = device_text(Role::kGateway);
  const auto dir_of = [](const std::string& from) {
    const auto config = parse_gateway_config(from, kConfigFile);
    REQUIRE(config);
    CHECK(config->control.socket == config->state.dir / "control.sock");
    return config->state.dir.string();
  };
  const std::string beside = dir_of(text);
  CHECK(beside.starts_with("/etc/natt/state-"));
  ::setenv("STATE_DIRECTORY", "/var/lib/natt-gateway", 1);
  CHECK(dir_of(text) == "/var/lib/natt-gateway");
  CHECK(dir_of(text + "[state]\ndir = \"/srv/natt\"\n") == "/srv/natt");
  ::setenv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b", 1);
  CHECK(dir_of(text) == "/var/lib/a");
  for (const char* unusable : {"", "relative"}) {
    ::setenv("STATE_DIRECTORY", unusable, 1);
    CHECK(dir_of(text) == beside);
  }
  ::unsetenv("STATE_DIRECTORY");
  CHECK(dir_of(text) == beside);
}

TEST_CASE("config: tables that an operator appends are read", "[apps][config]") {
  const std::string client = device_text(Role::kClient) + R"(
[control]
socket = "run/alice.sock"
[state]
dir = "/var/lib/natt/alice"
[log]
level = "debug"
[metrics]
listen = "[::1]:9464"
[race]
natt_after = 150
relay_after = "1.5s"
[[forward]]
listen = "127.0.0.1:8080"
target = "10.99.0.5:80"
[[forward]]
listen = "[::1]:8443"
target = "Wiki.Corp.:443"
site = "hq"
gateway = "gw1"
[socks]
listen = "127.0.0.1:1080"
username = "app"
password = "secret"
[tun]
enabled = true
name = "vpn0"
accept_routes = ["0.0.0.0/0", "fd00::/8"]
[probe]
prefixes = ["192.168.0.0/16"]
)";
  const auto config = parse_client_config(client, kConfigFile);

  REQUIRE(config);
  CHECK(config->control.socket == "/etc/natt/run/alice.sock");
  CHECK(config->state.dir == "/var/lib/natt/alice");
  CHECK(config->log.level == LogLevel::kDebug);
  CHECK(config->metrics.listen == SocketAddress::parse("[::1]:9464"));
  CHECK(config->race.natt_after == std::chrono::milliseconds(150));
  CHECK(config->race.relay_after == std::chrono::milliseconds(1500));
  REQUIRE(config->forwards.size() == 2);
  CHECK(config->forwards[0].target_host == "10.99.0.5");
  CHECK(config->forwards[0].target_port == 80);
  CHECK(config->forwards[0].site == "hq");
  CHECK(config->forwards[1].listen == *SocketAddress::parse("[::1]:8443"));
  CHECK(config->forwards[1].target_host == "wiki.corp");
  CHECK(config->forwards[1].gateway == "gw1");
  CHECK(std::get<SocketAddress>(*config->socks.listen) == *SocketAddress::parse("127.0.0.1:1080"));
  CHECK(config->socks.password.view() == "secret");
  CHECK(config->tun.enabled);
  CHECK(config->tun.name == "vpn0");
  CHECK(config->tun.accept_routes.size() == 2);
  CHECK(config->probe_prefixes.size() == 1);
}

TEST_CASE("config: the socks listener may be a UNIX socket beside the file", "[apps][config]") {
  const auto config =
      parse_client_config(device_text(Role::kClient) + "\n[socks]\nlisten = \"./socks.sock\"\n", kConfigFile);

  REQUIRE(config);
  CHECK(std::get<std::filesystem::path>(*config->socks.listen) == "/etc/natt/socks.sock");
}

TEST_CASE("config: a client may belong to several sites and then names one per forward", "[apps][config]") {
  const std::string other = test::other_site_text(Role::kClient);
  const std::string both = device_text(Role::kClient) + other.substr(other.find("[[site]]"));

  const auto config = parse_client_config(both, kConfigFile);
  REQUIRE(config);
  CHECK(config->sites.size() == 2);
  CHECK(config->sites[1].identity.uri() == "spiffe://lab/client/alice");

  const std::string forward = "\n[[forward]]\nlisten = \"127.0.0.1:80\"\ntarget = \"a.b:80\"\n";
  CHECK_THAT(complaint(Role::kClient, both + forward), ContainsSubstring("forward[1].site: is missing"));
  CHECK(complaint(Role::kClient, both + forward + "site = \"lab\"\n").empty());
  CHECK_THAT(complaint(Role::kClient, both + forward + "site = \"moon\"\n"), ContainsSubstring("names no [[site]]"));
}

TEST_CASE("config: a broker serves several sites, but none twice", "[apps][config]") {
  const std::string& text = device_text(Role::kBroker);
  const std::string& other = test::other_site_text(Role::kBroker);

  const auto config = parse_broker_config(text + other.substr(other.find("[[site]]")), kConfigFile);
  REQUIRE(config);
  CHECK(config->sites.size() == 2);
  CHECK_THAT(complaint(Role::kBroker, text + text.substr(text.find("[[site]]"))),
             ContainsSubstring("site[2].name: is the name of two sites"));
}

TEST_CASE("config: a gateway belongs to one site", "[apps][config]") {
  const std::string& other = test::other_site_text(Role::kGateway);

  CHECK_THAT(complaint(Role::kGateway, device_text(Role::kGateway) + other.substr(other.find("[[site]]"))),
             ContainsSubstring("site: expected at most 1 tables"));
}

TEST_CASE("config: a file that its group or others may use is refused", "[apps][config]") {
  const test::TemporaryFolder folder;
  const unsigned mode = GENERATE(0640U, 0604U, 0620U, 0602U, 0601U, 0666U);
  const auto file = folder.write("client.toml", device_text(Role::kClient), mode);

  const auto config = load_client_config(file);

  REQUIRE_FALSE(config);
  CHECK_THAT(config.error().message, ContainsSubstring(file.string()) && ContainsSubstring("chmod 600"));
}

TEST_CASE("config: a 0600 file is loaded and its relative paths count from its folder", "[apps][config]") {
  const test::TemporaryFolder folder;
  const auto file = folder.write("client-alice.toml", device_text(Role::kClient));

  const auto config = load_client_config(file);

  REQUIRE(config);
  CHECK(config->file == file);
  CHECK(config->state.dir == folder.path() / "state-client-alice");
  CHECK(config->sites[0].roster_file == folder.path() / "roster");
}

TEST_CASE("config: what is no readable file is named and does not hang", "[apps][config]") {
  const test::TemporaryFolder folder;
  const auto missing = folder.path() / "missing.toml";
  const auto pipe = folder.path() / "pipe.toml";
  REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);

  for (const auto& file : {missing, pipe, folder.path()}) {
    const auto config = load_broker_config(file);
    REQUIRE_FALSE(config);
    CHECK_THAT(config.error().message, ContainsSubstring(file.string() + ": "));
  }
}

TEST_CASE("config: brokers and gateways may get other addresses than the roster's", "[apps][config]") {
  const std::string text = device_text(Role::kClient) +
                           "[[site.broker]]\nname = \"b1\"\naddress = [\"192.0.2.1\", \"2001:db8::1\"]\nport = 8443\n"
                           "[[site.gateway]]\nname = \"gw1\"\naddress = \"192.0.2.2\"\n";
  const auto config = parse_client_config(text, kConfigFile);

  REQUIRE(config);
  REQUIRE(config->sites[0].brokers.size() == 1);
  CHECK(config->sites[0].brokers[0].identity.uri() == "spiffe://hq/broker/b1");
  CHECK(config->sites[0].brokers[0].addresses.size() == 2);
  CHECK(config->sites[0].brokers[0].port == 8443);
  CHECK(config->sites[0].gateways[0].addresses == std::vector{*SocketAddress::parse("192.0.2.2:443")});
  CHECK_THAT(complaint(Role::kClient, replaced(text, "\"192.0.2.1\"", "\"0.0.0.0\"")),
             ContainsSubstring("site[1].broker[1].address"));
}

}  // namespace
}  // namespace natt::config
