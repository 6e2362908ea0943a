// SPDX-License-Identifier: Apache-2.0
#pragma once

// The knocks of this client for one gateway, made of what the roster says now.

#include <memory>

#include <natt/spa/knocker.h>

#include "src/uv/client/link_site.h"

namespace natt::tunnel::uv {

// `races_lost` in a row make other pairs of keys worth a try (natt/key_choice.h). kUnavailable when the roster lists no
// such gateway.
[[nodiscard]] Result<std::unique_ptr<spa::Knocker>> make_gateway_knocker(const LinkSite& site, const Identity& gateway,
                                                                         std::size_t races_lost);

}  // namespace natt::tunnel::uv
