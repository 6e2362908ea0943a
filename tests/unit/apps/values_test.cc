// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "apps/config/address_block.h"
#include "apps/config/base64.h"
#include "apps/config/duration_text.h"
#include "apps/config/log.h"
#include "apps/config/natt_settings.h"
#include "apps/config/secret_text.h"
#include "apps/config/state_dir.h"
#include "support/seeded_random.h"
#include "unit/apps/temporary_folder.h"

namespace natt::config {
namespace {

using Catch::Matchers::ContainsSubstring;
using namespace std::chrono_literals;

TEST_CASE("duration text: a number with a unit", "[apps][config]") {
  CHECK(parse_duration("300ms") == Duration(300ms));
  CHECK(parse_duration("2.5s") == Duration(2500ms));
  CHECK(parse_duration("0s") == Duration(0));
  CHECK(parse_duration("1m") == Duration(1min));
  CHECK(parse_duration("0.001s") == Duration(1ms));
  CHECK(parse_duration("1440m") == Duration(24h));
}

TEST_CASE("duration text: anything else is refused", "[apps][config]") {
  const std::string_view text =
      GENERATE(as<std::string_view>{}, "", "s", "ms", "300", "300 ms", " 300ms", "300ms ", "-1s", "+1s", "1h", "1.s",
               ".5s", "1.2345s", "1..5s", "1,5s", "0x10ms", "1e3ms", "1441m", "999999999ms", "99999999m", "s1");
  CAPTURE(text);

  CHECK_FALSE(parse_duration(text));
}

TEST_CASE("base64: what is encoded decodes to itself, across line ends", "[apps][config]") {
  test::SeededRandom random(test::test_seed());
  for (std::size_t length = 0; length < 70; ++length) {
    ByteBuffer bytes(length);
    random.fill(bytes);
    std::string text = base64_encode(bytes);
    CHECK(base64_decode(text) == bytes);
    if (text.size() > 4) CHECK(base64_decode(text.insert(3, "\r\n ")) == bytes);
  }
}

TEST_CASE("base64: what is not canonical is refused", "[apps][config]") {
  const std::string_view text =
      GENERATE(as<std::string_view>{}, "A", "AA", "AAA", "AB==", "AAB=", "A===", "AAAA=", "AAAA====", "AA-_", "AAA!",
               "AAA\\", "=AAA", "AA=A");
  CAPTURE(text);

  CHECK_FALSE(base64_decode(text));
}

TEST_CASE("address block: a block with host bits is a typing error", "[apps][config]") {
  CHECK(parse_block("10.99.0.0/24"));
  CHECK(parse_block("10.99.0.5"));
  CHECK(parse_block("2001:db8::/32"));
  CHECK(parse_block("0.0.0.0/0"));
  CHECK_FALSE(parse_block("10.99.0.5/24"));
  CHECK_FALSE(parse_block("2001:db8::1/32"));
  CHECK_FALSE(parse_block("10.99.0.0/33"));
  CHECK_FALSE(parse_block("10.99.0.0/"));
  CHECK_FALSE(parse_block(""));
}

TEST_CASE("address block: families do not hold one another", "[apps][config]") {
  CHECK(holds(*parse_block("0.0.0.0/0"), *IpAddress::parse("192.0.2.1")));
  CHECK_FALSE(holds(*parse_block("::/0"), *IpAddress::parse("192.0.2.1")));
  CHECK_FALSE(holds(*parse_block("0.0.0.0/0"), *IpAddress::parse("2001:db8::1")));
  CHECK(is_inside(*parse_block("10.1.0.0/16"), *parse_block("10.0.0.0/8")));
  CHECK_FALSE(is_inside(*parse_block("10.0.0.0/8"), *parse_block("10.1.0.0/16")));
}

TEST_CASE("address block: host and port", "[apps][config]") {
  CHECK(parse_host_port("10.0.0.1:80")->host == "10.0.0.1");
  CHECK(parse_host_port("[2001:DB8::1]:80")->host == "2001:db8::1");
  CHECK(parse_host_port("WIKI.corp.:65535")->host == "wiki.corp");
  for (const std::string_view text :
       {"", ":", ":80", "a", "a:", "a:0", "a:65536", "a:080x", "2001:db8::1:80", "a b:80", "a_b..c:80", "-a:80",
        "10.1:80", "0x7f.1:80", "1.2.3.256:80", "[wiki]:80", "a/b:80"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_host_port(text));
  }
}

TEST_CASE("secret text: moving leaves nothing behind and equality looks at the whole text", "[apps][config]") {
  std::string source = "a password that is longer than any small string buffer";
  SecretText secret(std::move(source));
  CHECK(source.empty());

  SecretText moved(std::move(secret));
  CHECK(moved.view() == "a password that is longer than any small string buffer");
  CHECK(secret.empty());
  CHECK(moved == SecretText(std::string("a password that is longer than any small string buffer")));
  CHECK_FALSE(moved == SecretText(std::string("a password")));
}

TEST_CASE("state folder: it is made 0700, kept, and refused when others may write it", "[apps][config]") {
  const test::TemporaryFolder folder;
  const auto dir = folder.path() / "state";

  REQUIRE(prepare_state_dir(dir));
  CHECK(folder.mode("state") == 0700);
  CHECK(prepare_state_dir(dir));
  std::filesystem::permissions(dir, std::filesystem::perms(0770));
  CHECK_THAT(prepare_state_dir(dir).error().message, ContainsSubstring("chmod 700"));
  folder.write("file", "");
  CHECK_THAT(prepare_state_dir(folder.path() / "file").error().message, ContainsSubstring("is not a folder"));
  CHECK_THAT(prepare_state_dir(folder.path() / "a/b").error().message, ContainsSubstring("cannot be made"));
}

TEST_CASE("state folder: a file is replaced as a whole, 0600, also after a run that died", "[apps][config]") {
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "value";
  folder.write("value.new", "half", 0644);

  REQUIRE(write_file_atomically(file, as_bytes("one")));
  REQUIRE(write_file_atomically(file, as_bytes("two")));

  CHECK(folder.read("value") == "two");
  CHECK(folder.mode("value") == 0600);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "value.new"));
}

