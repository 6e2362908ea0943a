// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/replay_guard.h>

#include <algorithm>
#include <utility>

#include <natt/uv/timer.h>

namespace natt::uv {
namespace {

std::size_t records_for(const Roster& roster) {
  const auto is_client = [](const RosterDevice& device) { return device.identity.role == Role::kClient; };
  const auto clients = static_cast<std::size_t>(std::count_if(roster.devices.begin(), roster.devices.end(), is_client));
  return spa::MappedJournal::records_for(clients, roster.devices.size() - clients);
}

// Giving back 36 MB takes long, too.
void discard(uv_loop_s& loop, std::unique_ptr<spa::JournalRoom> room) {
  if (room) run_in_background(loop, [old = room.release()] { delete old; });
}

}  // namespace

ReplayGuard::ReplayGuard(const Options& options)
    : options_(options), task_(options.loop == nullptr ? nullptr : std::make_unique<BackgroundTask>(*options.loop)) {}

Result<std::unique_ptr<ReplayGuard>> ReplayGuard::open(const Options& options, const Roster& roster, Random& random) {
  std::unique_ptr<ReplayGuard> guard(new ReplayGuard(options));
  if (options.journal.empty()) return guard;
  auto journal = spa::MappedJournal::open({.path = options.journal,
                                           .verifier = spa::DeviceId::of(options.identity),
                                           .records_per_slot = records_for(roster),
                                           .keys_made = options.keys_made},
                                          guard->clock_, random);
  if (!journal) return tl::unexpected(journal.error());
  guard->journal_ = std::move(*journal);
  guard->wanted_ = records_for(roster);
  guard->retry_at_ = natt::uv::now() + options.retry;
  return guard;
}

void ReplayGuard::brief(spa::VerifierOptions& options, Instant now) {
  if (journal_) {
    journal_->brief(options, now);
  } else {
    options.accept_from = now;
  }
}

void ReplayGuard::restore(spa::Verifier& verifier, WallTime wall_now) {
  if (!journal_) return;
  journal_->restore(verifier, wall_now);
  const spa::ReplayStatus& status = journal_->status();
  const bool expected = status.state == spa::ReplayState::kComplete || status.state == spa::ReplayState::kFirst;
  options_.log(expected ? LogLevel::kInfo : LogLevel::kWarning,
               "natt.spa.journal verifier=" + options_.identity.uri() + " " + status.describe());
}

void ReplayGuard::handle_timeout(Instant now) {
  if (!journal_) return;
  journal_->handle_timeout();
  if (step_ == Step::kMoving) return move_piece();
  if (!retry_at_ || now < *retry_at_) return;
  retry_at_.reset();
  grow();
}

void ReplayGuard::make_room(const Roster& roster) {
  if (!journal_) return;
  wanted_ = records_for(roster);
  grow();
}

void ReplayGuard::grow() {
  if (step_ != Step::kIdle) return;
  const auto room = journal_->wanted_room(wanted_);
  if (!room) return;
  if (!task_) {
    static_cast<void>(journal_->reserve(wanted_));
    return note_outcome();
  }
  step_ = Step::kMaking;
  task_->start([this, room = *room] { made_ = spa::JournalRoom::make(options_.journal, room); },
               [this] { take_room(std::exchange(made_, nullptr)); });
}

void ReplayGuard::take_room(Result<std::unique_ptr<spa::JournalRoom>> made) {
  if (!made) {
    journal_->note_no_room(made.error());
    step_ = Step::kIdle;
    return note_outcome();
  }
  journal_->begin_move(std::move(*made));
  step_ = Step::kMoving;
  move_piece();
}

void ReplayGuard::move_piece() {
  switch (journal_->move_piece()) {
    case spa::MovePiece::kMore: return;
    case spa::MovePiece::kLevel: return publish();
    case spa::MovePiece::kFailed: return end_move(tl::unexpected(journal_->damage()));
  }
}

// A rename waits for the journal of the file system.
void ReplayGuard::publish() {
  step_ = Step::kPublishing;
  task_->start([this, room = &journal_->room()] { published_ = room->publish(); }, [this] { end_move(published_); });
}

void ReplayGuard::end_move(const Result<void>& published) {
  discard(*options_.loop, journal_->end_move(published));
  step_ = Step::kIdle;
  note_outcome();
  // The site may have grown meanwhile.
  if (published) grow();
}

void ReplayGuard::note_outcome() {
  const spa::ReplayStatus& status = journal_->status();
  const bool failed = !status.no_room.empty();
  if (failed) retry_at_ = natt::uv::now() + options_.retry;
  const std::string about = " verifier=" + options_.identity.uri() + " wanted=" + std::to_string(wanted_) +
                            " records_per_slot=" + std::to_string(status.records_per_slot);
  if (failed && !std::exchange(failed_, true)) {
    options_.log(LogLevel::kError, "natt.spa.journal_small" + about + " reason=\"" + status.no_room + "\"");
  } else if (!failed) {
    failed_ = false;
    options_.log(LogLevel::kInfo, "natt.spa.journal_grown" + about);
  }
}

std::optional<spa::ReplayStatus> ReplayGuard::status() const {
  return journal_ ? std::optional(journal_->status()) : std::nullopt;
}

}  // namespace natt::uv
