// SPDX-License-Identifier: Apache-2.0
#pragma once

// Hands out the STUN credentials of a broker and takes them back when they expire, so
// that the server's table holds what is in use and nothing else. Resource type; server
// and random outlive it.

#include <chrono>
#include <deque>
#include <map>
#include <string>

#include <natt/deadline_index.h>
#include <natt/signal_message.h>
#include <natt/stun_server.h>

namespace natt::uv {

class StunIssuer {
 public:
  // Devices ask again at three quarters of it; an hour keeps that traffic at nothing.
  static constexpr std::chrono::milliseconds kLifetime = std::chrono::hours(1);
  // The one in use and the one that replaces it; a further one ends the oldest.
  static constexpr std::size_t kPerDevice = 2;

  StunIssuer(StunServer& server, const StunTransactionKey& key, Random& random)
      : server_(server), key_(key), random_(random) {}
  StunIssuer(const StunIssuer&) = delete;
  StunIssuer& operator=(const StunIssuer&) = delete;

  // kLimit when the server's table is full.
  [[nodiscard]] Result<StunCredentials> issue(Instant now, const Identity& device, std::vector<SocketAddress> servers);
  // Takes back what has expired.
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  // Revocation.
  void revoke(const Identity& device);

 private:
  struct Issued {
    std::string username;
    Instant expires;
  };
  void retire(Instant now, std::deque<Issued>& issued);

  StunServer& server_;
  StunTransactionKey key_;
  Random& random_;
  std::map<Identity, std::deque<Issued>> issued_;
  DeadlineIndex<Identity> expiry_;
};

}  // namespace natt::uv
