// SPDX-License-Identifier: Apache-2.0
// Replays of frames that were accepted: from elsewhere, to another port, carrier or
// verifier, after restarts of every kind, with the clock set about by an hour. None is
// ever accepted. A million of them; $NATT_REPLAYS for more.
#include <natt/spa/mapped_journal.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <set>

#include <catch2/catch_test_macros.hpp>

#include "journal_folder.h"
#include "spa_site.h"

using namespace natt;
using spa::Transport;
using std::chrono::seconds;

namespace {

std::uint64_t replays_wanted() {
  // With fewer not every kind of restart is met.
  constexpr std::uint64_t kLeast = 1'000'000;
  const char* wanted = std::getenv("NATT_REPLAYS");
  return wanted != nullptr ? std::max<std::uint64_t>(kLeast, std::strtoull(wanted, nullptr, 10)) : kLeast;
}

// How a frame was sent.
struct Sent {
  spa::Frame frame{};
  Transport transport = Transport::kUdp;
  spa::KnockContext context;
};

// Two verifiers with journals on one host whose clock is set about, and eight devices.
struct HostileSite : test::SpaSite {
  static constexpr std::size_t kDevices = 8;
  struct Side {
    test::JournalFolder folder;
    Identity identity;
    spa::KeyPair keys;
    std::unique_ptr<spa::MappedJournal> journal;
    std::unique_ptr<spa::Verifier> verifier;
  };
  test::HostClockDouble host;
  std::array<Side, 2> sides;
  std::vector<spa::KeyPair> device_keys;
  std::vector<spa::PairKey> pairs;  // with side 0
  std::vector<Sent> accepted;
  std::set<spa::Frame> known;
  std::uint64_t replays = 0;
  std::uint16_t knock_id = 0;
  std::array<std::uint64_t, 6> starts{};  // by ReplayState
  bool journals_may_vanish = false;

  HostileSite()
      : host(test::JournalFolder{}.clock.time.wall),
        sides{Side{{}, test::device_named("b1", Role::kBroker), spa::KeyPair::generate(random), nullptr, nullptr},
              Side{{}, test::device_named("b2", Role::kBroker), spa::KeyPair::generate(random), nullptr, nullptr}} {
    for (std::size_t i = 0; i < kDevices; ++i) {
      device_keys.push_back(spa::KeyPair::generate(random));
      pairs.push_back(*spa::PairKey::derive(device_keys[i], sides[0].keys.public_key(), spa::DeviceId::of(device(i)),
                                            spa::DeviceId::of(sides[0].identity), psk));
    }
    for (Side& side : sides) start(side);
  }

  [[nodiscard]] Identity device(std::size_t i) const {
    return test::device_named("d" + std::to_string(i), i == 0 ? Role::kGateway : Role::kClient);
  }

  void tick() {
    wall = host.time.wall;
    for (Side& side : sides) {
      side.folder.clock.time = host.time;
      side.verifier->handle_timeout(now, wall);
      side.journal->handle_timeout();
    }
  }
  void pass(Duration by) {
    now += by;
    host.pass(by);
    tick();
  }
  void set_clock(seconds by) {
    host.set(host.time.wall + by);
    tick();
  }

  void start(Side& side) {
    side.verifier.reset();
    side.journal.reset();
    wall = host.time.wall;
    side.folder.clock.time = host.time;
    side.folder.verifier = spa::DeviceId::of(side.identity);
    side.folder.records_per_slot = 8192;
    side.journal = side.folder.open();
    ++starts[static_cast<std::size_t>(side.journal->status().state)];
    spa::VerifierOptions options{.identity = side.identity, .psk = psk, .mask = mask,
                                 .client_budget = {.per_second = 1000, .burst = 1000}};
    options.keys.push_back(spa::KeyPair::from_secret(side.keys.secret()));
    side.journal->brief(options, now);
    side.verifier = std::make_unique<spa::Verifier>(std::move(options), random);
    for (std::size_t i = 0; i < kDevices; ++i) {
      const spa::DeviceKey key{1, device_keys[i].public_key()};
      REQUIRE(side.verifier->put_device(device(i), {&key, 1}));
    }
    side.journal->restore(*side.verifier, wall);
    side.verifier->handle_timeout(now, wall);
  }

  void restart(Side& side) {
    side.verifier.reset();
    const std::uint64_t how = random.uniform(journals_may_vanish ? 5 : 3);
    if (how == 0) host.pass(seconds(31 + random.uniform(200)));
    side.journal.reset();
    if (how == 3) std::filesystem::remove(side.folder.path());
    if (how == 4) std::filesystem::resize_file(side.folder.path(), random.uniform(8192));
    start(side);
    tick();
  }

