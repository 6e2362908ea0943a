// SPDX-License-Identifier: Apache-2.0
#pragma once

// Encoding of rosters (docs/WIRE.md section 2). Internal to libnatt.

#include <string>

#include <natt/bytes.h>
#include <natt/roster.h>

namespace natt {

// `roster` is in order (normalize()).
[[nodiscard]] ByteBuffer serialize_roster_body(const Roster& roster, RosterView view);
// The inverse, of a body whose signature was verified. Errors as of parse_roster().
[[nodiscard]] Result<Roster> parse_roster_body(ByteView body, RosterView view, const std::string& site);
// What the CA signs: a context string, so that no other signature of its key means a roster, and the body.
[[nodiscard]] ByteBuffer roster_signing_input(ByteView body);
[[nodiscard]] ByteBuffer serialize_roster_document(ByteView body, ByteView signature);
// The checks of normalize(), and that everything already is in order.
[[nodiscard]] Result<void> validate(const Roster& roster, RosterView view);

}  // namespace natt
