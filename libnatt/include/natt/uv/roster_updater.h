// SPDX-License-Identifier: Apache-2.0
#pragma once

// Takes rosters over without stopping the loop: reading, verifying, comparing and
// persisting one of 100,000 devices takes a third of a second, and happens in libuv's
// thread pool; what is left for the loop takes a millisecond (bench/roster_bench.cc). One
// that could not be persisted is written again until it is there, or a newer one has come.
//
// Resource type on the embedder's loop and its thread. The store and the listener outlive
// it. One roster is worked on at a time; of those that come meanwhile the last four wait.
// After the destructor has returned no callback runs and no function of a job; when a job
// is running the destructor waits for it.

#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include <natt/error.h>
#include <natt/roster_on_disk.h>
#include <natt/roster_store.h>
#include <natt/time.h>
#include <natt/uv/background_task.h>
#include <natt/uv/timer.h>

struct uv_loop_s;

namespace natt::uv {

// Both run in another thread: they may touch files and what they hold by value, nothing else.
struct RosterJob {
  // Where the documents come from.
  std::function<Result<SignedRoster>()> read;
  // Called for a roster that is newer than the one held, before it takes effect. A failure does not keep it from
  // taking effect, but is reported, and this is called again with the store's documents after the updater's
  // `persist_retry`. Empty: somebody else persists.
  std::function<Result<void>(const SignedRoster& documents)> persist;
};

class RosterUpdater final : private Timer::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // To be handed to RosterStore::accept, or to note_rejected. `persisted` is the word of RosterJob::persist.
    // May give further jobs; may not destroy the updater.
    virtual void on_roster_prepared(Instant now, Result<PreparedRoster> prepared, const Result<void>& persisted) = 0;
    // What came of writing the store's documents again. The same rules.
    virtual void on_roster_rewritten(Instant now, const Result<void>& persisted) = 0;
  };

  RosterUpdater(uv_loop_s& loop, const RosterStore& store, Listener& listener,
                Duration persist_retry = RosterOnDisk::kRetry);
  ~RosterUpdater() override;
  RosterUpdater(const RosterUpdater&) = delete;
  RosterUpdater& operator=(const RosterUpdater&) = delete;

  void start(RosterJob job);
  [[nodiscard]] bool busy() const { return task_.busy(); }
  // Waits until no other thread reads the store: before it is changed by other means than on_roster_prepared.
  void settle() { task_.settle(); }

 private:
  struct Work;
  void begin(RosterJob job);
  void deliver();
  void note_write(Instant now, Work& done);
  void on_timer(Instant now) override;

  const RosterStore& store_;
  Listener& listener_;
  std::deque<RosterJob> waiting_;
  std::unique_ptr<Work> work_;
  RosterOnDisk on_disk_;
  // Of the newest roster, while it is not on the disk.
  std::function<Result<void>(const SignedRoster& documents)> persist_;
  Timer timer_;
  BackgroundTask task_;  // last: when it has gone nobody is at the others
};

// Frees a roster that is no longer needed in the thread pool.
void discard_roster(uv_loop_s& loop, std::unique_ptr<const Roster> roster);

}  // namespace natt::uv
