// SPDX-License-Identifier: Apache-2.0
#include <natt/spa/mapped_journal.h>

#include <unistd.h>

#include <algorithm>

#include <natt/spa/errc.h>

#include "accept_rate.h"
#include "journal_file.h"
#include "journal_move.h"
#include "journal_trust.h"
#include "journal_writer.h"

namespace natt::spa {
namespace {

// At most this long after a record the file says that the verifier was alive then.
constexpr std::chrono::milliseconds kBeatLag{100};

// About 0.3 ms.
constexpr std::size_t kMovePiece = 4096;
// What the verifier locks for a client while it renews its own key: two pair keys and their keys in three slots, spread
// over the records that a client has room for.
constexpr std::size_t kKeysPerRecord = std::size_t{2} * (32 + 3 * 64) / kAcceptedPerClient;

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
  File(std::unique_ptr<JournalRoom> room, const JournalFile& file, const JournalWriter::Start& start,
       const HostTime& now)
      : room_(std::move(room)), locked_(file.locked()), writer_(file.memory(), start, now) {}
  [[nodiscard]] JournalRoom& room() { return *room_; }
  [[nodiscard]] bool locked() const { return locked_; }
  [[nodiscard]] JournalWriter& writer() { return writer_; }
  [[nodiscard]] std::unique_ptr<JournalRoom> take_room() { return std::move(room_); }

