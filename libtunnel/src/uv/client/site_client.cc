// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/uv/site_client.h>

#include <algorithm>

#include <natt/errc.h>
#include <natt/uv/interface_addresses.h>
#include <natt/uv/name_servers.h>

#include "src/uv/client/gateway_link.h"

namespace natt::tunnel::uv {

using natt::uv::EndpointDriver;
using natt::uv::SiteSignaling;
using natt::uv::Timer;

class SiteClient::Impl final : public EndpointDriver::Listener,
                               public SiteSignaling::Listener,
                               public ClientStreams::Owner,
                               public TunnelTransport::Owner,
                               public ClientIp::Owner,
                               public Timer::Listener {
 public:
  Impl(uv_loop_s& loop, SiteClientOptions options, Random& random, SiteClient::Listener& listener)
      : loop_(loop), options_(std::move(options)), random_(random), listener_(listener), timer_(loop, *this) {}
  ~Impl() override = default;

  [[nodiscard]] Result<void> open();
  // Finds or makes the link to a gateway by name; null when the roster lists none.
  [[nodiscard]] GatewayLink* link_to(const std::string& gateway);
  [[nodiscard]] StreamRequestId request(Instant now, const std::string& gateway, Protocol protocol,
                                        const Authority& target);
  void flush(Instant now);

  // Gateways do not move; clients do.
  bool admits_new_path(Instant, const SocketAddress&, ByteView) override { return false; }
  void on_tunnel_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) override;
  void on_knock(Instant, const SocketAddress&, ByteView) override {}
  void on_endpoint_event(Instant now, const EndpointEvent& event) override;
  void on_flush(Instant now) override { flush(now); }
  void on_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event) override;
  void on_roster(Instant now, const RosterChange& change) override;
  bool persist_roster(const SignedRoster& documents) override { return listener_.persist_roster(documents); }
  void on_streams_progress(Instant now) override;
  void on_transport_progress(Instant now) override { flush(now); }
  void on_ip_progress(Instant now) override { on_streams_progress(now); }
  [[nodiscard]] std::vector<IpAddress> outer_addresses() const override;
  void on_timer(Instant now) override;

  uv_loop_s& loop_;
  SiteClientOptions options_;
  Random& random_;
  SiteClient::Listener& listener_;
  Timer timer_;
  std::unique_ptr<EndpointDriver> driver_;
  std::unique_ptr<TlsContext> quic_;
  std::unique_ptr<TlsContext> tls_;  // null in a QUIC site
  std::unique_ptr<PacketPump> pump_;
  std::unique_ptr<SiteSignaling> signaling_;
  std::unique_ptr<ClientIp> ip_;
  std::map<std::string, std::unique_ptr<GatewayLink>> links_;  // by gateway name
  std::map<StreamRequestId, std::string> requests_without_gateway_;
  std::uint64_t next_request_ = 1;

 private:
  [[nodiscard]] Result<void> make_contexts();
  [[nodiscard]] std::string choose_gateway() const;
  void handle_directory(Instant now, const GatewayDirectory& directory);

  std::map<std::string, GatewayEntry> directory_;
  bool flushing_ = false;
  bool again_ = false;
};

Result<void> SiteClient::Impl::make_contexts() {
  auto quic = TlsContext::make(options_.credentials, TlsDirection::kClient, "h3");
  if (!quic) return tl::unexpected(quic.error());
  quic_ = std::move(*quic);
  if (options_.protocol != TunnelProtocol::kTls) return {};
  auto tls = TlsContext::make(options_.credentials, TlsDirection::kClient, "h2");
  if (!tls) return tl::unexpected(tls.error());
  tls_ = std::move(*tls);
  return {};
}

