// SPDX-License-Identifier: Apache-2.0
#pragma once

// TLS as this project uses it everywhere (signaling, relay over TCP, QUIC): TLS 1.3
// only (RFC 8446), mutual authentication, no resumption, no early data, no server
// name, peers verified by their SPIFFE identity against one site's CA.
//
// Resource type: one context per (own credentials, direction); connections made
// from it must not outlive it. Not thread-safe.

#include <memory>
#include <optional>
#include <string>

#include <natt/error.h>
#include <natt/identity.h>
#include <natt/time.h>

struct ssl_ctx_st;
struct ssl_st;

namespace natt {

class Credentials;

enum class TlsDirection : std::uint8_t { kClient, kServer };

// Whom a connection accepts as its peer. Checked during the handshake: chain to the
// site's CA, validity at `wall_now`, exactly one SAN which is a SPIFFE URI, and that
// URI equal to `identity` (or of `site` and `role` when no identity is named).
struct PeerExpectation {
  std::string site;
  Role role = Role::kGateway;
  std::optional<Identity> identity;
};

class TlsContext {
 public:
  // `credentials` is copied. Cipher suites and groups: AES-128-GCM first; groups
  // X25519Kyber768Draft00 where the library has it, then X25519, P-256.
  // `alpn` is empty for signaling, "h3" for the tunnel.
  [[nodiscard]] static Result<std::unique_ptr<TlsContext>> make(const Credentials& credentials, TlsDirection direction,
                                                                std::string alpn);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // For QUIC: libtunnel creates its own SSL objects from this. Never null.
  [[nodiscard]] ssl_ctx_st* native() const;

 private:
  struct Impl;
  explicit TlsContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Attaches what the handshake verifies the peer against. To be called once on an
// SSL object made from a TlsContext, before its handshake starts.
void expect_peer(ssl_st* ssl, const PeerExpectation& expectation, WallTime wall_now);

// After a completed handshake: who the peer is.
[[nodiscard]] Result<Identity> peer_identity(const ssl_st* ssl);

// After a failed handshake: why, as one sentence ("certificate of another CA",
// "wrong role: ..."), for the log. Consumes the thread's TLS error queue.
[[nodiscard]] Error handshake_error(const ssl_st* ssl);

}  // namespace natt
