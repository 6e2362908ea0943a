#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The laboratory's NATs are what their names say.

Two judges: coturn's turnutils_natdiscovery (RFC 5780) against coturn's turnserver with
two addresses, which knows nothing of this project; and plain sockets, which also see
what RFC 5780 does not ask (unsolicited packets, hairpin, early packets, hole punching).
"""
import contextlib
import itertools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import unittest

import nat
import natlab
import suite

HERE = pathlib.Path(__file__).parent
# In the words turnutils_natdiscovery uses.
SPOKEN = {
    nat.ENDPOINT_INDEPENDENT: "Endpoint Independent",
    nat.ADDRESS_DEPENDENT: "Address Dependent",
    nat.ADDRESS_AND_PORT_DEPENDENT: "Address and Port Dependent",
}
BEHAVIOURS = {
    **nat.BEHAVIOURS,
    "none": nat.Behaviour(nat.ENDPOINT_INDEPENDENT, nat.ENDPOINT_INDEPENDENT),
    "cgnat": nat.BEHAVIOURS["port-restricted"],
    "symmetric+full-cone": nat.BEHAVIOURS["symmetric"],
}
# Long enough for a packet through the laboratory on a busy machine, short enough to wait for nothing.
SILENCE = 0.3


def start_turnserver(lab):
    folder = lab.folder / "turn"
    folder.mkdir()
    server = lab.broker.popen(["turnserver", "-n", "--stun-only", "--no-tls", "--no-dtls", "--no-cli", "--simple-log",
                               "--log-file", "stdout", "--pidfile", str(folder / "pid"), "--userdb", str(folder / "db"),
                               "-L", natlab.BROKER[0], "-L", natlab.BROKER[1]])
    deadline = time.monotonic() + 10
    while lab.broker.run("ss -Hlnu").stdout.count(":347") < 4:
        if server.poll() is not None or time.monotonic() > deadline:
            raise AssertionError("turnserver does not listen:\n" + server.text())
        time.sleep(0.05)


class IndependentJudge(unittest.TestCase):
    """Every kind at once, each in its own laboratory on this one machine."""

    @classmethod
    def setUpClass(cls):
        cls.labs = cls.enterClassContext(contextlib.ExitStack())
        cls.discoveries = {kind: cls.start(kind) for kind in BEHAVIOURS}

    @classmethod
    def start(cls, kind):
        lab = cls.labs.enter_context(natlab.Lab(client_nat=kind))
        start_turnserver(lab)
        return [lab.client.popen(["turnutils_natdiscovery", option, natlab.BROKER[0]]) for option in ("-m", "-f")]

    def verdicts(self, kind):
        for each in self.discoveries[kind]:
            self.assertEqual(each.wait(30), 0, each.text())
        return [each.text() for each in self.discoveries[kind]]

    def check(self, kind):
        behaviour = BEHAVIOURS[kind]
        mapping, filtering = self.verdicts(kind)
        self.assertIn(f"NAT with {SPOKEN[behaviour.mapping]} Mapping!", mapping)
        self.assertIn(f"NAT with {SPOKEN[behaviour.filtering]} Filtering!", filtering)
        self.assertIn(f"UDP reflexive addr: {natlab.CLIENT}:", mapping)

    def test_none(self):
        self.check("none")

    def test_full_cone(self):
        self.check("full-cone")

    def test_restricted_cone(self):
        self.check("restricted-cone")

    def test_port_restricted(self):
        self.check("port-restricted")

    def test_symmetric(self):
        self.check("symmetric")

    def test_cgnat(self):
        self.check("cgnat")

    def test_chain_is_as_strict_as_its_strictest_nat(self):
        self.check("symmetric+full-cone")

    def test_split_egress(self):
        self.check("split-egress")

    def test_udp_blocked(self):
        for text in self.verdicts("udp-blocked"):
            self.assertIn("STUN receive timeout", text)
            self.assertNotIn("RFC 5780 response", text)


def received(sock, wait=SILENCE):
    """What arrives within the time: a list of (payload, source)."""
    sock.settimeout(wait)
    packets = []
    with contextlib.suppress(TimeoutError):
        while True:
            packets.append(sock.recvfrom(2048))
            sock.settimeout(0.05)
    return packets


class OwnProbe(unittest.TestCase):
    """Filtering, mapping and silence, asked with plain sockets."""

    def open(self, kind, gateway_nat="none"):
        lab = self.enterContext(natlab.Lab(client_nat=kind, gateway_nat=gateway_nat))
        self.asked = self.socket(lab.broker, natlab.BROKER[0], 7000)
        return lab

    def socket(self, host, address="0.0.0.0", port=0):
        made = host.socket(bind=(address, port))
        self.addCleanup(made.close)
        return made

    def mapped(self, sock):
        """The outside address of an inside socket, after it sent to `asked`."""
        sock.sendto(b"hello", self.asked.getsockname())
        return self.asked.recvfrom(64)[1]

    def passes(self, kind):
        """Who reaches a mapping that was opened toward `asked` only."""
        lab = self.open(kind)
        outsiders = {
            "asked": self.asked,
            "other port": self.socket(lab.broker, natlab.BROKER[0], 7001),
            "other address": self.socket(lab.broker, natlab.BROKER[1], 7000),
            "stranger": self.socket(lab.stranger),
        }
        inside = self.socket(lab.client)
        mapping = self.mapped(inside)
        for name, sock in outsiders.items():
            sock.sendto(name.encode(), mapping)
        return {payload.decode() for payload, _ in received(inside)}

    def test_filtering_of_every_kind(self):
        expected = {
            nat.ENDPOINT_INDEPENDENT: {"asked", "other port", "other address", "stranger"},
            nat.ADDRESS_DEPENDENT: {"asked", "other port"},
            nat.ADDRESS_AND_PORT_DEPENDENT: {"asked"},
        }
        for kind, behaviour in BEHAVIOURS.items():
            if behaviour.filtering is not None:
                with self.subTest(kind):
                    self.assertEqual(self.passes(kind), expected[behaviour.filtering])

    def test_mapping_of_every_kind(self):
        for kind, behaviour in BEHAVIOURS.items():
            if behaviour.mapping is None:
                continue
            with self.subTest(kind):
                lab = self.open(kind)
                second = self.socket(lab.broker, natlab.BROKER[1], 7000)
                inside = self.socket(lab.client)
                first_mapping = self.mapped(inside)
                inside.sendto(b"hello", second.getsockname())
                self.assertEqual(first_mapping == second.recvfrom(64)[1],
                                 behaviour.mapping == nat.ENDPOINT_INDEPENDENT)

    def test_an_early_packet_costs_nobody_the_port(self):
        """Hole punching rests on it: the peer's first packet comes before ours and is dropped."""
        for kind in ("full-cone", "restricted-cone", "port-restricted"):
            with self.subTest(kind):
                lab = self.open(kind)
                self.asked.sendto(b"early", (natlab.CLIENT, 41000))
                inside = self.socket(lab.client, port=41000)
                self.assertEqual(self.mapped(inside), (natlab.CLIENT, 41000))
                self.assertEqual(received(inside), [])

    def test_unsolicited_packets_are_dropped_without_an_answer(self):
        for kind in nat.BEHAVIOURS:
            with self.subTest(kind):
                lab = self.open(kind)
                recording = lab.stranger.capture()
                inside = self.socket(lab.client, port=42000)
                stranger = self.socket(lab.stranger)
                stranger.sendto(b"unsolicited", (natlab.CLIENT, 42000))
                with lab.stranger.socket(kind=socket.SOCK_STREAM, timeout=SILENCE) as knock:
                    with self.assertRaises(TimeoutError):
                        knock.connect((natlab.CLIENT, 80))
                self.assertEqual(received(inside), [])
                self.assertGreater(recording.count(f"ip.src == {natlab.STRANGER}"), 1)
                self.assertEqual(recording.count(f"ip.dst == {natlab.STRANGER}"), 0)

    def test_no_hairpin(self):
        for kind in nat.BEHAVIOURS:
            if nat.BEHAVIOURS[kind].mapping is None:
                continue
            with self.subTest(kind):
                lab = self.open(kind)
                inside, neighbour = self.socket(lab.client), self.socket(lab.client)
                mapping = self.mapped(inside)
                self.mapped(neighbour)
                neighbour.sendto(b"hairpin", mapping)
                self.assertEqual(received(inside), [])

    def test_split_egress_gives_tcp_another_address(self):
        lab = self.open("split-egress")
        self.assertEqual(self.mapped(self.socket(lab.client))[0], natlab.CLIENT)
        listener = lab.broker.socket(kind=socket.SOCK_STREAM, bind=(natlab.BROKER[0], 443))
        listener.listen()
        with listener, lab.client.socket(kind=socket.SOCK_STREAM) as sock:
            sock.connect((natlab.BROKER[0], 443))
            accepted, source = listener.accept()
            accepted.close()
        self.assertEqual(source[0], natlab.CLIENT_TCP)

    def test_udp_blocked_passes_tcp_only(self):
        lab = self.open("udp-blocked")
        listener = lab.broker.socket(kind=socket.SOCK_STREAM, bind=(natlab.BROKER[0], 443))
        listener.listen()
        self.addCleanup(listener.close)
        with lab.client.socket(kind=socket.SOCK_STREAM) as caller:
            caller.connect((natlab.BROKER[0], 443))
            accepted, source = listener.accept()
            accepted.close()
        self.assertEqual(source[0], natlab.CLIENT)
        inside = self.socket(lab.client)
        inside.sendto(b"hello", self.asked.getsockname())
        self.assertEqual(received(self.asked), [])

    def test_ipv6_passes_the_firewall_untranslated(self):
        for kind in ("none", "full-cone", "cgnat"):
            with self.subTest(kind), natlab.Lab(client_nat=kind, ipv6=True) as lab:
                broker = natlab.ipv6_of(natlab.BROKER[0])
                with lab.broker.socket(socket.AF_INET6, bind=("::", 7000)) as server, \
                        lab.stranger.socket(socket.AF_INET6) as stranger, \
                        lab.client.socket(socket.AF_INET6) as inside:
                    inside.sendto(b"hello", (broker, 7000))
                    source = server.recvfrom(64)[1]
                    self.assertEqual(source[1], inside.getsockname()[1])
                    server.sendto(b"answer", source)
                    stranger.sendto(b"unsolicited", source)
                    expected = {b"answer", b"unsolicited"} if kind == "none" else {b"answer"}
                    self.assertEqual({payload for payload, _ in received(inside)}, expected)

    def test_private_sources_never_cross_the_internet(self):
        lab = self.open("none")
        lab.client.ip("address add 10.1.2.3/32 dev lo")
        leak = self.socket(lab.client, "10.1.2.3")
        leak.sendto(b"leak", self.asked.getsockname())
        self.assertEqual(received(self.asked), [])

    def test_only_the_gateway_reaches_the_protected_host(self):
        lab = self.open("port-restricted")
        for host, reaches in ((lab.gateway, True), (lab.client, False), (lab.broker, False), (lab.stranger, False)):
            web = self.socket(lab.web, natlab.WEB, 0)
            sender = self.socket(host)
            with contextlib.suppress(OSError):
                sender.sendto(b"hello", web.getsockname())
            self.assertEqual(bool(received(web)), reaches, host.name)


