// SPDX-License-Identifier: Apache-2.0
// Capsules from a request stream: in one piece and octet by octet the same ones come out, and
// every control capsule serializes to bytes that parse to it again.
#include <cstdlib>
#include <vector>

#include "libtunnel/src/masque/capsule_reader.h"
#include "libtunnel/src/masque/varint.h"

using namespace natt;
using namespace natt::tunnel;

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

void check_round_trip(const ControlCapsule& capsule) {
  ByteBuffer bytes;
  check(serialize_capsule(capsule, bytes));
  ByteReader in(bytes);
  const auto type = read_varint(in);
  const auto length = read_varint(in);
  check(type && length && *length == in.rest().size());
  check(parse_capsule_value(static_cast<CapsuleType>(*type), in.rest()) == capsule);
}

// One line per item; stops at the first that is malformed.
ByteBuffer trace(ByteView bytes, std::size_t step) {
  CapsuleReader reader;
  ByteBuffer seen;
  while (!bytes.empty()) {
    ByteView piece = bytes.first(std::min(step, bytes.size()));
    bytes = bytes.subspan(piece.size());
    while (const auto item = reader.read(piece)) {
      seen.push_back(static_cast<std::uint8_t>(item->index()));
      if (std::holds_alternative<CapsuleReader::Malformed>(*item)) return seen;
      if (const auto* const control = std::get_if<ControlCapsule>(&*item)) check_round_trip(*control);
      if (const auto* const datagram = std::get_if<CapsuleReader::DatagramPayload>(&*item)) {
        seen.insert(seen.end(), datagram->payload.begin(), datagram->payload.end());
      }
    }
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes{data, size};
  check(trace(bytes, size) == trace(bytes, 1));
  return 0;
}
