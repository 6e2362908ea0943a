// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/connection_attempts.h"

#include <algorithm>

#include <natt/errc.h>
#include <natt/uv/timer.h>

namespace natt::tunnel::uv {
namespace {

// Below the 30 s after which short-lived NATs forget a UDP mapping, with room for one loss.
constexpr Duration kKeepAlive = std::chrono::seconds(14);

}  // namespace

ConnectionAttempts::ConnectionAttempts(TlsContext& tls, spa::Knocker& knocker, Random& random,
                                       PeerExpectation gateway, const RosterStore& roster, LogSink log)
    : tls_(tls), knocker_(&knocker), random_(random), gateway_(std::move(gateway)), roster_(roster), log_(log) {}

Result<void> ConnectionAttempts::start(Instant now, WallTime wall, ConnectionType step, PathId path) {
  const auto same_step = std::count_if(attempts_.begin(), attempts_.end(),
                                       [&](const Attempt& attempt) { return attempt.step == step; });
  if (static_cast<std::size_t>(same_step) >= kMaxPerStep) return {};
  const auto dcid = random_.bytes<16>();
  const auto scid = random_.bytes<8>();
  const ClientOptions options{.expectation = gateway_,
                              .token = knocker_->make_quic_token(wall, knocker_->next_knock_id(), dcid, scid),
                              .dcid = {dcid.begin(), dcid.end()},
                              .scid = {scid.begin(), scid.end()},
                              .path = path,
                              .transport = {.keep_alive = kKeepAlive, .log = log_}};
  auto client = Client::make(now, wall, tls_, random_, options);
  if (!client) return tl::unexpected(client.error());
  attempts_.push_back({step, path, std::move(*client), false});
  return {};
}

void ConnectionAttempts::cancel(Instant now, ConnectionType step) {
  for (Attempt& attempt : attempts_) {
    if (attempt.step != step || !attempt.client) continue;
    attempt.client->close(now, "another path won");
    closing_.push_back(std::move(attempt.client));
  }
  std::erase_if(attempts_, [&](const Attempt& attempt) { return attempt.step == step; });
}

void ConnectionAttempts::cancel_all(Instant now) {
  for (const ConnectionType step : {ConnectionType::kDirect, ConnectionType::kNatTraversal, ConnectionType::kRelay}) {
    cancel(now, step);
  }
  outcomes_.clear();
}

ConnectionAttempts::Winner ConnectionAttempts::take(Instant now, ConnectionType step) {
  Winner winner;
  for (Attempt& attempt : attempts_) {
    if (attempt.step == step && attempt.confirmed && !winner.client) {
      winner = {std::move(attempt.client), attempt.path};
    }
  }
  cancel(now, step);
  return winner;
}

bool ConnectionAttempts::handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  for (Attempt& attempt : attempts_) {
    if (!attempt.client->accepts(packet)) continue;
    attempt.client->handle_packet(now, path, ecn, packet);
    return true;
  }
  return false;
}

void ConnectionAttempts::handle_timeout(Instant now) {
  for (Attempt& attempt : attempts_) attempt.client->handle_timeout(now);
}

std::optional<Instant> ConnectionAttempts::next_deadline() const {
  std::optional<Instant> deadline;
  for (const Attempt& attempt : attempts_) deadline = earlier(deadline, attempt.client->next_deadline());
  return deadline;
}

void ConnectionAttempts::pump(Instant now, PacketPump& pump) {
  // One whose close met a full socket waits: the gateway would keep its end for the idle time-out.
  std::erase_if(closing_, [&](const auto& client) { return pump.pump(now, *client); });
  for (Attempt& attempt : attempts_) static_cast<void>(pump.pump(now, *attempt.client));
}

void ConnectionAttempts::collect_events(Instant now, Attempt& attempt) {
  while (auto event = attempt.client->poll_event()) {
    if (const auto* connected = std::get_if<Connected>(&*event)) {
      const auto admitted = roster_.roster()->admits(connected->peer, connected->serial);
      if (admitted) continue;
      attempt.client->close(now, "revoked");
      closing_.push_back(std::move(attempt.client));
      return drop(attempt, admitted.error());
    }
    if (std::holds_alternative<Confirmed>(*event)) {
      attempt.confirmed = true;
      outcomes_.push_back({attempt.step, std::nullopt});
      return;  // what follows belongs to whoever takes the client
    }
    if (const auto* closed = std::get_if<ConnectionClosed>(&*event)) return drop(attempt, closed->error);
  }
}

void ConnectionAttempts::drop(Attempt& attempt, const Error& error) {
  log_(LogLevel::kInfo, "natt.attempt.failed type=\"" + std::string(to_string(attempt.step)) + "\" reason=\"" +
                            error.message + "\"");
  outcomes_.push_back({attempt.step, error});
  attempt.client.reset();
}

std::optional<ConnectionAttempts::Outcome> ConnectionAttempts::poll_outcome(Instant now) {
  for (Attempt& attempt : attempts_) {
    if (!attempt.confirmed) collect_events(now, attempt);
  }
  std::erase_if(attempts_, [](const Attempt& attempt) { return !attempt.client; });
  while (!outcomes_.empty()) {
    Outcome outcome = std::move(outcomes_.front());
    outcomes_.pop_front();
    // A failure counts only when nothing of the step is left to hope for.
    const bool others = std::any_of(attempts_.begin(), attempts_.end(),
                                    [&](const Attempt& attempt) { return attempt.step == outcome.step; });
    if (!outcome.error || !others) return outcome;
  }
  return std::nullopt;
}

bool ConnectionAttempts::uses(PathId path) const {
  return std::any_of(attempts_.begin(), attempts_.end(), [&](const Attempt& attempt) { return attempt.path == path; });
}

}  // namespace natt::tunnel::uv
