// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/broker_site.h"

#include <algorithm>
#include <utility>

#include <natt/authority.h>
#include <natt/errc.h>
#include <natt/uv/page_moves.h>
#include <natt/uv/timer.h>

namespace natt::uv {
namespace {

// Loaded before the first turn of the loop: a thousand devices, 50 ms. A site of that size is served whole at once.
constexpr int kFirstPieces = 32;

}  // namespace

Result<std::unique_ptr<BrokerSite>> BrokerSite::make(BrokerSiteOptions options, Random& random, LogSink log,
                                                     WallTime wall_now, spa::KernelGate* gate, uv_loop_s& loop) {
  const Identity identity = options.credentials.identity();
  if (identity.role != Role::kBroker) {
    return fail(Errc::kWrongIdentity, "the certificate is for " + identity.uri() + ", not for a broker");
  }
  std::unique_ptr<BrokerSite> site(new BrokerSite(identity, options.credentials.site_ca(), log, loop));
  auto tls = TlsContext::make(options.credentials, TlsDirection::kServer, "");
  if (!tls) return tl::unexpected(tls.error());
  site->tls_ = std::move(*tls);
  if (auto change = site->roster_.handle_roster(options.roster); !change) return tl::unexpected(change.error());
  if (auto made = site->make_verifier(options, random, wall_now, gate); !made) return tl::unexpected(made.error());
  return site;
}

BrokerSite::BrokerSite(Identity identity, SiteCa ca, LogSink log, uv_loop_s& loop)
    : identity_(std::move(identity)), log_(log), loop_(loop), roster_(std::move(ca), RosterView::kFull, log) {}

Result<void> BrokerSite::make_verifier(BrokerSiteOptions& options, Random& random, WallTime wall_now,
                                       spa::KernelGate* gate) {
  const RosterDevice* self = roster_.roster()->find(identity_);
  if (self == nullptr || !self->mask_key) {
    return fail(Errc::kRevoked, "the roster of site " + identity_.site + " does not list " + identity_.uri() +
                                    ": enroll this broker again");
  }
  ReplayGuard::Options guard{.journal = options.replay_journal, .identity = identity_, .log = log_, .loop = &loop_};
  if (options.spa_keys.size() == 1) guard.keys_made = options.credentials.not_before() + kCertificateBackdating;
  auto opened = ReplayGuard::open(guard, *roster_.roster(), random);
  if (!opened) return tl::unexpected(opened.error());
  guard_ = std::move(*opened);
  options.spa_keys = OwnKeys::without_retired(identity_, std::move(options.spa_keys), options.retired);
  certificate_end_ = options.credentials.not_after();
  spa::VerifierOptions verifier{.identity = identity_, .keys = {}, .psk = options.psk, .mask = *self->mask_key};
  for (const spa::KeyPair& pair : options.spa_keys) verifier.keys.push_back(spa::KeyPair::from_secret(pair.secret()));
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
  own_keys_ = std::make_unique<OwnKeys>(identity_, options.spa_keys, *verifier_, *loader_, log_);
  loader_->handle_roster(*roster_.roster(), {});
  own_keys_->handle_roster(*roster_.roster());
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

void BrokerSite::note_persisted(const Result<void>& persisted) {
  const std::string before = std::exchange(persist_failure_, persisted ? "" : persisted.error().message);
  if (!persisted) {
    log_(LogLevel::kError, "natt.roster.not_persisted site=" + name() + " reason=\"" + persist_failure_ + "\"");
  } else if (!before.empty()) {
    log_(LogLevel::kInfo, "natt.roster.persisted site=" + name());
  }
}

void BrokerSite::handle_newer_roster(const RosterChange& change) {
  loader_->handle_roster(*roster_.roster(), change);
  guard_->make_room(*roster_.roster());
  own_keys_->handle_roster(*roster_.roster());
}

Result<void> BrokerSite::set_material(const Credentials& credentials, std::vector<spa::KeyPair> spa_keys) {
  if (credentials.identity() != identity_) {
    return fail(Errc::kWrongIdentity, "the certificate is for " + credentials.identity().uri() + " now");
  }
  auto tls = TlsContext::make(credentials, TlsDirection::kServer, "");
  if (!tls) return tl::unexpected(tls.error());
  if (auto set = own_keys_->set(std::move(spa_keys)); !set) return set;
  certificate_end_ = credentials.not_after();
  former_tls_.push_back(std::exchange(tls_, std::move(*tls)));
  return {};
}

void BrokerSite::work(Instant now, WallTime wall_now) {
  const bool is_due = verifier_->next_deadline() <= now;
  if (is_due) verifier_->handle_timeout(now, wall_now);
  if (is_due || guard_->has_work()) guard_->handle_timeout(now);
  run_page_moves(&loop_, verifier_->take_page_moves());
  while (const auto event = verifier_->poll_event()) {
    if (const auto* used = std::get_if<spa::NewKeyUsed>(&*event)) loader_->handle_key_used(*used);
  }
  if (loader_->done()) return own_keys_->retire_used();
  loader_->step();
  if (loader_->done()) {
    log_(LogLevel::kInfo, "natt.spa.loaded site=" + name() + " devices=" + std::to_string(verifier_->stats().devices));
  }
}

std::optional<Instant> BrokerSite::next_deadline(Instant now) const {
  return loader_->done() && !guard_->has_work() ? verifier_->next_deadline() : now;
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
