// SPDX-License-Identifier: Apache-2.0
#pragma once

// A Linux TUN interface on a libuv loop: IP packets in and out, no packet information header.
// Addresses and routes are set over rtnetlink, not by running `ip`: no child process in a
// program with privileges, no PATH, and errors come back as codes instead of text.
//
// Resource class of one loop and one thread. Destroying cancels: no callback runs afterwards;
// the interface, its addresses and its routes vanish with the descriptor. Run the loop once
// more afterwards so that libuv can finish closing.

#include <memory>
#include <string>

#include <natt/address.h>
#include <natt/bytes.h>
#include <natt/error.h>

struct uv_loop_s;

namespace natt::tunnel::uv {

struct TunOptions {
  // 1 to 15 octets without '/' and blanks; empty lets the kernel choose ("tun0", ...).
  std::string name;
  // What every path carries inside one QUIC datagram or capsule (IPv6's minimum, RFC 8200 section 5).
  std::uint16_t mtu = 1280;
};

class TunDevice {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // A packet that the host sent into the interface; valid during the call. May call send()
    // and may destroy the device.
    virtual void on_packet(ByteView packet) = 0;
    // At most 64 packets were delivered; flush what they caused. May destroy the device.
    virtual void on_burst_end() = 0;
    // The interface is gone or broken; nothing more comes. May destroy the device.
    virtual void on_error(const Error& error) = 0;
  };

  // Errors are one sentence with what to do: CAP_NET_ADMIN missing, no /dev/net/tun, name in use.
  // `loop` and `listener` outlive the device.
  [[nodiscard]] static Result<std::unique_ptr<TunDevice>> open(uv_loop_s* loop, const TunOptions& options,
                                                               Listener& listener);
  ~TunDevice();
  TunDevice(const TunDevice&) = delete;
  TunDevice& operator=(const TunDevice&) = delete;

  [[nodiscard]] const std::string& name() const;
  // `prefix.base` is the interface's own address, `prefix.length` (over 128 bits) its on-link prefix.
  [[nodiscard]] Result<void> add_address(const IpPrefix& prefix);
  [[nodiscard]] Result<void> remove_address(const IpPrefix& prefix);
  [[nodiscard]] Result<void> add_route(const IpPrefix& prefix);
  [[nodiscard]] Result<void> remove_route(const IpPrefix& prefix);

  // Hands a packet to the host. False when the interface's queue is full: it is dropped, as a
  // link does.
  bool send(ByteView packet);

 private:
  struct Impl;
  explicit TunDevice(Impl* impl);
  Impl* impl_;  // frees itself once libuv has closed its handle
};

}  // namespace natt::tunnel::uv
