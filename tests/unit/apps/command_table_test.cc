// SPDX-License-Identifier: Apache-2.0
#include "apps/control/command_table.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <nlohmann/json.hpp>

#include "apps/control/status.h"
#include "apps/nattctl/status_view.h"

namespace natt::control {
namespace {

using nlohmann::json;

Result<json> refuse(const json&) { return fail(std::make_error_code(std::errc::invalid_argument), "no such key"); }

void fill(CommandTable& table) {
  table.add("echo", Access::kRead, [](const json& arguments) -> Result<json> { return arguments; });
  table.add("change", Access::kWrite, [](const json&) -> Result<json> { return json("changed"); });
  table.add("refuse", Access::kRead, refuse);
  table.add("garbled", Access::kRead, [](const json&) -> Result<json> { return json("a\xff\nb"); });
}

TEST_CASE("command table: a request runs its command with its arguments", "[apps][control]") {
  CommandTable table;
  fill(table);

  CHECK(json::parse(table.run(R"({"command":"echo","arguments":{"a":[1,"x"]}})", Caller::kReader)) ==
        json::parse(R"({"ok":true,"result":{"a":[1,"x"]}})"));
  CHECK(json::parse(table.run(R"({"command":"echo"})", Caller::kReader)) == json::parse(R"({"ok":true,"result":{}})"));
  CHECK(json::parse(table.run(R"({"command":"refuse"})", Caller::kReader)) ==
        json::parse(R"({"ok":false,"error":"no such key"})"));
}

TEST_CASE("command table: only owners run what changes something", "[apps][control]") {
  CommandTable table;
  fill(table);

  CHECK(json::parse(table.run(R"({"command":"change"})", Caller::kOwner))["ok"] == true);
  CHECK(json::parse(table.run(R"({"command":"change"})", Caller::kReader))["ok"] == false);
}

TEST_CASE("command table: whatever the line is, the answer is one line of JSON", "[apps][control]") {
  CommandTable table;
  fill(table);
  const std::string deep = std::string(5000, '[');
  const std::string line = GENERATE_COPY(
      as<std::string>{}, "", "{", "null", "[]", "\"status\"", "{}", R"({"command":1})", R"({"command":"moon"})",
      R"({"command":"echo","arguments":[]})", R"({"command":"echo","arguments":null})", "\xff", deep,
      R"({"command":"echo","arguments":{"a":[[[[[[[[[[1]]]]]]]]]]}})", R"({"command":"garbled"})");
  CAPTURE(line);

  const std::string response = table.run(line, Caller::kOwner);

  CHECK(response.find('\n') == std::string::npos);
  const json parsed = json::parse(response, nullptr, false);
  REQUIRE(parsed.is_object());
  CHECK((parsed["ok"] == true || parsed["error"].is_string()));
}

TEST_CASE("status: the JSON has the names that operators' scripts use", "[apps][control]") {
  Session session{.site = "hq",
                  .client = {},
                  .gateway = "gw1",
                  .connection_type = natt::ConnectionType::kRelay,
                  .protocol = "tls",
                  .relay_reason = "udp-blocked",
                  .local_address = "192.0.2.1:5000",
                  .remote_address = "203.0.113.7:443",
                  .rtt_ms = 12.5,
                  .bytes_in = 1,
                  .bytes_out = 2,
                  .since = WallTime(std::chrono::seconds(1'800'000'000))};
  Status status{.program = "client",
                .version = "0.1.0",
                .identities = {"spiffe://hq/client/alice"},
                .since = WallTime(std::chrono::milliseconds(1'800'000'000'999)),
                .health = {},
                .session_counts = {.direct = 1, .direct_via_natt = 2, .relayed = 3},
                .relayed = {.sessions = 4, .data_throughput_bits_per_second = 5},
                .connections = std::vector{session}};
  status.health.add(HealthStatus::kError, "STUN client initialization failed");
  status.health.add(HealthStatus::kWarning, "the roster is stale");

  CHECK(json(status) == json::parse(R"({
    "program": "client", "version": "0.1.0", "identities": ["spiffe://hq/client/alice"],
    "since": "2027-01-15T08:00:00Z",
    "health": {"status": "error", "details": ["STUN client initialization failed", "the roster is stale"]},
    "sessionCounts": {"direct": 1, "directViaNatt": 2, "relayed": 3},
    "relayed": {"sessions": 4, "dataThroughputBitsPerSecond": 5},
    "connections": [{"site": "hq", "gateway": "gw1", "connectionType": "Relay", "protocol": "tls",
      "relayReason": "udp-blocked", "localAddress": "192.0.2.1:5000", "remoteAddress": "203.0.113.7:443",
      "rttMs": 12.5, "bytesIn": 1, "bytesOut": 2, "since": "2027-01-15T08:00:00Z"}]})"));
}

TEST_CASE("status: the connection types have the product's names", "[apps][control]") {
  CHECK(natt::to_string(natt::ConnectionType::kDirect) == "Direct");
  CHECK(natt::to_string(natt::ConnectionType::kNatTraversal) == "Direct via NAT Traversal");
  CHECK(natt::to_string(natt::ConnectionType::kRelay) == "Relay");
}

TEST_CASE("status: what is not known is null or left out", "[apps][control]") {
  const json session = Session{};
  CHECK(session["rttMs"].is_null());
  CHECK_FALSE(session.contains("client"));
  CHECK_FALSE(session.contains("relayReason"));
  CHECK_FALSE(json(Status{}).contains("connections"));
  CHECK(json(Status{.program = {},
                    .version = {},
                    .identities = {},
                    .since = {},
                    .health = {},
                    .session_counts = {},
                    .relayed = {},
                    .connections = std::vector<Session>{}})["connections"] == json::array());
  CHECK(json(NatSocket{})["mappedAddress"].is_null());
  CHECK(sessions_json({}) == json::parse(R"({"sessions":[]})"));
  CHECK(sites_json({}) == json::parse(R"({"sites":[]})"));
  CHECK(nat_sockets_json({}) == json::parse(R"({"natSockets":[]})"));
}

TEST_CASE("status view: every view renders what the programs send", "[apps][nattctl]") {
  const Session session{.site = "hq",
                        .client = "alice",
                        .gateway = "gw1",
                        .connection_type = natt::ConnectionType::kNatTraversal,
                        .relay_reason = {},
                        .local_address = "l",
                        .remote_address = "r",
                        .rtt_ms = 1.25,
                        .bytes_in = 77,
                        .bytes_out = 88,
                        .since = {}};
  const Site site{.name = "hq",
                  .roster_number = 3,
                  .roster_next_update = {},
                  .peers = {{"gw1", "gateway", "connected", "a:1", "", {}}},
                  .session_counts = {},
                  .relayed = {}};
  const NatSocket socket{.site = "hq",
                         .broker = "b1",
                         .local_address = "l",
                         .broker_address = "b",
                         .mapped_address = "m",
                         .state = "failed",
                         .error = "STUN Binding Request failed",
                         .last_response = {}};

  const std::string sessions = ctl::render_view("sessions", sessions_json({session}));
  CHECK(sessions.find("Direct via NAT Traversal") != std::string::npos);
  CHECK(sessions.find("alice") != std::string::npos);
  CHECK(ctl::render_view("sites", sites_json({site})).find("connected") != std::string::npos);
  CHECK(ctl::render_view("nat-sockets", nat_sockets_json({socket})).find("STUN Binding Request failed") !=
        std::string::npos);
  CHECK(ctl::render_view("health", Health{HealthStatus::kWarning, {"why"}}) == "health: warning\n  why\n");
}

TEST_CASE("status view: JSON of another shape renders without a crash", "[apps][nattctl]") {
  const std::string text =
      GENERATE(as<std::string>{}, "null", "1", "[]", "{}", R"({"sessions":1})", R"({"sessions":[1,null,{}]})",
               R"({"sites":[{"peers":3}]})", R"({"health":[],"identities":{}})", R"({"natSockets":[[]]})");
  CAPTURE(text);
  for (const std::string_view view : {"status", "health", "sites", "sessions", "nat-sockets", "other"}) {
    CHECK(ctl::render_view(view, json::parse(text)).ends_with('\n'));
  }
}

}  // namespace
}  // namespace natt::control
