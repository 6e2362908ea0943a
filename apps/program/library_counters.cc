// SPDX-License-Identifier: Apache-2.0
#include "apps/program/library_counters.h"

namespace natt::program {

control::Counters tcp_counters(const SignalAdmissionStats& stats) {
  return {{"accepted", stats.accepted},
          {"admitted", stats.admitted},
          {"badShape", stats.rejected_shape},
          {"badFrame", stats.rejected_verdict},
          {"noKnock", stats.rejected_knock},
          {"timedOut", stats.timed_out},
          {"pushedOut", stats.overflow},
          {"unproven", stats.pending},
          {"silenced", stats.silenced}};
}

void add_stun_counters(control::Health& health, const StunServer::Stats& stats) {
  health.add({"stunRequests",
              {{"answered", stats.answered},
               {"malformed", stats.dropped_malformed},
               {"not_a_request", stats.dropped_not_a_request},
               {"bad_tag", stats.dropped_bad_tag},
               {"unknown_username", stats.dropped_unknown_username},
               {"bad_fingerprint", stats.dropped_bad_fingerprint},
               {"over_rate", stats.dropped_rate},
               {"bad_integrity", stats.dropped_bad_integrity},
               {"stale", stats.dropped_stale},
               {"replayed", stats.dropped_replay},
               {"unknown_attribute", stats.dropped_unknown_attribute},
               {"no_other_address", stats.dropped_no_other_address},
               {"would_amplify", stats.dropped_would_amplify}}});
}

void add_relay_counters(control::Health& health, const RelayStats& stats) {
  health.add({"relayPackets",
              {{"forwarded", stats.packets_forwarded},
               {"malformed", stats.malformed},
               {"unknown_leg", stats.unknown_leg},
               {"wrong_source", stats.wrong_source},
               {"peer_unbound", stats.peer_unbound},
               {"over_rate", stats.over_rate},
               {"bad_grant", stats.bad_grant},
               {"grant_expired", stats.grant_expired},
               {"revoked", stats.revoked},
               {"bad_mac", stats.bad_mac},
               {"replayed", stats.replayed},
               {"wrong_time", stats.wrong_time},
               {"bad_cookie", stats.bad_cookie},
               {"over_quota", stats.over_quota},
               {"identity_mismatch", stats.identity_mismatch},
               {"challenge_limited", stats.challenge_limited},
               {"replies_dropped", stats.replies_dropped}}});
  health.add({"relayBytes", {{"forwarded", stats.bytes_forwarded}}});
  health.add({"relayEvents",
              {{"session_opened", stats.sessions_opened},
               {"session_closed", stats.sessions_closed},
               {"bind", stats.binds},
               {"takeover", stats.takeovers},
               {"challenge", stats.challenges}}});
}

// Sessions and octets are in the counters of all relaying.
void add_join_counters(control::Health& health, const TcpRelayStats& stats) {
  health.add({"relayJoins",
              {{"token", stats.tokens_issued},
               {"joined", stats.legs_joined},
               {"rate_limited", stats.rate_limited},
               {"paused", stats.over_rate},
               {"unknown_token", stats.unknown_token},
               {"used_token", stats.used_token},
               {"expired_token", stats.expired_token},
               {"revoked_token", stats.revoked_token},
               {"replaced_token", stats.replaced_token},
               {"wrong_identity", stats.wrong_identity},
               {"crowded", stats.crowded},
               {"unconfirmed", stats.unconfirmed},
               {"left_alone", stats.left_alone},
               {"left_early", stats.left_early}}});
}

void add_signal_counters(control::Health& health, const SignalHubStats& stats) {
  health.add({"signalHandshakes",
              {{"started", stats.handshakes_started},
               {"completed", stats.handshakes_completed},
               {"failed", stats.handshakes_failed},
               {"refused", stats.handshakes_refused}}});
  health.add({"signalMessages",
              {{"in", stats.messages_in},
               {"out", stats.messages_out},
               {"ignored", stats.messages_ignored},
               {"stray", stats.stray_messages}}});
  health.add({"signalOffers", {{"forwarded", stats.offers_forwarded}, {"rejected", stats.offers_rejected}}});
  health.add({"signalEnds", {{"protocol_error", stats.protocol_errors}, {"slow_peer", stats.slow_peers}}});
}

void add_grant_counters(control::Health& health, const AddressGrantsStats& stats) {
  health.add({"knockGrants",
              {{"granted", stats.granted},
               {"redeemed", stats.redeemed},
               {"missing", stats.missing},
               {"elsewhere", stats.elsewhere},
               {"used_up", stats.used_up},
               {"evicted", stats.evicted}}});
}

void add_punch_counters(control::Health& health, const PunchAgent::Stats& stats) {
  health.add({"punchEvents",
              {{"check_sent", stats.checks_sent},
               {"consent_sent", stats.consent_sent},
               {"response_sent", stats.responses_sent},
               {"request_accepted", stats.requests_accepted},
               {"response_accepted", stats.responses_accepted},
               {"peer_reflexive", stats.peer_reflexive},
               {"path_validated", stats.paths_validated},
               {"path_lost", stats.paths_lost},
               {"candidate_refused", stats.candidates_refused},
               {"deferred_by_budget", stats.deferred_by_budget},
               {"unclaimed_answer", stats.unclaimed_answers},
               {"event_lost", stats.events_lost}}});
  health.add({"punchPacketsDropped",
              {{"malformed", stats.dropped_malformed},
               {"unknown_username", stats.dropped_unknown_username},
               {"bad_tag", stats.dropped_bad_tag},
               {"bad_fingerprint", stats.dropped_bad_fingerprint},
               {"bad_integrity", stats.dropped_bad_integrity},
               {"replayed", stats.dropped_replay},
               {"role_conflict", stats.dropped_role},
               {"wrong_source", stats.dropped_source},
               {"over_budget", stats.dropped_budget}}});
}

void add_udp_counters(control::Health& health, const natt::uv::UdpSocket::Stats& stats) {
  health.add({"udpDatagrams", {{"in", stats.datagrams_received}, {"out", stats.datagrams_sent}}});
  health.add({"udpBytes", {{"in", stats.bytes_received}, {"out", stats.bytes_sent}}});
  health.add({"udpErrors",
              {{"receive_buffer_full", stats.overflowed},
               {"send_blocked", stats.blocked},
               {"too_big", stats.too_big},
               {"send_failed", stats.send_failed},
               {"soft_error", stats.soft_errors},
               {"gso_fallback", stats.gso_fallbacks}}});
}

}  // namespace natt::program
