// SPDX-License-Identifier: Apache-2.0
#include "src/identity/x509_reader.h"

#include <chrono>
#include <ctime>

#include <fmt/chrono.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/digest.h>
#include <openssl/ec.h>
#include <openssl/ec_key.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/nid.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

namespace natt {
namespace {

// An encrypted key is refused; without this, the library would ask on the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

bssl::UniquePtr<BIO> view_of(std::string_view text) {
  return bssl::UniquePtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<ossl_ssize_t>(text.size())));
}

std::string text_in(BIO* bio) {
  const std::uint8_t* bytes = nullptr;
  std::size_t size = 0;
  if (BIO_mem_contents(bio, &bytes, &size) != 1) return {};
  return std::string(as_text({bytes, size}));
}

}  // namespace

X509Handle parse_certificate_der(ByteView der) {
  if (der.empty() || der.size() > PeerCertificate::kMaxDerSize) return nullptr;
  const std::uint8_t* at = der.data();
  X509Handle certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  ERR_clear_error();
  if (at != der.data() + der.size()) return nullptr;
  return certificate;
}

X509Handle read_certificate_pem(std::string_view pem) {
  const auto bio = view_of(pem);
  X509Handle certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  return certificate;
}

bssl::UniquePtr<EVP_PKEY> read_private_key_pem(std::string_view pem) {
  const auto bio = view_of(pem);
  bssl::UniquePtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  return key;
}

std::string certificate_to_pem(X509* certificate) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return text_in(bio.get());
}

std::string private_key_to_pem(EVP_PKEY* key) {
  const bssl::UniquePtr<BIO> bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  return text_in(bio.get());
}

ByteBuffer certificate_to_der(X509* certificate) {
  std::uint8_t* bytes = nullptr;
  const int size = i2d_X509(certificate, &bytes);
  if (size <= 0) return {};
  ByteBuffer der(bytes, bytes + size);
  OPENSSL_free(bytes);
  return der;
}

X509Handle share(X509* certificate) {
  X509_up_ref(certificate);
  return X509Handle(certificate);
}

bssl::UniquePtr<EVP_PKEY> public_key_of(X509* certificate) {
  bssl::UniquePtr<EVP_PKEY> key(X509_get_pubkey(certificate));
  ERR_clear_error();
  return key;
}

bool is_p256(const EVP_PKEY* key) {
  if (key == nullptr || EVP_PKEY_id(key) != EVP_PKEY_EC) return false;
  return EC_GROUP_get_curve_name(EC_KEY_get0_group(EVP_PKEY_get0_EC_KEY(key))) == NID_X9_62_prime256v1;
}

bool verify_p256(EVP_PKEY* key, ByteView message, ByteView signature) {
  bssl::ScopedEVP_MD_CTX context;
  const bool good =
      is_p256(key) && EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
      EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(), message.size()) == 1;
  ERR_clear_error();
  return good;
}

std::optional<ByteBuffer> sign_p256(EVP_PKEY* key, ByteView message) {
  bssl::ScopedEVP_MD_CTX context;
  std::size_t size = static_cast<std::size_t>(EVP_PKEY_size(key));
  ByteBuffer signature(size);
  const bool good = EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key) == 1 &&
                    EVP_DigestSign(context.get(), signature.data(), &size, message.data(), message.size()) == 1;
  ERR_clear_error();
  if (!good) return std::nullopt;
  signature.resize(size);
  return signature;
}

std::optional<std::string> only_uri_san(X509* certificate) {
  // Null also when the extension stands there twice.
  const bssl::UniquePtr<GENERAL_NAMES> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  if (!names || sk_GENERAL_NAME_num(names.get()) != 1) return std::nullopt;
  const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), 0);
  if (name->type != GEN_URI) return std::nullopt;
  const ASN1_IA5STRING* uri = name->d.uniformResourceIdentifier;
  const ByteView text(ASN1_STRING_get0_data(uri), static_cast<std::size_t>(ASN1_STRING_length(uri)));
  return std::string(as_text(text));
}

std::optional<CertificateSerial> serial_of(X509* certificate) {
  const bssl::UniquePtr<BIGNUM> number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  CertificateSerial serial;
  if (!number || BN_is_negative(number.get()) ||
      BN_bn2bin_padded(serial.octets.data(), serial.octets.size(), number.get()) != 1) {
    return std::nullopt;
  }
  return serial;
}

std::optional<WallTime> time_of(const ASN1_TIME* time) {
  std::int64_t seconds = 0;
  if (ASN1_TIME_to_posix(time, &seconds) != 1) return std::nullopt;
  return WallTime(std::chrono::seconds(seconds));
}

std::string utc_text(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time.time_since_epoch()).count();
  const std::time_t value = seconds;
  std::tm parts{};
  if (gmtime_r(&value, &parts) == nullptr) return std::to_string(seconds);
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", parts);
}

}  // namespace natt
