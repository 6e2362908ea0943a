// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/broker_site.h"

#include <algorithm>

#include <natt/authority.h>
#include <natt/errc.h>
#include <natt/uv/timer.h>

namespace natt::uv {
namespace {

// Loaded before the first turn of the loop: a thousand devices, 50 ms. A site of that size is served whole at once.
constexpr int kFirstPieces = 32;

std::vector<spa::PublicKey> public_keys(const std::vector<spa::KeyPair>& pairs) {
  std::vector<spa::PublicKey> keys;
  for (const spa::KeyPair& pair : pairs) keys.push_back(pair.public_key());
  return keys;
}

}  // namespace

Result<std::unique_ptr<BrokerSite>> BrokerSite::make(BrokerSiteOptions options, Random& random, LogSink log,
                                                     WallTime wall_now, spa::KernelGate* gate) {
  const Identity identity = options.credentials.identity();
  if (identity.role != Role::kBroker) {
    return fail(Errc::kWrongIdentity, "the certificate is for " + identity.uri() + ", not for a broker");
  }
  std::unique_ptr<BrokerSite> site(new BrokerSite(identity, options.credentials.site_ca(), log));
  auto tls = TlsContext::make(options.credentials, TlsDirection::kServer, "");
  if (!tls) return tl::unexpected(tls.error());
  site->tls_ = std::move(*tls);
  if (auto change = site->roster_.handle_roster(options.roster); !change) return tl::unexpected(change.error());
  if (auto made = site->make_verifier(options, random, wall_now, gate); !made) return tl::unexpected(made.error());
  return site;
}

BrokerSite::BrokerSite(Identity identity, SiteCa ca, LogSink log)
    : identity_(std::move(identity)), log_(log), roster_(std::move(ca), RosterView::kFull, log) {}

Result<void> BrokerSite::make_verifier(BrokerSiteOptions& options, Random& random, WallTime wall_now,
                                       spa::KernelGate* gate) {
  const RosterDevice* self = roster_.roster()->find(identity_);
  if (self == nullptr || !self->mask_key) {
    return fail(Errc::kRevoked, "the roster of site " + identity_.site + " does not list " + identity_.uri() +
                                    ": enroll this broker again");
  }
  ReplayGuard::Options guard{.journal = options.replay_journal, .identity = identity_, .log = log_};
  if (options.spa_keys.size() == 1) guard.keys_made = options.credentials.not_before() + kCertificateBackdating;
  auto opened = ReplayGuard::open(guard, *roster_.roster(), random);
  if (!opened) return tl::unexpected(opened.error());
  guard_ = std::move(*opened);
  own_keys_ = public_keys(options.spa_keys);
  certificate_end_ = options.credentials.not_after();
  spa::VerifierOptions verifier{.identity = identity_,
                                .keys = std::move(options.spa_keys),
                                .psk = options.psk,
                                .mask = *self->mask_key};
  if (gate != nullptr) {
    auto hints = gate->add_verifier(verifier.mask);
    if (!hints) return tl::unexpected(hints.error());
    verifier.hint_listener = *hints;
  }
  guard_->brief(verifier, now());
  verifier_ = std::make_unique<spa::Verifier>(std::move(verifier), random);
  guard_->restore(*verifier_, wall_now);
  RosterLoaderOptions loading{.self = identity_, .retired = std::move(options.retired), .log = log_};
  loader_ = std::make_unique<RosterLoader>(std::move(loading), *verifier_);
  loader_->handle_roster(*roster_.roster(), {});
  for (int i = 0; i < kFirstPieces && !loader_->done(); ++i) loader_->step();
  return {};
}

Result<RosterChange> BrokerSite::update(const SignedRoster& documents) {
  auto prepared = roster_.prepare(documents);
  if (!prepared) {
    roster_.note_rejected(prepared.error());
    return tl::unexpected(prepared.error());
  }
  std::unique_ptr<const Roster> replaced;
  return accept(std::move(*prepared), replaced);
}

Result<RosterChange> BrokerSite::accept(PreparedRoster prepared, std::unique_ptr<const Roster>& replaced) {
  auto change = roster_.accept(std::move(prepared), replaced);
  if (change && change->number != 0) handle_newer_roster(*change);
  return change;
}

void BrokerSite::handle_newer_roster(const RosterChange& change) {
  loader_->handle_roster(*roster_.roster(), change);
  guard_->make_room(*roster_.roster());
  retire_unlisted_own_key();
}

Result<void> BrokerSite::set_material(const Credentials& credentials, std::vector<spa::KeyPair> spa_keys) {
  if (credentials.identity() != identity_) {
    return fail(Errc::kWrongIdentity, "the certificate is for " + credentials.identity().uri() + " now");
  }
  if (spa_keys.empty() || spa_keys.size() > spa::Verifier::kMaxOwnKeys) {
    return fail(Errc::kLimit, "a broker has one or two SPA keys");
  }
  auto tls = TlsContext::make(credentials, TlsDirection::kServer, "");
  if (!tls) return tl::unexpected(tls.error());
  certificate_end_ = credentials.not_after();
  former_tls_.push_back(std::exchange(tls_, std::move(*tls)));
  auto listed = public_keys(spa_keys);
  if (listed == own_keys_) return {};
  own_keys_ = std::move(listed);
  verifier_->set_own_keys(std::move(spa_keys));
  loader_->restart();
  return {};
}

void BrokerSite::work(Instant now, WallTime wall_now) {
  if (verifier_->next_deadline() <= now) {
    verifier_->handle_timeout(now, wall_now);
    guard_->handle_timeout();
  }
  while (const auto event = verifier_->poll_event()) {
    if (const auto* used = std::get_if<spa::NewKeyUsed>(&*event)) loader_->handle_key_used(*used);
  }
  if (loader_->done()) return retire_own_keys();
  loader_->step();
  if (loader_->done()) {
    log_(LogLevel::kInfo, "natt.spa.loaded site=" + name() + " devices=" + std::to_string(verifier_->stats().devices));
  }
}

// The older pair goes when no device needs it: each has used the newer one.
void BrokerSite::retire_own_keys() {
  if (own_keys_.size() < 2) return;
  const spa::VerifierStats stats = verifier_->stats();
  if (stats.devices == 0 || stats.devices_on_newest_key < stats.devices) return;
  keep_newest_own_key("every device has used the newer one");
}

// `nattctl retire`: the roster lists the newest pair and not the older one any more.
void BrokerSite::retire_unlisted_own_key() {
  const RosterDevice* self = roster_.roster()->find(identity_);
  if (self == nullptr || own_keys_.size() < 2) return;
  const auto is_listed = [self](const spa::PublicKey& own) {
    return std::any_of(self->spa_keys.begin(), self->spa_keys.end(),
                       [&own](const SpaPublicKey& listed) { return listed.key == own.bytes; });
  };
  if (is_listed(own_keys_.front()) && !is_listed(own_keys_.back())) keep_newest_own_key("the roster dropped it");
}

void BrokerSite::keep_newest_own_key(std::string_view why) {
  verifier_->retire_older_own_keys();
  own_keys_.resize(1);
  log_(LogLevel::kInfo, "natt.spa.own_key_retired site=" + name() + " reason=\"" + std::string(why) + "\"");
}

std::optional<Instant> BrokerSite::next_deadline(Instant now) const {
  return loader_->done() ? verifier_->next_deadline() : now;
}

std::optional<std::uint16_t> BrokerSite::missing_own_key() const {
  const RosterDevice* self = roster_.roster()->find(identity_);
  if (self == nullptr || self->spa_keys.empty()) return std::nullopt;
  const SpaPublicKey& newest = self->spa_keys.back();
  const bool held = std::any_of(own_keys_.begin(), own_keys_.end(),
                                [&newest](const spa::PublicKey& own) { return own.bytes == newest.key; });
  return held ? std::nullopt : std::optional(newest.generation);
}

std::vector<SocketAddress> BrokerSite::addresses_for(const IpAddress& peer) const {
  const RosterDevice* self = roster_.roster()->find(identity_);
  if (self == nullptr) return {};
  std::vector<SocketAddress> addresses = self->addresses;
  std::stable_partition(addresses.begin(), addresses.end(),
                        [&](const SocketAddress& address) { return address.ip.is_v4() == peer.is_v4(); });
  return addresses;
}

std::uint16_t BrokerSite::dns_port() const {
  const RosterDevice* self = roster_.roster()->find(identity_);
  return self == nullptr ? std::uint16_t{0} : self->dns_port;
}

}  // namespace natt::uv
