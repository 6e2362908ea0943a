// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include <natt/session_offer.h>

#include "src/signal/signal_fields.h"
#include "src/signal/signal_wire.h"

namespace natt {
namespace {

using Decoded = std::optional<SignalMessage>;

constexpr std::size_t kMaxSoftware = 64;
constexpr std::size_t kMaxSealedGrant = 1024;
constexpr std::size_t kMaxUsername = 64;
constexpr std::size_t kMaxKeyRenewal = 32 * 1024;

bool is_between(std::size_t size, std::size_t minimum, std::size_t maximum) {
  return size >= minimum && size <= maximum;
}

// Log lines carry it: printable ASCII only.
bool is_printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f; });
}

bool get_device(const std::string& uri, Role role, Identity& out) {
  auto identity = Identity::parse(uri);
  if (!identity || identity->role != role) return false;
  out = std::move(*identity);
  return true;
}

bool get_registration(const wire::GatewayRegistration& in, GatewayRegistration& out) {
  const auto reach = get_reach(in.udp());
  if (!reach || !get_addresses(in.addresses(), kMaxGatewayAddresses, out.addresses)) return false;
  out.udp = *reach;
  out.load = {.sessions = in.sessions(), .capacity = in.capacity()};
  out.boot_id = in.boot_id();
  return true;
}

Decoded decode(const wire::Hello& in) {
  if (in.version() == 0 || in.software().size() > kMaxSoftware || !is_printable(in.software())) return {};
  return SignalHello{in.version(), in.features(), in.boot_id(), in.roster_number(), in.software()};
}

Decoded decode(const wire::Welcome& in) {
  const auto time = get_time(in.broker_time_ms());
  const auto observed = get_address(in.observed());
  if (in.version() == 0 || !time || !observed || in.key_generation() > 0xffff) return {};
  return SignalWelcome{in.version(), in.features(), in.boot_id(), *time, *observed,
                       static_cast<std::uint16_t>(in.key_generation())};
}

Decoded decode(const wire::GatewayRegistration& in) {
  GatewayRegistration out;
  if (!get_registration(in, out)) return {};
  return out;
}

Decoded decode(const wire::GatewayDirectory& in) {
  if (static_cast<std::size_t>(in.entries_size()) > kMaxDirectoryEntries) return {};
  GatewayDirectory out;
  out.complete = in.complete();
  for (const wire::GatewayEntry& listed : in.entries()) {
    GatewayEntry entry;
    if (!get_device(listed.gateway(), Role::kGateway, entry.gateway)) return {};
    if (listed.online() != listed.has_registration()) return {};
    entry.online = listed.online();
    if (entry.online && !get_registration(listed.registration(), entry.registration)) return {};
    out.entries.push_back(std::move(entry));
  }
  return out;
}

Decoded decode(const wire::Offer& in) {
  const auto session = get_session(in.session());
  OfferMessage out;
  if (!session || !get_device(in.gateway(), Role::kGateway, out.gateway) ||
      !is_between(in.sealed_offer().size(), 1, kMaxSealedOffer)) {
    return {};
  }
  out.session = *session;
  out.sealed_offer = to_buffer(in.sealed_offer());
  return out;
}

Decoded decode(const wire::ForwardedOffer& in) {
  const auto session = get_session(in.session());
  ForwardedOffer out;
  if (!session || !get_device(in.client(), Role::kClient, out.client) ||
      !is_between(in.sealed_offer().size(), 1, kMaxSealedOffer) || !get_ips(in.vouched(), kMaxVouched, out.vouched)) {
    return {};
  }
  out.session = *session;
  out.sealed_offer = to_buffer(in.sealed_offer());
  return out;
}

Decoded decode(const wire::Answer& in) {
  const auto session = get_session(in.session());
  AnswerMessage out;
  if (!session || !is_between(in.sealed_answer().size(), 1, kMaxSealedOffer) ||
      !get_ips(in.vouched(), kMaxVouched, out.vouched)) {
    return {};
  }
  out.session = *session;
  out.sealed_answer = to_buffer(in.sealed_answer());
  return out;
}

