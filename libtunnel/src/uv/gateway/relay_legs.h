// SPDX-License-Identifier: Apache-2.0
#pragma once

// The gateway's legs of sessions that brokers relay over TCP, until their client comes: each
// is joined as soon as it is granted, and handed over with the first octets that arrive on
// it. One leg a session. A newer grant takes the place of a join that is still under way; a leg that has joined stays,
// since its relay keeps it as long as the newer grant lives, and the client may be on its way to it.
//
// Resource type on the loop's thread; everything borrowed outlives it. After the destructor
// has returned no callback runs.

#include <chrono>
#include <functional>
#include <map>
#include <memory>

#include <natt/deadline_index.h>
#include <natt/device_rate.h>
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
    // Joins of one client, over all its sessions: each takes 4 to 7 nonces of our SPA key at the broker, which has
    // 12'288 in 64 s. An honest race joins once or twice. One beyond is not begun, and what is there stays.
    DeviceRate::Limit joins{.interval = std::chrono::seconds(4), .burst = 16};
    // For the client to come, from the newest grant on: a race gives up by then.
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

  static constexpr std::size_t kMaxClients = 4096;  // whose joins are counted at a time

  // `client` is the session's.
  void join(Instant now, const Identity& client, const RelayGrantMessage& grant, const Start& start);
  // The session has ended: nothing is handed over for it any more.
  void cancel(const SessionId& session);
  [[nodiscard]] std::size_t size() const { return legs_.size(); }

 private:
  class Leg;
  // Whether there is a leg that makes the grant unnecessary.
  [[nodiscard]] bool has_joined(const RelayGrantMessage& grant) const;
  void wait_for(Instant now, const SessionId& session);
  void on_timer(Instant now) override;
  void handle_first(Instant now, const SessionId& session, ByteView first);
  void handle_failed(const SessionId& session, const Error& error);

  Options options_;
  Owner& owner_;
  natt::uv::Timer timer_;
  std::map<SessionId, std::unique_ptr<Leg>> legs_;
  DeadlineIndex<SessionId> deadlines_;
  DeviceRate joins_;
};

}  // namespace natt::tunnel::uv
