// SPDX-License-Identifier: Apache-2.0
// What the verifier keeps per device, and the memory it keeps it in.
#include "libspa/src/device_table.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <tests/support/seeded_random.h>
#include <catch2/catch_test_macros.hpp>

#include "libspa/src/locked_array.h"
#include "libspa/src/zeroed_array.h"
#include "spa_site.h"

using namespace natt;
using namespace natt::spa;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

Identity named(std::size_t i) { return test::device_named("d" + std::to_string(i)); }

// Whether a process survives it.
template <typename Body>
bool survives(Body body) {
  const pid_t child = fork();
  if (child == 0) {
    // Neither the test framework nor a sanitizer has anything to report.
    (void)std::signal(SIGSEGV, SIG_DFL);
    body();
    _exit(0);
  }
  int status = 0;
  (void)waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

TEST_CASE("spa device table: devices are found through growth, removal and reuse", "[spa][device_table]") {
  DeviceTable table;
  CHECK_FALSE(table.find(DeviceId::of(named(0))));
  // More than one block of memory, which holds about 10,000.
  constexpr std::size_t kDevices = 12'000;
  for (std::size_t i = 0; i < kDevices; ++i) CHECK(table.add(named(i), DeviceId::of(named(i))) == i);

  for (std::size_t i = 0; i < kDevices; i += 3) table.remove(*table.find(DeviceId::of(named(i))));
  CHECK(table.size() == kDevices - kDevices / 3);
  for (std::size_t i = 0; i < kDevices; ++i) {
    const auto found = table.find(DeviceId::of(named(i)));
    CAPTURE(i);
    REQUIRE(found.has_value() == (i % 3 != 0));
    if (found) CHECK(table.at(*found).identity == named(i));
  }

  const Device* const before = &table.at(1);
  for (std::size_t i = 0; i < kDevices; i += 3) CHECK(table.add(named(i), DeviceId::of(named(i))) < kDevices);
  CHECK(table.size() == kDevices);
  CHECK(&table.at(1) == before);
}

TEST_CASE("spa device table: ids in one bucket are found after any of them is removed", "[spa][device_table]") {
  for (std::size_t removed = 0; removed < 5; ++removed) {
    DeviceTable table;
    std::array<DeviceId, 5> ids{};
    for (std::uint8_t i = 0; i < ids.size(); ++i) {
      ids[i].bytes[0] = 15;  // the last bucket of 16: the others wrap around
      ids[i].bytes[15] = i;
      (void)table.add(named(i), ids[i]);
    }
    table.remove(*table.find(ids[removed]));

    for (std::size_t i = 0; i < ids.size(); ++i) {
      CAPTURE(removed, i);
      CHECK(table.find(ids[i]).has_value() == (i != removed));
    }
  }
}

TEST_CASE("spa device table: a device has as many credentials as it may have keys", "[spa][device_table]") {
  CredentialList list;
  for (CredentialIndex i = 0; i < CredentialList::kMost; ++i) {
    list[i] = 100 + i;
    for (CredentialIndex held = 0; held <= i; ++held) CHECK(std::as_const(list)[held] == 100 + held);
  }

  CHECK(list.size() == CredentialList::kMost);
  CHECK(std::as_const(list).end() - std::as_const(list).begin() == CredentialList::kMost);
  CredentialList moved = std::move(list);
  CHECK(std::as_const(moved)[7] == 107);
  CredentialList one;
  one[0] = 5;
  moved = std::move(one);
  CHECK(moved.end() - moved.begin() == 1);
  CHECK(moved[0] == 5);
}

TEST_CASE("spa budget: nonces are counted per slot while slots come and go", "[spa][budget]") {
  NonceMeter meter;
  const Slot start{0xffff'fffe};  // the numbers inside wrap around
  meter.of(start, start) = 1;
  meter.of(start, start.plus(1)) = 2;
  meter.of(start, start.plus(2)) = 3;

  CHECK(meter.of(start.plus(1), start.plus(1)) == 2);
  CHECK(meter.of(start.plus(1), start.plus(2)) == 3);
  CHECK(meter.of(start.plus(1), start.plus(3)) == 0);
  // Back again: what left the three slots is forgotten.
  CHECK(meter.of(start, start) == 0);
  CHECK(meter.of(start, start.plus(1)) == 2);
  CHECK(meter.of(start, start.plus(2)) == 3);
  CHECK(meter.of(start.plus(100), start.plus(100)) == 0);
  CHECK(meter.of(start, start.plus(1)) == 0);
}

TEST_CASE("spa budget: an expired id stays expired, however long and however often the device knocks on",
          "[spa][budget]") {
  const KnockBudget budget{.per_second = 1000, .burst = 1000};
  // 65,536 ms is where the clock inside wraps around.
  for (const milliseconds step : {milliseconds(500), milliseconds(9'999), milliseconds(10'000), milliseconds(21'845),
                                  milliseconds(65'536), milliseconds(86'400'000)}) {
    KnockMeter meter;
    Instant now{std::chrono::hours(1)};
    REQUIRE(meter.charge(now, 7, budget) == KnockMeter::Charge::kFresh);
    for (Duration age = step; age <= std::max<Duration>(step, seconds(140)); age += step) {
      // Another id: looks, but does not renew the first.
      REQUIRE(meter.charge(now + age, 8, budget) != KnockMeter::Charge::kRefused);
      KnockMeter copy = meter;
      CAPTURE(step.count(), age.count());
      CHECK((copy.charge(now + age, 7, budget) == KnockMeter::Charge::kKnown) == (age < KnockMeter::kIdLifetime));
    }
  }
}

TEST_CASE("spa budget: of nine ids at once the oldest is charged again", "[spa][budget]") {
  KnockMeter meter;
  const KnockBudget budget{.per_second = 8, .burst = 32};
  const Instant now{std::chrono::hours(1)};
  for (std::uint16_t id = 1; id <= 9; ++id) REQUIRE(meter.charge(now, id, budget) == KnockMeter::Charge::kFresh);

  CHECK(meter.charge(now, 2, budget) == KnockMeter::Charge::kKnown);
  CHECK(meter.charge(now, 1, budget) == KnockMeter::Charge::kFresh);
}

TEST_CASE("spa locked array: records are zero, stay where they are and keep what was written", "[spa][locked]") {
  using Record = std::array<std::uint8_t, 64>;
  LockedArray<Record> array;
  array.grow_to(1);
  const Record* const first = &array[0];
  CHECK(array[0] == Record{});
  array[0].fill(1);
  constexpr std::size_t kRecords = LockedArray<Record>::kPerBlock + 5;
  for (std::size_t count = 1; count <= kRecords; count += 100) array.grow_to(count);
  array.grow_to(kRecords);
  CHECK(array[kRecords - 1] == Record{});
  array[kRecords - 1].fill(2);
  array.grow_to(10);

  CHECK(array.extent() >= kRecords);
  CHECK(&array[0] == first);
  CHECK(array[0][63] == 1);
  CHECK(array[kRecords - 1][0] == 2);
}

TEST_CASE("spa locked array: what lies around the records in use cannot be read", "[spa][locked]") {
  LockedArray<std::array<std::uint8_t, 64>> array;
  array.grow_to(1);
  const volatile std::uint8_t* const begin = array[0].data();
  const std::size_t size = array.extent() * 64;

  CHECK(survives([&] { (void)begin[size - 1]; }));
  CHECK_FALSE(survives([&] { (void)begin[size]; }));
  CHECK_FALSE(survives([&] { (void)*(begin - 1); }));
  CHECK_FALSE(survives([&] { (void)begin[LockedBlock::kSize]; }));
}

TEST_CASE("spa zeroed array: small and large ones are zero, hold, and are zero again", "[spa][zeroed]") {
  for (const std::size_t size : {std::size_t{1}, std::size_t{1000}, std::size_t{10'000}, std::size_t{3'000'000}}) {
    ZeroedArray<std::uint64_t> array(size);
    CAPTURE(size);
    REQUIRE(array.size() == size);
    CHECK(array[size - 1] == 0);
    array[0] = 1;
    array[size - 1] = 2;
    ZeroedArray<std::uint64_t> moved = std::move(array);
    CHECK(moved[0] + moved[size - 1] == (size == 1 ? 4 : 3));
    moved.clear();
    CHECK(moved[0] == 0);
    CHECK(moved[size - 1] == 0);
  }
  ZeroedArray<std::uint64_t> empty;
  empty.clear();
  CHECK(empty.size() == 0);
}
