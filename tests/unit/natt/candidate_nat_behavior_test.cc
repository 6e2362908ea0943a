// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch_test_macros.hpp>

#include <natt/nat_behavior.h>

namespace natt::test {
namespace {

SocketAddress at(std::string_view text) { return *SocketAddress::parse(text); }

const SocketAddress kA443 = at("198.51.100.1:443");
const SocketAddress kA53 = at("198.51.100.1:53");
const SocketAddress kB443 = at("198.51.100.2:443");
const SocketAddress kMapped = at("203.0.113.1:4000");
const SocketAddress kOther = at("203.0.113.1:4001");
const SocketAddress kThird = at("203.0.113.1:4002");

}  // namespace

TEST_CASE("nat behavior: the mapping is told from what several servers saw", "[natt][candidate]") {
  NatMappingObserver observer;
  CHECK(observer.mapping() == NatMapping::kUnknown);
  observer.observe(kA443, kMapped);
  CHECK(observer.mapping() == NatMapping::kUnknown);

  SECTION("the same everywhere: endpoint-independent") {
    observer.observe(kA53, kMapped);
    CHECK(observer.mapping() == NatMapping::kUnknown);  // two ports of one address do not show it
    observer.observe(kB443, kMapped);
    CHECK(observer.mapping() == NatMapping::kEndpointIndependent);
  }
  SECTION("another for another address: address-dependent") {
    observer.observe(kA53, kMapped);
    observer.observe(kB443, kOther);
    CHECK(observer.mapping() == NatMapping::kAddressDependent);
  }
  SECTION("another for another port: address-and-port-dependent") {
    observer.observe(kA53, kOther);
    observer.observe(kB443, kThird);
    CHECK(observer.mapping() == NatMapping::kAddressAndPortDependent);
  }
  SECTION("our own address: no NAT") {
    observer.set_own_addresses({kMapped});
    CHECK(observer.mapping() == NatMapping::kNone);
  }
  SECTION("a newer answer of the same server replaces the older") {
    observer.observe(kB443, kOther);
    observer.observe(kB443, kMapped);
    CHECK(observer.mapping() == NatMapping::kEndpointIndependent);
    observer.forget(kB443);
    CHECK(observer.mapping() == NatMapping::kUnknown);
  }
  SECTION("IPv6 has its own mapping") {
    observer.observe(at("[2001:db8::1]:443"), at("[2001:db8:1::1]:4000"));
    CHECK(observer.mapping() == NatMapping::kUnknown);
  }
}

TEST_CASE("nat behavior: what is not known counts as friendly", "[natt][candidate]") {
  const NatBehavior symmetric{NatMapping::kAddressAndPortDependent, NatFiltering::kAddressAndPortDependent};

  CHECK(punch_outlook({}, {}) == PunchOutlook::kPossible);
  CHECK(punch_outlook({}, symmetric) == PunchOutlook::kPossible);
  CHECK(punch_outlook(symmetric, symmetric) == PunchOutlook::kHardNatBoth);
  CHECK(to_string(PunchOutlook::kHardNatOne) == "hard-nat-one");
}

}  // namespace natt::test
