// SPDX-License-Identifier: Apache-2.0
// Journals in plain memory: what the writer leaves there, the reader gives back or refuses.
#include "libspa/src/journal_reader.h"
#include "libspa/src/journal_trust.h"
#include "libspa/src/journal_writer.h"

#include <memory>
#include <set>

#include <catch2/catch_test_macros.hpp>

#include <tests/support/seeded_random.h>

using namespace natt;
using namespace natt::spa;
using std::chrono::seconds;

namespace {

constexpr std::size_t kCapacity = 16;
const DeviceId kVerifier = DeviceId::of({"hq", Role::kBroker, "b1"});
const HostTime kNow{WallTime(seconds(64 * 27'600'000)), std::chrono::hours(3)};
const Slot kSlot = Slot::of(kNow.wall);

class Memory final : public JournalSource {
 public:
  explicit Memory(ByteBuffer from) : octets(std::move(from)) {}
  [[nodiscard]] std::uint64_t size() const override { return octets.size(); }
  [[nodiscard]] bool read(std::uint64_t offset, MutableBytes out) override {
    if (offset > octets.size() || out.size() > octets.size() - offset) return false;
    std::copy_n(octets.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return true;
  }
  ByteBuffer octets;
};

struct Image {
  test::SeededRandom random{test::test_seed()};
  ByteBuffer memory = ByteBuffer(journal_size(kCapacity));
  JournalWriter::Start start{.verifier = kVerifier.bytes, .key = random.bytes<16>(), .capacity = kCapacity};
  std::unique_ptr<JournalWriter> writer;
  std::vector<ReplayRecord> written;