Result<void> SiteClient::Impl::open() {
  if (auto made = make_contexts(); !made) return made;
  auto driver = EndpointDriver::open(loop_,
                                     {.bind = options_.bind,
                                      .endpoint = {.role = PunchRole::kControlling,
                                                   .stun_keepalive = options_.stun_keepalive,
                                                   .punch = {.policy = {.private_prefixes = options_.probe_prefixes},
                                                             .log = options_.log},
                                                   .log = options_.log}},
                                     random_, *this);
  if (!driver) return tl::unexpected(driver.error());
  driver_ = std::move(*driver);
  pump_ = std::make_unique<PacketPump>(*driver_);
  std::optional<natt::uv::SpaOwnKey> older;
  if (options_.older_spa_key) older = options_.older_spa_key->copy();
  auto signaling = SiteSignaling::make(loop_,
                                       {.view = RosterView::kClient,
                                        .features = kFeatureRelayUdp | (tls_ ? kFeatureRelayTcp : 0),
                                        .boot_id = random_.next_u64(),
                                        .software = options_.software,
                                        .mode = options_.spa_mode,
                                        .modes = options_.broker_modes,
                                        .dns_suffix = options_.dns_suffix,
                                        .older_key = std::move(older),
                                        .memory_file = options_.memory_file,
                                        .log = options_.log},
                                       options_.credentials, options_.spa_key, options_.psk, options_.roster,
                                       *driver_, random_, *this);
  if (!signaling) return tl::unexpected(signaling.error());
  signaling_ = std::move(*signaling);
  signaling_->start(natt::uv::now());
  return {};
}

std::string SiteClient::Impl::choose_gateway() const {
  for (const auto& [name, link] : links_) {
    if (link->state() == GatewayLink::State::kUp) return name;
  }
  for (const auto& [name, entry] : directory_) {
    if (entry.online) return name;
  }
  for (const RosterDevice& device : signaling_->roster().devices) {
    if (device.identity.role == Role::kGateway) return device.identity.name;
  }
  return {};
}

GatewayLink* SiteClient::Impl::link_to(const std::string& gateway) {
  const std::string name = gateway.empty() ? choose_gateway() : gateway;
  const auto known = links_.find(name);
  if (known != links_.end()) return known->second.get();
  const Identity identity{options_.credentials.identity().site, Role::kGateway, name};
  auto link = GatewayLink::make({.loop = loop_,
                                 .options = options_,
                                 .quic = *quic_,
                                 .tls = tls_.get(),
                                 .signaling = *signaling_,
                                 .driver = *driver_,
                                 .pump = *pump_,
                                 .random = random_,
                                 .listener = listener_,
                                 .streams = *this,
                                 .transports = *this},
                                identity);
  if (!link) {
    options_.log(LogLevel::kError, "natt.gateway.unknown reason=\"" + link.error().message + "\"");
    return nullptr;
  }
  GatewayLink& added = *links_.emplace(name, std::move(*link)).first->second;
  if (const auto entry = directory_.find(name); entry != directory_.end()) {
    added.handle_directory(natt::uv::now(), entry->second);
  }
  return &added;
}

void SiteClient::Impl::on_tunnel_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  for (const auto& [name, link] : links_) {
    if (link->handle_packet(now, path, ecn, packet)) return;
  }
}

void SiteClient::Impl::on_endpoint_event(Instant now, const EndpointEvent& event) {
  if (const auto* stun = std::get_if<StunReport>(&event)) {
    if (signaling_) signaling_->note_stun(*stun);
    if (stun->error) options_.log(LogLevel::kWarning, "natt.stun.failed reason=\"" + stun->error->message + "\"");
  }
  for (const auto& [name, link] : links_) link->handle_endpoint_event(now, event);
  if (ip_ && std::holds_alternative<LocalCandidatesChanged>(event)) ip_->check_routes_again();
  // Endpoint events may come while a stream is on the stack: what follows waits for the next turn of the loop.
  again_ = true;
  timer_.arm(now);
}

void SiteClient::Impl::on_broker_event(Instant now, BrokerIndex broker, const SignalEvent& event) {
  if (const auto* directory = std::get_if<GatewayDirectory>(&event)) handle_directory(now, *directory);
  for (const auto& [name, link] : links_) link->handle_broker_event(now, broker, event);
  flush(now);
}

