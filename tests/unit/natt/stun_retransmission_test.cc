// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include <vector>

#include <natt/stun_retransmission.h>

namespace natt::test {

using std::chrono::milliseconds;
using Verdict = StunRetransmission::Verdict;

TEST_CASE("stun: requests leave at 0, 500, 1500 ... 31500 ms and fail at 39500 ms", "[natt][stun]") {
  // "assuming an RTO of 500 ms, requests would be sent at times 0 ms, 500 ms, 1500 ms, 3500 ms, 7500 ms, 15500 ms, and
  // 31500 ms. If the client has not received a response after 39500 ms" (RFC 8489 section 6.2.1)
  StunRetransmission retransmission{StunRetransmissionOptions{}};
  std::vector<milliseconds> sent = {milliseconds(0)};
  retransmission.start(Instant{});

  Verdict verdict = Verdict::kSendAgain;
  Instant now{};
  while (verdict == Verdict::kSendAgain) {
    now = *retransmission.deadline();
    verdict = retransmission.handle_timeout(now);
    if (verdict == Verdict::kSendAgain) sent.push_back(std::chrono::duration_cast<milliseconds>(now - Instant{}));
  }

  using namespace std::chrono_literals;
  CHECK(sent == std::vector<milliseconds>{0ms, 500ms, 1500ms, 3500ms, 7500ms, 15500ms, 31500ms});
  CHECK(verdict == Verdict::kFailed);
  CHECK(now - Instant{} == 39500ms);
  CHECK_FALSE(retransmission.running());
}

TEST_CASE("stun: an early or stopped timer sends nothing", "[natt][stun]") {
  StunRetransmission retransmission{StunRetransmissionOptions{}};
  CHECK(retransmission.handle_timeout(Instant{} + std::chrono::hours(1)) == Verdict::kWait);

  retransmission.start(Instant{});
  CHECK(retransmission.handle_timeout(Instant{} + milliseconds(499)) == Verdict::kWait);
  retransmission.stop();
  CHECK(retransmission.handle_timeout(Instant{} + milliseconds(500)) == Verdict::kWait);
  CHECK_FALSE(retransmission.deadline());
}

TEST_CASE("stun: a single transmission waits Rm times RTO", "[natt][stun]") {
  StunRetransmission retransmission{StunRetransmissionOptions{.rto = milliseconds(100), .rc = 1, .rm = 3}};
  retransmission.start(Instant{});

  CHECK(retransmission.deadline() == Instant{} + milliseconds(300));
  CHECK(retransmission.handle_timeout(Instant{} + milliseconds(300)) == Verdict::kFailed);
}

}  // namespace natt::test
