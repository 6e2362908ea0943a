// SPDX-License-Identifier: Apache-2.0

// What the relay costs: forwarding in memory (with an assertion that it allocates
// nothing), the memory of an idle session, and a relay on loopback beside a forwarder
// that does nothing but receive and send, alternating within one run.
//
// Loopback figures are CPU time of the forwarding thread per datagram of 1200 octets;
// one more thread sends and a third receives, so on two cores they share. Relaying over TCP
// is relay_tcp_bench.cc.

#include <uv.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <natt/relay_leg.h>
#include <natt/relay_server.h>
#include <natt/uv/timer.h>
#include <natt/uv/udp_socket.h>

#include "counted_allocations.h"
#include "harness.h"
#include "relay_bench.h"

namespace {

using namespace natt;
using namespace std::chrono_literals;
using namespace natt::relay_bench;
using bench::allocated_bytes;
using bench::allocations;

constexpr std::size_t kPacket = 1200;
constexpr std::size_t kSegment = kPacket + kRelayHeaderSize;
constexpr std::size_t kTrain = 43;

SocketAddress loopback(std::uint16_t port) { return {IpAddress::v4({127, 0, 0, 1}), port}; }

struct Session {
  std::unique_ptr<RelayLeg> client, gateway;
};

// A relay with bound sessions, in memory.
struct Relay {
  explicit Relay(RelayServerOptions options = {}) : server(options, RelayKey{}, random) {}

  SystemRandom random;
  RelayServer server;
  Instant now = uv::now();
  WallTime wall = uv::wall_now();
  SocketAddress address = loopback(443);

  void bind(RelayLeg& leg, const SocketAddress& source) {
    leg.start(now, wall);
    while (auto request = leg.poll_transmit()) {
      MutableBytes train = request->bytes;
      (void)server.handle_train(now, wall, source, address.ip, train, 0);
      while (auto reply = server.poll_transmit()) {
        if (reply->to == source) leg.handle_datagram(now, wall, address, reply->bytes);
      }
    }
    check(leg.bound(), "a leg did not bind");
  }