void SiteClient::Impl::handle_directory(Instant now, const GatewayDirectory& directory) {
  if (directory.complete) directory_.clear();
  for (const GatewayEntry& entry : directory.entries) {
    directory_.insert_or_assign(entry.gateway.name, entry);
    const auto link = links_.find(entry.gateway.name);
    if (link != links_.end()) link->second->handle_directory(now, entry);
  }
}

void SiteClient::Impl::on_roster(Instant now, const RosterChange& change) {
  for (const Identity& removed : change.removed) {
    const auto link = removed.role == Role::kGateway ? links_.find(removed.name) : links_.end();
    if (link != links_.end()) link->second->fail(now, "the gateway has been revoked");
  }
  for (const RevokedCertificate& revoked : change.revoked) {
    const auto link = revoked.identity.role == Role::kGateway ? links_.find(revoked.identity.name) : links_.end();
    if (link != links_.end()) link->second->drop_tunnel(now, "the gateway's certificate has been revoked");
  }
  for (const Identity& changed : change.changed) {
    const auto link = changed.role == Role::kGateway ? links_.find(changed.name) : links_.end();
    if (link != links_.end()) link->second->renew_key();
  }
  if (ip_) ip_->check_routes_again();
}

std::vector<IpAddress> SiteClient::Impl::outer_addresses() const {
  std::vector<IpAddress> outer = natt::uv::interface_addresses();
  for (const IpAddress& server : natt::uv::name_servers()) outer.push_back(server);
  for (const RosterDevice& device : signaling_->roster().devices) {
    for (const SocketAddress& address : device.addresses) outer.push_back(address.ip);
  }
  for (const auto& [name, addresses] : options_.gateway_addresses) {
    for (const SocketAddress& address : addresses) outer.push_back(address.ip);
  }
  for (const auto& [name, link] : links_) {
    if (const auto remote = link->describe().remote) outer.push_back(remote->ip);
  }
  return outer;
}

// Comes from inside streams: their packets go out at once, but events, which may end the very
// stream, wait for the next turn of the loop.
void SiteClient::Impl::on_streams_progress(Instant now) {
  again_ = true;
  if (flushing_) return;
  for (const auto& [name, link] : links_) link->pump(now);
  timer_.arm(now);
}

void SiteClient::Impl::on_timer(Instant now) {
  for (const auto& [name, link] : links_) link->handle_timeout(now);
  flush(now);
}

void SiteClient::Impl::flush(Instant now) {
  if (!signaling_) return;
  if (flushing_) {
    again_ = true;
    return;
  }
  flushing_ = true;
  do {
    again_ = false;
    std::vector<GatewayLink*> links;  // a handler may ask for a further gateway
    for (const auto& [name, link] : links_) links.push_back(link.get());
    for (GatewayLink* link : links) link->flush(now);
    auto unanswered = std::move(requests_without_gateway_);
    requests_without_gateway_.clear();
    for (const auto& [id, reason] : unanswered) listener_.on_stream_failed(now, id, {.status = 0, .reason = reason});
  } while (again_);
  flushing_ = false;
  std::optional<Instant> deadline;
  for (const auto& [name, link] : links_) deadline = earlier(deadline, link->next_deadline(now));
  timer_.arm(deadline);
}

