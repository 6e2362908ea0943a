// SPDX-License-Identifier: Apache-2.0
// Site tunnel over loopback UDP, gateway and client in two processes: time and CPU of a
// handshake (hybrid key exchange, mutual certificates), and throughput of one TCP stream each
// way with the CPU each end pays for it. Peer for comparison: ngtcp2's own example server and
// client (bench/README.md).
//
//   tunnel_bench [MiB per direction, default 1024]

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <natt/authority.h>
#include <natt/credentials.h>
#include <natt/spa/connection_id.h>
#include <natt/tunnel/client.h>
#include <natt/tunnel/server.h>
#include <natt/uv/timer.h>
#include <natt/uv/udp_socket.h>

namespace {

using namespace natt;
using tunnel::StreamId;

constexpr PathId kPath{1};
constexpr int kHandshakes = 200;
constexpr std::uint64_t kMiB = 1024 * 1024;

template <typename T>
T value_or_die(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "tunnel_bench: %s\n", result.error().message.c_str());
  std::exit(1);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double seconds_since(Instant start) { return std::chrono::duration<double>(uv::now() - start).count(); }

// Everybody is admitted: the knock has a bench of its own (spa_bench).
class OpenGate final : public tunnel::InitialGate {
 public:
  std::optional<tunnel::Admission> admit(Instant, const tunnel::InitialInfo&, PathId) override {
    const Identity alice{"bench", Role::kClient, "alice"};
    std::optional<tunnel::Admission> admission(std::in_place);
    admission->identity = alice;
    admission->expectation = {"bench", Role::kClient, {}};
    admission->wall_now = uv::wall_now();
    return admission;
  }
};

// Socket, timer and one core: handle, then flush.
template <typename Core>
class Driver : private uv::UdpSocket::Listener, private uv::Timer::Listener {
 public:
  Driver(uv_loop_t& loop, const SocketAddress& bind) : timer_(loop, *this) {
    socket_ = value_or_die(uv::UdpSocket::open(loop, {.bind = bind}, *this));
  }
  ~Driver() override = default;
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  void serve(Core* core) { core_ = core; }
  void set_remote(const SocketAddress& remote) { remote_ = remote; }
  [[nodiscard]] SocketAddress local() const { return socket_->local_address(); }

  void flush(Instant now) {
    if (core_ == nullptr) return;
    handle_events();
    send_bursts(now);
    timer_.arm(core_->next_deadline());
  }

 protected:
  virtual void handle_events() = 0;
  Core* core_ = nullptr;

 private:
  void on_train(Instant now, const uv::ReceivedTrain& train) override {
    remote_ = train.from;
    for (ByteView rest = train.bytes; !rest.empty() && core_ != nullptr;) {
      const std::size_t size = std::min(train.segment_size, rest.size());
      core_->handle_packet(now, kPath, train.ecn, rest.first(size));
      rest = rest.subspan(size);
    }
  }
  void on_receive_done(Instant now) override { flush(now); }
  void on_writable(Instant now) override { flush(now); }
  void on_timer(Instant now) override {
    if (core_ != nullptr) core_->handle_timeout(now);
    flush(now);
  }

  void send_bursts(Instant now) {
    if (!finish_burst()) return;
    while (core_->poll_batch(now, batch_)) {
      sent_ = 0;
      if (!finish_burst()) return;
    }
  }
  bool finish_burst() {
    const ByteView bytes = batch_.bytes();
    if (sent_ >= bytes.size()) return true;
    const uv::SendResult result = socket_->send({.to = remote_, .from = {}, .header = {}, .bytes = bytes.subspan(sent_),
                                                 .segment_size = batch_.segment_size(), .ecn = batch_.ecn()});
    sent_ += result.sent_bytes;
    if (result.status == uv::SendStatus::kBlocked) return false;
    batch_.clear();
    sent_ = 0;
    return true;
  }

