// SPDX-License-Identifier: Apache-2.0
#pragma once

// The first of the checks of docs/WIRE.md section 1.3, done in the kernel: eBPF programs on
// the UDP sockets and the TCP listener let through what may be meant for us (hint known and
// P right, or a SipHash tag of ours) and drop everything else before it reaches a queue.
// A dropped SYN is not answered at all: the port does not exist for strangers. User space
// goes on checking everything: a socket filter runs once per GRO train.
//
// An interface, so that libraries use a gate without linking libbpf; open_kernel_gate is in
// natt::spa_gate. Needs Linux 5.12 and CAP_BPF, nothing else: while open_kernel_gate runs, and
// when there are more devices than it was opened for (before Linux 5.19 always). Resource
// type of one thread.
//
//   auto gate = open_kernel_gate({.max_keys = ...});       // an error says why there is none: carry on without
//   auto listener = (*gate)->add_verifier(mask);           // -> VerifierOptions::hint_listener
//   verifier.handle_timeout(...); (*gate)->flush();        // before the first packet, and after each change
//   (*gate)->attach(fd, GateSocket::kBrokerUdp);           // listeners: between bind and listen
//   (*gate)->detach(fd)                                    // what the gate is not to come back to
//   accepted: setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER) // connections inherit the filter

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <natt/address.h>
#include <natt/error.h>
#include <natt/log.h>
#include <natt/secret.h>
#include <natt/spa/connection_id.h>
#include <natt/spa/dns_suffix.h>
#include <natt/spa/hint_listener.h>
#include <natt/spa/keys.h>
#include <natt/time.h>

namespace natt::spa {

// What a program expects on a socket.
enum class GateSocket : std::uint8_t {
  kBrokerUdp,  // DTLS-shaped knocks, STUN, relay frames
  kBrokerDns,  // DNS-shaped knocks, STUN
  kTunnelUdp,  // a gateway's: DTLS-shaped knocks, QUIC Initials and connection ids, STUN, relay frames
  kTcpSyn,     // listener: SYNs that carry an SPA hello record (`tcp_visibility = syn`)
  kTcpIp,      // listener: those, and SYNs from sources that allow_source named (`tcp_visibility = ip`)
};
inline constexpr std::size_t kGateSocketCount = 5;
inline constexpr std::uint32_t kGateSynsPerSecond = 256;

// What became of a packet.
enum class GateVerdict : std::uint8_t {
  kKnock,         // passed: hint and P right
  kInitial,       // passed: the token's hint and P right
  kConnectionId,  // passed: a connection id of ours
  kStun,          // passed: a request whose transaction id has the tag of one of the keys, an answer that is expected
  kRelay,         // passed: shaped as a relay frame that this end takes; at kTunnelUdp from an expected relay only
  kSyn,           // passed: SYN with a frame
  kSource,        // passed: SYN from a source that is allowed
  kFlow,          // passed: further packet of a connection whose SYN has passed
  kDnsAnswer,     // passed: a DNS answer that is expected
  kUnchecked,     // passed: a datagram that may be a knock, with an unknown hint, while not every key fits (complete())
  kNoShape,       // dropped: nothing that this socket takes
  kUnknownHint,   // dropped: knock, Initial or SYN of a stranger
  kBadPrefilter,  // dropped: the hint is known, P is not
  kCopy,          // dropped: a frame that came before, or whose P another (IP, port) has shown on TCP
  kForeignId,     // dropped: QUIC with a connection id that is not ours
  kBadStunTag,    // dropped: STUN with a transaction id that is not ours, an answer that nobody asked for
  kBadRelay,      // dropped: first octet of a relay frame, but none that this end takes
  kBareSyn,       // dropped: SYN without a frame, from no source that is allowed
  kSynBudget,     // dropped: more SYNs of one device than it may send
  kStray,         // dropped: no SYN, and no connection known: ACK, FIN, Xmas and null scans
};
inline constexpr std::size_t kGateVerdictCount = 20;
[[nodiscard]] std::string_view to_string(GateVerdict verdict);  // "knock", ... : stable names for metrics
[[nodiscard]] constexpr bool passes(GateVerdict verdict) { return verdict < GateVerdict::kNoShape; }

struct KernelGateOptions {
  // Kinds that programs are loaded for, some milliseconds each; none: all.
  std::vector<GateSocket> sockets;
  // Pairs of a device's key and a verifier's own that fit, over all verifiers. Kernel memory is taken at once: 158 to
  // 317 octets each. Past it the gate moves to a table of twice the size, up to most_keys and as long as the process
  // has CAP_BPF; then it lets datagrams with unknown hints through to user space, and drops such SYNs. Not more than
  // needed: what names a device takes longer to look up in a larger table.
  std::size_t max_keys = 16'384;
  std::size_t most_keys = 1'000'000;
  // SYNs that one key of a device may send in a second under each of the three hints that count at a time; a gateway
  // joins a relay leg over TCP per session.
  std::uint32_t syns_per_second = kGateSynsPerSecond;
  // For how long, and for how many SYNs, allow_source opens: long enough for a slow handshake, short for a neighbour.
  Duration source_lifetime = std::chrono::seconds(10);
  std::uint32_t syns_per_source = 8;
  // How long a SYN that passed makes its (IP, port) pass: the handshake, and the wait for accept().
  Duration flow_lifetime = std::chrono::seconds(10);
  // Of a gateway: STUN transactions that expect_answer remembers; then the oldest go. 90 octets each, taken at once.
  std::size_t max_awaited = 1024;
  // A larger table costs 40 ms of a processor. False: in the call that needs it; true: by take_work(), which is to be
  // asked then.
  bool grow_in_background = false;
  // After a failure to grow. Only most_keys is for good.
  Duration growth_retry = std::chrono::seconds(60);
  LogSink log;  // when the table grew, when it is full, when a socket goes without a program
};

struct KernelGateStats {
  std::array<std::uint64_t, kGateVerdictCount> packets{};
  std::size_t hints = 0;  // in the kernel now
  bool complete = true;   // false: there are more keys than fit
  std::string shortfall;  // which sockets go without the newest program, and why; empty: none

