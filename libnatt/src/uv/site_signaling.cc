// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/site_signaling.h>

#include <algorithm>

#include <natt/errc.h>
#include <natt/key_choice.h>

#include "src/uv/own_evidence.h"
#include "src/uv/udp_rejection.h"

namespace natt::uv {
namespace {

bool same_but_keys(RosterDevice a, const RosterDevice& b) {
  a.spa_keys = b.spa_keys;
  return a == b;
}

SignedRoster as_documents(RosterView view, const ByteBuffer& document) {
  SignedRoster documents;
  (view == RosterView::kFull ? documents.full : documents.client) = document;
  return documents;
}

}  // namespace

std::optional<std::string> certificate_complaint(const Credentials& credentials, WallTime wall_now) {
  const auto left = std::chrono::floor<std::chrono::days>(credentials.not_after() - wall_now);
  if (left > std::chrono::days(30)) return std::nullopt;
  const std::string when = left.count() < 0 ? "expired " + std::to_string(-left.count()) + " days ago"
                                            : "expires in " + std::to_string(left.count()) + " days";
  return "the certificate of " + credentials.identity().uri() + " " + when +
         ": run nattctl renew for it and copy its new file here";
}

Result<std::unique_ptr<SiteSignaling>> SiteSignaling::make(uv_loop_s& loop, Options options,
                                                           const Credentials& credentials, const SpaOwnKey& key,
                                                           const spa::SitePsk& psk, const SignedRoster& roster,
                                                           EndpointDriver& driver, Random& random,
                                                           Listener& listener) {
  std::unique_ptr<SiteSignaling> signaling(
      new SiteSignaling(loop, std::move(options), credentials, key, psk, driver, random, listener));
  auto tls = TlsContext::make(credentials, TlsDirection::kClient, "");
  if (!tls) return tl::unexpected(tls.error());
  signaling->tls_ = std::move(*tls);
  if (auto change = signaling->store_.handle_roster(roster); !change) return tl::unexpected(change.error());
  signaling->sync_brokers(now());
  if (signaling->brokers_.empty()) {
    return fail(Errc::kUnavailable, "the roster of site " + credentials.identity().site +
                                        " lists no broker with an address: give the device a newer roster");
  }
  return signaling;
}

SiteSignaling::SiteSignaling(uv_loop_s& loop, Options options, const Credentials& credentials, const SpaOwnKey& key,
                             const spa::SitePsk& psk, EndpointDriver& driver, Random& random, Listener& listener)
    : loop_(loop),
      options_(std::move(options)),
      credentials_(credentials),
      key_(key),
      psk_(psk),
      driver_(driver),
      random_(random),
      listener_(listener),
      store_(credentials.site_ca(), options_.view, options_.log),
      on_disk_(options_.persist_retry),
      timer_(loop, *this),
      memory_(options_.memory_file, options_.log) {}

SiteSignaling::~SiteSignaling() = default;

void SiteSignaling::start(Instant now) {
  driver_.set_clock_offset(memory_.clock_offset());
  started_ = true;
  for (const auto& broker : brokers_) broker->link->start(now);
}

void SiteSignaling::stop() {
  started_ = false;
  for (const auto& broker : brokers_) {
    broker->knocks->stop();
    broker->join_knocks.clear();
    broker->link->stop();
  }
}

void SiteSignaling::sync_brokers(Instant now) {
  note_own_listing();
  retire_missing_brokers(now);
  for (const RosterDevice& device : roster().devices) {
    const bool known = std::any_of(brokers_.begin(), brokers_.end(),
                                   [&](const auto& broker) { return broker->identity == device.identity; });
    if (device.identity.role == Role::kBroker && !known) add_broker(now, device);
  }
  std::vector<IpAddress> addresses;
  std::vector<SocketAddress> dns;
  for (const RosterDevice& device : roster().devices) {
    if (device.identity.role != Role::kBroker) continue;
    for (const SocketAddress& address : device.addresses) {
      addresses.push_back(address.ip);
      if (device.dns_port != 0) dns.push_back({address.ip, device.dns_port});
    }
  }
  driver_.endpoint().set_broker_addresses(std::move(addresses));
  driver_.set_mute_addresses(dns);
}

void SiteSignaling::retire_missing_brokers(Instant now) {
  for (auto broker = brokers_.begin(); broker != brokers_.end();) {
    const RosterDevice* listed = roster().find((*broker)->identity);
    if (listed != nullptr && same_but_keys(*listed, (*broker)->listed)) {
      // A renewed key is for the next knock: the channel that is open stays.
      (*broker)->listed = *listed;
      use_keys(**broker);
      ++broker;
      continue;
    }
    // The roster may have come through this very link: it is destroyed outside of its callback.
    (*broker)->link->stop();
    driver_.endpoint().remove_stun((*broker)->index);
    retired_.push_back(std::move(*broker));
    broker = brokers_.erase(broker);
    timer_.arm(now);
  }
}

void SiteSignaling::add_broker(Instant now, const RosterDevice& device) {
  if (device.addresses.empty() || device.spa_keys.empty() || !device.mask_key) return;
  const Identity& self = credentials_.identity();
  const auto pair = derive_pair(key_, device.spa_keys.back(), device.identity);
  if (!pair) return;
  auto broker = std::make_unique<Broker>();
  broker->rejection = std::make_unique<UdpRejection>();
  broker->index = {next_index_++};
  broker->identity = device.identity;
  broker->listed = device;
  broker->generation = key_.generation;
  const spa::KnockerOptions knocker{.device = self, .verifier = device.identity, .port = device.addresses[0].port,
                                    .mask = *device.mask_key, .key_generation = key_.generation,
                                    .dns_suffix = options_.dns_suffix.value_or(spa::DnsSuffix::of_site(psk_))};
  broker->knocker = std::make_unique<spa::Knocker>(knocker, *pair, random_);
  broker->knocks = std::make_unique<spa::KnockSchedule>(
      *broker->knocker, device.dns_port == 0 ? spa::KnockPorts::kServiceOnly : spa::KnockPorts::kServiceAndDns);
  SignalLink::Options link{.client = {.self = self, .broker = device.identity, .features = options_.features,
                                      .boot_id = options_.boot_id, .software = options_.software, .roster = &store_,
                                      .log = options_.log},
                           .addresses = device.addresses};
  broker->link = std::make_unique<SignalLink>(loop_, std::move(link), *tls_, *broker->knocker, random_,
                                              static_cast<SignalLink::Listener&>(*this));
  brokers_.push_back(std::move(broker));
  if (started_) brokers_.back()->link->start(now);
}

std::optional<spa::PairKey> SiteSignaling::derive_pair(const SpaOwnKey& own, const SpaPublicKey& theirs,
                                                       const Identity& broker) const {
  return spa::PairKey::derive(own.pair, {theirs.key}, spa::DeviceId::of(credentials_.identity()),
                              spa::DeviceId::of(broker), psk_);
}

void SiteSignaling::use_keys(Broker& broker) {
  const std::size_t ours = options_.older_key ? 2 : 1;
  // The two newest: more pairs no broker holds.
  const std::size_t theirs = std::min<std::size_t>(broker.listed.spa_keys.size(), 2);
  const KeyChoice choice = choose_keys(broker.attempt, ours, theirs);
  const SpaOwnKey& own = choice.own == 0 ? key_ : *options_.older_key;
  const SpaPublicKey& listed = *(broker.listed.spa_keys.rbegin() + static_cast<std::ptrdiff_t>(choice.theirs));
  const auto pair = derive_pair(own, listed, broker.identity);
  if (!pair) return;
  broker.knocker->set_pair(*pair, own.generation);
  broker.generation = own.generation;
}

void SiteSignaling::handle_new_material(std::optional<SpaOwnKey> older_key, std::unique_ptr<TlsContext> tls) {
  former_tls_.push_back(std::exchange(tls_, std::move(tls)));
  options_.older_key = std::move(older_key);
  for (const auto& broker : brokers_) {
    broker->link->set_tls(*tls_);
    use_keys(*broker);
  }
}

// The clients' view lists no clients; a broker tells them in its welcome.
void SiteSignaling::note_own_listing() {
  const RosterDevice* self = roster().find(credentials_.identity());
  if (self != nullptr && !self->spa_keys.empty()) memory_.note_listed(self->spa_keys.back().generation);
}

std::vector<std::string> SiteSignaling::own_complaints() const {
  std::vector<std::string> complaints;
  auto certificate = certificate_complaint(credentials_, memory_.time());
  if (certificate) complaints.push_back(std::move(*certificate));
  if (auto clock = memory_.clock_complaint()) complaints.push_back(std::move(*clock));
  if (auto key = memory_.memory().key_complaint(key_.generation)) complaints.push_back(std::move(*key));
  return complaints;
}

SiteSignaling::Broker* SiteSignaling::find(const SignalLink& link) {
  const auto found = std::find_if(brokers_.begin(), brokers_.end(),
                                  [&](const auto& broker) { return broker->link.get() == &link; });
  return found == brokers_.end() ? nullptr : found->get();
}

SiteSignaling::Broker* SiteSignaling::find(BrokerIndex index) {
  const auto found =
      std::find_if(brokers_.begin(), brokers_.end(), [&](const auto& broker) { return broker->index == index; });
  return found == brokers_.end() ? nullptr : found->get();
}

const SiteSignaling::Broker* SiteSignaling::find(BrokerIndex index) const {
  return const_cast<SiteSignaling*>(this)->find(index);
}

Result<void> SiteSignaling::send(Instant now, BrokerIndex broker, const SignalMessage& message) {
  Broker* found = find(broker);
  if (found == nullptr) return fail(Errc::kClosed, "the broker is no longer in the roster");
  return found->link->send(now, message);
}

bool SiteSignaling::is_connected(BrokerIndex broker) const {
  const Broker* found = find(broker);
  return found != nullptr && found->link->connected();
}

std::vector<BrokerIndex> SiteSignaling::connected() const {
  std::vector<BrokerIndex> indices;
  for (const auto& broker : brokers_) {
    if (broker->link->connected()) indices.push_back(broker->index);
  }
  return indices;
}

std::optional<spa::KnockId> SiteSignaling::on_attempt(Instant now, SignalLink& link) {
  Broker* broker = find(link);
  if (broker == nullptr) return std::nullopt;
  const spa::KnockId id = broker->knocks->start(now);
  send_knocks(now);
  driver_.forget_heard({link.address().ip, broker->listed.dns_port});
  // Silent last time: another copy of the knock, to hear what the network has to say to it.
  if (broker->silence) broker->rejection->send(link.address(), broker->knocker->make_udp_knock(wall_now(), id));
  return id;
}

void SiteSignaling::on_silence(Instant, SignalLink& link, SilenceEvidence::Tcp tcp) {
  Broker* broker = find(link);
  if (broker == nullptr) return;
  SilenceDiagnosis diagnosis = diagnose_silence(evidence_for(*broker, tcp));
  if (broker->silence == diagnosis) return;  // said already
  options_.log(LogLevel::kWarning, "natt.signal.silent broker=" + broker->identity.uri() + " cause=" +
                                       std::string(to_string(diagnosis.cause)) + " reason=\"" + diagnosis.sentence +
                                       "\"");
  broker->silence = std::move(diagnosis);
}

SilenceEvidence SiteSignaling::evidence_for(const Broker& broker, SilenceEvidence::Tcp tcp) const {
  const auto mode = options_.modes.find(broker.identity.name);
  const OwnEvidence own{.credentials = credentials_, .memory = memory_, .roster = roster(), .view = options_.view};
  SilenceEvidence evidence{.broker = broker.identity,
                           .address = broker.link->address(),
                           .mode = mode == options_.modes.end() ? options_.mode : mode->second,
                           .tcp = tcp,
                           .own_generation = key_.generation,
                           .listed_generations = own.listed_generations(),
                           .newest_used = memory_.memory().newest_used,
                           .clock_error = own.clock_error(),
                           .past_certificate = own.past_certificate(),
                           .dns_answered = driver_.heard_from_mute({broker.link->address().ip, broker.listed.dns_port}),
                           .udp_rejected = broker.rejection->was_heard(),
                           .tcp_source = {},
                           .udp_source = {}};
  // One broker's view of both: two brokers may be reached over different links or families.
  for (const auto& each : brokers_) {
    const bool comparable =
        each->tcp_source && each->udp_source && each->tcp_source->is_v4() == each->udp_source->is_v4();
    if (!comparable || (evidence.tcp_source && each.get() != &broker)) continue;
    evidence.tcp_source = each->tcp_source;
    evidence.udp_source = each->udp_source;
  }
  return evidence;
}

void SiteSignaling::rearm() {
  std::optional<Instant> deadline = retired_.empty() ? on_disk_.next_deadline() : std::optional(now());
  for (const auto& broker : brokers_) {
    deadline = earlier(deadline, earlier(broker->knocks->next_deadline(), broker->renew_stun_at));
    for (const JoinKnock& join : broker->join_knocks) deadline = earlier(deadline, join.knocks->next_deadline());
  }
  timer_.arm(deadline);
}

void SiteSignaling::on_timer(Instant now) {
  driver_.set_clock_offset(memory_.clock_offset());
  retired_.clear();
  if (on_disk_.is_due(now)) persist_roster(now);
  for (const auto& broker : brokers_) {
    if (!broker->renew_stun_at || now < *broker->renew_stun_at) continue;
    // Asked again until an answer sets the next renewal.
    broker->renew_stun_at = now + kStunRetry;
    static_cast<void>(broker->link->send(now, StunCredentialsRequest{}));
  }
  send_knocks(now);
}

void SiteSignaling::on_signal(Instant now, SignalLink& link, const SignalEvent& event) {
  Broker* broker = find(link);
  if (broker == nullptr) return;
  if (const auto* credentials = std::get_if<StunCredentials>(&event)) on_stun_credentials(now, *broker, *credentials);
  if (const auto* received = std::get_if<RosterReceived>(&event)) return on_roster_document(now, *broker, *received);
  if (const auto* connected = std::get_if<SignalConnected>(&event)) on_connected(now, *broker, link, *connected);
  if (const auto* observed = std::get_if<ClockObserved>(&event)) return on_clock(*broker, *observed);
  if (const auto* closed = std::get_if<SignalClosed>(&event)) {
    // What is left open by a channel that was up is no failure.
    const bool failed = ++broker->attempt != 0;
    if (failed) memory_.note_failure(brokers_.size());
    use_keys(*broker);
    options_.log(LogLevel::kWarning, "natt.signal.lost broker=" + broker->identity.uri() + " reason=\"" +
                                         closed->error.message + "\"");
  }
  listener_.on_broker_event(now, broker->index, event);
}

void SiteSignaling::on_connected(Instant now, Broker& broker, SignalLink& link, const SignalConnected& connected) {
  broker.tcp_source = connected.welcome.observed.ip;
  broker.silence.reset();
  broker.knocks->stop();
  options_.log(LogLevel::kInfo, "natt.signal.connected broker=" + broker.identity.uri() + " address=" +
                                    link.address().to_string() + " key_generation=" +
                                    std::to_string(broker.generation));
  broker.clock.forget();
  on_clock(broker, {connected.clock_offset});
  // The channel measured against time that was corrected already.
  memory_.note_session(memory_.clock_offset() + connected.clock_offset, broker.generation,
                       connected.welcome.key_generation);
  driver_.set_clock_offset(memory_.clock_offset());
  // After a channel ends the newest keys come first again.
  broker.attempt = static_cast<std::size_t>(-1);
  for (const std::string& complaint : own_complaints()) {
    options_.log(LogLevel::kWarning, "natt.device.complaint site=" + broker.identity.site + " reason=\"" + complaint +
                                         "\"");
  }
  static_cast<void>(link.send(now, StunCredentialsRequest{}));
}

void SiteSignaling::on_clock(Broker& broker, const ClockObserved& observed) {
  const std::chrono::milliseconds offset = memory_.clock_offset() + observed.clock_offset;
  const spa::HostTime host = spa::SystemHostClock().read();
  const auto step = broker.clock.hear(host.wall + offset, host);
  if (!step) return;
  options_.log(LogLevel::kWarning, "natt.signal.clock_set broker=" + broker.identity.uri() +
                                       " seconds=" + std::to_string(step->count()));
  memory_.note_clock(offset);
  driver_.set_clock_offset(memory_.clock_offset());
}

void SiteSignaling::on_stun_credentials(Instant now, Broker& broker, const StunCredentials& message) {
  broker.renew_stun_at = now + std::chrono::duration_cast<Duration>(message.lifetime) * 3 / 4;
  rearm();
  // A broker may send us to its own addresses, and nowhere else.
  std::vector<SocketAddress> servers;
  for (const SocketAddress& server : message.servers) {
    if (is_address_of(broker.identity, server.ip)) servers.push_back(server);
  }
  const auto set = driver_.endpoint().set_stun(now, wall_now(), broker.index, message.credential, servers);
  broker.stun_error = set ? std::nullopt : std::optional(set.error());
  if (!set) options_.log(LogLevel::kError, "natt.stun.failed reason=\"" + set.error().message + "\"");
  driver_.flush(now);
}

bool SiteSignaling::is_address_of(const Identity& broker, const IpAddress& ip) const {
  const RosterDevice* device = roster().find(broker);
  return device != nullptr && std::any_of(device->addresses.begin(), device->addresses.end(),
                                          [&](const SocketAddress& address) { return address.ip == ip; });
}

bool SiteSignaling::may_relay(BrokerIndex broker, const SocketAddress& relay) const {
  const Broker* found = find(broker);
  return found != nullptr && is_address_of(found->identity, relay.ip);
}

void SiteSignaling::on_roster_document(Instant now, Broker& broker, const RosterReceived& received) {
  if (received.view != options_.view) return;
  const BrokerIndex index = broker.index;
  const auto change = accept_roster(now, as_documents(received.view, received.document));
  if (!change) {
    options_.log(LogLevel::kWarning, "natt.roster.refused number=" + std::to_string(received.number) + " reason=\"" +
                                         change.error().message + "\"");
    return;
  }
  // The roster itself may have dropped the broker that brought it.
  if (on_disk_.is_written() && find(index) != nullptr) static_cast<void>(send(now, index, RosterAck{store_.number()}));
}

Result<RosterChange> SiteSignaling::update_roster(Instant now, const SignedRoster& documents) {
  return accept_roster(now, documents);
}

Result<RosterChange> SiteSignaling::accept_roster(Instant now, const SignedRoster& documents) {
  auto change = store_.handle_roster(documents);
  if (!change || change->number == 0) return change;
  options_.log(LogLevel::kInfo, "natt.roster.accepted site=" + credentials_.identity().site +
                                    " number=" + std::to_string(change->number));
  listener_.on_roster(now, *change);
  on_disk_.note_write(now, listener_.persist_roster(store_.documents()));
  sync_brokers(now);
  rearm();
  return change;
}

// All brokers hear of it: which of them brought it is long past.
void SiteSignaling::persist_roster(Instant now) {
  on_disk_.note_write(now, listener_.persist_roster(store_.documents()));
  if (!on_disk_.is_written()) return;
  for (const BrokerIndex broker : connected()) static_cast<void>(send(now, broker, RosterAck{store_.number()}));
}

void SiteSignaling::note_stun(const StunReport& report) {
  Broker* broker = find(report.broker);
  if (broker == nullptr) return;
  broker->mapped = report.mapped;
  if (report.mapped) broker->udp_source = report.mapped->ip;
  broker->stun_error = report.error;
}

std::vector<SiteSignaling::BrokerState> SiteSignaling::states() const {
  std::vector<BrokerState> states;
  for (const auto& broker : brokers_) {
    states.push_back({broker->identity, broker->link->address(), broker->link->connected(),
                      broker->link->last_error(), broker->silence, broker->mapped, broker->stun_error});
  }
  return states;
}

}  // namespace natt::uv
