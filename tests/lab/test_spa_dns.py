#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The knock as a DNS query (docs/WIRE.md section 1.4.1): what it looks like on the wire, what it opens where UDP/443 is
shut, and that nobody is answered on UDP/53. The broker runs in mode udp-tcp, where TCP counts only after a UDP knock."""
import pathlib
import sys
import time
import unittest

import natlab
import natt_site
import suite
import toml_edit
from host import LabError

BROKER = natlab.BROKER[0]
STUN_COOKIE = "2112a442"
# The whole knock, repeats included: no later knock of the same attempt opens the door.
KNOCK_SECONDS = 2.5
QUERY = f"ip.dst == {BROKER} && udp.dstport == 53 && dns.flags.response == 0 && !(udp.payload[4:4] == 21:12:a4:42)"
SUFFIX_LENGTH = len("01234567.internal")


def block(nat, *ports):
    """A firewall that lets no UDP to these ports out, before address translation."""
    nat.nft("table inet shut { chain out { type filter hook forward priority -10;\n"
            f'iifname "lan" udp dport {{ {", ".join(map(str, ports))} }} drop\n}}\n}}\n')


def intercept_dns(nat, *words):
    """Everybody's port 53 is the NAT's own proxy (dns_proxy.py)."""
    nat.nft('add rule inet natlab local iifname "lan" udp dport 53 accept\n'
            "table ip proxy { chain to_me { type nat hook prerouting priority dstnat - 5;\n"
            'iifname "lan" udp dport 53 redirect\n}\n}\n')
    nat.popen([sys.executable, str(pathlib.Path(__file__).parent / "dns_proxy.py"), "0.0.0.0", *words]).wait_for("ready")


class SpaDnsTest(unittest.TestCase):
    def site(self, **spa):
        """A broker alone and alice behind a NAT, not started yet."""
        lab = self.enterContext(natlab.Lab("port-restricted"))
        site = natt_site.Site(lab)
        toml_edit.set_key(site.config("broker"), "spa", "mode", "udp-tcp")
        for stem in ("broker", "gateway-gw1", "client-alice"):
            for key, value in spa.items():
                toml_edit.set_key(site.config(stem), "spa", key, value)
        site.start_broker()
        self.nat = lab.client_nats[-1]
        return site

    def online(self, site, timeout=5.0):
        return site.wait_for("alice at the broker", lambda: site._registered("alice"), timeout)

    def check_clean(self, site):
        self.assertEqual(site.error_lines(), [])


class OnTheWire(SpaDnsTest):
    _common = None

    def common_knocks(self):
        """One recording with the defaults, for the tests that only look."""
        if OnTheWire._common is None:
            OnTheWire._common = self.knocks()
        return OnTheWire._common

    def knocks(self, **spa):
        """What the broker's host saw while alice came online: the recording."""
        site = self.site(**spa)
        recording = site.lab.broker.capture("eth0", "udp or icmp")
        site.start_client()
        self.online(site)
        recording.stop()
        self.check_clean(site)
        return recording

    def test_a_knock_is_a_clean_dns_query(self):
        recording = self.common_knocks()
        names = ("udp.srcport", "dns.qry.name", "dns.qry.type", "dns.qry.class", "dns.flags", "dns.count.queries",
                 "dns.count.add_rr", "dns.rr.udp_payload_size", "dns.resp.z.do", "_ws.malformed", "_ws.expert.message")
        queries = recording.fields(QUERY, *names)
        self.assertGreaterEqual(len(queries), 1)
        for port, name, kind, dns_class, flags, questions, additional, size, do, malformed, expert in queries:
            self.assertRegex(name, r"^[0-9a-v]{26}\.[0-9a-v]{26}\.[0-9a-v]{26}\.[0-9a-v]{25}\.[0-9a-v]{8}\.internal$")
            self.assertIn(kind, ("1", "28"))
            self.assertEqual((int(dns_class, 0), int(flags, 0), questions, additional), (1, 0x0100, "1", "1"))
            self.assertEqual((size, do in ("0", "False")), ("1232", True))
            # "DNS response missing" is tshark's note on any query that is not answered.
            self.assertEqual(malformed, "")
            self.assertIn(expert, ("", "DNS query retransmission", "DNS response missing"))
        # The socket of UDP/443, which STUN and the tunnel use.
        ports = {row[0] for row in recording.fields(f"ip.dst == {BROKER} && udp.dstport == 443 && udp.payload[0:1] == 16",
                                                    "udp.srcport")}
        self.assertEqual({row[0] for row in queries}, ports)

    def test_names_differ_and_say_nothing_of_the_site(self):
        first, second = self.common_knocks(), self.knocks()
        names = [row[0] for recording in (first, second) for row in recording.fields(QUERY, "dns.qry.name")]
        self.assertEqual(len({name[:-SUFFIX_LENGTH] for name in names}), len(names))
        # Two sites that have all names in common: two suffixes, so they follow from no name.
        self.assertEqual(len({name[-SUFFIX_LENGTH:] for name in names}), 2)

    def test_the_suffix_is_the_operators_choice(self):
        names = [row[0] for row in self.knocks(dns_suffix="Ns1.Example.net").fields(QUERY, "dns.qry.name")]
        self.assertTrue(names)
        for name in names:
            self.assertTrue(name.endswith(".ns1.example.net"), name)

    def test_nothing_but_stun_ever_leaves_port_53(self):
        recording = self.common_knocks()
        sent = [payload for (payload,) in recording.fields(f"ip.src == {BROKER} && udp.srcport == 53", "udp.payload")]
        for payload in sent:
            self.assertEqual(payload[8:16], STUN_COOKIE)
        self.assertEqual(recording.count(f"icmp && ip.src == {BROKER}"), 0)


