// SPDX-License-Identifier: Apache-2.0
#pragma once

// A whole site in one process on loopback: broker, gateway and client on one loop, made of
// real keys, certificates and a signed roster, and a TCP echo service to reach through it.
// Ports are the kernel's choice.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include <natt/spa/knocker.h>
#include <natt/tunnel/uv/gateway.h>
#include <natt/tunnel/uv/site_client.h>
#include <natt/uv/broker.h>
#include <natt/uv/tcp_listener.h>
#include <natt/uv/udp_socket.h>

#include "integration/site_devices.h"
#include "integration/uv_loop.h"
#include "support/pattern.h"

namespace natt::test {

// Allows clients by name to reach every loopback port, and says why not otherwise.
class LoopbackPolicy final : public tunnel::uv::GatewayPolicy {
 public:
  std::string allowed = "alice";
  std::uint16_t forbidden_port = 1;

  [[nodiscard]] bool knows(const Identity& client) const override { return client.name == allowed; }
  [[nodiscard]] Verdict check_stream(const Identity& client, tunnel::Protocol, const tunnel::Authority& target,
                                     const std::vector<IpAddress>& addresses) const override {
    if (!knows(client) || target.port == forbidden_port) return {.allowed = false, .reason = "no rule", .addresses = {}};
    return {.allowed = true, .reason = "test", .addresses = addresses};
  }
  [[nodiscard]] Verdict check_packet(const Identity&, const tunnel::InnerPacket&) const override { return {}; }
};

// Sends back what it gets; ends when the other side does.
class EchoService final : private uv::TcpListener::Listener {
 public:
  explicit EchoService(uv_loop_t& loop);
  ~EchoService() override;
  [[nodiscard]] SocketAddress address() const { return listener_->local_address(); }
  [[nodiscard]] std::size_t open() const;

 private:
  class Connection;
  void on_connection(Instant now, std::unique_ptr<uv::TcpConnection> connection) override;
  std::unique_ptr<uv::TcpListener> listener_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

// Sends every datagram back to where it came from.
class UdpEcho final : private uv::UdpSocket::Listener {
 public:
  explicit UdpEcho(uv_loop_t& loop);
  [[nodiscard]] SocketAddress address() const { return socket_->local_address(); }

 private:
  void on_train(Instant now, const uv::ReceivedTrain& train) override;
  void on_receive_done(Instant) override {}
  void on_writable(Instant) override {}
  std::unique_ptr<uv::UdpSocket> socket_;
};

// A local application: one TCP connection whose other end is given to the tunnel.
class LocalApplication final : private uv::TcpConnection::Listener, private uv::TcpListener::Listener {
 public:
  explicit LocalApplication(UvLoop& loop);
  ~LocalApplication() override;

  // What to attach to a stream.
  [[nodiscard]] std::unique_ptr<uv::TcpConnection> take_other_end() { return std::move(accepted_); }
  void write(ByteView bytes) { connection_->write(bytes); }
  void shutdown() { connection_->shutdown(); }
  void stop_reading() { connection_->pause_reading(); }

  std::string received;
  bool eof = false;
  bool reset = false;

 private:
  void on_connected(Instant) override { connected_ = true; }
  void on_bytes(Instant, ByteView bytes) override { received += as_text(bytes); }
  void on_eof(Instant) override { eof = true; }
  void on_drained(Instant) override {}
  void on_closed(Instant, const Error&) override { reset = true; }
  void on_connection(Instant, std::unique_ptr<uv::TcpConnection> connection) override {
    accepted_ = std::move(connection);
  }

  bool connected_ = false;
  std::unique_ptr<uv::TcpListener> listener_;
  std::unique_ptr<uv::TcpConnection> accepted_;
  std::unique_ptr<uv::TcpConnection> connection_;
};

class LoopbackSite final : private tunnel::uv::Gateway::Listener, private tunnel::uv::SiteClient::Listener {
 public:
  struct Options {
    // Whether the client knows where the gateway is.
    bool direct = true;
    // Of the race. Absent: soon, or after what is long enough for a loaded machine when the gateway's address is known.
    std::optional<Duration> natt_after;
    std::optional<Duration> relay_after;
    Duration race_timeout = std::chrono::seconds(20);
    // A second SPA pair, before the one of all devices.
    bool gateway_has_older_key = false;
    tunnel::TunnelProtocol protocol = tunnel::TunnelProtocol::kQuic;
    // The gateway's. Outlives the site.
    spa::KernelGate* gate = nullptr;
  };

  explicit LoopbackSite(Options options);
  ~LoopbackSite() override;

  void open_broker();
  void open_gateway();
  void open_client();
  // All three, the gateway known to the broker before the client comes.
  void open_all();
  // Instead of the gateway's own address; before open_client().
  void know_gateway_at(const SocketAddress& address) { known_address_ = address; }
  // Gives the gateway a new certificate and takes its older pair away.
  [[nodiscard]] Result<void> renew_gateway();
  // Until the client has its tunnel.
  [[nodiscard]] bool connect();
  // The next roster, given to the broker only.
  void push_roster();
  // The same as from a file, which `persist` is to keep; in the thread pool.
  void load_roster(std::function<Result<void>()> persist);
  // The same without the device.
  void revoke(Role role, const std::string& name);
  [[nodiscard]] std::optional<ConnectionType> connection_type() const;
  // The client's tunnel, when it is up.
  [[nodiscard]] std::optional<tunnel::uv::SiteConnection> connection() const;
  [[nodiscard]] SocketAddress gateway_address() const;
  // A stream to the echo service, joined to the application.
  tunnel::uv::StreamRequestId open_echo(LocalApplication& application);
  // What a client that the test drives itself has.
  [[nodiscard]] Credentials client_credentials(const std::string& name);
  // Of a client, for a broker's or gateway's TCP port.
  [[nodiscard]] std::unique_ptr<spa::Knocker> make_knocker(const std::string& name, Role role,
                                                           const std::string& verifier);

  UvLoop loop;
  SystemRandom random;
  LoopbackPolicy policy;
  std::unique_ptr<EchoService> echo;
  std::unique_ptr<uv::Broker> broker;
  std::unique_ptr<tunnel::uv::Gateway> gateway;
  std::unique_ptr<tunnel::uv::SiteClient> client;
  std::map<tunnel::uv::StreamRequestId, tunnel::uv::StreamFailure> failed;
  std::vector<tunnel::uv::StreamRequestId> opened;
  bool disk_is_full = false;
  int persist_calls = 0;
  std::map<tunnel::uv::StreamRequestId, std::vector<std::string>> datagrams;

 private:
  [[nodiscard]] SignedRoster make_roster();

  // Both devices' disk.
  bool persist_roster(const SignedRoster&) override {
    ++persist_calls;
    return !disk_is_full;
  }
  void on_datagram(Instant, tunnel::uv::StreamRequestId id, ByteView payload) override {
    datagrams[id].emplace_back(as_text(payload));
  }
  void on_stream_opened(Instant, tunnel::uv::StreamRequestId id) override { opened.push_back(id); }
  void on_stream_failed(Instant, tunnel::uv::StreamRequestId id, const tunnel::uv::StreamFailure& failure) override {
    failed.emplace(id, failure);
  }

  Options options_;
  SiteDevices devices_;
  std::uint16_t broker_port_ = 0;
  std::uint16_t gateway_port_ = 0;
  std::optional<SocketAddress> known_address_;
};

}  // namespace natt::test
