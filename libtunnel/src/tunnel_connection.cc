// SPDX-License-Identifier: Apache-2.0
#include "src/tunnel_connection.h"

#include <utility>

#include "src/http/error_codes.h"

namespace natt::tunnel {

std::optional<ConnectionEvent> TunnelConnection::poll_event() {
  const bool ending = !events_.empty() && std::holds_alternative<Ended>(events_.front());
  if (events_.empty() || ending) {
    if (auto event = http().poll_event()) return ConnectionEvent{std::move(*event)};
    if (events_.empty()) return std::nullopt;
  }
  TransportEvent event = std::move(events_.front());
  events_.pop_front();
  return ConnectionEvent{std::move(event)};
}

void TunnelConnection::tell_end(Error why) {
  http().close();
  tell(Ended{std::move(why)});
}

void TunnelConnection::close(Instant now, std::string_view reason, Error why) {
  close_with(now, kHttpNoError, reason, std::move(why));
}

}  // namespace natt::tunnel
