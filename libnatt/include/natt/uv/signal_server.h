// SPDX-License-Identifier: Apache-2.0
#pragma once

// The broker's TCP port: accepts connections, keeps silent until SignalAdmission is
// satisfied, and then carries bytes between sockets and the SignalHub. Decides nothing.
//
// Resource type on the embedder's loop and its thread; admission, hub and listener
// outlive it. After the destructor has returned no callback runs.

#include <memory>
#include <unordered_map>

#include <natt/deadline_index.h>
#include <natt/signal_admission.h>
#include <natt/signal_hub.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/tcp_listener.h>
#include <natt/uv/timer.h>

namespace natt::uv {

class SignalServer final : private TcpListener::Listener, private Timer::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // In the order they happened. May give commands to the hub; flush() follows by itself.
    virtual void on_hub_event(Instant now, const HubEvent& event) = 0;
    // A member's connection lacks its UDP knock, and stays unanswered for it.
    virtual void on_knock_missing(Instant now, const KnockMissing& missing) = 0;
    // A relay leg wants to join over TCP: the connection is the listener's from now on.
    virtual void on_relay_join(Instant now, Admitted admitted, std::unique_ptr<TcpConnection> connection) = 0;
  };

  [[nodiscard]] static Result<std::unique_ptr<SignalServer>> open(uv_loop_s& loop, const TcpListener::Options& options,
                                                                  SignalAdmission& admission, SignalHub& hub,
                                                                  Listener& listener);
  ~SignalServer() override;
  SignalServer(const SignalServer&) = delete;
  SignalServer& operator=(const SignalServer&) = delete;

  // After commands to hub or admission from outside: writes, closes, delivers events, re-arms the timer.
  void flush(Instant now);

  [[nodiscard]] SocketAddress local_address() const { return acceptor_->local_address(); }
  // Of the listening socket, for socket filters. Owned by this object.
  [[nodiscard]] int descriptor() const { return acceptor_->descriptor(); }
  [[nodiscard]] std::size_t connection_count() const { return channels_.size(); }

 private:
  // Of a connection at a time: enough for both records, and little of what follows a relay join.
  static constexpr std::size_t kUnprovenRead = 4096;
  static constexpr std::size_t kProvenRead = 64 * 1024;
  // For the last words to leave; a peer that does not read is cut off then.
  static constexpr Duration kClosingTime = std::chrono::seconds(5);

  class Channel;
  SignalServer(uv_loop_s& loop, SignalAdmission& admission, SignalHub& hub, Listener& listener);
  void on_connection(Instant now, std::unique_ptr<TcpConnection> connection) override;
  void on_timer(Instant now) override;
  void on_channel_bytes(Instant now, Channel& channel, ByteView bytes);
  void on_channel_gone(Instant now, ChannelId id);
  void handle_admission_event(Instant now, AdmissionEvent event);
  void handle_admitted(Instant now, Admitted admitted);
  void close_silently(Instant now, const CloseConnection& close);
  void close_politely(Instant now, ChannelId id);
  void write_output(Channel& channel);
  [[nodiscard]] bool drain_once(Instant now);

  SignalAdmission& admission_;
  SignalHub& hub_;
  Listener& listener_;
  Timer timer_;
  std::unique_ptr<TcpListener> acceptor_;
  std::unordered_map<ChannelId, std::unique_ptr<Channel>> channels_;
  DeadlineIndex<std::uint64_t> closing_;  // by channel
  std::uint64_t next_channel_ = 1;
  bool flushing_ = false;
};

}  // namespace natt::uv
