// SPDX-License-Identifier: Apache-2.0
// A site that grows while its broker serves: the replay journal gets its larger file in the
// thread pool, on a disk with room and on one without.
#include <natt/uv/replay_guard.h>

#include <unistd.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/uv/timer.h>

#include "small_disk.h"
#include "support/seeded_random.h"
#include "uv_loop.h"

using namespace natt;
using std::chrono::milliseconds;

namespace {

const Identity kBroker{"hq", Role::kBroker, "b1"};

Roster roster_of(std::size_t clients) {
  Roster roster;
  roster.devices.push_back({.identity = kBroker});
  for (std::size_t i = 0; i < clients; ++i) {
    roster.devices.push_back({.identity = {"hq", Role::kClient, "c" + std::to_string(i)}});
  }
  return roster;
}

struct GuardedSite {
  std::filesystem::path disk = test::small_disk();
  test::UvLoop loop;
  test::SeededRandom random{test::test_seed()};
  std::vector<std::string> lines;
  std::unique_ptr<uv::ReplayGuard> guard;
  std::optional<spa::VerifierOptions> briefed;
  double longest_ms = 0;

  explicit GuardedSite(bool with_room = true) {
    test::clear_disk();
    if (!with_room) test::fill_disk(15);
    open();
  }
  ~GuardedSite() { guard.reset(); }
  void open() {
    guard.reset();
    guard = std::move(*uv::ReplayGuard::open({.journal = disk / "replay-hq.journal",
                                              .identity = kBroker,
                                              .keys_made = std::nullopt,
                                              .log = {log, this},
                                              .loop = &loop.get(),
                                              .retry = milliseconds(100)},
                                             roster_of(3), random));
    briefed.emplace();
    guard->brief(*briefed, uv::now());
  }
  static void log(void* context, LogLevel, std::string_view line) {
    static_cast<GuardedSite*>(context)->lines.emplace_back(line);
  }
  [[nodiscard]] std::size_t count(std::string_view event) const {
    return static_cast<std::size_t>(std::count_if(
        lines.begin(), lines.end(), [event](const std::string& line) { return line.starts_with(event); }));
  }
  // As a broker does it.
  bool serve_until(const std::function<bool()>& done, std::uint64_t limit = 5000) {
    const Instant end = uv::now() + milliseconds(limit);
    while (!done() && uv::now() < end) {
      loop.run_turns(1);
      guard->handle_timeout(uv::now());
      if (!guard->has_work()) ::usleep(1000);
    }
    return done();
  }
  [[nodiscard]] spa::ReplayStatus status() const { return guard->status().value(); }
  // As a program that has just started does it.
  void restore() {
    briefed->identity = kBroker;
    briefed->keys.push_back(spa::KeyPair::generate(random));
    briefed->psk = spa::SitePsk{random.bytes<32>()};
    briefed->mask = spa::MaskKey{random.bytes<16>()};
    spa::Verifier verifier(std::move(*briefed), random);
    verifier.handle_timeout(uv::now(), uv::wall_now());
    guard->restore(verifier, uv::wall_now());
  }
  // One more; the journal is what the verifier was told to ask.
  bool accept() {
    spa::ReplayRecord record{spa::Slot::of(uv::wall_now()), {}};
    random.fill(record.opening);
    return briefed->journal->append(record);
  }
};

constexpr std::size_t kLeast = 49'152;

}  // namespace

TEST_CASE("replay room: a journal grows in the background while it takes records", "[uv][replay_room]") {
  GuardedSite site;
  REQUIRE(site.status().records_per_slot == kLeast);
  for (int i = 0; i < 40'000; ++i) REQUIRE(site.accept());
  site.guard->make_room(roster_of(20'000));
  int taken = 40'000;
  CHECK(site.serve_until([&] {
    taken += site.accept() ? 1 : 0;
    return site.count("natt.spa.journal_grown") == 1;
  }));
  CHECK(site.status().records_per_slot == 186'144);
  CHECK(site.status().no_room.empty());
  CHECK(site.status().refused == 0);
  // The old file goes in the background, too.
  REQUIRE(site.serve_until([&] { return std::filesystem::space(site.disk).free > 4'000'000; }));
  site.open();
  CHECK(site.status().state == spa::ReplayState::kComplete);
  site.restore();
  CHECK(site.status().restored == static_cast<std::size_t>(taken));
}

TEST_CASE("replay room: a full disk refuses knocks beyond the old room, says so once, and is tried again",
          "[uv][replay_room]") {
  GuardedSite site;
  test::fill_disk(10);
  site.guard->make_room(roster_of(20'000));
  REQUIRE(site.serve_until([&] { return !site.status().no_room.empty(); }));
  CHECK(site.status().no_room.find("no room for it") != std::string::npos);
  // Several tries later.
  CHECK_FALSE(site.serve_until([&] { return site.count("natt.spa.journal_grown") != 0; }, 500));
  CHECK(site.count("natt.spa.journal_small") == 1);
  while (site.status().refused == 0) static_cast<void>(site.accept());
  CHECK(site.status().appended == kLeast);
  CHECK_FALSE(site.accept());

  test::empty_disk();
  CHECK(site.serve_until([&] { return site.status().no_room.empty(); }));
  CHECK(site.count("natt.spa.journal_grown") == 1);
  CHECK(site.accept());
}

TEST_CASE("replay room: a broker that started on a full disk journals as soon as there is space", "[uv][replay_room]") {
  GuardedSite site(false);
  REQUIRE(site.status().state == spa::ReplayState::kUnavailable);
  CHECK(site.accept());
  CHECK(site.status().appended == 0);
  test::empty_disk();
  CHECK(site.serve_until([&] { return site.status().state != spa::ReplayState::kUnavailable; }));
  CHECK(site.accept());
  CHECK(site.status().appended == 1);
  site.open();
  CHECK(site.status().state == spa::ReplayState::kComplete);
  // What was accepted before it stands nowhere: nothing of then is taken again.
  CHECK(site.status().accept_from > uv::now() + std::chrono::seconds(50));
}

TEST_CASE("replay room: a guard that goes while its file is being made waits for it", "[uv][replay_room]") {
  GuardedSite site;
  site.guard->make_room(roster_of(20'000));
  site.guard.reset();
  site.loop.run_turns();
  CHECK(std::filesystem::file_size(site.disk / "replay-hq.journal") < 3'000'000);
}
