// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/admission_port.h>

#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace natt::uv {
namespace {

// The other descriptors are for members, their streams and what the process itself needs.
SignalAdmissionOptions within_descriptors(SignalAdmissionOptions options) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    options.max_pending = static_cast<std::size_t>(std::min<rlim_t>(limit.rlim_cur / 4, options.max_pending));
  }
  return options;
}

}  // namespace

// One connection that has not proved itself.
class AdmissionPort::Visitor final : public TcpConnection::Listener {
 public:
  Visitor(AdmissionPort& port, ChannelId id, std::unique_ptr<TcpConnection> connection)
      : port_(port), id_(id), connection_(std::move(connection)) {}

  // Once the visitor is in the table: reading may call back at once.
  void begin() { connection_->set_listener(*this); }
  [[nodiscard]] TcpConnection& connection() { return *connection_; }
  [[nodiscard]] std::unique_ptr<TcpConnection> release() { return std::move(connection_); }

 private:
  void on_connected(Instant) override {}
  void on_bytes(Instant now, ByteView bytes) override { port_.handle_bytes(now, id_, bytes); }
  void on_eof(Instant now) override { port_.handle_gone(now, id_); }
  void on_drained(Instant) override {}
  void on_closed(Instant now, const Error&) override { port_.handle_gone(now, id_); }

  AdmissionPort& port_;
  const ChannelId id_;
  std::unique_ptr<TcpConnection> connection_;
};

AdmissionPort::AdmissionPort(uv_loop_s& loop, SignalAdmissionOptions options, const spa::VerifierGroup& verifiers,
                             AddressGrants& grants, Random& random, Listener& listener)
    : loop_(loop),
      admission_(within_descriptors(options), verifiers, grants, random),
      listener_(listener),
      timer_(loop, *this) {}

AdmissionPort::~AdmissionPort() = default;

Result<void> AdmissionPort::listen(const TcpListener::Options& options) {
  auto acceptor = TcpListener::open(loop_, options, *this);
  if (!acceptor) return tl::unexpected(acceptor.error());
  acceptor_ = std::move(*acceptor);
  return {};
}

void AdmissionPort::on_connection(Instant now, std::unique_ptr<TcpConnection> connection) {
  const ChannelId id{next_channel_++};
  connection->limit_reads(kUnprovenRead);
  if (admission_.handle_accepted(now, id, connection->remote_address())) {
    auto& visitor = visitors_[id] = std::make_unique<Visitor>(*this, id, std::move(connection));
    visitor->begin();
  }
  flush(now);
}

void AdmissionPort::handle_bytes(Instant now, ChannelId id, ByteView bytes) {
  admission_.handle_bytes(now, wall_now(), id, bytes);
  if (admission_.holds_join(id)) visitors_.at(id)->connection().pause_reading();
  flush(now);
}

void AdmissionPort::handle_gone(Instant now, ChannelId id) {
  admission_.handle_disconnected(id);
  closing_.set(id.value, std::nullopt);
  visitors_.erase(id);
  flush(now);
}

void AdmissionPort::on_timer(Instant now) {
  admission_.handle_timeout(now);
  while (const auto late = closing_.take_due(now)) visitors_.erase(ChannelId{*late});
  flush(now);
}

void AdmissionPort::flush(Instant now) {
  if (flushing_) return;
  flushing_ = true;
  while (auto event = admission_.poll_event()) handle_event(now, std::move(*event));
  flushing_ = false;
  timer_.arm(earlier(closing_.next(), admission_.next_deadline()));
}

void AdmissionPort::handle_event(Instant now, AdmissionEvent event) {
  if (const auto* close = std::get_if<CloseConnection>(&event)) {
    close_silently(now, *close);
  } else if (const auto* missing = std::get_if<KnockMissing>(&event)) {
    listener_.on_knock_missing(now, *missing);
  } else {
    hand_over(now, std::get<Admitted>(std::move(event)));
  }
}

void AdmissionPort::hand_over(Instant now, Admitted admitted) {
  const auto found = visitors_.find(admitted.channel);
  if (found == visitors_.end()) return;
  auto connection = found->second->release();
  visitors_.erase(found);
  connection->limit_reads(TcpConnection::kMaxRead);
  connection->resume_reading();
  listener_.on_admitted(now, std::move(admitted), std::move(connection));
}

// FIN, and what still comes is read: a socket closed with bytes unread would answer with RST.
void AdmissionPort::close_silently(Instant now, const CloseConnection& close) {
  const auto found = visitors_.find(close.channel);
  if (found == visitors_.end()) return;
  if (close.at_once) {
    visitors_.erase(found);
    return;
  }
  closing_.set(close.channel.value, now + kClosingTime);
  found->second->connection().resume_reading();
  found->second->connection().shutdown();
}

}  // namespace natt::uv
