// SPDX-License-Identifier: Apache-2.0
#pragma once

// The roster a running program goes by. Takes new ones from a file or from signaling,
// accepts only what the site's CA signed and only what is newer, and says what changed,
// so that the composition can end live state of removed devices within a second.
//
// Sans-I/O: the composition persists the documents (write, fsync, rename) before it acts
// on a change, and feeds the persisted ones back at start. Resource type; one thread.
//
//   auto change = store.handle_roster(signed_roster);
//   if (change && change->number != 0) { persist(store.documents()); hub.handle_roster_change(...); }

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <natt/log.h>
#include <natt/roster.h>

namespace natt {

struct RosterChange {
  // The accepted number; 0 when the roster is the one already held and nothing changed.
  std::uint64_t number = 0;
  std::vector<Identity> added;
  std::vector<Identity> removed;
  // Keys or addresses differ.
  std::vector<Identity> changed;
  // Revoked by this roster and not by the one before. The device may still be listed, with a new certificate.
  std::vector<RevokedCertificate> revoked;
};

// A roster that is verified and compared with the one held: what takes long about it (0.3 s for 100,000 devices;
// bench/roster_bench.cc). Move-only value.
struct PreparedRoster {
  std::unique_ptr<const Roster> roster;
  SignedRoster documents;
  // Against the roster `compared_with`.
  RosterChange change;
  std::uint64_t compared_with = 0;
};

struct RosterStoreStats {
  std::uint64_t accepted = 0;
  std::uint64_t unchanged = 0;
  std::uint64_t rejected_signature = 0;
  std::uint64_t rejected_malformed = 0;
  std::uint64_t rejected_rollback = 0;
};

// The last roster that came and was not taken, for health.
struct RosterRejection {
  std::string reason;  // one sentence
  // Nothing is wrong: it was an older one, as a file that was left behind.
  bool is_older = false;
};

class RosterStore {
 public:
  // `view` is what this program goes by: kClient for clients, kFull for the others.
  // A broker's rosters hold the client view too, which it hands on.
  RosterStore(SiteCa ca, RosterView view, LogSink log = {});
  RosterStore(const RosterStore&) = delete;
  RosterStore& operator=(const RosterStore&) = delete;

  // Errors leave the store as it was: kUntrusted, kWrongIdentity, kMalformed, which is also for one with the number of
  // the roster that is held and other contents, and kRefused for one with a lower number.
  [[nodiscard]] Result<RosterChange> handle_roster(SignedRoster documents);

  // The same in two steps, for large sites. prepare() reads what this store holds and changes nothing: it may run in
  // another thread while this one goes on reading. accept() only takes over; of a roster that was prepared before
  // another one was accepted it does all the work again. `replaced` gets the roster held before, whose end takes long,
  // too; null when there was none.
  [[nodiscard]] Result<PreparedRoster> prepare(SignedRoster documents) const;
  [[nodiscard]] Result<RosterChange> accept(PreparedRoster prepared, std::unique_ptr<const Roster>& replaced);
  // Counts, logs and remembers what prepare() refused, or what could not even be read.
  void note_rejected(const Error& error);
  // Until a roster is accepted, or found to be the one held.
  [[nodiscard]] const std::optional<RosterRejection>& last_rejection() const { return rejection_; }

  // Null before the first one was accepted. Valid until the next handle_roster() or accept().
  [[nodiscard]] const Roster* roster() const { return roster_.get(); }
  // 0 before the first.
  [[nodiscard]] std::uint64_t number() const { return roster_ ? roster_->number : 0; }
  // What was accepted, for persisting and handing on. Valid until the next handle_roster().
  [[nodiscard]] const SignedRoster& documents() const { return documents_; }
  // True when there is none, or its next update is overdue: a health warning.
  [[nodiscard]] bool is_stale(WallTime wall_now) const;
  [[nodiscard]] const SiteCa& ca() const { return ca_; }
  [[nodiscard]] RosterView view() const { return view_; }
  [[nodiscard]] const RosterStoreStats& stats() const { return stats_; }

 private:
  [[nodiscard]] Result<Roster> verify(const SignedRoster& documents) const;

  SiteCa ca_;
  RosterView view_;
  LogSink log_;
  std::unique_ptr<const Roster> roster_;
  SignedRoster documents_;
  std::optional<RosterRejection> rejection_;
  RosterStoreStats stats_;
};

}  // namespace natt
