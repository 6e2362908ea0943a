// SPDX-License-Identifier: Apache-2.0
// nattctl dies at every step that changes the disk, before it and after it: whatever file
// the device then has and whatever roster the broker then gets, some key of the one is in
// the other; and the next nattctl finishes or undoes the work. Alone in its program: it
// stands in for the C library's calls.
#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <catch2/catch_test_macros.hpp>

#include <natt/spa/keys.h>

#include "unit/apps/nattctl_fixture.h"
#include "unit/apps/temporary_folder.h"

namespace {

constexpr int kDied = 99;
// Calls until the process ends; 0 never. Odd: after the call, even: before it.
int countdown = 0;

template <typename Call, typename... Arguments>
int counted(const char* name, Arguments... arguments) {
  const auto real = reinterpret_cast<Call>(::dlsym(RTLD_NEXT, name));
  if (countdown > 0 && --countdown == 0) ::_exit(kDied);
  const int result = real(arguments...);
  if (countdown > 0 && --countdown == 0) ::_exit(kDied);
  return result;
}

}  // namespace

extern "C" {
int fsync(int fd) { return counted<int (*)(int)>("fsync", fd); }
int rename(const char* from, const char* to) noexcept {
  return counted<int (*)(const char*, const char*)>("rename", from, to);
}
int mkdir(const char* path, mode_t mode) noexcept { return counted<int (*)(const char*, mode_t)>("mkdir", path, mode); }
int rmdir(const char* path) noexcept { return counted<int (*)(const char*)>("rmdir", path); }
int unlink(const char* path) noexcept { return counted<int (*)(const char*)>("unlink", path); }
}

namespace natt::test {
namespace {

// Runs `work` in a process that dies at the step. kDied, or 0 when the work was over before it and done.
template <typename Work>
int run_until(int step, Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    countdown = step;
    ::_exit(work() ? 0 : 1);
  }
  int status = -1;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

// Generations of the device's secrets whose public keys the roster lists.
std::vector<std::uint16_t> working(const config::ClientConfig& file, const Roster& roster) {
  std::vector<std::uint16_t> generations;
  const RosterDevice* listed = roster.find(kAlice);
  if (listed == nullptr) return generations;
  for (const config::SpaKey& key : file.sites[0].spa_keys) {
    const SpaPublicKey public_key{key.generation, spa::KeyPair::from_secret(key.secret.view()).public_key().bytes};
    const auto& keys = listed->spa_keys;
    if (std::find(keys.begin(), keys.end(), public_key) != keys.end()) generations.push_back(key.generation);
  }
  return generations;
}

}  // namespace

TEST_CASE("renew: wherever nattctl dies, every file that a device may have still knocks", "[apps][nattctl][crash]") {
  int step = 1;
  int deaths = 0;
  for (;; ++step) {
    CAPTURE(step);
    const TemporaryFolder folder;
    const auto dir = folder.path() / "site";
    REQUIRE(ctl::run_init(init_arguments(dir)));
    const config::ClientConfig before = client_config(dir / "client-alice.toml");

    const int ended = run_until(step, [&dir] { return ctl::run_renew(dir, "alice").has_value(); });
    REQUIRE((ended == kDied || ended == 0));
    deaths += ended == kDied;

    // What an operator copies now, before anything is repaired.
    const Roster roster = roster_in(dir);
    CHECK_FALSE(working(before, roster).empty());
    CHECK_FALSE(working(client_config(dir / "client-alice.toml"), roster).empty());

    REQUIRE(ctl::run_sign(dir));
    const Roster repaired = roster_in(dir);
    const config::ClientConfig after = client_config(dir / "client-alice.toml");
    CHECK_FALSE(working(before, repaired).empty());
    // All of it or nothing of it.
    CHECK(working(after, repaired).size() == after.sites[0].spa_keys.size());
    CHECK(after.sites[0].spa_keys.front().generation == repaired.find(kAlice)->spa_keys.back().generation);
    CHECK(repaired.number > roster.number);
    CHECK(ctl::run_renew(dir, "alice"));
    if (ended == 0) break;
  }
  // Five files are written (one renewed, four of the site), each with its steps, and moved: fewer would mean that the
  // calls were not seen.
  CHECK(deaths >= 5 * 4);
}

TEST_CASE("revoke: wherever nattctl dies, the device is in or out, and out after the next try",
          "[apps][nattctl][crash]") {
  for (int step = 1;; ++step) {
    CAPTURE(step);
    const TemporaryFolder folder;
    const auto dir = folder.path() / "site";
    REQUIRE(ctl::run_init(init_arguments(dir)));

    const int ended = run_until(step, [&dir] { return ctl::run_revoke(dir, "alice").has_value(); });
    REQUIRE((ended == kDied || ended == 0));

    REQUIRE(ctl::run_revoke(dir, "alice"));
    CHECK(roster_in(dir).find(kAlice) == nullptr);
    CHECK(roster_in(dir).revoked.size() == 1);
    if (ended == 0) break;
  }
}

}  // namespace natt::test
