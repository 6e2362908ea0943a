// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/tcp_relay_driver.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <natt/spa/tls_hello_carrier.h>

namespace natt::uv {

// A connection that has joined and is not paired.
class TcpRelayDriver::Leg final : public TcpConnection::Listener {
 public:
  Leg(TcpRelayDriver& driver, TcpLegId id, std::unique_ptr<TcpConnection> connection)
      : driver_(driver), id_(id), connection_(std::move(connection)) {}

  void on_connected(Instant) override {}
  void on_bytes(Instant now, ByteView bytes) override { driver_.on_leg_bytes(now, *this, bytes); }
  // An end that has nothing more to say before anybody has answered is gone.
  void on_eof(Instant now) override { driver_.on_leg_gone(now, id_); }
  void on_closed(Instant now, const Error&) override { driver_.on_leg_gone(now, id_); }
  void on_drained(Instant) override {}

  [[nodiscard]] TcpLegId id() const { return id_; }
  [[nodiscard]] TcpConnection& connection() { return *connection_; }

 private:
  TcpRelayDriver& driver_;
  TcpLegId id_;
  std::unique_ptr<TcpConnection> connection_;
};

TcpRelayDriver::TcpRelayDriver(uv_loop_s& loop, TcpRelay& relay, LogSink log)
    : loop_(loop), relay_(relay), log_(log), timer_(loop, *this), pipes_(log) {}

TcpRelayDriver::~TcpRelayDriver() = default;

void TcpRelayDriver::handle_join(Instant now, const Admitted& admitted, std::unique_ptr<TcpConnection> connection) {
  const auto token = spa::parse_pairing_record(admitted.record);
  const TcpLegId id{next_leg_++};
  if (token && relay_.handle_join(now, id, admitted.identity, admitted.remote, *token)) {
    auto& leg = legs_[id] = std::make_unique<Leg>(*this, id, std::move(connection));
    leg->connection().set_listener(*leg);
    // It was paused while it waited for its knock.
    if (take_bytes(now, *leg, admitted.rest)) leg->connection().resume_reading();
  } else {
    log_(LogLevel::kDebug, "natt.relay.join_refused device=" + admitted.identity.uri());
  }
  flush(now);
}

bool TcpRelayDriver::take_bytes(Instant now, Leg& leg, ByteView bytes) {
  const TcpLegId id = leg.id();
  const bool goes_on = relay_.handle_bytes(now, id, bytes);
  const std::size_t room = relay_.room_of(id);
  leg.connection().limit_reads(std::max<std::size_t>(room, 1));
  if (!goes_on) leg.connection().pause_reading();
  return goes_on;
}

void TcpRelayDriver::on_leg_bytes(Instant now, Leg& leg, ByteView bytes) {
  static_cast<void>(take_bytes(now, leg, bytes));
  flush(now);
}

void TcpRelayDriver::on_leg_gone(Instant now, TcpLegId leg) {
  legs_.erase(leg);
  relay_.handle_disconnected(now, leg);
  flush(now);
}

void TcpRelayDriver::flush(Instant now) {
  if (flushing_) return;
  flushing_ = true;
  while (auto event = relay_.poll_event()) handle_event(now, std::move(*event));
  flushing_ = false;
  arm_timer();
}

void TcpRelayDriver::handle_event(Instant now, TcpRelayEvent event) {
  if (auto* paired = std::get_if<TcpRelayPaired>(&event)) splice(now, std::move(*paired));
  if (const auto* dropped = std::get_if<TcpRelayLegDropped>(&event)) legs_.erase(dropped->leg);
  if (const auto* ended = std::get_if<TcpRelayPairEnded>(&event)) {
    paused_.erase(ended->pair);
    const auto found = splices_.find(ended->pair);
    if (found == splices_.end()) return;
    found->second->reset();
    splices_.erase(found);
  }
}

Descriptor TcpRelayDriver::take_socket(TcpLegId leg) {
  const auto found = legs_.find(leg);
  Descriptor socket(found->second->connection().release_descriptor());
  if (!socket.valid()) found->second->connection().abort();
  legs_.erase(found);
  return socket;
}

void TcpRelayDriver::splice(Instant now, TcpRelayPaired paired) {
  const TcpPairId pair = paired.pair;
  Descriptor client = take_socket(paired.client);
  Descriptor gateway = take_socket(paired.gateway);
  if (client.valid() && gateway.valid()) {
    auto made = TcpSplice::make(loop_, std::move(paired), std::move(client), std::move(gateway), relay_, pipes_, *this);
    if (made) return (splices_[pair] = std::move(*made))->start(now);
  } else {
    // A FIN would tell the end that was taken that its peer had said everything.
    TcpSplice::reset_on_close(client);
    TcpSplice::reset_on_close(gateway);
  }
  log_(LogLevel::kError, "natt.relay.no_descriptor reason=\"two joined connections were dropped: raise the limit of "
                         "open files\"");
  relay_.handle_pair_ended(now, pair);
}

void TcpRelayDriver::on_splice_ended(Instant now, TcpPairId pair) {
  paused_.erase(pair);
  relay_.handle_pair_ended(now, pair);
  splices_.erase(pair);
  flush(now);
}

void TcpRelayDriver::on_splice_paused(Instant now, TcpPairId pair) {
  paused_.insert(pair);
  if (!resume_at_) resume_at_ = now + TcpRelay::kPause;
  arm_timer();
}

void TcpRelayDriver::on_timer(Instant now) {
  relay_.handle_timeout(now);
  if (resume_at_ && *resume_at_ <= now) resume_paused(now);
  flush(now);
}

// Each time another one is the first: it may take all that a quota has to give.
void TcpRelayDriver::resume_paused(Instant now) {
  resume_at_.reset();
  const std::set<TcpPairId> paused = std::exchange(paused_, {});
  const auto first = paused.upper_bound(resumed_first_);
  std::vector<TcpPairId> order(first, paused.end());
  order.insert(order.end(), paused.begin(), first);
  if (!order.empty()) resumed_first_ = order.front();
  for (const TcpPairId pair : order) {
    if (const auto found = splices_.find(pair); found != splices_.end()) found->second->resume(now);
  }
}

void TcpRelayDriver::arm_timer() { timer_.arm(earlier(relay_.next_deadline(), resume_at_)); }

}  // namespace natt::uv
