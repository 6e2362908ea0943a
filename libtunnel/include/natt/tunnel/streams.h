// SPDX-License-Identifier: Apache-2.0
#pragma once

// Streams and datagrams of a site tunnel as both ends use them, over QUIC (`Client`, `Server`)
// and over TLS (`TlsClient`, `TlsServer`): all implement `Streams`, so one pump between sockets
// and streams serves them.
//
//   TCP stream (CONNECT): bytes both ways with half-close.
//     out: reserve()/commit() or write(), shutdown_write();  in: peek()/consume(), Finished
//   UDP (CONNECT-UDP) and IP (CONNECT-IP): send_datagram(), poll_datagram(); the stream
//     itself carries capsules only and has no bytes to read or write.
//
// What differs over TLS:
//   * A code of reset() arrives as what HTTP/2 calls the same, and as INTERNAL_ERROR (0x102) when it has no word for it.
//   * Datagrams are capsules on their stream: reliable, in order, and behind what was lost before them. They wait in the
//     stream (256 KiB), beyond which the newest is dropped.
//   * One TCP connection: a lost segment holds up every stream.
//
// Nothing leaves before the owner polls: after any call here, drain poll_batch() (QUIC) or output() (TLS), and re-arm
// next_deadline(). One thread; no call back from any method.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/path_id.h>
#include <natt/tunnel/authority.h>
#include <natt/tunnel/capsule.h>

namespace natt::tunnel {

// One connection of a server, whichever its kind; never reused. A client has one, which is 0.
struct ConnectionId {
  std::uint64_t value = 0;
  friend auto operator<=>(const ConnectionId&, const ConnectionId&) = default;
};

// A stream of a connection; never reused. Calls with a stream that has ended do nothing.
struct StreamId {
  ConnectionId connection;
  std::int64_t number = -1;
  friend auto operator<=>(const StreamId&, const StreamId&) = default;
};

enum class Protocol : std::uint8_t { kTcp, kUdp, kIp };
[[nodiscard]] std::string_view to_string(Protocol protocol);  // "tcp", "udp", "ip"

// HTTP/3 error codes that may be passed to reset() (RFC 9114 section 8.1), and arrive as themselves over TLS too.
inline constexpr std::uint64_t kRequestCancelled = 0x10c;  // no longer wanted
inline constexpr std::uint64_t kConnectError = 0x10f;      // the TCP connection behind it was reset or broke

// Events that both ends see. Per stream: Readable and Writable any number of times, then
// Finished and/or StreamReset, and StreamClosed last and exactly once.

// peek() has bytes. Comes again only after consume() left nothing and more arrived.
struct Readable {
  StreamId stream;
};
// There is room again after reserve() or write() came up short.
struct Writable {
  StreamId stream;
};
// The peer will send no more and everything was consumed. Writing may go on (half-close).
struct Finished {
  StreamId stream;
};
// The peer gave up; unread bytes are gone, and writing is pointless.
struct StreamReset {
  StreamId stream;
  std::uint64_t code = 0;  // of HTTP/3, also over TLS
};
// Both directions are over and the id is dead; every stream ends with it.
struct StreamClosed {
  StreamId stream;
};
// On CONNECT-IP streams.
struct CapsuleReceived {
  StreamId stream;
  ControlCapsule capsule;
};
// QUIC only: it now uses this path (the first one of a connection is not reported).
struct PathChanged {
  ConnectionId connection;
  PathId path;
};

enum class DatagramResult : std::uint8_t {
  kQueued,
  kNoRoom,      // the send queue (over TLS: the stream) is full: drop, as a router would
  kTooLarge,    // longer than kMaxDatagram
  kNotAllowed,  // unknown stream, one that is not open, or a TCP stream
};

// Payload of one datagram: an IP packet, or a UDP payload up to the size that fits IPv6's
// minimum MTU or a bigger one where both ends' links have it.
inline constexpr std::size_t kMaxDatagram = 1500;

struct Datagram {
  StreamId stream;
  // Valid until the next call of any non-const method.
  ByteView payload;
};

// What a connection did, for status pages and metrics.
struct ConnectionStats {
  std::uint64_t bytes_in = 0;   // octets of UDP payloads, or of the TCP connection
  std::uint64_t bytes_out = 0;
  std::uint64_t packets_in = 0;   // over TLS: reads that brought something, see tls_client.h
  std::uint64_t packets_out = 0;  // over TLS: writes
  std::uint64_t smoothed_rtt_us = 0;    // over TLS 0: the kernel's
  std::uint64_t congestion_window = 0;  // likewise
  std::uint64_t datagrams_dropped_in = 0;   // receive queue full, or no such stream
  std::uint64_t datagrams_dropped_out = 0;  // send queue full
  std::uint32_t streams = 0;                // open now
  std::size_t max_udp_payload = 0;          // of the current path; over TLS 0
};

class Streams {
 public:
  virtual ~Streams() = default;

  // Room in the stream's send buffer, contiguous (at most 16 KiB at a time); empty when it
  // is full (Writable follows) or writing is over. Read from a socket straight into it, then
  // commit what came. Valid until the next call for this stream.
  [[nodiscard]] virtual MutableBytes reserve(StreamId stream) = 0;
  virtual void commit(StreamId stream, std::size_t size) = 0;
  // Copies as much as there is room for; the count tells how much.
  [[nodiscard]] std::size_t write(StreamId stream, ByteView bytes);
  // No more bytes from this side (FIN); what is buffered is still delivered.
  virtual void shutdown_write(StreamId stream) = 0;

  // The next received bytes, contiguous; empty when there are none. Valid until consume().
  [[nodiscard]] virtual ByteView peek(StreamId stream) const = 0;
  // Takes bytes off and gives the peer credit for as many: a stream that is not consumed
  // stops its sender.
  virtual void consume(StreamId stream, std::size_t size) = 0;

  // Both directions at once. StreamClosed follows.
  virtual void reset(StreamId stream, std::uint64_t code) = 0;

  [[nodiscard]] virtual DatagramResult send_datagram(StreamId stream, ByteView payload) = 0;
  // Received datagrams in order of arrival, over all streams. The queue is bounded (oldest
  // kept, newest dropped): drain it after every burst of
  // handle_packet(), or every handle_bytes().
  [[nodiscard]] virtual std::optional<Datagram> poll_datagram() = 0;
  // CONNECT-IP only. kInvalid for a capsule that breaks its rules, kLimit when there is no room, kClosed once the
  // connection is over.
  [[nodiscard]] virtual Result<void> send_capsule(StreamId stream, const ControlCapsule& capsule) = 0;
};

}  // namespace natt::tunnel
