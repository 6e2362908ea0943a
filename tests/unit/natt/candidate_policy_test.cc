// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/candidate_policy.h>

namespace natt::test {
namespace {

using enum CandidateType;
using Verdict = CandidateVerdict;

IpAddress ip(std::string_view text) { return *IpAddress::parse(text); }
Candidate candidate(std::string_view address, CandidateType type) { return {*SocketAddress::parse(address), type, {}}; }

CandidatePolicy policy() {
  CandidatePolicy policy({.own_addresses = {ip("10.1.0.2"), ip("203.0.113.99")},
                          .broker_addresses = {ip("198.51.100.10")},
                          .private_prefixes = {*IpPrefix::parse("10.77.0.0/16")}});
  policy.set_public_addresses({ip("203.0.113.1")});
  return policy;
}

const PeerVouch kVouch{.seen = {ip("203.0.113.2"), ip("2001:db8::2")}, .configured = {ip("192.0.2.7")}};
const PeerVouch kSameNat{.seen = {ip("203.0.113.1")}, .configured = {}};

}  // namespace

TEST_CASE("candidate policy: a peer's candidates are judged one by one", "[natt][candidate]") {
  struct Row {
    const char* address;
    CandidateType type;
    Verdict verdict;
  };
  const Row row = GENERATE(values<Row>({
      {"203.0.113.2:4000", kServerReflexive, Verdict::kAllowed},
      {"203.0.113.2:5000", kHost, Verdict::kAllowed},
      {"[2001:db8::2]:4000", kHost, Verdict::kAllowed},
      {"192.0.2.7:443", kMapped, Verdict::kAllowed},
      {"203.0.113.3:4000", kServerReflexive, Verdict::kNotVouched},
      {"[2001:db8::3]:4000", kHost, Verdict::kNotVouched},
      {"8.8.8.8:53", kHost, Verdict::kNotVouched},
      {"203.0.113.2:0", kServerReflexive, Verdict::kUnusable},
      {"0.0.0.0:4000", kHost, Verdict::kUnusable},
      {"[::]:4000", kHost, Verdict::kUnusable},
      {"127.0.0.1:4000", kHost, Verdict::kUnusable},
      {"127.8.9.1:4000", kHost, Verdict::kUnusable},
      {"[::1]:4000", kHost, Verdict::kUnusable},
      {"[::ffff:127.0.0.1]:4000", kHost, Verdict::kUnusable},
      {"169.254.169.254:80", kHost, Verdict::kUnusable},
      {"[fe80::1]:4000", kHost, Verdict::kUnusable},
      {"224.0.0.251:5353", kHost, Verdict::kUnusable},
      {"[ff02::fb]:5353", kHost, Verdict::kUnusable},
      {"255.255.255.255:4000", kHost, Verdict::kUnusable},
      {"240.0.0.1:4000", kHost, Verdict::kUnusable},
      {"0.1.2.3:4000", kHost, Verdict::kUnusable},
      {"203.0.113.99:4000", kHost, Verdict::kOwnAddress},
      {"10.1.0.2:22", kHost, Verdict::kOwnAddress},
      {"198.51.100.10:443", kHost, Verdict::kBroker},
      {"10.1.0.3:4000", kHost, Verdict::kPrivateElsewhere},
      {"192.168.0.1:4000", kHost, Verdict::kPrivateElsewhere},
      {"100.64.0.1:4000", kHost, Verdict::kPrivateElsewhere},
      {"[fd00::1]:4000", kHost, Verdict::kPrivateElsewhere},
      {"10.77.3.4:4000", kHost, Verdict::kAllowed},
      {"203.0.113.2:4000", kRelay, Verdict::kRelayType},
  }));
  CAPTURE(row.address);

  CHECK(to_string(policy().check_remote(candidate(row.address, row.type), kVouch)) == to_string(row.verdict));
}

TEST_CASE("candidate policy: private candidates count between ends that share a public address", "[natt][candidate]") {
  CHECK(policy().check_remote(candidate("10.1.0.3:4000", kHost), kSameNat) == Verdict::kAllowed);
  CHECK(policy().check_remote(candidate("10.1.0.3:4000", kHost), kVouch) == Verdict::kPrivateElsewhere);
  CHECK(policy().check_remote(candidate("10.1.0.2:22", kHost), kSameNat) == Verdict::kOwnAddress);
  CHECK(policy().check_remote(candidate("127.0.0.1:22", kHost), kSameNat) == Verdict::kUnusable);
}

TEST_CASE("candidate policy: a broker inside the company vouches for the private addresses it saw",
          "[natt][candidate]") {
  CandidatePolicy inside;
  const PeerVouch seen{.seen = {ip("10.9.0.9")}, .configured = {}};

  CHECK(inside.check_remote(candidate("10.9.0.9:4000", kHost), seen) == Verdict::kPrivateElsewhere);
  inside.set_public_addresses({ip("10.8.0.8")});
  CHECK(inside.check_remote(candidate("10.9.0.9:4000", kHost), seen) == Verdict::kAllowed);
  CHECK(inside.check_remote(candidate("10.9.0.10:4000", kHost), seen) == Verdict::kPrivateElsewhere);
}

TEST_CASE("candidate policy: a check's public source needs no vouching, a private one does", "[natt][candidate]") {
  CHECK(policy().check_source(*SocketAddress::parse("192.0.2.200:9"), kVouch) == Verdict::kAllowed);
  CHECK(policy().check_source(*SocketAddress::parse("10.1.0.3:9"), kVouch) == Verdict::kPrivateElsewhere);
  CHECK(policy().check_source(*SocketAddress::parse("10.1.0.3:9"), kSameNat) == Verdict::kAllowed);
  CHECK(policy().check_source(*SocketAddress::parse("198.51.100.10:443"), kVouch) == Verdict::kBroker);
  CHECK(policy().check_source(*SocketAddress::parse("127.0.0.1:9"), kVouch) == Verdict::kUnusable);
  CHECK(policy().check_source(*SocketAddress::parse("203.0.113.99:9"), kVouch) == Verdict::kOwnAddress);
}

TEST_CASE("candidate policy: public candidates of ours are offered only when the broker saw them",
          "[natt][candidate]") {
  CHECK(policy().check_own(candidate("203.0.113.1:4000", kServerReflexive)) == Verdict::kAllowed);
  CHECK(policy().check_own(candidate("203.0.113.1:4001", kMapped)) == Verdict::kAllowed);
  CHECK(policy().check_own(candidate("203.0.113.9:4000", kHost)) == Verdict::kNotVouched);
  CHECK(policy().check_own(candidate("10.1.0.2:4000", kHost)) == Verdict::kAllowed);
  CHECK(policy().check_own(candidate("127.0.0.1:4000", kHost)) == Verdict::kUnusable);
  CHECK(policy().check_own(candidate("[fe80::1]:4000", kHost)) == Verdict::kUnusable);
  CHECK(policy().check_own(candidate("10.1.0.2:0", kHost)) == Verdict::kUnusable);
  CHECK(policy().check_own(candidate("198.51.100.10:443", kRelay)) == Verdict::kAllowed);
}

TEST_CASE("candidate policy: loopback opens only by its own option", "[natt][candidate]") {
  CandidatePolicy local({.own_addresses = {ip("127.0.0.1")}, .allow_loopback = true});

  CHECK(local.check_remote(candidate("127.0.0.1:4000", kHost), {}) == Verdict::kAllowed);
  CHECK(local.check_own(candidate("127.0.0.1:4000", kHost)) == Verdict::kAllowed);
  CHECK(local.check_remote(candidate("169.254.0.1:4000", kHost), {}) == Verdict::kUnusable);
}

}  // namespace natt::test