  Image() {
    start.origin = {.boot_id = random.bytes<16>(), .device = 1, .inode = 2, .birth_ns = 3};
    writer = std::make_unique<JournalWriter>(memory, start, kNow);
  }
  bool append(Slot slot) {
    const ReplayRecord record{slot, random.bytes<20>()};
    if (!writer->append(record)) return false;
    written.push_back(record);
    return true;
  }
  [[nodiscard]] std::variant<JournalContents, JournalDamage> read() const { return read(memory); }
  [[nodiscard]] static std::variant<JournalContents, JournalDamage> read(ByteBuffer octets) {
    Memory source(std::move(octets));
    return read_journal(source, kVerifier);
  }
};

std::multiset<std::pair<std::uint64_t, std::array<std::uint8_t, 20>>> records_in(const JournalContents& contents) {
  std::multiset<std::pair<std::uint64_t, std::array<std::uint8_t, 20>>> records;
  for (const JournalSegment& segment : contents.segments) {
    for (const ReplayRecord& record : segment.records) records.insert({record.slot.number, record.opening});
  }
  return records;
}

}  // namespace

TEST_CASE("spa journal: what was appended is read back", "[spa][journal]") {
  Image image;
  for (std::uint64_t i = 0; i < 30; ++i) REQUIRE(image.append(kSlot.plus(i % 3)));

  const auto contents = std::get<JournalContents>(image.read());
  CHECK(records_in(contents).size() == 30);
  for (const ReplayRecord& record : image.written) {
    CHECK(records_in(contents).contains({record.slot.number, record.opening}));
  }
  CHECK(contents.origin == image.start.origin);
  CHECK(contents.last_beat.wall == kNow.wall);
  CHECK(contents.last_beat.boot == kNow.boot);
  CHECK(contents.lost.ranges().empty());
}

TEST_CASE("spa journal: an empty one is whole", "[spa][journal]") {
  const Image image;
  CHECK(std::get<JournalContents>(image.read()).segments.empty());
}

TEST_CASE("spa journal: a full slot refuses and keeps what it has", "[spa][journal]") {
  Image image;
  for (std::size_t i = 0; i < kCapacity; ++i) REQUIRE(image.append(kSlot));
  CHECK_FALSE(image.append(kSlot));
  CHECK(image.append(kSlot.plus(1)));
  CHECK_FALSE(image.append(kSlot));

  CHECK(records_in(std::get<JournalContents>(image.read())).size() == kCapacity + 1);
}

TEST_CASE("spa journal: old slots make room and are remembered as lost", "[spa][journal]") {
  Image image;
  for (std::uint64_t slot = 0; slot < 40; ++slot) {
    for (int i = 0; i < 3; ++i) REQUIRE(image.append(kSlot.plus(slot)));
  }

  const auto contents = std::get<JournalContents>(image.read());
  CHECK(records_in(contents).size() == 9);
  REQUIRE(contents.lost.ranges().size() == 1);
  CHECK(contents.lost.ranges()[0].first == kSlot);
  CHECK(contents.lost.ranges()[0].last == kSlot.plus(36));
  for (const JournalSegment& segment : contents.segments) CHECK_FALSE(segment.revisited);
}

TEST_CASE("spa journal: a slot that comes again is marked", "[spa][journal]") {
  Image image;
  for (std::uint64_t slot = 0; slot < 6; ++slot) REQUIRE(image.append(kSlot.plus(slot)));
  REQUIRE(image.append(kSlot));

  const auto contents = std::get<JournalContents>(image.read());
  for (const JournalSegment& segment : contents.segments) CHECK(segment.revisited == (segment.slot == kSlot));
  CHECK(contents.lost.contains(kSlot));
  CHECK(contents.lost.contains(kSlot.plus(3)));
}

TEST_CASE("spa journal: the newest beat counts, and the latest time of all is kept", "[spa][journal]") {
  Image image;
  image.writer->beat({kNow.wall + std::chrono::hours(1), kNow.boot + seconds(1)});
  image.writer->beat({kNow.wall, kNow.boot + seconds(2)});

  const auto contents = std::get<JournalContents>(image.read());
  CHECK(contents.last_beat.wall == kNow.wall);
  CHECK(contents.last_beat.boot == kNow.boot + seconds(2));
  CHECK(contents.newest == kNow.wall + std::chrono::hours(1));
}

TEST_CASE("spa journal: a flipped bit is seen or changes nothing", "[spa][journal]") {
  Image image;
  for (std::uint64_t i = 0; i < 24; ++i) REQUIRE(image.append(kSlot.plus(i % 5)));
  const auto whole = records_in(std::get<JournalContents>(image.read()));
  const auto lost = std::get<JournalContents>(image.read()).lost;
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < image.memory.size() * 8; ++bit) {
    ByteBuffer flipped = image.memory;
    flipped[bit / 8] ^= static_cast<std::uint8_t>(1u << (bit % 8));
    const auto result = Image::read(std::move(flipped));
    const auto* contents = std::get_if<JournalContents>(&result);
    refused += contents == nullptr ? 1 : 0;
    if (contents == nullptr) continue;
    CAPTURE(bit);
    REQUIRE(records_in(*contents) == whole);
    REQUIRE(contents->last_beat.boot <= kNow.boot);
    for (const SlotRange& range : lost.ranges()) REQUIRE(contents->lost.contains(range.first));
  }
  // Header, one plan, its commit words, the active word, and every record that counts.
  CHECK(refused >= 8 * (sizeof(FileHeader) + sizeof(Plan) + whole.size() * kJournalRecordSize));
}

TEST_CASE("spa journal: every other size is refused", "[spa][journal]") {
  Image image;
  REQUIRE(image.append(kSlot));
  for (std::size_t size = 0; size <= image.memory.size() + 1; ++size) {
    if (size == image.memory.size()) continue;
    ByteBuffer cut = image.memory;
    cut.resize(size);
    CAPTURE(size);
    REQUIRE(std::holds_alternative<JournalDamage>(Image::read(std::move(cut))));
  }
}

TEST_CASE("spa journal: pages of another file or of before are refused", "[spa][journal]") {
  Image image;
  Image other;
  for (int i = 0; i < 5; ++i) REQUIRE((image.append(kSlot) && other.append(kSlot)));
  const ByteBuffer before = image.memory;
  for (int i = 0; i < 5; ++i) REQUIRE(image.append(kSlot));

  ByteBuffer foreign_records = image.memory;
  std::copy(other.memory.begin() + kJournalPage, other.memory.end(), foreign_records.begin() + kJournalPage);
  CHECK(std::holds_alternative<JournalDamage>(Image::read(foreign_records)));
  ByteBuffer old_records = image.memory;
  std::copy(before.begin() + kJournalPage, before.end(), old_records.begin() + kJournalPage);
  CHECK(std::holds_alternative<JournalDamage>(Image::read(old_records)));
  Memory source(image.memory);
  CHECK(std::holds_alternative<JournalDamage>(read_journal(source, DeviceId::of({"hq", Role::kBroker, "b2"}))));
}

