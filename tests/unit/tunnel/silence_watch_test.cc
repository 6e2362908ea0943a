// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include "src/uv/client/silence_watch.h"

using namespace natt;
using namespace natt::tunnel;
using namespace natt::tunnel::uv;
using namespace std::chrono_literals;

namespace {

constexpr Instant kStart{1000s};

ConnectionStats stats(std::uint64_t in, std::uint64_t out) { return {.packets_in = in, .packets_out = out}; }

}  // namespace

TEST_CASE("silence watch: a tunnel that says nothing need not be answered", "[tunnel][silence]") {
  SilenceWatch watch;
  CHECK_FALSE(watch.is_dead(kStart, stats(5, 5)));
  CHECK_FALSE(watch.is_dead(kStart + 1h, stats(5, 5)));
  CHECK_FALSE(watch.next_deadline());
}

TEST_CASE("silence watch: thirty seconds after the first packet without an answer it is dead", "[tunnel][silence]") {
  SilenceWatch watch;
  static_cast<void>(watch.is_dead(kStart, stats(5, 5)));
  CHECK_FALSE(watch.is_dead(kStart + 1s, stats(5, 6)));
  CHECK(watch.next_deadline() == kStart + 31s);
  CHECK_FALSE(watch.is_dead(kStart + 20s, stats(5, 9)));
  CHECK(watch.next_deadline() == kStart + 31s);
  CHECK_FALSE(watch.is_dead(kStart + 31s - 1ms, stats(5, 9)));
  CHECK(watch.is_dead(kStart + 31s, stats(5, 9)));
}

TEST_CASE("silence watch: any packet that comes is an answer", "[tunnel][silence]") {
  SilenceWatch watch;
  static_cast<void>(watch.is_dead(kStart, stats(5, 5)));
  static_cast<void>(watch.is_dead(kStart + 1s, stats(5, 6)));
  CHECK_FALSE(watch.is_dead(kStart + 29s, stats(6, 9)));
  CHECK_FALSE(watch.next_deadline());
  CHECK_FALSE(watch.is_dead(kStart + 1min, stats(6, 9)));
  CHECK_FALSE(watch.is_dead(kStart + 1min, stats(6, 10)));
  CHECK(watch.next_deadline() == kStart + 1min + 30s);
}

TEST_CASE("silence watch: an excuse starts the time anew", "[tunnel][silence]") {
  SilenceWatch watch;
  static_cast<void>(watch.is_dead(kStart, stats(5, 6)));
  static_cast<void>(watch.is_dead(kStart, stats(5, 7)));
  REQUIRE(watch.is_dead(kStart + 30s, stats(5, 8)));

  watch.excuse(kStart + 30s);

  CHECK_FALSE(watch.is_dead(kStart + 59s, stats(5, 9)));
  CHECK(watch.next_deadline() == kStart + 60s);
  CHECK(watch.is_dead(kStart + 60s, stats(5, 9)));
}
