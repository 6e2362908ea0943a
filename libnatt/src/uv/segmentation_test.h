// SPDX-License-Identifier: Apache-2.0
#pragma once

// Does this kernel segment UDP, and correctly? Some (7.0 to 7.1.4; Tailscale
// 19777) corrupt trains whose segments are all of one size.

namespace natt::uv {

// Asks `fd` for the option and sends one small train between two throw-away sockets
// on loopback. Where loopback is down the answer is what the option said.
[[nodiscard]] bool segmentation_works(int fd);

}  // namespace natt::uv