TEST_CASE("spa journal: stores that a kill cut short change nothing that counted", "[spa][journal]") {
  Image image;
  for (std::uint64_t i = 0; i < 20; ++i) REQUIRE(image.append(kSlot.plus(i % 3)));
  test::SeededRandom random{test::test_seed()};
  for (int round = 0; round < 300; ++round) {
    const ByteBuffer before = image.memory;
    const auto counted = records_in(std::get<JournalContents>(image.read()));
    // A new slot now and then: the plan changes as well.
    const Slot slot = kSlot.plus(static_cast<std::uint64_t>(round / 5) + random.uniform(2));
    if (!image.append(slot)) continue;
    // Everything but the last word that makes it count: the active word and the commit words.
    ByteBuffer torn = image.memory;
    const std::size_t words = offsetof(JournalPage, active);
    std::copy_n(before.begin() + words, 8, torn.begin() + words);
    const bool replanned = std::memcmp(&before[words], &image.memory[words], 8) != 0;
    if (!replanned) {
      const std::size_t commits = offsetof(JournalPage, commits);
      std::copy_n(before.begin() + commits, 48, torn.begin() + commits);
      REQUIRE(records_in(std::get<JournalContents>(Image::read(torn))) == counted);
    } else {
      // The new slot's record may have overwritten one of the slot it replaced only after the plan counted.
      std::copy(before.begin() + kJournalPage, before.end(), torn.begin() + kJournalPage);
      REQUIRE(records_in(std::get<JournalContents>(Image::read(torn))) == counted);
    }
  }
}

TEST_CASE("spa journal: random octets are never a journal", "[spa][journal]") {
  test::SeededRandom random{test::test_seed()};
  for (int round = 0; round < 2000; ++round) {
    ByteBuffer octets(journal_size(kCapacity));
    random.fill(octets);
    if (round % 2 == 0) std::copy(kJournalMagic.begin(), kJournalMagic.end(), octets.begin());
    if (round % 4 == 0) octets[8] = 1, octets[9] = octets[10] = octets[11] = 0;
    REQUIRE(std::holds_alternative<JournalDamage>(Image::read(std::move(octets))));
  }
}

TEST_CASE("spa journal trust: only the untouched last word of a run just ended", "[spa][journal]") {
  const Image image;
  const auto contents = std::get<JournalContents>(image.read());
  const JournalWitness good{.now = {kNow.wall + seconds(2), kNow.boot + seconds(2)},
                            .origin = image.start.origin,
                            .changed_at = kNow.wall};
  CHECK_FALSE(find_doubt(contents, good));
  const auto doubtful = [&](auto change) {
    JournalWitness witness = good;
    change(witness);
    return find_doubt(contents, witness).has_value();
  };
  const auto later = [](JournalWitness& witness, Duration by) {
    witness.now.boot += by;
    witness.now.wall += std::chrono::duration_cast<std::chrono::milliseconds>(by);
  };

  CHECK(doubtful([](auto& w) { w.origin.boot_id[3] ^= 1; }));
  CHECK(doubtful([](auto& w) { ++w.origin.inode; }));
  CHECK(doubtful([](auto& w) { ++w.origin.device; }));
  CHECK(doubtful([](auto& w) { ++w.origin.birth_ns; }));
  CHECK_FALSE(doubtful([&](auto& w) { later(w, seconds(28)); }));
  CHECK(doubtful([&](auto& w) { later(w, seconds(29)); }));
  CHECK(doubtful([&](auto& w) { later(w, -seconds(3)); }));
  CHECK(doubtful([](auto& w) { w.now.wall += seconds(2); }));
  CHECK(doubtful([](auto& w) { w.now.wall -= seconds(2); }));
  CHECK_FALSE(doubtful([](auto& w) { w.changed_at += seconds(1); }));
  CHECK(doubtful([](auto& w) { w.changed_at += seconds(1) + std::chrono::milliseconds(1); }));
}

TEST_CASE("spa journal trust: a host that does not tell its boot is not believed", "[spa][journal]") {
  Image image;
  image.start.origin.boot_id = {};
  image.memory.assign(image.memory.size(), 0);
  image.writer = std::make_unique<JournalWriter>(image.memory, image.start, kNow);

  const auto contents = std::get<JournalContents>(image.read());
  CHECK(find_doubt(contents, {.now = kNow, .origin = image.start.origin, .changed_at = kNow.wall}));
}
