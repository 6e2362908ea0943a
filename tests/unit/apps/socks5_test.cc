// SPDX-License-Identifier: Apache-2.0
#include "apps/client/socks5.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

namespace natt::client {
namespace {

using namespace std::chrono_literals;

const Instant kStart{1000s};

ByteBuffer bytes(std::initializer_list<int> values) {
  ByteBuffer result;
  for (const int value : values) result.push_back(static_cast<std::uint8_t>(value));
  return result;
}

ByteBuffer join(std::initializer_list<ByteBuffer> parts) {
  ByteBuffer result;
  for (const ByteBuffer& part : parts) result.insert(result.end(), part.begin(), part.end());
  return result;
}

ByteBuffer text(std::string_view value) { return {value.begin(), value.end()}; }

// RFC 1929: user "app", password "secret".
Socks5::Options with_password() {
  Socks5::Options options;
  options.username = "app";
  options.password = config::SecretText(std::string("secret"));
  return options;
}

const ByteBuffer kGreeting = bytes({5, 1, 0});
const ByteBuffer kIpv4Request = bytes({5, 1, 0, 1, 10, 99, 0, 5, 0, 80});
const ByteBuffer kSuccess = bytes({5, 0, 0, 1, 0, 0, 0, 0, 0, 0});

std::optional<Socks5::ConnectRequest> request_of(Socks5& socks) {
  const auto event = socks.poll_event();
  if (!event || !std::holds_alternative<Socks5::ConnectRequest>(*event)) return std::nullopt;
  return std::get<Socks5::ConnectRequest>(*event);
}

bool has_failed(Socks5& socks) {
  const auto event = socks.poll_event();
  return event && std::holds_alternative<Socks5::Failed>(*event);
}

TEST_CASE("socks5: an IPv4 connect is asked, answered and established", "[apps][client]") {
  Socks5 socks({}, kStart);

  socks.handle_bytes(kGreeting);
  CHECK(socks.poll_output() == bytes({5, 0}));
  CHECK_FALSE(socks.poll_event());
  socks.handle_bytes(kIpv4Request);
  const auto request = request_of(socks);
  REQUIRE(request);
  CHECK(request->host == "10.99.0.5");
  CHECK(request->port == 80);
  CHECK(socks.poll_output().empty());

  socks.reply(SocksReply::kSucceeded);
  CHECK(socks.poll_output() == kSuccess);
  const auto event = socks.poll_event();
  REQUIRE(event);
  CHECK(std::get<Socks5::Established>(*event).early_data.empty());
}

TEST_CASE("socks5: names and IPv6 addresses are handed on as text", "[apps][client]") {
  Socks5 name({}, kStart);
  name.handle_bytes(join({kGreeting, bytes({5, 1, 0, 3, 9}), text("wiki.corp"), bytes({1, 187})}));
  CHECK(request_of(name)->host == "wiki.corp");

  Socks5 six({}, kStart);
  six.handle_bytes(
      join({kGreeting, bytes({5, 1, 0, 4, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 187})}));
  const auto request = request_of(six);
  REQUIRE(request);
  CHECK(request->host == "2001:db8::1");
  CHECK(request->port == 443);
}

TEST_CASE("socks5: the conversation may arrive in any pieces", "[apps][client]") {
  const ByteBuffer all =
      join({bytes({5, 2, 0, 2, 1, 3}), text("app"), bytes({6}), text("secret"), kIpv4Request, text("GET")});
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    CAPTURE(cut);
    Socks5 socks(with_password(), kStart);
    socks.handle_bytes(ByteView(all).first(cut));
    socks.handle_bytes(ByteView(all).subspan(cut));
    CHECK(socks.poll_output() == bytes({5, 2, 1, 0}));
    REQUIRE(request_of(socks));
    socks.reply(SocksReply::kSucceeded);
    CHECK(std::get<Socks5::Established>(*socks.poll_event()).early_data == text("GET"));
  }

