// SPDX-License-Identifier: Apache-2.0
#include <natt/knock_diagnosis.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <set>

using namespace natt;
using namespace std::chrono_literals;
using Tcp = SilenceEvidence::Tcp;

namespace {

SilenceEvidence evidence(Tcp tcp = Tcp::kNoAnswer) {
  return {.broker = {"hq", Role::kBroker, "b1"},
          .address = *SocketAddress::parse("198.51.100.10:443"),
          .tcp = tcp,
          .own_generation = std::uint16_t{2},
          .listed_generations = std::vector<std::uint16_t>{1, 2},
          .clock_error = 30s,
          .tcp_source = IpAddress::parse("192.0.2.20"),
          .udp_source = IpAddress::parse("192.0.2.20")};
}

bool says(const SilenceDiagnosis& diagnosis, std::string_view words) {
  return diagnosis.sentence.find(words) != std::string::npos;
}

// What the tests outside and an operator look for.
bool names_override(const SilenceDiagnosis& diagnosis) {
  return says(diagnosis, "set [spa] mode = \"tcp\" on that broker");
}

}  // namespace

TEST_CASE("diagnosis: every sentence names the broker and is one line", "[natt][door]") {
  const Tcp tcp = GENERATE(Tcp::kNoAnswer, Tcp::kConnected, Tcp::kClosed, Tcp::kRefused, Tcp::kUnreachable);
  const SpaMode mode = GENERATE(SpaMode::kTcp, SpaMode::kUdpTcp);
  SilenceEvidence seen = evidence(tcp);
  seen.mode = mode;
  const SilenceDiagnosis diagnosis = diagnose_silence(seen);
  CAPTURE(diagnosis.sentence);
  CHECK(diagnosis.sentence.starts_with("broker b1 at 198.51.100.10:443 "));
  CHECK_FALSE(says(diagnosis, "\n"));
  CHECK(diagnosis.sentence.size() < 400);
  // Whatever else it may be, in mode tcp it is not UDP.
  if (mode == SpaMode::kTcp) CHECK_FALSE(says(diagnosis, "UDP"));
}

TEST_CASE("diagnosis: what TCP did says the most when it is an error", "[natt][door]") {
  CHECK(diagnose_silence(evidence(Tcp::kRefused)).cause == SilenceCause::kRefused);
  CHECK(diagnose_silence(evidence(Tcp::kUnreachable)).cause == SilenceCause::kUnreachable);
  CHECK(diagnose_silence(evidence(Tcp::kClosed)).cause == SilenceCause::kClosed);
}

TEST_CASE("diagnosis: a key generation that the roster does not list", "[natt][door]") {
  SilenceEvidence seen = evidence();
  seen.listed_generations = {3, 4};
  const SilenceDiagnosis diagnosis = diagnose_silence(seen);
  CHECK(diagnosis.cause == SilenceCause::kKeyGeneration);
  CHECK(says(diagnosis, "generation 2"));
  CHECK(says(diagnosis, "lists 3, 4"));
  seen.own_generation.reset();
  CHECK(diagnose_silence(seen).cause == SilenceCause::kSilent);
  seen.listed_generations->clear();
  CHECK(diagnose_silence(seen).cause == SilenceCause::kNotInRoster);
}

TEST_CASE("diagnosis: the clock, in the direction it is off, and not below what a knock may be off", "[natt][door]") {
  SilenceEvidence seen = evidence();
  seen.clock_error = 60s;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kSilent);
  seen.clock_error = 61s;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kClockSkew);
  CHECK(says(diagnose_silence(seen), "61 s behind"));
  seen.clock_error = -3601s;
  CHECK(says(diagnose_silence(seen), "3601 s ahead"));
  seen.clock_error.reset();
  CHECK(diagnose_silence(seen).cause == SilenceCause::kSilent);
}

TEST_CASE("diagnosis: a key that this device has itself replaced in use", "[natt][door]") {
  SilenceEvidence seen = evidence();
  seen.own_generation = std::uint16_t{2};
  seen.newest_used = 2;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kSilent);
  seen.newest_used = 3;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kKeyGeneration);
  CHECK(says(diagnose_silence(seen), "retired when generation 3 was used"));
  seen.own_generation.reset();
  CHECK(diagnose_silence(seen).cause == SilenceCause::kSilent);
}

