// SPDX-License-Identifier: Apache-2.0
#pragma once

// Every metric there is; docs/OPERATIONS.md section 8 lists the same ones, which a test checks.
// Labels have few values each, and never one per device.

#include <array>

#include "apps/metrics/metric_page.h"

namespace natt::metrics {

using Kind = Metric::Kind;

inline constexpr Metric kBuildInfo{
    "natt_build_info", Kind::kGauge, "Always 1; program and version are labels.", {"program", "version"}};
inline constexpr Metric kStartTime{"process_start_time_seconds", Kind::kGauge,
                                   "When the program started, in Unix seconds."};
inline constexpr Metric kHealthStatus{
    "natt_health_status", Kind::kGauge, "1 for the status that nattctl health gives, 0 for the others.", {"status"}};
inline constexpr Metric kHealth{
    "natt_health", Kind::kGauge, "Facts behind the health: 1 is as it should be.", {"check"}};
inline constexpr Metric kSessions{
    "natt_sessions", Kind::kGauge, "Sessions that are connected, by connection type.", {"type"}};

inline constexpr Metric kRosterNumber{"natt_roster_number", Kind::kGauge, "Number of the roster in force.", {"site"}};
inline constexpr Metric kCertificateEnd{"natt_certificate_expiry_timestamp_seconds",
                                        Kind::kGauge,
                                        "When this device's certificate expires, in Unix seconds.",
                                        {"site"}};
inline constexpr Metric kClockOffset{"natt_clock_offset_seconds",
                                     Kind::kGauge,
                                     "What this device adds to its calendar to meet its brokers' clocks.",
                                     {"site"}};
inline constexpr Metric kBrokerConnected{
    "natt_broker_connected", Kind::kGauge, "1 while there is a signaling channel to this broker.", {"site", "broker"}};

inline constexpr Metric kSpaFrames{"natt_spa_frames_total",
                                   Kind::kCounter,
                                   "Knock frames that reached the program, granted or by the reason of their refusal.",
                                   {"site", "verdict"}};
inline constexpr Metric kSpaRetransmits{"natt_spa_retransmits_total",
                                        Kind::kCounter,
                                        "Of the granted frames, repeats of one that had been granted.",
                                        {"site"}};
inline constexpr Metric kSpaDevices{"natt_spa_devices", Kind::kGauge, "Devices enrolled that can knock.", {"site"}};
inline constexpr Metric kSpaDevicesLoading{
    "natt_spa_devices_loading", Kind::kGauge, "Devices of the roster that cannot knock yet.", {"site"}};
inline constexpr Metric kSpaDevicesOnNewestKey{
    "natt_spa_devices_on_newest_key", Kind::kGauge, "Devices that have used this program's newest key pair.", {"site"}};
inline constexpr Metric kSpaKeys{"natt_spa_keys", Kind::kGauge, "Keys derived for devices.", {"site"}};
inline constexpr Metric kSpaOwnKeys{"natt_spa_own_keys", Kind::kGauge, "Key pairs of this program in use.", {"site"}};
inline constexpr Metric kSpaNonces{
    "natt_spa_nonces", Kind::kGauge, "Accepted frames remembered against replay.", {"site"}};
inline constexpr Metric kSpaClockStepsBack{
    "natt_spa_clock_steps_back_total", Kind::kCounter, "Steps back of this host's clock.", {"site"}};
inline constexpr Metric kReplayState{"natt_spa_replay_journal_state",
                                     Kind::kGauge,
                                     "1 for what was found of the former run's journal, 0 for the others.",
                                     {"site", "state"}};
inline constexpr Metric kReplayRecords{"natt_spa_replay_journal_records_total",
                                       Kind::kCounter,
                                       "Frames for the replay journal: appended, or refused because it was full.",
                                       {"site", "result"}};
inline constexpr Metric kReplayRestored{
    "natt_spa_replay_journal_restored", Kind::kGauge, "Records taken over from the former run.", {"site"}};
inline constexpr Metric kReplayRoom{
    "natt_spa_replay_journal_room", Kind::kGauge, "Records that fit in one slot of 64 s.", {"site"}};
inline constexpr Metric kReplayRefuses{"natt_spa_refuses_for_seconds",
                                       Kind::kGauge,
                                       "For how long knocks are refused because older ones may be copies.",
                                       {"site"}};
inline constexpr Metric kAddressGrants{"natt_spa_address_grants_total",
                                       Kind::kCounter,
                                       "UDP knocks that allow TCP from their address, and what became of them.",
                                       {"event"}};
inline constexpr Metric kGateActive{"natt_spa_gate_active", Kind::kGauge, "1 while the kernel gate is on."};
inline constexpr Metric kGatePackets{
    "natt_spa_gate_packets_total", Kind::kCounter, "Packets at the kernel gate by its verdict.", {"verdict"}};

inline constexpr Metric kTcpDoor{"natt_tcp_door_info",
                                 Kind::kGauge,
                                 "Always 1; mode and visibility of the TCP port in force are labels.",
                                 {"mode", "visibility"}};
inline constexpr Metric kTcpConnections{"natt_tcp_connections_total",
                                        Kind::kCounter,
                                        "Connections to the TCP port by what became of them; \"accepted\" are all.",
                                        {"verdict"}};
inline constexpr Metric kTcpPending{"natt_tcp_connections_unproven", Kind::kGauge,
                                    "Connections that have not proved themselves, now."};
inline constexpr Metric kTcpSilenced{"natt_tcp_connections_silenced", Kind::kGauge,
                                     "Of the unproven ones, those that failed and are kept without an answer, now."};
inline constexpr Metric kTcpGrantsLive{"natt_tcp_knocks_live", Kind::kGauge, "UDP knocks that allow TCP, now."};

inline constexpr Metric kSignalChannels{
    "natt_signal_channels", Kind::kGauge, "Signaling channels, by site and role.", {"site", "role"}};
inline constexpr Metric kSignalHandshakes{
    "natt_signal_handshakes_total", Kind::kCounter, "TLS handshakes of signaling channels.", {"result"}};
inline constexpr Metric kSignalMessages{"natt_signal_messages_total", Kind::kCounter, "Signaling messages.", {"kind"}};
inline constexpr Metric kSignalOffers{
    "natt_signal_offers_total", Kind::kCounter, "Session offers of clients.", {"verdict"}};
inline constexpr Metric kSignalEnds{"natt_signal_channels_ended_total",
                                    Kind::kCounter,
                                    "Signaling channels that the broker ended, by reason.",
                                    {"reason"}};

inline constexpr Metric kStunRequests{"natt_stun_requests_total",
                                      Kind::kCounter,
                                      "STUN at the broker: answered, or by the reason of its refusal.",
                                      {"verdict"}};

inline constexpr Metric kRelaySessions{"natt_relay_sessions", Kind::kGauge, "Relayed sessions, over UDP and TCP."};
inline constexpr Metric kRelayRate{"natt_relay_bits_per_second", Kind::kGauge, "Relayed, mean of a minute."};
inline constexpr Metric kRelayPackets{"natt_relay_packets_total",
                                      Kind::kCounter,
                                      "Relay datagrams: forwarded, or by the reason of their refusal.",
                                      {"verdict"}};
inline constexpr Metric kRelayBytes{"natt_relay_bytes_total", Kind::kCounter,
                                    "Octets of tunnels forwarded over UDP and TCP, relay headers not counted."};
inline constexpr Metric kRelayEvents{
    "natt_relay_events_total", Kind::kCounter, "What happened to relayed sessions and their ends.", {"event"}};
inline constexpr Metric kRelayJoins{"natt_relay_joins_total",
                                    Kind::kCounter,
                                    "Relaying over TCP: tokens, legs that joined, and connections that did not, by "
                                    "reason.",
                                    {"result"}};

inline constexpr Metric kTunnelConnections{"natt_tunnel_connections", Kind::kGauge,
                                           "Connections of tunnels, handshakes included."};
inline constexpr Metric kTunnelStreams{"natt_tunnel_streams", Kind::kGauge, "Streams that are open in tunnels."};
inline constexpr Metric kTunnelSessions{"natt_tunnel_sessions", Kind::kGauge,
                                        "Sessions that signaling set up, their tunnel running or still to come."};
inline constexpr Metric kTunnelDrops{"natt_tunnel_packets_dropped_total",
                                     Kind::kCounter,
                                     "QUIC packets that were dropped without an answer, by reason.",
                                     {"reason"}};
inline constexpr Metric kTunnelEvents{"natt_tunnel_events_total",
                                      Kind::kCounter,
                                      "Tunnel handshakes that failed, packets held until their handshake began, and "
                                      "connections over TCP for which there was no room.",
                                      {"event"}};

inline constexpr Metric kPunchEvents{
    "natt_punch_events_total", Kind::kCounter, "Connectivity checks and the paths they found.", {"event"}};
inline constexpr Metric kPunchDrops{"natt_punch_packets_dropped_total",
                                    Kind::kCounter,
                                    "Connectivity checks that were dropped, by reason.",
                                    {"reason"}};

inline constexpr Metric kUdpDatagrams{
    "natt_udp_datagrams_total", Kind::kCounter, "Datagrams of the program's UDP sockets.", {"direction"}};
inline constexpr Metric kUdpBytes{
    "natt_udp_bytes_total", Kind::kCounter, "Octets of the program's UDP sockets, without headers.", {"direction"}};
inline constexpr Metric kUdpErrors{"natt_udp_errors_total",
                                   Kind::kCounter,
                                   "Datagrams lost at the program's UDP sockets, and what the kernel complained of.",
                                   {"reason"}};

inline constexpr Metric kMetricsRequests{
    "natt_metrics_requests_total", Kind::kCounter, "Connections to this page by what became of them.", {"result"}};
inline constexpr Metric kMetricsLastPage{"natt_metrics_last_page_seconds", Kind::kGauge,
                                         "How long the program was busy making the page before this one."};

inline constexpr std::array kCatalogue = {&kBuildInfo,         &kStartTime,
                                          &kHealthStatus,      &kHealth,
                                          &kSessions,          &kRosterNumber,
                                          &kCertificateEnd,    &kClockOffset,
                                          &kBrokerConnected,   &kSpaFrames,
                                          &kSpaRetransmits,    &kSpaDevices,
                                          &kSpaDevicesLoading, &kSpaDevicesOnNewestKey,
                                          &kSpaKeys,           &kSpaOwnKeys,
                                          &kSpaNonces,         &kSpaClockStepsBack,
                                          &kReplayState,       &kReplayRecords,
                                          &kReplayRestored,    &kReplayRoom,
                                          &kReplayRefuses,     &kAddressGrants,
                                          &kGateActive,        &kGatePackets,
                                          &kTcpDoor,           &kTcpConnections,
                                          &kTcpPending,        &kTcpSilenced,
                                          &kTcpGrantsLive,     &kSignalChannels,
                                          &kSignalHandshakes,  &kSignalMessages,
                                          &kSignalOffers,      &kSignalEnds,
                                          &kStunRequests,      &kRelaySessions,
                                          &kRelayRate,         &kRelayPackets,
                                          &kRelayBytes,        &kRelayEvents,
                                          &kRelayJoins,        &kTunnelConnections,
                                          &kTunnelStreams,     &kTunnelSessions,
                                          &kTunnelDrops,       &kTunnelEvents,
                                          &kPunchEvents,       &kPunchDrops,
                                          &kUdpDatagrams,      &kUdpBytes,
                                          &kUdpErrors,         &kMetricsRequests,
                                          &kMetricsLastPage};

}  // namespace natt::metrics
