// SPDX-License-Identifier: Apache-2.0
// Signals and saved files in every order, with readings that take as long as the test wants.
#include "apps/program/config_reload.h"

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "integration/uv_loop.h"

namespace natt::program {
namespace {

constexpr auto kSave = ReloadScope::kKeys;
constexpr auto kSignal = ReloadScope::kKeysAndSettings;

struct Applied {
  int version;
  ReloadScope scope;
  friend bool operator==(const Applied&, const Applied&) = default;
};

struct World {
  // The file's content is taken first, and the reading ends when it is let.
  int read() {
    const int found = file;
    ++readings;
    while (held) std::this_thread::yield();
    return found;
  }
  // Until a reading has taken the content.
  void wait_for_reading(int number) const {
    while (readings < number) std::this_thread::yield();
  }
  bool applies(std::size_t count) {
    return loop.run_until([&] { return applied.size() == count; });
  }

  test::UvLoop loop;
  std::atomic<int> file = 1;
  std::atomic<int> readings = 0;
  std::atomic<bool> held = false;
  std::vector<Applied> applied;
  ConfigReload<int> reload{loop.get(), [this] { return read(); },
                           [this](int version, ReloadScope scope) { applied.push_back({version, scope}); }};
};

TEST_CASE("config reload: each reading is for what it was begun for", "[program]") {
  World world;
  world.reload.start(kSave);
  REQUIRE(world.applies(1));
  world.reload.start(kSignal);
  REQUIRE(world.applies(2));
  world.reload.start(kSave);
  REQUIRE(world.applies(3));
  CHECK(world.applied == std::vector<Applied>{{1, kSave}, {1, kSignal}, {1, kSave}});
}

TEST_CASE("config reload: a signal during a reading gets the settings that are in the file after it", "[program]") {
  World world;
  world.held = true;
  world.reload.start(kSave);
  world.wait_for_reading(1);
  world.file = 2;
  world.reload.start(kSignal);
  world.held = false;
  REQUIRE(world.applies(2));
  CHECK(world.applied == std::vector<Applied>{{1, kSave}, {2, kSignal}});
}

TEST_CASE("config reload: a save behind a waiting signal does not take its place", "[program]") {
  World world;
  world.held = true;
  world.reload.start(kSave);
  world.wait_for_reading(1);
  world.reload.start(kSignal);
  world.file = 3;
  world.reload.start(kSave);
  world.held = false;
  REQUIRE(world.applies(2));
  CHECK(world.applied == std::vector<Applied>{{1, kSave}, {3, kSignal}});
  CHECK_FALSE(world.loop.run_until([&] { return world.applied.size() > 2; }, 20));
}

TEST_CASE("config reload: a save during a signal's reading is read without settings", "[program]") {
  World world;
  world.held = true;
  world.reload.start(kSignal);
  world.wait_for_reading(1);
  world.file = 2;
  world.reload.start(kSave);
  world.held = false;
  REQUIRE(world.applies(2));
  CHECK(world.applied == std::vector<Applied>{{1, kSignal}, {2, kSave}});
}

TEST_CASE("config reload: it goes while a reading runs and another waits", "[program]") {
  World world;
  {
    ConfigReload<int> reload(world.loop.get(), [&world] { return world.read(); },
                             [&world](int version, ReloadScope scope) { world.applied.push_back({version, scope}); });
    reload.start(kSignal);
    reload.start(kSignal);
  }
  world.loop.run_turns();
  CHECK(world.applied.empty());
}

}  // namespace
}  // namespace natt::program
