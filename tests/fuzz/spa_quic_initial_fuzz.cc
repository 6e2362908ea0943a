// SPDX-License-Identifier: Apache-2.0
// The gate's view of an Initial: every view it returns lies inside the datagram. Input is
// padded, so that short inputs get past the 1200 octets too.
#include <cstdlib>

#include <natt/spa/quic_initial.h>

using namespace natt;

namespace {

bool inside(ByteView part, ByteView whole) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

void check(ByteView datagram) {
  const auto initial = spa::parse_quic_initial(datagram);
  if (!initial) return;
  if (!inside(initial->dcid, datagram) || !inside(initial->scid, datagram) || !inside(initial->token, datagram)) {
    std::abort();
  }
  if (initial->dcid.size() < 8 || initial->dcid.size() > 20 || initial->scid.size() > 20) std::abort();
  if (initial->version != spa::kQuicVersion1 && initial->version != spa::kQuicVersion2) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check({data, size});
  ByteBuffer padded(data, data + size);
  padded.resize(std::max<std::size_t>(size, 1200));
  check(padded);
  return 0;
}