class HolePunching(unittest.TestCase):
    """The table of RFC 4787 kinds, punched with plain sockets: what natt may claim at most."""

    @staticmethod
    def theory(one, other):
        """A side with a mapping per peer is reached only through a filter that ignores the port."""
        kinds = {one, other}
        return not ("symmetric" in kinds and (len(kinds) == 1 or "port-restricted" in kinds))

    def punch(self, one, other):
        """Both learn their mapping from the broker, then send to each other's, answering what comes."""
        with natlab.Lab(client_nat=one, gateway_nat=other) as lab, contextlib.ExitStack() as sockets:
            asked = sockets.enter_context(lab.broker.socket(bind=(natlab.BROKER[0], 7000)))
            ends = [sockets.enter_context(host.socket(bind=("0.0.0.0", 0))) for host in (lab.client, lab.gateway)]
            targets = []
            for end in ends:
                end.sendto(b"hello", asked.getsockname())
                targets.insert(0, asked.recvfrom(64)[1])
            heard = [False, False]
            for _ in range(4):
                for number, end in enumerate(ends):
                    end.sendto(b"punch", targets[number])
                for number, end in enumerate(ends):
                    for _, source in received(end, 0.05):
                        heard[number], targets[number] = True, source  # Peer-reflexive.
            return all(heard)

    def test_matrix(self):
        kinds = ["none", "full-cone", "restricted-cone", "port-restricted", "symmetric"]
        for one, other in itertools.combinations_with_replacement(kinds, 2):
            with self.subTest(f"{one} x {other}"):
                self.assertEqual(self.punch(one, other), self.theory(one, other))


