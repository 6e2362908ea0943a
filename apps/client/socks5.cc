// SPDX-License-Identifier: Apache-2.0
#include "apps/client/socks5.h"

#include <algorithm>
#include <utility>

namespace natt::client {
namespace {

constexpr std::uint8_t kVersion = 5;  // RFC 1928 section 3
constexpr std::uint8_t kNoAuthentication = 0;
constexpr std::uint8_t kUserPassword = 2;
constexpr std::uint8_t kNoAcceptableMethod = 0xff;
constexpr std::uint8_t kSubnegotiation = 1;  // RFC 1929 section 2
constexpr std::uint8_t kConnect = 1;         // RFC 1928 section 4
constexpr std::uint8_t kIpv4 = 1;            // RFC 1928 section 5
constexpr std::uint8_t kDomainName = 3;
constexpr std::uint8_t kIpv6 = 4;

// The longest message before the reply is the RFC 1929 one: 3 + 2 x 255 octets.
constexpr std::size_t kLongestMessage = 513;

// A view of the `length` octets behind their length octet at `at`; nothing while they are incomplete.
std::optional<ByteView> counted_at(ByteView bytes, std::size_t at) {
  if (bytes.size() <= at || bytes.size() < at + 1 + bytes[at]) return std::nullopt;
  return bytes.subspan(at + 1, bytes[at]);
}

struct Destination {
  std::string host;
  std::size_t size = 0;  // of ATYP and DST.ADDR; 0: incomplete
};

std::string text_of_ipv4(ByteView octets) {
  return IpAddress::v4({octets[0], octets[1], octets[2], octets[3]}).to_string();
}

std::string text_of_ipv6(ByteView octets) {
  std::array<std::uint8_t, 16> sixteen{};
  std::copy_n(octets.begin(), sixteen.size(), sixteen.begin());
  return IpAddress::v6(sixteen).to_string();
}

// Nothing for an unknown address type.
std::optional<Destination> read_destination(ByteView bytes) {
  if (bytes.empty()) return Destination{};
  switch (bytes[0]) {
    case kIpv4: return bytes.size() < 5 ? Destination{} : Destination{text_of_ipv4(bytes.subspan(1, 4)), 5};
    case kIpv6: return bytes.size() < 17 ? Destination{} : Destination{text_of_ipv6(bytes.subspan(1, 16)), 17};
    case kDomainName: {
      const auto name = counted_at(bytes, 1);
      return name ? Destination{std::string(as_text(*name)), 2 + name->size()} : Destination{};
    }
    default: return std::nullopt;
  }
}

// A name goes into the tunnel's request as it is: nothing but printable ASCII may be in it.
bool is_plain_host(std::string_view host) {
  return !host.empty() &&
         std::all_of(host.begin(), host.end(), [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != '@'; });
}

}  // namespace

Socks5::Socks5(Options options, Instant now)
    : options_(std::move(options)), deadline_(now + options_.handshake_timeout) {}

void Socks5::handle_bytes(ByteView bytes) {
  if (state_ == State::kDone) return;
  const std::size_t limit = state_ == State::kConnecting ? kMaxEarlyData : kLongestMessage + kMaxEarlyData;
  if (bytes.size() > limit - std::min(limit, input_.size())) {
    fail("too many octets before the reply");
    return;
  }
  input_.insert(input_.end(), bytes.begin(), bytes.end());
  while (step()) {
  }
}

bool Socks5::step() {
  switch (state_) {
    case State::kGreeting: return handle_greeting();
    case State::kAuthentication: return handle_authentication();
    case State::kRequest: return handle_request();
    case State::kConnecting: return false;
    case State::kDone: return false;
  }
  return false;
}

bool Socks5::handle_greeting() {
  if (!input_.empty() && input_[0] != kVersion) return fail("not SOCKS version 5");
  const auto methods = counted_at(input_, 1);
  if (!methods) return false;
  const bool needs_password = !options_.username.empty();
  const std::uint8_t wanted = needs_password ? kUserPassword : kNoAuthentication;
  const bool offered = std::find(methods->begin(), methods->end(), wanted) != methods->end();
  output_.insert(output_.end(), {kVersion, offered ? wanted : kNoAcceptableMethod});
  if (!offered) return fail(needs_password ? "no password was offered" : "the application insists on authentication");
  consume(2 + methods->size());
  transition_to(needs_password ? State::kAuthentication : State::kRequest);
  return true;
}

bool Socks5::handle_authentication() {
  if (!input_.empty() && input_[0] != kSubnegotiation) return fail("not RFC 1929 version 1");
  const auto username = counted_at(input_, 1);
  const auto password = username ? counted_at(input_, 2 + username->size()) : std::nullopt;
  if (!password) return false;
  // Both are compared always: the time must not tell which one was wrong.
  const bool same_name = constant_time_equal(*username, as_bytes(options_.username));
  const bool same_password = constant_time_equal(*password, as_bytes(options_.password.view()));
  const bool accepted = same_name && same_password;
  output_.insert(output_.end(), {kSubnegotiation, static_cast<std::uint8_t>(accepted ? 0 : 1)});
  if (!accepted) return fail("wrong user name or password");
  consume(3 + username->size() + password->size());
  transition_to(State::kRequest);
  return true;
}

bool Socks5::handle_request() {
  if (!input_.empty() && input_[0] != kVersion) return fail("not SOCKS version 5");
  if (input_.size() < 4) return false;
  auto destination = read_destination(ByteView(input_).subspan(3));
  if (!destination) return refuse(SocksReply::kAddressTypeNotSupported, "unknown address type");
  const std::size_t size = 3 + destination->size + 2;
  if (destination->size == 0 || input_.size() < size) return false;
  if (input_[1] != kConnect) return refuse(SocksReply::kCommandNotSupported, "only CONNECT is served");
  if (input_[2] != 0) return refuse(SocksReply::kGeneralFailure, "the reserved octet is not zero");
  const auto port = load_be<std::uint16_t>(input_.data() + size - 2);
  if (port == 0 || !is_plain_host(destination->host))
    return refuse(SocksReply::kGeneralFailure, "no usable destination");
  consume(size);
  transition_to(State::kConnecting);
  event_ = ConnectRequest{std::move(destination->host), port};
  return false;
}

void Socks5::reply(SocksReply code) {
  if (state_ != State::kConnecting) return;
  if (code != SocksReply::kSucceeded) {
    refuse(code, "the tunnel could not be opened");
    return;
  }
  output_.insert(output_.end(), {kVersion, 0, 0, kIpv4, 0, 0, 0, 0, 0, 0});
  transition_to(State::kDone);
  event_ = Established{std::exchange(input_, {})};
}

bool Socks5::refuse(SocksReply code, std::string reason) {
  output_.insert(output_.end(), {kVersion, static_cast<std::uint8_t>(code), 0, kIpv4, 0, 0, 0, 0, 0, 0});
  return fail(std::move(reason));
}

bool Socks5::fail(std::string reason) {
  transition_to(State::kDone);
  secure_zero(input_);  // may hold a password
  input_.clear();
  event_ = Failed{std::move(reason)};
  return false;
}

void Socks5::transition_to(State state) { state_ = state; }

void Socks5::consume(std::size_t count) {
  secure_zero(MutableBytes(input_).first(count));
  input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(count));
}

void Socks5::handle_timeout(Instant now) {
  const auto deadline = next_deadline();
  if (deadline && now >= *deadline) fail("the request did not arrive in time");
}

std::optional<Instant> Socks5::next_deadline() const {
  // How long the dial may take is the tunnel's business.
  if (state_ == State::kConnecting || state_ == State::kDone) return std::nullopt;
  return deadline_;
}

ByteBuffer Socks5::poll_output() { return std::exchange(output_, {}); }

std::optional<Socks5::Event> Socks5::poll_event() { return std::exchange(event_, std::nullopt); }

}  // namespace natt::client