  std::unique_ptr<uv::UdpSocket> socket_;
  uv::Timer timer_;
  SocketAddress remote_;
  tunnel::PacketBatch batch_;
  std::size_t sent_ = 0;
};

// Fills a stream's buffer without touching memory more than a socket read would.
void fill(tunnel::Streams& streams, StreamId stream, std::uint64_t& left) {
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

std::uint64_t drain(tunnel::Streams& streams, StreamId stream) {
  std::uint64_t count = 0;
  for (ByteView bytes = streams.peek(stream); !bytes.empty(); bytes = streams.peek(stream)) {
    count += bytes.size();
    streams.consume(stream, bytes.size());
  }
  return count;
}

// "source:N" sends N MiB; "sink:N" takes what comes; "cpu:1" answers with the CPU seconds so far.
class GatewayDriver final : public Driver<tunnel::Server> {
 public:
  using Driver::Driver;

 private:
  void handle_events() override {
    while (const auto event = core_->poll_event()) {
      if (const auto* const request = std::get_if<tunnel::Request>(&*event)) start(*request);
      if (const auto* const readable = std::get_if<tunnel::Readable>(&*event)) drain(*core_, readable->stream);
      if (const auto* const writable = std::get_if<tunnel::Writable>(&*event)) fill(*core_, writable->stream, left_);
      if (const auto* const finished = std::get_if<tunnel::Finished>(&*event)) {
        if (left_ == 0) core_->shutdown_write(finished->stream);
      }
    }
  }
  void start(const tunnel::Request& request) {
    core_->accept(request.stream);
    if (request.target.host == "source") {
      left_ = request.target.port * kMiB;
      fill(*core_, request.stream, left_);
    } else if (request.target.host == "cpu") {
      static_cast<void>(core_->write(request.stream, as_bytes(std::to_string(cpu_seconds()))));
      core_->shutdown_write(request.stream);
    }
  }
  std::uint64_t left_ = 0;
};

class ClientDriver final : public Driver<tunnel::Client> {
 public:
  using Driver::Driver;
  bool confirmed = false;
  bool finished = false;
  std::string text;
  std::uint64_t received = 0;
  std::uint64_t left = 0;
  bool keeps = false;

 private:
  void handle_events() override {
    while (const auto event = core_->poll_event()) {
      if (std::holds_alternative<tunnel::Confirmed>(*event)) confirmed = true;
      if (const auto* const readable = std::get_if<tunnel::Readable>(&*event)) take(readable->stream);
      if (const auto* const writable = std::get_if<tunnel::Writable>(&*event)) fill(*core_, writable->stream, left);
      if (std::holds_alternative<tunnel::Finished>(*event)) finished = true;
      if (const auto* const closed = std::get_if<tunnel::ConnectionClosed>(&*event)) {
        std::fprintf(stderr, "tunnel_bench: %s\n", closed->error.message.c_str());
        std::exit(1);
      }
    }
  }
  void take(StreamId stream) {
    if (keeps) text += as_text(core_->peek(stream));
    received += drain(*core_, stream);
  }
};

void serve(const Credentials& credentials, int port_pipe) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  SystemRandom random;
  OpenGate gate;
  const spa::ConnectionIdKey ids(random);
  const auto tls = value_or_die(TlsContext::make(credentials, TlsDirection::kServer, "h3"));
  const auto server = value_or_die(tunnel::Server::make(*tls, gate, ids, random));
  GatewayDriver driver(loop, *SocketAddress::parse("127.0.0.1:0"));
  driver.serve(server.get());
  const std::uint16_t port = driver.local().port;
  if (write(port_pipe, &port, sizeof(port)) != sizeof(port)) std::exit(1);
  uv_run(&loop, UV_RUN_DEFAULT);
}

class Bench {
 public:
  Bench(const Credentials& credentials, std::uint16_t port) : remote_(*SocketAddress::parse("127.0.0.1:1")) {
    remote_.port = port;
    uv_loop_init(&loop_);
    tls_ = value_or_die(TlsContext::make(credentials, TlsDirection::kClient, "h3"));
    driver_ = std::make_unique<ClientDriver>(loop_, *SocketAddress::parse("127.0.0.1:0"));
    driver_->set_remote(remote_);
  }

  void connect() {
    tunnel::ClientOptions options;
    options.expectation = {"bench", Role::kGateway, Identity{"bench", Role::kGateway, "gw1"}};
    random_.fill(options.token);
    options.dcid.resize(16);
    options.scid.resize(8);
    random_.fill(options.dcid);
    random_.fill(options.scid);
    options.path = kPath;
    driver_->serve(nullptr);
    client_ = value_or_die(tunnel::Client::make(uv::now(), uv::wall_now(), *tls_, random_, options));
    driver_->serve(client_.get());
    driver_->confirmed = false;
    driver_->flush(uv::now());
    while (!driver_->confirmed) uv_run(&loop_, UV_RUN_ONCE);
  }

