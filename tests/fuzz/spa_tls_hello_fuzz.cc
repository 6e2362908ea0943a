// SPDX-License-Identifier: Apache-2.0
// The two-record reader: the first octet chooses how the rest is cut into pieces. The
// outcome must not depend on the cuts.
#include <cstdlib>

#include <natt/spa/tls_hello_carrier.h>

using namespace natt;

namespace {

const Instant kNow{std::chrono::hours(1)};

void feed(spa::TlsHelloReader& reader, ByteView bytes, std::size_t piece) {
  while (!bytes.empty()) {
    const std::size_t taken = reader.handle_bytes(kNow, bytes.first(std::min(piece, bytes.size())));
    if (taken == 0) break;
    bytes = bytes.subspan(taken);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const ByteView stream(data + 1, size - 1);
  spa::TlsHelloReader whole(kNow);
  spa::TlsHelloReader pieces(kNow);
  feed(whole, stream, stream.size());
  feed(pieces, stream, std::size_t{data[0]} + 1);

  if (whole.state() != pieces.state()) std::abort();
  if (whole.state() != spa::TlsHelloReader::State::kComplete) return 0;
  if (!std::equal(whole.frame().begin(), whole.frame().end(), pieces.frame().begin())) std::abort();
  if (!(whole.binding() == pieces.binding())) std::abort();
  if (whole.record2().size() > spa::TlsHelloReader::kMaxRecord2) std::abort();
  (void)spa::parse_pairing_record(whole.record2());
  return 0;
}
