// SPDX-License-Identifier: Apache-2.0
#pragma once

// Addresses and routes of one network interface over rtnetlink (rtnetlink(7)). Each call asks
// the kernel and waits for its answer, which comes from the same call chain: nothing blocks.
// Resource type: owns its socket.

#include <natt/address.h>
#include <natt/error.h>

namespace natt::tunnel::uv {

class RouteNetlink {
 public:
  [[nodiscard]] static Result<int> open_socket();
  // Takes over the descriptor of open_socket().
  RouteNetlink(int descriptor, unsigned interface_index) : descriptor_(descriptor), interface_(interface_index) {}
  ~RouteNetlink();
  RouteNetlink(const RouteNetlink&) = delete;
  RouteNetlink& operator=(const RouteNetlink&) = delete;

  [[nodiscard]] Result<void> change_address(const IpPrefix& prefix, bool add);
  [[nodiscard]] Result<void> change_route(const IpPrefix& prefix, bool add);

 private:
  [[nodiscard]] int transact(const void* request, std::size_t size);

  int descriptor_;
  unsigned interface_;
  std::uint32_t sequence_ = 0;
};

}  // namespace natt::tunnel::uv
