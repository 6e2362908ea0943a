// SPDX-License-Identifier: Apache-2.0
#pragma once

// A TLS tunnel on a TCP connection of its own: straight to the gateway, with an SPA record in
// front of the ClientHello (docs/WIRE.md 1.5), or as one leg of a session that a broker
// relays, where the ClientHello is the first that the gateway sees.
//
//   kConnecting --race won, relay joined--> kOpen --close()--> kClosing --taken, answered--> kOver
//        '----- lost, close() ---------------'--- ended or broken ----------------------------^

#include <functional>
#include <memory>

#include <natt/tunnel/tls_client.h>
#include <natt/uv/site_signaling.h>
#include <natt/uv/tcp_race.h>

#include "src/uv/client/tunnel_transport.h"

namespace natt::tunnel::uv {

class TcpTransport final : public TunnelTransport,
                         private natt::uv::TcpRace::Listener,
                         private natt::uv::RelayJoin::Listener,
                         private natt::uv::TcpConnection::Listener {
 public:
  // The record in front of a ClientHello, with a frame of its own each time.
  using HelloMaker = std::function<ByteBuffer(ByteView client_hello)>;
  // Octets that may wait for the kernel: enough to fill it again before the next turn of the loop, and no more, since
  // what waits here no stream's priority can overtake.
  static constexpr std::size_t kAhead = 256 * 1024;

  TcpTransport(std::unique_ptr<TlsClient> client, Owner& owner) : client_(std::move(client)), owner_(owner) {}
  ~TcpTransport() override;
  TcpTransport(const TcpTransport&) = delete;
  TcpTransport& operator=(const TcpTransport&) = delete;

  // One of the two, once. `make_hello` is asked until the race is over.
  void connect(Instant now, uv_loop_s& loop, const SocketAddress& to, HelloMaker make_hello);
  // Fails as SiteSignaling::join_relay() does.
  [[nodiscard]] Result<void> join(Instant now, natt::uv::SiteSignaling& signaling, BrokerIndex broker,
                                  const RelayGrantMessage& grant);

  [[nodiscard]] ClientTunnel& tunnel() override { return *client_; }
  [[nodiscard]] const ClientTunnel& tunnel() const override { return *client_; }
  [[nodiscard]] TunnelProtocol protocol() const override { return TunnelProtocol::kTls; }
  [[nodiscard]] bool pump(Instant now) override;
  void close(Instant now, std::string_view reason) override;
  [[nodiscard]] std::optional<SocketAddress> remote() const override { return remote_; }
  [[nodiscard]] SocketAddress local() const override;
  // With the round-trip time that the kernel knows: of a relayed tunnel it is that of the way to the relay.
  [[nodiscard]] ConnectionStats stats() const override;
  [[nodiscard]] bool moves_backlog() override;
  [[nodiscard]] AttemptFailure failure() const override { return failure_; }

 private:
  enum class State : std::uint8_t { kConnecting, kOpen, kClosing, kOver };

  [[nodiscard]] ByteBuffer make_first_flight() override;
  void on_race_won(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) override;
  void on_race_lost(Instant now, const Error& error) override;
  void on_relay_joined(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) override;
  void on_relay_join_failed(Instant now, const Error& error) override;
  void on_connected(Instant) override {}
  void on_bytes(Instant now, ByteView bytes) override;
  void on_eof(Instant now) override;
  void on_drained(Instant now) override;
  void on_closed(Instant now, const Error& error) override;

  void open(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection);
  void end(Instant now, const Error& error);
  void transition_to(State next) { state_ = next; }

  std::unique_ptr<TlsClient> client_;
  Owner& owner_;
  State state_ = State::kConnecting;
  HelloMaker make_hello_;
  std::unique_ptr<natt::uv::TcpRace> race_;
  std::unique_ptr<natt::uv::RelayJoin> join_;
  std::unique_ptr<natt::uv::TcpConnection> connection_;
  std::optional<SocketAddress> remote_;
  std::uint64_t octets_taken_ = 0;  // by the other host, at the last look
  AttemptFailure failure_ = AttemptFailure::kHandshake;
};

}  // namespace natt::tunnel::uv
