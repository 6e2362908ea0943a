// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/broker.h>

#include <natt/errc.h>
#include <natt/uv/gate_work.h>
#include <natt/uv/signal_server.h>

#include "src/uv/broker/broker_sites.h"
#include "src/uv/broker/broker_udp.h"
#include "src/uv/broker/online_devices.h"
#include "src/uv/broker/relay_issuer.h"
#include "src/uv/broker/session_table.h"
#include "src/uv/broker/stun_issuer.h"
#include "src/uv/broker/tcp_door.h"
#include "src/uv/broker/tcp_relay_driver.h"

namespace natt::uv {
namespace {

constexpr std::uint64_t kFeatures = kFeatureRelayUdp | kFeatureRelayTcp;

StunServerOptions stun_options(const BrokerOptions& options, const StunTransactionKey& key) {
  StunServerOptions stun{.transaction_key = key};
  stun.primary_port = options.port;
  if (options.dns_port != 0) stun.alternate_port = options.dns_port;
  return stun;
}

}  // namespace

// Whom a candidate list may name is decided by where this broker's STUN saw the device.
class Broker::Impl final : public SignalServer::Listener,
                           public KnockListener,
                           public Timer::Listener,
                           public BrokerSites::Listener,
                           public SeenAddresses {
 public:
  Impl(uv_loop_s& loop, BrokerOptions options, Random& random)
      : options_(std::move(options)),
        random_(random),
        stun_key_(random.bytes<16>()),
        stun_(stun_options(options_, stun_key_)),
        issuer_(stun_, stun_key_, random),
        relay_(options_.relay, options_.relay_key, random),
        tcp_relay_({.log = options_.log}, relay_.accounts(), random),
        tcp_legs_(loop, tcp_relay_, options_.log),
        sites_(loop, options_.persist_retry, options_.log, options_.retired_keys, *this),
        hub_({.features = kFeatures, .boot_id = random.next_u64(), .seen = this, .log = options_.log}, random),
        tcp_(loop, {.port = options_.port, .log = options_.log}, verifiers_, grants_, random, hub_, *this),
        door_(tcp_.admission(), grants_, options_.gate, options_.log),
        relay_issuer_(relay_, tcp_relay_, hub_, sites_, online_),
        timer_(loop, *this),
        gate_work_(loop, options_.gate, [this] { timer_.arm(now()); }) {}

  [[nodiscard]] Result<void> open(uv_loop_s& loop);
  [[nodiscard]] Result<void> update_keys(Instant now, const std::string& site, const Credentials& credentials,
                                         std::vector<spa::KeyPair> spa_keys);
  void drain(Instant now, std::chrono::milliseconds within);

  void on_hub_event(Instant now, const HubEvent& event) override;
  void on_knock(Instant now, const spa::Grant& grant, const SocketAddress& source) override;
  void on_knock_missing(Instant now, const KnockMissing& missing) override { door_.handle_knock_missing(now, missing); }
  void on_relay_join(Instant now, Admitted admitted, std::unique_ptr<TcpConnection> connection) override;
  void on_timer(Instant now) override;
  void on_roster_changed(Instant now, const BrokerSite& site, const RosterChange& change) override;
  [[nodiscard]] std::vector<IpAddress> seen_addresses(Instant now, const Identity& device) const override {
    return stun_.seen_addresses(now, device);
  }

  [[nodiscard]] BrokerSiteState state_of(const BrokerSite& site, WallTime wall_now) const;

  BrokerOptions options_;
  Random& random_;
  StunTransactionKey stun_key_;
  StunServer stun_;
  StunIssuer issuer_;
  RelayServer relay_;
  TcpRelay tcp_relay_;
  TcpRelayDriver tcp_legs_;
  spa::VerifierGroup verifiers_;
  BrokerSites sites_;
  AddressGrants grants_;
  SignalHub hub_;
  SignalServer tcp_;
  TcpDoor door_;
  SessionTable sessions_;
  OnlineDevices online_;
  RelayIssuer relay_issuer_;
  Timer timer_;
  GateWork gate_work_;
  std::unique_ptr<BrokerUdp> udp_;

 private:
  void on_opened(Instant now, const ChannelOpened& opened);
  void on_closed(Instant now, const ChannelClosed& closed);
  void on_stun_wanted(Instant now, const StunCredentialsWanted& wanted);
  void on_reported(Instant now, const SessionReported& reported);
  void end_device(Instant now, const Identity& identity);
  [[nodiscard]] Result<void> open_sites();
  [[nodiscard]] Result<void> add_site(BrokerSiteOptions material, WallTime wall_now);
  [[nodiscard]] Result<void> open_udp(uv_loop_s& loop, std::vector<spa::DnsSuffix> dns_suffixes);
  [[nodiscard]] Result<void> open_tcp();
  void arm_timer();
};

Result<void> Broker::Impl::open(uv_loop_s& loop) {
  std::vector<spa::DnsSuffix> dns_suffixes;
  if (options_.dns_suffix) dns_suffixes.push_back(*options_.dns_suffix);
  for (const BrokerSiteOptions& site : options_.sites) dns_suffixes.push_back(spa::DnsSuffix::of_site(site.psk));
  auto opened = open_sites();
  if (opened) opened = open_udp(loop, std::move(dns_suffixes));
  if (opened) opened = door_.set_policy(now(), options_.mode, options_.tcp_visibility);
  if (opened) opened = open_tcp();
  if (opened) arm_timer();
  return opened;
}

Result<void> Broker::Impl::open_sites() {
  const WallTime wall = wall_now();
  for (BrokerSiteOptions& material : options_.sites) {
    if (auto added = add_site(std::move(material), wall); !added) return added;
  }
  options_.sites.clear();
  if (options_.gate != nullptr) {
    options_.gate->set_stun_keys({&stun_key_, 1});
    gate_work_.flush();
  }
  return {};
}

Result<void> Broker::Impl::add_site(BrokerSiteOptions material, WallTime wall_now) {
  auto made = BrokerSite::make(std::move(material), random_, options_.log, wall_now, options_.gate,
                               sites_.loop());
  if (!made) return tl::unexpected(made.error());
  const auto added = sites_.add(std::move(*made));
  if (!added) return tl::unexpected(added.error());
  BrokerSite& site = **added;
  verifiers_.add(site.verifier());
  // Grants that were sealed before a restart are still good: not for those the roster has revoked since.
  for (const RevokedCertificate& revoked : site.roster().roster()->revoked) {
    if (site.roster().roster()->find(revoked.identity) == nullptr) relay_.revoke(revoked.identity, wall_now);
  }
  site.verifier().handle_timeout(now(), wall_now);
  hub_.add_site({site.name(), &site.tls(), &site.roster()});
  return {};
}

Result<void> Broker::Impl::open_udp(uv_loop_s& loop, std::vector<spa::DnsSuffix> dns_suffixes) {
  if (options_.gate != nullptr) options_.gate->set_dns_suffixes(dns_suffixes);
  auto udp = BrokerUdp::open(loop,
                             {.address = options_.address,
                              .port = options_.port,
                              .dns_port = options_.dns_port,
                              .dns_suffixes = std::move(dns_suffixes),
                              .knocks = this,
                              .gate = options_.gate,
                              .socket = options_.sockets.udp,
                              .dns_socket = options_.sockets.dns},
                             stun_, relay_, verifiers_);
  if (!udp) return tl::unexpected(udp.error());
  udp_ = std::move(*udp);
  return {};
}

Result<void> Broker::Impl::open_tcp() {
  TcpListener::Options listen{.bind = {options_.address, udp_->port()}, .adopt = options_.sockets.tcp};
  // There is no moment in which strangers see the port.
  listen.before_listen = [this](int socket) { return door_.set_listener(socket); };
  return tcp_.listen(listen);
}

void Broker::Impl::arm_timer() {
  const auto deadline = earlier(sessions_.next_deadline(), issuer_.next_deadline());
  const Instant at = now();
  timer_.arm(earlier(deadline, earlier(sites_.next_deadline(at), gate_work_.next_deadline(at))));
}

void Broker::Impl::on_timer(Instant now) {
  sites_.work(now, wall_now());
  gate_work_.flush();
  sessions_.handle_timeout(now);
  issuer_.handle_timeout(now);
  arm_timer();
}

void Broker::Impl::on_hub_event(Instant now, const HubEvent& event) {
  if (const auto* opened = std::get_if<ChannelOpened>(&event)) on_opened(now, *opened);
  if (const auto* closed = std::get_if<ChannelClosed>(&event)) on_closed(now, *closed);
  if (const auto* wanted = std::get_if<StunCredentialsWanted>(&event)) on_stun_wanted(now, *wanted);
  if (const auto* request = std::get_if<RelayRequested>(&event)) {
    relay_issuer_.handle_requested(now, wall_now(), *request);
    tcp_legs_.flush(now);
  }
  if (const auto* renewal = std::get_if<RelayRenewalRequested>(&event)) {
    relay_issuer_.handle_renewal(now, wall_now(), *renewal);
  }
  if (const auto* reported = std::get_if<SessionReported>(&event)) on_reported(now, *reported);
  if (const auto* session = std::get_if<SessionOpened>(&event)) {
    sessions_.open(now, session->key, session->client, session->gateway);
  }
  if (const auto* session = std::get_if<SessionClosed>(&event)) {
    sessions_.close(session->key);
    static_cast<void>(relay_.end_session(session->key.session.octets));
    udp_->flush();
    static_cast<void>(tcp_relay_.end_session(now, session->key.site, session->key.session.octets));
    tcp_legs_.flush(now);
  }
  if (const auto* revoked = std::get_if<DeviceRevoked>(&event)) end_device(now, revoked->identity);
}

void Broker::Impl::on_knock(Instant now, const spa::Grant& grant, const SocketAddress& source) {
  door_.on_knock(now, grant, source);
  tcp_.flush(now);
}

void Broker::Impl::on_opened(Instant now, const ChannelOpened& opened) {
  door_.handle_opened(now, opened.identity, opened.remote.ip);
  options_.log(LogLevel::kInfo, "natt.signal.opened device=" + opened.identity.uri() +
                                    " remote=" + opened.remote.to_string());
  online_.set(opened.identity, opened.remote, opened.hello.features);
  sessions_.client_returned(opened.identity);
  arm_timer();
}

void Broker::Impl::on_closed(Instant now, const ChannelClosed& closed) {
  options_.log(LogLevel::kInfo,
               "natt.signal.closed device=" + closed.identity.uri() + " reason=\"" + closed.reason.message + "\"");
  if (hub_.is_online(closed.identity)) return;  // a newer channel has taken over
  online_.erase(closed.identity);
  if (closed.identity.role == Role::kClient) sessions_.client_left(now, closed.identity);
  arm_timer();
}

void Broker::Impl::on_stun_wanted(Instant now, const StunCredentialsWanted& wanted) {
  std::vector<SocketAddress> servers = broker_addresses_for(wanted.identity, sites_, online_);
  if (servers.empty()) return;
  servers.resize(1);
  const BrokerSite* site = sites_.find(wanted.identity.site);
  if (options_.dns_port != 0 && site->dns_port() != 0) servers.push_back({servers[0].ip, site->dns_port()});
  auto credentials = issuer_.issue(now, wanted.identity, std::move(servers));
  if (credentials) {
    hub_.send_stun_credentials(now, wanted.channel, *credentials);
  } else {
    options_.log(LogLevel::kWarning, "natt.stun.no_credential device=" + wanted.identity.uri() + " reason=\"" +
                                         credentials.error().message + "\"");
  }
}

void Broker::Impl::on_reported(Instant now, const SessionReported& reported) {
  if (reported.ended) return sessions_.close_reported(reported.key, reported.client);
  const BrokerSite* site = sites_.find(reported.key.site);
  if (site == nullptr || site->roster().roster()->find(reported.gateway) == nullptr) return;
  sessions_.report(now, {.key = reported.key, .client = reported.client, .gateway = reported.gateway,
                         .type = reported.type, .reason = reported.reason, .since = now});
}

void Broker::Impl::on_relay_join(Instant now, Admitted admitted, std::unique_ptr<TcpConnection> connection) {
  door_.handle_opened(now, admitted.identity, admitted.remote.ip);
  tcp_legs_.handle_join(now, admitted, std::move(connection));
}

void Broker::Impl::end_device(Instant now, const Identity& identity) {
  options_.log(LogLevel::kInfo, "natt.broker.revoked device=" + identity.uri());
  relay_.revoke(identity, wall_now());
  static_cast<void>(tcp_relay_.revoke(now, identity));
  tcp_legs_.flush(now);
  issuer_.revoke(identity);
  door_.remove_device(now, identity);
  sessions_.remove_device(identity);
  online_.erase(identity);
  if (udp_) udp_->flush();
}

void Broker::Impl::on_roster_changed(Instant now, const BrokerSite& site, const RosterChange& change) {
  options_.log(LogLevel::kInfo,
               "natt.roster.accepted site=" + site.name() + " number=" + std::to_string(change.number));
  for (const Identity& identity : change.removed) end_device(now, identity);
  hub_.handle_roster_change(now, site.name(), change);
  tcp_.flush(now);
  arm_timer();
}

Result<void> Broker::Impl::update_keys(Instant now, const std::string& site, const Credentials& credentials,
                                       std::vector<spa::KeyPair> spa_keys) {
  BrokerSite* found = sites_.find(site);
  if (found == nullptr) return fail(Errc::kUnavailable, "site " + site + " is not served here");
  auto set = found->set_material(credentials, std::move(spa_keys));
  if (!set) return set;
  hub_.set_site_tls(site, found->tls());
  timer_.arm(now);
  return {};
}

void Broker::Impl::drain(Instant now, std::chrono::milliseconds within) {
  hub_.drain(now, within);
  tcp_.flush(now);
}

BrokerSiteState Broker::Impl::state_of(const BrokerSite& site, WallTime wall_now) const {
  return {.name = site.name(),
          .roster_number = site.roster().number(),
          .roster_stale = site.roster().is_stale(wall_now),
          .roster_rejection = site.roster().last_rejection(),
          .roster_not_persisted = site.persist_failure(),
          .gateways_online = online_.count(site.name(), Role::kGateway),
          .clients_online = online_.count(site.name(), Role::kClient),
          .certificate_end = site.certificate_end(),
          .devices_loading = site.loading(),
          .missing_own_key = site.missing_own_key(),
          .spa = site.verifier().stats(),
          .replay = site.replay_status()};
}

Result<std::unique_ptr<Broker>> Broker::open(uv_loop_s& loop, BrokerOptions options, Random& random) {
  auto impl = std::make_unique<Impl>(loop, std::move(options), random);
  if (auto opened = impl->open(loop); !opened) return tl::unexpected(opened.error());
  return std::unique_ptr<Broker>(new Broker(std::move(impl)));
}

Broker::Broker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Broker::~Broker() = default;

Result<RosterChange> Broker::update_roster(Instant now, const std::string& site, const SignedRoster& documents) {
  return impl_->sites_.update_roster(now, site, documents);
}
void Broker::load_roster(const std::string& site, RosterJob job) {
  impl_->sites_.load_roster(site, std::move(job));
}
Result<void> Broker::update_keys(Instant now, const std::string& site, const Credentials& credentials,
                                 std::vector<spa::KeyPair> spa_keys) {
  return impl_->update_keys(now, site, credentials, std::move(spa_keys));
}
void Broker::set_relay_thresholds(std::uint64_t sessions, std::uint64_t bits_per_second) {
  impl_->relay_.set_thresholds(sessions, bits_per_second);
}
void Broker::drain(Instant now, std::chrono::milliseconds within) { impl_->drain(now, within); }
Result<void> Broker::set_tcp_policy(Instant now, SpaMode mode, std::optional<TcpVisibility> visibility) {
  auto set = impl_->door_.set_policy(now, mode, visibility);
  impl_->tcp_.flush(now);
  return set;
}
bool Broker::is_drained() const { return impl_->hub_.is_drained(); }
std::uint16_t Broker::port() const { return impl_->udp_->port(); }
std::vector<BrokerSession> Broker::sessions() const { return impl_->sessions_.list(); }
ConnectionCounts Broker::session_counts() const { return impl_->sessions_.counts(); }
std::vector<RelaySessionReport> Broker::relay_sessions() const {
  // A session that has both runs over TCP: its ends would not have joined else.
  std::vector<RelaySessionReport> reports = impl_->tcp_relay_.sessions();
  for (RelaySessionReport& report : impl_->relay_.sessions()) reports.push_back(std::move(report));
  return reports;
}
RelayLoad Broker::relay_load() const { return impl_->relay_.load(); }
RelayStats Broker::relay_stats() const {
  RelayStats stats = impl_->relay_.stats();
  const TcpRelayStats& tcp = impl_->tcp_relay_.stats();
  stats.sessions_opened += tcp.pairs_opened;
  stats.sessions_closed += tcp.pairs_closed;
  stats.bytes_forwarded += tcp.bytes_forwarded;
  return stats;
}
const TcpRelayStats& Broker::tcp_relay_stats() const { return impl_->tcp_relay_.stats(); }
const StunServer::Stats& Broker::stun_stats() const { return impl_->stun_.stats(); }
const SignalHubStats& Broker::signal_stats() const { return impl_->hub_.stats(); }
UdpSocket::Stats Broker::udp_stats() const { return impl_->udp_->stats(); }

BrokerDoorState Broker::door(Instant now) const {
  return {.mode = impl_->door_.mode(),
          .plan = impl_->door_.plan(),
          .connections = impl_->tcp_.admission().stats(),
          .grants = impl_->grants_.stats(),
          .live_grants = impl_->grants_.size(),
          .knocks_missing = impl_->door_.missing(now)};
}

const RetiredKeys* Broker::retired_keys(const std::string& site) const {
  const BrokerSite* found = impl_->sites_.find(site);
  return found == nullptr ? nullptr : &found->retired_keys();
}

const SignedRoster* Broker::roster(const std::string& site) const {
  const BrokerSite* found = impl_->sites_.find(site);
  return found == nullptr ? nullptr : &found->roster().documents();
}

std::vector<BrokerPeerState> Broker::peers(const std::string& site) const {
  std::vector<BrokerPeerState> peers;
  const BrokerSite* found = impl_->sites_.find(site);
  if (found == nullptr) return peers;
  for (const RosterDevice& device : found->roster().roster()->devices) {
    const auto remote = impl_->online_.find(device.identity);
    if (device.identity.role == Role::kBroker || (device.identity.role == Role::kClient && !remote)) continue;
    peers.push_back({device.identity, remote});
  }
  return peers;
}

std::vector<BrokerSiteState> Broker::sites(WallTime wall_now) const {
  std::vector<BrokerSiteState> states;
  for (const BrokerSite* site : impl_->sites_.list()) states.push_back(impl_->state_of(*site, wall_now));
  return states;
}

}  // namespace natt::uv
