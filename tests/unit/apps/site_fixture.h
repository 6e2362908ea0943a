// SPDX-License-Identifier: Apache-2.0
#pragma once

// A site with one device of each role, as `nattctl init` would write it, in memory.

#include <string>

#include <natt/identity.h>
#include <natt/time.h>

namespace natt::test {

inline constexpr WallTime kSiteTime{std::chrono::seconds(1'800'000'000)};

// The text of broker.toml (b1), gateway-gw1.toml or client-alice.toml of site "hq". Made once.
[[nodiscard]] const std::string& device_text(Role role);
// The same device in another site, "lab".
[[nodiscard]] const std::string& other_site_text(Role role);

// `text` with `from` (which has to be there) replaced by `to`, once.
[[nodiscard]] std::string replaced(std::string text, std::string_view from, std::string_view to);
// The line (from 1) on which `needle` first stands.
[[nodiscard]] std::size_t line_of(std::string_view text, std::string_view needle);

}  // namespace natt::test
