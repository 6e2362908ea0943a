// SPDX-License-Identifier: Apache-2.0
#pragma once

// The door of a broker's TCP port: holds each accepted connection until its first two
// records prove who knocks (SPA.md 1.4, TCP/443). Sends nothing, ever; creates no TLS
// object; a connection that does not prove itself is read to nowhere and closed after a
// random while, so that its closing teaches nothing. In mode udp-tcp a valid hello is held
// back until a UDP knock of the same device came from the same address, which may happen
// after it: the two travel apart.
//
// Sans-I/O. Resource type, one thread; verifiers, grants and random outlive it.
//
//   accept:   if (!admission.handle_accepted(now, id, remote)) close it;
//   on bytes: admission.handle_bytes(now, wall_now, id, bytes);
//   on knock: grants.on_knock(...); admission.handle_knock(now, grant.device, source.ip);
//   events:   Admitted -> hub.handle_admitted(...) or the relay; CloseConnection -> close it; KnockMissing -> log

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <variant>

#include <natt/address.h>
#include <natt/address_grants.h>
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

class AdmissionPolicy;

struct SignalAdmissionOptions {
  // The configured TCP service port: frames are made for it, whatever port a NAT or a test makes of it.
  std::uint16_t port = 443;
  // Connections that have not proved themselves, the silenced ones included. A further one closes the silenced one
  // that would be closed next, else the oldest that has shown no frame of a member, else the oldest whose frame is
  // not verified yet; with none of them it is not accepted.
  std::size_t max_pending = 4096;
  // Whether a connection needs a UDP grant (mode udp-tcp).
  bool wants_knock = false;
  // For both records, and the knock, to arrive (SPA.md 1.4).
  Duration record_timeout = std::chrono::seconds(3);
  // How long a connection that failed is read and ignored before FIN (SPA.md 1.4, T-OPEN).
  Duration silence_minimum = std::chrono::seconds(30);
  Duration silence_maximum = std::chrono::seconds(90);
  // Has the last word on members whose frame is granted. Null: they are admitted. Outlives the admission.
  const AdmissionPolicy* policy = nullptr;
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
class AdmissionPolicy {
 public:
  virtual ~AdmissionPolicy() = default;
  // No: the connection is met with silence, as a stranger's.
  [[nodiscard]] virtual bool admits(const Identity& identity, Admitted::Purpose purpose) const = 0;
};
struct CloseConnection {
  ChannelId channel;
  // Room is needed now. Otherwise FIN, and what still comes is read.
  bool at_once = false;
};
// A member's valid hello found no UDP grant in time: for the operator, who may have to change the mode.
struct KnockMissing {
  Identity identity;
  SocketAddress remote;
  // Where the device did knock from meanwhile: UDP and TCP leave its network apart.
  std::optional<IpAddress> knocked_from;
};
using AdmissionEvent = std::variant<Admitted, CloseConnection, KnockMissing>;

struct SignalAdmissionStats {
  std::uint64_t accepted = 0;
  std::uint64_t admitted = 0;
  std::uint64_t rejected_shape = 0;    // not two records of the right form
  std::uint64_t rejected_verdict = 0;  // the verifier said no (its own counters say why), or the policy
  std::uint64_t rejected_knock = 0;    // a valid hello, and no UDP grant for it (mode udp-tcp)
  std::uint64_t timed_out = 0;
  std::uint64_t overflow = 0;
  std::size_t pending = 0;   // now, with the silenced ones
  std::size_t silenced = 0;  // now
};

class SignalAdmission {
 public:
  SignalAdmission(SignalAdmissionOptions options, const spa::VerifierGroup& verifiers, AddressGrants& grants,
                  Random& random);
  ~SignalAdmission();
  SignalAdmission(const SignalAdmission&) = delete;
  SignalAdmission& operator=(const SignalAdmission&) = delete;

  // False: too many are pending; close the connection without reading from it.
  [[nodiscard]] bool handle_accepted(Instant now, ChannelId channel, const SocketAddress& remote);
  void handle_bytes(Instant now, WallTime wall_now, ChannelId channel, ByteView bytes);
  // Whether the connection is a valid relay join that waits for its knock: best not read then, since what its end
  // sends right behind is kept up to kMaxHeldBytes only, and more is one that fails. (A hello's end sends nothing.)
  [[nodiscard]] bool holds_join(ChannelId channel) const;
  static constexpr std::size_t kMaxHeldBytes = 16 * 1024;
  // The device has a new UDP grant for this address.
  void handle_knock(Instant now, const spa::DeviceId& device, const IpAddress& source);
  // The mode has changed; what waits for a knock that is no longer wanted is admitted.
  void set_wants_knock(Instant now, bool wants_knock);
  // Revocation: what waits for a knock of the device is not admitted any more.
  void remove_device(Instant now, const spa::DeviceId& device);
  // The peer is gone. No event follows.
  void handle_disconnected(ChannelId channel);
  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<AdmissionEvent> poll_event();

  [[nodiscard]] SignalAdmissionStats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace natt
