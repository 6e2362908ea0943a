// SPDX-License-Identifier: Apache-2.0
// Plaintext of a hostile peer, below it no TLS: into a gateway's HTTP/2 session and into a
// client's that has streams open. Input is cut where an octet of it says so. Whatever comes,
// nothing breaks, what is held stays within its bounds, and each session ends at most once.
#include <array>
#include <cstdlib>
#include <vector>

#include "libtunnel/src/http/http2_session.h"

using namespace natt;
using namespace natt::tunnel;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

TransportOptions small_windows() {
  TransportOptions options;
  options.stream_window = options.max_stream_window = 64 * 1024;
  options.connection_window = options.max_connection_window = 256 * 1024;
  options.max_streams = 8;
  return options;
}

class Target {
 public:
  explicit Target(Side side) : side_(side), session_(side, {}, {chunks_, received_}, options_) {
    check(session_.start());
    if (side == Side::kServer) return;
    for (const char* const host : {"10.0.0.1:1", "10.0.0.2:2"}) {
      const auto opened = session_.open(Protocol::kTcp, Authority::parse(host).value(), "hq");
      if (opened) streams_.push_back(opened->number);
    }
  }

  // False when the session is over.
  bool take(ByteView bytes, std::uint8_t choice) {
    const bool alive = session_.handle_bytes(now_, bytes);
    now_ += std::chrono::milliseconds(choice);
    settle(choice);
    while (session_.fill(room_) > 0) {
    }
    check(alive || session_.failure().has_value());
    // How many a client has is for its own application and its gateway's limit.
    check(side_ == Side::kClient || session_.stream_count() <= 2 * options_.max_streams);
    return alive && !session_.failure();
  }

 private:
  void settle(std::uint8_t choice) {
    for (int events = 0;; ++events) {
      const auto event = session_.poll_event();
      if (!event) break;
      check(events < 100'000);
      if (const auto* const request = std::get_if<RequestArrived>(&*event)) answer(request->stream.number, choice);
    }
    while (received_.poll()) {
    }
    for (const std::int64_t stream : streams_) act(stream, choice);
    if (side_ == Side::kClient && (choice & 0x40) != 0) static_cast<void>(session_.open(Protocol::kIp, {}, "hq"));
  }
  void answer(std::int64_t stream, std::uint8_t choice) {
    streams_.push_back(stream);
    if ((choice & 1) != 0) return session_.reject(stream, 403, "no");
    session_.accept(stream);
  }
  void act(std::int64_t stream, std::uint8_t choice) {
    if ((choice & 2) != 0) session_.consume(stream, session_.peek(stream).size());
    const MutableBytes space = session_.reserve(stream);
    if ((choice & 4) != 0 && !space.empty()) {
      space[0] = choice;
      session_.commit(stream, 1);
    }
    if ((choice & 8) != 0) session_.shutdown_write(stream);
    if ((choice & 16) != 0) session_.reset(stream, kConnectError);
    static_cast<void>(session_.send_datagram_capsule(stream, ByteView{room_}.first(choice)));
  }

  Side side_;
  TransportOptions options_ = small_windows();
  ChunkPool chunks_;
  DatagramQueue received_{options_.datagram_receive_queue};
  Http2Session session_;
  std::vector<std::int64_t> streams_;
  std::array<std::uint8_t, Http2Session::kMinRoom> room_{};
  Instant now_{std::chrono::seconds(1)};
};

void run(Side side, ByteView bytes) {
  Target target(side);
  // The client's preface, so that input can begin with frames (RFC 9113 section 3.4).
  if (side == Side::kServer && !target.take(as_bytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 0)) return;
  while (!bytes.empty()) {
    const std::uint8_t choice = bytes[0];
    const std::size_t size = std::min<std::size_t>(bytes.size() - 1, choice % 32 == 31 ? 4096 : std::size_t{choice} + 1);
    if (!target.take(bytes.subspan(1, size), choice)) return;
    bytes = bytes.subspan(1 + size);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  run((data[0] & 1) == 0 ? Side::kServer : Side::kClient, {data + 1, size - 1});
  return 0;
}