  Session open(const SocketAddress& client, const SocketAddress& gateway) {
    auto grants = server.issue({"hq", Role::kClient, "c" + std::to_string(client.port)}, {"hq", Role::kGateway, "gw1"},
                               std::nullopt, wall);
    const RelayLeg::Options options{.relay = address, .local = {}};
    Session session{std::make_unique<RelayLeg>(options, std::move(grants->client)),
                    std::make_unique<RelayLeg>(options, std::move(grants->gateway))};
    bind(*session.client, client);
    bind(*session.gateway, gateway);
    return session;
  }
};

ByteBuffer make_train(const RelayLeg& leg, std::size_t count) {
  ByteBuffer train;
  for (std::size_t i = 0; i < count; ++i) {
    train.insert(train.end(), leg.header().begin(), leg.header().end());
    train.insert(train.end(), kPacket, static_cast<std::uint8_t>(i));
  }
  return train;
}

SocketAddress numbered(std::uint8_t net, std::uint32_t number) {
  return {IpAddress::v4({10, net, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}),
          static_cast<std::uint16_t>(1000 + number % 60000)};
}

// -- In memory ---------------------------------------------------------------

void bench_memory(const char* name, std::size_t session_count, std::size_t train_length, RelayServerOptions options) {
  Relay relay(options);
  std::vector<Session> sessions;
  std::vector<std::array<std::uint8_t, kRelayHeaderSize>> headers;
  for (std::uint32_t i = 0; i < session_count; ++i) {
    sessions.push_back(relay.open(numbered(1, i), numbered(2, i)));
    headers.push_back(sessions.back().client->header());
  }
  ByteBuffer train = make_train(*sessions[0].client, train_length);
  constexpr std::size_t kRounds = 200'000;
  const std::uint64_t before = allocations.load();
  const std::uint64_t forwarded_before = relay.server.stats().packets_forwarded;
  // `handle` is left out for the price of the bench's own work.
  const auto measure = [&](bool handle) {
    return bench::measure(kRounds * train_length, [&] {
      std::size_t at = 0;
      for (std::size_t round = 0; round < kRounds; ++round) {
        at = (at + 7919) % session_count;
        // What the kernel would have written: the client's leg id in front of each packet.
        for (std::size_t i = 0; i < train_length; ++i) {
          std::copy(headers[at].begin(), headers[at].end(), train.begin() + static_cast<std::ptrdiff_t>(i * kSegment));
        }
        const SocketAddress from = numbered(1, static_cast<std::uint32_t>(at));
        bench::keep(from);
        if (!handle) continue;
        MutableBytes rest = train;
        bench::keep(relay.server.handle_train(relay.now, relay.wall, from, relay.address.ip, rest, kSegment));
      }
    });
  };
  const auto own = measure(false);
  auto measured = measure(true);
  // The vectors of samples are the harness's.
  check(allocations.load() - before < 32, "forwarding allocated memory");
  const std::uint64_t forwarded = relay.server.stats().packets_forwarded - forwarded_before;
  check(forwarded == 6 * kRounds * train_length, "packets were dropped");
  measured.ns_per_op -= own.ns_per_op;
  bench::print(name, measured);
}

void bench_strangers() {
  Relay relay;
  const Session session = relay.open(numbered(1, 1), numbered(2, 1));
  ByteBuffer train = make_train(*session.client, 1);
  train[10] ^= 1;
  const std::uint64_t before = allocations.load();
  const auto measured = bench::measure(1'000'000, [&] {
    for (int i = 0; i < 1'000'000; ++i) {
      MutableBytes rest = train;
      bench::keep(relay.server.handle_train(relay.now, relay.wall, numbered(1, 1), relay.address.ip, rest, kSegment));
    }
  });
  check(allocations.load() - before < 16, "rejecting allocated memory");
  bench::print("relay_reject_unknown_leg", measured);
  ByteBuffer bind(14 + 16 + 120 + 16, 0x33);
  bind[0] = kRelayFirstByte;
  bind[1] = static_cast<std::uint8_t>(RelayKind::kBind);
  for (std::size_t i = 22; i < 30; ++i) bind[i] = 0;
  bench::run("relay_reject_forged_bind", 100'000, [&] {
    for (int i = 0; i < 100'000; ++i) {
      MutableBytes rest = bind;
      bench::keep(relay.server.handle_train(relay.now, relay.wall, numbered(1, 1), relay.address.ip, rest, 0));
    }
  });
  check(relay.server.stats().bad_grant == 600'000, "a forged grant was not refused");
}

void bench_idle_session() {
  Relay relay;
  constexpr std::uint32_t kSessions = 20'000;
  const std::int64_t before = allocated_bytes.load();
  for (std::uint32_t i = 0; i < kSessions; ++i) (void)relay.open(numbered(1, i), numbered(2, i));
  const double bytes = static_cast<double>(allocated_bytes.load() - before) / kSessions;
  bench::print("relay_idle_session", bytes, "bytes");
  check(bytes <= 4096, "an idle session costs more than 4 KB");
}

// -- Loopback ----------------------------------------------------------------

// Receives trains and hands them on: by the relay's rules, or blindly.
class Forwarder final : public uv::UdpSocket::Listener {
 public:
  Forwarder(uv_loop_t& loop, bool gso) {
    uv::UdpSocket::Options options{.bind = loopback(0)};
    options.gro = options.gso = gso;
    socket_ = std::move(*uv::UdpSocket::open(loop, options, *this));
    relay_.address = socket_->local_address();
  }

  [[nodiscard]] SocketAddress address() const { return socket_->local_address(); }
  [[nodiscard]] std::uint64_t datagrams() const { return socket_->stats().datagrams_sent; }
  Session open(const SocketAddress& client, const SocketAddress& gateway) {
    blind_to_ = gateway;
    return relay_.open(client, gateway);
  }
  void set_blind(bool blind) { blind_ = blind; }

 private:
  void on_train(Instant now, const uv::ReceivedTrain& train) override {
    if (blind_) {
      send(blind_to_, train.local, train.bytes, train.segment_size);
      return;
    }
    MutableBytes rest = train.bytes;
    while (!rest.empty()) {
      const auto out = relay_.server.handle_train(now, relay_.wall, train.from, train.local, rest, train.segment_size);
      if (out) send(out->to, out->from, out->bytes, train.segment_size);
    }
  }
  void on_receive_done(Instant /*now*/) override {}
  void on_writable(Instant /*now*/) override {}
  void send(const SocketAddress& to, const IpAddress& from, ByteView bytes, std::size_t segment_size) {
    (void)socket_->send({.to = to, .from = from, .header = {}, .bytes = bytes, .segment_size = segment_size});
  }

