// SPDX-License-Identifier: Apache-2.0
// Relaying over TCP: CPU time of the forwarding thread per GiB, beside one that splices and does nothing else.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <memory>
#include <thread>

#include <natt/tcp_relay.h>
#include <natt/uv/timer.h>

#include "counted_allocations.h"
#include "relay_bench.h"
#include "src/uv/broker/tcp_splice.h"

namespace natt::relay_bench {
namespace {

constexpr std::uint64_t kVolume = std::uint64_t{256} << 20;
constexpr double kGiB = 1024.0 * 1024 * 1024;

// Two ends of one TCP connection over loopback; `ours` does not block.
struct TcpEnds {
  uv::Descriptor ours, theirs;
};

TcpEnds make_ends() {
  uv::Descriptor listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  check(::bind(listener.get(), plain, length) == 0 && ::listen(listener.get(), 1) == 0 &&
            ::getsockname(listener.get(), plain, &length) == 0,
        "no listener");
  TcpEnds ends{.ours = {}, .theirs = uv::Descriptor(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))};
  check(::connect(ends.theirs.get(), plain, length) == 0, "no connection");
  ends.ours.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  return ends;
}

// Sends kVolume into one end, and takes it from the other.
class TcpTraffic {
 public:
  TcpTraffic(int into, int out_of)
      : sender_([into] {
          const ByteBuffer chunk(256 * 1024, 0x5a);
          for (std::uint64_t sent = 0; sent < kVolume;) {
            const auto left = static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), kVolume - sent));
            const ssize_t taken = ::send(into, chunk.data(), left, MSG_NOSIGNAL);
            check(taken > 0, "sending failed");
            sent += static_cast<std::uint64_t>(taken);
          }
          ::shutdown(into, SHUT_WR);
        }),
        receiver_([out_of] {
          ByteBuffer chunk(256 * 1024);
          std::uint64_t received = 0;
          for (ssize_t got = 1; got > 0; received += static_cast<std::uint64_t>(got)) {
            got = ::recv(out_of, chunk.data(), chunk.size(), 0);
            check(got >= 0, "receiving failed");
          }
          check(received == kVolume, "octets were lost");
          ::shutdown(out_of, SHUT_WR);
        }) {}
  ~TcpTraffic() {
    sender_.join();
    receiver_.join();
  }

 private:
  std::thread sender_, receiver_;
};

void wait_for(int socket, short events) {
  pollfd waiting{socket, events, 0};
  ::poll(&waiting, 1, -1);
}

// The least there is to do: splice in, splice out, wait.
double plain_splice_cost() {
  const TcpEnds client = make_ends();
  const TcpEnds gateway = make_ends();
  uv::SplicePipes pipes({});
  const auto pipe = std::move(*pipes.take());
  const TcpTraffic traffic(client.theirs.get(), gateway.theirs.get());
  const double begin = bench::cpu_nanoseconds();
  for (;;) {
    ssize_t held = ::splice(client.ours.get(), nullptr, pipe.write_end.get(), nullptr, uv::SpliceWay::kChunk,
                            SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (held == 0) break;
    if (held < 0) wait_for(client.ours.get(), POLLIN);
    while (held > 0) {
      const ssize_t out = ::splice(pipe.read_end.get(), nullptr, gateway.ours.get(), nullptr,
                                   static_cast<std::size_t>(held), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (out < 0) wait_for(gateway.ours.get(), POLLOUT);
      if (out > 0) held -= out;
    }
  }
  ::shutdown(gateway.ours.get(), SHUT_WR);
  return (bench::cpu_nanoseconds() - begin) / static_cast<double>(kVolume) * kGiB;
}

struct SpliceEnd final : uv::TcpSplice::Listener {
  bool ended = false;
  void on_splice_ended(Instant, TcpPairId) override { ended = true; }
  void on_splice_paused(Instant, TcpPairId) override {}
};

TcpRelayPaired pair_up(TcpRelay& relay, std::uint8_t number = 0) {
  const Identity client{"hq", Role::kClient, "alice"};
  const Identity gateway{"hq", Role::kGateway, "gw1"};
  const TcpLegId first{2u * number + 1u};
  const TcpLegId second{2u * number + 2u};
  const auto tokens = relay.issue(uv::now(), client, gateway, {number});
  (void)relay.handle_join(uv::now(), first, client, {}, tokens->client);
  (void)relay.handle_join(uv::now(), second, gateway, {}, tokens->gateway);
  (void)relay.handle_bytes(uv::now(), first, kRelayJoinConfirmation);
  (void)relay.handle_bytes(uv::now(), second, kRelayJoinConfirmation);
  auto event = relay.poll_event();
  check(event && std::holds_alternative<TcpRelayPaired>(*event), "the legs were not paired");
  return std::move(std::get<TcpRelayPaired>(*event));
}

double relayed_tcp_cost(const RelayServerOptions& quotas) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  double cost = 0;
  {
    SystemRandom random;
    RelayServer server(quotas, RelayKey{}, random);
    TcpRelay relay({}, server.accounts(), random);
    TcpEnds client = make_ends();
    TcpEnds gateway = make_ends();
    uv::SplicePipes pipes({});
    SpliceEnd end;
    auto splice = std::move(*uv::TcpSplice::make(loop, pair_up(relay), std::move(client.ours), std::move(gateway.ours),
                                                 relay, pipes, end));
    const TcpTraffic traffic(client.theirs.get(), gateway.theirs.get());
    const double begin = bench::cpu_nanoseconds();
    splice->start(uv::now());
    while (!end.ended) uv_run(&loop, UV_RUN_ONCE);
    cost = (bench::cpu_nanoseconds() - begin) / static_cast<double>(kVolume) * kGiB;
    check(relay.stats().bytes_forwarded == kVolume, "octets were not counted");
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
  return cost;
}

}  // namespace

void bench_idle_tcp_session() {
  constexpr std::uint8_t kSessions = 100;
  uv_loop_t loop;
  uv_loop_init(&loop);
  {
    SystemRandom random;
    RelayServer server({}, RelayKey{}, random);
    TcpRelay relay({}, server.accounts(), random);
    uv::SplicePipes pipes({});
    SpliceEnd end;
    std::vector<TcpEnds> ends(2 * kSessions);
    for (TcpEnds& each : ends) each = make_ends();
    std::vector<std::unique_ptr<uv::TcpSplice>> splices(kSessions);
    const std::int64_t before = bench::allocated_bytes.load();
    for (std::uint8_t i = 0; i < kSessions; ++i) {
      splices[i] = std::move(*uv::TcpSplice::make(loop, pair_up(relay, i), std::move(ends[2u * i].ours),
                                                  std::move(ends[2u * i + 1].ours), relay, pipes, end));
      splices[i]->start(uv::now());
    }
    bench::print("relay_tcp_idle_session", static_cast<double>(bench::allocated_bytes.load() - before) / kSessions, "bytes");
    check(pipes.idle() == 1, "idle sessions hold pipes");
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
}

void bench_tcp() {
  std::vector<double> plain, relayed, limited;
  for (int i = 0; i < 5; ++i) {
    plain.push_back(plain_splice_cost());
    relayed.push_back(relayed_tcp_cost({}));
    limited.push_back(relayed_tcp_cost({.per_client = kNeverReached, .per_site = kNeverReached}));
  }
  const auto print = [](const char* name, std::vector<double>& samples) {
    bench::print(name, summary(samples).ns_per_op / 1e6, "ms/GiB");
  };
  print("relay_tcp_yardstick", plain);
  print("relay_tcp", relayed);
  print("relay_tcp_quotas", limited);
}

}  // namespace natt::relay_bench
