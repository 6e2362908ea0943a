// SPDX-License-Identifier: Apache-2.0
#include "src/uv/route_netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <fmt/core.h>

#include <natt/tunnel/errc.h>

namespace natt::tunnel::uv {
namespace {

// A request: header, one fixed struct, a few attributes.
class Request {
 public:
  template <typename Body>
  Request(std::uint16_t type, std::uint16_t flags, std::uint32_t sequence, const Body& body) {
    auto* const header = reinterpret_cast<nlmsghdr*>(bytes_.data());
    header->nlmsg_len = NLMSG_LENGTH(sizeof(Body));
    header->nlmsg_type = type;
    header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    header->nlmsg_seq = sequence;
    std::memcpy(bytes_.data() + NLMSG_HDRLEN, &body, sizeof(Body));
  }

  void add(std::uint16_t type, const void* value, std::size_t size) {
    auto* const header = reinterpret_cast<nlmsghdr*>(bytes_.data());
    const std::size_t at = NLMSG_ALIGN(header->nlmsg_len);
    rtattr attribute{};
    attribute.rta_len = static_cast<std::uint16_t>(RTA_LENGTH(size));
    attribute.rta_type = type;
    std::memcpy(bytes_.data() + at, &attribute, sizeof(attribute));
    std::memcpy(bytes_.data() + at + RTA_LENGTH(0), value, size);
    header->nlmsg_len = static_cast<std::uint32_t>(at + RTA_ALIGN(attribute.rta_len));
  }

  void add(std::uint16_t type, const IpAddress& address) {
    const std::size_t skipped = address.is_v4() ? 12 : 0;
    add(type, address.octets().data() + skipped, 16 - skipped);
  }

  [[nodiscard]] const void* data() const { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const { return reinterpret_cast<const nlmsghdr*>(bytes_.data())->nlmsg_len; }

 private:
  alignas(NLMSG_ALIGNTO) std::array<std::uint8_t, 256> bytes_{};
};

std::uint8_t family_of(const IpAddress& address) {
  return static_cast<std::uint8_t>(address.is_v4() ? AF_INET : AF_INET6);
}

// IpPrefix counts IPv4 over 128 bits.
std::uint8_t length_of(const IpPrefix& prefix) {
  return static_cast<std::uint8_t>(prefix.base.is_v4() ? prefix.length - 96 : prefix.length);
}

bool is_valid(const IpPrefix& prefix) { return prefix.length <= 128 && (!prefix.base.is_v4() || prefix.length >= 96); }

Result<void> judge(int error, std::string_view what, const IpPrefix& prefix, bool add) {
  // Asking for what is so already is no failure.
  if (error == 0 || (add && error == EEXIST) || (!add && (error == ESRCH || error == EADDRNOTAVAIL))) return {};
  const char* const verb = add ? "add" : "remove";
  if (error == EPERM) {
    return fail(Errc::kIo, fmt::format("cannot {} the {} {}: CAP_NET_ADMIN is missing", verb, what, prefix.to_string()));
  }
  return fail(Errc::kIo, fmt::format("cannot {} the {} {}: {}", verb, what, prefix.to_string(), std::strerror(error)));
}

}  // namespace

Result<int> RouteNetlink::open_socket() {
  const int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (descriptor < 0) return fail(Errc::kIo, fmt::format("cannot open a netlink socket: {}", std::strerror(errno)));
  return descriptor;
}

RouteNetlink::~RouteNetlink() { close(descriptor_); }

int RouteNetlink::transact(const void* request, std::size_t size) {
  if (send(descriptor_, request, size, 0) < 0) return errno;
  alignas(NLMSG_ALIGNTO) std::array<std::uint8_t, 4096> answer{};
  for (;;) {
    const ssize_t received = recv(descriptor_, answer.data(), answer.size(), 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return errno;
    const auto* const header = reinterpret_cast<const nlmsghdr*>(answer.data());
    if (received < static_cast<ssize_t>(NLMSG_LENGTH(sizeof(nlmsgerr))) || header->nlmsg_type != NLMSG_ERROR) continue;
    if (header->nlmsg_seq != sequence_) continue;  // of a call that was interrupted
    nlmsgerr error{};
    std::memcpy(&error, answer.data() + NLMSG_HDRLEN, sizeof(error));
    return -error.error;
  }
}

Result<void> RouteNetlink::change_address(const IpPrefix& prefix, bool add) {
  if (!is_valid(prefix)) return fail(Errc::kInvalid, "the prefix length does not fit the address family");
  ifaddrmsg body{};
  body.ifa_family = family_of(prefix.base);
  body.ifa_prefixlen = length_of(prefix);
  body.ifa_index = interface_;
  // No duplicate address detection on a point-to-point link of our own: it would only delay.
  if (!prefix.base.is_v4()) body.ifa_flags = IFA_F_NODAD;
  Request request(add ? RTM_NEWADDR : RTM_DELADDR, add ? NLM_F_CREATE | NLM_F_REPLACE : 0, ++sequence_, body);
  request.add(IFA_LOCAL, prefix.base);
  request.add(IFA_ADDRESS, prefix.base);
  return judge(transact(request.data(), request.size()), "address", prefix, add);
}

Result<void> RouteNetlink::change_route(const IpPrefix& prefix, bool add) {
  if (!is_valid(prefix)) return fail(Errc::kInvalid, "the prefix length does not fit the address family");
  rtmsg body{};
  body.rtm_family = family_of(prefix.base);
  body.rtm_dst_len = length_of(prefix);
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = RT_SCOPE_LINK;
  body.rtm_type = RTN_UNICAST;
  if (!add) body.rtm_scope = RT_SCOPE_NOWHERE;  // wildcard when removing
  Request request(add ? RTM_NEWROUTE : RTM_DELROUTE, add ? NLM_F_CREATE | NLM_F_EXCL : 0, ++sequence_, body);
  request.add(RTA_DST, prefix.base);
  request.add(RTA_OIF, &interface_, sizeof(interface_));
  return judge(transact(request.data(), request.size()), "route", prefix, add);
}

}  // namespace natt::tunnel::uv
