// SPDX-License-Identifier: Apache-2.0
// Slots passing, the wall clock being set, and what a restart remembers.
#include <natt/spa/verifier.h>

#include <set>

#include <catch2/catch_test_macros.hpp>

#include "libspa/src/slot_history.h"
#include "spa_site.h"

using namespace natt;
using spa::DropReason;
using spa::Slot;
using std::chrono::hours;
using std::chrono::seconds;
using test::OneClientSite;

namespace {

class RecordingJournal final : public spa::ReplayJournal {
 public:
  bool append(const spa::ReplayRecord& record) noexcept override {
    if (failing) return false;
    records.push_back(record);
    return true;
  }
  bool failing = false;
  std::vector<spa::ReplayRecord> records;
};

class HintSet final : public spa::HintListener {
 public:
  using Hint = std::array<std::uint8_t, 8>;
  void on_hint_added(Slot slot, const Hint& hint, std::span<const std::uint8_t, 16>) noexcept override {
    hints.insert({slot.number, hint});
  }
  void on_hint_removed(Slot slot, const Hint& hint) noexcept override { hints.erase({slot.number, hint}); }
  void on_slot_retired(Slot slot) noexcept override {
    std::erase_if(hints, [slot](const auto& entry) { return entry.first == slot.number; });
  }
  std::set<std::pair<std::uint64_t, Hint>> hints;
};

void set_clock(OneClientSite& site, WallTime to) {
  site.wall = to;
  site.run(*site.broker_verifier, seconds(1));
}

}  // namespace

TEST_CASE("spa clock: a day of slots passes without losing a knock", "[spa][clock]") {
  OneClientSite site;
  for (int minute = 0; minute < 24 * 60; ++minute) {
    site.run(*site.broker_verifier, seconds(60));
    CAPTURE(minute);
    REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));
  }
  CHECK(site.broker_verifier->stats().clock_steps_back == 0);
}

TEST_CASE("spa clock: a device off for 400 days knocks on its first try", "[spa][clock]") {
  OneClientSite site;
  REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));
  set_clock(site, site.wall + hours(24 * 400));

  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa clock: replays stay refused when the clock is set back and forth", "[spa][clock]") {
  OneClientSite site;
  std::vector<ByteBuffer> used;
  const WallTime start = site.wall;
  for (int minute = 0; minute < 120; ++minute) {
    used.push_back(site.fresh_knock());
    REQUIRE(site.knock(*site.broker_verifier, used.back()));
    site.run(*site.broker_verifier, seconds(60));
  }
  const auto replay_all = [&site, &used] {
    int granted = 0;
    for (const ByteBuffer& datagram : used) granted += site.knock(*site.broker_verifier, datagram).has_value();
    return granted;
  };

  for (int minute = -2; minute < 125; minute += 3) {
    for (const WallTime to : {start + seconds(60 * minute), start + hours(1000), start - hours(1000)}) {
      set_clock(site, to);
      CAPTURE(minute);
      CHECK(replay_all() == 0);
    }
  }
  CHECK(site.broker_verifier->stats().clock_steps_back > 0);
}

TEST_CASE("spa clock: after a step back a knock newer than the last one passes", "[spa][clock]") {
  OneClientSite site;
  const WallTime before = site.wall;
  site.run(*site.broker_verifier, seconds(300));
  const WallTime last = site.wall;
  REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));
  site.run(*site.broker_verifier, seconds(300));

  set_clock(site, before);
  CHECK_FALSE(site.knock(*site.broker_verifier, site.fresh_knock()));
  CHECK(site.dropped(DropReason::kBeforeFloor) == 1);

  site.run(*site.broker_verifier, last - site.wall + seconds(2));
  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa clock: ten years of error and back do not lock a device out", "[spa][clock]") {
  OneClientSite site;
  const WallTime right = site.wall;
  set_clock(site, right + hours(24 * 3650));
  REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));

  set_clock(site, right + seconds(300));

  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa clock: jitter of a disciplined clock is no step", "[spa][clock]") {
  OneClientSite site;
  for (int i = 0; i < 1000; ++i) {
    site.run(*site.broker_verifier, std::chrono::milliseconds(997));
    site.wall -= std::chrono::milliseconds(i % 3 == 0 ? 400 : 0);
    site.broker_verifier->handle_timeout(site.now, site.wall);
  }

  CHECK(site.broker_verifier->stats().clock_steps_back == 0);
  CHECK(site.knock(*site.broker_verifier, site.fresh_knock()));
}

