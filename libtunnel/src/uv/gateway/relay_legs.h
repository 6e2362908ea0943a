// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gateway's legs of sessions that brokers relay over TCP, until their client comes: each
// is joined as soon as it is granted, and handed over with the first octets that arrive on
// it. One leg a session; a newer grant takes the place of a leg on which nothing has come.
//
// Resource type on the loop's thread; everything borrowed outlives it. After the destructor
// has returned no callback runs.

#include <chrono>
#include <functional>
#include <map>
#include <memory>

#include <natt/deadline_index.h>
#include <natt/identity.h>
#include <natt/log.h>
#include <natt/signal_message.h>
#include <natt/uv/relay_join.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/timer.h>

namespace natt::tunnel::uv {

class RelayLegs final : private natt::uv::Timer::Listener {
 public:
  struct Options {
    // Being joined or waiting for their client; a grant beyond is left unused. A broker's restart brings every client
    // back at once, and a leg that is used waits for two round trips mostly.
    std::size_t max_legs = 1024;
    // For the client to come, from the grant on: a race gives up by then.
    Duration waiting_time = std::chrono::seconds(20);
    LogSink log;
  };
  // Calls SiteSignaling::join_relay() of the session's broker.
  using Start = std::function<Result<std::unique_ptr<natt::uv::RelayJoin>>(natt::uv::RelayJoin::Listener&)>;

  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_relay_leg(Instant now, const SessionId& session, const Identity& client,
                              std::unique_ptr<natt::uv::TcpConnection> connection, ByteView first) = 0;
  };

  RelayLegs(uv_loop_s& loop, const Options& options, Owner& owner);
  ~RelayLegs() override;
  RelayLegs(const RelayLegs&) = delete;
  RelayLegs& operator=(const RelayLegs&) = delete;

  // `client` is the session's.
  void join(Instant now, const Identity& client, const RelayGrantMessage& grant, const Start& start);
  // The session has ended: nothing is handed over for it any more.
  void cancel(const SessionId& session);
  [[nodiscard]] std::size_t size() const { return legs_.size(); }

 private:
  class Leg;
  void on_timer(Instant now) override;
  void handle_first(Instant now, const SessionId& session, ByteView first);
  void handle_failed(const SessionId& session, const Error& error);

  Options options_;
  Owner& owner_;
  natt::uv::Timer timer_;
  std::map<SessionId, std::unique_ptr<Leg>> legs_;
  DeadlineIndex<SessionId> deadlines_;
};

}  // namespace natt::tunnel::uv
