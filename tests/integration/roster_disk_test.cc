// SPDX-License-Identifier: Apache-2.0
// A roster that comes while the state folder cannot be written: in force at once, and on the
// disk as soon as that is possible, without anybody giving it again.
#include <natt/uv/roster_updater.h>

#include <sys/mount.h>

#include <fstream>
#include <optional>

#include <catch2/catch_test_macros.hpp>

#include <natt/uv/timer.h>

#include "apps/program/roster_files.h"
#include "small_disk.h"
#include "support/test_pki.h"
#include "unit/apps/temporary_folder.h"
#include "uv_loop.h"

using namespace natt;
using std::chrono::milliseconds;

namespace {

constexpr Duration kRetry = milliseconds(50);

// As a broker keeps one.
class KeptRoster final : private uv::RosterUpdater::Listener {
 public:
  KeptRoster() {
    test::small_disk();
    test::clear_disk();
    static_cast<void>(pki.credentials(Role::kBroker, "b1"));
    config.name = "hq";
    config.roster_file = inbox.path() / "roster";
    updater.emplace(loop.get(), store, static_cast<uv::RosterUpdater::Listener&>(*this), kRetry);
    give(1);
    REQUIRE(taken(1));
    REQUIRE(number_on_disk() == 1);
  }
  ~KeptRoster() override { updater.reset(); }

  // A new file beside the configuration.
  void give(std::uint64_t number) { give_octets(pki.signed_roster(number).serialize()); }
  void give_octets(const ByteBuffer& octets) {
    inbox.write("roster", as_text(octets));
    updater->start(program::roster_job(config, test::small_disk()));
  }
  [[nodiscard]] bool taken(std::uint64_t number) {
    return loop.run_until([&] { return store.number() == number; });
  }
  // What the next start would go by.
  [[nodiscard]] std::uint64_t number_on_disk() {
    std::ifstream in(test::small_disk() / "roster-hq", std::ios::binary);
    const std::string octets{std::istreambuf_iterator<char>(in), {}};
    const auto documents = SignedRoster::parse(as_bytes(octets));
    if (!documents) return 0;
    RosterStore next(SiteCa(pki.ca()), RosterView::kFull);
    return next.handle_roster(*documents) ? next.number() : 0;
  }
  [[nodiscard]] bool rewritten(int times) {
    return loop.run_until([&] { return rewrites >= times; });
  }
  // Several retries later nothing was tried.
  [[nodiscard]] bool is_quiet() {
    const int before = rewrites;
    static_cast<void>(loop.run_until([] { return false; }, 200));
    return rewrites == before;
  }

  test::UvLoop loop;
  test::TestPki pki;
  test::TemporaryFolder inbox;
  config::SiteConfig config;
  RosterStore store{SiteCa(pki.ca()), RosterView::kFull};
  std::optional<uv::RosterUpdater> updater;
  std::string failure;  // empty: it is on the disk
  int rewrites = 0;
  int refused = 0;

 private:
  void on_roster_prepared(Instant, Result<PreparedRoster> prepared, const Result<void>& persisted) override {
    if (!prepared) {
      ++refused;
      return;
    }
    if (prepared->roster) failure = persisted ? "" : persisted.error().message;
    std::unique_ptr<const Roster> replaced;
    REQUIRE(store.accept(std::move(*prepared), replaced));
  }
  void on_roster_rewritten(Instant, const Result<void>& persisted) override {
    ++rewrites;
    failure = persisted ? "" : persisted.error().message;
  }
};

}  // namespace

TEST_CASE("roster disk: a roster that met a full disk is in force, and is written when there is room",
          "[uv][roster_disk]") {
  KeptRoster kept;
  test::fill_disk(17);

  kept.give(2);
  REQUIRE(kept.taken(2));
  CHECK(kept.failure.find("No space left on device; make room on its disk") != std::string::npos);
  REQUIRE(kept.rewritten(2));
  CHECK_FALSE(kept.failure.empty());
  CHECK(kept.number_on_disk() == 1);

  test::empty_disk();
  REQUIRE(kept.loop.run_until([&] { return kept.failure.empty(); }));
  CHECK(kept.number_on_disk() == 2);
  CHECK(kept.is_quiet());
}

