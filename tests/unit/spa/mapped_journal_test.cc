// SPDX-License-Identifier: Apache-2.0
// Journal files: what is found at start, and what becomes of it.
#include <natt/spa/mapped_journal.h>

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include <catch2/catch_test_macros.hpp>

#include "journaled_site.h"

using namespace natt;
using spa::DropReason;
using spa::ReplayState;
using std::chrono::minutes;
using std::chrono::seconds;
using test::JournaledSite;
using test::JournalFolder;

namespace {

void overwrite(const std::filesystem::path& file, ByteView octets) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(octets.data()), static_cast<std::streamsize>(octets.size()));
}

ByteBuffer contents_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("spa mapped journal: without one, frames of the first minute are refused", "[spa][mapped_journal]") {
  JournaledSite site;
  CHECK(site.start() == ReplayState::kMissing);
  CHECK(site.journal->status().accept_from == site.now + seconds(61));
  CHECK_FALSE(site.try_knock(site.fresh_knock()));
  site.pass(seconds(60));
  CHECK_FALSE(site.try_knock(site.fresh_knock()));
  site.pass(seconds(1));
  CHECK(site.try_knock(site.fresh_knock()));
}

TEST_CASE("spa mapped journal: keys that were just made have no former run", "[spa][mapped_journal]") {
  JournaledSite site;
  const WallTime now = site.folder.clock.time.wall;
  for (const auto& [made, state] : {std::pair{now, ReplayState::kFirst}, std::pair{now - minutes(5), ReplayState::kFirst},
                                    std::pair{now - minutes(5) - seconds(1), ReplayState::kMissing},
                                    std::pair{now + seconds(1), ReplayState::kMissing}}) {
    site.folder.keys_made = made;
    CHECK(site.start() == state);
    CHECK(site.try_knock(site.fresh_knock()) == (state == ReplayState::kFirst));
    site.stop();
    std::filesystem::remove(site.folder.path());
    // The lock's file tells that there was a run.
    CHECK(site.start() == ReplayState::kMissing);
    site.stop();
    std::filesystem::remove(site.folder.path());
    std::filesystem::remove(site.folder.path().string() + ".lock");
  }
}

TEST_CASE("spa mapped journal: a restart remembers and serves at once", "[spa][mapped_journal]") {
  JournaledSite site;
  site.start_settled();
  std::vector<ByteBuffer> used;
  for (int i = 0; i < 30; ++i) {
    site.pass(seconds(1));
    used.push_back(site.fresh_knock());
    REQUIRE(site.try_knock(used.back()));
  }

  for (int restart = 0; restart < 3; ++restart) {
    site.pass(seconds(5));
    REQUIRE(site.start() == ReplayState::kComplete);
    CHECK(site.journal->status().restored == 30);
    for (const ByteBuffer& frame : used) CHECK_FALSE(site.try_knock(frame));
    CHECK(site.journaled->stats().dropped(DropReason::kReplayed) == 30);
  }
  CHECK(site.try_knock(site.fresh_knock()));
}

TEST_CASE("spa mapped journal: a quarantine outlives the process", "[spa][mapped_journal]") {
  JournaledSite site;
  REQUIRE(site.start() == ReplayState::kMissing);
  site.pass(seconds(20));

  REQUIRE(site.start() == ReplayState::kComplete);
  CHECK(site.journal->status().accept_from == site.now + seconds(41));
  CHECK_FALSE(site.try_knock(site.fresh_knock()));
  site.pass(seconds(41));
  CHECK(site.try_knock(site.fresh_knock()));
}

TEST_CASE("spa mapped journal: an older copy does not reopen the window", "[spa][mapped_journal]") {
  JournaledSite site;
  site.start_settled();
  const auto backup = site.folder.folder / "backup";
  std::filesystem::copy_file(site.folder.path(), backup);
  const ByteBuffer used = site.fresh_knock();
  REQUIRE(site.try_knock(used));

  SECTION("renamed into place") {
    site.stop();
    std::filesystem::rename(backup, site.folder.path());
    REQUIRE(::chmod(site.folder.path().c_str(), 0600) == 0);
  }
  SECTION("copied over the file in place") {
    site.stop();
    // The file system's clock is real, the journal's runs behind it here as a copy's would.
    site.folder.clock.set(WallTime(std::chrono::duration_cast<std::chrono::milliseconds>(
                              std::chrono::system_clock::now().time_since_epoch())) - seconds(5));
    site.wall = site.folder.clock.time.wall;
    REQUIRE(site.start() == ReplayState::kStale);
    site.stop();
  }
  SECTION("of half a minute ago") {
    site.stop();
    site.folder.clock.pass(seconds(31));
    site.advance(seconds(31));
  }
  CHECK(site.start() == ReplayState::kStale);
  CHECK(site.journal->status().accept_from == site.now + seconds(61));
  CHECK_FALSE(site.try_knock(used));
}

