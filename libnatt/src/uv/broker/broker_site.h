// SPDX-License-Identifier: Apache-2.0
#pragma once

// One site as a broker serves it: its own credentials, TLS context, roster and verifier,
// shared with no other site. Resource type; `random` outlives it.

#include <memory>
#include <string>

#include <natt/roster_store.h>
#include <natt/spa/verifier.h>
#include <natt/tls_context.h>
#include <natt/uv/broker.h>

namespace natt::uv {

class BrokerSite {
 public:
  [[nodiscard]] static Result<std::unique_ptr<BrokerSite>> make(BrokerSiteOptions options, Random& random, LogSink log,
                                                                WallTime wall_now);
  BrokerSite(const BrokerSite&) = delete;
  BrokerSite& operator=(const BrokerSite&) = delete;

  [[nodiscard]] const std::string& name() const { return identity_.site; }
  [[nodiscard]] const Identity& identity() const { return identity_; }
  [[nodiscard]] const TlsContext& tls() const { return *tls_; }
  [[nodiscard]] const RosterStore& roster() const { return roster_; }
  [[nodiscard]] spa::Verifier& verifier() { return *verifier_; }
  [[nodiscard]] const spa::Verifier& verifier() const { return *verifier_; }

  // Takes the roster over, SPA keys included. What has to end elsewhere is in the result.
  [[nodiscard]] Result<RosterChange> update(const SignedRoster& documents);
  // Where peers reach this broker, from its roster entry; those of the peer's address family first.
  [[nodiscard]] std::vector<SocketAddress> addresses_for(const IpAddress& peer) const;
  [[nodiscard]] std::uint16_t dns_port() const;

 private:
  BrokerSite(Identity identity, SiteCa ca, LogSink log);
  [[nodiscard]] Result<void> make_verifier(BrokerSiteOptions& options, Random& random, WallTime wall_now);
  void put_device(const Identity& identity);

  Identity identity_;
  LogSink log_;
  std::unique_ptr<TlsContext> tls_;
  RosterStore roster_;
  std::unique_ptr<spa::Verifier> verifier_;
};

}  // namespace natt::uv
