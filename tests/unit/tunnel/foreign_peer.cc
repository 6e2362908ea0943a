// SPDX-License-Identifier: Apache-2.0
#include "unit/tunnel/foreign_peer.h"

#include <algorithm>

namespace natt::test {
namespace {

constexpr std::string_view kMagic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

ForeignPeer& peer_of(void* user) { return *static_cast<ForeignPeer*>(user); }

ssize_t read_body(nghttp2_session*, std::int32_t stream, std::uint8_t* out, std::size_t size, std::uint32_t* flags,
                  nghttp2_data_source*, void* user) {
  ForeignPeer::Message& message = peer_of(user).heard[stream];
  const std::size_t count = std::min(size, message.to_send.size());
  std::copy_n(message.to_send.begin(), count, out);
  message.to_send.erase(message.to_send.begin(), message.to_send.begin() + static_cast<std::ptrdiff_t>(count));
  if (message.fin_wanted && message.to_send.empty()) *flags |= NGHTTP2_DATA_FLAG_EOF;
  if (count == 0 && !message.fin_wanted) return NGHTTP2_ERR_DEFERRED;
  return static_cast<ssize_t>(count);
}

int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
              const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
  peer_of(user).heard[frame->hd.stream_id].fields[std::string(as_text({name, name_size}))] =
      as_text({value, value_size});
  return 0;
}

int on_data(nghttp2_session* session, std::uint8_t, std::int32_t stream, const std::uint8_t* data, std::size_t size,
            void* user) {
  ForeignPeer::Message& message = peer_of(user).heard[stream];
  message.data.insert(message.data.end(), data, data + size);
  if (nghttp2_session_check_server_session(session) != 0) {  // an echo
    message.to_send.insert(message.to_send.end(), data, data + size);
    nghttp2_session_resume_data(session, stream);
  }
  return 0;
}

int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
  if (frame->hd.stream_id == 0) return 0;
  ForeignPeer::Message& message = peer_of(user).heard[frame->hd.stream_id];
  const bool server = nghttp2_session_check_server_session(session) != 0;
  if (server && frame->hd.type == NGHTTP2_HEADERS) {
    std::string status = ":status";
    std::string ok = "200";
    const nghttp2_nv field{reinterpret_cast<std::uint8_t*>(status.data()), reinterpret_cast<std::uint8_t*>(ok.data()),
                           status.size(), ok.size(), NGHTTP2_NV_FLAG_NONE};
    const nghttp2_data_provider body{{0}, read_body};
    nghttp2_submit_response(session, frame->hd.stream_id, &field, 1, &body);
  }
  if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 && frame->hd.type != NGHTTP2_RST_STREAM) {
    message.ended = true;
    if (server) message.fin_wanted = true;
    if (server) nghttp2_session_resume_data(session, frame->hd.stream_id);
  }
  return 0;
}

int on_close(nghttp2_session*, std::int32_t stream, std::uint32_t code, void* user) {
  peer_of(user).heard[stream].closed = true;
  peer_of(user).heard[stream].close_code = code;
  return 0;
}

}  // namespace

