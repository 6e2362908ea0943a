// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/connection_attempts.h"

#include <algorithm>

#include "src/uv/client/quic_transport.h"
#include "src/uv/client/tcp_transport.h"

namespace natt::tunnel::uv {
namespace {

// Below the 30 s after which short-lived NATs forget a UDP mapping, with room for one loss.
constexpr Duration kKeepAlive = std::chrono::seconds(14);

}  // namespace

ConnectionAttempts::ConnectionAttempts(const LinkSite& site, spa::Knocker& knocker, PeerExpectation gateway)
    : site_(site), knocker_(&knocker), gateway_(std::move(gateway)) {}

bool ConnectionAttempts::has_room(ConnectionType step) const {
  const auto same_step =
      std::count_if(attempts_.begin(), attempts_.end(), [&](const Attempt& attempt) { return attempt.step == step; });
  return static_cast<std::size_t>(same_step) < kMaxPerStep;
}

Result<void> ConnectionAttempts::start(Instant now, ConnectionType step, PathId path) {
  if (!has_room(step)) return {};
  const WallTime wall = site_.signaling.wall_now();
  const auto dcid = site_.random.bytes<16>();
  const auto scid = site_.random.bytes<8>();
  const ClientOptions options{.expectation = gateway_,
                              .token = knocker_->make_quic_token(wall, knocker_->next_knock_id(), dcid, scid),
                              .dcid = {dcid.begin(), dcid.end()},
                              .scid = {scid.begin(), scid.end()},
                              .path = path,
                              .transport = {.keep_alive = kKeepAlive, .log = site_.options.log}};
  auto client = Client::make(now, wall, site_.quic, site_.random, options);
  if (!client) return tl::unexpected(client.error());
  auto transport = std::make_unique<QuicTransport>(std::move(*client), path, site_.driver, site_.pump);
  attempts_.push_back({step, std::move(transport), false});
  return {};
}

Result<std::unique_ptr<TlsClient>> ConnectionAttempts::make_tls(Instant now) const {
  return TlsClient::make(
      now, site_.signaling.wall_now(), *site_.tls,
      {.expectation = gateway_, .transport = {.keep_alive = kKeepAlive, .log = site_.options.log}});
}

Result<void> ConnectionAttempts::start_direct(Instant now, const SocketAddress& to) {
  if (!has_room(ConnectionType::kDirect)) return {};
  auto client = make_tls(now);
  if (!client) return tl::unexpected(client.error());
  auto transport = std::make_unique<TcpTransport>(std::move(*client), site_.transports);
  // One logical knock, however many connections it takes: the gateway charges it once.
  const spa::KnockId knock = knocker_->next_knock_id();
  transport->connect(now, site_.loop, to, [this, knock](ByteView client_hello) {
    return knocker_->make_tcp_hello(site_.signaling.wall_now(), knock, client_hello);
  });
  attempts_.push_back({ConnectionType::kDirect, std::move(transport), false});
  return {};
}

Result<void> ConnectionAttempts::start_relayed(Instant now, BrokerIndex broker, const RelayGrantMessage& grant) {
  auto client = make_tls(now);
  if (!client) return tl::unexpected(client.error());
  auto transport = std::make_unique<TcpTransport>(std::move(*client), site_.transports);
  if (auto joining = transport->join(now, site_.signaling, broker, grant); !joining) return joining;
  attempts_.push_back({ConnectionType::kRelay, std::move(transport), false});
  return {};
}

void ConnectionAttempts::cancel(Instant now, ConnectionType step) {
  for (Attempt& attempt : attempts_) {
    if (attempt.step != step || !attempt.transport) continue;
    attempt.transport->close(now, "another path won");
    closing_.add(now, std::move(attempt.transport));
  }
  std::erase_if(attempts_, [&](const Attempt& attempt) { return attempt.step == step; });
}

void ConnectionAttempts::cancel_all(Instant now) {
  for (const ConnectionType step : {ConnectionType::kDirect, ConnectionType::kNatTraversal, ConnectionType::kRelay}) {
    cancel(now, step);
  }
  outcomes_.clear();
}

std::unique_ptr<TunnelTransport> ConnectionAttempts::take(Instant now, ConnectionType step) {
  std::unique_ptr<TunnelTransport> winner;
  for (Attempt& attempt : attempts_) {
    if (attempt.step == step && attempt.confirmed && !winner) winner = std::move(attempt.transport);
  }
  cancel(now, step);
  return winner;
}

bool ConnectionAttempts::handle_packet(Instant now, PathId path, std::uint8_t ecn, ByteView packet) {
  return std::any_of(attempts_.begin(), attempts_.end(), [&](const Attempt& attempt) {
    return attempt.transport->handle_packet(now, path, ecn, packet);
  });
}

void ConnectionAttempts::handle_timeout(Instant now) {
  for (Attempt& attempt : attempts_) attempt.transport->tunnel().handle_timeout(now);
}

std::optional<Instant> ConnectionAttempts::next_deadline() const {
  std::optional<Instant> deadline = closing_.next_deadline();
  for (const Attempt& attempt : attempts_) deadline = earlier(deadline, attempt.transport->tunnel().next_deadline());
  return deadline;
}

void ConnectionAttempts::pump(Instant now) {
  // One whose close met a full socket waits: the gateway would keep its end for the idle time-out.
  closing_.pump(now);
  for (Attempt& attempt : attempts_) static_cast<void>(attempt.transport->pump(now));
}

void ConnectionAttempts::collect_events(Instant now, Attempt& attempt) {
  while (auto event = attempt.transport->tunnel().poll_event()) {
    if (const auto* connected = std::get_if<Connected>(&*event)) {
      const auto admitted = site_.signaling.roster().admits(connected->peer, connected->serial);
      if (admitted) continue;
      attempt.transport->close(now, "revoked");
      return drop(now, attempt, admitted.error());
    }
    if (std::holds_alternative<Confirmed>(*event)) {
      attempt.confirmed = true;
      outcomes_.push_back({attempt.step, AttemptFailure::kNone});
      return;  // what follows belongs to whoever takes the tunnel
    }
    if (const auto* closed = std::get_if<ConnectionClosed>(&*event)) {
      attempt.transport->close(now, closed->error.message);
      return drop(now, attempt, closed->error);
    }
  }
}

void ConnectionAttempts::drop(Instant now, Attempt& attempt, const Error& error) {
  const AttemptFailure failure = attempt.transport->failure();
  site_.options.log(LogLevel::kInfo, "natt.attempt.failed type=\"" + std::string(to_string(attempt.step)) +
                                         "\" protocol=" + std::string(to_string(attempt.transport->protocol())) +
                                         " reason=\"" + error.message + "\"");
  outcomes_.push_back({attempt.step, failure});
  closing_.add(now, std::move(attempt.transport));
}

std::optional<ConnectionAttempts::Outcome> ConnectionAttempts::poll_outcome(Instant now) {
  for (Attempt& attempt : attempts_) {
    if (!attempt.confirmed) collect_events(now, attempt);
  }
  std::erase_if(attempts_, [](const Attempt& attempt) { return !attempt.transport; });
  while (!outcomes_.empty()) {
    const Outcome outcome = outcomes_.front();
    outcomes_.pop_front();
    // A failure counts only when nothing of the step is left to hope for.
    const bool others = std::any_of(attempts_.begin(), attempts_.end(),
                                    [&](const Attempt& attempt) { return attempt.step == outcome.step; });
    if (outcome.failure == AttemptFailure::kNone || !others) return outcome;
  }
  return std::nullopt;
}

}  // namespace natt::tunnel::uv
