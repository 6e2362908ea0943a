// SPDX-License-Identifier: Apache-2.0
// What is refused, and in which words.
#include <algorithm>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "unit/apps/config_complaint.h"
#include "unit/apps/site_fixture.h"

namespace natt::config {
namespace {

using Catch::Matchers::ContainsSubstring;
using test::complaint;
using test::device_text;
using test::replaced;

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

}  // namespace
}  // namespace natt::config
