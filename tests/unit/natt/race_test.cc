// SPDX-License-Identifier: Apache-2.0
#include <natt/race.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <string>
#include <vector>

using namespace natt;
using namespace std::chrono_literals;

namespace {

constexpr Instant kStart{100s};
constexpr auto kDirect = ConnectionType::kDirect;
constexpr auto kPunched = ConnectionType::kNatTraversal;
constexpr auto kRelay = ConnectionType::kRelay;

std::string letter(ConnectionType step) {
  return step == kDirect ? "D" : step == kPunched ? "N" : "R";
}

struct Describe {
  std::string operator()(const RaceCore::Prepare& event) const { return "prepare" + letter(event.step); }
  std::string operator()(const RaceCore::StartAttempt& event) const { return "start" + letter(event.step); }
  std::string operator()(const RaceCore::CancelAttempt& event) const { return "cancel" + letter(event.step); }
  std::string operator()(const RaceCore::Won& event) const {
    return "won" + letter(event.type) + (event.reason ? ":" + std::string(to_string(*event.reason)) : "");
  }
  std::string operator()(const RaceCore::Lost& event) const {
    std::string text = "lost";
    for (const AttemptFailure reason : event.reasons) text += ":" + std::string(to_string(reason));
    return text;
  }
};

std::string events(RaceCore& race) {
  std::string text;
  while (const auto event = race.poll_event()) text += (text.empty() ? "" : " ") + std::visit(Describe{}, *event);
  return text;
}

}  // namespace

TEST_CASE("race: each step starts at its time when its path is ready before", "[natt][race]") {
  RaceCore race({});
  race.start(kStart);
  CHECK(events(race) == "prepareN prepareR startD");
  race.path_available(kPunched, kStart + 100ms);
  race.path_available(kRelay, kStart + 200ms);
  CHECK(events(race).empty());

  CHECK(race.next_deadline() == kStart + 300ms);
  race.handle_timeout(kStart + 299ms);
  CHECK(events(race).empty());
  race.handle_timeout(kStart + 300ms);
  CHECK(events(race) == "startN");
  CHECK(race.next_deadline() == kStart + 2500ms);
  race.handle_timeout(kStart + 2500ms);
  CHECK(events(race) == "startR");
  CHECK(race.next_deadline() == kStart + 20s);
}

TEST_CASE("race: a path that comes late starts its step at once", "[natt][race]") {
  RaceCore race({});
  race.start(kStart);
  (void)events(race);
  CHECK(race.next_deadline() == kStart + 20s);
  race.path_available(kPunched, kStart + 900ms);
  CHECK(events(race) == "startN");
  race.path_available(kPunched, kStart + 950ms);
  CHECK(events(race).empty());
}

TEST_CASE("race: a path that went away again does not start its step", "[natt][race]") {
  RaceCore race({});
  race.start(kStart);
  (void)events(race);
  race.path_available(kPunched, kStart + 100ms);
  race.path_unavailable(kPunched, kStart + 200ms);
  race.handle_timeout(kStart + 400ms);
  CHECK(events(race).empty());
  race.path_available(kPunched, kStart + 500ms);
  CHECK(events(race) == "startN");
  race.path_unavailable(kPunched, kStart + 600ms);
  race.attempt_connected(kPunched, kStart + 700ms);
  CHECK(events(race) == "cancelD cancelR wonN");
}

TEST_CASE("race: the first to connect wins and the others are cancelled", "[natt][race]") {
  const auto winner = GENERATE(kDirect, kPunched, kRelay);
  RaceCore race({});
  race.start(kStart);
  race.path_available(kPunched, kStart);
  race.path_available(kRelay, kStart);
  race.handle_timeout(kStart + 3s);
  (void)events(race);

  race.attempt_connected(winner, kStart + 3s);

  const std::string text = events(race);
  if (winner == kDirect) CHECK(text == "cancelN cancelR wonD");
  if (winner == kPunched) CHECK(text == "cancelD cancelR wonN");
  if (winner == kRelay) CHECK(text == "cancelD cancelN wonR:slower");
  CHECK(race.finished());
  CHECK_FALSE(race.next_deadline());
}

TEST_CASE("race: without a direct address the direct step is skipped and the times stay", "[natt][race]") {
  RaceCore race({.direct = false});
  race.start(kStart);
  race.path_available(kPunched, kStart + 10ms);
  CHECK(events(race) == "prepareN prepareR");
  race.handle_timeout(kStart + 300ms);
  CHECK(events(race) == "startN");
}

TEST_CASE("race: gaps are closed when asked for", "[natt][race]") {
  SECTION("a skipped step") {
    RaceCore race({.close_gaps = true, .direct = false});
    race.start(kStart);
    race.path_available(kPunched, kStart + 10ms);
    CHECK(events(race) == "prepareN prepareR startN");
  }
  SECTION("failed steps") {
    RaceCore race({.close_gaps = true});
    race.start(kStart);
    race.path_available(kRelay, kStart);
    race.attempt_failed(kDirect, AttemptFailure::kHandshake, kStart + 20ms);
    CHECK(events(race) == "prepareN prepareR startD");
    race.attempt_failed(kPunched, AttemptFailure::kNoCandidates, kStart + 30ms);
    CHECK(events(race) == "startR");
  }
}

