// SPDX-License-Identifier: Apache-2.0
#include "src/uv/broker/tcp_splice.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

#include <natt/uv/timer.h>

#include "src/uv/bound_socket.h"

namespace natt::uv {
namespace {

constexpr RelaySide side_of(std::size_t leg) { return leg == 0 ? RelaySide::kClient : RelaySide::kGateway; }

// splice(2) has no MSG_NOSIGNAL: writing to a connection that is gone would end a process that leaves SIGPIPE alone.
class WithoutSigpipe {
 public:
  WithoutSigpipe() {
    sigemptyset(&sigpipe_);
    sigaddset(&sigpipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe_, &former_);
  }
  ~WithoutSigpipe() {
    const int error = errno;
    if (raised_) {
      const timespec none{};
      while (sigtimedwait(&sigpipe_, nullptr, &none) == -1 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &former_, nullptr);
    errno = error;
  }
  WithoutSigpipe(const WithoutSigpipe&) = delete;
  WithoutSigpipe& operator=(const WithoutSigpipe&) = delete;

  void note(int error) { raised_ = raised_ || error == EPIPE; }

 private:
  sigset_t sigpipe_{};
  sigset_t former_{};
  bool raised_ = false;
};

void let_die(int socket) {
  using std::chrono::milliseconds;
  const auto seconds = [](auto duration) { return static_cast<int>(std::chrono::seconds(duration).count()); };
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, seconds(TcpSplice::kKeepaliveIdle));
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, seconds(TcpSplice::kKeepaliveInterval));
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(milliseconds(TcpSplice::kLegTimeout).count()));
}

}  // namespace

Result<std::unique_ptr<TcpSplice>> TcpSplice::make(uv_loop_t& loop, TcpRelayPaired paired, Descriptor client,
                                                   Descriptor gateway, TcpRelay& relay, SplicePipes& pipes,
                                                   Listener& listener) {
  std::unique_ptr<TcpSplice> splice(
      new TcpSplice(std::move(paired), std::move(client), std::move(gateway), relay, pipes, listener));
  for (Leg& leg : splice->legs_) {
    if (auto watched = splice->watch(loop, leg); !watched) return tl::unexpected(watched.error());
    let_die(leg.socket.get());
  }
  return splice;
}

TcpSplice::TcpSplice(TcpRelayPaired paired, Descriptor client, Descriptor gateway, TcpRelay& relay, SplicePipes& pipes,
                     Listener& listener)
    : pair_(paired.pair),
      relay_(relay),
      listener_(listener),
      legs_{Leg{this, std::move(client)}, Leg{this, std::move(gateway)}},
      ways_{Way(legs_[0].socket.get(), legs_[1].socket.get(), pipes, std::move(paired.early_from_client)),
            Way(legs_[1].socket.get(), legs_[0].socket.get(), pipes, std::move(paired.early_from_gateway))} {}

TcpSplice::~TcpSplice() { reset(); }

Result<void> TcpSplice::watch(uv_loop_t& loop, Leg& leg) {
  auto handle = std::make_unique<uv_poll_t>();
  if (const int error = uv_poll_init(&loop, handle.get(), leg.socket.get()); error != 0) {
    return io_error("uv_poll_init", -error);
  }
  handle->data = &leg;
  leg.handle = handle.release();
  return {};
}

void TcpSplice::close_legs() {
  for (Leg& leg : legs_) {
    if (leg.handle != nullptr) {
      uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(leg.handle, nullptr)),
               [](uv_handle_t* closed) { delete reinterpret_cast<uv_poll_t*>(closed); });
    }
    leg.socket.reset();  // allowed after uv_close
  }
}

