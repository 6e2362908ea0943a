// SPDX-License-Identifier: Apache-2.0
// Site tunnel over loopback, gateway and client in two processes, over QUIC and UDP and over TLS
// and TCP: time and CPU of a handshake (hybrid key exchange, mutual certificates), and throughput
// of one TCP stream each way with the CPU each end pays for it. Peer for comparison: ngtcp2's own
// example server and client (bench/README.md).
//
//   tunnel_bench [MiB per direction, default 1024]

#include <signal.h>
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

#include "tunnel_quic_ends.h"
#include "tunnel_tls_ends.h"

namespace {

using namespace natt;
using namespace natt::bench;

constexpr int kHandshakes = 200;

template <typename End>
class Bench {
 public:
  Bench(const Credentials& credentials, std::uint16_t port, std::string name) : name_(std::move(name)) {
    uv_loop_init(&loop_);
    end_ = std::make_unique<End>(loop_, credentials, port);
  }

  void connect() {
    end_->load().confirmed = false;
    end_->connect();
    while (!end_->load().confirmed) uv_run(&loop_, UV_RUN_ONCE);
  }

  void run_stream(const char* host, std::uint16_t port, std::uint64_t upload) {
    const auto stream = value_or_die(end_->core().open_tcp(*tunnel::Authority::parse(std::string(host) + ":" + std::to_string(port))));
    end_->load().finished = false;
    end_->load().left = upload;
    if (upload > 0) {
      fill(end_->core(), stream, end_->load().left);
    } else {
      end_->core().shutdown_write(stream);
    }
    end_->flush();
    while (!end_->load().finished) uv_run(&loop_, UV_RUN_ONCE);
    end_->flush();
  }

  double gateway_cpu() {
    end_->load().text.clear();
    end_->load().keeps = true;
    run_stream("cpu", 1, 0);
    end_->load().keeps = false;
    return std::strtod(end_->load().text.c_str(), nullptr);
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
    std::printf("%s_handshake_p50 %.2f ms\n%s_handshake_p99 %.2f ms\n", name_.c_str(), times[times.size() / 2],
                name_.c_str(), times[times.size() * 99 / 100]);
    std::printf("%s_handshake_cpu_client %.0f us\n%s_handshake_cpu_gateway %.0f us\n", name_.c_str(), own, name_.c_str(),
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
    std::printf("%s_%s %.0f Mbit/s client %.2f CPU-s/GiB gateway %.2f CPU-s/GiB\n", name_.c_str(), name,
                static_cast<double>(mib * kMiB) * 8 / seconds / 1e6, own, gateway);
    std::fflush(stdout);
  }

 private:
  std::string name_;
  uv_loop_t loop_{};
  std::unique_ptr<End> end_;
};

Credentials issue(Authority& authority, Role role, const char* name) {
  const auto issued = value_or_die(authority.issue({"bench", role, name}, uv::wall_now(), std::chrono::hours(24)));
  return value_or_die(Credentials::from_pem(issued.certificate_pem, issued.key_pem, authority.certificate_pem()));
}

// Gateway and client in two processes.
template <typename End>
int run(const char* name, void (*serve)(const Credentials&, int), const Credentials& gateway,
        const Credentials& client, std::uint64_t mib) {
  int port_pipe[2];
  if (pipe(port_pipe) != 0) return 1;
  const pid_t child = fork();
  if (child == 0) {
    serve(gateway, port_pipe[1]);
    std::exit(0);
  }
  std::uint16_t port = 0;
  if (read(port_pipe[0], &port, sizeof(port)) != sizeof(port)) return 1;
  {
    Bench<End> bench(client, port, name);
    bench.measure_handshakes();
    bench.measure_transfer("download", "source", mib, 0);
    bench.measure_transfer("upload", "sink", mib, mib * kMiB);
  }
  kill(child, SIGTERM);
  waitpid(child, nullptr, 0);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1024;
  SystemRandom random;
  const auto authority = value_or_die(Authority::create("bench", uv::wall_now(), random));
  const Credentials gateway = issue(*authority, Role::kGateway, "gw1");
  const Credentials alice = issue(*authority, Role::kClient, "alice");
  const int quic = run<QuicClient>("tunnel", serve_quic, gateway, alice, mib);
  const int tls = run<TlsClientEnd>("tunnel_tls", serve_tls, gateway, alice, mib);
  return quic + tls;
}
