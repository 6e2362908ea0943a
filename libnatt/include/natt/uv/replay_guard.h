// SPDX-License-Identifier: Apache-2.0
#pragma once

// The replay journal of one verifier, as the drivers of broker and gateway keep it: opened
// before the verifier is made, beating while it serves, growing with the roster (in libuv's
// thread pool; the loop moves records over a piece a turn). Where the disk has no room for
// more, knocks beyond the old room are refused, and it tries again. One per
// verifier identity, however many loops there are: verifier and guard live on one of them.
//
// Resource type on the loop's thread; it outlives the verifier, and random outlives it.

#include <filesystem>
#include <memory>
#include <optional>

#include <natt/error.h>
#include <natt/log.h>
#include <natt/random.h>
#include <natt/roster.h>
#include <natt/spa/mapped_journal.h>
#include <natt/spa/verifier.h>
#include <natt/uv/background_task.h>

namespace natt::uv {

class ReplayGuard {
 public:
  struct Options {
    // Empty: no journal. Then frames made before the start are refused, and one that a former run accepted may be
    // accepted once more within the lead of its sender's clock.
    std::filesystem::path journal;
    Identity identity;  // of the verifier
    // When the verifier's only SPA key was made; absent when it has several.
    std::optional<WallTime> keys_made;
    LogSink log;
    // Outlives the guard. Null: it grows at once, which takes long.
    uv_loop_s* loop = nullptr;
    // How long after it could not grow it tries again: a full disk is emptied by people.
    Duration retry = std::chrono::seconds(10);
  };

  // Errors: spa::Errc::kInUse when another process serves as this verifier.
  [[nodiscard]] static Result<std::unique_ptr<ReplayGuard>> open(const Options& options, const Roster& roster,
                                                                 Random& random);
  ReplayGuard(const ReplayGuard&) = delete;
  ReplayGuard& operator=(const ReplayGuard&) = delete;

  // Before the verifier is made.
  void brief(spa::VerifierOptions& options, Instant now);
  // After it was made, before its first frame.
  void restore(spa::Verifier& verifier, WallTime wall_now);
  // With the verifier's own timeouts: at least once a second, and as soon as has_work().
  void handle_timeout(Instant now);
  // A piece of a move waits for the next turn.
  [[nodiscard]] bool has_work() const { return step_ == Step::kMoving; }
  // After the roster has changed.
  void make_room(const Roster& roster);

  [[nodiscard]] std::optional<spa::ReplayStatus> status() const;

 private:
  enum class Step : std::uint8_t { kIdle, kMaking, kMoving, kPublishing };

  explicit ReplayGuard(const Options& options);
  void grow();
  void take_room(Result<std::unique_ptr<spa::JournalRoom>> made);
  void move_piece();
  void publish();
  void end_move(const Result<void>& published);
  void note_outcome();

  Options options_;
  spa::SystemHostClock clock_;
  std::unique_ptr<spa::MappedJournal> journal_;
  std::size_t wanted_ = 0;  // records per slot
  Step step_ = Step::kIdle;
  bool failed_ = false;  // and said so
  std::optional<Instant> retry_at_;
  // What the pool's thread made, read by the loop's when it is over.
  Result<std::unique_ptr<spa::JournalRoom>> made_;
  Result<void> published_;
  std::unique_ptr<BackgroundTask> task_;  // last: when it has gone nobody is at the others
};

}  // namespace natt::uv
