// SPDX-License-Identifier: Apache-2.0
// Authorities, CONNECT-UDP paths and Proxy-Status of a peer: what is accepted is canonical.
#include <cstdlib>

#include <natt/bytes.h>
#include <natt/tunnel/authority.h>

#include "libtunnel/src/http/message_head.h"

using namespace natt;
using namespace natt::tunnel;

namespace {

void check_canonical(const Authority& authority) {
  if (Authority::parse(authority.to_string()) != authority) std::abort();
  if (parse_connect_udp_path(connect_udp_path(authority)) != authority) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = as_text({data, size});
  if (const auto authority = Authority::parse(text)) check_canonical(*authority);
  if (const auto authority = parse_connect_udp_path(text)) check_canonical(*authority);
  const std::string reason = reason_of(text);
  if (reason.size() > kMaxReason) std::abort();
  if (reason_of(proxy_status(text)).size() > kMaxReason) std::abort();
  return 0;
}