TEST_CASE("spa mapped journal: a clock that was set while nothing ran is not believed", "[spa][mapped_journal]") {
  for (const auto by : {seconds(2), seconds(3600), seconds(-2), seconds(-3600)}) {
    CAPTURE(by.count());
    JournaledSite site;
    site.start_settled();
    std::vector<ByteBuffer> used;
    for (int i = -60; i <= 60; ++i) {
      used.push_back(site.alice_knocker->make_udp_knock(site.wall + seconds(i), site.alice_knocker->next_knock_id()));
      site.pass(std::chrono::milliseconds(10));
      static_cast<void>(site.try_knock(used.back()));
    }
    site.stop();
    site.folder.clock.set(site.folder.clock.time.wall + by);
    site.wall += by;

    REQUIRE(site.start() == ReplayState::kStale);
    // Until the clock has come by all of it again.
    for (int second = 0; second < 3800; second += 10) {
      for (const ByteBuffer& frame : used) REQUIRE_FALSE(site.try_knock(frame));
      site.pass(seconds(10));
    }
    CHECK(site.try_knock(site.fresh_knock()));
  }
}

TEST_CASE("spa mapped journal: what is not a plain file of ours is replaced unread", "[spa][mapped_journal]") {
  JournaledSite site;
  site.start_settled();
  const auto path = site.folder.path();
  site.stop();
  SECTION("symbolic link") {
    const auto target = site.folder.folder / "elsewhere";
    std::filesystem::rename(path, target);
    const ByteBuffer before = contents_of(target);
    std::filesystem::create_symlink(target, path);
    CHECK(site.start() == ReplayState::kCorrupt);
    CHECK(site.journal->status().reason == "it is a symbolic link");
    CHECK(contents_of(target) == before);
    CHECK_FALSE(std::filesystem::is_symlink(path));
  }
  SECTION("second name") {
    std::filesystem::create_hard_link(path, site.folder.folder / "second");
    CHECK(site.start() == ReplayState::kCorrupt);
  }
  SECTION("others may read it") {
    REQUIRE(::chmod(path.c_str(), 0644) == 0);
    CHECK(site.start() == ReplayState::kCorrupt);
  }
  SECTION("pipe") {
    std::filesystem::remove(path);
    REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
    CHECK(site.start() == ReplayState::kCorrupt);
  }
  SECTION("empty file") {
    overwrite(path, {});
    CHECK(site.start() == ReplayState::kCorrupt);
  }
  SECTION("one octet less") {
    ByteBuffer octets = contents_of(path);
    octets.pop_back();
    overwrite(path, octets);
    CHECK(site.start() == ReplayState::kCorrupt);
  }
  SECTION("another verifier's") {
    site.folder.verifier = spa::DeviceId::of(test::device_named("b2", Role::kBroker));
    CHECK(site.start() == ReplayState::kCorrupt);
    CHECK(site.journal->status().reason == "it belongs to another verifier");
  }
  CHECK(site.journal->status().accept_from == site.now + seconds(61));
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  CHECK(site.start() == ReplayState::kComplete);
}

TEST_CASE("spa mapped journal: a folder in its place leaves the run without one", "[spa][mapped_journal]") {
  JournaledSite site;
  std::filesystem::create_directory(site.folder.path());
  CHECK(site.start() == ReplayState::kUnavailable);
  CHECK_FALSE(site.journal->status().reason.empty());
  CHECK(site.journal->status().accept_from == site.now + seconds(61));
  site.pass(seconds(61));
  CHECK(site.try_knock(site.fresh_knock()));
  CHECK(std::filesystem::is_directory(site.folder.path()));
}

TEST_CASE("spa mapped journal: a run that cannot have the lock waits until no older file vouches",
          "[spa][mapped_journal]") {
  JournaledSite site;
  // Open it as a file: nobody can.
  std::filesystem::create_directory(site.folder.path().string() + ".lock");

  REQUIRE(site.start() == ReplayState::kUnavailable);
  CHECK(site.journal->status().accept_from == site.now + seconds(61 + 30));
  CHECK_FALSE(site.try_knock(site.fresh_knock()));
  site.pass(seconds(91));
  CHECK(site.try_knock(site.fresh_knock()));
}

TEST_CASE("spa mapped journal: a full disk leaves none behind that could vouch", "[spa][mapped_journal]") {
  JournaledSite site;
  site.start_settled();
  site.stop();
  // A file-size limit fails the same calls that a full disk fails.
  struct rlimit limit {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &limit) == 0);
  const struct rlimit none {4096, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);
  const ReplayState state = site.start();
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::signal(SIGXFSZ, handler);

  CHECK(state == ReplayState::kUnavailable);
  CHECK_FALSE(std::filesystem::exists(site.folder.path()));
  CHECK(site.folder.unpublished() == 0);
  CHECK(site.start() == ReplayState::kMissing);
}

