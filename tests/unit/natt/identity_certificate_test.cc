// SPDX-License-Identifier: Apache-2.0
#include <natt/certificate.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/errc.h>

#include "libnatt/src/identity/certificate_builder.h"
#include "libnatt/src/identity/x509_reader.h"
#include "support/test_pki.h"

using namespace natt;
using natt::test::kTestNow;
using natt::test::TestPki;

namespace {

// A certificate of the site's CA whose contents the authority would never write.
ByteBuffer odd_certificate(TestPki& site, const std::string& subject_alt_name, bool is_ca = false) {
  const auto ca_key = read_private_key_pem(site.authority().to_pem());
  const auto key = make_p256_key(site.random());
  const CertificateRequest request{.common_name = "odd",
                                   .subject_alt_name = subject_alt_name,
                                   .not_before = kTestNow,
                                   .not_after = kTestNow + std::chrono::hours(1),
                                   .is_ca = is_ca};
  const auto certificate = build_certificate(request, key.get(), site.ca().native(), ca_key.get(), site.random());
  REQUIRE(certificate);
  return certificate_to_der(certificate.get());
}

PeerExpectation expect_role(const std::string& site, Role role) { return {.site = site, .role = role, .identity = {}}; }

}  // namespace

TEST_CASE("certificate: a device of the site is accepted and named", "[natt][identity]") {
  TestPki site;
  const Credentials& alice = site.credentials(Role::kClient, "alice");

  const auto peer =
      PeerCertificate::verify(alice.certificate_der(), site.ca(), expect_role("hq", Role::kClient), kTestNow);

  REQUIRE(peer);
  CHECK(peer->identity() == Identity{"hq", Role::kClient, "alice"});
  CHECK(peer->serial() == alice.serial());
  CHECK(peer->not_after() == alice.not_after());
}

TEST_CASE("certificate: each reason for refusal has its own sentence", "[natt][identity]") {
  TestPki site;
  TestPki namesake("hq", 2);
  TestPki branch("branch", 3);
  const ByteBuffer good = ByteBuffer(site.credentials(Role::kClient, "alice").certificate_der().begin(),
                                     site.credentials(Role::kClient, "alice").certificate_der().end());
  struct Row {
    const char* name;
    ByteBuffer der;
    PeerExpectation expectation;
    WallTime at;
    Errc code;
    const char* sentence;
  };
  const auto der_of = [](TestPki& pki, const char* name) {
    const ByteView view = pki.credentials(Role::kClient, name).certificate_der();
    return ByteBuffer(view.begin(), view.end());
  };
  const PeerExpectation client = expect_role("hq", Role::kClient);
  const Credentials tomorrow =
      site.credentials_at(Role::kClient, "early", kTestNow + std::chrono::hours(24), kCertificateLifetime);
  const ByteBuffer made_tomorrow(tomorrow.certificate_der().begin(), tomorrow.certificate_der().end());
  const Row rows[] = {
      {"another CA of the same name", der_of(namesake, "alice"), client, kTestNow, Errc::kUntrusted, "another CA"},
      {"another site's CA", der_of(branch, "alice"), client, kTestNow, Errc::kUntrusted, "another CA"},
      {"two SANs", odd_certificate(site, "URI:spiffe://hq/client/alice,URI:spiffe://hq/client/bob"), client, kTestNow,
       Errc::kMalformed, "exactly one subject alternative name"},
      {"a DNS SAN", odd_certificate(site, "DNS:alice.hq"), client, kTestNow, Errc::kMalformed,
       "exactly one subject alternative name"},
      {"a URI and a DNS SAN", odd_certificate(site, "URI:spiffe://hq/client/alice,DNS:alice"), client, kTestNow,
       Errc::kMalformed, "exactly one subject alternative name"},
      {"not a SPIFFE URI", odd_certificate(site, "URI:https://hq/client/alice"), client, kTestNow, Errc::kMalformed,
       "spiffe://"},
      {"a fourth path segment", odd_certificate(site, "URI:spiffe://hq/client/alice/x"), client, kTestNow,
       Errc::kMalformed, "spiffe://"},
      {"another site's name from this CA", odd_certificate(site, "URI:spiffe://branch/client/alice"), client, kTestNow,
       Errc::kWrongIdentity, "wrong site"},
      {"a CA posing as a device", odd_certificate(site, "URI:spiffe://hq/client/alice", true), client, kTestNow,
       Errc::kMalformed, "a CA's"},
      {"wrong role", good, expect_role("hq", Role::kGateway), kTestNow, Errc::kWrongIdentity, "wrong role"},
      {"wrong site expected", good, expect_role("branch", Role::kClient), kTestNow, Errc::kWrongIdentity, "wrong site"},
      {"wrong name",
       good,
       {.site = "hq", .role = Role::kClient, .identity = Identity{"hq", Role::kClient, "bob"}},
       kTestNow,
       Errc::kWrongIdentity,
       "wrong identity"},
      {"expired", good, client, kTestNow + kCertificateLifetime + std::chrono::seconds(1), Errc::kExpired,
       "expired at 2027-11-23T00:00:00Z"},
      {"not yet valid", made_tomorrow, client, kTestNow, Errc::kExpired, "not valid before 2026-11-23T23:50:00Z"},
      {"not yet valid CA", good, client, kTestNow - kCertificateBackdating - std::chrono::seconds(1), Errc::kExpired,
       "CA is not yet valid"},
      {"expired CA", good, client, kTestNow + kCaLifetime + std::chrono::hours(1), Errc::kExpired, "expired"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);

    const auto peer = PeerCertificate::verify(row.der, site.ca(), row.expectation, row.at);

    REQUIRE_FALSE(peer);
    CHECK(peer.error().code == row.code);
    CAPTURE(peer.error().message);
    CHECK(peer.error().message.find(row.sentence) != std::string::npos);
  }
}

