// SPDX-License-Identifier: Apache-2.0
#pragma once

// One connection of a tunnel as its owner sees it, over QUIC (Connection) or TLS
// (TlsConnection). How bytes get in and out is theirs. Resource type.

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/path_id.h>
#include <natt/time.h>

#include "src/http/http_session.h"

namespace natt::tunnel {

struct Established {
  Identity peer;
  CertificateSerial serial;
  PathId path;  // none over TLS
};
struct HandshakeConfirmed {};
struct PathSwitched {
  PathId path;
};
struct PathRefused {
  PathId path;
};
struct Ended {
  Error error;
};
using TransportEvent = std::variant<Established, HandshakeConfirmed, PathSwitched, PathRefused, Ended>;
using ConnectionEvent = std::variant<TransportEvent, StreamEvent>;

class TunnelConnection {
 public:
  TunnelConnection() = default;
  virtual ~TunnelConnection() = default;
  TunnelConnection(const TunnelConnection&) = delete;
  TunnelConnection& operator=(const TunnelConnection&) = delete;

  virtual void handle_timeout(Instant now) = 0;
  [[nodiscard]] virtual std::optional<Instant> next_deadline() const = 0;
  // Stream events come before the end of the connection, so that what was received is not lost.
  [[nodiscard]] std::optional<ConnectionEvent> poll_event();
  [[nodiscard]] bool has_events() const { return !events_.empty() || http().has_events(); }

  // As TransportOptions::keep_alive, from now on.
  virtual void set_keep_alive(Duration interval) = 0;
  // Tells the peer `reason` and an HTTP/3 error code (RFC 9114 section 8.1), or what HTTP/2 calls the same, and ends
  // with `why`.
  virtual void close_with(Instant now, std::uint64_t http_error, std::string_view reason, Error why) = 0;
  // Without an error.
  void close(Instant now, std::string_view reason, Error why);

  [[nodiscard]] virtual bool is_alive() const = 0;
  // Alive, and the peer has proved by its certificate who it is. Before that a server has the door's word for it.
  [[nodiscard]] virtual bool is_established() const = 0;
  // Nothing is left to do and nobody left to tell.
  [[nodiscard]] virtual bool is_over() const = 0;
  [[nodiscard]] virtual HttpSession& http() = 0;
  [[nodiscard]] virtual const HttpSession& http() const = 0;
  [[nodiscard]] virtual Instant last_heard() const = 0;
  // Requests taken back before they were answered, since the last call.
  [[nodiscard]] virtual std::uint32_t take_early_resets() = 0;
  [[nodiscard]] virtual DatagramResult send_datagram(StreamId stream, ByteView payload) = 0;
  [[nodiscard]] virtual ConnectionStats stats() const = 0;

 protected:
  void tell(TransportEvent event) { events_.push_back(std::move(event)); }
  void tell_end(Error why);
  [[nodiscard]] bool has_told_all() const { return events_.empty(); }

 private:
  std::deque<TransportEvent> events_;  // one per handshake step and path: bounded by the peer's connection ids
};

}  // namespace natt::tunnel
