// SPDX-License-Identifier: Apache-2.0
#pragma once

// The replay journal as a mapped file: what a verifier accepted survives the death of its
// process, to the last record, for one store per record. It does not have to survive the
// host's: after that, and whenever the file does not vouch for the last run, the verifier
// refuses frames made before start + 60 s (docs/ARCHITECTURE.md, "Replay, restart and clock").
//
//   auto journal = MappedJournal::open({.path = state / "replay-hq.journal", ...}, host_clock, random);
//   (*journal)->brief(verifier_options, now);           // accept_from, lost slots, the journal itself
//   Verifier verifier(std::move(verifier_options), random);
//   (*journal)->restore(verifier, wall_now);
//   ... and handle_timeout() every kBeatInterval while the verifier serves.
//
// A site that grows needs a larger file. Making one takes long and happens in another thread:
//   if (auto wanted = journal.wanted_room(records))  room = JournalRoom::make(path, *wanted);   // in another thread
//   journal.begin_move(std::move(room));
//   while (journal.move_piece() == MovePiece::kMore) { ... a turn of the loop ... }
//   published = journal.room().publish();                                                     // in another thread
//   discard(journal.end_move(published));                                                     // in another thread
//
// Resource type on the verifier's thread, which it outlives; the clock outlives it. One per
// verifier identity: a lock beside the file keeps a second process out.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <natt/error.h>
#include <natt/random.h>
#include <natt/spa/host_clock.h>
#include <natt/spa/replay_journal.h>
#include <natt/spa/verifier.h>

namespace natt::spa {

struct MappedJournalOptions {
  // In a folder that only the program's user may write. Beside it `path` + ".lock" and, while one is being made,
  // ".new-" and six letters.
  std::filesystem::path path;
  DeviceId verifier;
  // More in one slot are refused: records_for().
  std::size_t records_per_slot = 0;
  // When the verifier's only key pair was made. Right after that there is no former run to fear.
  std::optional<WallTime> keys_made;
};

// What was found at start.
enum class ReplayState : std::uint8_t {
  kComplete,     // every nonce of the former run is remembered
  kFirst,        // no journal and no trace of a run, and none was to be expected: the keys are new
  kMissing,      // no journal
  kStale,        // whole, but not the last word: older copy, host restarted, clock set, too long ago
  kCorrupt,      // not what was written
  kUnavailable,  // none could be made here: this run is not journaled
};
[[nodiscard]] std::string_view to_string(ReplayState state);

struct ReplayStatus {
  ReplayState state = ReplayState::kMissing;
  std::string reason;  // one clause; empty when complete
  // Frames made before it are refused.
  std::optional<Instant> accept_from;
  std::size_t restored = 0;  // records of the former run
  std::uint64_t appended = 0;
  std::uint64_t refused = 0;  // the slot was full
  std::size_t records_per_slot = 0;
  // The system does not take the file's pages out of memory: no knock waits for the disk to bring them back.
  bool in_locked_memory = true;
  // Why it has not the room that the site needs now: end_move() and note_no_room(). Empty when it has.
  std::string no_room;

  // "replay journal kStale: ..." for one log line.
  [[nodiscard]] std::string describe() const;
};

class JournalFile;

// The file of a journal: made, published and destroyed in any thread, all of which may take long.
class JournalRoom {
 public:
  // `journal` is MappedJournalOptions::path, whose lock this process holds. Errors: no space, the file system.
  [[nodiscard]] static Result<std::unique_ptr<JournalRoom>> make(const std::filesystem::path& journal,
                                                                 std::size_t records_per_slot);
  ~JournalRoom();
  JournalRoom(const JournalRoom&) = delete;
  JournalRoom& operator=(const JournalRoom&) = delete;

  // Gives the file its name, in the place of the former one.
  [[nodiscard]] Result<void> publish();

 private:
  friend class MappedJournal;
  JournalRoom(std::unique_ptr<JournalFile> file, std::size_t capacity);

