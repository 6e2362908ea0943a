// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/client_streams.h"

#include <natt/tunnel/errc.h>

namespace natt::tunnel::uv {

ClientStreams::ClientStreams(SiteClient::Listener& listener, Owner& owner, LogSink log)
    : listener_(listener), owner_(owner), log_(log) {}

ClientStreams::~ClientStreams() = default;

void ClientStreams::request(StreamRequestId id, Protocol protocol, const Authority& target) {
  PendingStream& request = requests_[id];
  request.protocol = protocol;
  request.target = target;
  ++waiting_;
}

bool ClientStreams::send_datagram(StreamRequestId id, ByteView payload) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || !found->second.answered || tunnel_ == nullptr) return false;
  return tunnel_->send_datagram(*found->second.stream, payload) == DatagramResult::kQueued;
}

void ClientStreams::handle_datagram(Instant now, const Datagram& datagram) {
  const auto id = by_stream_.find(datagram.stream);
  if (id != by_stream_.end()) listener_.on_datagram(now, id->second, datagram.payload);
}

void ClientStreams::open(Instant now, StreamRequestId id, PendingStream& request) {
  auto stream =
      request.protocol == Protocol::kUdp ? tunnel_->open_udp(request.target) : tunnel_->open_tcp(request.target);
  if (!stream) {
    // The peer's stream limit: waits for one to end.
    if (stream.error().code == make_error_code(Errc::kLimit)) return;
    return fail(now, requests_.find(id), {.status = 0, .reason = stream.error().message});
  }
  request.stream = *stream;
  --waiting_;
  by_stream_.insert_or_assign(*stream, id);
  if (request.connection) start_bridge(now, request);
}

void ClientStreams::start_bridge(Instant now, PendingStream& request) {
  request.bridge = std::make_unique<StreamBridge>(*tunnel_, *request.stream, std::move(request.connection),
                                                  static_cast<StreamBridge::Owner&>(*this), std::move(request.early));
  request.bridge->start(now);
}

bool ClientStreams::attach(Instant now, StreamRequestId id, std::unique_ptr<natt::uv::TcpConnection>& connection,
                           ByteBuffer& early) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return false;
  found->second.connection = std::move(connection);
  found->second.early = std::move(early);
  if (found->second.stream && tunnel_ != nullptr) start_bridge(now, found->second);
  return true;
}

bool ClientStreams::cancel(Instant now, StreamRequestId id) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return false;
  if (found->second.stream) {
    by_stream_.erase(*found->second.stream);
    if (tunnel_ != nullptr) tunnel_->reset(*found->second.stream, kRequestCancelled);
  } else {
    --waiting_;
  }
  if (found->second.bridge) ended_.push_back(std::move(found->second.bridge));
  requests_.erase(found);
  owner_.on_streams_progress(now);
  return true;
}

std::vector<StreamRequestId> ClientStreams::ids(bool opened) const {
  std::vector<StreamRequestId> ids;
  for (const auto& [id, request] : requests_) {
    if (request.stream.has_value() == opened) ids.push_back(id);
  }
  return ids;
}

void ClientStreams::open_waiting(Instant now) {
  if (tunnel_ == nullptr || waiting_ == 0) return;
  for (const StreamRequestId id : ids(false)) {
    const auto found = requests_.find(id);
    if (found != requests_.end()) open(now, id, found->second);
  }
}

void ClientStreams::handle_tunnel_down(Instant now, const std::string& reason) {
  tunnel_ = nullptr;
  fail_all(now, ids(true), reason);
}

void ClientStreams::fail_waiting(Instant now, const std::string& reason) { fail_all(now, ids(false), reason); }

void ClientStreams::fail_all(Instant now, const std::vector<StreamRequestId>& requests, const std::string& reason) {
  for (const StreamRequestId id : requests) {
    const auto found = requests_.find(id);
    if (found != requests_.end()) fail(now, found, {.status = 0, .reason = reason});
  }
}

void ClientStreams::fail(Instant now, Requests::iterator request, const StreamFailure& failure) {
  const StreamRequestId id = request->first;
  if (request->second.stream) {
    by_stream_.erase(*request->second.stream);
  } else {
    --waiting_;
  }
  if (request->second.connection) request->second.connection->abort();
  if (request->second.bridge) ended_.push_back(std::move(request->second.bridge));
  requests_.erase(request);
  listener_.on_stream_failed(now, id, failure);
}

ClientStreams::Requests::iterator ClientStreams::find(StreamId stream) {
  const auto id = by_stream_.find(stream);
  return id == by_stream_.end() ? requests_.end() : requests_.find(id->second);
}

StreamBridge* ClientStreams::bridge_of(StreamId stream) {
  const auto request = find(stream);
  return request == requests_.end() ? nullptr : request->second.bridge.get();
}

void ClientStreams::handle_event(Instant now, const ClientEvent& event) {
  if (const auto* response = std::get_if<Response>(&event)) {
    handle_response(now, *response);
  } else if (const auto* readable = std::get_if<Readable>(&event)) {
    if (auto* bridge = bridge_of(readable->stream)) bridge->handle_readable(now);
  } else if (const auto* writable = std::get_if<Writable>(&event)) {
    if (auto* bridge = bridge_of(writable->stream)) bridge->handle_writable(now);
  } else if (const auto* finished = std::get_if<Finished>(&event)) {
    if (auto* bridge = bridge_of(finished->stream)) bridge->handle_finished(now);
  } else if (const auto* reset = std::get_if<StreamReset>(&event)) {
    if (auto* bridge = bridge_of(reset->stream)) bridge->handle_reset(now);
  } else if (const auto* closed = std::get_if<StreamClosed>(&event)) {
    handle_stream_closed(now, closed->stream);
  }
}

void ClientStreams::handle_response(Instant now, const Response& response) {
  const auto request = find(response.stream);
  if (request == requests_.end() || request->second.answered) return;
  if (response.status < 200 || response.status > 299) {
    log_(LogLevel::kWarning, "natt.stream.refused target=" + request->second.target.to_string() + " status=" +
                                 std::to_string(response.status) + " reason=\"" + response.reason + "\"");
    return fail(now, request, {.status = response.status, .reason = response.reason});
  }
  request->second.answered = true;
  listener_.on_stream_opened(now, request->first);
}

void ClientStreams::handle_stream_closed(Instant now, StreamId stream) {
  const auto request = find(stream);
  if (request == requests_.end()) return;
  if (request->second.bridge) {
    request->second.bridge->handle_stream_closed(now);
  } else {
    fail(now, request, {.status = 0, .reason = "the gateway closed the stream"});
  }
}

void ClientStreams::on_bridge_done(Instant, StreamId stream) {
  const auto request = find(stream);
  if (request == requests_.end()) return;
  by_stream_.erase(stream);
  ended_.push_back(std::move(request->second.bridge));
  requests_.erase(request);
}

}  // namespace natt::tunnel::uv
