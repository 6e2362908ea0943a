// SPDX-License-Identifier: Apache-2.0
// What relaying over TCP takes of descriptors, and does without any left.
#include <sys/resource.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <filesystem>

#include "integration/relay_site.h"
#include "support/pattern.h"

using namespace natt;
using namespace natt::test;
using namespace std::chrono_literals;

namespace {

// UndefinedBehaviorSanitizer opens a pipe to look at an object's class, and takes it for a bad one when it cannot.
#if defined(__has_feature)
constexpr bool kSanitized = __has_feature(undefined_behavior_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

void skip_if_sanitized() {
  if (kSanitized) SKIP("the sanitizer needs descriptors, too; builds without one run this");
}

// As many descriptors as the process has, as long as it lives.
class NoFreeDescriptor {
 public:
  NoFreeDescriptor() {
    const int next = ::dup(0);
    ::close(next);
    ::getrlimit(RLIMIT_NOFILE, &former_);
    const rlimit none{static_cast<rlim_t>(next), former_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
  }
  ~NoFreeDescriptor() { ::setrlimit(RLIMIT_NOFILE, &former_); }
  NoFreeDescriptor(const NoFreeDescriptor&) = delete;
  NoFreeDescriptor& operator=(const NoFreeDescriptor&) = delete;

 private:
  rlimit former_{};
};

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

uv::BrokerOptions logging_to(std::vector<std::string>& lines) {
  uv::BrokerOptions options = in_mode(SpaMode::kTcp);
  options.log = {.write = [](void* context, LogLevel level, std::string_view line) {
                   if (level >= LogLevel::kWarning) static_cast<std::vector<std::string>*>(context)->emplace_back(line);
                 },
                 .context = &lines};
  return options;
}

bool said(const std::vector<std::string>& lines, std::string_view event) {
  return std::any_of(lines.begin(), lines.end(), [&](const auto& line) { return line.starts_with(event); });
}

}  // namespace

TEST_CASE("tcp relay: sessions leave no descriptor behind", "[integration][tcp_relay]") {
  RelaySite site(in_mode(SpaMode::kTcp));
  const SessionId session = site.open_session();
  const ByteBuffer some = pattern(300'000, 8);
  const auto join = [&] {
    const std::uint64_t pairs = site.broker->tcp_relay_stats().pairs_opened;
    const std::size_t legs = site.alice->legs.size() + 1;
    site.request_relay(session);
    site.alice->join();
    site.gateway->join();
    REQUIRE(site.loop.run_until([&] {
      return site.alice->legs.size() == legs && site.gateway->legs.size() == legs &&
             site.broker->tcp_relay_stats().pairs_opened > pairs;
    }));
    site.client_leg().connection->write(some);
    site.gateway_leg().connection->write(some);
    REQUIRE(site.loop.run_until([&] {
      return site.gateway_leg().received.size() == some.size() && site.client_leg().received.size() == some.size();
    }));
  };
  std::ptrdiff_t before = 0;
  for (int round = 0; round < 6; ++round) {
    join();
    if (round % 3 == 2) join();  // replaces the pair
    site.client_leg().connection->shutdown();
    round % 3 == 0 ? site.client_leg().connection->abort() : site.gateway_leg().connection->shutdown();
    REQUIRE(site.loop.run_until([&] { return site.broker->relay_load().sessions == 0; }));
    for (auto* device : {&site.alice, &site.gateway}) {
      (*device)->joins.clear();
      for (const auto& leg : (*device)->legs) leg->connection.reset();
    }
    site.settle();
    if (round == 2) before = open_descriptors();
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("tcp relay: without a descriptor left a pair is refused and the next one is served",
          "[integration][tcp_relay]") {
  skip_if_sanitized();
  std::vector<std::string> lines;
  RelaySite site(logging_to(lines));
  const SessionId session = site.open_session();
  site.request_relay(session);
  site.gateway->join();
  REQUIRE(site.loop.run_until([&] { return site.broker->tcp_relay_stats().legs_joined == 1; }));
  const auto client =
      site.connect_raw(site.make_flight(site.alice_identity, site.alice->grants.back().pairing_token));
  site.settle();
  {
    const NoFreeDescriptor none;
    client->connection->write(kRelayJoinConfirmation);
    CHECK(site.loop.run_until([&] { return client->over() && site.gateway_leg().over(); }));
  }
  CHECK(client->reset);
  CHECK(site.gateway_leg().reset);
  CHECK(site.broker->relay_load().sessions == 0);
  CHECK(said(lines, "natt.relay.no_descriptor"));

  site.request_relay(session);
  site.alice->join();
  site.gateway->join();
  CHECK(site.loop.run_until([&] { return site.broker->relay_load().sessions == 1; }));
}

TEST_CASE("tcp relay: without a descriptor for a pipe octets are copied", "[integration][tcp_relay]") {
  skip_if_sanitized();
  std::vector<std::string> lines;
  RelaySite site(logging_to(lines));
  site.join_both();
  // One way keeps the pipe that there is.
  const ByteBuffer up = pattern(std::size_t{24} << 20, 9);
  const ByteBuffer down = pattern(std::size_t{2} << 20, 10);
  site.gateway_leg().connection->pause_reading();
  site.client_leg().connection->write(up);
  site.settle();
  const NoFreeDescriptor none;

  site.gateway_leg().connection->write(down);

  CHECK(site.loop.run_until([&] { return site.client_leg().received.size() == down.size(); }));
  CHECK(site.client_leg().received == down);
  CHECK(said(lines, "natt.relay.no_pipe"));
  site.gateway_leg().connection->resume_reading();
  CHECK(site.loop.run_until([&] { return site.gateway_leg().received.size() == up.size(); }, 10'000));
  CHECK(site.gateway_leg().received == up);
}
