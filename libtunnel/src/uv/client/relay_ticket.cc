// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/relay_ticket.h"

#include <algorithm>

#include <natt/tcp_relay.h>

namespace natt::tunnel::uv {

void RelayTicket::start(Instant now) {
  stop();
  ask_at_ = now;
}

void RelayTicket::stop() {
  grant_.reset();
  ask_at_.reset();
  asked_ = 0;
}

void RelayTicket::note_asked(Instant now) {
  ++asked_;
  ask_at_ = asked_ < kMaxAsked ? std::optional(now + kNoAnswer) : std::nullopt;
}

void RelayTicket::handle_grant(Instant now, WallTime wall_now, const RelayGrantMessage& grant) {
  if (asked_ == 0) return;
  // A broker keeps no token longer (docs/WIRE.md 6.5); an end's clock may see it shorter or longer.
  const Duration stated = grant.grant.expires - wall_now;
  valid_until_ = now + std::clamp<Duration>(stated, kShortest, kTcpRelayTokenLifetime);
  grant_ = grant;
  if (asked_ < kMaxAsked) ask_at_ = valid_until_ - kAhead;
}

void RelayTicket::handle_refusal() { ask_at_.reset(); }

std::optional<RelayGrantMessage> RelayTicket::take(Instant now) {
  auto taken = is_valid(now) ? std::move(grant_) : std::nullopt;
  stop();
  return taken;
}

std::optional<Instant> RelayTicket::next_deadline(Instant now) const {
  return earlier(ask_at_, is_valid(now) ? std::optional(valid_until_) : std::nullopt);
}

}  // namespace natt::tunnel::uv
