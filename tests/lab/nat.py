# SPDX-License-Identifier: Apache-2.0
"""NAT kinds in the words of RFC 4787, as nftables rules for a host with the
interfaces `lan` and `wan`.

    kind             mapping (section 4.1)        filtering (section 5)
    full-cone        endpoint-independent         endpoint-independent
    restricted-cone  endpoint-independent         address-dependent
    port-restricted  endpoint-independent         address-and-port-dependent
    symmetric        address-and-port-dependent   address-and-port-dependent
    udp-blocked      UDP is dropped, TCP as port-restricted
    split-egress     as port-restricted, but TCP leaves with another address than UDP

A chain of NATs is written with `+`, nearest to the host first. Every kind drops what
nobody inside asked for, also packets to the NAT itself (otherwise connection tracking
would remember them and give the inside another port, which no real NAT does), answers
nobody outside, and has no hairpin.
"""
import dataclasses

ENDPOINT_INDEPENDENT = "endpoint-independent"
ADDRESS_DEPENDENT = "address-dependent"
ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What a NAT does to UDP; None where none passes."""
    mapping: str | None
    filtering: str | None


BEHAVIOURS = {
    "full-cone": Behaviour(ENDPOINT_INDEPENDENT, ENDPOINT_INDEPENDENT),
    "restricted-cone": Behaviour(ENDPOINT_INDEPENDENT, ADDRESS_DEPENDENT),
    "port-restricted": Behaviour(ENDPOINT_INDEPENDENT, ADDRESS_AND_PORT_DEPENDENT),
    "symmetric": Behaviour(ADDRESS_AND_PORT_DEPENDENT, ADDRESS_AND_PORT_DEPENDENT),
    "udp-blocked": Behaviour(None, None),
    "split-egress": Behaviour(ENDPOINT_INDEPENDENT, ADDRESS_AND_PORT_DEPENDENT),
}
# The kind on the command line, and the NATs it stands for. RFC 6888 REQ-1 asks carriers for
# endpoint-independent mapping, so a carrier's NAT is a port-restricted one behind the home's.
CHAINS = {"none": [], "cgnat": ["port-restricted", "port-restricted"]}
KINDS = ["none", *BEHAVIOURS, "cgnat"]
# NATs with a second public address, that of TCP.
TWO_ADDRESSES = {"split-egress"}


def chain(kind):
    """The NATs of a kind, nearest to the host first."""
    if kind in CHAINS:
        return CHAINS[kind]
    names = kind.split("+")
    for name in names:
        if name not in BEHAVIOURS:
            raise ValueError(f"unknown NAT kind '{name}': one of {', '.join(KINDS)}, or several joined with +")
    return names


# What everybody inside has mapped and contacted. Port preservation (the lab has one host behind a
# NAT) makes the outside port equal to the inside port, so the inside port is the key.
_MAPPINGS = """
  map inside { type inet_service : ipv4_addr; flags dynamic, timeout; timeout 2m; size 65536; }
  set contacted { type inet_service . ipv4_addr; flags dynamic, timeout; timeout 2m; size 65536; }
  chain outgoing {
    type filter hook postrouting priority srcnat - 10;
    oifname "wan" meta l4proto udp update @inside { udp sport : ip saddr }
    oifname "wan" meta l4proto udp update @contacted { udp sport . ip daddr }
  }"""
_INCOMING = {
    ENDPOINT_INDEPENDENT: 'iifname "wan" meta l4proto udp dnat ip to udp dport map @inside',
    ADDRESS_DEPENDENT: 'iifname "wan" udp dport . ip saddr @contacted dnat ip to udp dport map @inside',
}
_FIREWALL = """
  chain local {
    type filter hook input priority filter; policy drop;
    iifname "lo" accept
    ct state established, related accept
    iifname "lan" meta l4proto { icmp, ipv6-icmp } accept
    meta l4proto ipv6-icmp icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
  }
  chain through {
    type filter hook forward priority filter; policy drop;
    %(udp)s
    ct state invalid drop
    ct state established, related accept
    ct status dnat accept
    iifname "lan" oifname "wan" accept
  }"""


def ruleset(kind, tcp_address=None):
    """The nftables file of one NAT; `tcp_address` is the second address of those that have one. IPv6 passes the same
    firewall untranslated."""
    behaviour = BEHAVIOURS[kind]
    parts = [_FIREWALL % {"udp": "meta l4proto udp drop" if behaviour.filtering is None else ""}]
    if behaviour.filtering in _INCOMING:
        parts.append(_MAPPINGS)
        parts.append(f"""
  chain incoming {{
    type nat hook prerouting priority dstnat;
    {_INCOMING[behaviour.filtering]}
  }}""")
    flags = "random,fully-random" if behaviour.mapping == ADDRESS_AND_PORT_DEPENDENT else ""
    apart = f'oifname "wan" meta l4proto tcp snat ip to {tcp_address}' if kind in TWO_ADDRESSES else ""
    parts.append(f"""
  chain source {{
    type nat hook postrouting priority srcnat;
    {apart}
    oifname "wan" meta nfproto ipv4 masquerade {flags}
  }}""")
    return "table inet natlab {" + "".join(parts) + "\n}\n"
