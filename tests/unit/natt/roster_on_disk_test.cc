// SPDX-License-Identifier: Apache-2.0
#include <natt/roster_on_disk.h>

#include <catch2/catch_test_macros.hpp>

using namespace natt;
using namespace std::chrono_literals;

TEST_CASE("roster on disk: one that could not be written is tried again until it is there", "[natt][roster]") {
  RosterOnDisk disk;
  Instant now{1h};
  CHECK(disk.is_written());
  CHECK_FALSE(disk.next_deadline());
  for (int tries = 0; tries < 3; ++tries) {
    disk.note_write(now, false);
    CHECK_FALSE(disk.is_written());
    CHECK(disk.next_deadline() == now + 10s);
    CHECK_FALSE(disk.is_due(now + 10s - 1ns));
    now += 10s;
    CHECK(disk.is_due(now));
  }
  disk.note_write(now, true);
  CHECK(disk.is_written());
  CHECK_FALSE(disk.is_due(now + 1h));
}
