// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/mapped_journal.h>

#include <unistd.h>

#include <algorithm>

#include <natt/spa/errc.h>

#include "journal_file.h"
#include "journal_writer.h"

namespace natt::spa {
namespace {

// At most this long after a record the file says that the verifier was alive then.
constexpr std::chrono::milliseconds kBeatLag{100};

class MemorySource final : public JournalSource {
 public:
  explicit MemorySource(ByteView memory) : memory_(memory) {}
  [[nodiscard]] std::uint64_t size() const override { return memory_.size(); }
  [[nodiscard]] bool read(std::uint64_t offset, MutableBytes out) override {
    if (offset > memory_.size() || out.size() > memory_.size() - offset) return false;
    std::copy_n(memory_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return true;
  }

 private:
  ByteView memory_;
};

}  // namespace

std::string_view to_string(ReplayState state) {
  switch (state) {
    case ReplayState::kComplete: return "complete";
    case ReplayState::kFirst: return "first";
    case ReplayState::kMissing: return "missing";
    case ReplayState::kStale: return "stale";
    case ReplayState::kCorrupt: return "corrupt";
    case ReplayState::kUnavailable: return "unavailable";
  }
  return "unknown";
}

std::string ReplayStatus::describe() const {
  std::string text = "state=" + std::string(to_string(state)) + " restored=" + std::to_string(restored);
  if (!reason.empty()) text += " reason=\"" + reason + "\"";
  return text;
}

class MappedJournal::Lock {
 public:
  explicit Lock(FileDescriptor fd) : fd_(std::move(fd)) {}

 private:
  FileDescriptor fd_;
};

// What is known of former runs: empty when nothing is.
struct MappedJournal::Former {
  Duration accept_from{};  // time since boot
  WallTime newest{};
  SlotHistory lost;
  std::vector<JournalSegment> segments;

  // Slots whose nonces are not all in `segments`.
  [[nodiscard]] std::vector<SlotRange> unknown_slots() const;
};

class MappedJournal::File {
 public:
  File(std::unique_ptr<JournalFile> file, const JournalWriter::Start& start, const HostTime& now)
      : file_(std::move(file)), writer_(file_->memory(), start, now) {}
  [[nodiscard]] JournalFile& file() { return *file_; }
  [[nodiscard]] JournalWriter& writer() { return writer_; }

