// SPDX-License-Identifier: Apache-2.0
#include <natt/device_memory.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/errc.h>
#include <natt/key_choice.h>

using namespace natt;

namespace {

bool says(const std::optional<std::string>& complaint, const std::string& text) {
  return complaint && complaint->find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("device memory: a backup of the device's file that is too old is told why it is refused", "[natt][keys]") {
  DeviceMemory memory;
  CHECK_FALSE(memory.key_complaint(3));
  memory.note_session(3, 3);
  CHECK_FALSE(memory.key_complaint(3));

  memory.note_session(3, 4);
  CHECK(says(memory.key_complaint(3), "generation 3 is in use here and the newest this site knows is 4"));
  CHECK_FALSE(memory.key_complaint(4));

  memory.note_session(4, 4);
  CHECK(says(
      memory.key_complaint(3),
      "generation 3 of this device's file was retired when generation 4 was used; the newest this site knows is 4"));
  CHECK(says(memory.key_complaint(3), "copy the device's newest file here"));
  CHECK_FALSE(memory.key_complaint(4));
}

TEST_CASE("device memory: nothing that is learnt later makes it forget", "[natt][keys]") {
  DeviceMemory memory;
  memory.note_session(4, 5);
  memory.note_session(3, 0);
  memory.note_listed(2);
  CHECK(memory.newest_used == 4);
  CHECK(memory.newest_known == 5);
}

TEST_CASE("device memory: what was written is read again, and nothing else", "[natt][keys]") {
  DeviceMemory memory{.clock = ClockOffset("boot-a")};
  DeviceMemory read;
  REQUIRE(read.restore(memory.serialize()));

  memory.note_session(4, 5);
  memory.clock.learn(std::chrono::seconds(7), {WallTime(std::chrono::seconds(1'800'000'000)), std::chrono::hours(1)});
  const std::string text = memory.serialize();
  REQUIRE(read.restore(text));
  CHECK(read.serialize() == text);
  CHECK(read.newest_known == 5);
  CHECK(read.newest_used == 4);

  for (std::size_t size = 0; size < text.size(); ++size) {
    const auto restored = read.restore(std::string_view(text).substr(0, size));
    CAPTURE(size);
    REQUIRE_FALSE(restored);
    CHECK(restored.error().code == Errc::kMalformed);
  }
  for (const char* bad : {"keys 1\nclock \n", "keys 1 70000\nclock \n", "keys -1 1\nclock \n", "keys 1 1\n",
                          "clock \nkeys 1 1\n", "keys 1 1\nclock x\n"}) {
    CAPTURE(bad);
    CHECK_FALSE(read.restore(bad));
  }
  CHECK(read.serialize() == text);
}

TEST_CASE("key choice: the newest keys at every other try, all others in turn between", "[natt][keys]") {
  for (std::size_t attempt = 0; attempt < 8; ++attempt) CHECK(choose_keys(attempt, 1, 1) == KeyChoice{});
  CHECK(choose_keys(0, 1, 2) == KeyChoice{});
  CHECK(choose_keys(1, 1, 2) == KeyChoice{0, 1});
  CHECK(choose_keys(2, 1, 2) == KeyChoice{});
  CHECK(choose_keys(3, 1, 2) == KeyChoice{0, 1});
  CHECK(choose_keys(1, 2, 1) == KeyChoice{1, 0});

  const KeyChoice expected[] = {{0, 0}, {0, 1}, {0, 0}, {1, 0}, {0, 0}, {1, 1}, {0, 0}, {0, 1}};
  for (std::size_t attempt = 0; attempt < 8; ++attempt) {
    CAPTURE(attempt);
    CHECK(choose_keys(attempt, 2, 2) == expected[attempt]);
  }
}
