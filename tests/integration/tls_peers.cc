// SPDX-License-Identifier: Apache-2.0
#include "integration/tls_peers.h"

namespace natt::test {

TlsPeer::TlsPeer(UvLoop& loop, const Credentials& credentials, const Identity& gateway)
    : loop_(loop), timer_(loop.get(), *this) {
  auto tls = TlsContext::make(credentials, TlsDirection::kClient, "h2");
  REQUIRE(tls);
  tls_ = std::move(*tls);
  auto made = tunnel::TlsClient::make(
      uv::now(), uv::wall_now(), *tls_,
      {.expectation = {.site = gateway.site, .role = Role::kGateway, .identity = gateway}, .transport = {}});
  REQUIRE(made);
  client = std::move(*made);
}

ByteBuffer TlsPeer::first_flight(spa::Knocker& knocker) const {
  const ByteView hello = client->client_hello();
  ByteBuffer flight = knocker.make_tcp_hello(uv::wall_now(), knocker.next_knock_id(), hello);
  flight.insert(flight.end(), hello.begin(), hello.end());
  return flight;
}

void TlsPeer::connect(const SocketAddress& to, ByteView front) {
  auto connection = uv::TcpConnection::connect(loop_.get(), {.to = to}, *this);
  REQUIRE(connection);
  connection_ = std::move(*connection);
  connection_->write(front);
}

void TlsPeer::connect(const SocketAddress& to, spa::Knocker& knocker) {
  connect(to, knocker.make_tcp_hello(uv::wall_now(), knocker.next_knock_id(), client->client_hello()));
}

void TlsPeer::take(std::unique_ptr<uv::TcpConnection> connection) {
  connection_ = std::move(connection);
  connection_->set_listener(*this);
  flush();
}

void TlsPeer::open(const tunnel::Authority& target) {
  const auto stream = client->open_tcp(target);
  REQUIRE(stream);
  stream_ = *stream;
  status = 0;
  received.clear();
  to_send_.clear();
  taken_ = 0;
  finished = stream_closed = finish_wanted_ = false;
  flush();
}

void TlsPeer::send(ByteView bytes) {
  to_send_.insert(to_send_.end(), bytes.begin(), bytes.end());
  flush();
}

void TlsPeer::finish_sending() {
  finish_wanted_ = true;
  flush();
}

void TlsPeer::on_bytes(Instant now, ByteView bytes) {
  bytes_in += bytes.size();
  client->handle_bytes(now, bytes);
  flush();
}

void TlsPeer::on_eof(Instant now) {
  client->handle_disconnected(now, {std::make_error_code(std::errc::connection_aborted), "eof"});
  flush();
}

void TlsPeer::on_closed(Instant now, const Error& error) {
  client->handle_disconnected(now, error);
  flush();
}

void TlsPeer::on_timer(Instant now) {
  client->handle_timeout(now);
  flush();
}

void TlsPeer::handle(const tunnel::ClientEvent& event) {
  if (const auto* connected = std::get_if<tunnel::Connected>(&event)) gateway_serial = connected->serial;
  if (std::holds_alternative<tunnel::Confirmed>(event)) confirmed = true;
  if (const auto* response = std::get_if<tunnel::Response>(&event)) status = response->status;
  if (std::holds_alternative<tunnel::Finished>(event)) finished = true;
  if (std::holds_alternative<tunnel::StreamClosed>(event)) stream_closed = true;
  if (const auto* over = std::get_if<tunnel::ConnectionClosed>(&event)) ended = over->error;
}

void TlsPeer::pump() {
  if (!stream_) return;
  taken_ += client->write(*stream_, ByteView(to_send_).subspan(taken_));
  if (finish_wanted_ && taken_ == to_send_.size()) {
    client->shutdown_write(*stream_);
    finish_wanted_ = false;
  }
  for (ByteView bytes = client->peek(*stream_); !bytes.empty(); bytes = client->peek(*stream_)) {
    received += as_text(bytes);
    client->consume(*stream_, bytes.size());
  }
}

void TlsPeer::flush() {
  while (const auto event = client->poll_event()) handle(*event);
  pump();
  while (connection_ && connection_->write_queue_bytes() < 256 * 1024) {
    const ByteView output = client->output(uv::now());
    if (output.empty()) break;
    connection_->write(output);
    client->consume_output(output.size());
    pump();
  }
  while (const auto event = client->poll_event()) handle(*event);
  timer_.arm(client->next_deadline());
}

}  // namespace natt::test