TEST_CASE("spa clock: a slot is ready before the first device can ask for it", "[spa][clock]") {
  OneClientSite site;
  // 60 s ahead, in every second of three slots.
  for (int second = 0; second < 192; ++second) {
    site.run(*site.broker_verifier, seconds(1));
    CAPTURE(second);
    CHECK(site.knock(*site.broker_verifier,
                     site.alice_knocker->make_udp_knock(site.wall + seconds(60), site.alice_knocker->next_knock_id())));
    CHECK(site.knock(*site.broker_verifier,
                     site.alice_knocker->make_udp_knock(site.wall - seconds(60), site.alice_knocker->next_knock_id())));
  }
}

TEST_CASE("spa clock: a restart with its journal refuses what the former run accepted", "[spa][clock]") {
  OneClientSite site;
  RecordingJournal journal;
  auto options = site.options();
  options.journal = &journal;
  auto former = site.verifier(std::move(options));
  site.enroll(*former);
  std::vector<ByteBuffer> used;
  for (int i = 0; i < 10; ++i) {
    used.push_back(site.fresh_knock());
    REQUIRE(site.knock(*former, used.back()));
  }
  REQUIRE(journal.records.size() == 10);

  auto restarted = std::make_unique<spa::Verifier>(site.options(), site.random);
  for (const auto& record : journal.records) CHECK(restarted->restore(site.wall, record));
  site.enroll(*restarted);
  restarted->handle_timeout(site.now, site.wall);

  for (const ByteBuffer& datagram : used) CHECK_FALSE(site.knock(*restarted, datagram));
  CHECK(restarted->stats().dropped(DropReason::kReplayed) == 10);
  CHECK(site.knock(*restarted, site.fresh_knock()));
  CHECK_FALSE(restarted->restore(site.wall + hours(1), journal.records.front()));
}

TEST_CASE("spa clock: nothing is granted that the journal did not take", "[spa][clock]") {
  OneClientSite site;
  RecordingJournal journal;
  journal.failing = true;
  auto options = site.options();
  options.journal = &journal;
  auto verifier = site.verifier(std::move(options));
  site.enroll(*verifier);

  CHECK_FALSE(site.knock(*verifier, site.fresh_knock()));
  CHECK(verifier->stats().dropped(DropReason::kJournalFailed) == 1);
}

TEST_CASE("spa clock: a hint listener always holds three slots of every key", "[spa][clock]") {
  OneClientSite site;
  HintSet hints;
  auto options = site.options();
  options.hint_listener = &hints;
  auto verifier = site.verifier(std::move(options));
  site.enroll(*verifier);
  CHECK(hints.hints.size() == 3);
  const spa::DeviceKey key{1, site.alice_keys.public_key()};
  REQUIRE(verifier->put_device(test::device_named("bob"), {&key, 1}));
  CHECK(hints.hints.size() == 6);

  site.run(*verifier, seconds(1000));
  CHECK(hints.hints.size() == 6);
  const auto current = spa::SlotKeys::derive(site.pair(site.alice, site.alice_keys), Slot::of(site.wall));
  CHECK(hints.hints.contains({Slot::of(site.wall).number, current.hint}));
  verifier->remove_device(site.alice);
  CHECK(hints.hints.size() == 3);
}

TEST_CASE("spa slot history: what was added is contained and nothing else", "[spa][slot_history]") {
  spa::SlotHistory history;
  CHECK_FALSE(history.contains(Slot{5}));
  for (const unsigned slot : {5u, 6u, 7u, 20u, 3u, 19u, 4u, 5u}) history.add(Slot{slot});

  for (std::uint64_t slot = 0; slot < 30; ++slot) {
    CAPTURE(slot);
    CHECK(history.contains(Slot{slot}) == ((slot >= 3 && slot <= 7) || slot == 19 || slot == 20));
  }
}

