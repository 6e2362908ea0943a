#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A NAT laboratory from network namespaces, veth pairs and nftables.

    client ── client's NAT(s) ──┐                    ┌── gateway's NAT(s) ── gateway ── web
                                ├──── internet ──────┤
                    stranger ───┤     (router)       └── broker (two addresses)
                      victim ───┘

    natlab.py run   [--client-nat KIND] [--gateway-nat KIND] [--on HOST] -- COMMAND...
    natlab.py shell [--client-nat KIND] [--gateway-nat KIND] [--on HOST]

KIND is one of nat.KINDS, or several joined with `+`, nearest to the host first. Inside,
`on HOST COMMAND...` runs a command on another host; $NATLAB_HOSTS lists them, and
$NATLAB_<HOST>_ADDRESS holds their addresses.
"""
import argparse
import ipaddress
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

import nat
import world
from host import Host, LabError

# RFC 5737 and RFC 3849 documentation prefixes play the public internet.
BROKER = ("198.51.100.10", "198.51.100.11")
GATEWAY = "203.0.113.7"
CLIENT = "192.0.2.20"
# With which TCP leaves the outermost NAT of a kind in nat.TWO_ADDRESSES, instead.
CLIENT_TCP = "192.0.2.21"
GATEWAY_TCP = "203.0.113.8"
_SECOND = {CLIENT: CLIENT_TCP, GATEWAY: GATEWAY_TCP}
STRANGER = "192.0.2.66"
VICTIM = "192.0.2.99"
WEB = "10.99.0.80"
CLIENT_NETWORK = "192.168.1.0/24"
GATEWAY_NETWORK = "10.2.0.0/24"
PROTECTED_NETWORK = "10.99.0.0/24"
# RFC 6598: between a home's NAT and its carrier's.
CARRIER_NETWORK = "100.64.%d.0/24"
_ROUTER = "192.0.2.1"
_ROUTER6 = "fe80::1"
# What no internet router carries, in either direction.
_BOGONS = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")


class Lab:
    """The whole laboratory; a context manager. Nothing of it is visible outside the process."""

    def __init__(self, client_nat="none", gateway_nat="none", ipv6=False):
        world.require()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lab-"))
        self.hosts = {}
        self._ipv6 = ipv6
        self._carriers = 0
        self._attached = {}
        try:
            self._build(client_nat, gateway_nat)
        except BaseException:
            self.close()
            raise

    def _build(self, client_nat, gateway_nat):
        self.internet = self._internet()
        self.broker = self.public_host("broker", *BROKER)
        self.stranger = self.public_host("stranger", STRANGER)
        self.victim = self.public_host("victim", VICTIM)
        self.client, self.client_nats = self.host_behind("client", client_nat, CLIENT, CLIENT_NETWORK)
        self.gateway, self.gateway_nats = self.host_behind("gateway", gateway_nat, GATEWAY, GATEWAY_NETWORK)
        self.web = self._protected("web", WEB)

    def _new_host(self, name):
        made = self.hosts[name] = Host(name, self.folder, self._ipv6)
        return made

    def _internet(self):
        router = self._new_host("internet")
        self._forwards(router)
        router.ip(*(f"route add blackhole {prefix}" for prefix in _BOGONS))
        router.nft("table ip bogons {\n chain through {\n  type filter hook forward priority filter\n"
                   "  ip saddr { %s } drop\n }\n}\n" % ", ".join(_BOGONS))
        return router

    def _forwards(self, host):
        host.sysctl("net/ipv4/ip_forward", 1)
        if self._ipv6:
            host.sysctl("net/ipv6/conf/all/forwarding", 1)

    @staticmethod
    def _cable(one, one_interface, other, other_interface):
        """A veth pair between two hosts."""
        descriptor = other.descriptor
        one.run(["ip", "link", "add", one_interface, "type", "veth", "peer", "name", other_interface,
                 "netns", f"/proc/self/fd/{descriptor}"], pass_fds=[descriptor])
        one.ip(f"link set {one_interface} up")
        other.ip(f"link set {other_interface} up")

    def _attach(self, host, interface, addresses):
        """Connects a host to the internet: host routes only, so that any address is possible anywhere."""
        port = f"to-{host.name}"[:15]
        self._attached[host.name] = (interface, port, addresses)
        self._cable(host, interface, self.internet, port)
        self._route_port(port, addresses)
        host.ip(*(f"address add {each}/32 dev {interface}" for each in addresses),
                f"route add {_ROUTER}/32 dev {interface} src {addresses[0]}",
                f"route add default via {_ROUTER} dev {interface} src {addresses[0]}")
        if self._ipv6:
            self._attach6(host, interface, addresses)

    def _route_port(self, port, addresses):
        self.internet.ip(f"address add {_ROUTER}/32 dev {port}", *(f"route add {each}/32 dev {port}" for each in addresses))
        if self._ipv6:
            self.internet.ip(f"address add {_ROUTER6}/64 dev {port} nodad",
                             *(f"route add {ipv6_of(each)}/128 dev {port}" for each in addresses))

    def _attach6(self, host, interface, addresses):
        host.ip(*(f"address add {ipv6_of(each)}/128 dev {interface} nodad" for each in addresses),
                f"route add default via {_ROUTER6} dev {interface} src {ipv6_of(addresses[0])}")

    def public_host(self, name, *addresses):
        """A host on the internet."""
        host = self._new_host(name)
        host.addresses = list(addresses)
        self._attach(host, "eth0", addresses)
        return host

    def host_behind(self, name, kind, public_address, network):
        """A host with `eth0` behind the NATs of a kind; returns it and its NATs, nearest first."""
        kinds = nat.chain(kind)
        if not kinds:
            return self.public_host(name, public_address), []
        networks = [network, *(self._carrier_network() for _ in kinds[1:])]
        nats = []
        prefixes = []
        for number, each in enumerate(kinds):
            box = self._new_host(f"{name}-nat" if number == 0 else f"{name}-cgn{number}")
            self._forwards(box)
            if number:
                prefixes.append(self._join(nats[-1], "wan", box, networks[number]))
            box.nft(nat.ruleset(each, _SECOND.get(public_address)))
            nats.append(box)
        second = [_SECOND[public_address]] if kinds[-1] in nat.TWO_ADDRESSES else []
        self._attach(nats[-1], "wan", [public_address, *second])
        nats[-1].addresses.append(public_address)
        host = self._new_host(name)
        prefixes.insert(0, self._join(host, "eth0", nats[0], network))
        if self._ipv6:
            self._route6(nats, prefixes, public_address)
        return host, nats

    def _route6(self, nats, prefixes, public_address):
        """Leads the IPv6 prefixes inside a chain of NATs back from the internet, untranslated."""
        for inner, prefix in enumerate(prefixes):
            for outer in range(inner + 1, len(nats)):
                nats[outer].ip(f"route add {prefix}/64 via {prefixes[outer]}2 dev lan")
            self.internet.ip(f"route add {prefix}/64 via {ipv6_of(public_address)} dev to-{nats[-1].name}")

    def _carrier_network(self):
        self._carriers += 1
        return CARRIER_NETWORK % self._carriers

    def _join(self, inner, interface, box, network):
        """Cables a host to the inside of a NAT, which is its default router; returns the IPv6 prefix."""
        net = ipaddress.ip_network(network)
        self._cable(inner, interface, box, "lan")
        box.ip(f"address add {net[1]}/{net.prefixlen} dev lan")
        inner.addresses.append(str(net[2]))
        inner.ip(f"address add {net[2]}/{net.prefixlen} dev {interface}", f"route add default via {net[1]}")
        prefix = f"2001:db8:1:{len(self.hosts):x}::"  # One per NAT: each adds a host.
        if self._ipv6:
            box.ip(f"address add {prefix}1/64 dev lan nodad")
            inner.ip(f"address add {prefix}2/64 dev {interface} nodad", f"route add default via {prefix}1")
        return prefix

    def neighbour_behind(self, box, name="neighbour"):
        """Another host inside a NAT, in a network of its own: the same public address, and nothing else in common."""
        host = self._new_host(name)
        self._cable(host, "eth0", box, "lan2")
        box.ip("address add 192.168.2.1/24 dev lan2")
        box.nft('add rule inet natlab through iifname "lan2" oifname "wan" accept\n')
        host.addresses.append("192.168.2.2")
        host.ip("address add 192.168.2.2/24 dev eth0", "route add default via 192.168.2.1")
        return host

    def _protected(self, name, address):
        """A host that only the gateway reaches: no other router has a route to it."""
        host = self._new_host(name)
        net = ipaddress.ip_network(PROTECTED_NETWORK)
        self._cable(self.gateway, "lan", host, "eth0")
        self._forwards(self.gateway)
        self.gateway.ip(f"address add {net[1]}/{net.prefixlen} dev lan")
        host.addresses.append(address)
        host.ip(f"address add {address}/{net.prefixlen} dev eth0", f"route add default via {net[1]}")
        return host

    def impair(self, name, **options):
        """Puts a link with delay_ms, jitter_ms, loss, rate_mbit, queue_ms (netbox.py) between the internet and a
        host, or the outermost NAT of "client" or "gateway". Returns the netbox's Process; SIGUSR1 blacks it out.
        Not for the prefixes behind a NAT of an IPv6 laboratory: their routes are not laid again."""
        nats = {"client": self.client_nats, "gateway": self.gateway_nats}.get(name)
        host = nats[-1] if nats else self.hosts[name]
        interface, port, addresses = self._attached[host.name]
        box = self._new_host(f"box-{host.name}")
        self.internet.run(["ip", "link", "set", port, "netns", f"/proc/self/fd/{box.descriptor}"],
                          pass_fds=[box.descriptor])
        box.ip(f"link set {port} name inside", "link set inside up")
        self._cable(box, "outside", self.internet, port)
        self._route_port(port, addresses)
        for end, its_interface in ((host, interface), (self.internet, port)):
            end.without_offloads(its_interface)
            end.ip(f"neigh flush dev {its_interface}")
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        process = box.popen([sys.executable, str(pathlib.Path(__file__).parent / "netbox.py"), "inside", "outside", *words])
        process.wait_for("ready")
        return process

    def environment(self, on):
        """Variables and a folder with the command `on` for programs inside."""
        variables = dict(os.environ, NATLAB_HOSTS=" ".join(self.hosts), NATLAB_FOLDER=str(self.folder), NATLAB_ON=on)
        for name, host in self.hosts.items():
            label = "NATLAB_" + name.upper().replace("-", "_")
            variables[label] = f"/proc/{os.getpid()}/fd/{host.descriptor}"
            variables[f"{label}_NAMESPACE"] = str(host.namespace)
            if host.addresses:
                variables[f"{label}_ADDRESS"] = host.address
        variables["PATH"] = f"{self._command_folder()}:{variables['PATH']}"
        return variables

    def _command_folder(self):
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        script = folder / "on"
        script.write_text('#!/bin/sh\n# on HOST COMMAND...: runs a command on a host of the laboratory.\n'
                          'name=$(printf %s "$1" | tr a-z- A-Z_); shift\n'
                          'eval "namespace=\\${NATLAB_$name:?no such host}"\n'
                          'exec nsenter --net="$namespace" -- "$@"\n')
        script.chmod(stat.S_IRWXU)
        return folder

    def close(self):
        """Ends everything that runs on the hosts."""
        for host in self.hosts.values():
            host.close()
        self.hosts.clear()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ipv6_of(address):
    """The IPv6 address of a public host: its IPv4 address inside the documentation prefix."""
    return str(ipaddress.ip_address((0x20010DB8 << 96) | int(ipaddress.ip_address(address))))


def _split_at_dashes(words):
    where = words.index("--") if "--" in words else len(words)
    return words[:where], words[where + 1:]


def _arguments():
    parser = argparse.ArgumentParser(prog="natlab.py", usage="natlab.py run|shell [options] [-- COMMAND...]",
                                     description="A NAT laboratory in network namespaces.")
    parser.add_argument("what", choices=["run", "shell"])
    kinds = "one of " + ", ".join(nat.KINDS) + ", or several joined with + (nearest to the host first)"
    parser.add_argument("--client-nat", default="none", metavar="KIND", help=kinds)
    parser.add_argument("--gateway-nat", default="none", metavar="KIND", help="the same for the gateway")
    parser.add_argument("--ipv6", action="store_true", help="IPv6 on the internet's hosts as well")
    parser.add_argument("--on", default="client", metavar="HOST", help="the host the command runs on (client)")
    own, command = _split_at_dashes(sys.argv[1:])
    arguments = parser.parse_args(own)
    arguments.command = command
    for kind in (arguments.client_nat, arguments.gateway_nat):
        try:
            nat.chain(kind)
        except ValueError as error:
            parser.error(str(error))
    if arguments.what == "run" and not arguments.command:
        parser.error("run needs a command after --")
    return arguments


def main():
    arguments = _arguments()
    interactive = arguments.what == "shell"
    world.enter(interactive)
    command = [os.environ.get("SHELL", "/bin/bash")] if interactive else arguments.command
    with Lab(arguments.client_nat, arguments.gateway_nat, arguments.ipv6) as lab:
        if arguments.on not in lab.hosts:
            raise LabError(f"no host '{arguments.on}': one of {', '.join(lab.hosts)}")
        place = lab.hosts[arguments.on]
        return subprocess.call(command, env=lab.environment(arguments.on), preexec_fn=place.enter)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        sys.exit(f"natlab: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
