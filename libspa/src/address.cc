// SPDX-License-Identifier: Apache-2.0
#include <natt/address.h>

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace natt {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr std::size_t kMappedBits = 96;

bool in_block(const IpAddress& address, std::string_view block) { return IpPrefix::parse(block)->contains(address); }

std::optional<unsigned> parse_decimal(std::string_view text, unsigned maximum) {
  unsigned value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failed] = std::from_chars(text.data(), end, value);
  if (text.empty() || failed != std::errc{} || stop != end || value > maximum) return std::nullopt;
  return value;
}

// FNV-1a; only spreads table slots. Tables an attacker can fill are bounded instead.
std::size_t spread(ByteView bytes, std::uint64_t seed) {
  std::uint64_t hash = 0xcbf29ce484222325U ^ seed;
  for (const std::uint8_t octet : bytes) hash = (hash ^ octet) * 0x100000001b3U;
  return static_cast<std::size_t>(hash ^ (hash >> 29));
}

}  // namespace

IpAddress IpAddress::v4(std::array<std::uint8_t, 4> octets) {
  IpAddress address;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), address.octets_.begin());
  std::copy(octets.begin(), octets.end(), address.octets_.begin() + kMappedPrefix.size());
  return address;
}

IpAddress IpAddress::v6(std::array<std::uint8_t, 16> octets) {
  IpAddress address;
  address.octets_ = octets;
  return address;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  char terminated[INET6_ADDRSTRLEN] = {};
  if (text.empty() || text.size() >= sizeof terminated) return std::nullopt;
  std::memcpy(terminated, text.data(), text.size());
  std::array<std::uint8_t, 4> four{};
  if (inet_pton(AF_INET, terminated, four.data()) == 1) return v4(four);
  std::array<std::uint8_t, 16> sixteen{};
  if (inet_pton(AF_INET6, terminated, sixteen.data()) == 1) return v6(sixteen);
  return std::nullopt;
}

bool IpAddress::is_v4() const { return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), octets_.begin()); }

std::array<std::uint8_t, 4> IpAddress::v4_octets() const {
  return {octets_[12], octets_[13], octets_[14], octets_[15]};
}

bool IpAddress::is_unspecified() const { return *this == IpAddress{} || *this == v4({0, 0, 0, 0}); }

bool IpAddress::is_loopback() const { return is_v4() ? octets_[12] == 127 : in_block(*this, "::1/128"); }

bool IpAddress::is_link_local() const {
  return is_v4() ? octets_[12] == 169 && octets_[13] == 254 : octets_[0] == 0xfe && (octets_[1] & 0xc0) == 0x80;
}

bool IpAddress::is_multicast() const { return is_v4() ? (octets_[12] & 0xf0) == 0xe0 : octets_[0] == 0xff; }

bool IpAddress::is_private() const {
  if (!is_v4()) return (octets_[0] & 0xfe) == 0xfc;
  return octets_[12] == 10 || (octets_[12] == 172 && (octets_[13] & 0xf0) == 16) ||
         (octets_[12] == 192 && octets_[13] == 168) || (octets_[12] == 100 && (octets_[13] & 0xc0) == 64);
}

bool IpAddress::is_global() const {
  if (is_unspecified() || is_loopback() || is_link_local() || is_multicast() || is_private()) return false;
  if (is_v4()) return octets_[12] != 0 && octets_[12] < 240;
  return (octets_[0] & 0xe0) == 0x20;  // 2000::/3, the only block delegated for global unicast
}

std::string IpAddress::to_string() const {
  char text[INET6_ADDRSTRLEN] = {};
  const bool four = is_v4();
  inet_ntop(four ? AF_INET : AF_INET6, octets_.data() + (four ? kMappedPrefix.size() : 0), text, sizeof text);
  return text;
}

std::optional<SocketAddress> SocketAddress::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto ip = IpAddress::parse(host);
  const auto port = parse_decimal(text.substr(colon + 1), 65535);
  // Brackets are what tells the port of an IPv6 address from its last group.
  if (!ip || !port || bracketed != (host.find(':') != std::string_view::npos)) return std::nullopt;
  return SocketAddress{*ip, static_cast<std::uint16_t>(*port)};
}

std::string SocketAddress::to_string() const {
  const std::string host = ip.to_string();
  return (ip.is_v4() ? host : "[" + host + "]") + ":" + std::to_string(port);
}

std::optional<IpPrefix> IpPrefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto base = IpAddress::parse(text.substr(0, slash));
  if (!base) return std::nullopt;
  if (slash == std::string_view::npos) return IpPrefix{*base, 128};
  const auto length = parse_decimal(text.substr(slash + 1), base->is_v4() ? 32 : 128);
  if (!length) return std::nullopt;
  const IpPrefix prefix{*base, static_cast<std::uint8_t>(*length + (base->is_v4() ? kMappedBits : 0))};
  return prefix;
}

bool IpPrefix::contains(const IpAddress& address) const {
  const std::size_t whole = length / 8;
  const auto& a = base.octets();
  const auto& b = address.octets();
  if (!std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(whole), b.begin())) return false;
  const unsigned rest = length % 8;
  return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

std::string IpPrefix::to_string() const {
  const std::size_t shown = base.is_v4() && length >= kMappedBits ? length - kMappedBits : length;
  return base.to_string() + "/" + std::to_string(shown);
}

}  // namespace natt

std::size_t std::hash<natt::IpAddress>::operator()(const natt::IpAddress& address) const noexcept {
  return natt::spread(address.octets(), 0);
}

std::size_t std::hash<natt::SocketAddress>::operator()(const natt::SocketAddress& address) const noexcept {
  return natt::spread(address.ip.octets(), address.port);
}
