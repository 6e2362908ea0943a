// SPDX-License-Identifier: Apache-2.0
#pragma once

// The UDP socket of an endpoint: dual stack, tells to which local address a
// datagram came (PKTINFO) and lets a reply leave from it, receives whole GRO trains
// and sends GSO trains. On this path the kernel's price is per call, not per byte:
// a train of 43 datagrams costs as much as one (bench/relay_bench).
//
// libuv's own UDP handle has no control messages, so this owns the descriptor and
// watches it with uv_poll. ICMP errors never close the socket. Datagrams are never
// fragmented (IP_PMTUDISC_PROBE): one larger than the link's MTU is kTooBig.
//
// Resource type on the embedder's loop and its thread. After the destructor has
// returned the port is free and no callback runs.

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/time.h>
#include <natt/transmit.h>

struct uv_loop_s;

namespace natt::uv {

// Datagrams of one sender, received together.
struct ReceivedTrain {
  SocketAddress from;
  // Our address that they were sent to.
  IpAddress local;
  // Back to back, each `segment_size` long except the last, which may be shorter.
  // Valid, and free to be changed in place, during the call.
  MutableBytes bytes;
  std::size_t segment_size = 0;
  std::uint8_t ecn = 0;  // RFC 3168 codepoint, 0-3
};

// Datagrams to one receiver, sent together. Nothing is copied by us: the kernel
// gathers `header` and a slice of `bytes` for each datagram.
struct OutgoingTrain {
  SocketAddress to;
  // Address to leave from; unspecified lets the kernel choose.
  IpAddress from;
  // Stands in front of every datagram; at most 64 octets, may be empty.
  ByteView header;
  // Payloads back to back, each `segment_size` long except the last, which may be shorter.
  ByteView bytes;
  // 0: `bytes` is one datagram.
  std::size_t segment_size = 0;
  std::uint8_t ecn = 0;
};

enum class SendStatus : std::uint8_t {
  kSent,     // all of it is the kernel's now
  kBlocked,  // the socket is full: send the rest when on_writable comes
  kTooBig,   // a datagram is larger than the link (or its known path MTU) takes: that is a lost datagram
  kFailed,   // no route, no such source address, refused by a local filter: as good as lost on the way
};

struct SendResult {
  SendStatus status = SendStatus::kSent;
  // How much of OutgoingTrain::bytes is gone, always at a datagram's edge.
  std::size_t sent_bytes = 0;
};

class UdpSocket {
 public:
  struct Options {
    // `::` is both families; an IPv4 address (or 0.0.0.0) only that family. Port 0 lets the kernel choose.
    SocketAddress bind;
    // A datagram socket that is bound already; it is taken, also on failure, and `bind` not looked at. -1: none.
    int adopt = -1;
    // Several sockets share the port, the kernel spreads senders over them (one loop per core).
    bool reuse_port = false;
    // Linux charges whole pages per packet to these buffers; 208 KiB, the default, drops at 100 Mbit/s (NetBird 6774,
    // coturn 616). Without privilege the kernel caps them at net.core.{r,w}mem_max; Stats tells what it gave.
    std::size_t receive_buffer = 4 << 20;
    std::size_t send_buffer = 4 << 20;
    // Trains taken per system call; each needs 64 KiB of address space, touched only when used.
    std::size_t receive_batch = 8;
    // System calls per turn of the loop, so that timers and other sockets get theirs.
    std::size_t receive_calls_per_turn = 4;
    // For tests, and for networks that mangle trains.
    bool gro = true;
    bool gso = true;
  };

  struct Stats {
    std::uint64_t trains_received = 0;
    std::uint64_t datagrams_received = 0;
    std::uint64_t bytes_received = 0;
    std::uint64_t trains_sent = 0;  // sendmsg calls with UDP_SEGMENT
    std::uint64_t datagrams_sent = 0;
    std::uint64_t bytes_sent = 0;
    std::uint64_t overflowed = 0;    // dropped by the kernel because our buffer was full (SO_RXQ_OVFL)
    std::uint64_t blocked = 0;       // sends that met a full socket
    std::uint64_t too_big = 0;
    std::uint64_t send_failed = 0;
    std::uint64_t soft_errors = 0;   // ICMP and other pending errors, swallowed
    std::uint64_t gso_fallbacks = 0; // destinations whose route refused UDP_SEGMENT
    std::size_t receive_buffer = 0;  // what the kernel granted, in the units asked for
    std::size_t send_buffer = 0;
    Stats& operator+=(const Stats& other);
  };

  class Listener {
   public:
    virtual ~Listener() = default;
    // May send, and may destroy the socket.
    virtual void on_train(Instant now, const ReceivedTrain& train) = 0;
    // The last train of this turn was delivered: the moment to flush. May destroy the socket.
    virtual void on_receive_done(Instant now) = 0;
    // There is room again after a send that ended in kBlocked. May destroy the socket.
    virtual void on_writable(Instant now) = 0;
  };

  // `loop` and `listener` outlive the socket. Fails with kIo (the port is taken, no such address, no descriptors left).
  [[nodiscard]] static Result<std::unique_ptr<UdpSocket>> open(uv_loop_s& loop, const Options& options,
                                                               Listener& listener);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  // Never calls the listener.
  SendResult send(const OutgoingTrain& train);
  SendResult send(const Transmit& transmit) {
    return send({.to = transmit.to, .from = transmit.from, .header = {}, .bytes = transmit.bytes});
  }

  [[nodiscard]] SocketAddress local_address() const;
  // False where the machine has IPv6 switched off.
  [[nodiscard]] bool dual_stack() const;
  [[nodiscard]] bool gso_active() const;
  [[nodiscard]] const Stats& stats() const;
  // For socket filters. Owned by this object.
  [[nodiscard]] int descriptor() const;

 private:
  struct Block;
  explicit UdpSocket(Block* block);
  Block* block_;  // freed by the loop after close
};

}  // namespace natt::uv
