// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/tunnel/streams.h>

#include "src/http/error_codes.h"
#include "src/http/frame_budget.h"
#include "src/http/receive_window.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::tunnel;

TEST_CASE("receive window: doubles each time a whole one was taken, up to its maximum", "[tunnel][http2]") {
  ReceiveWindow window(1000, 3500);
  CHECK_FALSE(window.handle_taken(999));
  CHECK(window.handle_taken(1) == 2000);
  CHECK_FALSE(window.handle_taken(1999));
  CHECK(window.handle_taken(1) == 3500);
  CHECK_FALSE(window.handle_taken(1'000'000));
  CHECK(window.size() == 3500);
}

TEST_CASE("receive window: stays within what HTTP/2 can say", "[tunnel][http2]") {
  CHECK(ReceiveWindow(std::uint64_t{1} << 40, std::uint64_t{1} << 41).size() == 0x7fffffff);
  ReceiveWindow window(0x60000000, std::uint64_t{1} << 40);
  CHECK(window.handle_taken(0x60000000) == 0x7fffffff);
  CHECK(ReceiveWindow(5000, 100).size() == 5000);  // a maximum below the start changes nothing
}

TEST_CASE("frame budget: a rate for frames that carry nothing, and data pays for its own", "[tunnel][http2]") {
  FrameBudget budget;
  const Instant start{1s};
  int taken = 0;
  while (budget.take(start)) ++taken;
  CHECK(taken == 1000);
  budget.handle_progress();
  for (int i = 0; i < 4; ++i) CHECK(budget.take(start));
  CHECK_FALSE(budget.take(start));
  for (int i = 0; i < 100; ++i) CHECK(budget.take(start + 1s));
  CHECK_FALSE(budget.take(start + 1s));

  for (int i = 0; i < 1'000'000; ++i) budget.handle_progress();
  taken = 0;
  while (budget.take(start + 1s)) ++taken;
  CHECK(taken == 4096);  // what data has paid is not saved for ever
}

TEST_CASE("error codes: HTTP/3's become HTTP/2's and back, the rest an internal error", "[tunnel][http2]") {
  const auto [http3, http2] = GENERATE(table<std::uint64_t, std::uint32_t>({
      {kHttpNoError, 0},        // NO_ERROR
      {kHttpProtocolError, 1},  // PROTOCOL_ERROR
      {kHttpInternalError, 2},  // INTERNAL_ERROR
      {kHttpRequestRejected, 7},
      {kRequestCancelled, 8},
      {kConnectError, 10},
      {kHttpExcessiveLoad, 11},
  }));
  CHECK(to_http2_code(http3) == http2);
  CHECK(from_http2_code(http2) == http3);
  CHECK(to_http2_code(kHttpMessageError) == 1);
  CHECK(to_http2_code(0x7777) == 2);
  CHECK(from_http2_code(13) == kHttpInternalError);
}
