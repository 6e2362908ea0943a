// SPDX-License-Identifier: Apache-2.0
#include <variant>

#include "src/signal/signal_fields.h"
#include "src/signal/signal_wire.h"

namespace natt {
namespace {

template <typename Wire>
void put_session(const SessionId& session, Wire& out) {
  out.set_session(to_wire(session.octets));
}

void put_registration(const GatewayRegistration& in, wire::GatewayRegistration& out) {
  put_addresses(in.addresses, *out.mutable_addresses());
  put_reach(in.udp, *out.mutable_udp());
  out.set_sessions(in.load.sessions);
  out.set_capacity(in.load.capacity);
  out.set_boot_id(in.boot_id);
}

void encode(const SignalHello& in, wire::Message& message) {
  wire::Hello& out = *message.mutable_hello();
  out.set_version(in.version);
  out.set_features(in.features);
  out.set_boot_id(in.boot_id);
  out.set_roster_number(in.roster_number);
  out.set_software(in.software);
}

void encode(const SignalWelcome& in, wire::Message& message) {
  wire::Welcome& out = *message.mutable_welcome();
  out.set_version(in.version);
  out.set_features(in.features);
  out.set_boot_id(in.boot_id);
  out.set_broker_time_ms(to_wire_time(in.broker_time));
  put_address(in.observed, *out.mutable_observed());
  out.set_key_generation(in.key_generation);
}

void encode(const GatewayRegistration& in, wire::Message& message) {
  put_registration(in, *message.mutable_gateway_registration());
}

void encode(const GatewayDirectory& in, wire::Message& message) {
  wire::GatewayDirectory& out = *message.mutable_gateway_directory();
  out.set_complete(in.complete);
  for (const GatewayEntry& entry : in.entries) {
    wire::GatewayEntry& listed = *out.add_entries();
    listed.set_gateway(entry.gateway.uri());
    listed.set_online(entry.online);
    if (entry.online) put_registration(entry.registration, *listed.mutable_registration());
  }
}

void encode(const OfferMessage& in, wire::Message& message) {
  wire::Offer& out = *message.mutable_offer();
  put_session(in.session, out);
  out.set_gateway(in.gateway.uri());
  out.set_sealed_offer(to_wire(in.sealed_offer));
}

void encode(const ForwardedOffer& in, wire::Message& message) {
  wire::ForwardedOffer& out = *message.mutable_forwarded_offer();
  put_session(in.session, out);
  out.set_client(in.client.uri());
  put_ips(in.vouched, *out.mutable_vouched());
  out.set_sealed_offer(to_wire(in.sealed_offer));
}

void encode(const AnswerMessage& in, wire::Message& message) {
  wire::Answer& out = *message.mutable_answer();
  put_session(in.session, out);
  put_ips(in.vouched, *out.mutable_vouched());
  out.set_sealed_answer(to_wire(in.sealed_answer));
}

void encode(const OfferRejection& in, wire::Message& message) {
  wire::OfferRejection& out = *message.mutable_offer_rejection();
  put_session(in.session, out);
  out.set_reason(static_cast<std::uint32_t>(in.reason));
}

void encode(const CandidateBatch& in, wire::Message& message) {
  wire::CandidateBatch& out = *message.mutable_candidate_batch();
  put_session(in.session, out);
  put_candidates(in.candidates, *out.mutable_candidates());
  out.set_last(in.last);
  put_ips(in.vouched, *out.mutable_vouched());
}

void encode(const PunchStart& in, wire::Message& message) {
  wire::PunchStart& out = *message.mutable_punch_start();
  put_session(in.session, out);
  out.set_start_ms(to_wire_time(in.start));
}

void encode(const SessionEnd& in, wire::Message& message) {
  wire::SessionEnd& out = *message.mutable_session_end();
  put_session(in.session, out);
  out.set_reason(static_cast<std::uint32_t>(in.reason));
}

void encode(const RelayRequest& in, wire::Message& message) {
  wire::RelayRequest& out = *message.mutable_relay_request();
  put_session(in.session, out);
  out.set_transport(static_cast<std::uint32_t>(in.transport));
}

void encode(const RelayGrantMessage& in, wire::Message& message) {
  wire::RelayGrant& out = *message.mutable_relay_grant();
  put_session(in.session, out);
  out.set_transport(static_cast<std::uint32_t>(in.transport));
  put_address(in.relay, *out.mutable_relay());
  out.set_expires_ms(to_wire_time(in.grant.expires));
  if (in.transport == RelayTransport::kTcp) {
    out.set_pairing_token(to_wire(in.pairing_token));
    return;
  }
  out.set_relay_session(to_wire(in.grant.session));
  out.set_sealed(to_wire(in.grant.sealed));
  out.set_key(to_wire(in.grant.key.view()));
}

void encode(const RelayRefusal& in, wire::Message& message) {
  wire::RelayRefusal& out = *message.mutable_relay_refusal();
  put_session(in.session, out);
  out.set_transport(static_cast<std::uint32_t>(in.transport));
  out.set_reason(static_cast<std::uint32_t>(in.reason));
}

void encode(const RelayRenewal& in, wire::Message& message) {
  wire::RelayRenewal& out = *message.mutable_relay_renewal();
  put_session(in.session, out);
  out.set_transport(static_cast<std::uint32_t>(in.transport));
  out.set_sealed(to_wire(in.sealed));
}

void encode(const StunCredentialsRequest&, wire::Message& message) {
  static_cast<void>(message.mutable_stun_credentials_request());
}

void encode(const StunCredentials& in, wire::Message& message) {
  wire::StunCredentials& out = *message.mutable_stun_credentials();
  out.set_username(in.credential.username);
  out.set_password(to_wire(in.credential.password.view()));
  out.set_transaction_key(to_wire(in.credential.transaction_key.view()));
  out.set_lifetime_ms(to_wire_duration(in.lifetime));
  put_addresses(in.servers, *out.mutable_servers());
}

void encode(const RosterChunk& in, wire::Message& message) {
  wire::RosterChunk& out = *message.mutable_roster_chunk();
  out.set_number(in.number);
  out.set_view(static_cast<std::uint32_t>(in.view));
  out.set_offset(in.offset);
  out.set_total(in.total);
  out.set_bytes(to_wire(in.bytes));
}

void encode(const RosterAck& in, wire::Message& message) { message.mutable_roster_ack()->set_number(in.number); }

void encode(const KeyRenewal& in, wire::Message& message) {
  message.mutable_key_renewal()->set_payload(to_wire(in.payload));
}

void encode(const DrainNotice& in, wire::Message& message) {
  message.mutable_drain_notice()->set_within_ms(to_wire_duration(in.within));
}

void encode(const Ping& in, wire::Message& message) { message.mutable_ping()->set_id(in.id); }

void encode(const Pong& in, wire::Message& message) {
  message.mutable_pong()->set_id(in.id);
  message.mutable_pong()->set_broker_time_ms(to_wire_time(in.broker_time));
}

void encode(const PeerAbsent& in, wire::Message& message) {
  message.mutable_peer_absent()->set_client(in.client.uri());
}

void encode(const SessionReport& in, wire::Message& message) {
  wire::SessionReport& out = *message.mutable_session_report();
  put_session(in.session, out);
  out.set_gateway(in.gateway.uri());
  out.set_type(static_cast<std::uint32_t>(in.type) + 1);
  out.set_reason(in.reason ? static_cast<std::uint32_t>(*in.reason) + 1 : 0);
  out.set_ended(in.ended);
}

}  // namespace

void encode_signal(const SignalMessage& message, wire::Message& out) {
  std::visit([&out](const auto& kind) { encode(kind, out); }, message);
}

}  // namespace natt
