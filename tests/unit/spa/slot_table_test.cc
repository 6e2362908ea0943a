// SPDX-License-Identifier: Apache-2.0
#include "libspa/src/slot_table.h"

#include <catch2/catch_test_macros.hpp>

using namespace natt::spa;

namespace {

SlotKeys keys_with(std::uint64_t hint) {
  SlotKeys keys;
  natt::store_be(keys.hint.data(), hint);
  return keys;
}

}  // namespace

TEST_CASE("spa slot table: hints that share a bucket are all found, also after one is erased", "[spa][slot_table]") {
  SlotTable table;
  table.reset(Slot{1}, 4);
  const std::array<std::uint64_t, 3> hints{0x1111'0000'0000'0005, 0x2222'0000'0000'0005, 0x3333'0000'0000'0005};
  for (CredentialIndex i = 0; i < hints.size(); ++i) table.insert(i, {}, keys_with(hints[i]));

  table.erase(0);

  CHECK(table.find(hints[0]) == kNoCredential);
  CHECK(table.guess(hints[0]) == kNoCredential);
  CHECK(table.find(hints[1]) == 1);
  CHECK(table.find(hints[2]) == 2);
  CHECK(table.guess(hints[2]) == 2);
}

TEST_CASE("spa slot table: a hint that agrees only in its upper half is told apart", "[spa][slot_table]") {
  SlotTable table;
  table.reset(Slot{1}, 4);
  table.insert(0, {}, keys_with(0x1111'0000'0000'0105));
  table.insert(1, {}, keys_with(0x1111'0000'0000'0205));

  CHECK(table.guess(0x1111'0000'0000'0205) == 0);
  CHECK(table.find(0x1111'0000'0000'0205) == 1);
  CHECK(table.find(0x1111'0000'0000'0305) == kNoCredential);
}

TEST_CASE("spa slot table: grows under load and forgets at reset", "[spa][slot_table]") {
  SlotTable table;
  table.reset(Slot{1}, 1);
  const auto hint = [](CredentialIndex i) { return 0x9e37'79b9'7f4a'7c15ull * (i + 1); };
  for (CredentialIndex i = 0; i < 3000; ++i) table.insert(i, {}, keys_with(hint(i)));

  for (CredentialIndex i = 0; i < 3000; ++i) CHECK(table.find(hint(i)) == i);
  table.reset(Slot{2}, 1);
  CHECK(table.find(hint(0)) == kNoCredential);
  CHECK(table.slot() == Slot{2});
}

TEST_CASE("spa slot table: what a bucket keeps of a hint changes with its size, what is found does not",
          "[spa][slot_table]") {
  SlotTable table;
  table.reset(Slot{1}, 1);
  // Hints that differ only below the bits that any bucket keeps, and in the bits that only small tables keep.
  const auto hint = [](CredentialIndex i) { return std::uint64_t{i} << 32 | (i & 3); };
  // Numbers of credentials come in any order: the highest first makes the buckets grow at once.
  for (CredentialIndex i = 5000; i-- > 0;) table.insert(i, {}, keys_with(hint(i)));
  for (CredentialIndex i = 0; i < 5000; i += 2) table.erase(i);

  for (CredentialIndex i = 0; i < 5000; ++i) {
    CAPTURE(i);
    CHECK(table.find(hint(i)) == (i % 2 == 0 ? kNoCredential : i));
  }
  CHECK_FALSE(table.reserve_piece(5000));
  // 128 pages, 64 a piece; what comes and goes meanwhile is there, and gone.
  CHECK(table.reserve_piece(50'000));
  table.insert(5000, {}, keys_with(hint(5000)));
  table.erase(4997);
  CHECK(table.reserve_piece(50'000));
  CHECK_FALSE(table.reserve_piece(50'000));
  CHECK(table.find(hint(4999)) == 4999);
  CHECK(table.find(hint(4998)) == kNoCredential);
  CHECK(table.find(hint(4997)) == kNoCredential);
  CHECK(table.find(hint(5000)) == 5000);
}

TEST_CASE("spa slot table: room on its way is dropped when the table gets its size by other means",
          "[spa][slot_table]") {
  SlotTable table;
  table.reset(Slot{1}, 10);
  REQUIRE(table.reserve_piece(50'000));
  REQUIRE(table.is_growing());
  SECTION("a reset") { table.reset(Slot{2}, 50'000); }
  SECTION("a credential with a high number") { table.insert(50'000, {}, keys_with(7)); }
  CHECK_FALSE(table.is_growing());
  CHECK_FALSE(table.reserve_piece(50'000));
}

TEST_CASE("spa slot table: erasing a credential of a former slot wipes it and touches no other", "[spa][slot_table]") {
  SlotTable table;
  table.reset(Slot{1}, 200);
  for (CredentialIndex i = 0; i < 200; ++i) table.insert(i, {}, keys_with(0x0102'0000'0000'0000 + i));
  table.reset(Slot{2}, 10);
  for (CredentialIndex i = 0; i < 10; ++i) table.insert(i, {}, keys_with(0x0102'0000'0000'0000 + i));

  for (CredentialIndex i = 10; i < 200; ++i) table.erase(i);
  table.erase(1'000'000);

  for (CredentialIndex i = 0; i < 10; ++i) CHECK(table.find(0x0102'0000'0000'0000 + i) == i);
  CHECK(table.record(199).hint == 0);
}

TEST_CASE("spa slot table: erasing wipes the record", "[spa][slot_table]") {
  SlotTable table;
  table.reset(Slot{1}, 1);
  SlotKeys keys = keys_with(7);
  keys.aead.mutable_view()[0] = 9;
  table.insert(0, {}, keys);
  REQUIRE(table.record(0).aead[0] == 9);

  table.erase(0);

  CHECK(table.record(0).hint == 0);
  CHECK(table.record(0).aead[0] == 0);
}
