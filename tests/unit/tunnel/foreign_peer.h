// SPDX-License-Identifier: Apache-2.0
#pragma once

// The other end of a tunnel over TLS, made of nothing of libtunnel's: TLS and plaintext that a
// test writes itself, or nghttp2 with its default settings. Opposite a TunnelFixture's gateway
// (client), or opposite a TlsClient (server). No time passes.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nghttp2/nghttp2.h>

#include <natt/tls_stream.h>

#include "unit/tunnel/tunnel_fixture.h"

namespace natt::test {

// One HTTP/2 frame (RFC 9113 section 4.1).
[[nodiscard]] ByteBuffer h2_frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, const ByteBuffer& payload);
// The client's preface (section 3.4) with empty SETTINGS.
[[nodiscard]] ByteBuffer h2_preface();
// Literal fields without indexing (RFC 7541 section 6.2.2).
[[nodiscard]] ByteBuffer h2_fields(const std::vector<std::pair<std::string, std::string>>& fields);
// A CONNECT that a gateway takes.
[[nodiscard]] ByteBuffer h2_connect(std::uint32_t stream, std::uint8_t flags = 0x04);

class ForeignPeer {
 public:
  // A client of fixture's gateway, which knows it as "alice".
  explicit ForeignPeer(TunnelFixture& fixture);
  // The gateway "gw1" of a client.
  ForeignPeer(TestPki& pki, tunnel::TlsClient& client, std::function<void()> on_step);

  void write(const ByteBuffer& plaintext) { tls_->write(plaintext); }
  // Hands bytes over both ways until nobody has anything more to say.
  void exchange();
  // The codes of the frames that came from the other end, in order.
  [[nodiscard]] std::size_t count_of(std::uint8_t frame_type) const;
  // The payload of the last one of that type; empty without any.
  [[nodiscard]] ByteBuffer last_of(std::uint8_t frame_type) const;
  // How many octets the longest one carries.
  [[nodiscard]] std::size_t largest_of(std::uint8_t frame_type) const;
  [[nodiscard]] TlsStream::State state() const { return tls_->state(); }

  // From now on nghttp2 speaks; what it hears is in `heard`.
  void speak_nghttp2();
  struct Message {
    std::map<std::string, std::string> fields;
    ByteBuffer data;
    bool ended = false;
    bool closed = false;
    std::uint32_t close_code = 0;
    ByteBuffer to_send;
    bool fin_wanted = false;
  };
  std::map<std::int32_t, Message> heard;
  // nghttp2 as a client: a request, whose body is `body` and then stays open.
  std::int32_t request(const std::vector<std::pair<std::string, std::string>>& fields, ByteBuffer body);
  // nghttp2 as a server answers every request with 200 and sends back what comes.
  [[nodiscard]] nghttp2_session* http() const { return http_.get(); }

 private:
  struct Delete {
    void operator()(nghttp2_session* session) const { nghttp2_session_del(session); }
  };
  [[nodiscard]] bool carry();
  void take_plaintext();
  void pump_nghttp2();

  bool server_;
  std::unique_ptr<TlsContext> context_;
  std::unique_ptr<TlsStream> tls_;
  std::unique_ptr<nghttp2_session, Delete> http_;
  // To and from the end under test.
  std::function<void(ByteView)> deliver_;
  std::function<ByteBuffer()> collect_;
  std::function<void()> on_step_;
  std::optional<tunnel::ConnectionId> connection_;
  ByteBuffer received_;
};

}  // namespace natt::test
