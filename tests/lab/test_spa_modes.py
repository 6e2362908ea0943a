#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The two SPA modes of a broker: who gets in, who gets nothing, what a client is told when
UDP and TCP leave its network apart, and how a mode is changed."""
import contextlib
import signal
import socket
import time

import fetch
import natlab
import rogue
import suite
import toml_edit
from test_connections import ConnectionTest, DIRECT, PUNCHED
from test_hostile import client_hello, quic_initial, stun_request

MODES = ("udp-tcp", "tcp")
OVERRIDE = 'set [spa] mode = "tcp" on that broker'
# A TLS byte, or whatever else TCP can carry.
TCP_CONTENT = f"tcp.len > 0 && ip.src == {natlab.BROKER[0]}"


class ModesTest(ConnectionTest):
    def set_mode(self, site, mode):
        """As an operator does it: the file, then SIGHUP."""
        toml_edit.set_key(site.config("broker"), "spa", "mode", mode)
        site.processes["broker"].send_signal(signal.SIGHUP)
        site.wait_for(f"mode {mode}", lambda: site.ask("broker", "health")["tcp"]["mode"] == mode)

    def seconds_to_connect(self, site):
        """From the client's start to its channel, as the broker sees it."""
        start = time.monotonic()
        site.start_client()
        site.wait_for("the client at the broker",
                      lambda: "natt.signal.connected" in site.processes["client-alice"].text(), timeout=5)
        return time.monotonic() - start


class BothModes(ModesTest):
    def check(self, mode):
        site = self.site("port-restricted", "port-restricted", options=("--spa-mode", mode))
        self.assertEqual(site.ask("broker", "health")["tcp"]["mode"], mode)
        self.fetch_page(site)
        self.assert_type(site, PUNCHED)
        used = site.ask("broker", "health")["tcp"]["connections"]["knocksUsed"]
        self.assertEqual(used > 0, mode == "udp-tcp")
        self.assert_clean(site)

    def test_nat_traversal_in_mode_udp_tcp(self):
        self.check("udp-tcp")

    def test_nat_traversal_in_mode_tcp(self):
        self.check("tcp")

    def test_a_wrong_guess_of_the_mode_costs_nothing(self):
        """The client is told the other mode than the broker's, in its [spa] and for this broker."""
        site = self.site("port-restricted", "none", public_gateway=True)
        site.stop("client-alice")
        took = {}
        for mode in MODES:
            self.set_mode(site, mode)
            for guess in MODES:
                toml_edit.set_key(site.config("client-alice"), "spa", "mode", guess)
                before = site.ask("broker", "health")["tcp"]["connections"]
                took[mode, guess] = self.seconds_to_connect(site)
                after = site.ask("broker", "health")["tcp"]["connections"]
                # The first connection was the right one.
                self.assertEqual(after["admitted"], before["admitted"] + 1, (mode, guess))
                self.assertEqual([after[each] for each in ("badFrame", "noKnock")], [0, 0], (mode, guess))
                self.assertNotIn("natt.signal.silent", site.processes["client-alice"].text())
                site.stop("client-alice")
        print(f"  seconds by (broker's mode, client's guess): {took}", flush=True)


class WhoGetsIn(ModesTest):
    def open(self, mode="udp-tcp"):
        site = self.site("port-restricted", "none", public_gateway=True, clients=("alice", "bob"),
                         options=("--spa-mode", mode))
        self.papers = rogue.Papers(site, "bob")
        self.wire = site.lab.broker.capture("eth0", f"tcp port 443 and host {natlab.STRANGER}")
        return site

    def says_hello(self, site, udp_knock):
        """Whether bob, from the stranger's host, gets to the broker's Welcome."""
        try:
            channel = rogue.Channel(site.lab.stranger, self.papers, udp_knock=udp_knock)
        except OSError:
            return False  # not even a SYN-ACK
        with contextlib.closing(channel):
            channel.sock.settimeout(1.5)
            try:
                return 2 in channel.open()
            except rogue.ENDED:
                return False

    def test_without_a_udp_knock_udp_tcp_gives_no_tls_byte(self):
        site = self.open()
        self.assertFalse(self.says_hello(site, udp_knock=False))
        self.assertEqual(self.wire.count(TCP_CONTENT), 0)
        # The same papers, with a knock: the silence was about it and nothing else.
        self.assertTrue(self.says_hello(site, udp_knock=True))

    def test_a_reload_changes_the_mode(self):
        site = self.open()
        self.fetch_page(site)
        self.assertFalse(self.says_hello(site, udp_knock=False))
        self.set_mode(site, "tcp")
        if site.ask("broker", "health")["tcp"]["tcpVisibility"] == "open":
            self.assertTrue(self.says_hello(site, udp_knock=False))
        else:
            self.assertFalse(self.says_hello(site, udp_knock=True))  # rogue.py sends no hello in its SYN
        site.stop("client-alice")
        site.start_client()
        self.fetch_page(site)
        self.set_mode(site, "udp-tcp")
        self.assertFalse(self.says_hello(site, udp_knock=False))
        self.assertTrue(self.says_hello(site, udp_knock=True))
        self.fetch_page(site)

    def test_an_unknown_mode_is_refused_and_the_old_one_stays(self):
        site = self.open()
        toml_edit.set_key(site.config("broker"), "spa", "mode", "udp")
        site.processes["broker"].send_signal(signal.SIGHUP)
        site.wait_for("the refusal", lambda: "natt.reload.refused" in site.processes["broker"].text())
        self.assertEqual(site.ask("broker", "health")["tcp"]["mode"], "udp-tcp")