TEST_CASE("spa mapped journal: what a run has left that died while it made a file is removed",
          "[spa][mapped_journal]") {
  JournalFolder folder;
  std::ofstream(folder.path().string() + ".new-a1B2c3") << "half of one";
  std::ofstream(folder.folder / "replay-hq2.journal.new-a1B2c3") << "another site's";
  REQUIRE(folder.unpublished() == 1);
  const auto journal = folder.open();
  CHECK(folder.unpublished() == 0);
  CHECK(std::filesystem::exists(folder.folder / "replay-hq2.journal.new-a1B2c3"));
}

TEST_CASE("spa mapped journal: a second process is kept out", "[spa][mapped_journal]") {
  JournalFolder folder;
  const auto first = folder.open();
  const auto second = spa::MappedJournal::open(folder.options(), folder.clock, folder.random);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == spa::Errc::kInUse);
  CHECK(second.error().message.find("another process serves as this verifier") != std::string::npos);
}

TEST_CASE("spa mapped journal: a full slot refuses knocks and says so", "[spa][mapped_journal]") {
  JournaledSite site;
  site.folder.records_per_slot = 4;
  site.start_settled();
  for (int i = 0; i < 4; ++i) REQUIRE(site.try_knock(site.fresh_knock()));
  CHECK_FALSE(site.try_knock(site.fresh_knock()));
  CHECK(site.journaled->stats().dropped(DropReason::kJournalFailed) == 1);
  CHECK(site.journal->status().refused == 1);

  REQUIRE(site.start() == ReplayState::kComplete);
  CHECK_FALSE(site.try_knock(site.fresh_knock()));
  REQUIRE(site.journal->reserve(8));
  CHECK(site.journal->status().records_per_slot == 12);
  for (int i = 0; i < 4; ++i) CHECK(site.try_knock(site.fresh_knock()));
  REQUIRE(site.start() == ReplayState::kComplete);
  CHECK(site.journal->status().restored == 8);
}

TEST_CASE("spa mapped journal: a record is no system call, and a killed process has written it",
          "[spa][mapped_journal]") {
  JournaledSite site;
  site.start_settled();
  site.stop();
  const spa::Slot slot = spa::Slot::of(site.folder.clock.time.wall);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const auto journal = site.folder.open();
    // From here on the kernel kills at any call but read, write and exit.
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) ::_exit(3);
    bool taken = true;
    for (std::uint8_t i = 0; i < 200; ++i) {
      // This slot and the next are covered wherever in the slot the test starts; the one after only late in it.
      spa::ReplayRecord record{slot.plus(i % 2), {}};
      record.opening[0] = i;
      site.folder.clock.pass(std::chrono::milliseconds(50));
      taken = journal->append(record) && taken;
    }
    ::syscall(SYS_exit, taken ? 0 : 4);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);

  site.folder.clock.pass(seconds(10));
  site.wall = site.folder.clock.time.wall;
  CHECK(site.start() == ReplayState::kComplete);
  CHECK(site.journal->status().restored == 200);
}

TEST_CASE("spa mapped journal: many restarts over many slots lose nothing", "[spa][mapped_journal]") {
  JournaledSite site;
  site.start_settled();
  std::vector<ByteBuffer> used;
  for (int i = 0; i < 400; ++i) {
    site.pass(seconds(1 + i % 7));
    if (i % 11 == 0) REQUIRE(site.start() == ReplayState::kComplete);
    used.push_back(site.fresh_knock());
    REQUIRE(site.try_knock(used.back()));
    for (std::size_t back = 1; back <= std::min<std::size_t>(used.size(), 40); ++back) {
      REQUIRE_FALSE(site.try_knock(used[used.size() - back]));
    }
  }
}

TEST_CASE("spa mapped journal: room follows the size of the site", "[spa][mapped_journal]") {
  CHECK(spa::MappedJournal::records_for(0, 0) == 49152);
  CHECK(spa::MappedJournal::records_for(100'000, 10) == 640'960);
  CHECK(spa::MappedJournal::records_for(1u << 30, 0) == (1u << 24) - 1);
}

TEST_CASE("spa mapped journal: every state has its own name", "[spa][mapped_journal]") {
  std::vector<std::string_view> names;
  for (int state = 0; state <= static_cast<int>(ReplayState::kUnavailable); ++state) {
    names.push_back(to_string(static_cast<ReplayState>(state)));
    CHECK(names.back() != "unknown");
  }
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}
