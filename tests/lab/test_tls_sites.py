#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sites whose tunnel protocol is TLS: direct and relayed tunnels are TLS over TCP, punched ones QUIC, in either SPA
mode; what a network without UDP leaves of them; what a stranger, a copier and a neighbour get of the gateway's TCP port."""
import contextlib
import signal
import socket

import fetch
import natlab
import natt_site
import rogue
import suite
import test_connections
import test_tun
from test_connections import DIRECT, PUNCHED, RELAYED
from test_hostile import client_hello

TLS = ("--protocol", "tls")
UDP_BLOCKED = """table ip no_udp {
 chain out {
  type filter hook output priority filter
  oifname != "lo" meta l4proto udp drop
 }
}
"""
HANDSHAKE, DATA = "22", "23"  # record types (RFC 8446 section 5.1)


class TlsTest(test_connections.ConnectionTest):
    INIT = TLS

    def assert_protocol(self, site, expected, protocol):
        connection = self.assert_type(site, expected)
        self.assertEqual(connection["protocol"], protocol)
        return connection


class TypesInBothModes(test_connections.TypeChecks):
    """NAT traversal, and what surrounds it, whatever the mode."""

    INIT = TLS

    def check_mode(self, mode, protocol, *arguments, **options):
        connection = self.check(*arguments, options=("--spa-mode", mode), **options)
        self.assertEqual(connection["protocol"], protocol)

    def test_a_public_gateway_is_direct_over_tls_in_mode_udp_tcp(self):
        self.check_mode("udp-tcp", "tls", DIRECT, "port-restricted", "none", public_gateway=True)

    def test_a_public_gateway_is_direct_over_tls_in_mode_tcp(self):
        self.check_mode("tcp", "tls", DIRECT, "symmetric", "none", public_gateway=True)

    def test_two_nats_are_punched_with_quic_in_mode_udp_tcp(self):
        self.check_mode("udp-tcp", "quic", PUNCHED, "port-restricted", "port-restricted")

    def test_two_nats_are_punched_with_quic_in_mode_tcp(self):
        self.check_mode("tcp", "quic", PUNCHED, "port-restricted", "port-restricted")

    def test_two_hard_nats_are_relayed_over_tls_in_mode_udp_tcp(self):
        self.check_mode("udp-tcp", "tls", RELAYED, "symmetric", "symmetric")

    def test_two_hard_nats_are_relayed_over_tls_in_mode_tcp(self):
        self.check_mode("tcp", "tls", RELAYED, "symmetric", "symmetric")


class WithoutUdp(TlsTest):
    """A network that lets no datagram out: why somebody chooses a TLS site."""

    def open(self, gateway_nat, public_gateway=False):
        lab = self.enterContext(natlab.Lab("port-restricted", gateway_nat))
        lab.client.nft(UDP_BLOCKED)
        site = natt_site.Site(lab, gateway_address=natlab.GATEWAY if public_gateway else None,
                                               options=(*TLS, "--spa-mode", "tcp"))
        self.sites = [site]
        natt_site.start_web(lab, 4 << 20)
        site.start_all()
        return site

    def test_a_public_gateway_is_direct(self):
        site = self.open("none", public_gateway=True)
        self.fetch_page(site)
        self.assert_protocol(site, DIRECT, "tls")

    def test_a_gateway_behind_a_nat_is_relayed_and_says_why(self):
        site = self.open("port-restricted")
        self.fetch_page(site)
        connection = self.assert_protocol(site, RELAYED, "tls")
        self.assertEqual(connection["relayReason"], "udp-blocked")


class StreamsOverTls(test_connections.StreamChecks):
    INIT = TLS

    def test_direct(self):
        self.check(DIRECT, "port-restricted", public_gateway=True)

    def test_relayed(self):
        self.check(RELAYED, "symmetric")


class PacketsOverTls(test_tun.TunChecks):
    """CONNECT-IP, its packets in capsules."""

    INIT = TLS

    def test_direct(self):
        self.check(DIRECT)

    def test_relayed(self):
        self.check(RELAYED)


