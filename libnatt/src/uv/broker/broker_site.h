// SPDX-License-Identifier: Apache-2.0
#pragma once

// One site as a broker serves it: its own credentials, TLS context, roster and verifier,
// shared with no other site. Resource type; `random` outlives it.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <natt/own_keys.h>
#include <natt/roster_loader.h>
#include <natt/roster_store.h>
#include <natt/spa/kernel_gate.h>
#include <natt/spa/verifier.h>
#include <natt/tls_context.h>
#include <natt/uv/broker.h>
#include <natt/uv/replay_guard.h>

namespace natt::uv {

class BrokerSite {
 public:
  // The gate, if there is one, learns what the site's verifier knows.
  [[nodiscard]] static Result<std::unique_ptr<BrokerSite>> make(BrokerSiteOptions options, Random& random, LogSink log,
                                                                WallTime wall_now, spa::KernelGate* gate,
                                                                uv_loop_s& loop);
  BrokerSite(const BrokerSite&) = delete;
  BrokerSite& operator=(const BrokerSite&) = delete;

  [[nodiscard]] const std::string& name() const { return identity_.site; }
  [[nodiscard]] const Identity& identity() const { return identity_; }
  [[nodiscard]] const TlsContext& tls() const { return *tls_; }
  [[nodiscard]] const RosterStore& roster() const { return roster_; }
  [[nodiscard]] spa::Verifier& verifier() { return *verifier_; }
  [[nodiscard]] const spa::Verifier& verifier() const { return *verifier_; }

  [[nodiscard]] std::optional<spa::ReplayStatus> replay_status() const { return guard_->status(); }

  // Takes the roster over. Devices that it drops are refused at the return; those that it adds follow in work(). What
  // has to end elsewhere is in the result.
  [[nodiscard]] Result<RosterChange> update(const SignedRoster& documents);
  // The same for one that was prepared; `replaced` is the one before.
  [[nodiscard]] Result<RosterChange> accept(PreparedRoster prepared, std::unique_ptr<const Roster>& replaced);
  // What another thread refused.
  void note_rejected(const Error& error) { roster_.note_rejected(error); }
  // What came of writing the newest roster to the disk.
  void note_persisted(const Result<void>& persisted);
  // Why it is not there; empty when it is.
  [[nodiscard]] const std::string& persist_failure() const { return persist_failure_; }
  // Exchanges certificate and SPA pairs, newest first, while the site is served: tls() is another one afterwards, the
  // former stays for the connections it has.
  [[nodiscard]] Result<void> set_material(const Credentials& credentials, std::vector<spa::KeyPair> spa_keys);
  // One piece of what is to be done: slots to prepare, devices to load, keys to retire.
  void work(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline(Instant now) const;
  // Lines for the file of retired keys; empty mostly.
  [[nodiscard]] std::string take_retired_lines() { return loader_->take_retired_lines(); }
  [[nodiscard]] WallTime certificate_end() const { return certificate_end_; }
  [[nodiscard]] const RetiredKeys& retired_keys() const { return loader_->retired(); }
  // Devices of the roster that cannot knock yet.
  [[nodiscard]] std::size_t loading() const { return loader_->total() - loader_->loaded(); }
  // The newest generation that the roster lists for this broker, when its pair is not among ours: devices that know it
  // knock in vain.
  [[nodiscard]] std::optional<std::uint16_t> missing_own_key() const { return own_keys_->missing_in(*roster_.roster()); }
  // Where peers reach this broker, from its roster entry; those of the peer's address family first.
  [[nodiscard]] std::vector<SocketAddress> addresses_for(const IpAddress& peer) const;
  [[nodiscard]] std::uint16_t dns_port() const;

 private:
  BrokerSite(Identity identity, SiteCa ca, LogSink log, uv_loop_s& loop);
  [[nodiscard]] Result<void> make_verifier(BrokerSiteOptions& options, Random& random, WallTime wall_now,
                                           spa::KernelGate* gate);
  void handle_newer_roster(const RosterChange& change);

  Identity identity_;
  LogSink log_;
  uv_loop_s& loop_;
  std::unique_ptr<TlsContext> tls_;
  RosterStore roster_;
  std::string persist_failure_;
  std::unique_ptr<ReplayGuard> guard_;
  std::unique_ptr<spa::Verifier> verifier_;
  std::unique_ptr<RosterLoader> loader_;
  std::unique_ptr<OwnKeys> own_keys_;
  WallTime certificate_end_{};
  std::vector<std::unique_ptr<TlsContext>> former_tls_;
};

}  // namespace natt::uv
