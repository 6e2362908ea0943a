// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker's TCP relay at work: holds connections that have joined until TcpRelay pairs
// them, and splices those. Decides nothing.
//
// Resource type on the embedder's loop and its thread; loop and relay outlive it.

#include <memory>
#include <set>
#include <unordered_map>

#include <natt/log.h>
#include <natt/signal_admission.h>
#include <natt/tcp_relay.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/timer.h>

#include "src/uv/broker/splice_pipes.h"
#include "src/uv/broker/tcp_splice.h"

namespace natt::uv {

class TcpRelayDriver final : private Timer::Listener, private TcpSplice::Listener {
 public:
  TcpRelayDriver(uv_loop_s& loop, TcpRelay& relay, LogSink log);
  ~TcpRelayDriver() override;
  TcpRelayDriver(const TcpRelayDriver&) = delete;
  TcpRelayDriver& operator=(const TcpRelayDriver&) = delete;

  // A relay join that SignalAdmission let in.
  void handle_join(Instant now, const Admitted& admitted, std::unique_ptr<TcpConnection> connection);
  // After commands to the relay: closes and splices, re-arms the timer.
  void flush(Instant now);

 private:
  class Leg;
  void on_timer(Instant now) override;
  void on_splice_ended(Instant now, TcpPairId pair) override;
  void on_splice_paused(Instant now, TcpPairId pair) override;
  void on_leg_bytes(Instant now, Leg& leg, ByteView bytes);
  void on_leg_gone(Instant now, TcpLegId leg);
  // Whether more is to be read; false also when it is paired or dropped, which the next flush() does.
  bool take_bytes(Instant now, Leg& leg, ByteView bytes);
  void handle_event(Instant now, TcpRelayEvent event);
  void splice(Instant now, TcpRelayPaired paired);
  [[nodiscard]] Descriptor take_socket(TcpLegId leg);
  void resume_paused(Instant now);
  void arm_timer();

  uv_loop_s& loop_;
  TcpRelay& relay_;
  LogSink log_;
  Timer timer_;
  SplicePipes pipes_;
  std::unordered_map<TcpLegId, std::unique_ptr<Leg>> legs_;
  std::unordered_map<TcpPairId, std::unique_ptr<TcpSplice>> splices_;
  std::set<TcpPairId> paused_;
  std::optional<Instant> resume_at_;
  TcpPairId resumed_first_{};
  std::uint64_t next_leg_ = 1;
  bool flushing_ = false;
};

}  // namespace natt::uv
