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
  // In a folder that only the program's user may write. Beside it `path` + ".lock" and, while it is being made, ".new".
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

  // "replay journal kStale: ..." for one log line.
  [[nodiscard]] std::string describe() const;
};

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
  // Room for at least so many records per slot, when the site has grown; not on the packet path (it makes a new
  // file). On an error the old room stays.
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
  [[nodiscard]] Result<void> replace_file(std::size_t capacity);

  MappedJournalOptions options_;
  const HostClock& clock_;
  Random& random_;
  std::unique_ptr<Lock> lock_;
  bool never_locked_ = false;
  std::unique_ptr<Former> former_;
  std::unique_ptr<File> file_;  // null: unavailable
  WallTime last_beat_{};
  ReplayStatus status_;
};

}  // namespace natt::spa
