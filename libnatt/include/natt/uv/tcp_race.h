// SPDX-License-Identifier: Apache-2.0
#pragma once

// Connects to a TCP listener that may hide from everyone whose SYN proves nothing: several
// connections at ConnectSchedule's times, each beginning with a first flight of its own
// (most of them inside the SYN); the first that connects is handed over, the others are
// closed. Decides nothing about what is said on it.
//
// Resource type on the embedder's loop and its thread; loop and listener outlive it. After
// the destructor has returned no callback runs.

#include <array>
#include <memory>
#include <optional>

#include <natt/connect_schedule.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/timer.h>

namespace natt::uv {

class TcpRace final : private Timer::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // What one connection begins with; asked for once per attempt, possibly from inside start(). Empty: no further
    // attempt is worth it, and the race is lost.
    [[nodiscard]] virtual ByteBuffer make_first_flight() = 0;
    // The first flight is on its way. Has to give the connection a listener, or let it go. The race is over; may be
    // destroyed from here.
    virtual void on_race_won(Instant now, std::unique_ptr<TcpConnection> connection) = 0;
    // Never from inside start(). The same.
    virtual void on_race_lost(Instant now, const Error& error) = 0;
  };

  TcpRace(uv_loop_s& loop, Listener& listener);
  ~TcpRace() override;
  TcpRace(const TcpRace&) = delete;
  TcpRace& operator=(const TcpRace&) = delete;

  // Once.
  void start(Instant now, const SocketAddress& to);

 private:
  class Runner;
  void on_timer(Instant now) override;
  void handle_connected(Instant now, std::size_t number);
  void handle_closed(Instant now, std::size_t number, const Error& error);
  void advance(Instant now);
  void open(const ConnectSchedule::Attempt& attempt);

  uv_loop_s& loop_;
  Listener& listener_;
  SocketAddress to_;
  ConnectSchedule schedule_;
  Timer timer_;
  std::array<std::unique_ptr<Runner>, ConnectSchedule::kSteps.size()> runners_;
  // Why it is lost: what was heard last, for want of anything a timeout.
  std::optional<Error> error_;
  bool hopeless_ = false;  // no route, no descriptor, no flight: later attempts would fail alike
};

}  // namespace natt::uv
