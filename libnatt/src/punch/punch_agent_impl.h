// SPDX-License-Identifier: Apache-2.0
#pragma once

// The two halves of a PunchAgent: sending (check_sender.cc) and receiving
// (check_receiver.cc). Everything they share stands here.

#include <cstdint>
#include <deque>
#include <optional>

#include <natt/punch_agent.h>
#include <natt/stun_message.h>

#include "src/punch/check_transactions.h"
#include "src/punch/session_table.h"

namespace natt {

struct PunchAgent::Impl {
  // The driver drains both after each call. Four events for each session at once; past that the oldest goes.
  // Packets past the limit are lost as on a full socket: checks are repeated anyway.
  static constexpr std::size_t kMaxEvents = 65536;
  static constexpr std::size_t kMaxTransmits = 1024;

  Impl(PunchOptions agent_options, Random& agent_random);

  // Sending.
  void run(Instant now, SessionState& session);
  void start_pair(Instant now, SessionState& session, CandidatePair& pair) const;
  void forget_waiting(CandidatePair& pair);
  void push_transmit(Transmit transmit);
  void push_event(PunchEvent event);

  // Receiving.
  void handle_request(Instant now, const SocketAddress& from, const IpAddress& local, const StunMessage& message);
  [[nodiscard]] bool handle_response(Instant now, const SocketAddress& from, const IpAddress& local,
                                     const StunMessage& message);

  [[nodiscard]] PathKind kind(const SessionState& session, const CandidatePair& pair) const;
  // The pair and its session; nulls when there is no such path.
  struct Found {
    SessionState* session = nullptr;
    CandidatePair* pair = nullptr;
    explicit operator bool() const { return pair != nullptr; }
  };
  [[nodiscard]] Found find(const PunchPath& path) const;
  [[nodiscard]] Found find_validated(const PunchPath& path) const;

  PunchOptions options;
  Random& random;
  CandidatePolicy policy;
  ProbeBudget budget;
  SessionTable sessions;
  CheckTransactions transactions;
  std::deque<Transmit> transmits;
  std::deque<PunchEvent> events;
  Stats stats;

 private:
  void run_pair(Instant now, SessionState& session, CandidatePair& pair);
  void try_pair(Instant now, SessionState& session, CandidatePair& pair);
  void watch_pair(Instant now, SessionState& session, CandidatePair& pair);
  void lose_path(SessionState& session, CandidatePair& pair);
  void send_check(Instant now, const SessionState& session, CandidatePair& pair, bool charged);
  [[nodiscard]] Instant after_refusal(Instant now);

  [[nodiscard]] SessionState* authenticate_request(const StunMessage& message);
  [[nodiscard]] bool is_acceptable(const SocketAddress& from, const StunMessage& message, SessionState& session);
  [[nodiscard]] CandidatePair* pair_of_source(SessionState& session, const SocketAddress& from);
  void respond(const SessionState& session, const SocketAddress& from, const IpAddress& local,
               const StunMessage& request);
  [[nodiscard]] bool authenticate_response(const StunMessage& message, const SessionState& session);
  void accept_answer(Instant now, Found path, const IpAddress& local, const SocketAddress& mapped,
                     const CheckTransaction& transaction);
  void validate(Instant now, SessionState& session, CandidatePair& pair, Duration rtt);
};

}  // namespace natt