TEST_CASE("diagnosis: a clock that is past the device's certificate, for brokers say so where it is right",
          "[natt][door]") {
  SilenceEvidence seen = evidence();
  seen.past_certificate = std::chrono::hours(24 * 3285);
  CHECK(diagnose_silence(seen).cause == SilenceCause::kClockSkew);
  CHECK(says(diagnose_silence(seen), "3285 days ago"));
  CHECK(says(diagnose_silence(seen), "set it"));
  // What is known for certain comes first.
  seen.clock_error = -3600s;
  CHECK(says(diagnose_silence(seen), "3600 s ahead"));
  seen.tcp = Tcp::kRefused;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kRefused);
}

TEST_CASE("diagnosis: where nothing is known, an old copy of the device's file is among the causes", "[natt][door]") {
  SilenceEvidence seen = evidence();
  CHECK(says(diagnose_silence(seen), "an older copy"));
  seen.mode = SpaMode::kTcp;
  CHECK(says(diagnose_silence(seen), "an older copy"));
  seen.tcp = Tcp::kConnected;
  CHECK(says(diagnose_silence(seen), "an older copy"));
}

TEST_CASE("diagnosis: UDP and TCP that are known to leave apart", "[natt][door]") {
  SilenceEvidence seen = evidence();
  seen.udp_source = IpAddress::parse("192.0.2.21");
  const SilenceDiagnosis diagnosis = diagnose_silence(seen);
  CHECK(diagnosis.cause == SilenceCause::kSplitEgress);
  CHECK(says(diagnosis, "192.0.2.20"));
  CHECK(says(diagnosis, "192.0.2.21"));
  CHECK(names_override(diagnosis));
  seen.mode = SpaMode::kTcp;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kSilent);
  seen.mode = SpaMode::kUdpTcp;
  seen.tcp_source.reset();
  CHECK(diagnose_silence(seen).cause == SilenceCause::kSilent);
}

TEST_CASE("diagnosis: UDP that is rejected or intercepted matters in mode udp-tcp only", "[natt][door]") {
  SilenceEvidence seen = evidence(Tcp::kConnected);
  seen.dns_answered = true;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kDnsIntercepted);
  CHECK(names_override(diagnose_silence(seen)));
  seen.udp_rejected = true;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kUdpBlocked);
  CHECK(names_override(diagnose_silence(seen)));
  seen.mode = SpaMode::kTcp;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kUnknownDevice);
}

TEST_CASE("diagnosis: a listener that takes connections and says nothing", "[natt][door]") {
  const SilenceDiagnosis udp_tcp = diagnose_silence(evidence(Tcp::kConnected));
  CHECK(udp_tcp.cause == SilenceCause::kUdpNotCounted);
  CHECK(says(udp_tcp, "UDP and TCP leave this network with different addresses"));
  CHECK(names_override(udp_tcp));
  SilenceEvidence seen = evidence(Tcp::kConnected);
  seen.mode = SpaMode::kTcp;
  CHECK(diagnose_silence(seen).cause == SilenceCause::kUnknownDevice);
}

TEST_CASE("diagnosis: with nothing known it still says what to look at", "[natt][door]") {
  const SilenceDiagnosis diagnosis =
      diagnose_silence({.broker = {"hq", Role::kBroker, "b1"}, .address = *SocketAddress::parse("198.51.100.10:443")});
  CHECK(diagnosis.cause == SilenceCause::kSilent);
  CHECK(says(diagnosis, "UDP and TCP leave this network with different addresses"));
  CHECK(names_override(diagnosis));
}

TEST_CASE("diagnosis: causes have names of their own", "[natt][door]") {
  std::set<std::string_view> names;
  for (int cause = 0; cause <= static_cast<int>(SilenceCause::kSilent); ++cause) {
    names.insert(to_string(static_cast<SilenceCause>(cause)));
  }
  CHECK(names.size() == static_cast<std::size_t>(SilenceCause::kSilent) + 1);
}
