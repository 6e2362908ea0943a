// SPDX-License-Identifier: Apache-2.0
#include <natt/token_bucket.h>

#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace std::chrono_literals;

namespace {

constexpr Instant kStart{5s};

}  // namespace

TEST_CASE("token bucket: without a rate it refuses nothing", "[natt][relay]") {
  TokenBucket bucket;
  CHECK(bucket.unlimited());
  CHECK(bucket.take(kStart, ~std::uint64_t{0}));
}

TEST_CASE("token bucket: starts full and refills at its rate up to its burst", "[natt][relay]") {
  TokenBucket bucket(100, 50);
  CHECK(bucket.take(kStart, 50));
  CHECK_FALSE(bucket.take(kStart, 1));
  CHECK_FALSE(bucket.take(kStart + 9ms, 1));
  CHECK(bucket.take(kStart + 10ms, 1));
  CHECK_FALSE(bucket.take(kStart + 10ms, 1));
  CHECK(bucket.take(kStart + 1h, 50));
  CHECK_FALSE(bucket.take(kStart + 1h, 1));
}

TEST_CASE("token bucket: asking often does not lose fractions", "[natt][relay]") {
  TokenBucket bucket(3, 3);
  REQUIRE(bucket.take(kStart, 3));
  int granted = 0;
  for (int i = 1; i <= 10'000; ++i) granted += bucket.take(kStart + i * 1ms, 1) ? 1 : 0;
  CHECK(granted == 30);
}

TEST_CASE("token bucket: an amount above the burst is refused and costs nothing", "[natt][relay]") {
  TokenBucket bucket(10, 10);
  CHECK_FALSE(bucket.take(kStart, 11));
  CHECK(bucket.take(kStart, 10));
}

TEST_CASE("token bucket: time that goes back earns nothing", "[natt][relay]") {
  TokenBucket bucket(1000, 10);
  REQUIRE(bucket.take(kStart, 10));
  CHECK_FALSE(bucket.take(kStart - 5s, 1));
  CHECK(bucket.take(kStart + 1ms, 1));
}

TEST_CASE("token bucket: what is given back can be taken again, up to the burst", "[natt][relay]") {
  TokenBucket bucket(10, 10);
  REQUIRE(bucket.take(kStart, 10));
  bucket.give_back(4);
  CHECK_FALSE(bucket.take(kStart, 5));
  CHECK(bucket.take(kStart, 4));
  bucket.give_back(100);
  CHECK_FALSE(bucket.take(kStart, 11));
}

TEST_CASE("token bucket: rates of terabits do not overflow", "[natt][relay]") {
  const std::uint64_t rate = 40'000'000'000'000;
  TokenBucket bucket(rate, rate);
  REQUIRE(bucket.take(kStart, rate));
  CHECK_FALSE(bucket.take(kStart + 1ms, rate / 999));
  CHECK(bucket.take(kStart + 2ms, rate / 1000));
  CHECK(bucket.take(kStart + 100h, rate));
}

TEST_CASE("token bucket: asking every nanosecond does not starve a fast rate", "[natt][relay]") {
  TokenBucket bucket(40'000'000'000, 1000);
  REQUIRE(bucket.take(kStart, 1000));
  std::uint64_t granted = 0;
  for (int i = 1; i <= 1000; ++i) granted += bucket.take(kStart + i * 1ns, 40) ? 40U : 0U;
  CHECK(granted == 40'000);
}
