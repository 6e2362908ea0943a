// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>

#include <cstdlib>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "apps/config/broker_config.h"
#include "apps/config/client_config.h"
#include "apps/config/gateway_config.h"
#include "unit/apps/site_fixture.h"
#include "unit/apps/temporary_folder.h"

namespace natt::config {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::device_text;
using test::replaced;

const std::filesystem::path kFile = "/etc/natt/device.toml";

// The complaint about `text`, read as the file of `role`; empty when there is none.
std::string complaint(Role role, const std::string& text) {
  switch (role) {
    case Role::kBroker: {
      const auto config = parse_broker_config(text, kFile);
      return config ? "" : config.error().message;
    }
    case Role::kGateway: {
      const auto config = parse_gateway_config(text, kFile);
      return config ? "" : config.error().message;
    }
    case Role::kClient: {
      const auto config = parse_client_config(text, kFile);
      return config ? "" : config.error().message;
    }
  }
  return {};
}

// Every secret of the file; none may show up in a complaint.
std::vector<std::string> secrets_of(const std::string& text) {
  std::vector<std::string> secrets;
  const auto value_of = [&text](std::string_view key) {
    const std::size_t begin = text.find('"', text.find(key)) + 1;
    return text.substr(begin, text.find('"', begin) - begin);
  };
  secrets.push_back(value_of("\npsk = "));
  secrets.push_back(value_of("\nspa_keys = ").substr(2));
  const std::size_t key = text.find("-----BEGIN PRIVATE KEY-----\n") + 28;
  secrets.push_back(text.substr(key, 40));
  return secrets;
}

TEST_CASE("config: a broker's generated file gives the documented defaults", "[apps][config]") {
  const auto config = parse_broker_config(device_text(Role::kBroker), kFile);

  REQUIRE(config);
  CHECK(config->file == kFile);
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
  const auto broker = parse_broker_config(device_text(Role::kBroker) + appended, kFile);
  const auto gateway = parse_gateway_config(device_text(Role::kGateway) + appended, kFile);
  const auto client = parse_client_config(device_text(Role::kClient) + appended, kFile);

  REQUIRE((broker && gateway && client));
  CHECK(broker->spa.dns_suffix == expected);
  CHECK(gateway->spa.dns_suffix == expected);
  CHECK(client->spa.dns_suffix == expected);
}

TEST_CASE("config: a gateway's generated file carries the entitlements of init", "[apps][config]") {
  const auto config = parse_gateway_config(device_text(Role::kGateway), kFile);

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
  CHECK(parse_broker_config(device_text(Role::kBroker), kFile)->spa.kernel_gate);
  CHECK(parse_gateway_config(device_text(Role::kGateway), kFile)->spa.kernel_gate);
  CHECK_FALSE(parse_broker_config(device_text(Role::kBroker) + off, kFile)->spa.kernel_gate);
  CHECK_FALSE(parse_gateway_config(device_text(Role::kGateway) + off, kFile)->spa.kernel_gate);
}

TEST_CASE("config: a client's generated file races at 300 ms and 2.5 s and takes private routes only",
          "[apps][config]") {
  const auto config = parse_client_config(device_text(Role::kClient), kFile);

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
    const auto config = parse_gateway_config(from, kFile);
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
  const auto config = parse_client_config(client, kFile);

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
  const auto config = parse_client_config(device_text(Role::kClient) + "\n[socks]\nlisten = \"./socks.sock\"\n", kFile);

  REQUIRE(config);
  CHECK(std::get<std::filesystem::path>(*config->socks.listen) == "/etc/natt/socks.sock");
}

TEST_CASE("config: a client may belong to several sites and then names one per forward", "[apps][config]") {
  const std::string other = test::other_site_text(Role::kClient);
  const std::string both = device_text(Role::kClient) + other.substr(other.find("[[site]]"));

  const auto config = parse_client_config(both, kFile);
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

  const auto config = parse_broker_config(text + other.substr(other.find("[[site]]")), kFile);
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

TEST_CASE("config: DTLS is refused with the names of what to use", "[apps][config]") {
  const std::string text = replaced(device_text(Role::kClient), "protocol = \"quic\"", "protocol = \"dtls\"");

  const std::string message = complaint(Role::kClient, text);
  CHECK_THAT(message, ContainsSubstring("DTLS") && ContainsSubstring("QUIC") && ContainsSubstring("TLS"));
  CHECK_THAT(message, ContainsSubstring("site[1].protocol"));
}

TEST_CASE("config: whatever is wrong, the complaint names file, line and key", "[apps][config]") {
  struct Row {
    Role role;
    std::string appended;  // the wrong line is the last one
    std::string key;
    std::string says;
  };
  const auto row = GENERATE(values<Row>({
      {Role::kClient, "[race]\nnatt_after = \"soon\"", "race.natt_after", "milliseconds"},
      {Role::kClient, "[race]\nnatt_after = -1", "race.natt_after", "milliseconds"},
      {Role::kClient, "[race]\nrelay_after = \"11m\"", "race.relay_after", "milliseconds"},
      {Role::kClient, "[race]\nnatt_afer = 300", "race.natt_afer", "unknown key"},
      {Role::kClient, "[rece]", "rece", "unknown key"},
      {Role::kClient, "race = 3", "site[1].race", "unknown key"},
      {Role::kClient, "[tun]\nenabled = 1", "tun.enabled", "true or false"},
      {Role::kClient, "[tun]\nname = \"a/b\"", "tun.name", "interface name"},
      {Role::kClient, "[tun]\nname = \"0123456789abcdef\"", "tun.name", "interface name"},
      {Role::kClient, "[tun]\naccept_routes = [\"10.0.0.1/8\"]", "tun.accept_routes", "address blocks"},
      {Role::kClient, "[tun]\naccept_routes = [1]", "tun.accept_routes", "list of strings"},
      {Role::kClient, "[tun]\npool = \"10.0.0.0/8\"", "tun.pool", "unknown key"},
      {Role::kClient, "[socks]\nlisten = \"0.0.0.0:1080\"", "socks.listen", "loopback"},
      {Role::kClient, "[socks]\nusername = \"x\"", "socks.password", "is missing"},
      {Role::kClient, "[socks]\npassword = \"x\"", "socks.username", "is missing"},
      {Role::kClient, "[[forward]]\ntarget = \"a.b:80\"\nlisten = \"127.0.0.1\"", "forward[1].listen", "ADDRESS:PORT"},
      {Role::kClient, "[[forward]]\ntarget = \"a.b:80\"\nlisten = \"127.0.0.1:0\"", "forward[1].listen",
       "ADDRESS:PORT"},
      {Role::kClient, "[[forward]]\nlisten = \"127.0.0.1:80\"\ntarget = \"a.b\"", "forward[1].target", "HOST:PORT"},
      {Role::kClient, "[[forward]]\nlisten = \"127.0.0.1:80\"\ntarget = \"a.b:0\"", "forward[1].target", "HOST:PORT"},
      {Role::kClient, "[[forward]]\nlisten = \"127.0.0.1:80\"\ntarget = \"a..b:1\"", "forward[1].target", "HOST:PORT"},
      {Role::kClient, "[spa]\ntcp_visibility = \"syn\"", "spa.tcp_visibility", "unknown key"},
      {Role::kClient, "[spa]\nkernel_gate = false", "spa.kernel_gate", "unknown key"},
      {Role::kGateway, "[spa]\ntcp_visibility = \"syn\"", "spa.tcp_visibility", "unknown key"},
      {Role::kGateway, "[spa]\nkernel_gate = 1", "spa.kernel_gate", "true or false"},
      {Role::kClient, "[listen]", "listen", "unknown key"},
      {Role::kClient, "[log]\nlevel = \"loud\"", "log.level", "\"debug\""},
      {Role::kBroker, "[listen]\nport = 0", "listen.port", "1 to 65535"},
      {Role::kBroker, "[listen]\nport = 65536", "listen.port", "1 to 65535"},
      {Role::kBroker, "[listen]\nport = \"443\"", "listen.port", "integer"},
      {Role::kBroker, "[listen]\nport = 443.0", "listen.port", "integer"},
      {Role::kBroker, "[listen]\ndns_port = 443", "listen.dns_port", "differ"},
      {Role::kBroker, "[listen]\naddress = \"example.org\"", "listen.address", "IP address"},
      {Role::kBroker, "[listen]\nspa = \"off\"", "listen.spa", "unknown key"},
      {Role::kBroker, "[spa]\nmode = \"udp\"", "spa.mode", "udp-tcp"},
      {Role::kBroker, "[spa]\ndns_suffix = \"a..b\"", "spa.dns_suffix", "host name"},
      {Role::kClient, "[spa]\ndns_suffix = \"\"", "spa.dns_suffix", "host name"},
      {Role::kGateway, "[spa]\ndns_suffix = \"" + std::string(61, 'a') + "\"", "spa.dns_suffix", "60 characters"},
      {Role::kBroker, "[spa]\ntcp_visibility = \"closed\"", "spa.tcp_visibility", "\"syn\""},
      {Role::kBroker, "[natt]\nrelaySessionsThreshold = -1", "natt.relaySessionsThreshold", "integer from 0"},
      {Role::kBroker, "[natt]\nstunKeepaliveInterval = 0", "natt.stunKeepaliveInterval", "1 to 600"},
      {Role::kBroker, "[natt]\nstunKeepaliveInterval = 601", "natt.stunKeepaliveInterval", "1 to 600"},
      {Role::kBroker, "[natt]\nrelay_sessions = 1", "natt.relay_sessions", "unknown key"},
      {Role::kBroker, "[state]\ndir = \"\"", "state.dir", "empty"},
      {Role::kBroker, "[metrics]\nlisten = \"9464\"", "metrics.listen", "ADDRESS:PORT"},
      {Role::kBroker, "[metrics]\nlisten = \"127.0.0.1:0\"", "metrics.listen", "ADDRESS:PORT"},
      {Role::kGateway, "[metrics]\nlisten = \"localhost:9464\"", "metrics.listen", "ADDRESS:PORT"},
      {Role::kGateway, "[metrics]\nlisten = 9464", "metrics.listen", "expected a string"},
      {Role::kClient, "[metrics]\nport = 9464", "metrics.port", "unknown key"},
      {Role::kBroker, "[control]\nsocket = 1", "control.socket", "expected a string"},
      {Role::kBroker, "[[forward]]", "forward", "unknown key"},
      {Role::kGateway, "[listen]\nspa = \"off\"", "listen.spa", "loopback"},
      {Role::kGateway, "[listen]\nspa = true", "listen.spa", "expected a string"},
      {Role::kGateway, "[tun]\nenabled = true", "tun.pool", "is missing"},
      {Role::kGateway, "[tun]\npool = [\"10.0.0.0/31\"]", "tun.pool", "four addresses"},
      {Role::kGateway, "[tun]\npool = [\"10.0.0.0/24\", \"10.1.0.0/24\"]", "tun.pool", "one IPv4"},
      {Role::kGateway, "[tun]\nroutes = [\"10.99.0.0/33\"]", "tun.routes", "address blocks"},
      {Role::kGateway, "[[entitlement]]\nclient = \"alice\"\nallow = [\"tcp/10.0.0.0/8:1\", \"ssh/10.0.0.1:22\"]",
       "entitlement[2].allow", "rule 2"},
      {Role::kGateway, "[[entitlement]]\nallow = []\nclient = \"Alice\"", "entitlement[2].client", "name of a client"},
      {Role::kGateway, "[[entitlement]]\nclient = \"alice\"", "entitlement[2].allow", "is missing"},
  }));
  CAPTURE(row.appended);
  const std::string text = device_text(row.role) + row.appended + "\n";

  const std::string message = complaint(row.role, text);

  CHECK_THAT(message, ContainsSubstring(row.key + ": ") && ContainsSubstring(row.says));
  // A missing key is complained about where its table starts; everything else on its own line.
  const std::size_t last = test::line_of(text, row.appended) +
                           static_cast<std::size_t>(std::count(row.appended.begin(), row.appended.end(), '\n'));
  const std::size_t line = row.says == "is missing" ? test::line_of(text, row.appended) : last;
  CHECK_THAT(message, ContainsSubstring("/etc/natt/device.toml:" + std::to_string(line) + ": "));
}

TEST_CASE("config: a site with a broken key is refused and the key's value is not shown", "[apps][config]") {
  struct Row {
    std::string from;
    std::string to;
    std::string says;
  };
  const std::string& text = device_text(Role::kClient);
  const auto secrets = secrets_of(text);
  const auto row = GENERATE_COPY(values<Row>({
      {"name = \"hq\"", "name = \"HQ\"", "site[1].name"},
      {"name = \"hq\"", "name = \"moon\"", "site[1].identity: is of another site"},
      {"name = \"hq\"\n", "", "site[1].name: is missing"},
      {"client/alice\"", "gateway/alice\"", "site[1].identity: is of a gateway"},
      {"client/alice\"", "client/bob\"", "certificate: its identity is spiffe://hq/client/alice"},
      {"client/alice\"", "client\"", "site[1].identity: expected a SPIFFE URI"},
      {"psk = \"", "psk = \"A", "site[1].psk: expected 32 octets"},
      {"psk = ", "pks = ", "site[1].psk: is missing"},
      {"spa_keys = [\"1:", "spa_keys = [\"1", "site[1].spa_keys: expected"},
      {"spa_keys = [\"1:", "spa_keys = [\"0:", "site[1].spa_keys: expected"},
      {"spa_keys = [", "spa_keys = [\"1:" + secrets[1] + "\", ", "site[1].spa_keys: has two keys of one generation"},
      {"spa_keys = ", "spa_keys = [] #", "site[1].spa_keys: needs at least one"},
      {"BEGIN PRIVATE KEY", "BEGIN ECCCCCCC KEY", "site[1].private_key: expected a PEM PRIVATE KEY"},
      {"PRIVATE KEY-----\nMIG", "PRIVATE KEY-----\nMIH", "site[1].certificate"},
      {"\"\"\"\n-----BEGIN CERT", "\"\"\"\n-----BEGIN CURT", "site[1].certificate: expected a PEM CERTIFICATE"},
      {"roster = \"\"\"\n", "roster = \"\"\"\n!", "site[1].roster: expected the signed roster"},
      {"roster = \"\"\"\n", "roster = \"\"\"\nAAAA", "site[1].roster"},
      {"psk = \"", "psk = ", "site.psk: not valid TOML"},
      {"psk = \"", "psk = \"\n", "not valid TOML"},
      {"spa_keys = [\"", "spa_keys = ['", "not valid TOML"},
  }));
  CAPTURE(row.from, row.to);

  std::string message = complaint(Role::kClient, replaced(text, row.from, row.to));

  CHECK_FALSE(message.empty());
  for (const std::string& secret : secrets) {
    for (std::size_t length = secret.size(); length >= 6; length = length / 2) {
      CHECK(message.find(secret.substr(0, length)) == std::string::npos);
    }
  }
  if (row.says.starts_with("site.psk")) {
    CHECK_THAT(message, ContainsSubstring("psk: not valid TOML"));
  } else {
    CHECK_THAT(message, ContainsSubstring(row.says));
  }
}

TEST_CASE("config: material of another site does not pass", "[apps][config]") {
  const std::string& text = device_text(Role::kClient);
  const std::string& other = test::other_site_text(Role::kClient);
  const auto value = [](const std::string& of, std::string_view key) {
    const std::size_t begin = of.find(key);
    return of.substr(begin, of.find("\n\"\"\"\n", begin) - begin);
  };

  for (const std::string_view key : {"\ncertificate = ", "\nprivate_key = ", "\nca = ", "\nroster = "}) {
    CAPTURE(key);
    const std::string message = complaint(Role::kClient, replaced(text, value(text, key), value(other, key)));
    CHECK_THAT(message, ContainsSubstring(key == "\nroster = " ? "site[1].roster" : "site[1].certificate"));
  }
}

TEST_CASE("config: garbage is refused without a crash", "[apps][config]") {
  const std::string text =
      GENERATE(as<std::string>{}, "", "\n", "[[site]]", "site = 1", "[site]", "site = []", "[[site]]\nname = \"hq\"",
               "= 1", "[", "\"", "\xff\xfe", "\xcc\x9e", "[[[", "a = \"\\uD800\"", std::string("a\0b", 3),
               "[[[[[[[[[[[[", "x = [[[[[[[[[[[[[[[[[[[[1]]]");
  CAPTURE(text);

  for (const Role role : {Role::kBroker, Role::kGateway, Role::kClient}) CHECK_FALSE(complaint(role, text).empty());
}

TEST_CASE("config: every truncation of a good file is refused or is a file without its last lines", "[apps][config]") {
  const std::string& text = device_text(Role::kClient);

  for (std::size_t length = 0; length < text.size(); length += 7) {
    CAPTURE(length);
    // Only the very end, behind the last closing quotes, can be left out.
    CHECK(complaint(Role::kClient, text.substr(0, length)).empty() == (length + 1 >= text.size()));
  }
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
  const auto config = parse_client_config(text, kFile);

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