 private:
  std::unique_ptr<JournalFile> file_;
  JournalWriter writer_;
};

// A slot that is held without a gap is known, though a range around it may have been joined over it.
std::vector<SlotRange> MappedJournal::Former::unknown_slots() const {
  std::vector<SlotRange> unknown(lost.ranges().begin(), lost.ranges().end());
  for (const JournalSegment& segment : segments) {
    if (segment.revisited) continue;
    std::vector<SlotRange> rest;
    for (const SlotRange& range : unknown) {
      const bool inside = range.first <= segment.slot && segment.slot <= range.last;
      if (!inside) {
        rest.push_back(range);
        continue;
      }
      if (range.first < segment.slot) rest.push_back({range.first, {segment.slot.number - 1}});
      if (segment.slot < range.last) rest.push_back({segment.slot.plus(1), range.last});
    }
    unknown = std::move(rest);
  }
  return unknown;
}

std::size_t MappedJournal::records_for(std::size_t clients, std::size_t infrastructure) {
  constexpr std::size_t kPerClient = 6;
  constexpr std::size_t kPerInfrastructure = 4096;
  constexpr std::size_t kLeast = 49152;
  return std::clamp(clients * kPerClient + infrastructure * kPerInfrastructure, kLeast, kJournalMaxCapacity);
}

MappedJournal::MappedJournal(const MappedJournalOptions& options, const HostClock& clock, Random& random)
    : options_(options), clock_(clock), random_(random), former_(std::make_unique<Former>()) {}

MappedJournal::~MappedJournal() = default;

Result<std::unique_ptr<MappedJournal>> MappedJournal::open(const MappedJournalOptions& options, const HostClock& clock,
                                                           Random& random) {
  std::unique_ptr<MappedJournal> journal(new MappedJournal(options, clock, random));
  if (auto locked = journal->lock(); !locked) {
    if (locked.error().code == make_error_code(Errc::kInUse)) return tl::unexpected(locked.error());
    // Without the lock another process may be at the file: neither read nor replaced.
    journal->former_->accept_from = clock.read().boot + kQuarantine;
    journal->doubt(ReplayState::kUnavailable, locked.error().message);
    return journal;
  }
  journal->load();
  if (auto made = journal->replace_file(options.records_per_slot); !made) {
    journal->doubt(ReplayState::kUnavailable, made.error().message);
    // What this run accepts will not stand in it: it must not vouch for this run.
    ::unlink(options.path.c_str());
  }
  return journal;
}

Result<void> MappedJournal::lock() {
  auto locked = lock_file(options_.path.string() + ".lock");
  if (!locked) return tl::unexpected(locked.error());
  never_locked_ = locked->made;
  lock_ = std::make_unique<Lock>(std::move(locked->fd));
  return {};
}

void MappedJournal::doubt(ReplayState state, std::string reason) {
  status_.state = state;
  status_.reason = std::move(reason);
}

void MappedJournal::load() {
  auto result = find_journal(options_.path, options_.verifier);
  const HostTime now = clock_.read();
  former_->accept_from = now.boot + kQuarantine;
  if (std::holds_alternative<NoJournal>(result)) {
    // The lock's file stays when a run ends: with it, there was one.
    const bool first = never_locked_ && options_.keys_made && now.wall >= *options_.keys_made &&
                       now.wall - *options_.keys_made <= kNewKeys;
    if (first) former_->accept_from = now.boot;
    return doubt(first ? ReplayState::kFirst : ReplayState::kMissing,
                 first ? "the keys are new" : "there is no replay journal");
  }
  if (auto* damage = std::get_if<JournalDamage>(&result)) {
    return doubt(ReplayState::kCorrupt, std::move(damage->reason));
  }
  auto& found = std::get<FoundJournal>(result);
  found.witness.now = now;
  former_->newest = found.contents.newest;
  former_->lost = found.contents.lost;
  if (auto doubtful = find_doubt(found.contents, found.witness)) {
    // Its records may not be all: these slots, and those its verifier was in last, count as lost.
    for (const JournalSegment& segment : found.contents.segments) former_->lost.add(segment.slot);
    const WallTime last = found.contents.last_beat.wall;
    former_->lost.add({Slot::of(last - kQuarantine), Slot::of(last + kQuarantine)});
    return doubt(ReplayState::kStale, *std::move(doubtful));
  }
  // A run that was itself refusing older frames, and died: what it refused stays refused.
  former_->accept_from = found.contents.accept_from;
  former_->segments = std::move(found.contents.segments);
  doubt(ReplayState::kComplete, "");
}

// Always a new file: a key and an identity of its own, and what a reader finds is the whole old one or the whole new.
Result<void> MappedJournal::replace_file(std::size_t capacity) {
  capacity = std::clamp<std::size_t>(capacity, 1, kJournalMaxCapacity);
  for (const JournalSegment& segment : former_->segments) capacity = std::max(capacity, segment.records.size());
  auto made = JournalFile::make(options_.path, journal_size(capacity));
  if (!made) return tl::unexpected(made.error());
  const JournalOrigin origin = (*made)->origin();
  auto file = std::make_unique<File>(std::move(*made),
                                     JournalWriter::Start{.verifier = options_.verifier.bytes,
                                                          .key = random_.bytes<kSipHashKeySize>(),
                                                          .origin = origin,
                                                          .capacity = capacity,
                                                          .lost = former_->lost,
                                                          .newest = former_->newest,
                                                          .accept_from = former_->accept_from},
                                     clock_.read());
  for (const JournalSegment& segment : former_->segments) {
    if (segment.revisited) file->writer().mark_revisited(segment.slot);
    for (const ReplayRecord& record : segment.records) {
      if (!file->writer().append(record)) return fail(Errc::kLimit, "the former journal does not fit into the new one");
    }
  }
  if (auto published = file->file().publish(); !published) return published;
  file_ = std::move(file);
  status_.records_per_slot = capacity;
  handle_timeout();
  return {};
}

void MappedJournal::brief(VerifierOptions& options, Instant start) {
  options.journal = file_ ? this : nullptr;
  // Long past, it refuses nothing that is not too old anyway.
  const Duration left = former_->accept_from - clock_.read().boot;
  if (left > -2 * kQuarantine) status_.accept_from = start + left;
  options.accept_from = status_.accept_from;
  options.lost_slots = former_->unknown_slots();
  options.newest_of_former = former_->newest + kQuarantine;
}

void MappedJournal::restore(Verifier& verifier, WallTime wall_now) {
  for (const JournalSegment& segment : former_->segments) {
    for (const ReplayRecord& record : segment.records) status_.restored += verifier.restore(wall_now, record) ? 1u : 0u;
  }
  former_ = std::make_unique<Former>();
}

bool MappedJournal::append(const ReplayRecord& record) noexcept {
  if (!file_ || !file_->writer().append(record)) {
    ++status_.refused;
    return false;
  }
  ++status_.appended;
  const WallTime wall = clock_.coarse_wall();
  if (wall - last_beat_ >= kBeatLag || wall < last_beat_) handle_timeout();
  return true;
}

void MappedJournal::handle_timeout() {
  if (!file_) return;
  const HostTime now = clock_.read();
  file_->writer().beat(now);
  last_beat_ = now.wall;
}

Result<void> MappedJournal::reserve(std::size_t records_per_slot) {
  if (!file_ || records_per_slot <= file_->writer().capacity()) return {};
  MemorySource source(file_->file().memory());
  auto contents = read_journal(source, options_.verifier);
  if (auto* damage = std::get_if<JournalDamage>(&contents)) {
    return fail(Errc::kUnavailable, options_.path.string() + ": " + damage->reason);
  }
  auto& own = std::get<JournalContents>(contents);
  former_ = std::make_unique<Former>();
  former_->accept_from = own.accept_from;
  former_->newest = own.newest;
  former_->lost = own.lost;
  former_->segments = std::move(own.segments);
  // A site that grows device by device does not make a file for each.
  const std::size_t capacity = file_->writer().capacity();
  auto replaced = replace_file(std::max(records_per_slot, capacity + capacity / 4));
  former_ = std::make_unique<Former>();
  return replaced;
}

}  // namespace natt::spa
