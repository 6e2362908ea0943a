// SPDX-License-Identifier: Apache-2.0
#include "src/http/message_head.h"

#include <optional>

namespace natt::tunnel {
namespace {

constexpr int kBadRequest = 400;
constexpr int kMethodNotAllowed = 405;
constexpr int kFieldsTooLarge = 431;
constexpr int kNotImplemented = 501;

constexpr std::string_view kDetails = "details=\"";

// RFC 9298 section 3.2 and RFC 9484 section 4.3: scheme https, authority and path present.
tl::expected<StreamTarget, int> read_extended(const MessageHead& request) {
  if (request.scheme != "https" || request.authority.empty()) return tl::unexpected(kBadRequest);
  if (request.protocol == "connect-udp") {
    const auto target = parse_connect_udp_path(request.path);
    if (!target) return tl::unexpected(kBadRequest);
    return StreamTarget{Protocol::kUdp, *target};
  }
  if (request.protocol == "connect-ip") {
    if (request.path != kConnectIpPath) return tl::unexpected(kBadRequest);
    return StreamTarget{Protocol::kIp, {}};
  }
  return tl::unexpected(kNotImplemented);
}

}  // namespace

tl::expected<StreamTarget, int> read_target(const MessageHead& request) {
  if (request.too_large()) return tl::unexpected(kFieldsTooLarge);
  if (request.method != "CONNECT") return tl::unexpected(kMethodNotAllowed);
  if (!request.protocol.empty()) return read_extended(request);
  const auto target = Authority::parse(request.authority);
  if (!target) return tl::unexpected(kBadRequest);
  return StreamTarget{Protocol::kTcp, *target};
}

std::string proxy_status(std::string_view reason) {
  std::string text = "natt; details=\"";
  for (const char c : reason.substr(0, kMaxReason)) {
    const bool printable = c >= 0x20 && c < 0x7f;
    if (c == '"' || c == '\\') text.push_back('\\');
    text.push_back(printable ? c : '?');
  }
  return text + "\"";
}

std::string reason_of(std::string_view proxy_status) {
  const std::size_t found = proxy_status.rfind(kDetails);
  if (found == std::string_view::npos) return {};
  std::string reason;
  for (std::size_t i = found + kDetails.size(); i < proxy_status.size() && proxy_status[i] != '"'; ++i) {
    if (proxy_status[i] == '\\' && i + 1 < proxy_status.size()) ++i;
    if (reason.size() < kMaxReason) reason.push_back(proxy_status[i]);
  }
  return reason;
}

}  // namespace natt::tunnel