 private:
  std::unique_ptr<JournalRoom> room_;
  bool locked_;
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

JournalRoom::JournalRoom(std::unique_ptr<JournalFile> file, std::size_t capacity)
    : file_(std::move(file)), capacity_(capacity) {}

JournalRoom::~JournalRoom() = default;

Result<std::unique_ptr<JournalRoom>> JournalRoom::make(const std::filesystem::path& journal,
                                                       std::size_t records_per_slot) {
  const std::size_t capacity = std::clamp<std::size_t>(records_per_slot, 1, kJournalMaxCapacity);
  auto file = JournalFile::make(journal, journal_size(capacity), capacity * kKeysPerRecord);
  if (!file) return tl::unexpected(file.error());
  return std::unique_ptr<JournalRoom>(new JournalRoom(std::move(*file), capacity));
}

Result<void> JournalRoom::publish() { return file_->publish(); }

std::size_t MappedJournal::records_for(std::size_t clients, std::size_t infrastructure) {
  return std::min(accepted_per_slot(clients, infrastructure), kJournalMaxCapacity);
}

MappedJournal::MappedJournal(const MappedJournalOptions& options, const HostClock& clock, Random& random)
    : options_(options), clock_(clock), random_(random), former_(std::make_unique<Former>()) {}

MappedJournal::~MappedJournal() = default;

Result<std::unique_ptr<MappedJournal>> MappedJournal::open(const MappedJournalOptions& options, const HostClock& clock,
                                                           Random& random) {
  std::unique_ptr<MappedJournal> journal(new MappedJournal(options, clock, random));
  if (auto locked = journal->lock(); !locked) {
    if (locked.error().code == make_error_code(Errc::kInUse)) return tl::unexpected(locked.error());
    // Without the lock another process may be at the file: neither read nor replaced. It may vouch for the run before to
    // whoever starts next, within kJournalTrust: this one accepts nothing for so long.
    journal->former_->accept_from = clock.read().boot + kQuarantine + kJournalTrust;
    journal->doubt(ReplayState::kUnavailable, locked.error().message);
    return journal;
  }
  remove_unpublished(options.path);
  journal->load();
  if (auto made = journal->make_first_file(options.records_per_slot); !made) {
    journal->doubt(ReplayState::kUnavailable, made.error().message);
    journal->may_come_ = made.error().code != make_error_code(Errc::kUnavailable);
    // What this run accepts will not stand in it: it must not vouch for this run.
    ::unlink(options.path.c_str());
  }
  return journal;
}

Result<void> MappedJournal::lock() {
  auto locked = lock_file(options_.path.string() + ".lock");
  if (!locked) return tl::unexpected(locked.error());
  never_locked_ = locked->made;
  is_volatile_ = locked->is_volatile;
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
    // The lock's file stays when a run ends: with it, there was one. On a tmpfs it goes with the host's run.
    const auto booted_at = now.wall - std::chrono::floor<std::chrono::milliseconds>(now.boot);
    const bool first = never_locked_ && options_.keys_made && now.wall >= *options_.keys_made &&
                       now.wall - *options_.keys_made <= kNewKeys &&
                       (!is_volatile_ || booted_at <= *options_.keys_made);
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
std::unique_ptr<MappedJournal::File> MappedJournal::fill(std::unique_ptr<JournalRoom> room, const Former& former) {
  const JournalFile& file = *room->file_;
  const JournalWriter::Start start{.verifier = options_.verifier.bytes,
                                   .key = random_.bytes<kSipHashKeySize>(),
                                   .origin = file.origin(),
                                   .capacity = room->capacity_,
                                   .lost = former.lost,
                                   .newest = former.newest,
                                   .accept_from = former.accept_from};
  auto filled = std::make_unique<File>(std::move(room), file, start, clock_.read());
  for (const JournalSegment& segment : former.segments) {
    if (segment.revisited) filled->writer().mark_revisited(segment.slot);
    // There is room for the longest.
    for (const ReplayRecord& record : segment.records) static_cast<void>(filled->writer().append(record));
  }
  return filled;
}

Result<void> MappedJournal::make_first_file(std::size_t capacity) {
  for (const JournalSegment& segment : former_->segments) capacity = std::max(capacity, segment.records.size());
  auto room = JournalRoom::make(options_.path, capacity);
  if (!room) return tl::unexpected(room.error());
  auto filled = fill(std::move(*room), *former_);
  if (auto published = filled->room().publish(); !published) return published;
  next_ = std::move(filled);
  static_cast<void>(end_move({}));
  return {};
}

void MappedJournal::brief(VerifierOptions& options, Instant start) {
  options.journal = file_ || may_come_ ? this : nullptr;
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

Error MappedJournal::damage() const {
  return {make_error_code(Errc::kUnavailable), options_.path.string() + ": its records are damaged"};
}

bool MappedJournal::append(const ReplayRecord& record) noexcept {
  // Without a file the first one, while it is on its way, will vouch for what this run accepts from here on.
  File* const answering = file_ ? file_.get() : next_.get();
  // Nothing vouches for a run without either, so the next one does without its records.
  if (answering == nullptr) return true;
  if (!answering->writer().append(record)) {
    ++status_.refused;
    return false;
  }
  // Once it is level: it has more room, so it takes what the other took.
  if (file_ && next_ && !move_) static_cast<void>(next_->writer().append(record));
  ++status_.appended;
  const WallTime wall = clock_.coarse_wall();
  if (wall - last_beat_ >= kBeatLag || wall < last_beat_) handle_timeout();
  return true;
}

void MappedJournal::handle_timeout() {
  if (!file_ && !next_) return;
  const HostTime now = clock_.read();
  if (file_) file_->writer().beat(now);
  if (next_) next_->writer().beat(now);
  last_beat_ = now.wall;
}

std::optional<std::size_t> MappedJournal::wanted_room(std::size_t records_per_slot) const {
  if (next_) return std::nullopt;
  if (!file_) return may_come_ ? std::optional(records_per_slot) : std::nullopt;
  const std::size_t capacity = file_->writer().capacity();
  // Before it is full, but not for the site that it was made for.
  if (records_per_slot <= std::max(options_.records_per_slot, capacity - capacity / 8)) return std::nullopt;
  const std::size_t wanted = std::min(std::max(records_per_slot, capacity) / 2 * 3, kJournalMaxCapacity);
  return wanted > capacity ? std::optional(wanted) : std::nullopt;
}

void MappedJournal::begin_move(std::unique_ptr<JournalRoom> room) {
  Former nothing;
  const HostTime now = clock_.read();
  if (file_) {
    nothing.accept_from = file_->writer().accept_from();
  } else {
    // What was accepted so far stands nowhere.
    nothing.accept_from = now.boot + kQuarantine;
    nothing.newest = now.wall;
    nothing.lost.add({Slot::of(now.wall - kQuarantine), Slot::of(now.wall + kQuarantine)});
  }
  next_ = fill(std::move(room), nothing);
  if (file_) move_ = std::make_unique<JournalMove>(file_->writer(), next_->writer());
}

MovePiece MappedJournal::move_piece() {
  if (!move_) return MovePiece::kLevel;
  switch (move_->step(kMovePiece)) {
    case JournalMove::State::kMoving: return MovePiece::kMore;
    case JournalMove::State::kDamaged: return MovePiece::kFailed;
    case JournalMove::State::kLevel: break;
  }
  move_.reset();
  return MovePiece::kLevel;
}

JournalRoom& MappedJournal::room() { return next_->room(); }

std::unique_ptr<JournalRoom> MappedJournal::end_move(const Result<void>& published) {
  move_.reset();
  std::unique_ptr<File> gone = std::move(next_);
  if (published) {
    std::swap(gone, file_);
    may_come_ = false;
    if (status_.state == ReplayState::kUnavailable) {
      doubt(ReplayState::kMissing, "there was no room for it at the start");
    }
    status_.records_per_slot = file_->writer().capacity();
    status_.in_locked_memory = file_->locked();
    status_.no_room.clear();
    handle_timeout();
  } else {
    status_.no_room = published.error().message;
  }
  return gone ? gone->take_room() : nullptr;
}

Result<void> MappedJournal::reserve(std::size_t records_per_slot) {
  const auto wanted = wanted_room(records_per_slot);
  if (!wanted) return {};
  auto room = JournalRoom::make(options_.path, *wanted);
  if (!room) {
    note_no_room(room.error());
    return tl::unexpected(room.error());
  }
  begin_move(std::move(*room));
  MovePiece piece = MovePiece::kMore;
  while (piece == MovePiece::kMore) piece = move_piece();
  const Result<void> published = piece == MovePiece::kLevel ? next_->room().publish() : tl::unexpected(damage());
  static_cast<void>(end_move(published));
  return published;
}

}  // namespace natt::spa
