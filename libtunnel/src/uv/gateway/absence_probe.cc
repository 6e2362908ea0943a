// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/absence_probe.h"

namespace natt::tunnel::uv {

std::uint64_t AbsenceProbe::packets_in(ConnectionId connection) const {
  const auto stats = server_.stats(connection);
  return stats ? stats->packets_in : 0;
}

void AbsenceProbe::start(Instant now, ConnectionId connection, Duration patience) {
  if (!asked_.try_emplace(connection, Asked{now + patience, patience, packets_in(connection)}).second) return;
  server_.set_keep_alive(connection, kPingInterval);
  static_cast<void>(moves_backlog_(connection));  // what was acknowledged up to now tells nothing
}

bool AbsenceProbe::may_answer(Instant now, ConnectionId connection, Asked& asked) const {
  if (now < asked.until) return true;
  if (!moves_backlog_(connection)) return false;
  asked.until = now + asked.patience;
  return true;
}

std::vector<ConnectionId> AbsenceProbe::handle_timeout(Instant now) {
  std::vector<ConnectionId> gone;
  for (auto asked = asked_.begin(); asked != asked_.end();) {
    const bool answered = packets_in(asked->first) != asked->second.packets_in;
    if (!answered && may_answer(now, asked->first, asked->second)) {
      ++asked;
      continue;
    }
    server_.set_keep_alive(asked->first, {});
    if (!answered) gone.push_back(asked->first);
    asked = asked_.erase(asked);
  }
  return gone;
}

std::optional<Instant> AbsenceProbe::next_deadline() const {
  std::optional<Instant> deadline;
  for (const auto& [connection, asked] : asked_) deadline = earlier(deadline, asked.until);
  return deadline;
}

}  // namespace natt::tunnel::uv
