// SPDX-License-Identifier: Apache-2.0
// The datagram parser: no crash, and a frame that it finds makes the same frame again.
#include <cstdlib>

#include <natt/spa/udp_carrier.h>

using namespace natt;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto frame = spa::parse_udp_carrier({data, size});
  if (frame && spa::parse_udp_carrier(spa::make_udp_carrier(*frame)) != frame) std::abort();
  return 0;
}