TEST_CASE("state folder: a file larger than the limit is not read", "[apps][config]") {
  const test::TemporaryFolder folder;
  const auto file = folder.write("value", "12345");

  CHECK(read_file(file, 5, Exposure::kSecret) == "12345");
  CHECK_THAT(read_file(file, 4, Exposure::kSecret).error().message, ContainsSubstring("larger than 4"));
}

constexpr std::string_view kSessions = "natt/relaySessionsThreshold";
constexpr std::string_view kKeepalive = "natt/stunKeepaliveInterval";

TEST_CASE("natt settings: a change outlives the program until it is taken back", "[apps][config]") {
  const test::TemporaryFolder folder;
  NattConfig file_values;
  file_values.relay_sessions_threshold = 500;
  {
    auto settings = NattSettings::load(file_values, folder.path());
    REQUIRE(settings);
    CHECK(settings->get(kSessions) == 500);
    CHECK(settings->is_overridden(kSessions) == false);
    REQUIRE(settings->set(kSessions, "7"));
    CHECK(settings->values().relay_sessions_threshold == 7);
  }

  auto settings = NattSettings::load(file_values, folder.path());
  REQUIRE(settings);
  CHECK(settings->get(kSessions) == 7);
  CHECK(settings->is_overridden(kSessions) == true);
  file_values.relay_sessions_threshold = 600;
  settings->reload(file_values);
  CHECK(settings->get(kSessions) == 7);
  REQUIRE(settings->set(kSessions, std::nullopt));
  CHECK(settings->get(kSessions) == 600);
  CHECK(NattSettings::load(file_values, folder.path())->get(kSessions) == 600);
}

TEST_CASE("natt settings: all three keys are known and nothing else", "[apps][config]") {
  const test::TemporaryFolder folder;
  auto settings = NattSettings::load({}, folder.path());
  REQUIRE(settings);

  CHECK(settings->get(kKeepalive) == 15);
  CHECK(settings->get("natt/relayThroughputBitsPerSecondThreshold") == 1'000'000'000);
  for (const std::string_view key : {"", "natt/", "relaySessionsThreshold", "natt/relaysessionsthreshold", "natt/x"}) {
    CAPTURE(key);
    CHECK_THAT(settings->get(key).error().message, ContainsSubstring("unknown key"));
    CHECK_FALSE(settings->set(key, "1"));
  }
}

TEST_CASE("natt settings: a bad value changes nothing", "[apps][config]") {
  const test::TemporaryFolder folder;
  auto settings = NattSettings::load({}, folder.path());
  REQUIRE(settings);

  for (const std::string_view value : {"", "x", "0", "601", "-1", "1.5", " 5", "5 ", "99999999999999999999"}) {
    CAPTURE(value);
    const auto done = settings->set(kKeepalive, value);
    REQUIRE_FALSE(done);
    CHECK_THAT(done.error().message, ContainsSubstring("natt/stunKeepaliveInterval"));
    CHECK(settings->get(kKeepalive) == 15);
  }
}

TEST_CASE("natt settings: a damaged kept file is named", "[apps][config]") {
  const test::TemporaryFolder folder;
  folder.write("natt-settings.toml", "stunKeepaliveInterval = 9999\n");

  const auto settings = NattSettings::load({}, folder.path());

  REQUIRE_FALSE(settings);
  CHECK_THAT(settings.error().message, ContainsSubstring("natt-settings.toml:1: stunKeepaliveInterval"));
}

// What `act` writes to the given standard descriptor.
template <typename Act>
std::string captured(int descriptor, const test::TemporaryFolder& folder, Act act) {
  const auto file = folder.write("captured", "");
  std::fflush(nullptr);
  const int saved = ::dup(descriptor);
  std::FILE* target = std::fopen(file.c_str(), "w");
  ::dup2(::fileno(target), descriptor);
  act();
  std::fflush(nullptr);
  ::dup2(saved, descriptor);
  std::fclose(target);
  ::close(saved);
  return folder.read("captured");
}

TEST_CASE("log: a line has a UTC time and a level, and a peer's text stays on it", "[apps][config]") {
  const test::TemporaryFolder folder;

  const std::string text = captured(STDERR_FILENO, folder, [] {
    Log log(LogLevel::kInfo);
    log.sink()(LogLevel::kDebug, "hidden");
    log.sink()(LogLevel::kWarning, "natt.test peer=\"a\nb\x1b[2J{}%v\"");
  });

  CHECK_THAT(text, Catch::Matchers::Matches(
                       R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning natt\.test peer="a\\x0ab\\x1b\[2J\{\}%v")"
                       "\n"));
}

TEST_CASE("log: the program says ready on its own line", "[apps][config]") {
  const test::TemporaryFolder folder;

  CHECK(captured(STDOUT_FILENO, folder, [] { announce_ready(); }) == "ready\n");
}

}  // namespace
}  // namespace natt::config
