// SPDX-License-Identifier: Apache-2.0
// The first octet chooses: a signed document or file (as anyone may present it), or a body behind a good
// signature in either view. A body that parses has to survive its own encoding.

#include <cstdint>
#include <cstdlib>

#include "libnatt/src/identity/roster_wire.h"
#include "support/test_pki.h"

using namespace natt;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const test::TestPki site;
  if (size == 0) return 0;
  const ByteView bytes(data + 1, size - 1);
  if (data[0] == 0) {
    // Nobody but the CA can make a document that is accepted, and the fuzzer does not have its key.
    if (parse_roster(bytes, RosterView::kFull, site.ca())) std::abort();
    if (const auto file = SignedRoster::parse(bytes); file && !SignedRoster::parse(file->serialize())) std::abort();
    return 0;
  }
  const RosterView view = data[0] == 1 ? RosterView::kFull : RosterView::kClient;
  const auto roster = parse_roster_body(bytes, view, "hq");
  if (!roster) return 0;
  const auto again = parse_roster_body(serialize_roster_body(*roster, view), view, "hq");
  if (!again || *again != *roster) std::abort();
  return 0;
}
