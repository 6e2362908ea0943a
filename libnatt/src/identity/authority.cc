// SPDX-License-Identifier: Apache-2.0
#include <natt/authority.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>

#include <natt/errc.h>

#include "src/identity/certificate_builder.h"
#include "src/identity/roster_wire.h"
#include "src/identity/x509_reader.h"

namespace natt {

struct Authority::Impl {
  SiteCa ca;
  bssl::UniquePtr<EVP_PKEY> key;
  Random& random;
};

Authority::Authority(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Authority::~Authority() = default;

Result<std::unique_ptr<Authority>> Authority::create(std::string site, WallTime wall_now, Random& random) {
  if (!is_valid_name(site)) return fail(Errc::kMalformed, "a site's name is 1 to 63 of a-z, 0-9 and '-'");
  auto key = make_p256_key(random);
  const CertificateRequest request{.common_name = site,
                                   .subject_alt_name = "URI:spiffe://" + site,
                                   .not_before = wall_now - kCertificateBackdating,
                                   .not_after = wall_now + kCaLifetime,
                                   .is_ca = true};
  const X509Handle certificate = key ? build_certificate(request, key.get(), nullptr, key.get(), random) : nullptr;
  if (!certificate) return fail(Errc::kCrypto, "the TLS library could not make the CA certificate");
  auto ca = SiteCa::from_der(certificate_to_der(certificate.get()));
  if (!ca) return tl::unexpected<Error>(ca.error());
  return std::unique_ptr<Authority>(
      new Authority(std::unique_ptr<Impl>(new Impl{std::move(*ca), std::move(key), random})));
}

Result<std::unique_ptr<Authority>> Authority::from_pem(std::string_view pem, Random& random) {
  auto ca = SiteCa::from_pem(pem);
  if (!ca) return tl::unexpected<Error>(ca.error());
  auto key = read_private_key_pem(pem);
  if (!key) return fail(Errc::kMalformed, "the CA's private key is not an unencrypted PEM private key");
  const bool matches = X509_check_private_key(ca->native(), key.get()) == 1;
  ERR_clear_error();
  if (!matches) return fail(Errc::kMalformed, "the CA's private key is not the one of its certificate");
  return std::unique_ptr<Authority>(
      new Authority(std::unique_ptr<Impl>(new Impl{std::move(*ca), std::move(key), random})));
}

std::string Authority::to_pem() const { return certificate_pem() + private_key_to_pem(impl_->key.get()); }
std::string Authority::certificate_pem() const { return impl_->ca.to_pem(); }
const SiteCa& Authority::certificate() const { return impl_->ca; }
const std::string& Authority::site() const { return impl_->ca.site(); }

Result<IssuedCertificate> Authority::issue(const Identity& identity, WallTime wall_now,
                                           std::chrono::milliseconds lifetime) {
  if (identity.site != site() || !Identity::parse(identity.uri())) {
    return fail(Errc::kWrongIdentity, fmt::format("the CA of site {} cannot issue for {}", site(), identity.uri()));
  }
  const auto ca_end = time_of(X509_get0_notAfter(impl_->ca.native()));
  if (!ca_end || *ca_end <= wall_now) return fail(Errc::kExpired, "the CA's own certificate has expired");
  const CertificateRequest request{.common_name = identity.name,
                                   .subject_alt_name = "URI:" + identity.uri(),
                                   .not_before = wall_now - kCertificateBackdating,
                                   .not_after = std::min(*ca_end, wall_now + lifetime)};
  const auto key = make_p256_key(impl_->random);
  const X509Handle certificate =
      key ? build_certificate(request, key.get(), impl_->ca.native(), impl_->key.get(), impl_->random) : nullptr;
  if (!certificate) return fail(Errc::kCrypto, "the TLS library could not make the certificate");
  const auto serial = serial_of(certificate.get());
  const auto not_after = time_of(X509_get0_notAfter(certificate.get()));
  if (!serial || !not_after) return fail(Errc::kCrypto, "the certificate just made cannot be read");
  return IssuedCertificate{identity, *serial, *not_after, certificate_to_pem(certificate.get()),
                           private_key_to_pem(key.get())};
}

Result<SignedRoster> Authority::sign_roster(const Roster& roster) const {
  if (roster.site != site()) return fail(Errc::kWrongIdentity, "the roster is of another site than the CA");
  Roster ordered = roster;
  if (const auto normal = normalize(ordered); !normal) return tl::unexpected<Error>(normal.error());
  SignedRoster out;
  for (const RosterView view : {RosterView::kFull, RosterView::kClient}) {
    const ByteBuffer body = serialize_roster_body(ordered, view);
    const auto signature = sign_p256(impl_->key.get(), roster_signing_input(body));
    if (!signature) return fail(Errc::kCrypto, "the TLS library could not sign the roster");
    (view == RosterView::kFull ? out.full : out.client) = serialize_roster_document(body, *signature);
  }
  if (out.full.size() > SignedRoster::kMaxDocumentSize) return fail(Errc::kLimit, "the roster is too large");
  return out;
}

}  // namespace natt
