// SPDX-License-Identifier: Apache-2.0
#include "apps/metrics/metrics_server.h"

#include <algorithm>
#include <utility>

namespace natt::metrics {
namespace {

// Version 0.0.4 of the text format, which every Prometheus reads.
constexpr std::string_view kTextFormat = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kPlain = "text/plain; charset=utf-8";

RequestResult result_of(HttpStatus status) {
  switch (status) {
    case HttpStatus::kOk: return RequestResult::kServed;
    case HttpStatus::kBadRequest: return RequestResult::kBadRequest;
    case HttpStatus::kNotFound: return RequestResult::kNotFound;
    case HttpStatus::kMethodNotAllowed: return RequestResult::kMethodNotAllowed;
    case HttpStatus::kMisdirected: return RequestResult::kMisdirected;
    case HttpStatus::kHeadTooLarge: return RequestResult::kHeadTooLarge;
    case HttpStatus::kVersionNotSupported: return RequestResult::kVersionNotSupported;
  }
  return RequestResult::kBadRequest;
}

}  // namespace

std::string_view to_string(RequestResult result) {
  switch (result) {
    case RequestResult::kServed: return "served";
    case RequestResult::kBadRequest: return "bad_request";
    case RequestResult::kNotFound: return "not_found";
    case RequestResult::kMethodNotAllowed: return "method_not_allowed";
    case RequestResult::kMisdirected: return "misdirected";
    case RequestResult::kHeadTooLarge: return "head_too_large";
    case RequestResult::kVersionNotSupported: return "version_not_supported";
    case RequestResult::kAbandoned: return "abandoned";
    case RequestResult::kTimedOut: return "timed_out";
    case RequestResult::kPushedOut: return "pushed_out";
  }
  return "unknown";
}

class MetricsServer::Connection final : public natt::uv::TcpConnection::Listener {
 public:
  Connection(MetricsServer& server, Instant deadline, std::unique_ptr<natt::uv::TcpConnection> connection)
      : server_(server), deadline_(deadline), connection_(std::move(connection)) {}

  // Its place in the list is final from here on.
  void start() { connection_->set_listener(*this); }
  [[nodiscard]] Instant deadline() const { return deadline_; }
  [[nodiscard]] bool answered() const { return answered_; }

  void on_connected(Instant) override {}
  void on_bytes(Instant, ByteView bytes) override {
    if (answered_) {
      ignored_ += bytes.size();
      if (ignored_ > kMaxIgnored) server_.remove(*this);
      return;
    }
    if (const auto status = request_.handle_bytes(bytes)) answer(*status);
  }
  void on_eof(Instant) override {
    if (!answered_) server_.count(RequestResult::kAbandoned);
    eof_ = true;
    if (connection_->write_queue_bytes() == 0) server_.remove(*this);
  }
  void on_drained(Instant) override {
    if (eof_) server_.remove(*this);
  }
  void on_closed(Instant, const Error&) override {
    if (!answered_) server_.count(RequestResult::kAbandoned);
    server_.remove(*this);
  }

 private:
  void answer(HttpStatus status) {
    answered_ = true;
    const std::string response = server_.answer(request_, status);
    connection_->write({reinterpret_cast<const std::uint8_t*>(response.data()), response.size()});
    connection_->shutdown();
  }

  MetricsServer& server_;
  Instant deadline_;
  std::unique_ptr<natt::uv::TcpConnection> connection_;
  HttpRequestReader request_;
  std::size_t ignored_ = 0;
  bool answered_ = false;
  bool eof_ = false;
};

MetricsServer::MetricsServer(uv_loop_s& loop, bool local_only, Page page, Duration deadline)
    : page_(std::move(page)), local_only_(local_only), deadline_(deadline), timer_(loop, *this) {}
MetricsServer::~MetricsServer() = default;

Result<std::unique_ptr<MetricsServer>> MetricsServer::open(uv_loop_s& loop, const SocketAddress& listen, Page page,
                                                           Duration deadline) {
  std::unique_ptr<MetricsServer> server(new MetricsServer(loop, listen.ip.is_loopback(), std::move(page), deadline));
  // One a turn: whoever has asked already when it is taken is answered before seven more come.
  auto listener = natt::uv::TcpListener::open(
      loop, {.bind = listen, .backlog = kMaxConnections, .accepts_per_turn = 1}, *server);
  if (!listener) return tl::unexpected(listener.error());
  server->listener_ = std::move(*listener);
  return server;
}

void MetricsServer::on_connection(Instant now, std::unique_ptr<natt::uv::TcpConnection> connection) {
  if (connections_.size() == kMaxConnections) {
    // Whoever waits for an answer goes last.
    auto oldest =
        std::find_if(connections_.begin(), connections_.end(), [](const Connection& each) { return !each.answered(); });
    if (oldest == connections_.end()) oldest = connections_.begin();
    if (!oldest->answered()) count(RequestResult::kPushedOut);
    connections_.erase(oldest);
  }
  connections_.emplace_back(*this, now + deadline_, std::move(connection)).start();
  rearm();
}

std::string MetricsServer::answer(const HttpRequestReader& request, HttpStatus status) {
  if (status == HttpStatus::kOk) status = judge(request);
  count(result_of(status));
  const bool with_body = request.method() != HttpRequestReader::Method::kHead;
  if (status != HttpStatus::kOk) return http_response(status, kPlain, std::string(reason_of(status)) + "\n", with_body);
  return http_response(status, kTextFormat, text(natt::uv::now()), with_body);
}

HttpStatus MetricsServer::judge(const HttpRequestReader& request) const {
  if (local_only_ && request.host() && !is_local_host(*request.host())) return HttpStatus::kMisdirected;
  if (request.path() != "/metrics") return HttpStatus::kNotFound;
  return request.method() == HttpRequestReader::Method::kOther ? HttpStatus::kMethodNotAllowed : HttpStatus::kOk;
}

const std::string& MetricsServer::text(Instant now) {
  if (text_ends_ && now < *text_ends_) return text_;
  text_ = page_();
  const Instant end = natt::uv::now();
  stats_.last_page = end - now;
  text_ends_ = end + kTextLasts;
  return text_;
}

void MetricsServer::on_timer(Instant now) {
  while (!connections_.empty() && connections_.front().deadline() <= now) {
    if (!connections_.front().answered()) count(RequestResult::kTimedOut);
    connections_.pop_front();
  }
  rearm();
}

void MetricsServer::remove(Connection& connection) {
  connections_.remove_if([&connection](const Connection& each) { return &each == &connection; });
  rearm();
}

// All have the same time, so the oldest is the next.
void MetricsServer::rearm() {
  timer_.arm(connections_.empty() ? std::nullopt : std::optional(connections_.front().deadline()));
}

}  // namespace natt::metrics
