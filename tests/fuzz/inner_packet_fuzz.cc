// SPDX-License-Identifier: Apache-2.0
// IP packets inside the tunnel: what parses has the size it says, and only its own answer
// passes the flow table.
#include <cstdlib>

#include <natt/tunnel/flow_table.h>

using namespace natt;
using namespace natt::tunnel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes{data, size};
  const auto packet = InnerPacket::parse(bytes);
  if (!packet) return 0;
  const bool v4 = packet->flow.source.is_v4();
  const std::size_t told = load_be<std::uint16_t>(data + (v4 ? 2 : 4)) + std::size_t{v4 ? 0U : 40U};
  if (told != size || v4 != packet->flow.destination.is_v4()) std::abort();
  if (InnerPacket::parse(bytes.first(size - 1))) std::abort();

  FlowTable table(1, 2);
  const Instant now{std::chrono::seconds(1)};
  if (table.allows_return(now, *packet)) std::abort();  // nobody asked
  table.note_outgoing(now, *packet);
  const bool opens = !packet->flow.is_icmp() || packet->is_echo_request();
  if (table.size() != (opens ? 1U : 0U) || table.knows(now, *packet) != opens) std::abort();
  return 0;
}