class SplitEgress(ModesTest):
    """TCP leaves the client's network with another address than UDP."""

    def test_udp_tcp_names_the_cause_within_a_second_and_tcp_works(self):
        site = self.site("split-egress", "port-restricted", public_gateway=False)
        client = site.processes["client-alice"]
        start = time.monotonic()
        client.wait_until(lambda text: OVERRIDE in text, "the cause and the override in the client's log", 1.0)
        print(f"  named after {time.monotonic() - start:.2f} s from ready", flush=True)
        self.assertRegex(client.text(), r"natt\.signal\.silent .*UDP and TCP leave this network with different addresses")
        status = site.ask("client-alice", "status")
        self.assertIn(OVERRIDE, status["brokers"][0]["detail"])
        self.assertIn(status["brokers"][0]["cause"], ("udp-not-counted", "split-egress", "silent"))
        self.assertEqual(status["health"]["status"], "error")
        self.assertIn(OVERRIDE, " ".join(site.ask("client-alice", "health")["details"]))
        self.assert_the_broker_knows(site)

        self.set_mode(site, "tcp")
        site.wait_for("the client's channel", lambda: "natt.signal.connected" in client.text(), 15)
        self.fetch_page(site)
        self.assertEqual(site.ask("client-alice", "health")["status"], "healthy")
        self.assertEqual([peer["state"] for peer in site.ask("client-alice", "status")["brokers"]], ["connected"])

    def assert_the_broker_knows(self, site):
        """It says nothing to the client, but its operator reads both addresses."""
        wanted = (natlab.CLIENT, natlab.CLIENT_TCP, 'set [spa] mode = "tcp" on this broker')
        visibility = site.ask("broker", "health")["tcp"]["tcpVisibility"]
        if visibility != "open":
            return  # the SYN never got as far
        site.wait_for("both addresses in the broker's health", lambda: all(
            each in " ".join(site.ask("broker", "health")["details"]) for each in wanted))
        self.assertRegex(site.processes["broker"].text(), rf"natt\.spa\.knock_missing .*udp_source={natlab.CLIENT} ")


class Neighbour(ModesTest):
    """Somebody behind the same NAT while a member connects, works, and connects again."""

    def check(self, mode):
        site = self.site("port-restricted", "none", public_gateway=True, options=("--spa-mode", mode))
        lab = site.lab
        neighbour = lab.neighbour_behind(lab.client_nats[0])
        wire = neighbour.capture("eth0", f"host {natlab.BROKER[0]} or host {natlab.GATEWAY}")
        visibility = site.ask("broker", "health")["tcp"]["tcpVisibility"]
        tries = self.annoy(neighbour)
        # In the very seconds in which the victim's knock has opened what it opens.
        for _ in range(2):
            site.stop("client-alice")
            site.start_client()
            tries += self.annoy(neighbour)
            self.fetch_page(site)
            tries += self.annoy(neighbour)
        self.assert_type(site, DIRECT)
        sent = wire.count("ip.src == 192.168.2.2 && (udp || tcp.flags.syn == 1)")
        self.assertGreaterEqual(sent, tries)
        self.assertEqual(wire.fields("ip.dst == 192.168.2.2 && (udp || icmp || tcp.len > 0)", "_ws.col.Info"), [])
        answered = wire.count("ip.dst == 192.168.2.2 && tcp.flags.syn == 1 && tcp.flags.ack == 1")
        print(f"  {mode}, tcp_visibility {visibility}: {tries} tries, {answered} SYN-ACKs", flush=True)
        if mode == "tcp" and visibility == "syn":
            self.assertEqual(answered, 0)

    @staticmethod
    def annoy(host):
        """Every first packet that a neighbour could think of, to broker and gateway."""
        tries = 0
        with host.socket() as sender:
            for target in ((natlab.BROKER[0], 443), (natlab.BROKER[0], 53), (natlab.GATEWAY, 443)):
                for payload in (stun_request(), stun_request(kind=0x0003), quic_initial(1), quic_initial(0),
                                quic_initial(1, bytes(64)), b"\x40" + bytes(40), b"\x0c" + bytes(40),
                                b"\x16\xfe\xfd" + bytes(200)):
                    sender.sendto(payload, target)
                    tries += 1
        with contextlib.ExitStack() as held:
            for _ in range(10):
                sock = held.enter_context(host.socket(kind=socket.SOCK_STREAM))
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    sock.connect((natlab.BROKER[0], 443))
                with contextlib.suppress(OSError):
                    time.sleep(0.02)
                    sock.send(client_hello())
                tries += 1
            time.sleep(0.1)
        return tries

    def test_nothing_in_mode_udp_tcp(self):
        self.check("udp-tcp")

    def test_nothing_in_mode_tcp(self):
        self.check("tcp")


if __name__ == "__main__":
    suite.main()
