// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include <deque>

#include <natt/probe_budget.h>

#include "support/seeded_random.h"

namespace natt::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const IpAddress kIp = *IpAddress::parse("192.0.2.1");

}  // namespace

TEST_CASE("probe budget: 50 unanswered packets to one IP, and 50 to the next", "[natt][candidate]") {
  ProbeBudget budget;
  const Instant now{};
  int sent = 0;
  for (int i = 0; i < 80; ++i) sent += budget.take(now, kIp) ? 1 : 0;

  CHECK(sent == 50);
  CHECK(budget.unanswered(now, kIp) == 50);
  CHECK(budget.take(now, *IpAddress::parse("192.0.2.2")));
}

TEST_CASE("probe budget: no 60 s hold more than 50 packets, whatever the pattern", "[natt][candidate]") {
  SeededRandom random(test_seed());
  ProbeBudget budget;
  std::deque<Instant> window;
  Instant now{};
  std::size_t total = 0;

  while (now < Instant{} + std::chrono::minutes(30)) {
    now += milliseconds(random.uniform(1200));
    if (!budget.take(now, kIp)) continue;
    ++total;
    window.push_back(now);
    while (now - window.front() >= seconds(60)) window.pop_front();
    REQUIRE(window.size() <= 50);
  }
  CHECK(total > 50 * 20);  // and it does not starve: 70 s at worst for each 50
}

TEST_CASE("probe budget: answered packets do not count", "[natt][candidate]") {
  ProbeBudget budget;
  Instant now{};

  for (int i = 0; i < 500; ++i) {
    now += milliseconds(50);
    REQUIRE(budget.take(now, kIp));
    budget.give_back(now + milliseconds(20), kIp, now);
  }
  CHECK(budget.unanswered(now, kIp) == 0);
}

TEST_CASE("probe budget: only what was taken can be given back", "[natt][candidate]") {
  ProbeBudget budget;
  const Instant now = Instant{} + seconds(1000);
  for (int i = 0; i < 50; ++i) REQUIRE(budget.take(now, kIp));

  budget.give_back(now, *IpAddress::parse("192.0.2.2"), now);
  budget.give_back(now, kIp, now - seconds(500));
  budget.give_back(now, kIp, now - seconds(20));
  CHECK_FALSE(budget.take(now, kIp));
  budget.give_back(now, kIp, now);
  CHECK(budget.take(now, kIp));
  for (int i = 0; i < 90; ++i) budget.give_back(now, kIp, now);
  CHECK(budget.unanswered(now, kIp) == 0);
}

TEST_CASE("probe budget: at most 500 packets leave in any second, to however many IPs", "[natt][candidate]") {
  ProbeBudget budget;
  std::deque<Instant> window;
  Instant now{};
  std::uint32_t host = 0;

  for (int step = 0; step < 5000; ++step) {
    now += milliseconds(1);
    for (int burst = 0; burst < 3; ++burst) {
      ++host;
      const IpAddress ip =
          IpAddress::v4({198, 18, static_cast<std::uint8_t>(host >> 8), static_cast<std::uint8_t>(host)});
      if (!budget.take(now, ip)) continue;
      window.push_back(now);
      while (now - window.front() >= seconds(1)) window.pop_front();
      REQUIRE(window.size() <= 500);
    }
  }
  CHECK(window.size() >= 390);  // and the rate is reached
}

TEST_CASE("probe budget: says when the next packet may leave", "[natt][candidate]") {
  ProbeBudget budget({.unanswered_per_ip = 1000, .burst = 2, .refill_per_second = 10});
  const Instant now{};
  CHECK(budget.next_token(now) == now);
  REQUIRE(budget.take(now, kIp));
  REQUIRE(budget.take(now, kIp));
  REQUIRE_FALSE(budget.take(now, kIp));

  const Instant next = budget.next_token(now);
  CHECK(next > now + milliseconds(99));
  CHECK(next < now + milliseconds(101));
  CHECK(budget.take(next, kIp));
}

TEST_CASE("probe budget: memory is bounded by the rate and given back with time", "[natt][candidate]") {
  ProbeBudget budget;
  Instant now{};
  std::uint32_t host = 0;
  while (now < Instant{} + seconds(200)) {
    now += milliseconds(2);
    ++host;
    const IpAddress ip = IpAddress::v4({10, static_cast<std::uint8_t>(host >> 16), static_cast<std::uint8_t>(host >> 8),
                                        static_cast<std::uint8_t>(host)});
    static_cast<void>(budget.take(now, ip));
  }
  CHECK(budget.destination_count() <= ProbeBudget::kMaxDestinations);

  REQUIRE(budget.take(now + seconds(90), kIp));
  CHECK(budget.destination_count() == 1);
}

}  // namespace natt::test
