// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <natt/candidate.h>

namespace natt::test {
namespace {

Candidate candidate(std::string_view address, CandidateType type) { return {*SocketAddress::parse(address), type, {}}; }

}  // namespace

TEST_CASE("candidate: LAN before direct before punched before relay, IPv6 first within one", "[natt][candidate]") {
  using enum CandidateType;
  const std::vector<Candidate> ranked = {candidate("[fd00::1]:1", kHost),
                                         candidate("10.0.0.1:1", kHost),
                                         candidate("[2001:db8::1]:1", kHost),
                                         candidate("203.0.113.1:1", kHost),
                                         candidate("203.0.113.1:1", kMapped),
                                         candidate("[2001:db8::1]:1", kPeerReflexive),
                                         candidate("203.0.113.1:1", kPeerReflexive),
                                         candidate("[2001:db8::1]:1", kServerReflexive),
                                         candidate("203.0.113.1:1", kServerReflexive),
                                         candidate("203.0.113.1:1", kRelay)};

  for (std::size_t i = 1; i < ranked.size(); ++i) {
    CAPTURE(i);
    CHECK(candidate_priority(ranked[i - 1]) > candidate_priority(ranked[i]));
    CHECK(path_kind(ranked[i - 1]) <= path_kind(ranked[i]));
  }
  // RFC 8445 section 5.1.2.1, worked by hand: 126 << 24 | 32767 << 8 | 255
  CHECK(candidate_priority(candidate("10.0.0.1:1", kHost)) == 0x7E7FFFFFU);
}

TEST_CASE("candidate: types and path kinds have names that parse back", "[natt][candidate]") {
  const auto type = GENERATE(CandidateType::kHost, CandidateType::kServerReflexive, CandidateType::kPeerReflexive,
                             CandidateType::kMapped, CandidateType::kRelay);

  CHECK(parse_candidate_type(to_string(type)) == type);
  CHECK_FALSE(parse_candidate_type("HOST"));
  CHECK_FALSE(parse_candidate_type(""));
  CHECK(to_string(PathKind::kPunched) == "punched");
}

}  // namespace natt::test
