// SPDX-License-Identifier: Apache-2.0
#pragma once

// Who may reach what behind this gateway: the one place of that decision (a broker
// has no say). Default deny. Every decision carries the rule that allowed it or the
// reason of the denial, for the log.
//
//   const DialTarget target{.transport = Transport::kTcp, .host = "wiki.corp", .addresses = resolved, .port = 443};
//   const Decision decision = entitlements.check_dial(client, target);
//   if (decision.allowed) dial(decision.addresses, 443); else log(decision.reason);
//
// Resolve a name once, check, and dial only what the decision returns. Immutable
// after construction: on reload build a new one and check what is running again.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <natt/address.h>
#include <natt/identity.h>

#include "apps/gateway/entitlement_rule.h"
#include "apps/gateway/never_list.h"

namespace natt::tunnel {
struct FlowKey;
struct InnerPacket;
}  // namespace natt::tunnel

namespace natt::gateway {

// Resolved addresses beyond these are ignored.
inline constexpr std::size_t kMaxDialAddresses = 16;

struct DialTarget {
  Transport transport = Transport::kTcp;  // kTcp or kUdp
  std::string host;                       // the name asked for; empty when an address was
  std::vector<IpAddress> addresses;       // the address asked for, or what the name resolved to
  std::uint16_t port = 0;
};

struct Decision {
  bool allowed = false;
  std::string reason;                // the rule's text, or why not
  std::vector<IpAddress> addresses;  // what may be dialled, in the order given; empty when denied
};

class Entitlements {
 public:
  Entitlements(std::string site, std::vector<Entitlement> entitlements, NeverList never);

  // Whether anything at all is allowed: offers of other clients are refused before a
  // packet is sent for them.
  [[nodiscard]] bool knows(const Identity& client) const;
  [[nodiscard]] Decision check_dial(const Identity& client, const DialTarget& target) const;

  // A packet out of a client's tunnel, on its way to the protected network. `assigned` are
  // the client's own tunnel addresses, as handed out. Packets the other way are not checked
  // here: only known flows return (natt/tunnel/flow_table.h).
  [[nodiscard]] Decision check_packet(const Identity& client, const std::vector<IpAddress>& assigned,
                                      const tunnel::InnerPacket& packet) const;

 private:
  using Rules = std::vector<const Rule*>;
  struct Ask;
  struct Verdict;

  [[nodiscard]] Rules rules_of(const Identity& client) const;
  [[nodiscard]] Verdict check_address(const Rules& rules, const Ask& ask, const IpAddress& address) const;
  [[nodiscard]] Verdict check_plain(const Rules& rules, const Ask& ask, const IpAddress& address) const;
  [[nodiscard]] Decision check_flow(const Rules& rules, const tunnel::FlowKey& flow) const;

  std::string site_;
  std::vector<Entitlement> entitlements_;
  NeverList never_;
};

}  // namespace natt::gateway
