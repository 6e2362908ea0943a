// SPDX-License-Identifier: Apache-2.0
#include <natt/certificate.h>

#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <natt/errc.h>

#include "src/identity/device_certificate.h"
#include "src/identity/x509_reader.h"

namespace natt {
namespace {

constexpr std::string_view kSpiffeScheme = "spiffe://";

// For messages about a certificate that is not accepted: its name as it claims to be.
std::string claimed_name(X509* certificate) {
  const auto uri = only_uri_san(certificate);
  const auto identity = uri ? Identity::parse(*uri) : std::nullopt;
  return identity ? identity->uri() : "a device without a SPIFFE identity";
}

std::string validity_text(const ASN1_TIME* time) {
  const auto value = time_of(time);
  return value ? utc_text(*value) : "an unreadable time";
}

Error expired(X509* certificate, int depth) {
  if (depth > 0) return {Errc::kExpired, "the certificate of the site's CA has expired"};
  return {Errc::kExpired, fmt::format("the certificate of {} expired at {}", claimed_name(certificate),
                                      validity_text(X509_get0_notAfter(certificate)))};
}

Error not_yet_valid(X509* certificate, int depth) {
  if (depth > 0) return {Errc::kExpired, "the certificate of the site's CA is not yet valid: check the clock"};
  return {Errc::kExpired, fmt::format("the certificate of {} is not valid before {}: check the clock",
                                      claimed_name(certificate), validity_text(X509_get0_notBefore(certificate)))};
}

Error chain_error(X509* certificate, const SiteCa& ca, int code, int depth) {
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED: return expired(certificate, depth);
    case X509_V_ERR_CERT_NOT_YET_VALID: return not_yet_valid(certificate, depth);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return {Errc::kUntrusted, fmt::format("the certificate of {} was issued by another CA than that of site {}",
                                            claimed_name(certificate), ca.site())};
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return {Errc::kUntrusted,
              fmt::format("the certificate was not signed by the CA of site {} whose name it carries", ca.site())};
    default:
      return {Errc::kUntrusted, fmt::format("the certificate is not acceptable: {}",
                                            X509_verify_cert_error_string(static_cast<long>(code)))};
  }
}

// A device certificate is issued by the CA directly: no intermediates are offered to the search.
Result<void> verify_chain(X509* certificate, const SiteCa& ca, std::optional<WallTime> at) {
  const bssl::UniquePtr<X509_STORE> store(X509_STORE_new());
  const bssl::UniquePtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
  if (!store || !context || X509_STORE_add_cert(store.get(), ca.native()) != 1 ||
      X509_STORE_CTX_init(context.get(), store.get(), certificate, nullptr) != 1) {
    return fail(Errc::kCrypto, "the TLS library could not set up certificate verification");
  }
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  if (at) {
    const auto seconds = std::chrono::floor<std::chrono::seconds>(at->time_since_epoch()).count();
    X509_VERIFY_PARAM_set_time_posix(parameters, seconds);
  } else {
    X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_NO_CHECK_TIME);
  }
  const bool good = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  if (good) return {};
  return tl::unexpected<Error>(chain_error(certificate, ca, X509_STORE_CTX_get_error(context.get()),
                                           X509_STORE_CTX_get_error_depth(context.get())));
}

bool is_ca(X509* certificate) { return (X509_get_extension_flags(certificate) & EXFLAG_CA) != 0; }

Result<Identity> device_identity(X509* certificate) {
  if (is_ca(certificate)) return fail(Errc::kMalformed, "the certificate is a CA's, not a device's");
  if (!is_p256(public_key_of(certificate).get())) {
    return fail(Errc::kMalformed, "the certificate's key is not ECDSA P-256");
  }
  const auto uri = only_uri_san(certificate);
  if (!uri) return fail(Errc::kMalformed, "the certificate does not have exactly one subject alternative name, a URI");
  auto identity = Identity::parse(*uri);
  if (!identity) return fail(Errc::kMalformed, "the certificate's URI is not spiffe://<site>/<role>/<name>");
  return std::move(*identity);
}

}  // namespace

void X509Release::operator()(X509* certificate) const noexcept { X509_free(certificate); }

std::string CertificateSerial::to_string() const {
  return fmt::format("{:02x}", fmt::join(octets.begin(), octets.end(), ""));
}

