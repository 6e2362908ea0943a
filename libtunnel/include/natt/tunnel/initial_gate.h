// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who may start a handshake at all. The server asks before any QUIC or TLS object exists, so
// a stranger costs one call here and gets no answer. Implemented by the composition over
// libspa's verifier and the roster.

#include <cstdint>
#include <optional>

#include <natt/bytes.h>
#include <natt/identity.h>
#include <natt/path_id.h>
#include <natt/time.h>
#include <natt/tls_context.h>

namespace natt::tunnel {

// Of the invariant header of a QUIC Initial; views live during the call.
struct InitialInfo {
  std::uint32_t version = 0;
  ByteView dcid;
  ByteView scid;
  // Exactly 64 octets: the SPA frame.
  ByteView token;
};

struct Admission {
  // Whose SPA frame it was.
  Identity identity;
  // What the TLS handshake will check; its `identity` has to be the one above, so that SPA
  // identity and certificate identity agree.
  PeerExpectation expectation;
  // What the certificate's validity is checked against.
  WallTime wall_now{};
  // For callers that create a PathId only now that the packet has proved itself, having called
  // handle_packet() with none: the path this packet came on. Otherwise not needed.
  PathId path;
};

class InitialGate {
 public:
  virtual ~InitialGate() = default;
  // `path` is what handle_packet() was given. Nothing: silence. Called again for a copy of the same Initial (same token, ids and path)
  // that comes before the connection exists, and for the further packets of a long ClientHello
  // that come out of order: those have to be admitted again.
  [[nodiscard]] virtual std::optional<Admission> admit(Instant now, const InitialInfo& initial, PathId path) = 0;
};

}  // namespace natt::tunnel
