// SPDX-License-Identifier: Apache-2.0
#pragma once

// Certificates of a site and what makes one acceptable. A site has one CA that
// issues every device certificate directly; a device certificate is ECDSA P-256,
// carries exactly one subject alternative name and that is the device's SPIFFE URI.
// Nothing else in it (subject, serial, address) says who the device is.
//
// Value types (copying shares the immutable parsed certificate). Not thread-safe.
//
//   auto peer = PeerCertificate::verify(der, credentials.site_ca(), expectation, wall_now);
//   if (!peer) log(peer.error().message);       // "the certificate was issued by another CA"
//   if (roster.is_revoked(peer->serial())) ...  // revocation is the caller's next question

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <natt/bytes.h>
#include <natt/error.h>
#include <natt/identity.h>
#include <natt/time.h>
#include <natt/tls_context.h>

struct x509_st;

namespace natt {

// The serial number of a certificate, big endian, filled with zeros on the left.
// The site CA draws 16 random octets (RFC 5280 section 4.1.2.2 allows up to 20;
// ours never need more, and a longer one is refused).
struct CertificateSerial {
  std::array<std::uint8_t, 16> octets{};
  [[nodiscard]] std::string to_string() const;  // 32 hex digits
  friend auto operator<=>(const CertificateSerial&, const CertificateSerial&) = default;
};

struct X509Release {
  void operator()(x509_st* certificate) const noexcept;
};
using X509Handle = std::unique_ptr<x509_st, X509Release>;

// The certificate of a site's CA: the only trust anchor there is.
class SiteCa {
 public:
  // One self-signed CA certificate whose only SAN is `spiffe://<site>`.
  // kMalformed when it is anything else, kUntrusted when its signature does not verify.
  [[nodiscard]] static Result<SiteCa> from_pem(std::string_view pem);
  [[nodiscard]] static Result<SiteCa> from_der(ByteView der);

  SiteCa(const SiteCa& other);
  SiteCa& operator=(const SiteCa& other);
  SiteCa(SiteCa&&) noexcept = default;
  SiteCa& operator=(SiteCa&&) noexcept = default;
  ~SiteCa() = default;

  [[nodiscard]] const std::string& site() const { return site_; }
  [[nodiscard]] std::string to_pem() const;
  // True when the CA's key made `signature` (ECDSA P-256 with SHA-256, DER) over `message`.
  [[nodiscard]] bool verify(ByteView message, ByteView signature) const;
  // Valid as long as this object.
  [[nodiscard]] x509_st* native() const { return certificate_.get(); }

 private:
  SiteCa(X509Handle certificate, std::string site);
  X509Handle certificate_;
  std::string site_;
};

// A device certificate that was verified.
class PeerCertificate {
 public:
  // Certificates of this project are about 500 octets; one of more than this is malformed.
  static constexpr std::size_t kMaxDerSize = 4096;

  // Errors: kMalformed (not a certificate of this project's shape, two SANs, no SPIFFE
  // URI), kUntrusted (another CA, bad signature), kExpired (also: not yet valid),
  // kWrongIdentity (wrong site, role or name). The message is the sentence for the log.
  [[nodiscard]] static Result<PeerCertificate> verify(ByteView der, const SiteCa& ca,
                                                      const PeerExpectation& expectation, WallTime wall_now);

  PeerCertificate(const PeerCertificate& other);
  PeerCertificate& operator=(const PeerCertificate& other);
  PeerCertificate(PeerCertificate&&) noexcept = default;
  PeerCertificate& operator=(PeerCertificate&&) noexcept = default;
  ~PeerCertificate() = default;

  [[nodiscard]] const Identity& identity() const { return identity_; }
  [[nodiscard]] const CertificateSerial& serial() const { return serial_; }
  [[nodiscard]] WallTime not_after() const { return not_after_; }
  // True when the certificate's key made `signature` (ECDSA P-256 with SHA-256, DER) over `message`.
  [[nodiscard]] bool verify_signature(ByteView message, ByteView signature) const;

 private:
  PeerCertificate(X509Handle certificate, Identity identity, CertificateSerial serial, WallTime not_after);
  X509Handle certificate_;
  Identity identity_;
  CertificateSerial serial_;
  WallTime not_after_;
};

// After a completed handshake on an SSL object made from a TlsContext: which certificate the peer
// showed, so that the roster can be asked whether it is revoked. Nothing before that.
[[nodiscard]] std::optional<CertificateSerial> peer_serial(const ssl_st* ssl);

}  // namespace natt