  Socks5 dribble(with_password(), kStart);
  for (const std::uint8_t octet : all) dribble.handle_bytes({&octet, 1});
  REQUIRE(request_of(dribble));
}

TEST_CASE("socks5: every proper prefix of a conversation waits for more", "[apps][client]") {
  const ByteBuffer all = join({kGreeting, bytes({5, 1, 0, 3, 9}), text("wiki.corp"), bytes({1, 187})});
  for (std::size_t length = 0; length < all.size(); ++length) {
    CAPTURE(length);
    Socks5 socks({}, kStart);
    socks.handle_bytes(ByteView(all).first(length));
    CHECK_FALSE(socks.poll_event());
    CHECK(socks.next_deadline() == kStart + 30s);
  }
}

TEST_CASE("socks5: a wrong version or method ends the connection", "[apps][client]") {
  struct Row {
    std::string_view name;
    ByteBuffer input;
    ByteBuffer output;
  };
  const auto row = GENERATE(values<Row>({
      {"SOCKS 4", bytes({4, 1, 0, 80, 10, 0, 0, 1, 0}), {}},
      {"HTTP", text("GET / HTTP/1.1\r\n"), {}},
      {"no methods", bytes({5, 0}), bytes({5, 0xff})},
      {"GSSAPI only", bytes({5, 1, 1}), bytes({5, 0xff})},
      {"password only, none configured", bytes({5, 1, 2}), bytes({5, 0xff})},
  }));
  CAPTURE(row.name);
  Socks5 socks({}, kStart);

  socks.handle_bytes(row.input);

  CHECK(has_failed(socks));
  CHECK(socks.poll_output() == row.output);
  CHECK_FALSE(socks.next_deadline());
}

TEST_CASE("socks5: with a password configured nothing goes without it", "[apps][client]") {
  struct Row {
    std::string_view name;
    ByteBuffer input;
    ByteBuffer output;
  };
  const auto row = GENERATE(values<Row>({
      {"not offered", bytes({5, 1, 0}), bytes({5, 0xff})},
      {"wrong password", join({bytes({5, 1, 2, 1, 3}), text("app"), bytes({6}), text("Secret")}), bytes({5, 2, 1, 1})},
      {"wrong user", join({bytes({5, 1, 2, 1, 3}), text("apq"), bytes({6}), text("secret")}), bytes({5, 2, 1, 1})},
      {"longer password", join({bytes({5, 1, 2, 1, 3}), text("app"), bytes({7}), text("secrets")}),
       bytes({5, 2, 1, 1})},
      {"empty", bytes({5, 1, 2, 1, 0, 0}), bytes({5, 2, 1, 1})},
      {"wrong subnegotiation version", bytes({5, 1, 2, 5, 0, 0}), bytes({5, 2})},
  }));
  CAPTURE(row.name);
  Socks5 socks(with_password(), kStart);

  socks.handle_bytes(row.input);
  socks.handle_bytes(kIpv4Request);

  CHECK(has_failed(socks));
  CHECK(socks.poll_output() == row.output);
}

TEST_CASE("socks5: a request that cannot be served gets its code", "[apps][client]") {
  struct Row {
    std::string_view name;
    ByteBuffer request;
    int code;
  };
  const auto row = GENERATE(values<Row>({
      {"BIND", bytes({5, 2, 0, 1, 10, 0, 0, 1, 0, 80}), 7},
      {"UDP ASSOCIATE", bytes({5, 3, 0, 1, 0, 0, 0, 0, 0, 0}), 7},
      {"command 0", bytes({5, 0, 0, 1, 10, 0, 0, 1, 0, 80}), 7},
      {"address type 2", bytes({5, 1, 0, 2, 10, 0, 0, 1, 0, 80}), 8},
      {"address type 0", bytes({5, 1, 0, 0, 10, 0, 0, 1, 0, 80}), 8},
      {"reserved octet", bytes({5, 1, 1, 1, 10, 0, 0, 1, 0, 80}), 1},
      {"port 0", bytes({5, 1, 0, 1, 10, 0, 0, 1, 0, 0}), 1},
      {"empty name", bytes({5, 1, 0, 3, 0, 0, 80}), 1},
      {"line end in the name", join({bytes({5, 1, 0, 3, 3}), text("a\r\n"), bytes({0, 80})}), 1},
      {"space in the name", join({bytes({5, 1, 0, 3, 3}), text("a b"), bytes({0, 80})}), 1},
      {"path in the name", join({bytes({5, 1, 0, 3, 3}), text("a/b"), bytes({0, 80})}), 1},
      {"user in the name", join({bytes({5, 1, 0, 3, 3}), text("a@b"), bytes({0, 80})}), 1},
      {"zero octet in the name", bytes({5, 1, 0, 3, 2, 'a', 0, 0, 80}), 1},
  }));
  CAPTURE(row.name);
  Socks5 socks({}, kStart);
  socks.handle_bytes(kGreeting);
  static_cast<void>(socks.poll_output());

  socks.handle_bytes(row.request);

  CHECK(has_failed(socks));
  CHECK(socks.poll_output() == bytes({5, row.code, 0, 1, 0, 0, 0, 0, 0, 0}));
}

TEST_CASE("socks5: a failed dial is told with its code and ends the connection", "[apps][client]") {
  const auto code = GENERATE(SocksReply::kGeneralFailure, SocksReply::kNotAllowed, SocksReply::kNetworkUnreachable,
                             SocksReply::kHostUnreachable, SocksReply::kConnectionRefused, SocksReply::kTtlExpired);
  Socks5 socks({}, kStart);
  socks.handle_bytes(join({kGreeting, kIpv4Request}));
  REQUIRE(request_of(socks));
  static_cast<void>(socks.poll_output());

  socks.reply(code);

  CHECK(socks.poll_output() == bytes({5, static_cast<int>(code), 0, 1, 0, 0, 0, 0, 0, 0}));
  CHECK(has_failed(socks));
  socks.reply(SocksReply::kSucceeded);
  socks.handle_bytes(kGreeting);
  CHECK(socks.poll_output().empty());
  CHECK_FALSE(socks.poll_event());
}

TEST_CASE("socks5: a reply before the request is ignored", "[apps][client]") {
  Socks5 socks({}, kStart);
  socks.reply(SocksReply::kSucceeded);
  CHECK(socks.poll_output().empty());

  socks.handle_bytes(join({kGreeting, kIpv4Request}));
  CHECK(request_of(socks));
}

TEST_CASE("socks5: too much early data ends the connection", "[apps][client]") {
  Socks5 socks({}, kStart);
  socks.handle_bytes(join({kGreeting, kIpv4Request}));
  REQUIRE(request_of(socks));

  socks.handle_bytes(ByteBuffer(Socks5::kMaxEarlyData));
  CHECK_FALSE(socks.poll_event());
  socks.handle_bytes(ByteBuffer(1));
  CHECK(has_failed(socks));
}

TEST_CASE("socks5: a slow application is given up, a slow dial is not", "[apps][client]") {
  Socks5 slow({}, kStart);
  slow.handle_bytes(kGreeting);
  slow.handle_timeout(kStart + 29s);
  CHECK_FALSE(slow.poll_event());
  slow.handle_timeout(kStart + 30s);
  CHECK(has_failed(slow));

  Socks5 dialling({}, kStart);
  dialling.handle_bytes(join({kGreeting, kIpv4Request}));
  REQUIRE(request_of(dialling));
  CHECK_FALSE(dialling.next_deadline());
  dialling.handle_timeout(kStart + 1h);
  CHECK_FALSE(dialling.poll_event());
}

}  // namespace
}  // namespace natt::client
