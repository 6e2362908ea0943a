// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker's TCP port: takes whom an AdmissionPort hands over, and carries bytes between
// their sockets and the SignalHub. Decides nothing.
//
// Resource type on the embedder's loop and its thread; hub and listener, and what the
// admission borrows, outlive it. After the destructor has returned no callback runs.

#include <memory>
#include <unordered_map>

#include <natt/deadline_index.h>
#include <natt/signal_hub.h>
#include <natt/uv/admission_port.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/timer.h>

namespace natt::uv {

class SignalServer final : private AdmissionPort::Listener, private Timer::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // In the order they happened. May give commands to the hub; flush() follows by itself.
    virtual void on_hub_event(Instant now, const HubEvent& event) = 0;
    // As AdmissionPort::Listener says.
    virtual void on_knock_missing(Instant now, const KnockMissing& missing) = 0;
    // A relay leg wants to join over TCP: the connection is the listener's from now on.
    virtual void on_relay_join(Instant now, Admitted admitted, std::unique_ptr<TcpConnection> connection) = 0;
  };

  SignalServer(uv_loop_s& loop, const SignalAdmissionOptions& admission, const spa::VerifierGroup& verifiers,
               AddressGrants& grants, Random& random, SignalHub& hub, Listener& listener);
  ~SignalServer() override;
  SignalServer(const SignalServer&) = delete;
  SignalServer& operator=(const SignalServer&) = delete;

  // Once. kIo when the port is taken.
  [[nodiscard]] Result<void> listen(const TcpListener::Options& options) { return port_.listen(options); }
  [[nodiscard]] SignalAdmission& admission() { return port_.admission(); }
  [[nodiscard]] const SignalAdmission& admission() const { return port_.admission(); }
  // After commands to hub or admission from outside: writes, closes, delivers events, re-arms the timers.
  void flush(Instant now);

 private:
  // For the last words to leave; a peer that does not read is cut off then.
  static constexpr Duration kClosingTime = std::chrono::seconds(5);

  class Channel;
  void on_admitted(Instant now, Admitted admitted, std::unique_ptr<TcpConnection> connection) override;
  void on_knock_missing(Instant now, const KnockMissing& missing) override;
  void on_timer(Instant now) override;
  void on_channel_bytes(Instant now, Channel& channel, ByteView bytes);
  void on_channel_gone(Instant now, ChannelId id);
  void close_politely(Instant now, ChannelId id);
  void write_output(Channel& channel);
  // False: there was nothing.
  [[nodiscard]] bool drain_once(Instant now);

  AdmissionPort port_;
  SignalHub& hub_;
  Listener& listener_;
  Timer timer_;
  std::unordered_map<ChannelId, std::unique_ptr<Channel>> channels_;
  DeadlineIndex<std::uint64_t> closing_;  // by channel
  bool flushing_ = false;
};

}  // namespace natt::uv