Result<std::unique_ptr<SiteClient>> SiteClient::open(uv_loop_s& loop, SiteClientOptions options, Random& random,
                                                     Listener& listener) {
  auto impl = std::make_unique<Impl>(loop, std::move(options), random, listener);
  if (auto opened = impl->open(); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<SiteClient>(new SiteClient(std::move(impl)));
}

SiteClient::SiteClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SiteClient::~SiteClient() = default;

void SiteClient::keep_up(Instant now, const std::string& gateway) {
  if (GatewayLink* link = impl_->link_to(gateway)) link->keep_up();
  impl_->timer_.arm(now);
}

StreamRequestId SiteClient::Impl::request(Instant now, const std::string& gateway, Protocol protocol,
                                          const Authority& target) {
  const StreamRequestId id{next_request_++};
  GatewayLink* link = link_to(gateway);
  if (link == nullptr) {
    requests_without_gateway_.emplace(id, "the site has no gateway " + gateway);
  } else if (link->streams().waiting() >= kMaxWaiting) {
    requests_without_gateway_.emplace(id, "too many streams wait for the tunnel");
  } else {
    link->streams().request(id, protocol, target);
  }
  timer_.arm(now);
  return id;
}

StreamRequestId SiteClient::open_stream(Instant now, const std::string& gateway, const Authority& target) {
  return impl_->request(now, gateway, Protocol::kTcp, target);
}

StreamRequestId SiteClient::open_udp(Instant now, const std::string& gateway, const Authority& target) {
  return impl_->request(now, gateway, Protocol::kUdp, target);
}

bool SiteClient::send_datagram(Instant now, StreamRequestId id, ByteView payload) {
  bool queued = false;
  for (const auto& [name, link] : impl_->links_) queued = queued || link->streams().send_datagram(id, payload);
  if (queued) impl_->on_streams_progress(now);
  return queued;
}

void SiteClient::attach(Instant now, StreamRequestId id, std::unique_ptr<natt::uv::TcpConnection> connection,
                        ByteBuffer early) {
  for (const auto& [name, link] : impl_->links_) {
    if (link->streams().attach(now, id, connection, early)) return;
  }
  // The request has failed already: its listener is told, or was.
  connection->abort();
}

void SiteClient::cancel(Instant now, StreamRequestId id) {
  impl_->requests_without_gateway_.erase(id);
  for (const auto& [name, link] : impl_->links_) {
    if (link->streams().cancel(now, id)) return;
  }
}

Result<void> SiteClient::open_tun(Instant now, const ClientTunOptions& options) {
  GatewayLink* link = impl_->link_to(options.gateway);
  if (link == nullptr) return natt::fail(natt::Errc::kUnavailable, "the site has no gateway " + options.gateway);
  auto ip = ClientIp::open(impl_->loop_, options, impl_->options_.log, *impl_);
  if (!ip) return tl::unexpected(ip.error());
  impl_->ip_ = std::move(*ip);
  link->set_ip(impl_->ip_.get());
  link->keep_up();
  impl_->timer_.arm(now);
  return {};
}

Result<RosterChange> SiteClient::update_roster(Instant now, const SignedRoster& documents) {
  auto change = impl_->signaling_->update_roster(now, documents);
  impl_->flush(now);
  return change;
}

void SiteClient::set_stun_keepalive(Instant now, Duration interval) {
  impl_->driver_->endpoint().set_stun_keepalive(now, interval);
  impl_->driver_->flush(now);
}

void SiteClient::close(Instant now) {
  for (const auto& [name, link] : impl_->links_) link->close(now);
  impl_->signaling_->stop();
  impl_->driver_->flush(now);
}

const Identity& SiteClient::identity() const { return impl_->options_.credentials.identity(); }
const RosterStore& SiteClient::roster() const { return impl_->signaling_->store(); }
std::vector<SiteSignaling::BrokerState> SiteClient::brokers() const { return impl_->signaling_->states(); }
std::vector<std::string> SiteClient::own_complaints() const { return impl_->signaling_->own_complaints(); }
SocketAddress SiteClient::local_address() const { return impl_->driver_->local_address(); }

const PunchAgent::Stats& SiteClient::punch_stats() const { return impl_->driver_->endpoint().punch_stats(); }
const natt::uv::UdpSocket::Stats& SiteClient::udp_stats() const { return impl_->driver_->socket_stats(); }
std::chrono::milliseconds SiteClient::clock_offset() const { return impl_->signaling_->clock_offset(); }

std::vector<SiteConnection> SiteClient::connections() const {
  std::vector<SiteConnection> connections;
  for (const auto& [name, link] : impl_->links_) connections.push_back(link->describe());
  return connections;
}

}  // namespace natt::tunnel::uv
