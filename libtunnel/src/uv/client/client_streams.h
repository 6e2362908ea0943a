// SPDX-License-Identifier: Apache-2.0
#pragma once

// The streams of one gateway at the client: those that wait for the tunnel, those that wait
// for the gateway's answer, and those that are bridged to a TCP connection. Resource type;
// listener and owner outlive it.

#include <map>
#include <memory>
#include <vector>

#include <natt/tunnel/client_tunnel.h>
#include <natt/tunnel/uv/site_client.h>
#include <natt/tunnel/uv/stream_bridge.h>

namespace natt::tunnel::uv {

class ClientStreams final : private StreamBridge::Owner {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void on_streams_progress(Instant now) = 0;
  };

  ClientStreams(SiteClient::Listener& listener, Owner& owner, LogSink log);
  ~ClientStreams() override;
  ClientStreams(const ClientStreams&) = delete;
  ClientStreams& operator=(const ClientStreams&) = delete;

  void request(StreamRequestId id, Protocol protocol, const Authority& target);
  // On a UDP flow that is open. False: lost, or no such request here.
  bool send_datagram(StreamRequestId id, ByteView payload);
  void handle_datagram(Instant now, const Datagram& datagram);
  // False: no such request here.
  [[nodiscard]] bool attach(Instant now, StreamRequestId id, std::unique_ptr<natt::uv::TcpConnection>& connection,
                            ByteBuffer& early);
  [[nodiscard]] bool cancel(Instant now, StreamRequestId id);

  // The tunnel is up; it outlives this until handle_tunnel_down().
  void handle_tunnel_up(ClientTunnel& tunnel) { tunnel_ = &tunnel; }
  // Opens what waits, as far as the peer's stream limit allows.
  void open_waiting(Instant now);
  // Streams on it are over; those that were still waiting wait on.
  void handle_tunnel_down(Instant now, const std::string& reason);
  // Gives up on what waits.
  void fail_waiting(Instant now, const std::string& reason);
  void handle_event(Instant now, const ClientEvent& event);
  // Frees what ended; not from inside an event.
  void collect() { ended_.clear(); }

  [[nodiscard]] std::size_t waiting() const { return waiting_; }
  [[nodiscard]] std::size_t size() const { return requests_.size(); }

 private:
  struct PendingStream {
    Protocol protocol = Protocol::kTcp;
    Authority target;
    std::optional<StreamId> stream;
    std::unique_ptr<natt::uv::TcpConnection> connection;
    ByteBuffer early;
    std::unique_ptr<StreamBridge> bridge;
    bool answered = false;
  };
  using Requests = std::map<StreamRequestId, PendingStream>;

  void on_bridge_progress(Instant now) override { owner_.on_streams_progress(now); }
  void on_bridge_done(Instant now, StreamId stream) override;

  void open(Instant now, StreamRequestId id, PendingStream& request);
  void start_bridge(Instant now, PendingStream& request);
  [[nodiscard]] std::vector<StreamRequestId> ids(bool opened) const;
  void fail_all(Instant now, const std::vector<StreamRequestId>& requests, const std::string& reason);
  void handle_response(Instant now, const Response& response);
  void fail(Instant now, Requests::iterator request, const StreamFailure& failure);
  [[nodiscard]] Requests::iterator find(StreamId stream);
  [[nodiscard]] StreamBridge* bridge_of(StreamId stream);
  void handle_stream_closed(Instant now, StreamId stream);

  SiteClient::Listener& listener_;
  Owner& owner_;
  LogSink log_;
  ClientTunnel* tunnel_ = nullptr;
  std::size_t waiting_ = 0;
  Requests requests_;
  std::map<StreamId, StreamRequestId> by_stream_;
  std::vector<std::unique_ptr<StreamBridge>> ended_;
};

}  // namespace natt::tunnel::uv
