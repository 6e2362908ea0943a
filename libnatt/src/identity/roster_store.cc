// SPDX-License-Identifier: Apache-2.0
#include <natt/roster_store.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>

namespace natt {
namespace {

void compare_devices(const std::vector<RosterDevice>& before, const std::vector<RosterDevice>& after,
                     RosterChange& change) {
  auto old_device = before.begin();
  auto new_device = after.begin();
  while (old_device != before.end() || new_device != after.end()) {
    if (new_device == after.end() || (old_device != before.end() && old_device->identity < new_device->identity)) {
      change.removed.push_back((old_device++)->identity);
    } else if (old_device == before.end() || new_device->identity < old_device->identity) {
      change.added.push_back((new_device++)->identity);
    } else {
      if (*old_device != *new_device) change.changed.push_back(new_device->identity);
      ++old_device;
      ++new_device;
    }
  }
}

RosterChange difference(const Roster& before, const Roster& after) {
  RosterChange change;
  change.number = after.number;
  compare_devices(before.devices, after.devices, change);
  std::set_difference(after.revoked.begin(), after.revoked.end(), before.revoked.begin(), before.revoked.end(),
                      std::back_inserter(change.revoked),
                      [](const RevokedCertificate& a, const RevokedCertificate& b) { return a.serial < b.serial; });
  return change;
}

}  // namespace

RosterStore::RosterStore(SiteCa ca, RosterView view, LogSink log) : ca_(std::move(ca)), view_(view), log_(log) {}

Result<Roster> RosterStore::verify(const SignedRoster& documents) const {
  auto roster = parse_roster(view_ == RosterView::kFull ? documents.full : documents.client, view_, ca_);
  if (!roster || view_ == RosterView::kClient || documents.client.empty()) return roster;
  const auto client_view = parse_roster(documents.client, RosterView::kClient, ca_);
  if (!client_view) return tl::unexpected<Error>(client_view.error());
  if (client_view->number != roster->number) {
    return fail(Errc::kMalformed, "the two views of the roster have different numbers");
  }
  return roster;
}

void RosterStore::note_rejected(const Error& error) {
  if (error.code == Errc::kUntrusted || error.code == Errc::kWrongIdentity) {
    ++stats_.rejected_signature;
  } else if (error.code == Errc::kRefused) {
    ++stats_.rejected_rollback;
  } else {
    ++stats_.rejected_malformed;
  }
  rejection_ = RosterRejection{error.message, error.code == Errc::kRefused};
  log_(LogLevel::kWarning, fmt::format("natt.roster.rejected site={} reason=\"{}\"", ca_.site(), error.message));
}

Result<PreparedRoster> RosterStore::prepare(SignedRoster documents) const {
  auto roster = verify(documents);
  if (!roster) return tl::unexpected<Error>(std::move(roster.error()));
  if (roster->number < number()) {
    return fail(Errc::kRefused,
                fmt::format("roster {} is older than the {} already accepted", roster->number, number()));
  }
  PreparedRoster prepared{.roster = nullptr, .documents = std::move(documents), .change = {},
                          .compared_with = number()};
  if (roster_ && roster->number == number()) {
    // Signatures are randomised, so two signings of one roster differ; what they say may not.
    if (*roster != *roster_) return fail(Errc::kMalformed, fmt::format("there are two rosters {}", number()));
    return prepared;
  }
  const Roster none;
  prepared.change = difference(roster_ ? *roster_ : none, *roster);
  prepared.roster = std::make_unique<const Roster>(std::move(*roster));
  return prepared;
}

Result<RosterChange> RosterStore::accept(PreparedRoster prepared, std::unique_ptr<const Roster>& replaced) {
  if (prepared.compared_with != number()) {
    auto again = prepare(std::move(prepared.documents));
    if (!again) {
      note_rejected(again.error());
      return tl::unexpected<Error>(std::move(again.error()));
    }
    prepared = std::move(*again);
  }
  rejection_.reset();
  if (!prepared.roster) {
    ++stats_.unchanged;
    if (!prepared.documents.client.empty()) documents_.client = std::move(prepared.documents.client);
    return RosterChange{};
  }
  replaced = std::exchange(roster_, std::move(prepared.roster));
  documents_ = std::move(prepared.documents);
  ++stats_.accepted;
  const RosterChange& change = prepared.change;
  log_(LogLevel::kInfo, fmt::format("natt.roster.accepted site={} number={} added={} removed={} changed={} revoked={}",
                                    ca_.site(), change.number, change.added.size(), change.removed.size(),
                                    change.changed.size(), change.revoked.size()));
  return std::move(prepared.change);
}

Result<RosterChange> RosterStore::handle_roster(SignedRoster documents) {
  auto prepared = prepare(std::move(documents));
  if (!prepared) {
    note_rejected(prepared.error());
    return tl::unexpected<Error>(std::move(prepared.error()));
  }
  std::unique_ptr<const Roster> replaced;
  return accept(std::move(*prepared), replaced);
}

bool RosterStore::is_stale(WallTime wall_now) const { return !roster_ || wall_now > roster_->next_update; }

}  // namespace natt
