// SPDX-License-Identifier: Apache-2.0
#include <natt/credentials.h>

#include <catch2/catch_test_macros.hpp>

#include <natt/authority.h>
#include <natt/errc.h>

#include "support/test_pki.h"

using namespace natt;
using natt::test::kTestNow;
using natt::test::SeededRandom;
using natt::test::TestPki;

TEST_CASE("credentials: certificate, key and CA have to fit together", "[natt][identity]") {
  TestPki site;
  TestPki other("branch", 2);
  const std::string ca = site.authority().certificate_pem();
  const IssuedCertificate alice = site.issue(Role::kClient, "alice");
  const IssuedCertificate bob = site.issue(Role::kClient, "bob");

  const auto good = Credentials::from_pem(alice.certificate_pem, alice.key_pem, ca);

  REQUIRE(good);
  CHECK(good->identity() == alice.identity);
  CHECK(good->serial() == alice.serial);
  CHECK(good->not_after() == kTestNow + kCertificateLifetime);
  CHECK(good->site_ca().site() == "hq");
  CHECK(Credentials::from_pem(alice.certificate_pem, bob.key_pem, ca).error().code == Errc::kMalformed);
  CHECK(Credentials::from_pem(alice.certificate_pem, alice.key_pem, other.authority().certificate_pem()).error().code ==
        Errc::kUntrusted);
  CHECK_FALSE(Credentials::from_pem("", alice.key_pem, ca));
  CHECK_FALSE(Credentials::from_pem(alice.certificate_pem, "", ca));
  CHECK_FALSE(Credentials::from_pem(alice.certificate_pem, alice.key_pem, ""));
  CHECK_FALSE(Credentials::from_pem(ca, alice.key_pem, ca));
}

TEST_CASE("credentials: a copy works after the original is gone", "[natt][identity]") {
  TestPki site;
  auto original = std::make_unique<Credentials>(site.credentials(Role::kGateway, "gw1"));
  Credentials copy = *original;
  original.reset();

  const auto signature = copy.sign(as_bytes("message"));

  REQUIRE(signature);
  CHECK(copy.identity().name == "gw1");
  CHECK_FALSE(copy.certificate_der().empty());
}

TEST_CASE("credentials: expired ones load, so that the program can say so", "[natt][identity]") {
  TestPki site;

  const Credentials old = site.credentials_at(Role::kClient, "old", kTestNow, std::chrono::hours(1));

  CHECK(old.not_after() == kTestNow + std::chrono::hours(1));
}

TEST_CASE("authority: survives its PEM form and keeps issuing for the same site", "[natt][identity]") {
  TestPki site;
  SeededRandom random(7);

  const auto again = Authority::from_pem(site.authority().to_pem(), random);

  REQUIRE(again);
  const auto issued = (*again)->issue({"hq", Role::kBroker, "b1"}, kTestNow, kCertificateLifetime);
  REQUIRE(issued);
  CHECK(Credentials::from_pem(issued->certificate_pem, issued->key_pem, site.authority().certificate_pem()));
  CHECK_FALSE(Authority::from_pem(site.authority().certificate_pem(), random));
  TestPki other("hq", 9);
  CHECK_FALSE(Authority::from_pem(site.authority().certificate_pem() + other.authority().to_pem(), random));
}

TEST_CASE("authority: issues for its own site and for valid names only", "[natt][identity]") {
  TestPki site;
  Authority& authority = site.authority();

  CHECK_FALSE(authority.issue({"branch", Role::kClient, "alice"}, kTestNow, kCertificateLifetime));
  CHECK_FALSE(authority.issue({"hq", Role::kClient, "Alice"}, kTestNow, kCertificateLifetime));
  CHECK_FALSE(authority.issue({"hq", Role::kClient, "a,URI:spiffe://hq/broker/b1"}, kTestNow, kCertificateLifetime));
  CHECK_FALSE(authority.issue({"hq", Role::kClient, ""}, kTestNow, kCertificateLifetime));
  CHECK_FALSE(Authority::create("Not A Name", kTestNow, site.random()));
}

TEST_CASE("authority: a certificate does not outlive its CA", "[natt][identity]") {
  TestPki site;
  const WallTime late = kTestNow + kCaLifetime - std::chrono::hours(1);

  const auto issued = site.authority().issue({"hq", Role::kClient, "late"}, late, kCertificateLifetime);

  REQUIRE(issued);
  CHECK(issued->not_after == kTestNow + kCaLifetime);
  CHECK_FALSE(site.authority().issue({"hq", Role::kClient, "x"}, kTestNow + kCaLifetime, kCertificateLifetime));
}

TEST_CASE("authority: serial numbers and keys differ from certificate to certificate", "[natt][identity]") {
  TestPki site;

  const IssuedCertificate first = site.issue(Role::kClient, "alice");
  const IssuedCertificate second = site.issue(Role::kClient, "alice");

  CHECK(first.serial != second.serial);
  CHECK(first.key_pem != second.key_pem);
}
