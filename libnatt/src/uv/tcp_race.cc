// SPDX-License-Identifier: Apache-2.0
#include <natt/uv/tcp_race.h>

#include <algorithm>

#include <natt/errc.h>

namespace natt::uv {

// One connection on its way; tells the race which.
class TcpRace::Runner final : public TcpConnection::Listener {
 public:
  Runner(TcpRace& race, std::size_t number) : race_(race), number_(number) {}

  [[nodiscard]] Result<void> connect(uv_loop_s& loop, const SocketAddress& to, const ByteBuffer& flight,
                                     ConnectSchedule::Kind kind) {
    const bool in_syn = kind == ConnectSchedule::Kind::kInSyn;
    auto connection = TcpConnection::connect(loop,
                                             {.to = to,
                                              .from = {},
                                              .timeout = 2 * ConnectSchedule::kAttemptTime,
                                              .in_syn = in_syn ? ByteView(flight) : ByteView()},
                                             *this);
    if (!connection) return tl::unexpected(connection.error());
    connection_ = std::move(*connection);
    if (!in_syn) connection_->write(flight);
    return {};
  }
  [[nodiscard]] std::unique_ptr<TcpConnection> release() { return std::move(connection_); }

  void on_connected(Instant now) override { race_.handle_connected(now, number_); }
  void on_closed(Instant now, const Error& error) override { race_.handle_closed(now, number_, error); }
  // Not before on_connected, which takes the connection away.
  void on_bytes(Instant, ByteView) override {}
  void on_eof(Instant) override {}
  void on_drained(Instant) override {}

 private:
  TcpRace& race_;
  std::size_t number_;
  std::unique_ptr<TcpConnection> connection_;
};

TcpRace::TcpRace(uv_loop_s& loop, Listener& listener) : loop_(loop), listener_(listener), timer_(loop, *this) {}

TcpRace::~TcpRace() = default;

void TcpRace::start(Instant now, const SocketAddress& to) {
  to_ = to;
  schedule_.start(now);
  while (const auto attempt = schedule_.poll_attempt()) open(*attempt);
  // A race that is lost already says so from the loop.
  timer_.arm(hopeless_ ? std::optional(now) : schedule_.next_deadline());
}

void TcpRace::open(const ConnectSchedule::Attempt& attempt) {
  const ByteBuffer flight = listener_.make_first_flight();
  if (flight.empty()) {
    hopeless_ = true;
    return;
  }
  auto runner = std::make_unique<Runner>(*this, attempt.number);
  if (auto connecting = runner->connect(loop_, to_, flight, attempt.kind); !connecting) {
    error_ = connecting.error();
    // While another attempt is on its way the cause may be of this one alone (descriptors, a changing route).
    hopeless_ = std::none_of(runners_.begin(), runners_.end(), [](const auto& each) { return each != nullptr; });
    return schedule_.handle_failed(attempt.number, ConnectSchedule::Failure::kOther);
  }
  runners_[attempt.number] = std::move(runner);
}

void TcpRace::on_timer(Instant now) {
  schedule_.handle_timeout(now);
  advance(now);
}

void TcpRace::advance(Instant now) {
  while (const auto abandoned = schedule_.poll_abandoned()) runners_[*abandoned].reset();
  while (const auto attempt = schedule_.poll_attempt()) open(*attempt);
  if (!hopeless_ && !schedule_.is_lost()) return timer_.arm(schedule_.next_deadline());
  schedule_.stop();
  timer_.arm(std::nullopt);
  for (auto& runner : runners_) runner.reset();
  listener_.on_race_lost(now, error_.value_or(Error{Errc::kTimeout, "TCP " + to_.to_string() + ": no answer"}));
}

void TcpRace::handle_connected(Instant now, std::size_t number) {
  auto connection = runners_[number]->release();
  schedule_.stop();
  timer_.arm(std::nullopt);
  for (auto& runner : runners_) runner.reset();
  listener_.on_race_won(now, std::move(connection));
}

void TcpRace::handle_closed(Instant now, std::size_t number, const Error& error) {
  error_ = error;
  const bool refused = error.code == make_error_code(Errc::kRefused);
  schedule_.handle_failed(number, refused ? ConnectSchedule::Failure::kRefused : ConnectSchedule::Failure::kOther);
  runners_[number].reset();
  advance(now);
}

}  // namespace natt::uv
