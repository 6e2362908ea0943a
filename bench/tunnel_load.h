// SPDX-License-Identifier: Apache-2.0
#pragma once

// What the tunnel bench asks of a tunnel, whatever carries it: a gateway that is a source or a
// sink, and a client that opens one stream at a time.

#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <natt/tunnel/client_tunnel.h>
#include <natt/tunnel/server_tunnels.h>
#include <natt/uv/timer.h>

namespace natt::bench {

using tunnel::StreamId;

constexpr std::uint64_t kMiB = 1024 * 1024;

template <typename T>
T value_or_die(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "tunnel_bench: %s\n", result.error().message.c_str());
  std::exit(1);
}

inline double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

inline double seconds_since(Instant start) { return std::chrono::duration<double>(uv::now() - start).count(); }

// Fills a stream's buffer without touching memory more than a socket read would.
inline void fill(tunnel::Streams& streams, StreamId stream, std::uint64_t& left) {
  while (left > 0) {
    const MutableBytes room = streams.reserve(stream);
    if (room.empty()) return;
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(left, room.size()));
    std::fill_n(room.begin(), count, std::uint8_t{0x5a});
    streams.commit(stream, count);
    left -= count;
  }
  streams.shutdown_write(stream);
}

inline std::uint64_t drain(tunnel::Streams& streams, StreamId stream) {
  std::uint64_t count = 0;
  for (ByteView bytes = streams.peek(stream); !bytes.empty(); bytes = streams.peek(stream)) {
    count += bytes.size();
    streams.consume(stream, bytes.size());
  }
  return count;
}

// "source:N" sends N MiB; "sink:N" takes what comes; "cpu:1" answers with the CPU seconds so far.
class GatewayLoad {
 public:
  void handle_events(tunnel::ServerTunnels& core) {
    while (const auto event = core.poll_event()) {
      if (const auto* const request = std::get_if<tunnel::Request>(&*event)) start(core, *request);
      if (const auto* const readable = std::get_if<tunnel::Readable>(&*event)) drain(core, readable->stream);
      if (const auto* const writable = std::get_if<tunnel::Writable>(&*event)) fill(core, writable->stream, left_);
      if (const auto* const finished = std::get_if<tunnel::Finished>(&*event)) {
        if (left_ == 0) core.shutdown_write(finished->stream);
      }
    }
  }
 private:
  void start(tunnel::ServerTunnels& core, const tunnel::Request& request) {
    core.accept(request.stream);
    if (request.target.host == "source") {
      left_ = request.target.port * kMiB;
      fill(core, request.stream, left_);
    } else if (request.target.host == "cpu") {
      static_cast<void>(core.write(request.stream, as_bytes(std::to_string(cpu_seconds()))));
      core.shutdown_write(request.stream);
    }
  }
  std::uint64_t left_ = 0;
};

class ClientLoad {
 public:
  bool confirmed = false;
  bool finished = false;
  std::string text;
  std::uint64_t received = 0;
  std::uint64_t left = 0;
  bool keeps = false;

  void handle_events(tunnel::ClientTunnel& core) {
    while (const auto event = core.poll_event()) {
      if (std::holds_alternative<tunnel::Confirmed>(*event)) confirmed = true;
      if (const auto* const readable = std::get_if<tunnel::Readable>(&*event)) take(core, readable->stream);
      if (const auto* const writable = std::get_if<tunnel::Writable>(&*event)) fill(core, writable->stream, left);
      if (std::holds_alternative<tunnel::Finished>(*event)) finished = true;
      if (const auto* const closed = std::get_if<tunnel::ConnectionClosed>(&*event)) {
        std::fprintf(stderr, "tunnel_bench: %s\n", closed->error.message.c_str());
        std::exit(1);
      }
    }
  }
 private:
  void take(tunnel::Streams& core, StreamId stream) {
    if (keeps) text += as_text(core.peek(stream));
    received += drain(core, stream);
  }
};

}  // namespace natt::bench