class StrangersQueries(SpaDnsTest):
    def test_dig_gets_nothing(self):
        site = self.site()
        recording = site.lab.stranger.capture("eth0", "inbound")
        # One second each, all at once: dig gives up by itself.
        asked = (["example.com", "A"], ["example.com", "ANY", "+dnssec"], ["version.bind", "CH", "TXT"], [".", "NS", "+noedns"],
                 [f"{'0' * 26}.{'0' * 26}.{'0' * 26}.{'0' * 25}.01234567.internal", "A", "+bufsize=1232"],
                 ["id.server", "CH", "TXT", "+nsid"], ["example.com", "SOA", "+opcode=notify"])
        digs = [site.lab.stranger.popen(["dig", f"@{BROKER}", "+notcp", "+tries=1", "+time=1", *words]) for words in asked]
        for dig in digs:
            self.assertNotEqual(dig.wait(10), 0, dig.text())
            self.assertRegex(dig.text(), "no servers could be reached|timed out")
        self.assertEqual(recording.fields("!arp", "frame.number", "_ws.col.Info"), [])
        # The same question to somebody who answers: the silence above is the broker's.
        site.lab.victim.popen([sys.executable, str(pathlib.Path(__file__).parent / "dns_proxy.py"), natlab.VICTIM,
                               "eat"]).wait_for("ready")
        answered = site.lab.stranger.run(["dig", f"@{natlab.VICTIM}", "+tries=1", "+time=2", "example.com", "A"])
        self.assertIn("NXDOMAIN", answered.stdout)
        self.check_clean(site)


class WhereUdp443IsShut(SpaDnsTest):
    def test_the_knock_over_dns_opens_the_door(self):
        site = self.site()
        block(self.nat, 443)
        site.start_client()
        print(f"  online after {self.online(site):.2f} s with UDP/443 shut", flush=True)
        self.check_clean(site)

    def test_with_both_ports_shut_the_door_stays_shut(self):
        """The control of the test above: it is the knock that opens."""
        site = self.site()
        block(self.nat, 443, 53)
        site.start_client()
        deadline = time.monotonic() + KNOCK_SECONDS
        with self.assertRaises(LabError):
            self.online(site, KNOCK_SECONDS)
        self.assertGreaterEqual(time.monotonic(), deadline)
        self.check_clean(site)

    def test_a_proxy_that_asks_in_its_own_words_opens_it_too(self):
        site = self.site()
        recording = site.lab.broker.capture("eth0", "udp port 53")
        block(self.nat, 443)
        intercept_dns(self.nat, "forward", BROKER)
        site.start_client()
        self.online(site)
        names = [row[0] for row in recording.fields(QUERY, "dns.qry.name")]
        self.assertTrue(any(name != name.lower() for name in names), names)
        # Each query came twice, and nobody minds.
        self.assertLess(len({name.lower() for name in names}), len(names))
        self.assertEqual(recording.fields(f"ip.src == {BROKER} && !(udp.payload[4:4] == 21:12:a4:42)", "frame.number"), [])
        self.assertNotRegex(site.processes["broker"].text(), r"(?i)replay|duplicate")
        self.check_clean(site)


class WhereAProxyEatsDns(SpaDnsTest):
    def test_the_knock_over_udp_443_opens_the_door(self):
        site = self.site()
        recording = site.lab.broker.capture("eth0", "udp port 53")
        intercept_dns(self.nat, "eat")
        site.start_client()
        print(f"  online after {self.online(site):.2f} s with DNS intercepted", flush=True)
        self.assertEqual(recording.count("udp"), 0)
        self.check_clean(site)


if __name__ == "__main__":
    suite.main()
