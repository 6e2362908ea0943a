// SPDX-License-Identifier: Apache-2.0
#include "src/identity/certificate_builder.h"

#include <array>
#include <chrono>

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/nid.h>
#include <openssl/x509v3.h>

#include <natt/secret.h>

namespace natt {
namespace {

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const bssl::UniquePtr<X509_EXTENSION> extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// RFC 5280 section 4.1.2.2: positive, at least 64 bits from a generator; here 127.
bool set_serial(X509* certificate, Random& random) {
  std::array<std::uint8_t, 16> octets = random.bytes<16>();
  octets[0] = static_cast<std::uint8_t>((octets[0] & 0x7f) | 0x40);
  const bssl::UniquePtr<BIGNUM> number(BN_bin2bn(octets.data(), octets.size(), nullptr));
  const bssl::UniquePtr<ASN1_INTEGER> serial(BN_to_ASN1_INTEGER(number.get(), nullptr));
  return serial && X509_set_serialNumber(certificate, serial.get()) == 1;
}

bssl::UniquePtr<ASN1_TIME> to_asn1(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
  return bssl::UniquePtr<ASN1_TIME>(ASN1_TIME_set_posix(nullptr, seconds));
}

bool set_validity(X509* certificate, const CertificateRequest& request) {
  const auto not_before = to_asn1(request.not_before);
  const auto not_after = to_asn1(request.not_after);
  return not_before && not_after && X509_set1_notBefore(certificate, not_before.get()) == 1 &&
         X509_set1_notAfter(certificate, not_after.get()) == 1;
}

bool set_names(X509* certificate, const CertificateRequest& request, X509* issuer) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto name = as_bytes(request.common_name);
  return X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8, name.data(),
                                    static_cast<ossl_ssize_t>(name.size()), -1, 0) == 1 &&
         X509_set_issuer_name(certificate, issuer == certificate ? subject : X509_get_subject_name(issuer)) == 1;
}

bool add_extensions(X509* certificate, X509* issuer, const CertificateRequest& request) {
  const std::string constraints = request.is_ca ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE";
  // The CA's key also signs rosters, hence digitalSignature.
  const std::string usage = request.is_ca ? "critical,keyCertSign,digitalSignature" : "critical,digitalSignature";
  return add_extension(certificate, issuer, NID_basic_constraints, constraints) &&
         add_extension(certificate, issuer, NID_key_usage, usage) &&
         (request.is_ca || add_extension(certificate, issuer, NID_ext_key_usage, "serverAuth,clientAuth")) &&
         add_extension(certificate, issuer, NID_subject_key_identifier, "hash") &&
         (request.is_ca || add_extension(certificate, issuer, NID_authority_key_identifier, "keyid:always")) &&
         add_extension(certificate, issuer, NID_subject_alt_name, request.subject_alt_name);
}

}  // namespace

bssl::UniquePtr<EVP_PKEY> make_p256_key(Random& random) {
  Secret<32> seed;
  random.fill(seed.mutable_view());
  const bssl::UniquePtr<EC_GROUP> group(EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
  const bssl::UniquePtr<EC_KEY> ec(EC_KEY_derive_from_secret(group.get(), seed.data(), Secret<32>::kSize));
  bssl::UniquePtr<EVP_PKEY> key(EVP_PKEY_new());
  if (!ec || !key || EVP_PKEY_set1_EC_KEY(key.get(), ec.get()) != 1) return nullptr;
  return key;
}

X509Handle build_certificate(const CertificateRequest& request, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                             Random& random) {
  X509Handle certificate(X509_new());
  if (!certificate) return nullptr;
  X509* signer = issuer == nullptr ? certificate.get() : issuer;
  const bool good = X509_set_version(certificate.get(), X509_VERSION_3) == 1 && set_serial(certificate.get(), random) &&
                    set_names(certificate.get(), request, signer) && set_validity(certificate.get(), request) &&
                    X509_set_pubkey(certificate.get(), key) == 1 &&
                    add_extensions(certificate.get(), signer, request) &&
                    X509_sign(certificate.get(), issuer_key, EVP_sha256()) > 0;
  ERR_clear_error();
  return good ? std::move(certificate) : nullptr;
}

}  // namespace natt
