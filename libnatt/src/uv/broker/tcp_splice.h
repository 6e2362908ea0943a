// SPDX-License-Identifier: Apache-2.0
#pragma once

// Two TCP connections made into one: what either end sends, and that it has finished, reaches
// the other (docs/WIRE.md 6.5). The end of one leg by error is the end of both by RST, so that
// no end takes what it got for all there was.
//
//   both ways open ──FIN of one──► the other way goes on ──FIN of the other──► both closed
//         └──────────────── error, reset(), 2 min in which a leg takes nothing ──► both reset
//
// Resource type on the loop and its thread; loop, relay, pipes and listener outlive it.

#include <array>
#include <memory>

#include <uv.h>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/tcp_relay.h>
#include <natt/time.h>

#include "src/uv/broker/splice_way.h"
#include "src/uv/descriptor.h"

namespace natt::uv {

class TcpSplice {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // Both connections are closed. May destroy the splice.
    virtual void on_splice_ended(Instant now, TcpPairId pair) = 0;
    // A quota is used up: call resume() after TcpRelay::kPause. May not destroy the splice.
    virtual void on_splice_paused(Instant now, TcpPairId pair) = 0;
  };

  // Of each way and wake-up, so that one fast pair does not starve the others.
  static constexpr std::size_t kOctetsPerTurn = 4 * SpliceWay::kChunk;
  // A leg that acknowledges nothing, or takes nothing, for so long is dead (TCP_USER_TIMEOUT; RFC 5482).
  static constexpr std::chrono::minutes kLegTimeout{2};
  // An idle leg is asked whether it lives.
  static constexpr std::chrono::seconds kKeepaliveIdle{60};
  static constexpr std::chrono::seconds kKeepaliveInterval{20};

  // Both descriptors are connected sockets that do not block; `paired` says what goes first.
  [[nodiscard]] static Result<std::unique_ptr<TcpSplice>> make(uv_loop_t& loop, TcpRelayPaired paired,
                                                               Descriptor client, Descriptor gateway, TcpRelay& relay,
                                                               SplicePipes& pipes, Listener& listener);
  ~TcpSplice();
  TcpSplice(const TcpSplice&) = delete;
  TcpSplice& operator=(const TcpSplice&) = delete;
  // So that closing it sends RST. Not valid: nothing.
  static void reset_on_close(const Descriptor& socket);

  // Moves what has come already. May call the listener.
  void start(Instant now);
  void resume(Instant now);
  // Ends both legs with RST, as destroying the splice does. The listener is not told.
  void reset();

 private:
  struct Leg {
    TcpSplice* splice = nullptr;
    Descriptor socket;
    uv_poll_t* handle = nullptr;  // freed by the loop after close
    int watched = 0;
    bool hung_up = false;  // FIN both ways: poll would report it for ever
  };
  // A way is named by where it comes from.
  struct Way {
    Way(int from, int to, SplicePipes& pipes, ByteBuffer first) : octets(from, to, pipes, std::move(first)) {}
    SpliceWay octets;
    bool paused = false;
  };

  TcpSplice(TcpRelayPaired paired, Descriptor client, Descriptor gateway, TcpRelay& relay, SplicePipes& pipes,
            Listener& listener);
  [[nodiscard]] Result<void> watch(uv_loop_t& loop, Leg& leg);
  static void on_poll(uv_poll_t* handle, int status, int events) noexcept;
  void handle_events(Instant now, std::size_t leg, int status, int events);
  // Of a leg that is watched while nothing is to be read or written.
  void handle_trouble(Instant now, Leg& leg);
  // 0, or the errno that ends the session.
  [[nodiscard]] int pump(Instant now, std::size_t from);
  // False: nothing more to do now on this way. `budget` shrinks.
  [[nodiscard]] bool pump_once(Instant now, std::size_t from, std::size_t& budget, int& error);
  // Afterwards: ends the session, or goes on waiting.
  void settle(Instant now, int error);
  void update_interest(std::size_t leg);
  void close_legs();

  TcpPairId pair_;
  TcpRelay& relay_;
  Listener& listener_;
  std::array<Leg, 2> legs_;
  std::array<Way, 2> ways_;
};

}  // namespace natt::uv
