// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gateway's verifier, and its door for UDP: an Initial is admitted when its token is an
// SPA frame of a client that the roster lists. The TCP door asks the same one. Also says
// which packets may make a new path. Resource type; endpoint and roster outlive it.

#include <natt/endpoint.h>
#include <natt/own_keys.h>
#include <natt/roster_loader.h>
#include <natt/roster_store.h>
#include <natt/spa/connection_id.h>
#include <natt/spa/kernel_gate.h>
#include <natt/spa/verifier.h>
#include <natt/spa/verifier_group.h>
#include <natt/tunnel/initial_gate.h>
#include <natt/tunnel/uv/gateway_policy.h>
#include <natt/uv/replay_guard.h>

namespace natt::tunnel::uv {

class InitialVerifier final : public InitialGate {
 public:
  struct Options {
    Identity gateway;
    std::vector<spa::KeyPair> keys;
    spa::SitePsk psk;
    std::filesystem::path replay_journal;  // empty: none
    WallTime keys_made;                    // the newest of `keys`
    RetiredKeys retired;                   // of a former run
    spa::KernelGate* kernel = nullptr;     // learns the verifier's hints; outlives it
    // Asked last: a client that may reach nothing gets no handshake. Outlives the verifier.
    const GatewayPolicy& policy;
    // For what takes long; outlives the verifier. Null: it is done at once.
    uv_loop_s* loop = nullptr;
  };

  // kRevoked when the roster does not list this gateway with a mask key, spa::Errc::kInUse when another process
  // serves as it.
  [[nodiscard]] static Result<std::unique_ptr<InitialVerifier>> make(Options options, const Roster& roster,
                                                                     const Endpoint& endpoint, Random& random,
                                                                     LogSink log);
  InitialVerifier(const InitialVerifier&) = delete;
  InitialVerifier& operator=(const InitialVerifier&) = delete;

  [[nodiscard]] std::optional<Admission> admit(Instant now, const InitialInfo& initial, PathId path) override;
  // A connection id that we made, or an Initial whose token would be opened: for one that was admitted, a repeat from
  // its own source only. Cheap, and no for strangers.
  [[nodiscard]] bool may_create_path(Instant now, const SocketAddress& from, ByteView packet);
  // A knock on the tunnel's own port; a grant changes nothing here, each Initial carries its own.
  void handle_knock(Instant now, std::uint16_t port, const SocketAddress& from, ByteView datagram);
  void handle_roster_change(const Roster& roster, const RosterChange& change);
  // Exchanges the gateway's own pairs, newest first, while it is knocked at.
  [[nodiscard]] Result<void> set_keys(std::vector<spa::KeyPair> pairs) { return own_keys_.set(std::move(pairs)); }
  [[nodiscard]] std::optional<std::uint16_t> missing_own_key(const Roster& roster) const {
    return own_keys_.missing_in(roster);
  }
  // One piece of what is to be done: slots to prepare, clients to load, keys to retire.
  void handle_timeout(Instant now, WallTime wall_now);
  [[nodiscard]] std::optional<Instant> next_deadline() const {
    return loader_.done() && !guard_->has_work() ? verifier_.next_deadline() : Instant::min();
  }
  [[nodiscard]] std::string take_retired_lines() { return loader_.take_retired_lines(); }
  [[nodiscard]] const RetiredKeys& retired_keys() const { return loader_.retired(); }
  [[nodiscard]] const spa::ConnectionIdKey& connection_ids() const { return connection_ids_; }
  // The one verifier, for frames that come over TCP: what was accepted on one carrier is a replay on all. Lives as long
  // as this.
  [[nodiscard]] const spa::VerifierGroup& verifiers() const { return verifiers_; }
  [[nodiscard]] spa::VerifierStats stats() const { return verifier_.stats(); }
  [[nodiscard]] std::optional<spa::ReplayStatus> replay_status() const { return guard_->status(); }

 private:
  // `options` still holds the pairs, those of `verifier` are copies.
  InitialVerifier(Options options, spa::VerifierOptions verifier, std::unique_ptr<natt::uv::ReplayGuard> guard,
                  const Endpoint& endpoint, Random& random, LogSink log);

  Identity gateway_;
  const GatewayPolicy& policy_;
  LogSink log_;
  uv_loop_s* loop_;
  const Endpoint& endpoint_;
  spa::ConnectionIdKey connection_ids_;
  std::unique_ptr<natt::uv::ReplayGuard> guard_;
  spa::Verifier verifier_;
  spa::VerifierGroup verifiers_;
  RosterLoader loader_;
  OwnKeys own_keys_;
};

}  // namespace natt::tunnel::uv
