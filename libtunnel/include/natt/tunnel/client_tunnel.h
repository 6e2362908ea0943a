// SPDX-License-Identifier: Apache-2.0
#pragma once

// A site tunnel as its client uses it once there is a way for its bytes: over QUIC and
// HTTP/3 (`Client`) or over TLS and HTTP/2 (`TlsClient`). What moves the bytes belongs to
// those two. Sans-I/O, one thread.

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <natt/certificate.h>
#include <natt/error.h>
#include <natt/path_id.h>
#include <natt/time.h>
#include <natt/tunnel/streams.h>

namespace natt::tunnel {

// TLS is complete and the gateway's identity is verified: streams can be opened. The gateway
// may still refuse this client's certificate.
struct Connected {
  Identity peer;
  // For the owner to ask the roster whether it is revoked.
  CertificateSerial serial;
};
// The gateway accepted this client: QUIC's handshake is confirmed (RFC 9001 section 4.1.2), or its first HTTP/2 frame
// came over TLS. The race is won, and Client::migrate() is allowed from here on.
struct Confirmed {};
// The answer to an open_*(): 2xx opens the stream; else it will be closed and `reason` says why.
struct Response {
  StreamId stream;
  int status = 0;
  std::string reason;
};
// QUIC only. A migrate() failed: the new path did not answer. After kUpgrade the old path is in use again;
// after kFailover the connection stays on the dead one until the next migrate().
struct PathFailed {
  PathId path;
};
// The connection is over; all its streams are dead without further events: nothing can be written, and what came before
// can still be peeked. kClosed when somebody asked for it, else
// what went wrong: kTimeout for a silent peer, and kIo for a TCP connection that broke or ended without a farewell.
struct ConnectionClosed {
  Error error;
};

using ClientEvent = std::variant<Connected, Confirmed, Response, Readable, Writable, Finished, StreamReset, StreamClosed,
                                 CapsuleReceived, PathChanged, PathFailed, ConnectionClosed>;

class ClientTunnel : public Streams {
 public:
  virtual void handle_timeout(Instant now) = 0;
  [[nodiscard]] virtual std::optional<Instant> next_deadline() const = 0;
  [[nodiscard]] virtual std::optional<ClientEvent> poll_event() = 0;

  // Streams are accepted by the gateway with Response. TCP bytes may be written before it
  // comes (they are lost when it is a refusal). kLimit when no more may be open at the moment; over TLS, open_udp()
  // and open_ip() are kLimit until Confirmed as well. kRefused when the gateway is shutting down.
  [[nodiscard]] virtual Result<StreamId> open_tcp(const Authority& target) = 0;
  [[nodiscard]] virtual Result<StreamId> open_udp(const Authority& target) = 0;
  [[nodiscard]] virtual Result<StreamId> open_ip() = 0;

  // Graceful: tells the gateway; ConnectionClosed follows. `reason` goes over the wire, encrypted.
  virtual void close(Instant now, std::string_view reason) = 0;
  [[nodiscard]] virtual bool is_closed() const = 0;
  [[nodiscard]] virtual ConnectionStats stats() const = 0;
};

}  // namespace natt::tunnel
