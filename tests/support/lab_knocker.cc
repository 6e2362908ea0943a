// SPDX-License-Identifier: Apache-2.0
// Many knocks at one broker, timed. Each is a knock over UDP with its repeats, and one connection over TCP that is tried
// until the broker's first TLS octet is there: only then is the door open. Written around libspa alone.
//
//   lab_knocker --to 198.51.100.10 --port 443 --keys FILE [--keys FILE...] --count 100 --rate 30
//     --syn           the SPA hello travels in the SYN (TCP_FASTOPEN_NO_COOKIE)
//     --no-udp        TCP alone
//     --no-dns        UDP to the service port alone
//     --attempts 0,100,200,400,800,1600    when a new socket is tried, in ms after the knock
//     --timeout 3000  ms after which a knock has failed
//     --from A,B,C    source addresses, taken in turn
//     --log FILE      one line per knock: start (unix s), ms to the SYN-ACK, ms to the first octet; -1 for never
//     --save FILE     no TCP: writes the UDP datagrams as payloads for lab_flood, sends nothing
//
// Prints `knocks N opened M synack p50 A p99 B ms open p50 C p99 D max E ms`; status 0 when all were made.
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <natt/spa/knock_schedule.h>

#include "support/knock_key_file.h"

using namespace natt;

namespace {

struct Options {
  std::string to;
  std::uint16_t port = 443;
  std::vector<std::string> keys;
  std::size_t count = 1;
  double rate = 10;
  bool syn = false;
  bool udp = true;
  bool dns = true;
  std::uint16_t dns_port = 53;
  std::vector<int> attempts{0, 100, 200, 400, 800, 1600};
  int timeout_ms = 3000;
  std::vector<std::string> from;
  std::string log;
  std::string save;
};

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "lab_knocker: %s\n", why.c_str());
  std::exit(2);
}

Instant now() { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }

WallTime wall_now() {
  return WallTime(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()));
}

