// SPDX-License-Identifier: Apache-2.0
#include <natt/tunnel/uv/tun_device.h>

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <fmt/core.h>
#include <uv.h>

#include <natt/tunnel/errc.h>

#include "src/uv/route_netlink.h"

namespace natt::tunnel::uv {
namespace {

// One turn of the loop; other sockets get theirs in between.
constexpr int kBurst = 64;
// IPv4's and IPv6's largest packet: an administrator may raise the MTU afterwards.
constexpr std::size_t kMaxPacket = 65'575;

struct Descriptor {
  int value = -1;
  explicit Descriptor(int descriptor) : value(descriptor) {}
  ~Descriptor() {
    if (value >= 0) close(value);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int release() { return std::exchange(value, -1); }
};

bool is_interface_name(std::string_view name) {
  if (name.size() >= IFNAMSIZ || name == "." || name == "..") return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':'; });
}

ifreq request_for(std::string_view name) {
  ifreq request{};
  std::copy(name.begin(), name.end(), request.ifr_name);
  return request;
}

tl::unexpected<Error> open_failure(int error) {
  if (error == ENOENT || error == ENODEV || error == ENXIO) {
    return fail(Errc::kIo, "there is no /dev/net/tun: load the kernel module with `modprobe tun`");
  }
  return fail(Errc::kIo, fmt::format("cannot open /dev/net/tun: {}", std::strerror(error)));
}

tl::unexpected<Error> create_failure(int error, const std::string& name) {
  if (error == EPERM || error == EACCES) {
    return fail(Errc::kIo, fmt::format("creating the TUN interface \"{}\" needs CAP_NET_ADMIN: start as root, or set "
                                       "AmbientCapabilities=CAP_NET_ADMIN in the systemd unit", name));
  }
  if (error == EBUSY) return fail(Errc::kIo, fmt::format("the interface \"{}\" is in use by another program", name));
  if (error == EINVAL) return fail(Errc::kIo, fmt::format("the interface \"{}\" exists and is no TUN device", name));
  return fail(Errc::kIo, fmt::format("cannot create the TUN interface \"{}\": {}", name, std::strerror(error)));
}

// MTU, then up.
Result<void> bring_up(const std::string& name, std::uint16_t mtu) {
  const Descriptor control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (control.value < 0) return fail(Errc::kIo, fmt::format("cannot open a socket: {}", std::strerror(errno)));
  ifreq request = request_for(name);
  request.ifr_mtu = mtu;
  if (ioctl(control.value, SIOCSIFMTU, &request) != 0) {
    return fail(Errc::kIo, fmt::format("cannot set the MTU of \"{}\" to {}: {}", name, mtu, std::strerror(errno)));
  }
  request = request_for(name);
  if (ioctl(control.value, SIOCGIFFLAGS, &request) == 0) {
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (ioctl(control.value, SIOCSIFFLAGS, &request) == 0) return {};
  }
  return fail(Errc::kIo, fmt::format("cannot bring \"{}\" up: {}", name, std::strerror(errno)));
}

}  // namespace

struct TunDevice::Impl {
  uv_poll_t handle{};
  int descriptor = -1;
  Listener* listener = nullptr;  // null once the device is destroyed: nothing is told any more
  std::string name;
  std::optional<RouteNetlink> netlink;
  std::array<std::uint8_t, kMaxPacket> buffer{};

  static void on_readable(uv_poll_t* handle, int status, int) noexcept;
  void read_burst();
};

TunDevice::TunDevice(Impl* impl) : impl_(impl) {}

Result<std::unique_ptr<TunDevice>> TunDevice::open(uv_loop_s* loop, const TunOptions& options, Listener& listener) {
  if (!is_interface_name(options.name)) {
    return fail(Errc::kInvalid, fmt::format("\"{}\" is no interface name: 1 to 15 characters, no '/', ':' or blank", options.name));
  }
  Descriptor tun(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (tun.value < 0) return open_failure(errno);
  ifreq request = request_for(options.name);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(tun.value, TUNSETIFF, &request) != 0) return create_failure(errno, options.name);
  const std::string name = request.ifr_name;
  if (auto up = bring_up(name, options.mtu); !up) return tl::unexpected(up.error());
  auto netlink = RouteNetlink::open_socket();
  if (!netlink) return tl::unexpected(netlink.error());

  auto impl = std::make_unique<Impl>();
  impl->netlink.emplace(*netlink, if_nametoindex(name.c_str()));
  impl->name = name;
  impl->listener = &listener;
  if (const int error = uv_poll_init(loop, &impl->handle, tun.value); error != 0) {
    return fail(Errc::kIo, fmt::format("cannot watch the TUN interface: {}", uv_strerror(error)));
  }
  impl->descriptor = tun.release();
  impl->handle.data = impl.get();
  uv_poll_start(&impl->handle, UV_READABLE, Impl::on_readable);
  return std::unique_ptr<TunDevice>(new TunDevice(impl.release()));
}

TunDevice::~TunDevice() {
  impl_->listener = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&impl_->handle), [](uv_handle_t* handle) noexcept {
    delete static_cast<Impl*>(handle->data);
  });
  close(impl_->descriptor);  // uv_close has taken it out of the poll set; the interface goes with it
  impl_->descriptor = -1;
  impl_->netlink.reset();
}

void TunDevice::Impl::on_readable(uv_poll_t* handle, int status, int) noexcept {
  auto& self = *static_cast<Impl*>(handle->data);
  if (self.listener == nullptr) return;
  if (status < 0) {
    uv_poll_stop(handle);
    self.listener->on_error({make_error_code(Errc::kIo), fmt::format("the TUN interface failed: {}", uv_strerror(status))});
    return;
  }
  self.read_burst();
}

// The listener may destroy the device at any call; this block lives until libuv has closed.
void TunDevice::Impl::read_burst() {
  for (int i = 0; i < kBurst; ++i) {
    const ssize_t size = read(descriptor, buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno != EAGAIN) {
      uv_poll_stop(&handle);
      listener->on_error({make_error_code(Errc::kIo), fmt::format("the TUN interface is gone: {}", std::strerror(errno))});
      return;
    }
    if (size <= 0) break;
    listener->on_packet(ByteView{buffer}.first(static_cast<std::size_t>(size)));
    if (listener == nullptr) return;
  }
  listener->on_burst_end();
}

const std::string& TunDevice::name() const { return impl_->name; }
Result<void> TunDevice::add_address(const IpPrefix& prefix) { return impl_->netlink->change_address(prefix, true); }
Result<void> TunDevice::remove_address(const IpPrefix& prefix) { return impl_->netlink->change_address(prefix, false); }
Result<void> TunDevice::add_route(const IpPrefix& prefix) { return impl_->netlink->change_route(prefix, true); }
Result<void> TunDevice::remove_route(const IpPrefix& prefix) { return impl_->netlink->change_route(prefix, false); }

bool TunDevice::send(ByteView packet) {
  ssize_t written = -1;
  do {
    written = write(impl_->descriptor, packet.data(), packet.size());
  } while (written < 0 && errno == EINTR);
  return written == static_cast<ssize_t>(packet.size());
}

}  // namespace natt::tunnel::uv
