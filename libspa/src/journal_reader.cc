// SPDX-License-Identifier: Apache-2.0
#include "journal_reader.h"

#include <algorithm>
#include <optional>

namespace natt::spa {
namespace {

WallTime wall_of(std::int64_t milliseconds) { return WallTime(std::chrono::milliseconds(milliseconds)); }

// The year 2109. What lies beyond is damage, and nanoseconds between two such times would overflow.
constexpr std::int64_t kMaxMilliseconds = std::int64_t{1} << 42;

constexpr std::uint64_t kMaxSlot = std::uint64_t{kMaxMilliseconds} / 64'000;

bool is_time(std::int64_t milliseconds) { return milliseconds >= 0 && milliseconds <= kMaxMilliseconds; }

class Reader {
 public:
  explicit Reader(JournalSource& source) : source_(source) {}

  std::variant<JournalContents, JournalDamage> read(const DeviceId& verifier) {
    if (const char* wrong = check_header(verifier)) return JournalDamage{wrong};
    const Beat* beat = newest_beat();
    if (beat == nullptr) return JournalDamage{"it does not say when it was last in use"};
    const Plan* plan = plan_in_force();
    if (plan == nullptr) return JournalDamage{"it does not say what it holds"};
    JournalContents contents{.origin = page_.header.origin,
                             .last_beat = {wall_of(beat->wall_ms), Duration(beat->boot_ns)},
                             .newest = wall_of(beat->newest_ms),
                             .accept_from = Duration(page_.header.accept_from_boot_ns)};
    for (std::uint64_t i = 0; i < plan->lost_count; ++i) contents.lost.add(plan->lost[i]);
    for (std::size_t i = 0; i < kJournalSegments; ++i) {
      if (!read_segment(*plan, i, contents)) return JournalDamage{"its records are damaged"};
    }
    return contents;
  }

 private:
  // The first thing that is wrong, or null.
  const char* check_header(const DeviceId& verifier) {
    std::array<std::uint8_t, kJournalPage> octets{};
    if (source_.size() < octets.size() || !source_.read(0, octets)) return "it is too short";
    std::memcpy(&page_, octets.data(), sizeof page_);
    const FileHeader& header = page_.header;
    if (header.magic != kJournalMagic) return "it is not a replay journal";
    if (header.version != kJournalVersion) return "it has another version";
    if (header.mac != mac_of(header.key, header, kHeaderDomain)) return "its header is damaged";
    if (header.capacity == 0 || header.capacity > kJournalMaxCapacity) return "its header is damaged";
    if (source_.size() != journal_size(header.capacity)) return "it has the wrong size";
    if (header.verifier != verifier.bytes) return "it belongs to another verifier";
    return nullptr;
  }

  const Beat* newest_beat() const {
    const Beat* newest = nullptr;
    for (const Beat& beat : page_.beats) {
      const bool whole = beat.sequence != 0 && beat.mac == mac_of(page_.header.key, beat, kBeatDomain);
      if (!whole || !is_time(beat.wall_ms) || !is_time(beat.newest_ms) || beat.boot_ns < 0) continue;
      if (newest == nullptr || beat.sequence > newest->sequence) newest = &beat;
    }
    return newest;
  }

  const Plan* plan_in_force() {
    for (const std::size_t half : {std::size_t{0}, std::size_t{1}}) {
      const Plan& plan = page_.plans[half];
      if (plan.sequence % 2 != half || plan.sequence == 0) continue;
      if (page_.active != active_word(page_.header.key, plan.sequence)) continue;
      if (plan.mac != mac_of(page_.header.key, plan, kPlanDomain) || plan.lost_count > plan.lost.size()) return nullptr;
      half_ = half;
      return &plan;
    }
    return nullptr;
  }

  bool read_segment(const Plan& plan, std::size_t at, JournalContents& contents) {
    const SegmentPlan& segment = plan.segments[at];
    const std::uint64_t word = page_.commits[half_][at];
    const std::size_t count = number_of(word);
    if (count > page_.header.capacity) return false;
    if (segment.slot == kNoSlot) return word == 0;
    if (segment_of(segment.slot) != at || segment.slot > kMaxSlot) return false;
    std::vector<std::uint8_t> octets(count * kJournalRecordSize);
    if (!source_.read(segment_offset(at, page_.header.capacity), octets)) return false;
    JournalSegment read{.slot = {segment.slot}, .revisited = segment.revisited != 0, .records = {}};
    read.records.reserve(count);
    std::uint64_t chain = segment.seed;
    for (std::size_t i = 0; i < count; ++i) {
      ReplayRecord& record = read.records.emplace_back(ReplayRecord{read.slot, {}});
      std::copy_n(octets.begin() + static_cast<std::ptrdiff_t>(i * kJournalRecordSize), kJournalRecordSize,
                  record.opening.begin());
      chain = next_chain(page_.header.key, chain, i, record.opening);
    }
    if (word != make_word(count, chain)) return false;
    contents.segments.push_back(std::move(read));
    return true;
  }

  JournalSource& source_;
  JournalPage page_;
  std::size_t half_ = 0;
};

}  // namespace

std::variant<JournalContents, JournalDamage> read_journal(JournalSource& source, const DeviceId& verifier) {
  return Reader(source).read(verifier);
}

}  // namespace natt::spa
