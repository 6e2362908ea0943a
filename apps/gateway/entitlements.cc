// SPDX-License-Identifier: Apache-2.0
#include "apps/gateway/entitlements.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <natt/tunnel/inner_packet.h>

#include "apps/gateway/embedded_ipv4.h"

namespace natt::gateway {

// What is asked of one address.
struct Entitlements::Ask {
  Transport transport;
  std::string_view host;              // empty: by address
  std::optional<std::uint16_t> port;  // absent: a protocol without ports
};

struct Entitlements::Verdict {
  const Rule* rule = nullptr;  // null: denied
  std::string reason;
};

namespace {

bool matches_port(const Rule& rule, std::optional<std::uint16_t> port) {
  return port ? rule.matches_port(*port) : rule.ports.empty();
}

Decision deny(std::string reason) { return {.allowed = false, .reason = std::move(reason), .addresses = {}}; }

Transport transport_of(tunnel::IpProtocol protocol) {
  switch (protocol) {
    case tunnel::IpProtocol::kTcp: return Transport::kTcp;
    case tunnel::IpProtocol::kUdp: return Transport::kUdp;
    case tunnel::IpProtocol::kIcmp: return Transport::kIcmp;
    case tunnel::IpProtocol::kIcmpV6: return Transport::kIcmp;
  }
  return Transport::kIcmp;
}

// An ICMP error says "packet too big" and the like about what the other end sent: it belongs to
// the flow that its quotation answers. Nothing when it quotes what this client never received.
std::optional<tunnel::FlowKey> flow_of_error(const tunnel::InnerPacket& packet) {
  if (!packet.quoted || packet.quoted->destination != packet.flow.source ||
      packet.quoted->source != packet.flow.destination) {
    return std::nullopt;
  }
  return packet.quoted->reversed();
}

}  // namespace

Entitlements::Entitlements(std::string site, std::vector<Entitlement> entitlements, NeverList never)
    : site_(std::move(site)), entitlements_(std::move(entitlements)), never_(std::move(never)) {}

Entitlements::Rules Entitlements::rules_of(const Identity& client) const {
  Rules rules;
  if (client.site != site_ || client.role != Role::kClient) return rules;
  for (const Entitlement& entitlement : entitlements_) {
    if (entitlement.client != "*" && entitlement.client != client.name) continue;
    for (const Rule& rule : entitlement.allow) rules.push_back(&rule);
  }
  return rules;
}

bool Entitlements::knows(const Identity& client) const { return !rules_of(client).empty(); }

// The address as it is, without regard to what it may embed.
Entitlements::Verdict Entitlements::check_plain(const Rules& rules, const Ask& ask, const IpAddress& address) const {
  if (never_.is_in_pool(address)) return {nullptr, "it is a tunnel address: client to client is denied"};
  const auto kind = never_.find(address);
  for (const Rule* rule : rules) {
    if (!rule->matches_transport(ask.transport) || !matches_port(*rule, ask.port)) continue;
    const bool by_address = kind ? rule->is_exactly(address) : rule->matches_address(address);
    // A name is only as trustworthy as its DNS: it opens nothing that is on the never-list.
    const bool by_name = !kind && !ask.host.empty() && rule->host == ask.host;
    if (by_address || by_name) return {rule, rule->text};
  }
  if (kind) return {nullptr, fmt::format("it is {}: only an exact rule for the address opens that", *kind)};
  return {nullptr, rules.empty() ? "the client has no entitlement" : "no rule allows it"};
}

Entitlements::Verdict Entitlements::check_address(const Rules& rules, const Ask& ask, const IpAddress& address) const {
  if (const auto target = nat64_target(address)) return check_plain(rules, ask, *target);
  const Verdict outer = check_plain(rules, ask, address);
  if (outer.rule == nullptr) return outer;
  // A tunnel address ends at an IPv4 host too: both have to be allowed.
  for (const IpAddress& inner : embedded_ipv4(address)) {
    Verdict verdict = check_plain(rules, ask, inner);
    if (verdict.rule == nullptr) {
      verdict.reason = fmt::format("it embeds {}, and {}", inner.to_string(), verdict.reason);
      return verdict;
    }
  }
  return outer;
}

Decision Entitlements::check_dial(const Identity& client, const DialTarget& target) const {
  if (target.port == 0) return deny("port 0 cannot be dialled");
  if (target.transport != Transport::kTcp && target.transport != Transport::kUdp)
    return deny("only TCP and UDP are dialled");
  if (target.addresses.empty()) return deny("the name does not resolve");
  const auto name = target.host.empty() ? std::optional(std::string()) : canonical_host_name(target.host);
  if (!name) return deny("the host name is malformed");
  const Rules rules = rules_of(client);
  const Ask ask{target.transport, *name, target.port};
  Decision decision;
  std::string first_denial;
  const std::size_t count = std::min(target.addresses.size(), kMaxDialAddresses);
  for (std::size_t i = 0; i < count; ++i) {
    const IpAddress& address = target.addresses[i];
    Verdict verdict = check_address(rules, ask, address);
    if (verdict.rule != nullptr) {
      if (decision.addresses.empty()) decision.reason = std::move(verdict.reason);
      decision.addresses.push_back(address);
    } else if (first_denial.empty()) {
      first_denial = fmt::format("{}: {}", address.to_string(), verdict.reason);
    }
  }
  decision.allowed = !decision.addresses.empty();
  if (!decision.allowed) decision.reason = std::move(first_denial);
  return decision;
}

Decision Entitlements::check_flow(const Rules& rules, const tunnel::FlowKey& flow) const {
  const Transport transport = transport_of(flow.protocol);
  Ask ask{transport, {}, std::nullopt};
  if (transport != Transport::kIcmp) {
    if (flow.destination_port == 0 || flow.source_port == 0) return deny("port 0");
    ask.port = flow.destination_port;
  }
  Verdict verdict = check_address(rules, ask, flow.destination);
  if (verdict.rule == nullptr) return deny(fmt::format("{}: {}", flow.destination.to_string(), verdict.reason));
  return {.allowed = true, .reason = std::move(verdict.reason), .addresses = {flow.destination}};
}

Decision Entitlements::check_packet(const Identity& client, const std::vector<IpAddress>& assigned,
                                    const tunnel::InnerPacket& packet) const {
  const tunnel::FlowKey& flow = packet.flow;
  if (std::find(assigned.begin(), assigned.end(), flow.source) == assigned.end()) {
    return deny(fmt::format("source {} is not the client's tunnel address", flow.source.to_string()));
  }
  const Rules rules = rules_of(client);
  // Other questions of ICMP (redirect, router advertisement, timestamp) have no business in a tunnel.
  if (!flow.is_icmp() || packet.is_echo_request()) return check_flow(rules, flow);
  const auto subject = flow_of_error(packet);
  if (!subject) return deny(fmt::format("ICMP type {} belongs to no flow", packet.icmp_type));
  return check_flow(rules, *subject);
}

}  // namespace natt::gateway