  [[nodiscard]] std::uint64_t count(GateVerdict verdict) const { return packets[static_cast<std::size_t>(verdict)]; }
};

class KernelGate {
 public:
  // Each costs every knock-shaped packet a hash, so this is small.
  static constexpr std::size_t kMaxVerifiers = 16;
  // What requests are made under: a broker's or a gateway's own, the current one and those before.
  static constexpr std::size_t kMaxStunKeys = 16;
  static constexpr std::size_t kMaxConnectionIdKeys = 2;
  // One for each site, and a configured one.
  static constexpr std::size_t kMaxDnsSuffixes = 17;

  virtual ~KernelGate() = default;
  KernelGate(const KernelGate&) = delete;
  KernelGate& operator=(const KernelGate&) = delete;

  // What a verifier with this mask key gets as its hint listener; lives as long as the gate. kLimit past
  // kMaxVerifiers.
  [[nodiscard]] virtual Result<HintListener*> add_verifier(const MaskKey& mask) = 0;
  // Transaction keys whose tags pass; those past kMaxStunKeys are not taken, and then all STUN passes.
  virtual void set_stun_keys(std::span<const Secret<16>> keys) = 0;
  // Those past kMaxConnectionIdKeys are not taken.
  virtual void set_connection_id_keys(std::span<const ConnectionIdKey* const> keys) = 0;

  // What DNS knocks may end in, as parse_dns_carrier is asked. Before it was called, and past kMaxDnsSuffixes, the gate
  // looks neither at what follows a frame nor for copies: a copy that user space refuses must not stand for the frame.
  virtual void set_dns_suffixes(std::span<const DnsSuffix> suffixes) = 0;

  // Call this after each Verifier::handle_timeout and whenever devices were added: it takes a piece of what is over
  // out of the kernel, below a tenth of a millisecond. What is added or removed is so at once.
  virtual void flush() = 0;
  // With grow_in_background: after each flush(), what is to run in another thread, to its end and before the next such
  // work; null mostly. The gate outlives it. Then flush() goes on with what it made.
  [[nodiscard]] virtual std::function<void()> take_work() { return nullptr; }
  // Pieces of a larger table are left: flush() again in the next turn.
  [[nodiscard]] virtual bool has_work() const { return false; }

  // A UDP knock was granted: the next syns_per_source SYNs of this address within source_lifetime pass at
  // kTcpIp.
  virtual void allow_source(const IpAddress& source) = 0;
  // Its first connection has proved itself (or the device closed): no further SYN passes for it.
  virtual void forget_source(const IpAddress& source) = 0;

  // At kTunnelUdp no answer passes that was not asked for. To be called with each packet that asks, before it is sent:
  // one system call. Calling again prolongs.
  // A STUN request: an answer with this transaction id passes for so long.
  virtual void expect_answer(std::span<const std::uint8_t, 12> transaction, Duration lifetime) = 0;
  // A frame for a relay: relay frames from exactly there pass for so long.
  virtual void expect_relay(const SocketAddress& relay, Duration lifetime) = 0;
  // A knock over DNS: whoever answers in the broker's place is heard for so long.
  virtual void expect_dns(const SocketAddress& server, Duration lifetime) = 0;

  // Replaces the filter of a socket, and again when the table moves. The socket keeps it when the gate is gone. Nothing
  // happens to a socket that has this program already. kUnavailable, logged once: then a UDP socket, and a listener
  // that this gate had no program on, have no filter at all, so go on without; another listener keeps what it had.
  // Kernels before 6.8 often have no room for these programs, unless net.core.optmem_max is raised.
  [[nodiscard]] virtual Result<void> attach(int socket, GateSocket kind) = 0;
  // Takes the filter off, whoever put it there, and the gate does not put its own back. kUnavailable.
  [[nodiscard]] virtual Result<void> detach(int socket) = 0;
  // For setsockopt(SO_ATTACH_BPF) before a socket is one that others can reach; attach() is to follow, or the filter
  // goes out of date. Owned by the gate, until the next call of anything; -1: no program was loaded for this kind.
  [[nodiscard]] virtual int program(GateSocket kind) const = 0;

  // False when not every key fits: strangers' datagrams reach user space, which refuses them, and members whose key is
  // not in it get no answer on TCP. Or a socket did not take its program: KernelGateStats::shortfall. Say so in health.
  [[nodiscard]] virtual bool complete() const = 0;
  // Since the gate was opened, over all sockets.
  [[nodiscard]] virtual KernelGateStats stats() const = 0;

 protected:
  KernelGate() = default;
};

// kUnavailable: no privilege, or the kernel does not do it; the sentence is for log and health. In natt::spa_gate.
[[nodiscard]] Result<std::unique_ptr<KernelGate>> open_kernel_gate(const KernelGateOptions& options);

}  // namespace natt::spa