class LifeOverTls(test_connections.LifeChecks):
    INIT = TLS

    def test_a_killed_client_leaves_nothing_direct(self):
        self.check_killed_client("port-restricted", DIRECT, public_gateway=True)

    def test_a_killed_client_leaves_nothing_relayed(self):
        self.check_killed_client("symmetric", RELAYED)

    def test_a_killed_broker_loses_no_direct_tunnel(self):
        self.check_broker_restart(signal.SIGKILL, "port-restricted", DIRECT, public_gateway=True)

    def test_revoking_ends_a_direct_tunnel_within_a_second(self):
        self.check_revoked("port-restricted", DIRECT, public_gateway=True)

    def test_revoking_ends_a_relayed_tunnel_within_a_second(self):
        self.check_revoked("symmetric", RELAYED)

    def test_a_killed_broker_takes_relayed_tunnels_along_and_they_come_back(self):
        site = self.site("symmetric", "symmetric")
        self.fetch_page(site)
        before = self.assert_type(site, RELAYED)
        site.stop("broker", signal.SIGKILL)
        site.start_broker()
        site.wait_for("the gateway at the new broker", lambda: site._registered("gw1"), timeout=30)
        # A relay over TCP is the broker's two sockets: no client waits for a time-out to learn of it.
        site.wait_for("a page through a new tunnel", lambda: self.page_comes(site), timeout=20)
        self.assertNotEqual(self.assert_type(site, RELAYED)["since"], before["since"])

    def page_comes(self, site):
        with contextlib.suppress(OSError, AssertionError):
            return bool(self.fetch_page(site))
        return False

    def test_programs_end_with_status_zero_on_sigterm(self):
        site = self.site("symmetric", "symmetric")
        self.fetch_page(site)
        for stem in ("client-alice", "gateway-gw1", "broker"):
            self.assertEqual(site.stop(stem), 0, stem)
        self.assert_clean(site)


class OnTheWire(TlsTest):
    """tshark, which knows nothing of this project, reads every segment of TCP as TLS."""

    def check(self, kind, expected, public_gateway, interface):
        lab = self.enterContext(natlab.Lab(kind, "none" if public_gateway else kind))
        site = natt_site.Site(lab, gateway_address=natlab.GATEWAY if public_gateway else None, options=TLS)
        self.sites = [site]
        natt_site.start_web(lab, 1 << 20)
        recording = lab.internet.capture(interface, "tcp")
        site.start_all()
        self.fetch_page(site)
        fetch.download(lab.client, natt_site.WEB_PORT)
        self.assert_protocol(site, expected, "tls")
        self.assertEqual(recording.fields("tls && (_ws.malformed || tls.alert_message)", "frame.number"), [])
        # Segments with content that tshark could not give to TLS.
        self.assertEqual(recording.fields("tcp.len > 0 && !tls && !tcp.segment_data && !tcp.reassembled_in", "_ws.col.Info"), [])
        return self.openings(recording)

    @staticmethod
    def openings(recording):
        """Of each connection's client the types of the first three records."""
        types = {}
        for stream, kinds in recording.fields("tls && tcp.dstport == 443", "tcp.stream", "tls.record.content_type"):
            types.setdefault(stream, []).extend(kinds.split(","))
        return [tuple(each[:3]) for each in types.values() if len(each) > 2]

    def test_direct(self):
        """Signaling and tunnel: the frame, a ClientHello by its form; the true one; what follows is encrypted."""
        openings = self.check("port-restricted", DIRECT, True, "to-client-nat")
        self.assertGreaterEqual(len(openings), 2)
        self.assertEqual({each[:2] for each in openings}, {(HANDSHAKE, HANDSHAKE)}, openings)

    def test_relayed(self):
        """Of each leg: the frame; the token, by its form encrypted, like the word that this connection is the one."""
        openings = self.check("symmetric", RELAYED, False, "to-broker")
        self.assertEqual(sum(each == (HANDSHAKE, DATA, DATA) for each in openings), 2, openings)
        self.assertEqual({each[:2] for each in openings}, {(HANDSHAKE, HANDSHAKE), (HANDSHAKE, DATA)}, openings)


