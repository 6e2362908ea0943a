// SPDX-License-Identifier: Apache-2.0
#include "support/timed_knock.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "support/knock_key_file.h"

namespace natt::test {
namespace {

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "lab_knocker: %s\n", why.c_str());
  std::exit(2);
}

double milliseconds(Duration duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

}  // namespace

Instant steady_now() { return Instant(std::chrono::steady_clock::now().time_since_epoch()); }

WallTime system_now() {
  return WallTime(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()));
}

Target::Target(const std::string& text, std::uint16_t port) {
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

// A descriptor that closes itself.
class TimedKnock::Socket {
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
class TimedKnock::Attempt {
 public:
  Attempt(const Target& target, const Target* from, bool in_syn, spa::Knocker& knocker, spa::KnockId id, Random& random)
      : socket_(target, SOCK_STREAM, from) {
    const int on = 1;
    const linger reset{1, 0};  // nothing of thousands of connections stays behind
    setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    const ByteBuffer hello = make_client_hello(random);
    rest_ = knocker.make_tcp_hello(system_now(), id, hello);
    rest_.insert(rest_.end(), hello.begin(), hello.end());
    if (in_syn) {
      setsockopt(socket_.get(), IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &on, sizeof on);
      const ssize_t sent = sendto(socket_.get(), rest_.data(), rest_.size(), MSG_FASTOPEN | MSG_NOSIGNAL, target.get(),
                                  target.size);
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

TimedKnock::TimedKnock(const Target& target, const Target* from, const KnockPlan& plan, spa::Knocker& knocker,
                       Random& random)
    : target_(target), dns_target_(plan.to, plan.dns_port), from_(from), plan_(plan), knocker_(knocker), random_(random),
      udp_(std::make_unique<Socket>(target, SOCK_DGRAM, from)),
      schedule_(knocker, plan.dns ? spa::KnockPorts::kServiceAndDns : spa::KnockPorts::kServiceOnly),
      started_(steady_now()) {
  outcome_.start = static_cast<double>(system_now().time_since_epoch().count()) / 1000;
  id_ = schedule_.start(started_);
  if (!plan.udp) schedule_.stop();
  handle_timeout();
}

TimedKnock::~TimedKnock() = default;

double TimedKnock::age() const { return milliseconds(steady_now() - started_); }

void TimedKnock::handle_timeout() {
  schedule_.handle_timeout(steady_now());
  while (const auto knock = schedule_.poll_transmit(system_now())) {
    const Target& to = knock->carrier == spa::Transport::kDns ? dns_target_ : target_;
    sendto(udp_->get(), knock->datagram.data(), knock->datagram.size(), 0, to.get(), to.size);
  }
  while (next_ < plan_.steps.size() && age() >= plan_.steps[next_].at_ms) {
    attempts_.emplace_back(target_, from_, plan_.steps[next_].in_syn, knocker_, id_, random_);
    ++next_;
  }
}

double TimedKnock::wait() const {
  double at = plan_.timeout_ms;
  if (next_ < plan_.steps.size()) at = std::min(at, plan_.steps[next_].at_ms);
  if (const auto deadline = schedule_.next_deadline()) at = std::min(at, milliseconds(*deadline - started_));
  return at - age();
}

void TimedKnock::add_to(std::vector<pollfd>& polled) const {
  for (const auto& attempt : attempts_) {
    polled.push_back({attempt.wanted() != 0 ? attempt.descriptor() : -1, attempt.wanted(), 0});
  }
}

std::size_t TimedKnock::handle(const pollfd* polled) {
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

}  // namespace natt::test
