// SPDX-License-Identifier: Apache-2.0
// Any octets as a journal's file. As they are: no crash. And as changes to a journal that
// was written: what is read as whole holds every record that was in it, or is refused. And
// as such changes with every hash made right again, which gets behind the hashes: no crash.
#include <cstdlib>
#include <set>

#include <natt/bytes.h>

#include "libspa/src/journal_reader.h"
#include "libspa/src/journal_trust.h"
#include "libspa/src/journal_writer.h"

using namespace natt;
using namespace natt::spa;

namespace {

constexpr std::size_t kCapacity = 8;
const HostTime kNow{WallTime(std::chrono::seconds(64 * 27'600'000)), std::chrono::hours(1)};

class Memory final : public JournalSource {
 public:
  explicit Memory(ByteView octets) : octets_(octets) {}
  [[nodiscard]] std::uint64_t size() const override { return octets_.size(); }
  [[nodiscard]] bool read(std::uint64_t offset, MutableBytes out) override {
    if (offset > octets_.size() || out.size() > octets_.size() - offset) return false;
    std::copy_n(octets_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return true;
  }

 private:
  ByteView octets_;
};

std::multiset<std::array<std::uint8_t, 20>> records_of(const JournalContents& contents) {
  std::multiset<std::array<std::uint8_t, 20>> records;
  for (const JournalSegment& segment : contents.segments) {
    for (const ReplayRecord& record : segment.records) records.insert(record.opening);
  }
  return records;
}

std::variant<JournalContents, JournalDamage> read(ByteView octets) {
  Memory memory(octets);
  auto result = read_journal(memory, DeviceId{});
  if (const auto* contents = std::get_if<JournalContents>(&result)) {
    static_cast<void>(find_doubt(*contents, {.now = kNow, .origin = contents->origin}));
  }
  return result;
}

// A journal with a dozen records over five slots.
ByteBuffer written() {
  ByteBuffer memory(journal_size(kCapacity));
  JournalWriter::Start start{.capacity = kCapacity};
  start.origin.boot_id[0] = 1;
  JournalWriter writer(memory, start, kNow);
  for (std::uint8_t i = 0; i < 12; ++i) {
    ReplayRecord record{Slot::of(kNow.wall).plus(i / 3), {}};
    record.opening[0] = i;
    if (!writer.append(record)) std::abort();
  }
  return memory;
}

// All hashes as a writer with bad intentions would make them.
void forge(ByteBuffer& octets) {
  JournalPage page;
  std::memcpy(&page, octets.data(), sizeof page);
  const JournalKey& key = page.header.key;
  page.header.mac = mac_of(key, page.header, kHeaderDomain);
  for (Beat& beat : page.beats) beat.mac = mac_of(key, beat, kBeatDomain);
  for (Plan& plan : page.plans) plan.mac = mac_of(key, plan, kPlanDomain);
  page.active = active_word(key, std::max(page.plans[0].sequence, page.plans[1].sequence));
  std::memcpy(octets.data(), &page, sizeof page);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static_cast<void>(read({data, size}));
  static const ByteBuffer whole = written();
  ByteBuffer changed = whole;
  // Offset, then what is laid over it; an odd first octet cuts the file there.
  if (size < 4) return 0;
  const std::size_t at = (std::size_t{data[1]} << 8 | data[2]) % changed.size();
  if (data[0] % 2 == 1) changed.resize(at);
  for (std::size_t i = 3; i < size && at + i - 3 < changed.size(); ++i) changed[at + i - 3] ^= data[i];
  const auto result = read(changed);
  const auto* contents = std::get_if<JournalContents>(&result);
  if (changed.size() >= kJournalPage) {
    ByteBuffer forged = changed;
    forge(forged);
    static_cast<void>(read(forged));
  }
  if (contents != nullptr && records_of(*contents) != records_of(std::get<JournalContents>(read(whole)))) std::abort();
  return 0;
}
