// SPDX-License-Identifier: Apache-2.0

// What the relay costs: forwarding in memory (with an assertion that it allocates
// nothing), the memory of an idle session, and a relay on loopback beside a forwarder
// that does nothing but receive and send, alternating within one run.
//
// Loopback figures are CPU time of the forwarding thread per datagram of 1200 octets;
// one more thread sends and a third receives, so on two cores they share. Relaying over TCP
// is CPU time of the forwarding thread per GiB, beside one that splices and does nothing else.

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <natt/relay_leg.h>
#include <natt/relay_server.h>
#include <natt/tcp_relay.h>
#include <natt/uv/timer.h>
#include <natt/uv/udp_socket.h>

#include "harness.h"
#include "src/uv/broker/tcp_splice.h"

namespace {

std::atomic<std::uint64_t> allocations{0};
std::atomic<std::int64_t> allocated_bytes{0};

}  // namespace

// Counted for the assertions; sizes are kept in front of each block.
void* operator new(std::size_t size) {
  auto* block = static_cast<std::size_t*>(std::malloc(size + 64));
  if (block == nullptr) std::abort();
  block[0] = size;
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(static_cast<std::int64_t>(size), std::memory_order_relaxed);
  return reinterpret_cast<char*>(block) + 64;
}
void operator delete(void* pointer) noexcept {
  if (pointer == nullptr) return;
  auto* block = reinterpret_cast<std::size_t*>(static_cast<char*>(pointer) - 64);
  allocated_bytes.fetch_sub(static_cast<std::int64_t>(block[0]), std::memory_order_relaxed);
  std::free(block);
}
void operator delete(void* pointer, std::size_t) noexcept { operator delete(pointer); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  const auto step = static_cast<std::size_t>(alignment);
  void* block = std::aligned_alloc(step, (size + step - 1) / step * step);
  if (block == nullptr) std::abort();
  allocations.fetch_add(1, std::memory_order_relaxed);
  allocated_bytes.fetch_add(static_cast<std::int64_t>(size), std::memory_order_relaxed);
  return block;
}
void operator delete(void* pointer, std::align_val_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::size_t size, std::align_val_t) noexcept {
  allocated_bytes.fetch_sub(static_cast<std::int64_t>(size), std::memory_order_relaxed);
  std::free(pointer);
}

namespace {

using namespace natt;
using namespace std::chrono_literals;

constexpr std::size_t kPacket = 1200;
constexpr std::size_t kSegment = kPacket + kRelayHeaderSize;
constexpr std::size_t kTrain = 43;
constexpr RelayQuota kNeverReached{.bits_per_second = std::uint64_t{1} << 60};

SocketAddress loopback(std::uint16_t port) { return {IpAddress::v4({127, 0, 0, 1}), port}; }

void check(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "relay_bench: %s\n", what);
  std::exit(1);
}

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

bench::Measurement summary(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const double median = samples[samples.size() / 2];
  return {median, (samples.back() - samples.front()) / median * 100};
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

// -- TCP ---------------------------------------------------------------------

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

// What a session costs that moves nothing: memory of the process, and no descriptor but its two sockets.
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
    const std::int64_t before = allocated_bytes.load();
    for (std::uint8_t i = 0; i < kSessions; ++i) {
      splices[i] = std::move(*uv::TcpSplice::make(loop, pair_up(relay, i), std::move(ends[2u * i].ours),
                                                  std::move(ends[2u * i + 1].ours), relay, pipes, end));
      splices[i]->start(uv::now());
    }
    bench::print("relay_tcp_idle_session", static_cast<double>(allocated_bytes.load() - before) / kSessions, "bytes");
    check(pipes.idle() == 1, "idle sessions hold pipes");
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  uv_loop_close(&loop);
}

// Milliseconds of a core per GiB, median of runs that alternate.
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
