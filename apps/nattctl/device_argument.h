// SPDX-License-Identifier: Apache-2.0
#pragma once

// How devices and addresses are written on nattctl's command line: "gw1",
// "b2=198.51.100.11", "b2=[2001:db8::1]:8443".

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <natt/address.h>
#include <natt/error.h>

namespace natt::ctl {

struct DeviceArgument {
  std::string name;
  std::optional<SocketAddress> address;
};

// "NAME" or "NAME=ADDRESS[:PORT]"; `option` is named in errors.
[[nodiscard]] Result<DeviceArgument> parse_device_argument(std::string_view text, std::string_view option);

// "ADDRESS[:PORT]", port 443 when left out. An address that a packet can be sent to.
[[nodiscard]] Result<SocketAddress> parse_address_argument(std::string_view text, std::string_view option);

}  // namespace natt::ctl