TEST_CASE("race: with every step failed it is lost at once, with each reason", "[natt][race]") {
  RaceCore race({});
  race.start(kStart);
  (void)events(race);
  race.attempt_failed(kDirect, AttemptFailure::kHandshake, kStart + 1s);
  race.attempt_failed(kRelay, AttemptFailure::kUnavailable, kStart + 1s);
  CHECK_FALSE(race.finished());
  race.attempt_failed(kPunched, AttemptFailure::kPunchTimeout, kStart + 2s);
  CHECK(events(race) == "lost:handshake-failed:punch-timeout:unavailable");
  CHECK(race.finished());
}

TEST_CASE("race: with every step switched off it is lost at the start", "[natt][race]") {
  RaceCore race({.direct = false, .nat_traversal = false, .relay = false});
  race.start(kStart);
  CHECK(events(race) == "lost:not-tried:not-tried:not-tried");
}

TEST_CASE("race: gives up when the time is up", "[natt][race]") {
  RaceCore race({.timeout = 5s});
  race.start(kStart);
  race.attempt_failed(kPunched, AttemptFailure::kPunchTimeout, kStart + 1s);
  (void)events(race);
  race.handle_timeout(kStart + 5s);
  CHECK(events(race) == "cancelD cancelR lost:timeout:punch-timeout:timeout");
}

TEST_CASE("race: cancelling is silent but for the running steps", "[natt][race]") {
  RaceCore race({});
  race.start(kStart);
  (void)events(race);
  race.attempt_failed(kDirect, AttemptFailure::kHandshake, kStart);
  race.cancel();
  CHECK(events(race) == "cancelN cancelR");
  CHECK(race.finished());
}

TEST_CASE("race: a failure is final for its step", "[natt][race]") {
  RaceCore race({});
  race.start(kStart);
  (void)events(race);
  race.attempt_failed(kPunched, AttemptFailure::kPunchTimeout, kStart);
  race.attempt_failed(kPunched, AttemptFailure::kHandshake, kStart);
  race.path_available(kPunched, kStart + 1s);
  race.attempt_connected(kPunched, kStart + 1s);
  CHECK(events(race).empty());
  race.attempt_failed(kDirect, AttemptFailure::kHandshake, kStart);
  race.attempt_failed(kRelay, AttemptFailure::kRefused, kStart);
  CHECK(events(race) == "lost:handshake-failed:punch-timeout:refused");
}

TEST_CASE("race: every input in every state", "[natt][race]") {
  // What the NAT traversal step answers, by its state (rows) and the input (columns).
  enum class At { kIdle, kPreparing, kReady, kAttempting, kFailed, kFinished };
  enum class Input { kStart, kAvailable, kUnavailable, kConnected, kFailed, kCancel, kTimeout };
  struct Row {
    At at;
    Input input;
    std::string expected;
  };
  const auto row = GENERATE(values<Row>({
      {At::kIdle, Input::kStart, "prepareN prepareR startD"},
      {At::kIdle, Input::kAvailable, ""},
      {At::kIdle, Input::kUnavailable, ""},
      {At::kIdle, Input::kConnected, ""},
      {At::kIdle, Input::kFailed, ""},
      {At::kIdle, Input::kCancel, ""},
      {At::kIdle, Input::kTimeout, ""},
      {At::kPreparing, Input::kStart, ""},
      {At::kPreparing, Input::kAvailable, "startN"},
      {At::kPreparing, Input::kUnavailable, ""},
      {At::kPreparing, Input::kConnected, ""},
      {At::kPreparing, Input::kFailed, ""},
      {At::kPreparing, Input::kCancel, "cancelD cancelN cancelR"},
      {At::kPreparing, Input::kTimeout, ""},
      {At::kReady, Input::kStart, ""},
      {At::kReady, Input::kAvailable, "startN"},
      {At::kReady, Input::kUnavailable, ""},
      {At::kReady, Input::kConnected, ""},
      {At::kReady, Input::kFailed, ""},
      {At::kReady, Input::kCancel, "cancelD cancelN cancelR"},
      {At::kReady, Input::kTimeout, "startN"},
      {At::kAttempting, Input::kStart, ""},
      {At::kAttempting, Input::kAvailable, ""},
      {At::kAttempting, Input::kUnavailable, ""},
      {At::kAttempting, Input::kConnected, "cancelD cancelR wonN"},
      {At::kAttempting, Input::kFailed, ""},
      {At::kAttempting, Input::kCancel, "cancelD cancelN cancelR"},
      {At::kAttempting, Input::kTimeout, ""},
      {At::kFailed, Input::kStart, ""},
      {At::kFailed, Input::kAvailable, ""},
      {At::kFailed, Input::kUnavailable, ""},
      {At::kFailed, Input::kConnected, ""},
      {At::kFailed, Input::kFailed, ""},
      {At::kFailed, Input::kCancel, "cancelD cancelR"},
      {At::kFailed, Input::kTimeout, ""},
      {At::kFinished, Input::kStart, ""},
      {At::kFinished, Input::kAvailable, ""},
      {At::kFinished, Input::kUnavailable, ""},
      {At::kFinished, Input::kConnected, ""},
      {At::kFinished, Input::kFailed, ""},
      {At::kFinished, Input::kCancel, ""},
      {At::kFinished, Input::kTimeout, ""},
  }));
  CAPTURE(static_cast<int>(row.at), static_cast<int>(row.input));
  const Instant later = kStart + 400ms;
  RaceCore race({});
  if (row.at != At::kIdle) race.start(kStart);
  if (row.at == At::kReady) race.path_available(kPunched, kStart);
  if (row.at == At::kAttempting) race.path_available(kPunched, later);
  if (row.at == At::kFailed) race.attempt_failed(kPunched, AttemptFailure::kPunchTimeout, kStart);
  if (row.at == At::kFinished) race.attempt_connected(kDirect, kStart);
  (void)events(race);

  switch (row.input) {
    case Input::kStart:
      race.start(later);
      break;
    case Input::kAvailable:
      race.path_available(kPunched, later);
      break;
    case Input::kUnavailable:
      race.path_unavailable(kPunched, later);
      break;
    case Input::kConnected:
      race.attempt_connected(kPunched, later);
      break;
    case Input::kFailed:
      race.attempt_failed(kPunched, AttemptFailure::kPunchTimeout, later);
      break;
    case Input::kCancel:
      race.cancel();
      break;
    case Input::kTimeout:
      race.handle_timeout(later);
      break;
  }
  CHECK(events(race) == row.expected);
}