ByteBuffer h2_frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const ByteBuffer& payload) {
  ByteBuffer frame(9);
  store_be(frame.data(), static_cast<std::uint32_t>(payload.size() << 8));
  frame[3] = type;
  frame[4] = flags;
  store_be(frame.data() + 5, stream);
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

ByteBuffer h2_preface() {
  const ByteView magic = as_bytes(kMagic);
  ByteBuffer bytes(magic.begin(), magic.end());
  const ByteBuffer settings = h2_frame(4, 0, 0, {});
  bytes.insert(bytes.end(), settings.begin(), settings.end());
  return bytes;
}

ByteBuffer h2_fields(const std::vector<std::pair<std::string, std::string>>& fields) {
  ByteBuffer block;
  const auto add = [&block](const std::string& text) {  // RFC 7541 section 5.1: a 7-bit prefix
    std::size_t rest = text.size();
    block.push_back(static_cast<std::uint8_t>(std::min<std::size_t>(rest, 127)));
    if (rest >= 127) {
      for (rest -= 127; rest >= 128; rest /= 128) block.push_back(static_cast<std::uint8_t>(rest % 128 + 128));
      block.push_back(static_cast<std::uint8_t>(rest));
    }
    block.insert(block.end(), text.begin(), text.end());
  };
  for (const auto& [name, value] : fields) {
    block.push_back(0);
    add(name);
    add(value);
  }
  return block;
}

ByteBuffer h2_connect(std::uint32_t stream, std::uint8_t flags) {
  return h2_frame(1, flags, stream, h2_fields({{":method", "CONNECT"}, {":authority", "10.0.0.1:22"}}));
}

ForeignPeer::ForeignPeer(TunnelFixture& fixture) : server_(false) {
  const Credentials alice = fixture.pki.credentials(Role::kClient, "alice");
  context_ = std::move(TlsContext::make(alice, TlsDirection::kClient, "h2").value());
  tls_ = std::move(TlsStream::connect(*context_, {"hq", Role::kGateway, {}}, kTestNow).value());
  tunnel::TlsServer& gateway = fixture.over_tls();
  const Identity identity = fixture.pki.identity(Role::kClient, "alice");
  deliver_ = [this, &fixture, &gateway, identity](ByteView bytes) {
    const Instant now = fixture.wire->now();
    if (connection_) return gateway.handle_bytes(now, *connection_, bytes);
    connection_ = gateway.handle_connected(now, kTestNow, identity, bytes).value();
  };
  collect_ = [this, &fixture, &gateway] {
    const ByteView out = connection_ ? gateway.output(fixture.wire->now(), *connection_) : ByteView{};
    ByteBuffer bytes(out.begin(), out.end());
    if (!bytes.empty()) gateway.consume_output(*connection_, bytes.size());
    return bytes;
  };
  on_step_ = fixture.wire->on_step;
  exchange();
}

ForeignPeer::ForeignPeer(TestPki& pki, tunnel::TlsClient& client, std::function<void()> on_step)
    : server_(true), on_step_(std::move(on_step)) {
  context_ = std::move(TlsContext::make(pki.credentials(Role::kGateway, "gw1"), TlsDirection::kServer, "h2").value());
  tls_ = std::move(TlsStream::accept(*context_, {"hq", Role::kClient, {}}, kTestNow).value());
  const Instant now{std::chrono::seconds(1000)};
  deliver_ = [&client, now](ByteView bytes) { client.handle_bytes(now, bytes); };
  collect_ = [&client, now] {
    const ByteView out = client.output(now);
    ByteBuffer bytes(out.begin(), out.end());
    client.consume_output(bytes.size());
    return bytes;
  };
  exchange();
}

void ForeignPeer::exchange() {
  while (carry()) {
  }
}

bool ForeignPeer::carry() {
  if (http_) pump_nghttp2();
  const ByteBuffer out = tls_->take_ciphertext();
  if (!out.empty()) deliver_(out);
  on_step_();
  const ByteBuffer in = collect_();
  if (!in.empty()) tls_->handle_bytes(in);
  take_plaintext();
  return !out.empty() || !in.empty();
}

void ForeignPeer::take_plaintext() {
  const ByteBuffer plain = tls_->take_plaintext();
  received_.insert(received_.end(), plain.begin(), plain.end());
  if (http_) static_cast<void>(nghttp2_session_mem_recv(http_.get(), plain.data(), plain.size()));
}

void ForeignPeer::pump_nghttp2() {
  const std::uint8_t* bytes = nullptr;
  for (ssize_t size = nghttp2_session_mem_send(http_.get(), &bytes); size > 0;
       size = nghttp2_session_mem_send(http_.get(), &bytes)) {
    tls_->write({bytes, static_cast<std::size_t>(size)});
  }
}

std::size_t ForeignPeer::count_of(std::uint8_t frame_type) const {
  std::size_t count = 0;
  const std::size_t start = server_ ? kMagic.size() : 0;
  for (std::size_t at = start; at + 9 <= received_.size();) {
    if (received_[at + 3] == frame_type) ++count;
    at += 9 + (load_be<std::uint32_t>(received_.data() + at) >> 8);
  }
  return count;
}

ByteBuffer ForeignPeer::last_of(std::uint8_t frame_type) const {
  ByteBuffer last;
  const std::size_t start = server_ ? kMagic.size() : 0;
  for (std::size_t at = start; at + 9 <= received_.size();) {
    const std::size_t size = load_be<std::uint32_t>(received_.data() + at) >> 8;
    const auto payload = received_.begin() + static_cast<std::ptrdiff_t>(at + 9);
    if (received_[at + 3] == frame_type) last.assign(payload, payload + static_cast<std::ptrdiff_t>(size));
    at += 9 + size;
  }
  return last;
}

std::size_t ForeignPeer::largest_of(std::uint8_t frame_type) const {
  std::size_t largest = 0;
  for (std::size_t at = server_ ? kMagic.size() : 0; at + 9 <= received_.size();) {
    const std::size_t size = load_be<std::uint32_t>(received_.data() + at) >> 8;
    if (received_[at + 3] == frame_type) largest = std::max(largest, size);
    at += 9 + size;
  }
  return largest;
}

void ForeignPeer::speak_nghttp2() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
  nghttp2_session* made = nullptr;
  if (server_) {
    nghttp2_session_server_new(&made, callbacks, this);
  } else {
    nghttp2_session_client_new(&made, callbacks, this);
  }
  nghttp2_session_callbacks_del(callbacks);
  http_.reset(made);
  const nghttp2_settings_entry extended{NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1};
  nghttp2_submit_settings(http_.get(), NGHTTP2_FLAG_NONE, &extended, server_ ? 1 : 0);
  static_cast<void>(nghttp2_session_mem_recv(http_.get(), received_.data(), received_.size()));
  exchange();
}

std::int32_t ForeignPeer::request(const std::vector<std::pair<std::string, std::string>>& fields, ByteBuffer body) {
  std::vector<nghttp2_nv> native;
  for (const auto& [name, value] : fields) {
    native.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                      NGHTTP2_NV_FLAG_NONE});
  }
  const nghttp2_data_provider provider{{0}, read_body};
  const std::int32_t stream =
      nghttp2_submit_request(http_.get(), nullptr, native.data(), native.size(), &provider, nullptr);
  heard[stream].to_send = std::move(body);
  return stream;
}

}  // namespace natt::test
