// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/initial_verifier.h"

#include <natt/errc.h>
#include <natt/spa/quic_initial.h>
#include <natt/spa/udp_carrier.h>
#include <natt/uv/page_moves.h>
#include <natt/uv/timer.h>

namespace natt::tunnel::uv {
namespace {

// RFC 9000 section 17.2: the long header's form bit, and where its connection id starts.
constexpr std::uint8_t kLongHeader = 0x80;
constexpr std::size_t kLongDcidAt = 6;
constexpr std::size_t kShortDcidAt = 1;
// Loaded before the first turn of the loop: a thousand clients, 50 ms.
constexpr int kFirstPieces = 32;

// Only clients and their tunnels come here; brokers and other gateways have no business with this port.
spa::VerifierOptions verifier_options(const InitialVerifier::Options& options, const spa::MaskKey& mask) {
  spa::VerifierOptions verifier{.identity = options.gateway,
                                .keys = {},
                                .psk = options.psk,
                                .mask = mask,
                                .admit_brokers = false,
                                .admit_gateways = false};
  for (const spa::KeyPair& pair : options.keys) verifier.keys.push_back(spa::KeyPair::from_secret(pair.secret()));
  return verifier;
}

natt::uv::ReplayGuard::Options guard_options(const InitialVerifier::Options& options, LogSink log) {
  const bool one_key = options.keys.size() == 1;
  return {.journal = options.replay_journal,
          .identity = options.gateway,
          .keys_made = one_key ? std::optional(options.keys_made) : std::nullopt,
          .log = log,
          .loop = options.loop};
}

}  // namespace

Result<std::unique_ptr<InitialVerifier>> InitialVerifier::make(Options options, const Roster& roster,
                                                               const Endpoint& endpoint, Random& random, LogSink log) {
  const RosterDevice* self = roster.find(options.gateway);
  if (self == nullptr || !self->mask_key) {
    return fail(natt::Errc::kRevoked, "the roster of site " + options.gateway.site + " does not list " +
                                          options.gateway.uri() + ": enroll this gateway again");
  }
  auto guard = natt::uv::ReplayGuard::open(guard_options(options, log), roster, random);
  if (!guard) return tl::unexpected(guard.error());
  options.keys = OwnKeys::without_retired(options.gateway, std::move(options.keys), options.retired);
  spa::VerifierOptions verifier = verifier_options(options, *self->mask_key);
  if (options.kernel != nullptr) {
    auto hints = options.kernel->add_verifier(verifier.mask);
    if (!hints) return tl::unexpected(hints.error());
    verifier.hint_listener = *hints;
  }
  (*guard)->brief(verifier, natt::uv::now());
  std::unique_ptr<InitialVerifier> gate(
      new InitialVerifier(std::move(options), std::move(verifier), std::move(*guard), endpoint, random, log));
  gate->loader_.handle_roster(roster, {});
  gate->own_keys_.handle_roster(roster);
  for (int i = 0; i < kFirstPieces && !gate->loader_.done(); ++i) gate->loader_.step();
  gate->guard_->restore(gate->verifier_, natt::uv::wall_now());
  return gate;
}

InitialVerifier::InitialVerifier(Options options, spa::VerifierOptions verifier,
                                 std::unique_ptr<natt::uv::ReplayGuard> guard, const Endpoint& endpoint, Random& random,
                                 LogSink log)
    : gateway_(options.gateway),
      policy_(options.policy),
      log_(log),
      loop_(options.loop),
      endpoint_(endpoint),
      connection_ids_(random),
      guard_(std::move(guard)),
      verifier_(std::move(verifier), random),
      loader_({.self = gateway_, .clients_only = true, .retired = std::move(options.retired), .log = log}, verifier_),
      own_keys_(gateway_, options.keys, verifier_, loader_, log) {
  verifiers_.add(verifier_);
}

void InitialVerifier::handle_timeout(Instant now, WallTime wall_now) {
  const bool is_due = verifier_.next_deadline() <= now;
  if (is_due) verifier_.handle_timeout(now, wall_now);
  if (is_due || guard_->has_work()) guard_->handle_timeout(now);
  natt::uv::run_page_moves(loop_, verifier_.take_page_moves());
  while (const auto event = verifier_.poll_event()) {
    if (const auto* used = std::get_if<spa::NewKeyUsed>(&*event)) loader_.handle_key_used(*used);
  }
  if (loader_.done()) return own_keys_.retire_used();
  loader_.step();
}

std::optional<Admission> InitialVerifier::admit(Instant now, const InitialInfo& initial, PathId path) {
  const auto source = endpoint_.remote_address(path);
  if (!source || initial.token.size() != spa::kFrameSize) return std::nullopt;
  const spa::QuicInitial quic{initial.version, initial.dcid, initial.scid,
                              initial.token.first<spa::kFrameSize>()};
  const WallTime wall = natt::uv::wall_now();
  const auto grant = verifier_.verify_initial(now, wall, quic, *source);
  if (!grant) return std::nullopt;
  const Identity& client = *grant->identity;
  if (!policy_.knows(client)) return std::nullopt;
  return Admission{.identity = client,
                   .expectation = {.site = client.site, .role = Role::kClient, .identity = client},
                   .wall_now = wall};
}

bool InitialVerifier::may_create_path(Instant now, const SocketAddress& from, ByteView packet) {
  if (packet.size() <= kLongDcidAt + spa::kConnectionIdSize) return false;
  if ((packet[0] & kLongHeader) == 0) {
    return connection_ids_.verify(packet.subspan(kShortDcidAt, spa::kConnectionIdSize));
  }
  if (packet[kLongDcidAt - 1] == spa::kConnectionIdSize &&
      connection_ids_.verify(packet.subspan(kLongDcidAt, spa::kConnectionIdSize))) {
    return true;
  }
  const auto initial = spa::parse_quic_initial(packet);
  return initial && verifier_.plausible_initial(now, *initial, from);
}

void InitialVerifier::handle_knock(Instant now, std::uint16_t port, const SocketAddress& from, ByteView datagram) {
  const auto frame = spa::parse_udp_carrier(datagram);
  if (!frame) return;
  static_cast<void>(verifier_.verify(now, natt::uv::wall_now(), spa::Transport::kUdp, *frame,
                                     {.port = port, .binding = {}, .source = from.ip}));
}

void InitialVerifier::handle_roster_change(const Roster& roster, const RosterChange& change) {
  loader_.handle_roster(roster, change);
  own_keys_.handle_roster(roster);
  guard_->make_room(roster);
}

}  // namespace natt::tunnel::uv