class NothingStaysBehind(unittest.TestCase):
    """However a laboratory ends."""

    # Tells its namespaces, leaves processes of every sort behind, then waits.
    SCRIPT = ("on gateway sleep 1000 & setsid sleep 1000 & on client-nat nft list tables >&2; "
              "env | sed -n 's/_NAMESPACE=/=/p'; echo \"NATLAB_WORLD=$(readlink /proc/$PPID/ns/net | tr -dc 0-9)\"; "
              "echo started; %s")

    def start(self, last):
        # A user that Ctrl-C's a terminal signals the whole group; here each process is hit alone.
        process = subprocess.Popen([sys.executable, str(HERE / "natlab.py"), "run", "--client-nat", "symmetric", "--",
                                    "bash", "-c", self.SCRIPT % last], stdout=subprocess.PIPE, text=True,
                                   start_new_session=True, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdout.close)
        namespaces = set()
        for line in process.stdout:
            if line.strip() == "started":
                break
            namespaces.add(line.strip().split("=")[1])
        self.assertGreater(len(namespaces), 8)
        return process, namespaces

    @staticmethod
    def alive(namespaces):
        """Processes that still hold one of the network namespaces."""
        found = []
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(entry / "ns/net").strip("net:[]") in namespaces:
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
        return found

    def assert_none_alive(self, namespaces):
        """What was killed needs a moment to end."""
        deadline = time.monotonic() + 5
        while self.alive(namespaces) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.alive(namespaces), [])

    def assert_gone(self, namespaces):
        self.assert_none_alive(namespaces)
        self.assertFalse(pathlib.Path("/run/netns").exists())
        self.assertEqual(subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True).stdout, "")

    def test_at_the_end_of_the_command(self):
        process, namespaces = self.start("exit 7")
        self.assertEqual(process.wait(10), 7)
        self.assert_gone(namespaces)

    def test_after_sigint(self):
        process, namespaces = self.start("sleep 1000")
        self.assertTrue(self.alive(namespaces))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(10), 130)
        self.assert_gone(namespaces)

    def test_after_a_terminal_interrupt(self):
        process, namespaces = self.start("sleep 1000")
        os.killpg(process.pid, signal.SIGINT)
        self.assertEqual(process.wait(10), 130)
        self.assert_gone(namespaces)

    def test_after_sigterm(self):
        process, namespaces = self.start("sleep 1000")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 143)
        self.assert_gone(namespaces)

    def test_after_sigkill(self):
        process, namespaces = self.start("sleep 1000")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        self.assert_gone(namespaces)

    def test_two_laboratories_do_not_see_each_other(self):
        with natlab.Lab() as one, natlab.Lab() as other:
            self.assertFalse({host.namespace for host in one.hosts.values()} &
                             {host.namespace for host in other.hosts.values()})
            with one.broker.socket(bind=(natlab.BROKER[0], 7000)) as mine, \
                    other.broker.socket(bind=(natlab.BROKER[0], 7000)) as theirs, one.client.socket() as sender:
                sender.sendto(b"mine", (natlab.BROKER[0], 7000))
                self.assertEqual(len(received(mine)), 1)
                self.assertEqual(received(theirs), [])

    def test_a_closed_laboratory_leaves_no_process_and_no_namespace(self):
        with natlab.Lab() as lab:
            namespaces = {str(host.namespace) for host in lab.hosts.values()}
            lab.gateway.popen(["sh", "-c", "sleep 1000 & sleep 1000"])
            lab.stranger.capture()
            self.assertEqual(len(self.alive(namespaces)), 4)
        self.assert_none_alive(namespaces)


if __name__ == "__main__":
    suite.main()
