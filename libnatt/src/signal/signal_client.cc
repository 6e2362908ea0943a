// SPDX-License-Identifier: Apache-2.0
#include <natt/signal_client.h>

#include <deque>
#include <utility>

#include <fmt/format.h>

#include <natt/errc.h>
#include <natt/spa/knocker.h>

#include "src/signal/message_channel.h"
#include "src/signal/message_roles.h"
#include "src/signal/roster_transfer.h"

namespace natt {
namespace {

// DESIGN section 5: one offer per second and client. The broker allows a little less, for jitter.
constexpr Duration kOfferInterval = std::chrono::seconds(1);

}  // namespace

struct SignalClient::Impl {
  Impl(SignalClientOptions given, std::unique_ptr<TlsStream> tls, spa::Knocker& spa_knocker, Random& randomness)
      : options(std::move(given)),
        channel(std::move(tls), kMaxSendQueue),
        client_hello(channel.take_output()),
        knocker(spa_knocker),
        knock_id(options.knock_id ? *options.knock_id : spa_knocker.next_knock_id()),
        random(randomness) {}

  void transition_to(State next);
  void end(Error reason);
  void push_event(SignalEvent event);
  [[nodiscard]] bool send_or_end(const SignalMessage& message);

  void advance_handshake(Instant now);
  void greet(Instant now);
  void read_messages(Instant now, WallTime wall_now);
  void handle_message(Instant now, WallTime wall_now, SignalMessage message);
  void handle_welcome(Instant now, WallTime wall_now, const SignalMessage& message);
  void handle_pong(Instant now, WallTime wall_now, const Pong& pong);
  void handle_open_message(SignalMessage message);
  void handle_chunk(RosterChunk chunk);
  void schedule_ping(Instant now);
  void handle_ping_timer(Instant now);
  [[nodiscard]] Result<void> check_command(Instant now, const SignalMessage& message) const;

