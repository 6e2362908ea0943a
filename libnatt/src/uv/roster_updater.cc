// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/roster_updater.h>

#include <utility>

#include <natt/errc.h>
#include <natt/uv/timer.h>

namespace natt::uv {
namespace {

// A reload brings two per site, the file beside the configuration and the one in it.
constexpr std::size_t kMaxWaiting = 4;

}  // namespace

// Written by the thread that works, read by the loop's when it is over.
struct RosterUpdater::Work {
  RosterJob job;
  Result<PreparedRoster> prepared = fail(Errc::kClosed, "no roster was prepared");
  Result<void> persisted;

  void run(const RosterStore& store) {
    auto documents = job.read();
    if (!documents) {
      prepared = tl::unexpected<Error>(std::move(documents.error()));
      return;
    }
    prepared = store.prepare(std::move(*documents));
    if (prepared && prepared->roster && job.persist) persisted = job.persist(prepared->documents);
  }
};

RosterUpdater::RosterUpdater(uv_loop_s& loop, const RosterStore& store, Listener& listener)
    : store_(store), listener_(listener), task_(loop) {}

RosterUpdater::~RosterUpdater() = default;

void RosterUpdater::start(RosterJob job) {
  if (!task_.busy()) return begin(std::move(job));
  if (waiting_.size() == kMaxWaiting) waiting_.pop_front();
  waiting_.push_back(std::move(job));
}

void RosterUpdater::begin(RosterJob job) {
  work_ = std::make_unique<Work>();
  work_->job = std::move(job);
  task_.start([work = work_.get(), store = &store_] { work->run(*store); }, [this] { deliver(); });
}

void RosterUpdater::deliver() {
  const std::unique_ptr<Work> done = std::move(work_);
  done->job = {};
  listener_.on_roster_prepared(now(), std::move(done->prepared), done->persisted);
  if (waiting_.empty() || task_.busy()) return;
  RosterJob next = std::move(waiting_.front());
  waiting_.pop_front();
  begin(std::move(next));
}

void discard_roster(uv_loop_s& loop, std::unique_ptr<const Roster> roster) {
  if (!roster) return;
  run_in_background(loop, [old = roster.release()] { delete old; });
}

}  // namespace natt::uv
