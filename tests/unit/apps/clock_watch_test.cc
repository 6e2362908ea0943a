// SPDX-License-Identifier: Apache-2.0
#include "apps/program/clock_watch.h"

#include <catch2/catch_test_macros.hpp>

using namespace natt;
using program::ClockWatch;
using std::chrono::hours;
using std::chrono::seconds;

namespace {

struct Host {
  spa::HostTime time{WallTime(hours(24 * 20'000)), hours(5)};
  ClockWatch watch{time};
  void pass(seconds by) {
    time.wall += by;
    time.boot += by;
  }
  [[nodiscard]] std::string says() { return watch.complaint(time).value_or(""); }
};

}  // namespace

TEST_CASE("clock watch: a clock that runs on is no news", "[apps][clock_watch]") {
  Host host;
  CHECK(host.says().empty());
  host.pass(hours(24 * 400));
  CHECK(host.says().empty());
  host.time.wall += seconds(29);
  CHECK(host.says().empty());
}

TEST_CASE("clock watch: a clock that was set is said for an hour, with direction and size", "[apps][clock_watch]") {
  Host host;
  SECTION("ahead") {
    host.time.wall += seconds(3600);
    CHECK(host.says().find("was set 3600 s ahead") != std::string::npos);
  }
  SECTION("back") {
    host.time.wall -= seconds(3600);
    CHECK(host.says().find("was set 3600 s back") != std::string::npos);
  }
  SECTION("a little over half of what a knock may be off") {
    host.time.wall += seconds(30);
    CHECK(host.says().find("30 s ahead") != std::string::npos);
  }
  host.pass(hours(1));
  CHECK_FALSE(host.says().empty());
  host.pass(seconds(1));
  CHECK(host.says().empty());
  // The new time is the usual one from then on.
  CHECK(host.says().empty());
  host.time.wall += seconds(60);
  CHECK(host.says().find("60 s ahead") != std::string::npos);
}

TEST_CASE("clock watch: a step that is undone is forgotten at once", "[apps][clock_watch]") {
  Host host;
  host.time.wall += hours(1);
  CHECK_FALSE(host.says().empty());
  host.time.wall -= hours(1);
  CHECK(host.says().empty());
}

TEST_CASE("clock watch: a further step begins a new hour and says the sum", "[apps][clock_watch]") {
  Host host;
  host.time.wall += seconds(100);
  CHECK_FALSE(host.says().empty());
  host.pass(seconds(3000));
  host.time.wall += seconds(100);
  CHECK(host.says().find("200 s ahead") != std::string::npos);
  host.pass(seconds(3000));
  CHECK_FALSE(host.says().empty());
}
