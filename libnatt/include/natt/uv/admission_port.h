// SPDX-License-Identifier: Apache-2.0
#pragma once

// A TCP port whose visitors prove themselves first (natt/signal_admission.h; docs/WIRE.md
// 1.5), at a broker and at a gateway of a TLS site: holds each connection until it is
// admitted, and hands it over then. Everybody else is read to nowhere, in small pieces. Sends
// nothing, ever. Strangers hold at most a quarter of the process's descriptors.
//
//   AdmissionPort port(loop, {.port = 443}, verifiers, grants, random, listener);
//   port.listen({.bind = address});
//   port.admission().handle_knock(...); port.flush(now);
//
// Resource type on the embedder's loop and its thread; everything borrowed outlives it. After
// the destructor has returned no callback runs.

#include <memory>
#include <unordered_map>

#include <natt/deadline_index.h>
#include <natt/signal_admission.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/tcp_listener.h>
#include <natt/uv/timer.h>

namespace natt::uv {

class AdmissionPort final : private TcpListener::Listener, private Timer::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // The connection is the listener's from now on. It reads again, as much at a time as any, once it has a listener.
    // Neither call may destroy the port.
    virtual void on_admitted(Instant now, Admitted admitted, std::unique_ptr<TcpConnection> connection) = 0;
    // A member's connection lacks its UDP knock, and stays unanswered for it. Only in mode udp-tcp.
    virtual void on_knock_missing(Instant now, const KnockMissing& missing) = 0;
  };

  // Of `options.max_pending` at most a quarter of RLIMIT_NOFILE's soft limit, as it is now, is taken.
  AdmissionPort(uv_loop_s& loop, SignalAdmissionOptions options, const spa::VerifierGroup& verifiers,
                AddressGrants& grants, Random& random, Listener& listener);
  ~AdmissionPort() override;
  AdmissionPort(const AdmissionPort&) = delete;
  AdmissionPort& operator=(const AdmissionPort&) = delete;

  // Once. kIo when the port is taken.
  [[nodiscard]] Result<void> listen(const TcpListener::Options& options);
  [[nodiscard]] SignalAdmission& admission() { return admission_; }
  [[nodiscard]] const SignalAdmission& admission() const { return admission_; }
  // After commands to the admission: closes, hands over, re-arms the timer.
  void flush(Instant now);

  // Of a connection that has not proved itself: enough for both records, and little of what follows a relay join.
  static constexpr std::size_t kUnprovenRead = 4096;

 private:
  // For a stranger's connection to end in FIN although it still sends.
  static constexpr Duration kClosingTime = std::chrono::seconds(5);

  class Visitor;
  void on_connection(Instant now, std::unique_ptr<TcpConnection> connection) override;
  void on_timer(Instant now) override;
  void handle_bytes(Instant now, ChannelId id, ByteView bytes);
  void handle_gone(Instant now, ChannelId id);
  void handle_event(Instant now, AdmissionEvent event);
  void hand_over(Instant now, Admitted admitted);
  void close_silently(Instant now, const CloseConnection& close);

  uv_loop_s& loop_;
  SignalAdmission admission_;
  Listener& listener_;
  Timer timer_;
  std::unordered_map<ChannelId, std::unique_ptr<Visitor>> visitors_;
  DeadlineIndex<std::uint64_t> closing_;  // by channel
  std::unique_ptr<TcpListener> acceptor_;
  std::uint64_t next_channel_ = 1;
  bool flushing_ = false;
};

}  // namespace natt::uv
