// SPDX-License-Identifier: Apache-2.0
#pragma once

// The connection race: which way of connecting starts when, who wins, and if it is
// the relay, why. Sans-I/O; the composition runs the actual attempts.
//
// Each step needs two things before it starts: its time has come, and its path is
// available (the direct one always is; the punched one when a pair has been
// validated; the relayed one when its leg is bound). Everything is prepared from the
// beginning, so at its time a step has nothing left to ask.
//
//                   Prepare                time and path          attempt_connected
//   start ──► step: preparing ───────────────► attempting ──────────────► won, the others cancelled
//                     │ attempt_failed             │ attempt_failed
//                     └────────────► failed ◄──────┘   all steps failed, or the time is up ──► Lost
//
// Resource type, not thread-safe.

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>
#include <variant>

#include <natt/log.h>
#include <natt/time.h>

namespace natt {

// How a session is connected; also the steps of the race, in their order.
enum class ConnectionType : std::uint8_t { kDirect = 0, kNatTraversal = 1, kRelay = 2 };
inline constexpr std::size_t kConnectionTypes = 3;
// "Direct", "Direct via NAT Traversal", "Relay": exactly what status output and the reference product say.
[[nodiscard]] std::string_view to_string(ConnectionType type);
// How many are connected in which way, by ConnectionType.
using ConnectionCounts = std::array<std::size_t, kConnectionTypes>;

// Why an attempt did not come to anything.
enum class AttemptFailure : std::uint8_t {
  kNone,
  kNotTried,        // skipped, or its time never came
  kNoCandidates,    // neither end has an address to offer
  kPunchTimeout,    // checks were sent and none was answered
  kHandshake,       // the path worked, the tunnel handshake did not (time-out, TLS, refused)
  kRefused,         // the other end or the broker said no
  kUnavailable,     // nothing to try it with: no signaling, no grant, no route
  kTimeout,         // still trying when the time was up
};
[[nodiscard]] std::string_view to_string(AttemptFailure failure);  // "punch-timeout", ...

// Why a session is relayed. Most specific first: the first that applies is reported.
enum class RelayReason : std::uint8_t {
  kForced,            // "forced": configuration allows nothing else
  kUdpBlocked,        // "udp-blocked": STUN got no answer at this end
  kPeerUdpBlocked,    // "peer-udp-blocked": ... at the other end
  kSameNatAsBroker,   // "same-nat-as-broker": the broker sees an inside address, so STUN cannot tell the outside one
  kNoCandidates,      // "no-candidates"
  kHardNatBoth,       // "hard-nat-both": both mappings depend on the destination
  kHardNatOne,        // "hard-nat-one": one does, and the other end's filter asks for the exact port
  kRefused,           // "traversal-refused"
  kPunchTimeout,      // "punch-timeout": nothing above explains it
  kHandshakeFailed,   // "handshake-failed": the punched path worked, the tunnel over it did not
  kSlower,            // "slower": traversal was still going on when the relay won
};
[[nodiscard]] std::string_view to_string(RelayReason reason);

// Whether the mapping is endpoint-independent (RFC 4787 section 4.1; natt/nat_behavior.h has the full kinds).
enum class MappingDifficulty : std::uint8_t { kUnknown, kEasy, kHard };
enum class Tristate : std::uint8_t { kUnknown, kNo, kYes };

// What is known about both ends; set as it becomes known.
struct RaceFacts {
  Tristate stun_answered = Tristate::kUnknown;
  Tristate peer_stun_answered = Tristate::kUnknown;
  MappingDifficulty mapping = MappingDifficulty::kUnknown;
  MappingDifficulty peer_mapping = MappingDifficulty::kUnknown;
  // Either end reaches the broker without leaving its NAT.
  bool shares_nat_with_broker = false;
  // Candidates that may be probed, of both ends together; absent while gathering.
  std::optional<std::size_t> pairs;
  bool relay_only = false;
};

// Pure: `traversal` is how the NAT traversal step ended, kNone while it still runs.
[[nodiscard]] RelayReason decide_relay_reason(const RaceFacts& facts, AttemptFailure traversal);

class RaceCore {
 public:
  struct Options {
    // From the reference product: direct at once, NAT traversal at 300 ms, relay at 2.5 s.
    Duration natt_after = std::chrono::milliseconds(300);
    Duration relay_after = std::chrono::milliseconds(2500);
    // From the start to giving up: the relay's head start and three round trips of a bad satellite link, with retries.
    Duration timeout = std::chrono::seconds(20);
    // A step whose predecessors have all failed (or were skipped) starts at once instead of waiting for its time.
    bool close_gaps = false;
    bool direct = true;  // false when no direct address is known
    bool nat_traversal = true;
    bool relay = true;
    LogSink log;
  };

  // Get the step's path ready now.
  struct Prepare {
    ConnectionType step;
  };
  // Start a tunnel handshake over the step's path.
  struct StartAttempt {
    ConnectionType step;
  };
  // Drop the step's attempt and preparation.
  struct CancelAttempt {
    ConnectionType step;
  };
  struct Won {
    ConnectionType type;
    // Only with kRelay.
    std::optional<RelayReason> reason;
  };
  struct Lost {
    // Indexed by ConnectionType.
    std::array<AttemptFailure, kConnectionTypes> reasons;
  };
  using Event = std::variant<Prepare, StartAttempt, CancelAttempt, Won, Lost>;

  explicit RaceCore(const Options& options);
  RaceCore(const RaceCore&) = delete;
  RaceCore& operator=(const RaceCore&) = delete;

  // Once; later calls are ignored. Every other input before start() or after the end is ignored as well.
  void start(Instant now);
  // The step's path can carry a handshake from now on.
  void path_available(ConnectionType step, Instant now);
  // The step's path has gone again before its time came; preparing goes on.
  void path_unavailable(ConnectionType step, Instant now);
  // Its tunnel handshake is complete. Of a step that was not started: ignored.
  void attempt_connected(ConnectionType step, Instant now);
  // The step is out, whether it was preparing or attempting.
  void attempt_failed(ConnectionType step, AttemptFailure failure, Instant now);
  void set_facts(const RaceFacts& facts) { facts_ = facts; }
  // Ends the race; running steps get CancelAttempt, and nobody is told Lost.
  void cancel();

  void handle_timeout(Instant now);
  [[nodiscard]] std::optional<Instant> next_deadline() const;
  [[nodiscard]] std::optional<Event> poll_event();

  [[nodiscard]] bool finished() const { return state_ == State::kFinished; }

 private:
  enum class State : std::uint8_t { kIdle, kRunning, kFinished };
  enum class StepState : std::uint8_t { kPreparing, kAttempting, kFailed };
  struct Step {
    StepState state = StepState::kPreparing;
    bool path_available = false;
    AttemptFailure failure = AttemptFailure::kNone;
    Instant starts_at{};
  };

  [[nodiscard]] Step& at(ConnectionType step) { return steps_[static_cast<std::size_t>(step)]; }
  [[nodiscard]] bool enabled(ConnectionType step) const;
  [[nodiscard]] bool is_due(ConnectionType step, Instant now) const;
  [[nodiscard]] bool predecessors_failed(ConnectionType step) const;
  void start_due_steps(Instant now);
  void lose_if_hopeless();
  void lose();
  void cancel_running(std::optional<ConnectionType> except);
  void transition_to(State next);

  Options options_;
  RaceFacts facts_;
  State state_ = State::kIdle;
  std::array<Step, kConnectionTypes> steps_;
  Instant gives_up_at_{};
  std::deque<Event> events_;
};

}  // namespace natt
