// SPDX-License-Identifier: Apache-2.0
#pragma once

// Serves one text at `/metrics` over HTTP, on the program's own loop: GET and HEAD, one
// request a connection. Whoever connects may be anyone: at most kMaxConnections at once (one
// more closes the oldest), kDeadline for everything, 8 KiB of request head, one text made per
// kTextLasts however many ask. On a loopback address only requests to this very host are
// answered (is_local_host).
//
// Resource type on the loop and its thread. After the destructor has returned the port is
// free and nothing is called.

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <natt/error.h>
#include <natt/uv/tcp_listener.h>
#include <natt/uv/timer.h>

#include "apps/metrics/http_request.h"

namespace natt::metrics {

// How connections ended: what was answered, or why nothing was.
enum class RequestResult : std::uint8_t {
  kServed,
  kBadRequest,
  kNotFound,
  kMethodNotAllowed,
  kMisdirected,  // a name that is not this host's
  kHeadTooLarge,
  kVersionNotSupported,
  kAbandoned,  // the peer left before its request was complete
  kTimedOut,
  kPushedOut,  // room was needed
};
inline constexpr std::size_t kRequestResultCount = 10;
[[nodiscard]] std::string_view to_string(RequestResult result);  // "served", ...

class MetricsServer final : private natt::uv::TcpListener::Listener, private natt::uv::Timer::Listener {
 public:
  static constexpr std::size_t kMaxConnections = 8;
  static constexpr Duration kDeadline = std::chrono::seconds(5);
  // How long a text serves all who ask: making it again is the loop's time, which belongs to the packets.
  static constexpr Duration kTextLasts = std::chrono::milliseconds(250);
  // Read and ignored behind a request, so that closing does not destroy the answer (RFC 9112 section 9.6).
  static constexpr std::size_t kMaxIgnored = 65536;

  struct Stats {
    std::array<std::uint64_t, kRequestResultCount> requests{};
    Duration last_page{};  // how long the loop was busy making the last text

    [[nodiscard]] std::uint64_t count(RequestResult result) const { return requests[static_cast<std::size_t>(result)]; }
  };

  // Makes the text when it is asked for and the last one is older than kTextLasts.
  using Page = std::function<std::string()>;

  // Errors: kIo, one sentence. `deadline` is for tests.
  [[nodiscard]] static Result<std::unique_ptr<MetricsServer>> open(uv_loop_s& loop, const SocketAddress& listen,
                                                                   Page page, Duration deadline = kDeadline);
  ~MetricsServer() override;
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  [[nodiscard]] SocketAddress local_address() const { return listener_->local_address(); }
  [[nodiscard]] std::size_t connection_count() const { return connections_.size(); }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  class Connection;
  MetricsServer(uv_loop_s& loop, bool local_only, Page page, Duration deadline);
  void on_connection(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) override;
  void on_timer(Instant now) override;
  [[nodiscard]] std::string answer(const HttpRequestReader& request, HttpStatus status);
  // What a good head asks for.
  [[nodiscard]] HttpStatus judge(const HttpRequestReader& request) const;
  [[nodiscard]] const std::string& text(Instant now);
  void count(RequestResult result) { ++stats_.requests[static_cast<std::size_t>(result)]; }
  // Destroys it.
  void remove(Connection& connection);
  void rearm();

  Page page_;
  std::string text_;
  std::optional<Instant> text_ends_;
  bool local_only_;
  Duration deadline_;
  Stats stats_;
  natt::uv::Timer timer_;
  std::unique_ptr<natt::uv::TcpListener> listener_;
  std::list<Connection> connections_;  // oldest first
};

}  // namespace natt::metrics
