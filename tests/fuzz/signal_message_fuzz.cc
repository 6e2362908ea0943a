// SPDX-License-Identifier: Apache-2.0
// A message body as it comes out of TLS. What parses has to serialize, and to itself.

#include <cstdint>
#include <cstdlib>

#include <natt/signal_message.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = natt::parse_signal({data, size});
  if (!parsed || !*parsed) return 0;
  const auto body = natt::serialize_signal(**parsed);
  if (!body) std::abort();
  const auto again = natt::parse_signal(*body);
  if (!again || !*again || *natt::serialize_signal(**again) != *body) std::abort();
  return 0;
}