double milliseconds(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

std::vector<int> parse_numbers(const std::string& text) {
  std::vector<int> numbers;
  for (const auto& part : split(text)) numbers.push_back(std::atoi(part.c_str()));
  return numbers;
}

Options parse_options(int argc, char** argv) {
  static const option kNames[] = {{"to", 1, nullptr, 't'},      {"port", 1, nullptr, 'p'},    {"keys", 1, nullptr, 'k'},
                                  {"count", 1, nullptr, 'c'},   {"rate", 1, nullptr, 'r'},    {"syn", 0, nullptr, 's'},
                                  {"no-udp", 0, nullptr, 'u'},  {"attempts", 1, nullptr, 'a'}, {"timeout", 1, nullptr, 'x'},
                                  {"log", 1, nullptr, 'l'},     {"save", 1, nullptr, 'w'},    {"from", 1, nullptr, 'f'},
                                  {"no-dns", 0, nullptr, 'n'},  {"dns-port", 1, nullptr, 'd'},
                                  {nullptr, 0, nullptr, 0}};
  Options options;
  for (int name = 0; (name = getopt_long(argc, argv, "", kNames, nullptr)) != -1;) {
    switch (name) {
      case 't': options.to = optarg; break;
      case 'p': options.port = static_cast<std::uint16_t>(std::strtoul(optarg, nullptr, 10)); break;
      case 'k': options.keys.emplace_back(optarg); break;
      case 'c': options.count = std::strtoul(optarg, nullptr, 10); break;
      case 'r': options.rate = std::strtod(optarg, nullptr); break;
      case 's': options.syn = true; break;
      case 'u': options.udp = false; break;
      case 'a': options.attempts = parse_numbers(optarg); break;
      case 'x': options.timeout_ms = std::atoi(optarg); break;
      case 'n': options.dns = false; break;
      case 'd': options.dns_port = static_cast<std::uint16_t>(std::strtoul(optarg, nullptr, 10)); break;
      case 'f': options.from = split(optarg); break;
      case 'l': options.log = optarg; break;
      case 'w': options.save = optarg; break;
      default: die("see the comment at the top of lab_knocker.cc");
    }
  }
  if (options.keys.empty() || options.rate <= 0 || options.attempts.empty()) die("say --keys, a --rate, --attempts");
  return options;
}

struct Target {
  sockaddr_storage address{};
  socklen_t size = 0;

  Target(const std::string& text, std::uint16_t port) {
    const auto ip = IpAddress::parse(text);
    if (!ip) die("no address: " + text);
    if (ip->is_v4()) {
      sockaddr_in in{};
      in.sin_family = AF_INET;
      in.sin_port = htons(port);
      const auto octets = ip->v4_octets();
      std::memcpy(&in.sin_addr, octets.data(), octets.size());
      std::memcpy(&address, &in, size = sizeof in);
    } else {
      sockaddr_in6 in{};
      in.sin6_family = AF_INET6;
      in.sin6_port = htons(port);
      std::memcpy(&in.sin6_addr, ip->octets().data(), 16);
      std::memcpy(&address, &in, size = sizeof in);
    }
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// A descriptor that closes itself.
class Socket {
 public:
  // Bound to an address of ours, when one is named.
  Socket(const Target& target, int kind, const Target* from)
      : descriptor_(socket(target.get()->sa_family, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    if (descriptor_ < 0) die(std::string("no socket: ") + std::strerror(errno));
    if (from == nullptr) return;
    const int on = 1;
    setsockopt(descriptor_, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(descriptor_, from->get(), from->size) != 0) die(std::string("cannot bind: ") + std::strerror(errno));
  }
  ~Socket() { close(descriptor_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// One connection of a knock: its own frame, bound to its own hello.
class Attempt {
 public:
  Attempt(const Target& target, const Target* from, const Options& options, spa::Knocker& knocker, spa::KnockId id,
          Random& random)
      : socket_(target, SOCK_STREAM, from) {
    const int on = 1;
    const linger reset{1, 0};  // nothing of thousands of connections stays behind
    setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const ByteBuffer hello = test::make_client_hello(random);
    rest_ = knocker.make_tcp_hello(wall_now(), id, hello);
    rest_.insert(rest_.end(), hello.begin(), hello.end());
    if (options.syn) {
      setsockopt(socket_.get(), IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &on, sizeof on);
      const ssize_t sent = sendto(socket_.get(), rest_.data(), rest_.size(), MSG_FASTOPEN | MSG_NOSIGNAL, target.get(), target.size);
      if (sent > 0) rest_.erase(rest_.begin(), rest_.begin() + sent);
    } else {
      [[maybe_unused]] const int started = connect(socket_.get(), target.get(), target.size);
    }
  }

  [[nodiscard]] int descriptor() const { return socket_.get(); }
  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] bool answered() const { return answered_; }
  [[nodiscard]] short wanted() const {
    if (ended_) return 0;
    return static_cast<short>(!connected_ || !rest_.empty() ? POLLIN | POLLOUT : POLLIN);
  }

  void handle(short events) {
    if ((events & POLLOUT) != 0 && !connected_) handle_writable();
    if ((events & (POLLIN | POLLERR | POLLHUP)) != 0 && !ended_) handle_readable();
  }

 private:
  void handle_writable() {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      ended_ = true;
      return;
    }
    connected_ = true;
    if (rest_.empty()) return;
    const ssize_t sent = send(socket_.get(), rest_.data(), rest_.size(), MSG_NOSIGNAL);
    if (sent > 0) rest_.erase(rest_.begin(), rest_.begin() + sent);
  }

  void handle_readable() {
    std::uint8_t octets[64];
    const ssize_t size = recv(socket_.get(), octets, sizeof octets, 0);
    if (size > 0) answered_ = true;
    if (size == 0 || (size < 0 && errno != EAGAIN)) ended_ = true;
  }

  Socket socket_;
  ByteBuffer rest_;
  bool connected_ = false;
  bool ended_ = false;
  bool answered_ = false;
};

struct Outcome {
  double start = 0;  // unix seconds
  double synack_ms = -1;
  double open_ms = -1;
};

// One logical knock on all its carriers.
class Knock {
 public:
  Knock(const Target& target, const Target* from, const Options& options, spa::Knocker& knocker, Random& random)
      : target_(target), dns_target_(options.to, options.dns_port), from_(from), options_(options), knocker_(knocker),
        random_(random), udp_(target, SOCK_DGRAM, from),
        schedule_(knocker, options.dns ? spa::KnockPorts::kServiceAndDns : spa::KnockPorts::kServiceOnly),
        started_(now()) {
    outcome_.start = static_cast<double>(wall_now().time_since_epoch().count()) / 1000;
    id_ = schedule_.start(started_);
    if (!options.udp) schedule_.stop();
    handle_timeout();
  }

  [[nodiscard]] bool done() const { return outcome_.open_ms >= 0 || age() >= options_.timeout_ms; }
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }

  // Sends and starts what is due.
  void handle_timeout() {
    schedule_.handle_timeout(now());
    while (const auto knock = schedule_.poll_transmit(wall_now())) {
      const Target& to = knock->carrier == spa::Transport::kDns ? dns_target_ : target_;
      sendto(udp_.get(), knock->datagram.data(), knock->datagram.size(), 0, to.get(), to.size);
    }
    while (next_ < options_.attempts.size() && age() >= options_.attempts[next_]) {
      attempts_.emplace_back(target_, from_, options_, knocker_, id_, random_);
      ++next_;
    }
  }

  // Milliseconds until something is due.
  [[nodiscard]] double wait() const {
    double at = options_.timeout_ms;
    if (next_ < options_.attempts.size()) at = std::min(at, static_cast<double>(options_.attempts[next_]));
    if (const auto deadline = schedule_.next_deadline()) at = std::min(at, milliseconds(*deadline - started_));
    return at - age();
  }

  void add_to(std::vector<pollfd>& polled) const {
    for (const auto& attempt : attempts_) polled.push_back({attempt.wanted() != 0 ? attempt.descriptor() : -1, attempt.wanted(), 0});
  }

  // Takes as many results as add_to gave.
  std::size_t handle(const pollfd* polled) {
    std::size_t used = 0;
    for (auto& attempt : attempts_) {
      const short events = polled[used++].revents;
      if (events == 0) continue;
      attempt.handle(events);
      if (attempt.connected() && outcome_.synack_ms < 0) outcome_.synack_ms = age();
      if (attempt.answered() && outcome_.open_ms < 0) outcome_.open_ms = age();
    }
    return used;
  }

 private:
  [[nodiscard]] double age() const { return milliseconds(now() - started_); }

  const Target& target_;
  const Target dns_target_;
  const Target* from_;
  const Options& options_;
  spa::Knocker& knocker_;
  Random& random_;
  Socket udp_;
  spa::KnockSchedule schedule_;
  Instant started_;
  spa::KnockId id_{};
  std::list<Attempt> attempts_;
  std::size_t next_ = 0;
  Outcome outcome_;
};

using Knockers = std::vector<std::unique_ptr<spa::Knocker>>;

void step(std::list<std::unique_ptr<Knock>>& running, double until_next_ms) {
  std::vector<pollfd> polled;
  double wait = until_next_ms;
  for (const auto& knock : running) {
    knock->add_to(polled);
    wait = std::min(wait, knock->wait());
  }
  timespec timeout{};
  const auto nanoseconds = static_cast<std::int64_t>(std::max(0.0, wait) * 1e6);
  timeout.tv_sec = static_cast<time_t>(nanoseconds / 1'000'000'000);
  timeout.tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000);
  ppoll(polled.data(), polled.size(), &timeout, nullptr);
  const pollfd* at = polled.data();
  for (auto& knock : running) {
    at += knock->handle(at);
    knock->handle_timeout();
  }
}

std::vector<Outcome> run(const Options& options, const Knockers& knockers, Random& random) {
  const Target target(options.to, options.port);
  std::vector<Target> from;
  for (const auto& address : options.from) from.emplace_back(address, std::uint16_t{0});
  std::vector<Outcome> outcomes;
  std::list<std::unique_ptr<Knock>> running;
  const Instant start = now();
  for (std::size_t begun = 0; begun < options.count || !running.empty();) {
    const double due = static_cast<double>(begun) * 1000 / options.rate - milliseconds(now() - start);
    if (begun < options.count && due <= 0) {
      const Target* own = from.empty() ? nullptr : &from[begun % from.size()];
      running.push_back(std::make_unique<Knock>(target, own, options, *knockers[begun % knockers.size()], random));
      ++begun;
      continue;
    }
    step(running, begun < options.count ? due : 1000);
    std::erase_if(running, [&](const auto& knock) {
      if (knock->done()) outcomes.push_back(knock->outcome());
      return knock->done();
    });
  }
  return outcomes;
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return -1;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

void report(const Options& options, const std::vector<Outcome>& outcomes) {
  std::vector<double> synacks;
  std::vector<double> opens;
  for (const auto& outcome : outcomes) {
    if (outcome.synack_ms >= 0) synacks.push_back(outcome.synack_ms);
    if (outcome.open_ms >= 0) opens.push_back(outcome.open_ms);
  }
  std::printf("knocks %zu opened %zu synack p50 %.3f p99 %.3f ms open p50 %.3f p99 %.3f max %.3f ms\n", outcomes.size(),
              opens.size(), percentile(synacks, 0.5), percentile(synacks, 0.99), percentile(opens, 0.5),
              percentile(opens, 0.99), percentile(opens, 1));
  if (options.log.empty()) return;
  FILE* file = std::fopen(options.log.c_str(), "w");
  if (file == nullptr) die("cannot write " + options.log);
  for (const auto& each : outcomes) std::fprintf(file, "%.6f %.3f %.3f\n", each.start, each.synack_ms, each.open_ms);
  std::fclose(file);
}

// Datagrams that nobody has sent yet.
void save(const Options& options, const Knockers& knockers) {
  FILE* file = std::fopen(options.save.c_str(), "wb");
  if (file == nullptr) die("cannot write " + options.save);
  for (std::size_t count = 0; count < options.count; ++count) {
    auto& knocker = *knockers[count % knockers.size()];
    const ByteBuffer datagram = knocker.make_udp_knock(wall_now(), knocker.next_knock_id());
    std::fputc(static_cast<int>(datagram.size() >> 8), file);
    std::fputc(static_cast<int>(datagram.size() & 255), file);
    std::fwrite(datagram.data(), 1, datagram.size(), file);
  }
  std::fclose(file);
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse_options(argc, argv);
  SystemRandom random;
  Knockers knockers;
  for (const auto& path : options.keys) {
    knockers.push_back(test::read_knocker(path, random));
    if (!knockers.back()) die("no keys in " + path);
  }
  if (!options.save.empty()) {
    save(options, knockers);
    return 0;
  }
  report(options, run(options, knockers, random));
  return 0;
}
