# SPDX-License-Identifier: Apache-2.0
"""A running site under garbage of every kind (garbage.py), and everything that comes back to the sender."""
import contextlib
import random

import fetch
import garbage
import knocking
import natlab
import natt_site
import toml_edit

# Neighbour discovery is the link's own talk, whoever is spoken to.
_LINK = "!arp && !(icmpv6.type >= 133 && icmpv6.type <= 137)"
BROKER, GATEWAY = natlab.BROKER[0], natlab.GATEWAY
UDP_TARGETS = {"broker-443": (BROKER, 443), "broker-53": (BROKER, 53), "gateway-443": (GATEWAY, 443)}


class SilenceSite:
    """Broker, public gateway, one client behind a NAT and some that only knock, IPv4 and IPv6; a stranger."""

    def __init__(self, seed=1, people=4, spa=(), policy=None, without_bpf=False):
        self.rng = random.Random(seed)
        self.lab = natlab.Lab("port-restricted", ipv6=True)
        self.people = [f"p{number}" for number in range(people)]
        self.site = natt_site.Site(self.lab, gateway_address=GATEWAY, clients=("alice", *self.people))
        if without_bpf:
            self.site.wrappers = dict.fromkeys(("broker", "gateway"), natt_site.WITHOUT_BPF)
        for key, value in spa:
            toml_edit.set_key(self.site.config("broker"), "spa", key, value)
        if policy:
            for host in (self.lab.broker, self.lab.gateway):
                host.nft(policy)
        natt_site.start_web(self.lab, 4 << 20)
        self.site.start_broker()
        self.site.start_gateway()
        self._learn()
        self.files = 0

    def _learn(self):
        """Records what a client sends while it connects and works: after that every frame of it has been used."""
        wire = self.lab.internet.capture("to-client-nat", f"src host {natlab.CLIENT}")
        self.site.start_client()
        self.fetch_page()
        self.flights = [bytes.fromhex(payload) for (payload,) in wire.fields("tcp.len > 200 && tcp.dstport == 443", "tcp.payload")]
        self.datagrams = [bytes.fromhex(payload) for (payload,) in wire.fields("udp", "udp.payload")]

    @property
    def tcp_is_hidden(self):
        """Whether a stranger's SYN meets silence, as health should say it."""
        return knocking.connects(self.lab.stranger, 443, timeout=1.5) == "silence"

    def fetch_page(self):
        return fetch.get(self.lab.client, natt_site.WEB_PORT)

    def _file(self, payloads):
        self.files += 1
        return knocking.write_payloads(self.lab.folder / f"payloads-{self.files}", payloads)

    def udp(self, count):
        """(kind, lab_flood's words) for each kind of datagram that a socket can send, to every port, over both families."""
        kinds = {kind: ["--payloads", self._file(payloads)] for kind, payloads in garbage.udp_kinds(self.rng, self.datagrams, 500).items()}
        kinds["random"] = ["--random", "0:1472"]
        # Fresh nonces and hints for every one, and fresh P alone: strangers, and a thief of hints.
        kinds["knocks-with-random-frame"] = [*kinds["dtls-knock-shape"], "--stir", "27:59"]
        for place, (address, port) in UDP_TARGETS.items():
            for family, to in (("v4", address), ("v6", natlab.ipv6_of(address))):
                for kind, words in kinds.items():
                    yield f"{kind} {place} {family}", [*words, "--to", to, "--port", port, "--count", count]

    def raw_udp(self, count):
        for place, (address, port) in UDP_TARGETS.items():
            for family in ("v4", "v6"):
                framer = garbage.Framer(self.lab, self.lab.stranger, address, family == "v6")
                for kind, frames in garbage.raw_udp_kinds(self.rng, framer, port, self.datagrams, 200).items():
                    yield f"{kind} {place} {family}", self._raw(frames, count)

    def tcp(self, count):
        for family in ("v4", "v6"):
            framer = garbage.Framer(self.lab, self.lab.stranger, BROKER, family == "v6")
            for kind, frames in garbage.tcp_kinds(self.rng, framer, 443, self.flights, 200).items():
                yield f"tcp-{kind} broker-443 {family}", self._raw(frames, count)

    def mixed(self):
        """The same in short: for every port and family one flood with some of each kind, each sent once."""
        for place, (address, port) in UDP_TARGETS.items():
            payloads = [each for kind in garbage.udp_kinds(self.rng, self.datagrams, 100).values() for each in kind]
            payloads += [self.rng.randbytes(self.rng.randrange(1473)) for _ in range(500)]
            for to in (address, natlab.ipv6_of(address)):
                yield f"datagrams {to} {port}", ["--payloads", self._file(payloads), "--to", to, "--port", port, "--count", len(payloads)]
            for ipv6 in (False, True):
                framer = garbage.Framer(self.lab, self.lab.stranger, address, ipv6)
                frames = [each for kind in garbage.raw_udp_kinds(self.rng, framer, port, self.datagrams, 50).values() for each in kind]
                yield f"frames {place} {'v6' if ipv6 else 'v4'}", self._raw(frames, len(frames))

    def mixed_tcp(self):
        for ipv6 in (False, True):
            framer = garbage.Framer(self.lab, self.lab.stranger, BROKER, ipv6)
            frames = [each for kind in garbage.tcp_kinds(self.rng, framer, 443, self.flights, 50).values() for each in kind]
            yield f"tcp {'v6' if ipv6 else 'v4'}", self._raw(frames, len(frames))

    def _raw(self, frames, count):
        return ["--interface", "eth0", "--payloads", self._file(frames), "--count", count]

    def watch(self):
        return self.lab.stranger.capture("eth0", "inbound")

    def health(self):
        return self.site.ask("broker", "health")["details"]

    @staticmethod
    def answers(recording, and_filter=""):
        """What came back: [(time, source, protocol, info)]."""
        return recording.fields(_LINK + and_filter, "frame.time_relative", "_ws.col.Source", "_ws.col.Protocol", "_ws.col.Info")

    def programs_alive(self):
        return [stem for stem, process in self.site.processes.items() if process.poll() is not None] == []

    def log_lines(self):
        return max(len(process.text().splitlines()) for process in self.site.processes.values())

    def close(self):
        self.lab.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):
            self.close()