  Relay relay_;
  std::unique_ptr<uv::UdpSocket> socket_;
  SocketAddress blind_to_;
  bool blind_ = true;
};

struct Ignore final : uv::UdpSocket::Listener {
  std::size_t received = 0;
  void on_train(Instant, const uv::ReceivedTrain& train) override { received += train.bytes.size(); }
  void on_receive_done(Instant) override {}
  void on_writable(Instant) override {}
};

// Sends trains to the forwarder and takes what comes out, in a loop of its own.
class Traffic {
 public:
  Traffic() {
    uv_loop_init(&loop_);
    source_ = std::move(*uv::UdpSocket::open(loop_, {.bind = loopback(0)}, ignore_));
    sink_ = std::move(*uv::UdpSocket::open(loop_, {.bind = loopback(0)}, ignore_));
  }
  ~Traffic() {
    source_.reset();
    sink_.reset();
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
  }
  [[nodiscard]] SocketAddress source() const { return source_->local_address(); }
  [[nodiscard]] SocketAddress sink() const { return sink_->local_address(); }

  void run(const SocketAddress& to, const ByteBuffer& train, const std::atomic<bool>& stop) {
    const std::size_t burst = train.size() * 4;
    std::size_t sent = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      // At most a few trains ahead of what came out, so that nothing is lost and every packet is forwarded once.
      if (sent < ignore_.received + burst) {
        (void)source_->send({.to = to, .from = {}, .header = {}, .bytes = train, .segment_size = kSegment});
        sent += train.size();
      }
      uv_run(&loop_, UV_RUN_NOWAIT);
    }
  }

 private:
  uv_loop_t loop_{};
  Ignore ignore_;
  std::unique_ptr<uv::UdpSocket> source_, sink_;
};

// CPU nanoseconds of the forwarding thread per datagram, over `seconds`.
double cost_of(uv_loop_t& loop, Forwarder& forwarder, bool blind, double seconds) {
  forwarder.set_blind(blind);
  const std::uint64_t before = forwarder.datagrams();
  const double cpu = bench::cpu_nanoseconds();
  const Instant until = uv::now() + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
  while (uv::now() < until) uv_run(&loop, UV_RUN_ONCE);
  const auto forwarded = static_cast<double>(forwarder.datagrams() - before);
  check(forwarded > 1000, "no traffic got through");
  return (bench::cpu_nanoseconds() - cpu) / forwarded;
}

void bench_loopback(const std::string& name, bool gso) {
  uv_loop_t loop;
  uv_loop_init(&loop);
  {
    Traffic traffic;
    Forwarder forwarder(loop, gso);
    const Session session = forwarder.open(traffic.source(), traffic.sink());
    const ByteBuffer train = make_train(*session.client, kTrain);
    std::atomic<bool> stop{false};
    std::thread thread([&] { traffic.run(forwarder.address(), train, stop); });
    std::vector<double> blind, relayed;
    for (int i = 0; i < 7; ++i) {
      blind.push_back(cost_of(loop, forwarder, true, 0.15));
      relayed.push_back(cost_of(loop, forwarder, false, 0.15));
    }
    stop = true;
    thread.join();
    bench::print(name + "_yardstick", summary(blind));
    bench::print(name, summary(relayed));
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
}

}  // namespace

int main() {
  bench_memory("relay_forward_train43_1_session", 1, kTrain, {});
  bench_memory("relay_forward_single_1_session", 1, 1, {});
  bench_memory("relay_forward_single_10k_sessions", 10'000, 1, {});
  bench_memory("relay_forward_single_10k_quotas", 10'000, 1,
               {.per_client = kNeverReached, .per_site = kNeverReached});
  bench_strangers();
  bench_idle_session();
  bench_loopback("relay_loopback_gro_gso", true);
  bench_loopback("relay_loopback_plain", false);
  bench_idle_tcp_session();
  bench_tcp();
  return 0;
}