  void run_stream(const char* host, std::uint16_t port, std::uint64_t upload) {
    const auto stream = value_or_die(client_->open_tcp(*tunnel::Authority::parse(std::string(host) + ":" + std::to_string(port))));
    driver_->finished = false;
    driver_->left = upload;
    if (upload > 0) {
      fill(*client_, stream, driver_->left);
    } else {
      client_->shutdown_write(stream);
    }
    driver_->flush(uv::now());
    while (!driver_->finished) uv_run(&loop_, UV_RUN_ONCE);
    driver_->flush(uv::now());
  }

  double gateway_cpu() {
    driver_->text.clear();
    driver_->keeps = true;
    run_stream("cpu", 1, 0);
    driver_->keeps = false;
    return std::strtod(driver_->text.c_str(), nullptr);
  }

  void measure_handshakes() {
    std::vector<double> times;
    const double cpu = cpu_seconds();
    for (int i = 0; i < kHandshakes; ++i) {
      const Instant start = uv::now();
      connect();
      times.push_back(seconds_since(start) * 1e3);
    }
    const double own = (cpu_seconds() - cpu) / kHandshakes * 1e6;
    std::sort(times.begin(), times.end());
    std::printf("tunnel_handshake_p50 %.2f ms\ntunnel_handshake_p99 %.2f ms\n", times[times.size() / 2],
                times[times.size() * 99 / 100]);
    std::printf("tunnel_handshake_cpu_client %.0f us\ntunnel_handshake_cpu_gateway %.0f us\n", own,
                gateway_cpu() / kHandshakes * 1e6);
  }

  void measure_transfer(const char* name, const char* host, std::uint64_t mib, std::uint64_t upload) {
    const double gateway_before = gateway_cpu();
    const double before = cpu_seconds();
    const Instant start = uv::now();
    run_stream(host, static_cast<std::uint16_t>(mib), upload);
    const double seconds = seconds_since(start);
    const double gib = static_cast<double>(mib) / 1024;
    const double own = (cpu_seconds() - before) / gib;
    const double gateway = (gateway_cpu() - gateway_before) / gib;
    std::printf("%s %.0f Mbit/s client %.2f CPU-s/GiB gateway %.2f CPU-s/GiB\n", name,
                static_cast<double>(mib * kMiB) * 8 / seconds / 1e6, own, gateway);
    std::fflush(stdout);
  }

 private:
  SocketAddress remote_;
  uv_loop_t loop_{};
  SystemRandom random_;
  std::unique_ptr<TlsContext> tls_;
  std::unique_ptr<ClientDriver> driver_;
  std::unique_ptr<tunnel::Client> client_;
};

Credentials issue(Authority& authority, Role role, const char* name) {
  const auto issued = value_or_die(authority.issue({"bench", role, name}, uv::wall_now(), std::chrono::hours(24)));
  return value_or_die(Credentials::from_pem(issued.certificate_pem, issued.key_pem, authority.certificate_pem()));
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1024;
  SystemRandom random;
  const auto authority = value_or_die(Authority::create("bench", uv::wall_now(), random));
  const Credentials gateway = issue(*authority, Role::kGateway, "gw1");
  const Credentials alice = issue(*authority, Role::kClient, "alice");

  int port_pipe[2];
  if (pipe(port_pipe) != 0) return 1;
  const pid_t child = fork();
  if (child == 0) {
    serve(gateway, port_pipe[1]);
    return 0;
  }
  std::uint16_t port = 0;
  if (read(port_pipe[0], &port, sizeof(port)) != sizeof(port)) return 1;
  {
    Bench bench(alice, port);
    bench.measure_handshakes();
    bench.measure_transfer("tunnel_download", "source", mib, 0);
    bench.measure_transfer("tunnel_upload", "sink", mib, mib * kMiB);
  }
  kill(child, SIGTERM);
  waitpid(child, nullptr, 0);
  return 0;
}
