// SPDX-License-Identifier: Apache-2.0
#include "src/uv/client/client_ip.h"

#include <algorithm>
#include <bit>

#include <natt/uv/timer.h>

namespace natt::tunnel::uv {
namespace {

using Octets = std::array<std::uint8_t, 16>;

// Adds 2^bit to an address; false when it runs over the end.
bool advance(Octets& octets, unsigned bit) {
  unsigned carry = 1U << (bit % 8);
  for (std::size_t i = 15 - bit / 8 + 1; i-- > 0 && carry != 0;) {
    const unsigned sum = octets[i] + carry;
    octets[i] = static_cast<std::uint8_t>(sum & 0xff);
    carry = sum >> 8;
  }
  return carry == 0;
}

IpAddress last_of(const IpPrefix& prefix) { return range_of(prefix).last; }

// Number of zero bits at the end.
unsigned trailing_zeros(const Octets& octets) {
  unsigned count = 0;
  for (std::size_t i = octets.size(); i-- > 0;) {
    if (octets[i] != 0) return count + static_cast<unsigned>(std::countr_zero(octets[i]));
    count += 8;
  }
  return count;
}

// An inclusive range as the fewest prefixes (RFC 9484 advertises ranges, the kernel routes prefixes).
std::vector<IpPrefix> prefixes_of(const IpRange& range) {
  std::vector<IpPrefix> prefixes;
  Octets at = range.first.octets();
  while (at <= range.last.octets() && prefixes.size() < kMaxCapsuleEntries) {
    const unsigned floor_bits = range.first.is_v4() ? 32 : 128;
    unsigned host_bits = std::min(trailing_zeros(at), floor_bits);
    IpPrefix prefix{IpAddress::v6(at), static_cast<std::uint8_t>(128 - host_bits)};
    while (last_of(prefix).octets() > range.last.octets()) prefix.length = static_cast<std::uint8_t>(128 - --host_bits);
    prefixes.push_back(prefix);
    if (host_bits >= 128 || !advance(at, host_bits)) break;
  }
  return prefixes;
}

}  // namespace

Result<std::unique_ptr<ClientIp>> ClientIp::open(uv_loop_s& loop, const ClientTunOptions& options, LogSink log,
                                                 Owner& owner) {
  std::unique_ptr<ClientIp> ip(new ClientIp(options, log, owner));
  auto device = TunDevice::open(&loop, {.name = options.name}, *ip);
  if (!device) return tl::unexpected(device.error());
  ip->device_ = std::move(*device);
  return ip;
}

void ClientIp::handle_tunnel_up(ClientTunnel& tunnel) {
  tunnel_ = &tunnel;
  open_ = false;
  const auto stream = tunnel.open_ip();
  if (stream) {
    stream_ = *stream;
  } else {
    log_(LogLevel::kWarning, "natt.ip.failed reason=\"" + stream.error().message + "\"");
  }
}

void ClientIp::handle_tunnel_down() {
  tunnel_ = nullptr;
  stream_.reset();
  open_ = false;
}

void ClientIp::handle_event(const ClientEvent& event) {
  if (const auto* response = std::get_if<Response>(&event)) {
    open_ = response->status >= 200 && response->status < 300;
    if (!open_) log_(LogLevel::kError, "natt.ip.refused reason=\"" + response->reason + "\"");
  } else if (const auto* received = std::get_if<CapsuleReceived>(&event)) {
    if (const auto* assign = std::get_if<AddressAssign>(&received->capsule)) take_addresses(*assign);
    if (const auto* routes = std::get_if<RouteAdvertisement>(&received->capsule)) take_routes(*routes);
  } else if (std::holds_alternative<StreamClosed>(event)) {
    stream_.reset();
    open_ = false;
  }
}

void ClientIp::look_outside() {
  outer_ = owner_.outer_addresses();
  // The tunnel's own address is one of the host's, too.
  std::erase_if(outer_, [&](const IpAddress& ip) { return addresses_.contains({ip, 128}); });
}

void ClientIp::take_addresses(const AddressAssign& assign) {
  look_outside();
  std::set<IpPrefix> wanted;
  for (const AssignedAddress& assigned : assign.addresses) {
    if (is_usable(assigned.prefix) && wanted.size() < kMaxAddresses) {
      wanted.insert(assigned.prefix);
    } else {
      log_(LogLevel::kWarning, "natt.ip.address_refused address=" + assigned.prefix.to_string());
    }
  }
  for (const IpPrefix& old : addresses_) {
    if (!wanted.contains(old)) static_cast<void>(device_->remove_address(old));
  }
  for (const IpPrefix& address : wanted) {
    if (addresses_.contains(address)) continue;
    const auto added = device_->add_address(address);
    log_(added ? LogLevel::kInfo : LogLevel::kError,
         "natt.ip.address address=" + address.to_string() + (added ? "" : " reason=\"" + added.error().message + "\""));
  }
  addresses_ = std::move(wanted);
}

// One host address: a longer prefix would make the kernel route the whole block here, past accept_routes.
bool ClientIp::is_usable(const IpPrefix& address) const {
  const IpAddress& ip = address.base;
  const bool outer = std::find(outer_.begin(), outer_.end(), ip) != outer_.end();
  return address.length == 128 && !outer && !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() &&
         !ip.is_link_local();
}

void ClientIp::check_routes_again() {
  if (open_) take_routes(advertised_);
}

bool ClientIp::accepts(const IpPrefix& route) const {
  const bool carries_tunnel = std::any_of(outer_.begin(), outer_.end(),
                                          [&](const IpAddress& outer) { return route.contains(outer); });
  if (carries_tunnel) return false;
  return std::any_of(options_.accept_routes.begin(), options_.accept_routes.end(), [&](const IpPrefix& allowed) {
    return allowed.length <= route.length && allowed.contains(route.base);
  });
}

void ClientIp::take_routes(RouteAdvertisement advertisement) {
  advertised_ = std::move(advertisement);
  look_outside();
  std::set<IpPrefix> wanted;
  for (const IpRange& range : advertised_.ranges) {
    for (const IpPrefix& prefix : prefixes_of(range)) {
      if (accepts(prefix)) {
        wanted.insert(prefix);
      } else {
        log_(LogLevel::kWarning, "natt.ip.route_refused route=" + prefix.to_string() +
                                     " reason=\"not inside [tun] accept_routes, or it would carry the tunnel itself\"");
      }
    }
  }
  for (const IpPrefix& old : routes_) {
    if (!wanted.contains(old)) static_cast<void>(device_->remove_route(old));
  }
  for (const IpPrefix& route : wanted) {
    if (routes_.contains(route)) continue;
    const auto added = device_->add_route(route);
    log_(added ? LogLevel::kInfo : LogLevel::kError,
         "natt.ip.route route=" + route.to_string() + (added ? "" : " reason=\"" + added.error().message + "\""));
  }
  routes_ = std::move(wanted);
}

void ClientIp::on_packet(ByteView packet) {
  if (tunnel_ == nullptr || !stream_ || !open_) return;
  static_cast<void>(tunnel_->send_datagram(*stream_, packet));
}

void ClientIp::on_burst_end() { owner_.on_ip_progress(natt::uv::now()); }

void ClientIp::on_error(const Error& error) {
  log_(LogLevel::kError, "natt.ip.device_failed reason=\"" + error.message + "\"");
}

}  // namespace natt::tunnel::uv
