// SPDX-License-Identifier: Apache-2.0
#pragma once

// Two PunchAgents with one session and packets moved by hand: a client "A" and a
// gateway "B", both with public addresses, vouched for.

#include <functional>
#include <optional>
#include <variant>
#include <vector>

#include <natt/punch_agent.h>
#include <natt/stun_message.h>

#include "support/seeded_random.h"

namespace natt::test {

inline const SocketAddress kAddressA = *SocketAddress::parse("203.0.113.1:40000");
inline const SocketAddress kAddressB = *SocketAddress::parse("203.0.113.2:40000");
inline constexpr PunchSessionId kSession{42};

struct PunchPair {
  struct Sent {
    SocketAddress from;
    Transmit transmit;
  };

  explicit PunchPair(PunchOptions options = {}) : random(test_seed()), a(options, random), b(options, random) {
    of_a = make_punch_credential(random);
    of_b = make_punch_credential(random);
    random.fill(key.mutable_view());
  }

  [[nodiscard]] PunchSession session(PunchRole role) const {
    const bool controlling = role == PunchRole::kControlling;
    return {.id = kSession,
            .role = role,
            .local = controlling ? of_a : of_b,
            .remote = controlling ? of_b : of_a,
            .transaction_key = key,
            .start = {},
            .vouch = {.seen = {kAddressA.ip, kAddressB.ip}, .configured = {}}};
  }
  void open() {
    static_cast<void>(a.add_session(now, session(PunchRole::kControlling)));
    static_cast<void>(b.add_session(now, session(PunchRole::kControlled)));
  }
  void tell(PunchAgent& agent, const SocketAddress& address, CandidateType type = CandidateType::kServerReflexive) {
    agent.add_remote_candidate(now, kSession, {address, type, {}});
  }
  // Both sides know the other; nothing has been delivered yet.
  void open_and_tell() {
    open();
    tell(a, kAddressB);
    tell(b, kAddressA);
  }

  [[nodiscard]] std::optional<Transmit> next(PunchAgent& agent) { return agent.poll_transmit(); }
  bool deliver(PunchAgent& to, const SocketAddress& from, const SocketAddress& at, ByteView bytes) {
    return to.handle_datagram(now, from, at.ip, bytes);
  }
  // Moves packets both ways until both are quiet.
  void pump() {
    for (bool moved = true; moved;) {
      moved = false;
      while (const auto packet = a.poll_transmit()) moved = deliver(b, kAddressA, kAddressB, packet->bytes) || true;
      while (const auto packet = b.poll_transmit()) moved = deliver(a, kAddressB, kAddressA, packet->bytes) || true;
    }
  }
  void connect() {
    open_and_tell();
    pump();
  }
  // Lets time pass with timers firing; `carry` says whether packets arrive.
  void run_for(Duration duration, bool carry = true) {
    const Instant until = now + duration;
    for (;;) {
      const auto next = earlier(a.next_deadline(), b.next_deadline());
      if (!next || *next > until) break;
      now = std::max(now, *next);
      a.handle_timeout(now);
      b.handle_timeout(now);
      if (carry) {
        pump();
      } else {
        lost += drain(a) + drain(b);
      }
    }
    now = until;
  }
  static std::size_t drain(PunchAgent& agent) {
    std::size_t count = 0;
    while (agent.poll_transmit()) ++count;
    return count;
  }

  template <typename Event>
  static std::vector<Event> events(PunchAgent& agent) {
    std::vector<Event> found;
    while (const auto event = agent.poll_event()) {
      if (const auto* wanted = std::get_if<Event>(&*event)) found.push_back(*wanted);
    }
    return found;
  }

  SeededRandom random;
  PunchAgent a;
  PunchAgent b;
  PunchCredential of_a;
  PunchCredential of_b;
  StunTransactionKey key;
  Instant now{std::chrono::seconds(1000)};
  std::size_t lost = 0;
};

inline const PunchPath kPathToB{kSession, kAddressB};
inline const PunchPath kPathToA{kSession, kAddressA};

}  // namespace natt::test
