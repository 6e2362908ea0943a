// SPDX-License-Identifier: Apache-2.0
#include <natt/broker_clock.h>

#include <catch2/catch_test_macros.hpp>

using namespace natt;
using std::chrono::hours;
using std::chrono::seconds;

namespace {

struct Pair {
  spa::HostTime host{WallTime(hours(24 * 20'000)), hours(5)};
  WallTime broker = host.wall + seconds(7);
  BrokerClock clock;
  void pass(seconds by) {
    host.wall += by;
    host.boot += by;
    broker += by;
  }
  [[nodiscard]] std::optional<seconds> hear() { return clock.hear(broker, host); }
};

}  // namespace

TEST_CASE("broker clock: what it shows first, and running on, is no step", "[natt][broker_clock]") {
  Pair pair;
  CHECK_FALSE(pair.hear());
  pair.pass(hours(100));
  CHECK_FALSE(pair.hear());
  pair.broker += seconds(29);
  CHECK_FALSE(pair.hear());
}

TEST_CASE("broker clock: a step either way is told once, with its size", "[natt][broker_clock]") {
  Pair pair;
  CHECK_FALSE(pair.hear());
  for (const seconds step : {seconds(30), seconds(3600), seconds(-3600), seconds(-30), seconds(315'360'000)}) {
    pair.broker += step;
    CHECK(pair.hear() == step);
    CHECK_FALSE(pair.hear());
    pair.pass(seconds(25));
    CHECK_FALSE(pair.hear());
  }
}

TEST_CASE("broker clock: this device's own calendar does not matter", "[natt][broker_clock]") {
  Pair pair;
  CHECK_FALSE(pair.hear());
  pair.host.wall += hours(24 * 3650);
  CHECK_FALSE(pair.hear());
}

TEST_CASE("broker clock: a new channel begins anew", "[natt][broker_clock]") {
  Pair pair;
  CHECK_FALSE(pair.hear());
  pair.broker += hours(1);
  pair.clock.forget();
  CHECK_FALSE(pair.hear());
}