  SignalClientOptions options;
  MessageChannel channel;
  ByteBuffer client_hello;
  spa::Knocker& knocker;
  spa::KnockId knock_id;
  Random& random;
  State state = State::kIdle;
  std::deque<SignalEvent> events;
  RosterAssembler roster;
  // When the handshake has to be over; then when the next ping or its answer is due.
  Instant deadline{};
  bool awaiting_pong = false;
  Instant hello_sent{};
  std::uint64_t ping_id = 0;
  std::optional<Instant> ping_sent;  // the last one, until its answer
  std::optional<Instant> last_offer;
};

void SignalClient::Impl::transition_to(State next) { state = next; }

void SignalClient::Impl::end(Error reason) {
  if (state == State::kClosed) return;
  transition_to(State::kClosed);
  channel.close();
  // Always room for the last word.
  events.push_back(SignalClosed{std::move(reason)});
}

void SignalClient::Impl::push_event(SignalEvent event) {
  if (events.size() >= kMaxEvents) return end({Errc::kLimit, "more events than anyone takes"});
  events.push_back(std::move(event));
}

bool SignalClient::Impl::send_or_end(const SignalMessage& message) {
  auto sent = channel.send(message);
  if (!sent) end(std::move(sent.error()));
  return sent.has_value();
}

void SignalClient::Impl::advance_handshake(Instant now) {
  switch (channel.tls_state()) {
    case TlsStream::State::kHandshaking: return;
    case TlsStream::State::kOpen:
      if (state == State::kHandshaking) greet(now);
      return;
    case TlsStream::State::kClosed: return end({Errc::kClosed, "the broker closed the channel"});
    case TlsStream::State::kFailed: return end(channel.tls_error());
  }
}

void SignalClient::Impl::greet(Instant now) {
  if (options.roster != nullptr && options.roster->roster() != nullptr) {
    auto admitted = options.roster->roster()->admits(channel.peer()->identity(), channel.peer()->serial());
    if (!admitted) return end(std::move(admitted.error()));
  }
  transition_to(State::kGreeting);
  hello_sent = now;
  static_cast<void>(send_or_end(SignalHello{.version = kSignalVersion,
                                            .features = options.features,
                                            .boot_id = options.boot_id,
                                            .roster_number = options.roster_number,
                                            .software = options.software}));
}

void SignalClient::Impl::read_messages(Instant now, WallTime wall_now) {
  while (state == State::kGreeting || state == State::kOpen) {
    auto message = channel.next_message();
    if (!message) return end(std::move(message.error()));
    if (!*message) return;
    handle_message(now, wall_now, std::move(**message));
  }
}

void SignalClient::Impl::handle_message(Instant now, WallTime wall_now, SignalMessage message) {
  if (!may_send(Role::kBroker, options.self.role, message)) {
    return end({Errc::kMalformed,
                fmt::format("a {} message is not for a {}", name_of(message), to_string(options.self.role))});
  }
  if (state == State::kGreeting) return handle_welcome(now, wall_now, message);
  if (const auto* pong = std::get_if<Pong>(&message)) handle_pong(now, wall_now, *pong);
  // A sign of life. Otherwise nothing puts a ping off: a busy channel hears the broker's time as often as an idle one.
  if (awaiting_pong) schedule_ping(now);
  handle_open_message(std::move(message));
}

void SignalClient::Impl::handle_welcome(Instant now, WallTime wall_now, const SignalMessage& message) {
  const auto* welcome = std::get_if<SignalWelcome>(&message);
  if (welcome == nullptr) {
    return end({Errc::kMalformed, fmt::format("the broker began with {} instead of welcome", name_of(message))});
  }
  transition_to(State::kOpen);
  schedule_ping(now);
  const Duration round_trip = now - hello_sent;
  const auto half = std::chrono::duration_cast<std::chrono::milliseconds>(round_trip / 2);
  push_event(SignalConnected{*welcome, welcome->broker_time + half - wall_now, round_trip});
}

// Nobody's but the one that is waited for: the time of an answer to nothing means nothing.
void SignalClient::Impl::handle_pong(Instant now, WallTime wall_now, const Pong& pong) {
  if (!ping_sent || pong.id != ping_id) return;
  const auto half = std::chrono::duration_cast<std::chrono::milliseconds>((now - *ping_sent) / 2);
  ping_sent.reset();
  push_event(ClockObserved{pong.broker_time + half - wall_now});
}

void SignalClient::Impl::handle_chunk(RosterChunk chunk) {
  auto document = roster.handle_chunk(std::move(chunk));
  if (!document) return end(std::move(document.error()));
  if (*document) push_event(RosterReceived{(*document)->number, (*document)->view, std::move((*document)->bytes)});
}

void SignalClient::Impl::handle_open_message(SignalMessage message) {
  std::visit(
      [this](auto& kind) {
        using Kind = std::decay_t<decltype(kind)>;
        if constexpr (std::is_same_v<Kind, SignalWelcome>) {
          end({Errc::kMalformed, "a second welcome"});
        } else if constexpr (std::is_same_v<Kind, RosterChunk>) {
          handle_chunk(std::move(kind));
        } else if constexpr (std::is_constructible_v<SignalEvent, Kind>) {
          push_event(std::move(kind));
        }
        // What is left is a pong, whose time was read, and may_send() let nothing else through.
      },
      message);
}

void SignalClient::Impl::schedule_ping(Instant now) {
  awaiting_pong = false;
  // Up to a fifth earlier, so that the devices of a restarted broker drift apart.
  const auto spread = static_cast<std::uint64_t>((options.ping_interval / 5).count()) + 1;
  deadline = now + options.ping_interval - Duration(static_cast<std::int64_t>(random.uniform(spread)));
}

void SignalClient::Impl::handle_ping_timer(Instant now) {
  if (awaiting_pong) return end({Errc::kTimeout, "the broker does not answer any more"});
  awaiting_pong = true;
  deadline = now + options.pong_timeout;
  ping_sent = now;
  static_cast<void>(send_or_end(Ping{++ping_id}));
}

Result<void> SignalClient::Impl::check_command(Instant now, const SignalMessage& message) const {
  if (state != State::kOpen) return fail(Errc::kClosed, "the signaling channel is not open");
  if (std::holds_alternative<SignalHello>(message) || !may_send(options.self.role, Role::kBroker, message)) {
    return fail(Errc::kRefused, fmt::format("a {} does not send {}", to_string(options.self.role), name_of(message)));
  }
  const bool is_offer = std::holds_alternative<OfferMessage>(message);
  if (is_offer && last_offer && now - *last_offer < kOfferInterval) {
    return fail(Errc::kLimit, "one offer per second: try again later");
  }
  return {};
}

SignalClient::SignalClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SignalClient::~SignalClient() = default;

Result<std::unique_ptr<SignalClient>> SignalClient::make(SignalClientOptions options, const TlsContext& tls,
                                                         spa::Knocker& knocker, Random& random, Instant now,
                                                         WallTime wall_now) {
  const PeerExpectation expectation{.site = options.broker.site, .role = Role::kBroker, .identity = options.broker};
  auto stream = TlsStream::connect(tls, expectation, wall_now);
  if (!stream) return tl::unexpected<Error>(stream.error());
  auto impl = std::make_unique<Impl>(std::move(options), std::move(*stream), knocker, random);
  impl->deadline = now + impl->options.handshake_timeout;
  return std::unique_ptr<SignalClient>(new SignalClient(std::move(impl)));
}

Result<ByteBuffer> SignalClient::first_flight(WallTime wall_now) {
  if (impl_->state != State::kIdle) return fail(Errc::kClosed, "the broker answered already");
  ByteBuffer flight = impl_->knocker.make_tcp_hello(wall_now, impl_->knock_id, impl_->client_hello);
  flight.insert(flight.end(), impl_->client_hello.begin(), impl_->client_hello.end());
  return flight;
}

void SignalClient::handle_bytes(Instant now, WallTime wall_now, ByteView bytes) {
  if (impl_->state == State::kClosed || bytes.empty()) return;
  if (impl_->state == State::kIdle) impl_->transition_to(State::kHandshaking);
  impl_->channel.handle_bytes(bytes);
  if (impl_->channel.tls_state() == TlsStream::State::kOpen) impl_->advance_handshake(now);
  // What came before a close_notify still counts.
  impl_->read_messages(now, wall_now);
  if (impl_->state != State::kClosed) impl_->advance_handshake(now);
}

void SignalClient::handle_disconnected(Instant) { impl_->end({Errc::kClosed, "the connection to the broker ended"}); }

void SignalClient::handle_timeout(Instant now) {
  if (impl_->state == State::kClosed || now < impl_->deadline) return;
  if (impl_->state == State::kOpen) return impl_->handle_ping_timer(now);
  impl_->end({Errc::kTimeout, impl_->state == State::kIdle ? "the broker did not answer"
                                                           : "the broker did not finish the handshake in time"});
}

std::optional<Instant> SignalClient::next_deadline() const {
  if (impl_->state == State::kClosed) return std::nullopt;
  return impl_->deadline;
}

ByteBuffer SignalClient::take_output() { return impl_->channel.take_output(); }

std::optional<SignalEvent> SignalClient::poll_event() {
  if (impl_->events.empty()) return std::nullopt;
  SignalEvent event = std::move(impl_->events.front());
  impl_->events.pop_front();
  return event;
}

Result<void> SignalClient::send(Instant now, const SignalMessage& message) {
  if (auto allowed = impl_->check_command(now, message); !allowed) return allowed;
  auto sent = impl_->channel.send(message);
  if (sent && std::holds_alternative<OfferMessage>(message)) impl_->last_offer = now;
  return sent;
}

void SignalClient::close() {
  if (impl_->state == State::kClosed) return;
  impl_->transition_to(State::kClosed);
  impl_->channel.close();
}

SignalClient::State SignalClient::state() const { return impl_->state; }

}  // namespace natt