TEST_CASE("race: connection types have the product's words", "[natt][race]") {
  CHECK(to_string(kDirect) == "Direct");
  CHECK(to_string(kPunched) == "Direct via NAT Traversal");
  CHECK(to_string(kRelay) == "Relay");
}

TEST_CASE("race: the relay reason is the most specific fact", "[natt][race]") {
  RaceFacts facts;
  const auto timeout = AttemptFailure::kPunchTimeout;
  CHECK(decide_relay_reason(facts, AttemptFailure::kNone) == RelayReason::kSlower);
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kPunchTimeout);
  CHECK(decide_relay_reason(facts, AttemptFailure::kTimeout) == RelayReason::kPunchTimeout);
  CHECK(decide_relay_reason(facts, AttemptFailure::kUnavailable) == RelayReason::kPunchTimeout);
  CHECK(decide_relay_reason(facts, AttemptFailure::kNoCandidates) == RelayReason::kNoCandidates);
  CHECK(decide_relay_reason(facts, AttemptFailure::kRefused) == RelayReason::kRefused);
  CHECK(decide_relay_reason(facts, AttemptFailure::kHandshake) == RelayReason::kHandshakeFailed);
  CHECK(decide_relay_reason(facts, AttemptFailure::kNotTried) == RelayReason::kForced);

  facts.mapping = MappingDifficulty::kEasy;
  facts.peer_mapping = MappingDifficulty::kHard;
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kHardNatOne);
  facts.mapping = MappingDifficulty::kHard;
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kHardNatBoth);
  CHECK(decide_relay_reason(facts, AttemptFailure::kNone) == RelayReason::kHardNatBoth);
  facts.pairs = 3;
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kHardNatBoth);
  facts.pairs = 0;
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kNoCandidates);
  facts.shares_nat_with_broker = true;
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kSameNatAsBroker);
  facts.peer_stun_answered = Tristate::kNo;
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kPeerUdpBlocked);
  facts.stun_answered = Tristate::kNo;
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kUdpBlocked);
  CHECK(decide_relay_reason(facts, AttemptFailure::kHandshake) == RelayReason::kHandshakeFailed);
  facts.relay_only = true;
  CHECK(decide_relay_reason(facts, timeout) == RelayReason::kForced);
}

TEST_CASE("race: every reason has a word of its own", "[natt][race]") {
  std::vector<std::string_view> words;
  for (int i = 0; i <= static_cast<int>(RelayReason::kSlower); ++i) {
    words.push_back(to_string(static_cast<RelayReason>(i)));
  }
  for (int i = 0; i <= static_cast<int>(AttemptFailure::kTimeout); ++i) {
    CHECK_FALSE(to_string(static_cast<AttemptFailure>(i)).empty());
  }
  CHECK(words == std::vector<std::string_view>{"forced", "udp-blocked", "peer-udp-blocked", "same-nat-as-broker",
                                               "no-candidates", "hard-nat-both", "hard-nat-one", "traversal-refused",
                                               "punch-timeout", "handshake-failed", "slower"});
}
