// SPDX-License-Identifier: Apache-2.0
#pragma once

// The door of a broker's TCP port: holds each accepted connection until its first two
// records prove who knocks (SPA.md 1.4, TCP/443). Sends nothing, ever; creates no TLS
// object; a connection that does not prove itself is read to nowhere and closed after a
// random while, so that its closing teaches nothing.
//
// Sans-I/O. Resource type, one thread; verifiers and random outlive it.
//
//   accept:   if (!admission.handle_accepted(now, id, remote)) close it;
//   on bytes: admission.handle_bytes(now, wall_now, id, bytes);
//   events:   Admitted -> hub.handle_admitted(...) or the relay; CloseConnection -> close it

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/identity.h>
#include <natt/log.h>
#include <natt/random.h>
#include <natt/signal_types.h>
#include <natt/time.h>

namespace natt::spa {
class VerifierGroup;
}

namespace natt {

struct SignalAdmissionOptions {
  // The configured TCP service port: frames are made for it, whatever port a NAT or a test makes of it.
  std::uint16_t port = 443;
  // Connections that have not proved themselves, the silenced ones included. A further one closes the
  // silenced one that would be closed next, or is not accepted.
  std::size_t max_pending = 4096;
  // For both records to arrive (SPA.md 1.4).
  Duration record_timeout = std::chrono::seconds(3);
  // How long a connection that failed is read and ignored before FIN (SPA.md 1.4, T-OPEN).
  Duration silence_minimum = std::chrono::seconds(30);
  Duration silence_maximum = std::chrono::seconds(90);
  LogSink log;
};

struct Admitted {
  enum class Purpose : std::uint8_t { kSignaling, kRelayJoin };
  ChannelId channel;
  Purpose purpose = Purpose::kSignaling;
  Identity identity;
  SocketAddress remote;
  // kSignaling: the ClientHello record, for SignalHub. kRelayJoin: the pairing token's record.
  ByteBuffer record;
  // What came behind it.
  ByteBuffer rest;
};
struct CloseConnection {
  ChannelId channel;
};
using AdmissionEvent = std::variant<Admitted, CloseConnection>;

struct SignalAdmissionStats {
  std::uint64_t accepted = 0;
  std::uint64_t admitted = 0;
  std::uint64_t rejected_shape = 0;    // not two records of the right form
  std::uint64_t rejected_verdict = 0;  // the verifier said no; its own counters say why
  std::uint64_t timed_out = 0;
  std::uint64_t overflow = 0;
};

class SignalAdmission {
 public:
  SignalAdmission(SignalAdmissionOptions options, const spa::VerifierGroup& verifiers, Random& random);
  ~SignalAdmission();
  SignalAdmission(const SignalAdmission&) = delete;
  SignalAdmission& operator=(const SignalAdmission&) = delete;

  // False: too many are pending; close the connection without reading from it.
  [[nodiscard]] bool handle_accepted(Instant now, ChannelId channel, const SocketAddress& remote);
  void handle_bytes(Instant now, WallTime wall_now, ChannelId channel, ByteView bytes);
  // The peer is gone. No event follows.
  void handle_disconnected(ChannelId channel);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<AdmissionEvent> poll_event();

  [[nodiscard]] const SignalAdmissionStats& stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
