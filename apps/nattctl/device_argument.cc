// SPDX-License-Identifier: Apache-2.0
#include "apps/nattctl/device_argument.h"

#include <fmt/format.h>

#include <natt/identity.h>

namespace natt::ctl {
namespace {

constexpr std::uint16_t kServicePort = 443;

tl::unexpected<Error> complain(std::string message) {
  return fail(std::make_error_code(std::errc::invalid_argument), std::move(message));
}

}  // namespace

Result<SocketAddress> parse_address_argument(std::string_view text, std::string_view option) {
  std::optional<SocketAddress> address;
  if (const auto ip = IpAddress::parse(text)) {
    address = SocketAddress{*ip, kServicePort};
  } else {
    address = SocketAddress::parse(text);
  }
  if (address && address->port != 0 && !address->ip.is_unspecified() && !address->ip.is_multicast()) return *address;
  return complain(fmt::format("{}: \"{}\" is no address; write 198.51.100.10, 198.51.100.10:8443 or [2001:db8::1]:8443",
                              option, text));
}

Result<DeviceArgument> parse_device_argument(std::string_view text, std::string_view option) {
  const std::size_t equals = text.find('=');
  DeviceArgument device{std::string(text.substr(0, equals)), std::nullopt};
  if (!is_valid_name(device.name)) {
    return complain(
        fmt::format("{}: \"{}\" is no device name: 1 to 63 characters out of a-z, 0-9 and -", option, device.name));
  }
  if (equals == std::string_view::npos) return device;
  const auto address = parse_address_argument(text.substr(equals + 1), option);
  if (!address) return tl::unexpected(address.error());
  device.address = *address;
  return device;
}

}  // namespace natt::ctl
