// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/replay_guard.h>

#include <algorithm>

namespace natt::uv {
namespace {

std::size_t records_for(const Roster& roster) {
  const auto is_client = [](const RosterDevice& device) { return device.identity.role == Role::kClient; };
  const auto clients =
      static_cast<std::size_t>(std::count_if(roster.devices.begin(), roster.devices.end(), is_client));
  return spa::MappedJournal::records_for(clients, roster.devices.size() - clients);
}

}  // namespace

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

void ReplayGuard::handle_timeout() {
  if (journal_) journal_->handle_timeout();
}

void ReplayGuard::make_room(const Roster& roster) {
  if (!journal_) return;
  if (auto reserved = journal_->reserve(records_for(roster)); !reserved) {
    options_.log(LogLevel::kWarning, "natt.spa.journal_small verifier=" + options_.identity.uri() + " reason=\"" +
                                         reserved.error().message + "\"");
  }
}

std::optional<spa::ReplayStatus> ReplayGuard::status() const {
  return journal_ ? std::optional(journal_->status()) : std::nullopt;
}

}  // namespace natt::uv