  std::unique_ptr<JournalFile> file_;
  std::size_t capacity_;
};

enum class MovePiece : std::uint8_t {
  kMore,
  kLevel,   // publish the room; what is appended from here on goes to both files
  kFailed,  // the old file is not what was written: end_move() with that
};

class JournalMove;

class MappedJournal final : public ReplayJournal {
 public:
  // Frames are valid for 60 s around the verifier's clock: what a former run accepted is older than start + 60 s. One
  // more for the rounding of clocks.
  static constexpr std::chrono::seconds kQuarantine = Verifier::kMaxSkew + std::chrono::seconds(1);
  // Between making keys and the first start of what serves with them, when both are done at one sitting.
  static constexpr std::chrono::minutes kNewKeys{5};
  // How often handle_timeout is to be called.
  static constexpr std::chrono::seconds kBeatInterval{1};

  // Accepted frames per slot for which a site of this size is built: each client reconnecting on all carriers with
  // its repeats, each gateway and broker joining thousands of relay legs.
  [[nodiscard]] static std::size_t records_for(std::size_t clients, std::size_t infrastructure);

  // Errors: kInUse when another process holds the lock. Everything else ends in a state: what is found is never
  // believed unless whole, never written to, and replaced.
  [[nodiscard]] static Result<std::unique_ptr<MappedJournal>> open(const MappedJournalOptions& options,
                                                                   const HostClock& clock, Random& random);
  ~MappedJournal() override;
  MappedJournal(const MappedJournal&) = delete;
  MappedJournal& operator=(const MappedJournal&) = delete;

  // Before the verifier is made. `start` is now.
  void brief(VerifierOptions& options, Instant start);
  // After it was made, before its first frame. Once.
  void restore(Verifier& verifier, WallTime wall_now);

  [[nodiscard]] bool append(const ReplayRecord& record) noexcept override;
  // Says in the file that the verifier is alive.
  void handle_timeout();
  // The room to make for a site that brings so many records a slot: half as much again as it needs, so that a site that
  // grows device by device seldom moves. Nothing when there is enough, when none can be had here, or during a move.
  [[nodiscard]] std::optional<std::size_t> wanted_room(std::size_t records_per_slot) const;
  void begin_move(std::unique_ptr<JournalRoom> room);
  // At most 0.5 ms.
  [[nodiscard]] MovePiece move_piece();
  // From begin_move() to end_move().
  [[nodiscard]] JournalRoom& room();
  [[nodiscard]] bool is_moving() const { return next_ != nullptr; }
  // Takes the new file, or stays with the old one when it was not published. Returns the other: null when there is
  // none.
  [[nodiscard]] std::unique_ptr<JournalRoom> end_move(const Result<void>& published);
  // For end_move() after MovePiece::kFailed.
  [[nodiscard]] Error damage() const;
  // JournalRoom::make() failed. For status().
  void note_no_room(const Error& error) { status_.no_room = error.message; }
  // All of it at once, for who may wait. On an error the old room stays.
  [[nodiscard]] Result<void> reserve(std::size_t records_per_slot);

  [[nodiscard]] const ReplayStatus& status() const { return status_; }

 private:
  class Lock;
  class File;
  struct Former;
  MappedJournal(const MappedJournalOptions& options, const HostClock& clock, Random& random);
  [[nodiscard]] Result<void> lock();
  void load();
  void doubt(ReplayState state, std::string reason);
  [[nodiscard]] Result<void> make_first_file(std::size_t capacity);
  [[nodiscard]] std::unique_ptr<File> fill(std::unique_ptr<JournalRoom> room, const Former& former);

  MappedJournalOptions options_;
  const HostClock& clock_;
  Random& random_;
  std::unique_ptr<Lock> lock_;
  bool never_locked_ = false;
  // What stands in the folder of the lock is gone after a restart of the host.
  bool is_volatile_ = false;
  std::unique_ptr<Former> former_;
  std::unique_ptr<File> file_;         // null: unavailable
  std::unique_ptr<File> next_;         // null: no move
  std::unique_ptr<JournalMove> move_;  // null: none, or level
  bool may_come_ = false;              // without a file: one can be made when there is space again
  WallTime last_beat_{};
  ReplayStatus status_;
};

}  // namespace natt::spa