  // A fresh frame by any carrier, at about the right time; what is accepted may never be again.
  void knock() {
    const WallTime stamp = wall + std::chrono::milliseconds(random.uniform(120'001)) - seconds(60);
    Sent sent{.transport = static_cast<Transport>(1 + random.uniform(4)), .context = {.port = kPort, .source = source}};
    if (sent.transport == Transport::kTcp || sent.transport == Transport::kQuicToken) {
      sent.context.binding.bytes = random.bytes<32>();
    }
    const bool quic = sent.transport == Transport::kQuicToken;
    const spa::FrameContext context{sent.transport, spa::DeviceId::of(sides[0].identity),
                                    quic ? std::uint16_t{0} : kPort, sent.context.binding};
    const spa::FrameBody body{.key_generation = 1, .timestamp = stamp, .knock_id = ++knock_id};
    const auto keys = spa::SlotKeys::derive(pairs[random.uniform(kDevices)], spa::Slot::of(stamp));
    sent.frame = spa::seal_frame(keys, mask, context, body, random.bytes<spa::kNonceSize>());
    if (verify(sides[0], sent)) {
      accepted.push_back(sent);
      if (!known.insert(sent.frame).second) FAIL("a frame was made twice");
    }
  }

  [[nodiscard]] bool verify(Side& side, const Sent& sent) {
    return side.verifier->verify(now, wall, sent.transport, sent.frame, sent.context).has_value();
  }

  void replay() {
    if (accepted.empty()) return;
    // Of the last minutes mostly, and sometimes of any time.
    const std::size_t reach = random.uniform(10) == 0 ? accepted.size() : std::min<std::size_t>(accepted.size(), 500);
    Sent sent = accepted[accepted.size() - 1 - random.uniform(reach)];
    Side* side = &sides[0];
    switch (random.uniform(6)) {
      case 0: sent.context.source = IpAddress::v4({198, 51, 100, static_cast<std::uint8_t>(random.uniform(250))}); break;
      case 1: sent.context.port = static_cast<std::uint16_t>(random.uniform(65536)); break;
      case 2: sent.transport = static_cast<Transport>(1 + random.uniform(4)); break;
      case 3: side = &sides[1]; break;
      case 4: sent.context.binding.bytes = random.bytes<32>(); break;
      default: break;
    }
    ++replays;
    if (verify(*side, sent)) FAIL("replay " << replays << " was accepted");
  }
};

void report(const HostileSite& site) {
  const auto& starts = site.starts;
  std::cout << "replays=" << site.replays << " accepted=0 of " << site.accepted.size() << " frames; starts: complete="
            << starts[0] << " missing=" << starts[2] << " stale=" << starts[3] << " corrupt=" << starts[4] << '\n';
}

}  // namespace

TEST_CASE("spa replay: none is accepted over restarts and clocks set by an hour", "[spa][replay]") {
  HostileSite site;
  for (int i = 0; i < 70; ++i) site.pass(seconds(1));
  const std::uint64_t wanted = replays_wanted() / 2;
  while (site.replays < wanted) {
    for (int i = 0; i < 20; ++i) site.knock();
    for (int i = 0; i < 500; ++i) site.replay();
    site.pass(std::chrono::milliseconds(site.random.uniform(3000)));
    if (site.random.uniform(4) == 0) site.restart(site.sides[site.random.uniform(2)]);
    if (site.random.uniform(6) == 0) site.set_clock(seconds(site.random.uniform(7201)) - seconds(3600));
  }
  // How many are accepted hangs on the seed (clocks set back, journals not believed): 2,200 to 5,100 of these in a dozen.
  CHECK(site.accepted.size() > wanted / 1000);
  CHECK(site.starts[static_cast<std::size_t>(spa::ReplayState::kComplete)] > 2);
  CHECK(site.starts[static_cast<std::size_t>(spa::ReplayState::kStale)] > 2);
  report(site);
}

TEST_CASE("spa replay: none is accepted when journals vanish or are damaged", "[spa][replay]") {
  HostileSite site;
  site.journals_may_vanish = true;
  for (int i = 0; i < 70; ++i) site.pass(seconds(1));
  const std::uint64_t wanted = replays_wanted() / 2;
  while (site.replays < wanted) {
    for (int i = 0; i < 20; ++i) site.knock();
    for (int i = 0; i < 500; ++i) site.replay();
    site.pass(std::chrono::milliseconds(site.random.uniform(20'000)));
    if (site.random.uniform(10) == 0) site.restart(site.sides[site.random.uniform(2)]);
    // Forward only: without a journal nothing says that an hour was served before.
    if (site.random.uniform(10) == 0) site.set_clock(seconds(site.random.uniform(3600)));
  }
  CHECK(site.accepted.size() > wanted / 200);
  CHECK(site.starts[static_cast<std::size_t>(spa::ReplayState::kMissing)] > 2);
  CHECK(site.starts[static_cast<std::size_t>(spa::ReplayState::kCorrupt)] > 1);
  report(site);
}
