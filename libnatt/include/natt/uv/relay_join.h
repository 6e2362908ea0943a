// SPDX-License-Identifier: Apache-2.0
#pragma once

// One leg of a session that a broker relays over TCP: knocks, connects to the broker, shows
// the relay-join frame and the pairing token of a grant, and hands the connection over. What
// is written on it from then on reaches the other leg, untouched, once both have joined
// (docs/WIRE.md 1.5 and 6); the broker itself never says a word.
//
// Resource type on the embedder's loop and its thread, made by SiteSignaling::join_relay(),
// which outlives it. Destroying it cancels the join; after the destructor has returned no callback runs.

#include <memory>

#include <natt/error.h>
#include <natt/time.h>
#include <natt/uv/tcp_connection.h>

namespace natt::uv {

class RelayJoin {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // The first flight is on its way. Has to give the connection a listener, or let it go. May destroy the RelayJoin.
    virtual void on_relay_joined(Instant now, std::unique_ptr<TcpConnection> connection) = 0;
    // Nothing answered. May destroy the RelayJoin. Never from inside join_relay().
    virtual void on_relay_join_failed(Instant now, const Error& error) = 0;
  };
  virtual ~RelayJoin() = default;
};

}  // namespace natt::uv
