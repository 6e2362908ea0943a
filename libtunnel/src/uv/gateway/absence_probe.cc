// SPDX-License-Identifier: Apache-2.0
#include "src/uv/gateway/absence_probe.h"

namespace natt::tunnel::uv {

std::uint64_t AbsenceProbe::packets_in(ConnectionId connection) const {
  const auto stats = server_.stats(connection);
  return stats ? stats->packets_in : 0;
}

void AbsenceProbe::start(Instant now, ConnectionId connection) {
  if (!asked_.try_emplace(connection, Asked{now + kPatience, packets_in(connection)}).second) return;
  server_.set_keep_alive(connection, kPingInterval);
}

std::vector<ConnectionId> AbsenceProbe::handle_timeout(Instant now) {
  std::vector<ConnectionId> gone;
  for (auto asked = asked_.begin(); asked != asked_.end();) {
    const bool answered = packets_in(asked->first) != asked->second.packets_in;
    if (!answered && now < asked->second.until) {
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
