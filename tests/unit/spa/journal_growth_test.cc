// SPDX-License-Identifier: Apache-2.0
// A journal that becomes too small while it is in use.
#include <natt/spa/mapped_journal.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>

#include "journaled_site.h"

using namespace natt;
using spa::JournalRoom;
using spa::MovePiece;
using spa::ReplayState;
using std::chrono::minutes;
using std::chrono::seconds;
using test::JournaledSite;
using test::JournalFolder;

namespace {

constexpr std::size_t kSmall = 20'000;

struct GrowingSite : JournaledSite {
  std::vector<ByteBuffer> used;

  GrowingSite() {
    folder.records_per_slot = kSmall;
    start_settled();
  }
  void accept(int count) {
    for (int i = 0; i < count; ++i) {
      if (i % 8 == 0) pass(seconds(1));
      used.push_back(fresh_knock());
      REQUIRE(try_knock(used.back()));
    }
  }
  // Straight into the journal: many more than one client may knock.
  void fill(std::size_t count) {
    spa::ReplayRecord record{spa::Slot::of(wall), {}};
    for (std::size_t i = 0; i < count; ++i) {
      random.fill(record.opening);
      REQUIRE(journal->append(record));
      filled.push_back(record);
    }
  }
  [[nodiscard]] std::unique_ptr<JournalRoom> room() {
    return std::move(JournalRoom::make(folder.path(), journal->wanted_room(kSmall + 1).value()).value());
  }
  int move() {
    int pieces = 1;
    for (; journal->move_piece() == MovePiece::kMore; ++pieces) accept(1);
    return pieces;
  }
  // What the file holds is what a run that was killed here has left.
  void check_restart() {
    const std::size_t expected = used.size() + filled.size();
    REQUIRE(start() == ReplayState::kComplete);
    CHECK(journal->status().restored == expected);
    for (const ByteBuffer& frame : used) CHECK_FALSE(try_knock(frame));
  }
  std::vector<spa::ReplayRecord> filled;
};

// The file may not grow beyond what a limit says.
ReplayState start_without_space(JournaledSite& site) {
  site.stop();
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const struct rlimit none { 1024, before.rlim_max };
  std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);
  const ReplayState state = site.start();
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  return state;
}

}  // namespace