TEST_CASE("roster disk: a newer roster that is written ends the tries of the one before", "[uv][roster_disk]") {
  KeptRoster kept;
  test::fill_disk(17);
  kept.give(2);
  REQUIRE(kept.taken(2));
  test::empty_disk();

  kept.give(3);
  REQUIRE(kept.taken(3));

  CHECK(kept.failure.empty());
  CHECK(kept.number_on_disk() == 3);
  CHECK(kept.is_quiet());
}

TEST_CASE("roster disk: of two that could not be written the newer one is", "[uv][roster_disk]") {
  KeptRoster kept;
  test::fill_disk(17);
  kept.give(2);
  REQUIRE(kept.taken(2));
  kept.give(3);
  REQUIRE(kept.taken(3));
  REQUIRE(kept.rewritten(1));

  test::empty_disk();
  REQUIRE(kept.loop.run_until([&] { return kept.failure.empty(); }));
  CHECK(kept.number_on_disk() == 3);
}

TEST_CASE("roster disk: a damaged roster, an older one and a copy of the one held end no tries", "[uv][roster_disk]") {
  KeptRoster kept;
  const ByteBuffer first = kept.pki.signed_roster(1).serialize();
  const ByteBuffer second = kept.pki.signed_roster(2).serialize();
  test::fill_disk(17);
  kept.give_octets(second);
  REQUIRE(kept.taken(2));

  kept.give_octets(ByteBuffer(second.begin(), second.end() - 10));
  REQUIRE(kept.loop.run_until([&] { return kept.refused == 1; }));
  kept.give_octets(first);
  REQUIRE(kept.loop.run_until([&] { return kept.refused == 2; }));
  kept.give_octets(second);
  REQUIRE(kept.loop.run_until([&] { return kept.store.stats().unchanged == 1; }));
  CHECK_FALSE(kept.failure.empty());
  REQUIRE(kept.rewritten(kept.rewrites + 1));
  CHECK_FALSE(kept.failure.empty());

  test::empty_disk();
  REQUIRE(kept.loop.run_until([&] { return kept.failure.empty(); }));
  CHECK(kept.number_on_disk() == 2);
}

TEST_CASE("roster disk: a read-only folder is named as one", "[uv][roster_disk]") {
  KeptRoster kept;
  const char* disk = test::small_disk().c_str();
  REQUIRE(::mount("none", disk, nullptr, MS_REMOUNT | MS_RDONLY, "size=16m") == 0);
  kept.give(2);
  const bool in_force = kept.taken(2);
  const std::string failure = kept.failure;
  // Before anything can end this case: the others need the disk.
  REQUIRE(::mount("none", disk, nullptr, MS_REMOUNT, "size=16m") == 0);

  CHECK(in_force);
  CHECK(failure.find("Read-only file system; it is read-only for this program: mount it writable") !=
        std::string::npos);
  REQUIRE(kept.loop.run_until([&] { return kept.failure.empty(); }));
  CHECK(kept.number_on_disk() == 2);
}

TEST_CASE("roster disk: an updater that goes between two tries, or in one, writes no more", "[uv][roster_disk]") {
  KeptRoster kept;
  test::fill_disk(17);
  kept.give(2);
  REQUIRE(kept.taken(2));
  SECTION("between two") { REQUIRE(kept.rewritten(1)); }
  SECTION("in one") { REQUIRE(kept.loop.run_until([&] { return kept.updater->busy(); })); }
  kept.updater.reset();
  const int before = kept.rewrites;
  test::empty_disk();

  static_cast<void>(kept.loop.run_until([] { return false; }, 200));
  CHECK(kept.rewrites == before);
  CHECK(kept.number_on_disk() == 1);
}
