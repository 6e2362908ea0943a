// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/authority.h>

#include <algorithm>
#include <charconv>

namespace natt::tunnel {
namespace {

constexpr std::string_view kUdpPrefix = "/.well-known/masque/udp/";
constexpr std::size_t kMaxName = 253;  // RFC 1035 section 2.3.4, without the root's octet

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter_or_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'z'); }

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  if (text.empty() || text.front() == '0' || text.size() > 5) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// RFC 952, RFC 1123 section 2.1; '_' as well, since service names (RFC 2782) use it.
bool is_label(std::string_view label) {
  if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') return false;
  return std::all_of(label.begin(), label.end(), [](char c) { return is_letter_or_digit(c) || c == '-' || c == '_'; });
}

bool is_name(std::string_view name) {
  if (name.size() > kMaxName) return false;
  std::string_view last;
  for (std::string_view rest = name; true; rest.remove_prefix(last.size() + 1)) {
    last = rest.substr(0, rest.find('.'));
    if (!is_label(last)) return false;
    if (last.size() == rest.size()) break;
  }
  // "10.1", "0x7f.1" and "2130706433" are addresses to some resolvers: a policy must not take
  // them for names (WHATWG URL "ends in a number" checker).
  const bool hexadecimal = last.size() > 2 && last.substr(0, 2) == "0x";
  return !hexadecimal && !std::all_of(last.begin(), last.end(), is_digit);
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// A host without brackets.
std::optional<std::string> canonical_host(std::string_view text) {
  if (const auto address = IpAddress::parse(text)) return address->to_string();
  std::string name = lower(text);
  if (!is_name(name)) return std::nullopt;
  return name;
}

std::optional<Authority> make_authority(std::string_view host, std::string_view port) {
  auto canonical = canonical_host(host);
  const auto number = parse_port(port);
  if (!canonical || !number) return std::nullopt;
  return Authority{std::move(*canonical), *number};
}

int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 3986 section 2.1. A host needs no octet above 0x7f and no control characters.
std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out.push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return out;
}

}  // namespace

std::optional<Authority> Authority::parse(std::string_view text) {
  if (text.empty()) return std::nullopt;
  if (text.front() == '[') {
    const std::size_t end = text.find("]:");
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view literal = text.substr(1, end - 1);
    // Brackets are for IPv6 only; "[192.0.2.1]" is no IP-literal of RFC 3986 section 3.2.2.
    if (literal.find(':') == std::string_view::npos || !IpAddress::parse(literal)) return std::nullopt;
    return make_authority(literal, text.substr(end + 2));
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  return make_authority(text.substr(0, colon), text.substr(colon + 1));
}

Authority Authority::of(const SocketAddress& address) { return {address.ip.to_string(), address.port}; }

std::string Authority::to_string() const {
  const std::string number = std::to_string(port);
  if (host.find(':') == std::string::npos) return host + ":" + number;
  return "[" + host + "]:" + number;
}

std::optional<IpAddress> Authority::ip() const { return IpAddress::parse(host); }

std::string connect_udp_path(const Authority& target) {
  std::string path(kUdpPrefix);
  for (const char c : target.host) {
    if (c == ':') {
      path += "%3A";  // RFC 9298 section 2: IPv6 literals are percent-encoded
    } else {
      path.push_back(c);
    }
  }
  return path + "/" + std::to_string(target.port) + "/";
}

std::optional<Authority> parse_connect_udp_path(std::string_view path) {
  if (path.substr(0, kUdpPrefix.size()) != kUdpPrefix) return std::nullopt;
  path.remove_prefix(kUdpPrefix.size());
  const std::size_t slash = path.find('/');
  if (slash == std::string_view::npos || path.size() < slash + 3 || path.back() != '/') return std::nullopt;
  const auto host = percent_decode(path.substr(0, slash));
  if (!host) return std::nullopt;
  return make_authority(*host, path.substr(slash + 1, path.size() - slash - 2));
}

}  // namespace natt::tunnel