Decoded decode(const wire::OfferRejection& in) {
  const auto session = get_session(in.session());
  const auto reason = get_refusal(in.reason());
  if (!session || !reason) return {};
  return OfferRejection{*session, *reason};
}

Decoded decode(const wire::CandidateBatch& in) {
  const auto session = get_session(in.session());
  CandidateBatch out;
  if (!session || !get_candidates(in.candidates(), out.candidates) ||
      !get_ips(in.vouched(), kMaxVouched, out.vouched)) {
    return {};
  }
  out.session = *session;
  out.last = in.last();
  return out;
}

Decoded decode(const wire::PunchStart& in) {
  const auto session = get_session(in.session());
  const auto start = get_time(in.start_ms());
  if (!session || !start) return {};
  return PunchStart{*session, *start};
}

Decoded decode(const wire::SessionEnd& in) {
  const auto session = get_session(in.session());
  const auto reason = get_end_reason(in.reason());
  if (!session || !reason) return {};
  return SessionEnd{*session, *reason};
}

Decoded decode(const wire::RelayRequest& in) {
  const auto session = get_session(in.session());
  const auto transport = get_transport(in.transport());
  if (!session || !transport) return {};
  return RelayRequest{*session, *transport};
}

bool get_udp_grant(const wire::RelayGrant& in, RelayGrantMessage& out) {
  if (!in.pairing_token().empty() || !is_between(in.sealed().size(), 1, kMaxSealedGrant)) return false;
  out.grant.sealed = to_buffer(in.sealed());
  return copy_exactly<16>(in.relay_session(), out.grant.session) &&
         copy_exactly<32>(in.key(), out.grant.key.mutable_view());
}

bool get_tcp_grant(const wire::RelayGrant& in, RelayGrantMessage& out) {
  return in.relay_session().empty() && in.sealed().empty() && in.key().empty() &&
         copy_exactly<16>(in.pairing_token(), out.pairing_token);
}

Decoded decode(const wire::RelayGrant& in) {
  const auto session = get_session(in.session());
  const auto transport = get_transport(in.transport());
  const auto relay = get_address(in.relay());
  const auto expires = get_time(in.expires_ms());
  if (!session || !transport || !relay || !expires) return {};
  RelayGrantMessage out;
  out.session = *session;
  out.transport = *transport;
  out.relay = *relay;
  out.grant.expires = *expires;
  if (!(*transport == RelayTransport::kUdp ? get_udp_grant(in, out) : get_tcp_grant(in, out))) return {};
  return out;
}

Decoded decode(const wire::RelayRefusal& in) {
  const auto session = get_session(in.session());
  const auto transport = get_transport(in.transport());
  const auto reason = get_refusal(in.reason());
  if (!session || !transport || !reason) return {};
  return RelayRefusal{*session, *transport, *reason};
}

Decoded decode(const wire::RelayRenewal& in) {
  const auto session = get_session(in.session());
  const auto transport = get_transport(in.transport());
  if (!session || !transport || in.sealed().size() > kMaxSealedGrant) return {};
  return RelayRenewal{*session, *transport, to_buffer(in.sealed())};
}

Decoded decode(const wire::StunCredentialsRequest&) { return StunCredentialsRequest{}; }

Decoded decode(const wire::StunCredentials& in) {
  const auto lifetime = get_duration(in.lifetime_ms());
  StunCredentials out;
  if (!lifetime || !is_between(in.username().size(), 1, kMaxUsername) ||
      !copy_exactly<32>(in.password(), out.credential.password.mutable_view()) ||
      !copy_exactly<16>(in.transaction_key(), out.credential.transaction_key.mutable_view()) ||
      !get_addresses(in.servers(), kMaxVouched, out.servers)) {
    return {};
  }
  out.credential.username = in.username();
  out.lifetime = *lifetime;
  return out;
}

