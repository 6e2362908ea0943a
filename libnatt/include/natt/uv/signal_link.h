// SPDX-License-Identifier: Apache-2.0
#pragma once

// One lasting signaling channel to one broker: knocks, connects (with the hello in the SYN,
// TcpRace), greets, and after a loss connects again with jittered exponential back-off.
// Tunnels do not notice. Silence is reported early, because a broker never says why.
//
// Resource type on the embedder's loop and its thread. Everything the constructor borrows
// outlives it. After the destructor has returned no callback runs.

#include <memory>
#include <vector>

#include <natt/backoff.h>
#include <natt/knock_diagnosis.h>
#include <natt/signal_client.h>
#include <natt/uv/tcp_connection.h>
#include <natt/uv/tcp_race.h>
#include <natt/uv/timer.h>

namespace natt::uv {

class SignalLink final : private TcpConnection::Listener, private TcpRace::Listener, private Timer::Listener {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // A connection attempt begins: the moment for the UDP knock that goes with it, whose id is the result.
    [[nodiscard]] virtual std::optional<spa::KnockId> on_attempt(Instant now, SignalLink& link) = 0;
    // Not one octet came from the broker within kSilence of the attempt's begin, or before it failed. Once per attempt,
    // which goes on if it has not failed. May not destroy the link.
    virtual void on_silence(Instant now, SignalLink& link, SilenceEvidence::Tcp tcp) = 0;
    // SignalClosed means that the link will try again by itself. May send(); may not destroy the link.
    virtual void on_signal(Instant now, SignalLink& link, const SignalEvent& event) = 0;
    // For SignalHello.
    [[nodiscard]] virtual std::uint64_t roster_number() const = 0;
    // The calendar that knocks are stamped with and certificates are judged by.
    [[nodiscard]] virtual WallTime site_time() const = 0;
  };

  struct Options {
    // `roster_number` is asked for at each attempt and need not be set.
    SignalClientOptions client;
    // Tried in turn, one per attempt; at least one.
    std::vector<SocketAddress> addresses;
    BackoffOptions backoff;
  };

  // An operator learns within a second why nothing happens; 200 ms of it are for the log and who reads it. A path
  // slower than this gets a warning that its success takes back.
  static constexpr Duration kSilence = std::chrono::milliseconds(800);

  SignalLink(uv_loop_s& loop, Options options, const TlsContext& tls, spa::Knocker& knocker, Random& random,
             Listener& listener);
  ~SignalLink() override;
  SignalLink(const SignalLink&) = delete;
  SignalLink& operator=(const SignalLink&) = delete;

  // Begins the first attempt; later calls are ignored.
  void start(Instant now);
  // As SignalClient::send(); kClosed while there is no channel.
  Result<void> send(Instant now, const SignalMessage& message);
  // For the next attempts; it outlives the link, and so does the former one.
  void set_tls(const TlsContext& tls) { tls_ = &tls; }
  // Leaves politely and stays away.
  void stop();

  [[nodiscard]] bool connected() const;
  [[nodiscard]] const Identity& broker() const { return options_.client.broker; }
  // Where the current or last attempt went.
  [[nodiscard]] const SocketAddress& address() const { return options_.addresses[next_address_]; }
  // Why the last channel ended; empty while connected and before the first failure.
  [[nodiscard]] const std::optional<Error>& last_error() const { return last_error_; }

 private:
  // A channel that lasted this long was a success: the next loss starts the back-off anew.
  static constexpr Duration kLasted = std::chrono::seconds(5);

  void on_connected(Instant) override {}  // TcpRace hands over what is connected
  void on_bytes(Instant now, ByteView bytes) override;
  void on_eof(Instant now) override;
  void on_drained(Instant now) override;
  void on_closed(Instant now, const Error& error) override;
  [[nodiscard]] ByteBuffer make_first_flight() override;
  void on_race_won(Instant now, std::unique_ptr<TcpConnection> connection) override;
  void on_race_lost(Instant now, const Error& error) override;
  void on_timer(Instant now) override;

  void attempt(Instant now);
  void flush(Instant now);
  void deliver_events(Instant now);
  void retry_later(Instant now, const Error& error);
  void report_silence(Instant now, SilenceEvidence::Tcp tcp);
  [[nodiscard]] SilenceEvidence::Tcp outcome_of(const Error& error) const;
  [[nodiscard]] Error explain(const Error& error) const;
  void arm_timer();

  uv_loop_s& loop_;
  Options options_;
  const TlsContext* tls_;
  spa::Knocker& knocker_;
  Random& random_;
  Listener& listener_;
  Backoff backoff_;
  Timer timer_;
  std::unique_ptr<SignalClient> client_;
  std::unique_ptr<TcpRace> race_;  // while there is no connection
  std::unique_ptr<TcpConnection> connection_;
  std::optional<Instant> silent_at_;  // when silence is reported; absent once the broker was heard, or it was
  std::optional<Instant> retry_at_;
  std::optional<Instant> connected_at_;
  std::optional<Error> last_error_;
  std::size_t next_address_ = 0;
  bool started_ = false;
  bool delivering_ = false;
};

}  // namespace natt::uv