void TcpSplice::reset_on_close(const Descriptor& socket) {
  const linger at_once{1, 0};
  if (socket.valid()) ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

void TcpSplice::reset() {
  for (const Leg& leg : legs_) reset_on_close(leg.socket);
  close_legs();
}

void TcpSplice::start(Instant now) {
  const int error = pump(now, 0);
  settle(now, error != 0 ? error : pump(now, 1));
}

void TcpSplice::resume(Instant now) {
  int error = 0;
  for (std::size_t from = 0; from < ways_.size() && error == 0; ++from) {
    if (std::exchange(ways_[from].paused, false)) error = pump(now, from);
  }
  settle(now, error);
}

void TcpSplice::on_poll(uv_poll_t* handle, int status, int events) noexcept {
  Leg& leg = *static_cast<Leg*>(handle->data);
  TcpSplice& splice = *leg.splice;
  if (status < 0) leg.watched = 0;  // libuv has stopped watching
  splice.handle_events(now(), static_cast<std::size_t>(&leg - splice.legs_.data()), status, events);
}

void TcpSplice::handle_events(Instant now, std::size_t leg, int status, int events) {
  const std::size_t other = 1 - leg;
  if ((events & UV_PRIORITIZED) != 0) return handle_trouble(now, legs_[leg]);
  int error = 0;
  // Behind an error there may be octets of before.
  if (status < 0 || (events & UV_READABLE) != 0) error = pump(now, leg);
  if (error == 0 && (status < 0 || (events & UV_WRITABLE) != 0)) error = pump(now, other);
  settle(now, status < 0 && error == 0 ? ECONNRESET : error);
}

// An error, or urgent data, which nobody sends; or the peer's FIN behind ours, which poll calls a hang-up (poll(2)) while
// octets of before may wait to be read. Reading them later finds what happens meanwhile.
void TcpSplice::handle_trouble(Instant now, Leg& leg) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(leg.socket.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return settle(now, ECONNRESET);
  leg.hung_up = true;
  settle(now, 0);
}

int TcpSplice::pump(Instant now, std::size_t from) {
  std::size_t budget = kOctetsPerTurn;
  int error = 0;
  WithoutSigpipe quiet;
  while (pump_once(now, from, budget, error)) {
  }
  quiet.note(error);
  if (!ways_[from].octets.holds()) ways_[from].octets.rest();
  return error;
}

bool TcpSplice::pump_once(Instant now, std::size_t from, std::size_t& budget, int& error) {
  Way& way = ways_[from];
  const SpliceWay::Step out = way.octets.push();
  if (out.octets > 0) relay_.handle_forwarded(pair_, side_of(from), out.octets);
  error = out.error;
  if (error != 0 || way.octets.holds() || way.octets.source_ended() || way.paused || budget == 0) return false;
  const std::size_t allowed = relay_.take_allowance(now, pair_, std::min(budget, SpliceWay::kChunk));
  if (allowed == 0) {
    way.paused = true;
    listener_.on_splice_paused(now, pair_);
    return false;
  }
  const SpliceWay::Step in = way.octets.pull(allowed);
  relay_.give_back(pair_, allowed - in.octets);
  budget -= in.octets;
  error = in.error;
  return error == 0 && (in.octets > 0 || way.octets.source_ended());
}

void TcpSplice::settle(Instant now, int error) {
  if (error != 0) {
    reset();
    return listener_.on_splice_ended(now, pair_);
  }
  if (ways_[0].octets.ended() && ways_[1].octets.ended()) {
    close_legs();
    return listener_.on_splice_ended(now, pair_);
  }
  update_interest(0);
  update_interest(1);
}

void TcpSplice::update_interest(std::size_t leg) {
  const Way& out_of = ways_[leg];
  const Way& into = ways_[1 - leg];
  int events = 0;
  if (!out_of.octets.source_ended() && !out_of.octets.holds() && !out_of.paused) events |= UV_READABLE;
  if (into.octets.holds()) events |= UV_WRITABLE;
  const bool may_break = !legs_[leg].hung_up && !(out_of.octets.source_ended() && into.octets.ended());
  if (events == 0 && may_break) events = UV_PRIORITIZED;
  // Each change costs libuv two system calls.
  if (events == legs_[leg].watched) return;
  legs_[leg].watched = events;
  if (events == 0) {
    uv_poll_stop(legs_[leg].handle);
  } else {
    uv_poll_start(legs_[leg].handle, events, on_poll);
  }
}

}  // namespace natt::uv
