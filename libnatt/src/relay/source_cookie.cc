// SPDX-License-Identifier: Apache-2.0
#include "src/relay/source_cookie.h"

#include "src/relay/relay_mac.h"

namespace natt::relay {

std::array<std::uint8_t, 8> SourceCookie::make(RelayLegId leg, const SocketAddress& source,
                                               std::uint64_t counter) const {
  std::array<std::uint8_t, 22> fields{};
  store_be(fields.data(), leg.slot);
  store_be(fields.data() + 4, leg.tag);
  store_be(fields.data() + 12, source.port);
  store_be(fields.data() + 14, counter);
  const auto tag = mac(key_, {fields, source.ip.octets()});
  std::array<std::uint8_t, 8> cookie{};
  std::copy_n(tag.begin(), cookie.size(), cookie.begin());
  return cookie;
}

bool SourceCookie::check(const std::array<std::uint8_t, 8>& cookie, RelayLegId leg, const SocketAddress& source,
                         std::uint64_t counter) const {
  return constant_time_equal(cookie, make(leg, source, counter));
}

}  // namespace natt::relay