Result<DeviceCertificate> read_device_certificate(X509* certificate, const SiteCa& ca, std::optional<WallTime> at) {
  if (const auto chain = verify_chain(certificate, ca, at); !chain) return tl::unexpected<Error>(chain.error());
  auto identity = device_identity(certificate);
  if (!identity) return tl::unexpected<Error>(identity.error());
  if (identity->site != ca.site()) {
    return fail(Errc::kWrongIdentity, fmt::format("wrong site: the certificate says {}, its CA is that of site {}",
                                                  identity->uri(), ca.site()));
  }
  const auto serial = serial_of(certificate);
  const auto not_before = time_of(X509_get0_notBefore(certificate));
  const auto not_after = time_of(X509_get0_notAfter(certificate));
  if (!serial || !not_before || !not_after) {
    return fail(Errc::kMalformed, "the certificate's serial number or validity cannot be read");
  }
  return DeviceCertificate{std::move(*identity), *serial, *not_before, *not_after};
}

Result<void> check_expectation(const Identity& identity, const PeerExpectation& expectation) {
  const std::string& site = expectation.identity ? expectation.identity->site : expectation.site;
  const Role role = expectation.identity ? expectation.identity->role : expectation.role;
  if (identity.site != site) {
    return fail(Errc::kWrongIdentity, fmt::format("wrong site: expected {}, the peer is {}", site, identity.uri()));
  }
  if (identity.role != role) {
    return fail(Errc::kWrongIdentity,
                fmt::format("wrong role: expected a {}, the peer is {}", to_string(role), identity.uri()));
  }
  if (expectation.identity && identity != *expectation.identity) {
    return fail(Errc::kWrongIdentity, fmt::format("wrong identity: expected {}, the peer is {}",
                                                  expectation.identity->uri(), identity.uri()));
  }
  return {};
}

SiteCa::SiteCa(X509Handle certificate, std::string site)
    : certificate_(std::move(certificate)), site_(std::move(site)) {}
SiteCa::SiteCa(const SiteCa& other) : certificate_(share(other.native())), site_(other.site_) {}
SiteCa& SiteCa::operator=(const SiteCa& other) {
  *this = SiteCa(other);
  return *this;
}

Result<SiteCa> SiteCa::from_der(ByteView der) {
  X509Handle certificate = parse_certificate_der(der);
  if (!certificate) return fail(Errc::kMalformed, "the CA certificate cannot be read");
  const auto uri = only_uri_san(certificate.get());
  const std::string site = uri && uri->starts_with(kSpiffeScheme) ? uri->substr(kSpiffeScheme.size()) : std::string();
  const auto key = public_key_of(certificate.get());
  if (!is_ca(certificate.get()) || !is_valid_name(site) || !is_p256(key.get())) {
    return fail(Errc::kMalformed,
                "the certificate is not that of a site's CA: an ECDSA P-256 CA named spiffe://<site>");
  }
  const bool self_signed = X509_verify(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!self_signed) return fail(Errc::kUntrusted, "the CA certificate's own signature does not verify");
  return SiteCa(std::move(certificate), site);
}

Result<SiteCa> SiteCa::from_pem(std::string_view pem) {
  const X509Handle certificate = read_certificate_pem(pem);
  if (!certificate) return fail(Errc::kMalformed, "the CA certificate is not a PEM certificate");
  return from_der(certificate_to_der(certificate.get()));
}

std::string SiteCa::to_pem() const { return certificate_to_pem(certificate_.get()); }

bool SiteCa::verify(ByteView message, ByteView signature) const {
  return verify_p256(public_key_of(certificate_.get()).get(), message, signature);
}

PeerCertificate::PeerCertificate(X509Handle certificate, Identity identity, CertificateSerial serial,
                                 WallTime not_after)
    : certificate_(std::move(certificate)), identity_(std::move(identity)), serial_(serial), not_after_(not_after) {}
PeerCertificate::PeerCertificate(const PeerCertificate& other)
    : certificate_(share(other.certificate_.get())),
      identity_(other.identity_),
      serial_(other.serial_),
      not_after_(other.not_after_) {}
PeerCertificate& PeerCertificate::operator=(const PeerCertificate& other) {
  *this = PeerCertificate(other);
  return *this;
}

Result<PeerCertificate> PeerCertificate::verify(ByteView der, const SiteCa& ca, const PeerExpectation& expectation,
                                                WallTime wall_now) {
  X509Handle certificate = parse_certificate_der(der);
  if (!certificate) return fail(Errc::kMalformed, "the certificate cannot be read");
  auto device = read_device_certificate(certificate.get(), ca, wall_now);
  if (!device) return tl::unexpected<Error>(device.error());
  if (const auto expected = check_expectation(device->identity, expectation); !expected) {
    return tl::unexpected<Error>(expected.error());
  }
  return PeerCertificate(std::move(certificate), std::move(device->identity), device->serial, device->not_after);
}

bool PeerCertificate::verify_signature(ByteView message, ByteView signature) const {
  return verify_p256(public_key_of(certificate_.get()).get(), message, signature);
}

}  // namespace natt