TEST_CASE("spa journal growth: a run that is killed anywhere in a move has lost nothing", "[spa][journal_growth]") {
  GrowingSite site;
  site.accept(5);
  site.fill(15'000);
  site.journal->begin_move(site.room());
  SECTION("before it began to move") {}
  SECTION("on the way") {
    CHECK(site.journal->move_piece() == MovePiece::kMore);
    site.accept(3);
  }
  SECTION("level") {
    CHECK(site.move() >= 4);
    site.accept(3);
  }
  SECTION("published") {
    site.move();
    site.accept(3);
    REQUIRE(site.journal->room().publish());
    site.accept(3);
  }
  SECTION("ended") {
    site.move();
    const auto published = site.journal->room().publish();
    site.accept(3);
    CHECK(site.journal->end_move(published) != nullptr);
    CHECK(site.journal->status().records_per_slot == 30'000);
    site.accept(3);
  }
  site.check_restart();
}

TEST_CASE("spa journal growth: slots that pass during a move are known afterwards", "[spa][journal_growth]") {
  GrowingSite site;
  site.fill(9'000);
  site.journal->begin_move(site.room());
  REQUIRE(site.journal->move_piece() == MovePiece::kMore);
  // The slot that is being moved, two later ones, and one that takes the segment of the first.
  for (int slot = 0; slot < 3; ++slot) {
    for (int i = 0; i < 64; ++i) site.pass(seconds(1));
    site.fill(9'000);
    static_cast<void>(site.journal->move_piece());
  }
  site.filled.erase(site.filled.begin(), site.filled.begin() + 9'000);
  site.move();
  static_cast<void>(site.journal->end_move(site.journal->room().publish()));
  REQUIRE(site.start() == ReplayState::kComplete);
  // The verifier covers a minute back: the last slot that was filled, and late in it no other.
  const bool one_slot = spa::Slot::of(site.wall - seconds(60)) == spa::Slot::of(site.wall);
  CHECK(site.journal->status().restored >= (one_slot ? 9'000 : 18'000));
}

TEST_CASE("spa journal growth: a file that was not published leaves the old one in use", "[spa][journal_growth]") {
  GrowingSite site;
  site.fill(100);
  site.journal->begin_move(site.room());
  site.move();
  CHECK(site.journal->end_move(fail(spa::Errc::kUnavailable, "the disk is full")) != nullptr);
  CHECK(site.journal->status().no_room == "the disk is full");
  CHECK(site.journal->status().records_per_slot == kSmall);
  site.accept(3);
  REQUIRE(site.journal->reserve(kSmall + 1));
  CHECK(site.journal->status().no_room.empty());
  site.check_restart();
}

TEST_CASE("spa journal growth: a file that somebody wrote to is not believed, and the old one stays in use",
          "[spa][journal_growth]") {
  GrowingSite site;
  site.fill(100);
  const int fd = ::open(site.folder.path().c_str(), O_WRONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  const std::uint8_t flipped = static_cast<std::uint8_t>(site.filled[40].opening[3] ^ 1);
  // The records of whichever segment the slot is in.
  const std::size_t segment = spa::Slot::of(site.wall).number % 3;
  const std::size_t at = 4096 + (segment * kSmall + 40) * 20 + 3;
  REQUIRE(::pwrite(fd, &flipped, 1, static_cast<off_t>(at)) == 1);
  ::close(fd);
  const auto grown = site.journal->reserve(kSmall + 1);
  REQUIRE_FALSE(grown);
  CHECK(site.journal->status().no_room == site.folder.path().string() + ": its records are damaged");
  CHECK_FALSE(site.journal->is_moving());
  site.accept(3);
}

TEST_CASE("spa journal growth: it wants half as much again, before it is full, and no more than a file can hold",
          "[spa][journal_growth]") {
  JournalFolder folder;
  folder.records_per_slot = 80'000;
  const auto journal = folder.open();
  CHECK_FALSE(journal->wanted_room(0));
  // It is as large as it was asked for.
  CHECK_FALSE(journal->wanted_room(80'000));
  CHECK(journal->wanted_room(80'001) == 120'000);
  CHECK(journal->wanted_room(200'000) == 300'000);
  CHECK(journal->wanted_room(~std::size_t{0} / 8) == (1u << 24) - 1);
  REQUIRE(journal->reserve(80'001));
  CHECK_FALSE(journal->wanted_room(105'000));
  CHECK(journal->wanted_room(105'001) == 180'000);
}

TEST_CASE("spa journal growth: a run that began without a file gets one, and the next refuses what it does not hold",
          "[spa][journal_growth]") {
  JournaledSite site;
  site.start_settled();
  REQUIRE(start_without_space(site) == ReplayState::kUnavailable);
  const ByteBuffer early = site.fresh_knock();
  CHECK(site.try_knock(early));
  CHECK_FALSE(site.try_knock(early));

  site.pass(seconds(1));
  REQUIRE(site.journal->reserve(256));
  CHECK(site.journal->status().state == ReplayState::kMissing);
  const ByteBuffer late = site.fresh_knock();
  CHECK(site.try_knock(late));
  site.pass(seconds(2));

  REQUIRE(site.start() == ReplayState::kComplete);
  CHECK(site.journal->status().accept_from == site.now + seconds(59));
  CHECK_FALSE(site.try_knock(early));
  CHECK_FALSE(site.try_knock(late));
  // The slots of then count as lost, too: up to the newest frame that there can be of them.
  site.pass(seconds(59 + 3));
  CHECK(site.try_knock(site.fresh_knock()));
}

TEST_CASE("spa journal growth: while the first file is on its way, what it does not hold is refused",
          "[spa][journal_growth]") {
  JournaledSite site;
  REQUIRE(start_without_space(site) == ReplayState::kUnavailable);
  spa::ReplayRecord record{spa::Slot::of(site.wall), {}};
  const auto append = [&] {
    site.random.fill(record.opening);
    return site.journal->append(record);
  };
  // Nothing vouches for these.
  for (int i = 0; i < 5; ++i) CHECK(append());
  CHECK(site.journal->status().appended == 0);

  site.journal->begin_move(std::move(JournalRoom::make(site.folder.path(), 4).value()));
  for (int i = 0; i < 4; ++i) CHECK(append());
  CHECK_FALSE(append());
  CHECK(site.journal->status().appended == 4);
  CHECK(site.journal->status().refused == 1);
  REQUIRE(site.journal->move_piece() == MovePiece::kLevel);
  static_cast<void>(site.journal->end_move(site.journal->room().publish()));
  CHECK_FALSE(append());
  REQUIRE(site.start() == ReplayState::kComplete);
  CHECK(site.journal->status().restored == 4);
}

TEST_CASE("spa journal growth: a room that is given up takes no other's file along", "[spa][journal_growth]") {
  JournalFolder folder;
  const auto journal = folder.open();
  auto given_up = std::move(JournalRoom::make(folder.path(), 4).value());
  const auto next = std::move(JournalRoom::make(folder.path(), 4).value());
  given_up.reset();
  CHECK(folder.unpublished() == 1);
  CHECK(next->publish());
  CHECK(folder.unpublished() == 0);
}

TEST_CASE("spa journal growth: its pages are in memory, and locked as far as keys leave room for it",
          "[spa][journal_growth]") {
  struct rlimit before {};
  REQUIRE(::getrlimit(RLIMIT_MEMLOCK, &before) == 0);
  JournalFolder folder;
  folder.records_per_slot = 49'152;
  SECTION("as much as it takes with the keys of its devices") {
    const auto journal = folder.open();
    // 3 MB, and less than 4 MB of keys.
    CHECK(journal->status().in_locked_memory ==
          (::geteuid() == 0 || before.rlim_cur == RLIM_INFINITY || before.rlim_cur >= (std::size_t{8} << 20)));
  }
  SECTION("a room made later, too") {
    const auto journal = folder.open();
    REQUIRE(journal->reserve(60'000));
    CHECK(journal->status().in_locked_memory == (::geteuid() == 0 || before.rlim_cur == RLIM_INFINITY));
  }
}

TEST_CASE("spa journal growth: keys of before the host's start are not new to a folder that did not outlive it",
          "[spa][journal_growth]") {
  // A tmpfs on every Linux.
  std::string name = "/dev/shm/natt-journal-XXXXXX";
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  JournalFolder folder;
  std::filesystem::remove_all(folder.folder);
  folder.folder = name;
  folder.clock.time.boot = seconds(90);
  const WallTime now = folder.clock.time.wall;
  folder.keys_made = now - seconds(80);
  CHECK(folder.open()->status().state == ReplayState::kFirst);
  std::filesystem::remove(folder.path());
  std::filesystem::remove(folder.path().string() + ".lock");
  // There may have been a run with them before the host was started.
  folder.keys_made = now - seconds(100);
  const auto journal = folder.open();
  CHECK(journal->status().state == ReplayState::kMissing);
  CHECK(journal->status().reason == "there is no replay journal");
}
