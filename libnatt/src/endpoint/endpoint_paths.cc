// SPDX-License-Identifier: Apache-2.0
// The endpoint's sessions as paths: what the connectivity checks found, and which
// PathId it became.
#include <natt/endpoint.h>

namespace natt {

std::optional<SessionId> Endpoint::find_session(PunchSessionId punch) const {
  const auto found = by_punch_.find(punch);
  return found == by_punch_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<PathId> Endpoint::find_path(const PunchPath& path) { return paths_.find(Route::direct(path.remote)); }

void Endpoint::drain_punch(Instant now) {
  while (auto transmit = punch_.poll_transmit()) transmits_.push_back(std::move(*transmit));
  while (auto event = punch_.poll_event()) on_punch_event(now, *event);
}

void Endpoint::on_punch_event(Instant now, const PunchEvent& event) {
  if (const auto* validated = std::get_if<PathValidated>(&event)) {
    on_path_validated(now, *validated);
  } else if (const auto* lost = std::get_if<PathLost>(&event)) {
    on_path_lost(lost->path);
  } else if (const auto* silent = std::get_if<PathSilent>(&event)) {
    const auto session = find_session(silent->path.session);
    const auto path = find_path(silent->path);
    if (session && path) push(SessionPathSilent{*session, *path});
  } else if (const auto* failed = std::get_if<PunchFailed>(&event)) {
    if (const auto session = find_session(failed->session)) push(SessionPunchFailed{*session});
  }
}

void Endpoint::on_path_validated(Instant now, const PathValidated& event) {
  const auto session = find_session(event.path.session);
  const auto path = session ? paths_.find_or_create(Route::direct(event.path.remote, event.local)) : std::nullopt;
  if (!path) return;
  paths_.set_local(*path, event.local);
  // The same peer may have found the same address in an earlier session: the newer one watches it from now on.
  PathUse& use = path_uses_[*path];
  const bool in_use = use.users > 0;
  use.session = *session;
  use.punch = event.path;
  if (in_use) punch_.use_path(now, event.path);
  options_.log(LogLevel::kInfo, "natt.punch.ok session=" + session->to_string() + " remote=" +
                                    event.path.remote.to_string() + " kind=" + std::string(to_string(event.kind)) +
                                    " rtt_us=" + std::to_string(event.rtt.count() / 1000));
  push(SessionPathReady{*session, ConnectionType::kNatTraversal, *path});
}

void Endpoint::on_path_lost(const PunchPath& lost) {
  const auto session = find_session(lost.session);
  const auto path = find_path(lost);
  const auto use = path ? path_uses_.find(*path) : path_uses_.end();
  if (!session || use == path_uses_.end() || use->second.session != *session) return;
  path_uses_.erase(use);
  options_.log(LogLevel::kInfo,
               "natt.path.lost session=" + session->to_string() + " remote=" + lost.remote.to_string());
  push(SessionPathLost{*session, *path});
}

void Endpoint::forget_paths(const SessionId& session) {
  std::erase_if(path_uses_, [&](const auto& entry) { return entry.second.session == session; });
}

std::optional<PathId> Endpoint::direct_path(const SocketAddress& remote) {
  return paths_.find_or_create(Route::direct(remote));
}

std::optional<TunnelRoute> Endpoint::route(PathId path) const {
  const Route* route = paths_.route(path);
  if (route == nullptr) return std::nullopt;
  if (!route->relayed()) return TunnelRoute{route->remote, route->local, {}};
  const auto owner = by_leg_handle_.find(route->leg.value);
  if (owner == by_leg_handle_.end()) return std::nullopt;
  const Session& session = sessions_.at(owner->second);
  if (!session.leg || !session.leg->bound()) return std::nullopt;
  return TunnelRoute{session.leg->relay(), session.leg->local(), session.leg->header()};
}

std::optional<SocketAddress> Endpoint::remote_address(PathId path) const {
  const auto found = route(path);
  return found ? std::optional(found->to) : std::nullopt;
}

ConnectionType Endpoint::type_of(PathId path) const {
  const Route* route = paths_.route(path);
  if (route != nullptr && route->relayed()) return ConnectionType::kRelay;
  return path_uses_.contains(path) ? ConnectionType::kNatTraversal : ConnectionType::kDirect;
}

std::optional<SessionId> Endpoint::session_of(PathId path) const {
  const auto use = path_uses_.find(path);
  return use == path_uses_.end() ? std::nullopt : std::optional(use->second.session);
}

void Endpoint::use_path(Instant now, PathId path) {
  paths_.pin(path);
  const auto use = path_uses_.find(path);
  if (use == path_uses_.end()) return;
  if (++use->second.users == 1 && use->second.punch) punch_.use_path(now, *use->second.punch);
}

void Endpoint::release_path(Instant now, PathId path) {
  paths_.unpin(path);
  const auto use = path_uses_.find(path);
  if (use == path_uses_.end() || use->second.users == 0) return;
  if (--use->second.users == 0 && use->second.punch) punch_.release_path(now, *use->second.punch);
}

void Endpoint::note_sent(Instant now, PathId path) {
  const auto use = path_uses_.find(path);
  if (use != path_uses_.end() && use->second.punch) punch_.note_sent(now, *use->second.punch);
}

void Endpoint::note_received(Instant now, PathId path) {
  const auto use = path_uses_.find(path);
  if (use != path_uses_.end() && use->second.punch) punch_.note_received(now, *use->second.punch);
}

}  // namespace natt