TEST_CASE("spa slot history: past its ranges it joins the nearest and forgets nothing", "[spa][slot_history]") {
  spa::SlotHistory history;
  for (std::uint64_t i = 0; i < 40; ++i) history.add(Slot{1000 * i});

  for (std::uint64_t i = 0; i < 40; ++i) CHECK(history.contains(Slot{1000 * i}));
  CHECK_FALSE(history.contains(Slot{40'000}));
}

TEST_CASE("spa clock: nonces are forgotten when their slot is over and not before", "[spa][clock]") {
  OneClientSite site;
  for (int i = 0; i < 10; ++i) REQUIRE(site.knock(*site.broker_verifier, site.fresh_knock()));
  CHECK(site.broker_verifier->stats().nonces == 10);

  // The last frame of the slot may be 60 s old.
  site.run(*site.broker_verifier, seconds(64 + 59));
  CHECK(site.broker_verifier->stats().nonces == 10);
  site.run(*site.broker_verifier, seconds(3));
  CHECK(site.broker_verifier->stats().nonces == 0);
}

TEST_CASE("spa clock: a device that was removed and came back cannot replay after a step back", "[spa][clock]") {
  OneClientSite site;
  const WallTime before = site.wall;
  const ByteBuffer used = site.fresh_knock();
  REQUIRE(site.knock(*site.broker_verifier, used));
  site.broker_verifier->remove_device(site.alice);
  site.run(*site.broker_verifier, seconds(600));
  site.enroll(*site.broker_verifier);

  set_clock(site, before);

  CHECK_FALSE(site.knock(*site.broker_verifier, used));
  CHECK(site.dropped(DropReason::kBeforeFloor) == 1);
}

TEST_CASE("spa clock: what a quarantine refuses stays refused however the clock is set", "[spa][clock]") {
  OneClientSite site;
  const auto restarted_at = [&site] {
    auto options = site.options();
    options.accept_from = site.now + seconds(61);
    auto verifier = site.verifier(std::move(options));
    site.enroll(*verifier);
    return verifier;
  };
  // A host starts with its clock wrong, while captured frames are of the right time.
  for (const std::chrono::seconds wrong : {seconds(-hours(24 * 365 * 10)), seconds(hours(-1)), seconds(-20),
                                           seconds(20), seconds(hours(1)), seconds(hours(24 * 365 * 10))}) {
    CAPTURE(wrong.count());
    const WallTime right = site.wall;
    std::vector<ByteBuffer> captured;
    for (int ahead = -60; ahead <= 60; ++ahead) {
      captured.push_back(
          site.alice_knocker->make_udp_knock(right + seconds(ahead), site.alice_knocker->next_knock_id()));
    }
    site.wall = right + wrong;
    auto verifier = restarted_at();
    site.run(*verifier, seconds(2));
    for (const ByteBuffer& frame : captured) {
      if (std::chrono::abs(wrong) > seconds(120)) CHECK_FALSE(site.knock(*verifier, frame));
    }

    site.wall = right + seconds(2);  // NTP
    for (int second = 0; second < 180; ++second) {
      site.run(*verifier, seconds(1));
      CAPTURE(second);
      for (const ByteBuffer& frame : captured) CHECK_FALSE(site.knock(*verifier, frame));
    }
    CHECK(site.knock(*verifier, site.fresh_knock()));
  }
}

TEST_CASE("spa clock: slots that a former run lost are refused up to its newest time", "[spa][clock]") {
  OneClientSite site;
  const WallTime former = site.wall;
  const ByteBuffer used = site.fresh_knock();
  auto options = site.options();
  options.lost_slots = {{Slot::of(former).plus(0), Slot::of(former).plus(1)}};
  options.newest_of_former = former + seconds(100);
  auto verifier = site.verifier(std::move(options));
  site.enroll(*verifier);

  CHECK_FALSE(site.knock(*verifier, used));
  CHECK_FALSE(site.knock(*verifier, site.fresh_knock()));
  CHECK(verifier->stats().dropped(DropReason::kBeforeFloor) == 2);
  site.run(*verifier, seconds(101));
  CHECK(site.knock(*verifier, site.fresh_knock()));
}

TEST_CASE("spa clock: a restored slot that is not covered counts as lost", "[spa][clock]") {
  OneClientSite site;
  const WallTime former = site.wall;
  const ByteBuffer used = site.fresh_knock();
  spa::ReplayRecord record{Slot::of(former), {}};
  const auto frame = spa::parse_udp_carrier(used);
  std::copy_n(frame->begin(), record.opening.size(), record.opening.begin());
  site.wall += hours(1);
  auto verifier = std::make_unique<spa::Verifier>(site.options(), site.random);
  CHECK_FALSE(verifier->restore(site.wall, record));
  site.enroll(*verifier);
  verifier->handle_timeout(site.now, site.wall);
  CHECK(site.knock(*verifier, site.fresh_knock()));

  set_clock(site, former);
  verifier->handle_timeout(site.now, site.wall);

  CHECK_FALSE(site.knock(*verifier, used));
}
