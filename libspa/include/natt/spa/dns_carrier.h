// SPDX-License-Identifier: Apache-2.0
#pragma once

// A frame as a DNS query (docs/WIRE.md section 1.4.1): the name is the frame in base32hex
// and a suffix. Goes to a verifier's own UDP/53 and is never answered. Pure functions.

#include <optional>

#include <natt/bytes.h>
#include <natt/random.h>
#include <natt/spa/dns_suffix.h>
#include <natt/spa/frame.h>

namespace natt::spa {

// The message's id and its type, A or AAAA, are drawn from `random`.
[[nodiscard]] ByteBuffer make_dns_carrier(FrameView frame, const DnsSuffix& suffix, Random& random);
// The frame of a query that has the shape and ends in `suffix`, in any mixture of case (resolvers and middleboxes mix
// it), without any allocation. Options of the query are not looked at. Trust: anyone can make the shape.
[[nodiscard]] std::optional<Frame> parse_dns_carrier(ByteView datagram, const DnsSuffix& suffix);

}  // namespace natt::spa
