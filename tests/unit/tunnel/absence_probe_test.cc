// SPDX-License-Identifier: Apache-2.0
// Clients that a broker says are gone: who is believed to be.
#include <catch2/catch_test_macros.hpp>

#include "src/uv/gateway/absence_probe.h"
#include "unit/tunnel/tunnel_fixture.h"

using namespace std::chrono_literals;
using namespace natt;
using namespace natt::test;
using tunnel::uv::AbsenceProbe;

namespace {

// One client over TLS and the probe of its gateway, which the test's clock drives.
struct Probed {
  TunnelFixture fixture{test_seed(), {}, TunnelFixture::Kind::kTls};
  ClientSide& client = fixture.add_client();
  int moves = 0;  // looks at which its host will have acknowledged something
  AbsenceProbe probe{*fixture.server, [this](tunnel::ConnectionId) { return moves > 0 && moves-- > 0; }};
  Instant asked{};

  explicit Probed(Duration patience = AbsenceProbe::kPatience, bool silent = true) {
    REQUIRE(fixture.connect(client));
    fixture.wire->run_for(1s);
    if (silent) fixture.silence(client);
    asked = fixture.wire->now();
    probe.start(asked, id(), patience);
    fixture.wire->flush();
  }
  [[nodiscard]] tunnel::ConnectionId id() const { return fixture.connected[0].connection; }
  // When the client was given up; absent: it was not, and is not asked any more, or still is after five minutes.
  std::optional<Duration> given_up() {
    for (int second = 0; second < 300 && probe.next_deadline(); ++second) {
      fixture.wire->run_for(1s);
      if (!probe.handle_timeout(fixture.wire->now()).empty()) return fixture.wire->now() - asked;
    }
    return std::nullopt;
  }
};

}  // namespace

TEST_CASE("absence probe: a client that answers keeps its tunnel, and is asked no more", "[tunnel][absence]") {
  Probed probed(AbsenceProbe::kPatience, false);
  CHECK_FALSE(probed.given_up());
  CHECK_FALSE(probed.probe.next_deadline());
}

TEST_CASE("absence probe: silence is given up after ten seconds, after a minute over a relay", "[tunnel][absence]") {
  CHECK(Probed().given_up() == Duration(10s));
  CHECK(Probed(AbsenceProbe::kRelayPatience).given_up() == Duration(60s));
}

TEST_CASE("absence probe: who takes a download slowly lives until he takes no more", "[tunnel][absence]") {
  Probed probed;
  probed.moves = 7;
  CHECK(probed.given_up() == Duration(80s));
}

TEST_CASE("absence probe: what was acknowledged before the question is no sign of life", "[tunnel][absence]") {
  bool before = true;  // what a first look finds
  TunnelFixture fixture(test_seed(), {}, TunnelFixture::Kind::kTls);
  ClientSide& client = fixture.add_client();
  REQUIRE(fixture.connect(client));
  fixture.silence(client);
  AbsenceProbe probe(*fixture.server, [&](tunnel::ConnectionId) { return std::exchange(before, false); });
  const Instant now = fixture.wire->now();
  probe.start(now, fixture.connected[0].connection);
  CHECK(probe.handle_timeout(now + 9s).empty());
  CHECK(probe.handle_timeout(now + 10s).size() == 1);
}
