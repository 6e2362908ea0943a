// SPDX-License-Identifier: Apache-2.0
#pragma once

// The kinds of NAT that the matrix is made of, and its table as docs/TESTING.md prints it.

#include <array>
#include <string>
#include <string_view>

#include <natt/nat_behavior.h>

namespace natt::test {

struct NatKind {
  std::string_view name;  // mapping/filtering: EI, AD, APD of RFC 4787
  NatBehavior behavior;
};

inline constexpr std::array<NatKind, 10> kNatKinds = {{
    {"public", {NatMapping::kNone, NatFiltering::kNone}},
    {"EI/EI", {NatMapping::kEndpointIndependent, NatFiltering::kEndpointIndependent}},
    {"EI/AD", {NatMapping::kEndpointIndependent, NatFiltering::kAddressDependent}},
    {"EI/APD", {NatMapping::kEndpointIndependent, NatFiltering::kAddressAndPortDependent}},
    {"AD/EI", {NatMapping::kAddressDependent, NatFiltering::kEndpointIndependent}},
    {"AD/AD", {NatMapping::kAddressDependent, NatFiltering::kAddressDependent}},
    {"AD/APD", {NatMapping::kAddressDependent, NatFiltering::kAddressAndPortDependent}},
    {"APD/EI", {NatMapping::kAddressAndPortDependent, NatFiltering::kEndpointIndependent}},
    {"APD/AD", {NatMapping::kAddressAndPortDependent, NatFiltering::kAddressDependent}},
    {"APD/APD", {NatMapping::kAddressAndPortDependent, NatFiltering::kAddressAndPortDependent}},
}};

// Markdown: one row per client NAT, one column per gateway NAT; "punch" or the reason why not.
[[nodiscard]] std::string nat_matrix_table();

}  // namespace natt::test