TEST_CASE("certificate: every truncation and every flipped bit is refused", "[natt][identity]") {
  TestPki site;
  const ByteView der = site.credentials(Role::kClient, "alice").certificate_der();
  const PeerExpectation client = expect_role("hq", Role::kClient);
  for (std::size_t size = 0; size < der.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(PeerCertificate::verify(der.first(size), site.ca(), client, kTestNow));
  }
  ByteBuffer longer(der.begin(), der.end());
  longer.push_back(0);
  CHECK_FALSE(PeerCertificate::verify(longer, site.ca(), client, kTestNow));
  ByteBuffer flipped(der.begin(), der.end());
  for (std::size_t bit = 0; bit < der.size() * 8; ++bit) {
    flipped[bit / 8] = static_cast<std::uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
    CAPTURE(bit);
    CHECK_FALSE(PeerCertificate::verify(flipped, site.ca(), client, kTestNow));
    flipped[bit / 8] = der[bit / 8];
  }
}

TEST_CASE("certificate: a signature counts for its message and its key only", "[natt][identity]") {
  TestPki site;
  const Credentials& alice = site.credentials(Role::kClient, "alice");
  const auto peer =
      PeerCertificate::verify(alice.certificate_der(), site.ca(), expect_role("hq", Role::kClient), kTestNow);
  const auto signature = alice.sign(as_bytes("hello"));
  const auto of_bob = site.credentials(Role::kClient, "bob").sign(as_bytes("hello"));
  REQUIRE((peer && signature && of_bob));

  CHECK(peer->verify_signature(as_bytes("hello"), *signature));
  CHECK_FALSE(peer->verify_signature(as_bytes("hallo"), *signature));
  CHECK_FALSE(peer->verify_signature(as_bytes("hello"), *of_bob));
  CHECK_FALSE(peer->verify_signature(as_bytes("hello"), {}));
}

TEST_CASE("certificate: a device's certificate is no site CA", "[natt][identity]") {
  TestPki site;

  CHECK(SiteCa::from_pem(site.authority().certificate_pem())->site() == "hq");
  CHECK_FALSE(SiteCa::from_pem(site.issue(Role::kClient, "alice").certificate_pem));
  CHECK_FALSE(SiteCa::from_pem(""));
  CHECK_FALSE(SiteCa::from_der({}));
  CHECK_FALSE(SiteCa::from_der(odd_certificate(site, "URI:spiffe://hq", true)));
}
