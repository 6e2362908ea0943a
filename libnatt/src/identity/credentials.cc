// SPDX-License-Identifier: Apache-2.0
#include <natt/credentials.h>

#include <utility>

#include <openssl/err.h>

#include <natt/errc.h>

#include "src/identity/device_certificate.h"
#include "src/identity/x509_reader.h"

namespace natt {

struct Credentials::Impl {
  X509Handle certificate;
  bssl::UniquePtr<EVP_PKEY> key;
  SiteCa ca;
  DeviceCertificate facts;
  ByteBuffer der;
};

Credentials::Credentials(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Credentials::Credentials(Credentials&&) noexcept = default;
Credentials& Credentials::operator=(Credentials&&) noexcept = default;
Credentials::~Credentials() = default;

Credentials::Credentials(const Credentials& other)
    : impl_(new Impl{share(other.impl_->certificate.get()), bssl::UpRef(other.impl_->key), other.impl_->ca,
                     other.impl_->facts, other.impl_->der}) {}
Credentials& Credentials::operator=(const Credentials& other) {
  *this = Credentials(other);
  return *this;
}

Result<Credentials> Credentials::from_pem(std::string_view certificate_pem, std::string_view key_pem,
                                          std::string_view ca_pem) {
  auto ca = SiteCa::from_pem(ca_pem);
  if (!ca) return tl::unexpected<Error>(ca.error());
  X509Handle certificate = read_certificate_pem(certificate_pem);
  if (!certificate) return fail(Errc::kMalformed, "the device certificate is not a PEM certificate");
  auto key = read_private_key_pem(key_pem);
  if (!key) return fail(Errc::kMalformed, "the private key is not an unencrypted PEM private key");
  auto facts = read_device_certificate(certificate.get(), *ca, std::nullopt);
  if (!facts) return tl::unexpected<Error>(facts.error());
  const bool matches = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!matches) return fail(Errc::kMalformed, "the private key is not the one of the certificate");
  ByteBuffer der = certificate_to_der(certificate.get());
  return Credentials(std::unique_ptr<Impl>(
      new Impl{std::move(certificate), std::move(key), std::move(*ca), std::move(*facts), std::move(der)}));
}

const Identity& Credentials::identity() const { return impl_->facts.identity; }
const CertificateSerial& Credentials::serial() const { return impl_->facts.serial; }
WallTime Credentials::not_before() const { return impl_->facts.not_before; }
WallTime Credentials::not_after() const { return impl_->facts.not_after; }
const SiteCa& Credentials::site_ca() const { return impl_->ca; }
ByteView Credentials::certificate_der() const { return impl_->der; }
X509* Credentials::native_certificate() const { return impl_->certificate.get(); }
EVP_PKEY* Credentials::native_key() const { return impl_->key.get(); }

Result<ByteBuffer> Credentials::sign(ByteView message) const {
  auto signature = sign_p256(impl_->key.get(), message);
  if (!signature) return fail(Errc::kCrypto, "the TLS library could not sign");
  return std::move(*signature);
}

}  // namespace natt
