// SPDX-License-Identifier: Apache-2.0
#include <natt/nat_behavior.h>

#include <algorithm>

namespace natt {
namespace {

bool is_endpoint_independent(NatMapping mapping) {
  switch (mapping) {
    case NatMapping::kUnknown:
    case NatMapping::kNone:
    case NatMapping::kEndpointIndependent: return true;
    case NatMapping::kAddressDependent:
    case NatMapping::kAddressAndPortDependent: return false;
  }
  return true;
}

bool filters_by_port(NatFiltering filtering) { return filtering == NatFiltering::kAddressAndPortDependent; }

// Anyone's packet gets in.
bool lets_anyone_in(NatFiltering filtering) {
  switch (filtering) {
    case NatFiltering::kUnknown:
    case NatFiltering::kNone:
    case NatFiltering::kEndpointIndependent: return true;
    case NatFiltering::kAddressDependent:
    case NatFiltering::kAddressAndPortDependent: return false;
  }
  return true;
}

// Both ends' ports are unknown to the other. The first check can only get in through the mapping that the broker
// saw, at an end that lets anyone in; the answer then leaves from another port of the same IP, which the other end
// has to let in; and one of the two has to keep that port for the next packet, or the ends chase each other.
bool hard_nats_meet(const NatBehavior& a, const NatBehavior& b) {
  const bool chase =
      a.mapping == NatMapping::kAddressAndPortDependent && b.mapping == NatMapping::kAddressAndPortDependent;
  const bool through_a = lets_anyone_in(a.filtering) && !filters_by_port(b.filtering);
  const bool through_b = lets_anyone_in(b.filtering) && !filters_by_port(a.filtering);
  return !chase && (through_a || through_b);
}

}  // namespace

std::string_view to_string(NatMapping mapping) {
  switch (mapping) {
    case NatMapping::kUnknown: return "unknown";
    case NatMapping::kNone: return "none";
    case NatMapping::kEndpointIndependent: return "endpoint-independent";
    case NatMapping::kAddressDependent: return "address-dependent";
    case NatMapping::kAddressAndPortDependent: return "address-and-port-dependent";
  }
  return "unknown";
}

std::string_view to_string(NatFiltering filtering) { return to_string(static_cast<NatMapping>(filtering)); }

std::string_view to_string(PunchOutlook outlook) {
  switch (outlook) {
    case PunchOutlook::kPossible: return "possible";
    case PunchOutlook::kHardNatBoth: return "hard-nat-both";
    case PunchOutlook::kHardNatOne: return "hard-nat-one";
  }
  return "unknown";
}

// A mapping that depends on the endpoint has a port that the other end cannot know beforehand. It learns it from
// the check that comes from there, if its filter lets that check in: an end that filters by port does not, because
// it has only sent to the port the broker saw.
PunchOutlook punch_outlook(const NatBehavior& a, const NatBehavior& b) {
  const bool a_hard = !is_endpoint_independent(a.mapping);
  const bool b_hard = !is_endpoint_independent(b.mapping);
  if (a_hard && b_hard) return hard_nats_meet(a, b) ? PunchOutlook::kPossible : PunchOutlook::kHardNatBoth;
  const bool blind = (b_hard && filters_by_port(a.filtering)) || (a_hard && filters_by_port(b.filtering));
  return blind ? PunchOutlook::kHardNatOne : PunchOutlook::kPossible;
}

void NatMappingObserver::observe(const SocketAddress& server, const SocketAddress& mapped) {
  const auto known = std::find_if(observations_.begin(), observations_.end(),
                                  [&](const Observation& o) { return o.server == server; });
  if (known != observations_.end()) {
    known->mapped = mapped;
  } else if (observations_.size() < kMaxServers) {
    observations_.push_back({server, mapped});
  }
}

void NatMappingObserver::forget(const SocketAddress& server) {
  std::erase_if(observations_, [&](const Observation& o) { return o.server == server; });
}

NatMapping NatMappingObserver::mapping() const {
  bool compared_addresses = false;
  bool compared = false;
  bool port_matters = false;
  bool address_matters = false;
  for (std::size_t i = 0; i < observations_.size(); ++i) {
    if (std::find(own_.begin(), own_.end(), observations_[i].mapped) != own_.end()) return NatMapping::kNone;
    for (std::size_t j = 0; j < i; ++j) {
      const Observation& a = observations_[i];
      const Observation& b = observations_[j];
      if (a.mapped.ip.is_v4() != b.mapped.ip.is_v4()) continue;  // two families, two mappings
      compared = true;
      const bool same_ip = a.server.ip == b.server.ip;
      compared_addresses = compared_addresses || !same_ip;
      if (a.mapped == b.mapped) continue;
      (same_ip ? port_matters : address_matters) = true;
    }
  }
  if (port_matters) return NatMapping::kAddressAndPortDependent;
  if (address_matters) return NatMapping::kAddressDependent;
  return compared && compared_addresses ? NatMapping::kEndpointIndependent : NatMapping::kUnknown;
}

}  // namespace natt