class Strangers(TlsTest):
    """The gateway's TCP port, for whoever has no papers and whoever stole a first flight."""

    def open(self, **options):
        site = self.site("port-restricted", "none", public_gateway=True, **options)
        self.gated = site.ask("gateway-gw1", "health").get("kernelGate", {}).get("active", False)
        return site

    def say(self, host, octets):
        """What the gateway answers to a connection that begins with this: None when not even TCP is there."""
        with host.socket(kind=socket.SOCK_STREAM) as sock:
            sock.settimeout(1.0)
            try:
                sock.connect((natlab.GATEWAY, 443))
            except OSError:
                return None
            sock.sendall(octets)
            try:
                return sock.recv(4096)
            except (socket.timeout, TimeoutError):
                return b""

    def test_a_stranger_gets_nothing(self):
        site = self.open()
        stranger = site.lab.stranger
        wire = stranger.capture("eth0", f"host {natlab.GATEWAY}")
        for octets in (b"", b"GET / HTTP/1.1\r\n\r\n", client_hello(), client_hello() * 2, bytes(600)):
            self.assertEqual(self.say(stranger, octets or b"\0"), None if self.gated else b"")
        self.assertEqual(wire.count(f"ip.src == {natlab.GATEWAY} && (tcp.len > 0 || tcp.flags.fin == 1 || tcp.flags.reset == 1)"), 0)
        if self.gated:
            self.assertEqual(wire.count(f"ip.src == {natlab.GATEWAY}"), 0)
        self.fetch_page(site)
        self.assert_protocol(site, DIRECT, "tls")
        self.assert_clean(site)

    def test_a_copied_first_flight_opens_nothing(self):
        site = self.open()
        wire = site.lab.internet.capture("to-client-nat", "tcp")
        site.stop("client-alice")
        site.start_client()
        self.fetch_page(site)
        flights = wire.fields(f"tls.handshake.type == 1 && ip.dst == {natlab.GATEWAY}", "tcp.payload")
        flight = bytes.fromhex(flights[0][0].replace(":", ""))
        before = site.ask("gateway-gw1", "health")
        for _ in range(3):
            self.assertIn(self.say(site.lab.stranger, flight), (None, b""))
        after = site.ask("gateway-gw1", "health")
        self.assertEqual(after["spa"][0]["granted"], before["spa"][0]["granted"])
        self.fetch_page(site)

    def test_a_neighbour_behind_the_same_nat_gets_nothing(self):
        site = self.open()
        neighbour = site.lab.neighbour_behind(site.lab.client_nats[0])
        wire = neighbour.capture("eth0", f"host {natlab.GATEWAY}")
        for _ in range(2):
            site.stop("client-alice")
            site.start_client()
            self.fetch_page(site)
            self.assertEqual(self.say(neighbour, client_hello()), None if self.gated else b"")
        self.assertEqual(wire.fields("ip.dst == 192.168.2.2 && (udp || icmp || tcp.len > 0)", "_ws.col.Info"), [])
        if self.gated:
            self.assertEqual(wire.count("ip.dst == 192.168.2.2"), 0)


class QuicSite(test_connections.ConnectionTest):
    def test_its_gateway_listens_on_no_tcp(self):
        site = self.site("none", "none", public_gateway=True)
        self.assertEqual(site.lab.gateway.run(["ss", "-Hltn", "sport = :443"]).stdout, "")


class RelayJoins(TlsTest):
    """A member that joins with what is not its own (docs/WIRE.md section 6)."""

    def test_a_join_with_a_made_up_token_gets_no_octet(self):
        site = self.site("symmetric", "symmetric", clients=("alice", "bob"), options=("--spa-mode", "udp-tcp"))
        papers = rogue.Papers(site, "bob")
        stranger = site.lab.stranger

        def granted():
            return site.ask("broker", "health")["spa"][0]["granted"]

        before = granted()
        with stranger.socket() as knocker:
            knocker.sendto(papers.udp_knock(), (natlab.BROKER[0], 443))
        site.wait_for("the knock is granted", lambda: granted() > before)
        with fetch.connect(stranger, 443, natlab.BROKER[0], timeout=3) as sock:
            sock.sendall(papers.relay_join(bytes(16)))
            with contextlib.suppress(rogue.ENDED):
                self.assertEqual(sock.recv(100), b"")
        self.assertEqual(site.ask("broker", "health")["counters"]["relayJoins"]["unknown_token"], 1)
        self.fetch_page(site)
        self.assert_protocol(site, RELAYED, "tls")


if __name__ == "__main__":
    suite.main()