Decoded decode(const wire::RosterChunk& in) {
  const bool fits = is_between(in.total(), 1, SignedRoster::kMaxDocumentSize) && in.offset() < in.total() &&
                    is_between(in.bytes().size(), 1, in.total() - in.offset());
  if (!fits || in.number() == 0 || in.view() < 1 || in.view() > 2) return {};
  return RosterChunk{in.number(), static_cast<RosterView>(in.view()), in.offset(), in.total(), to_buffer(in.bytes())};
}

Decoded decode(const wire::RosterAck& in) { return RosterAck{in.number()}; }

Decoded decode(const wire::KeyRenewal& in) {
  if (!is_between(in.payload().size(), 1, kMaxKeyRenewal)) return {};
  return KeyRenewal{to_buffer(in.payload())};
}

Decoded decode(const wire::DrainNotice& in) {
  const auto within = get_duration(in.within_ms());
  if (!within) return {};
  return DrainNotice{*within};
}

Decoded decode(const wire::Ping& in) { return Ping{in.id()}; }

Decoded decode(const wire::Pong& in) {
  const auto time = get_time(in.broker_time_ms());
  if (!time) return {};
  return Pong{in.id(), *time};
}

// The enumerators' numbers are on the wire, plus one: they only grow at the end.
static_assert(static_cast<int>(ConnectionType::kRelay) == 2 && static_cast<int>(RelayReason::kSlower) == 10);

Decoded decode(const wire::SessionReport& in) {
  const auto session = get_session(in.session());
  SessionReport out;
  if (!session || !get_device(in.gateway(), Role::kGateway, out.gateway) || in.type() < 1 || in.type() > 3 ||
      in.reason() > static_cast<std::uint32_t>(RelayReason::kSlower) + 1) {
    return {};
  }
  out.session = *session;
  out.type = static_cast<ConnectionType>(in.type() - 1);
  if (in.reason() != 0) out.reason = static_cast<RelayReason>(in.reason() - 1);
  if (out.reason && out.type != ConnectionType::kRelay) return {};
  out.ended = in.ended();
  return out;
}

Decoded decode(const wire::PeerAbsent& in) {
  PeerAbsent out;
  if (!get_device(in.client(), Role::kClient, out.client)) return {};
  return out;
}

}  // namespace

Decoded decode_signal(const wire::Message& in) {
  switch (in.kind_case()) {
    case wire::Message::kHello: return decode(in.hello());
    case wire::Message::kWelcome: return decode(in.welcome());
    case wire::Message::kGatewayRegistration: return decode(in.gateway_registration());
    case wire::Message::kGatewayDirectory: return decode(in.gateway_directory());
    case wire::Message::kOffer: return decode(in.offer());
    case wire::Message::kForwardedOffer: return decode(in.forwarded_offer());
    case wire::Message::kAnswer: return decode(in.answer());
    case wire::Message::kOfferRejection: return decode(in.offer_rejection());
    case wire::Message::kCandidateBatch: return decode(in.candidate_batch());
    case wire::Message::kPunchStart: return decode(in.punch_start());
    case wire::Message::kSessionEnd: return decode(in.session_end());
    case wire::Message::kRelayRequest: return decode(in.relay_request());
    case wire::Message::kRelayGrant: return decode(in.relay_grant());
    case wire::Message::kRelayRefusal: return decode(in.relay_refusal());
    case wire::Message::kRelayRenewal: return decode(in.relay_renewal());
    case wire::Message::kStunCredentialsRequest: return decode(in.stun_credentials_request());
    case wire::Message::kStunCredentials: return decode(in.stun_credentials());
    case wire::Message::kRosterChunk: return decode(in.roster_chunk());
    case wire::Message::kRosterAck: return decode(in.roster_ack());
    case wire::Message::kKeyRenewal: return decode(in.key_renewal());
    case wire::Message::kDrainNotice: return decode(in.drain_notice());
    case wire::Message::kPing: return decode(in.ping());
    case wire::Message::kPong: return decode(in.pong());
    case wire::Message::kSessionReport: return decode(in.session_report());
    case wire::Message::kPeerAbsent: return decode(in.peer_absent());
    case wire::Message::KIND_NOT_SET: return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace natt
