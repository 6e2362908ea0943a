#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""natt's programs across the laboratory's NATs: which connection type results, and what
streams and state live through.

NATT_PROGRAMS    folder of the programs (build/dev/apps)
NATT_LAB_BYTES   octets of each bulk transfer (64 MiB)
"""
import concurrent.futures
import contextlib
import os
import signal
import time
import unittest

import capture
import fetch
import natlab
import natt_site
import suite
import toml_edit
from host import LabError
from natt_site import DIGEST_PORT, WEB_PORT

DIRECT, PUNCHED, RELAYED = "Direct", "Direct via NAT Traversal", "Relay"
BULK = int(os.environ.get("NATT_LAB_BYTES", 64 << 20))
STREAMS = 500


class ConnectionTest(unittest.TestCase):
    """Opens laboratories with a site in them, and shows the logs of a failing test."""

    # A direct and a punched tunnel beat the relay's start at 2.5 s by far; a relayed one follows it closely.
    WITHIN = {DIRECT: 2.0, PUNCHED: 2.4, RELAYED: 5.0}
    # What every site of a class is made with, before a test's own options.
    INIT = ()

    def site(self, client_nat, gateway_nat, public_gateway=False, broker_spa=(), options=(), **others):
        lab = self.enterContext(natlab.Lab(client_nat, gateway_nat))
        site = natt_site.Site(lab, gateway_address=natlab.GATEWAY if public_gateway else None,
                              options=(*self.INIT, *options), **others)
        self.sites = getattr(self, "sites", []) + [site]
        for key, value in broker_spa:
            toml_edit.set_key(site.config("broker"), "spa", key, value)
        natt_site.start_web(lab, 4 << 20)
        site.start_all()
        return site

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for site in getattr(self, "sites", []):
                print(site.tails(), flush=True)

    def fetch_page(self, site, client="alice", host=None):
        """Fetches the page through the client's forward: the seconds it took."""
        start = time.monotonic()
        page = fetch.get(host or site.lab.client, WEB_PORT)
        self.assertIn(b"Only the gateway can reach this page", page)
        return time.monotonic() - start

    def assert_type(self, site, expected, client="alice"):
        connections = site.connections(client)
        self.assertEqual([each["connectionType"] for each in connections], [expected], connections)
        return connections[0]

    def assert_clean(self, *sites):
        for site in sites:
            self.assertEqual(site.error_lines(), [])


class TypeChecks(ConnectionTest):
    """What is looked at, whatever the connection type is."""

    def check(self, expected, client_nat, gateway_nat, **options):
        site = self.site(client_nat, gateway_nat, **options)
        took = self.fetch_page(site)
        connection = self.assert_type(site, expected)
        self.assertLess(took, self.WITHIN[expected])
        self.assert_described(site, connection)
        self.assert_counted(site, expected)
        self.assert_clean(site)
        return connection

    def assert_described(self, site, connection):
        self.assertEqual((connection["site"], connection["gateway"]), ("hq", "gw1"))
        self.assertGreater(connection["bytesIn"], len("Only the gateway can reach this page"))
        self.assertGreater(connection["bytesOut"], 0)
        self.assertGreater(connection["rttMs"], 0)
        remote = connection["remoteAddress"].rsplit(":", 1)[0]
        relayed = connection["connectionType"] == RELAYED
        self.assertEqual(remote, natlab.BROKER[0] if relayed else natlab.GATEWAY)
        self.assertEqual(bool(connection.get("relayReason")), relayed, connection)

    def assert_counted(self, site, expected):
        keys = {DIRECT: "direct", PUNCHED: "directViaNatt", RELAYED: "relayed"}
        wanted = {key: int(key == keys[expected]) for key in keys.values()}
        with contextlib.suppress(LabError):
            site.wait_for("session counts", lambda: site.ask("gateway-gw1", "status")["sessionCounts"] == wanted, 3)
        self.assertEqual(site.ask("gateway-gw1", "status")["sessionCounts"], wanted, site.sessions("gateway-gw1"))


class ConnectionTypes(TypeChecks):
    """Which of the three results, what the status says of it, and how soon."""

    def test_public_gateway_is_direct(self):
        self.check(DIRECT, "port-restricted", "none", public_gateway=True)

    def test_public_gateway_is_direct_from_behind_a_symmetric_nat(self):
        self.check(DIRECT, "symmetric", "none", public_gateway=True)

    def test_public_gateway_is_direct_from_behind_two_nats(self):
        self.check(DIRECT, "cgnat", "none", public_gateway=True)

    def test_port_restricted_on_both_sides_is_punched(self):
        self.check(PUNCHED, "port-restricted", "port-restricted")

    def test_full_cone_and_port_restricted_is_punched(self):
        self.check(PUNCHED, "full-cone", "port-restricted")

    def test_port_restricted_and_full_cone_is_punched(self):
        self.check(PUNCHED, "port-restricted", "full-cone")

    def test_restricted_cone_and_port_restricted_is_punched(self):
        self.check(PUNCHED, "restricted-cone", "port-restricted")

    def test_symmetric_and_full_cone_is_punched(self):
        self.check(PUNCHED, "symmetric", "full-cone")

    def test_symmetric_and_restricted_cone_is_punched(self):
        self.check(PUNCHED, "symmetric", "restricted-cone")

    def test_two_nats_and_port_restricted_is_punched(self):
        self.check(PUNCHED, "cgnat", "port-restricted")

    def test_symmetric_on_both_sides_is_relayed(self):
        connection = self.check(RELAYED, "symmetric", "symmetric")
        self.assertEqual(connection["relayReason"], "hard-nat-both")


class StreamChecks(ConnectionTest):
    """Bulk, half-close and many streams over one tunnel."""

    def check(self, expected, kind, public_gateway=False):
        lab = self.enterContext(natlab.Lab(kind, "none" if public_gateway else kind))
        site = natt_site.Site(lab, gateway_address=natlab.GATEWAY if public_gateway else None, options=self.INIT)
        self.sites = [site]
        natt_site.start_web(lab, BULK)
        site.start_all()
        self.fetch_page(site)
        self.assert_type(site, expected)
        self.transfer(lab)
        self.parallel(lab)
        # Nothing of this may have moved the tunnel to another path.
        connection = self.assert_type(site, expected)
        self.assertGreater(connection["bytesIn"], BULK)
        self.assertGreater(connection["bytesOut"], BULK)
        self.assert_clean(site)

    def transfer(self, lab):
        wanted = fetch.get(lab.client, WEB_PORT, "/digest").decode()
        self.assertEqual(fetch.download(lab.client, WEB_PORT), (BULK, wanted))
        here, there = fetch.upload(lab.client, WEB_PORT, BULK)
        self.assertEqual(here, there)
        here, there = fetch.half_close(lab.client, DIGEST_PORT, BULK // 4)
        self.assertEqual(here, there)

    def parallel(self, lab):
        """Each of many streams, all open at once, carries its own part of the blob and no other's."""
        length = min(64 << 10, BULK // STREAMS)
        sockets = [fetch.connect(lab.client, WEB_PORT, timeout=60) for _ in range(STREAMS)]
        with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
            parts = list(pool.map(lambda pair: fetch.get_part(pair[1], pair[0] * length, length), enumerate(sockets)))
        for sock in sockets:
            sock.close()
        with fetch.connect(lab.web, 80, natlab.WEB) as straight:
            self.assertTrue(b"".join(parts) == fetch.get_part(straight, 0, length * STREAMS))


class StreamsOverEachType(StreamChecks):
    def test_direct(self):
        self.check(DIRECT, "port-restricted", public_gateway=True)

    def test_punched(self):
        self.check(PUNCHED, "port-restricted")

    def test_relayed(self):
        self.check(RELAYED, "symmetric")


class Drip:
    """A download that trickles until something ends it."""

    def __init__(self, host):
        self.sock = fetch.connect(host, WEB_PORT)
        self.sock.sendall(b"GET /drip HTTP/1.1\r\nHost: web\r\n\r\n")
        self.sock.recv(1)  # The tunnel stands.
        self.sock.settimeout(10.0)  # a relayed tunnel is raced for first
        self.sock.recv(4096)

    def flows(self, seconds):
        """Whether octets keep coming for that long, with no gap over a second."""
        self.sock.settimeout(1.0)
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                if not self.sock.recv(4096):
                    return False
        except OSError:
            return False
        return True

    def seconds_until_end(self, limit):
        """How long until the other side ends it; `limit` when it does not."""
        start = time.monotonic()
        while time.monotonic() - start < limit:
            self.sock.settimeout(limit)
            try:
                if not self.sock.recv(4096):
                    break
            except OSError:
                break
        return time.monotonic() - start

    def close(self):
        self.sock.close()


class LifeChecks(ConnectionTest):
    """Killing, restarting and revoking while streams run."""

    def drip(self, site):
        stream = Drip(site.lab.client)
        self.addCleanup(stream.close)
        self.assertTrue(stream.flows(0.5))
        return stream

    def no_sessions(self, *sites_and_stems):
        for site, stem in sites_and_stems:
            took = site.wait_for(f"no session at {stem}", lambda stem=stem: site.sessions(stem) == [], timeout=60)
            print(f"  {stem}: no session after {took:.1f} s", flush=True)

    def check_killed_client(self, kind, expected, **options):
        site = self.site(kind, "none" if options else kind, **options)
        self.drip(site)
        self.assert_type(site, expected)
        site.wait_for("the session at the gateway", lambda: len(site.sessions("gateway-gw1")) == 1)
        site.stop("client-alice", signal.SIGKILL)
        self.no_sessions((site, "gateway-gw1"), (site, "broker"))
        connected = site.lab.web.run("ss -Htn state established").stdout
        self.assertEqual(connected, "", "the gateway keeps connections of a client that is gone")
        site.start_client()
        self.fetch_page(site)
        self.assert_clean(site)

    def check_broker_restart(self, number, kind, expected, **options):
        site = self.site(kind, "none" if options else kind, **options)
        stream = self.drip(site)
        before = self.assert_type(site, expected)
        site.stop("broker", number)
        self.assertTrue(stream.flows(3.0))
        self.fetch_page(site)
        site.start_broker()
        site.wait_for("the gateway at the new broker", lambda: site._registered("gw1"), timeout=30)
        self.assertTrue(stream.flows(2.0))
        self.assertEqual(self.assert_type(site, expected)["since"], before["since"])

    def check_revoked(self, kind, expected, **options):
        site = self.site(kind, "none" if options else kind, clients=("alice", "bob"), **options)
        stream = self.drip(site)
        self.assert_type(site, expected)
        site.nattctl("revoke", site.folder, "alice")
        self.assertLess(stream.seconds_until_end(5.0), 1.0)
        self.no_sessions((site, "gateway-gw1"), (site, "broker"))
        with self.assertRaises(OSError):
            self.assertNotEqual(fetch.get(site.lab.client, WEB_PORT, timeout=5), b"")
        site.stop("client-alice")
        site.start_client("bob")
        self.fetch_page(site)


class LifeAndDeath(LifeChecks):
    def test_a_killed_client_leaves_nothing_direct(self):
        self.check_killed_client("port-restricted", DIRECT, public_gateway=True)

    def test_a_killed_client_leaves_nothing_punched(self):
        self.check_killed_client("port-restricted", PUNCHED)

    def test_a_killed_client_leaves_nothing_relayed(self):
        self.check_killed_client("symmetric", RELAYED)

    def test_a_killed_broker_loses_no_direct_tunnel(self):
        self.check_broker_restart(signal.SIGKILL, "port-restricted", DIRECT, public_gateway=True)

    def test_a_restarted_broker_loses_no_direct_tunnel(self):
        self.check_broker_restart(signal.SIGTERM, "port-restricted", DIRECT, public_gateway=True)

    def test_a_killed_broker_loses_no_punched_tunnel(self):
        self.check_broker_restart(signal.SIGKILL, "port-restricted", PUNCHED)

    def test_revoking_ends_a_direct_tunnel_within_a_second(self):
        self.check_revoked("port-restricted", DIRECT, public_gateway=True)

    def test_revoking_ends_a_punched_tunnel_within_a_second(self):
        self.check_revoked("port-restricted", PUNCHED)

    def test_revoking_ends_a_relayed_tunnel_within_a_second(self):
        self.check_revoked("symmetric", RELAYED)

    def test_programs_end_with_status_zero_on_sigterm(self):
        site = self.site("port-restricted", "port-restricted")
        self.fetch_page(site)
        for stem in ("client-alice", "gateway-gw1", "broker"):
            self.assertEqual(site.stop(stem), 0, stem)
        self.assert_clean(site)


class OnTheWire(ConnectionTest):
    """tshark, which knows nothing of this project, reads every datagram as what its first octet claims (RFC 9443)."""

    # What tshark calls them, and what it must find in each; it knows no relay frames.
    PROTOCOLS = {"STUN": ("stun", "stun.cookie == 2112a442"), "QUIC": ("quic", "quic"),
                 "knock": ("dtls", "dtls.handshake.type == 1"), "DNS knock": ("dns", "dns.flags.response == 0")}

    @staticmethod
    def kind(frame, payload):
        first = payload[0]
        # UDP/53 takes queries, whose first octet is random, beside STUN.
        if int.from_bytes(frame[36:38], "big") == 53 and payload[4:8] != b"\x21\x12\xa4\x42":
            return "DNS knock"
        kinds = {12: "relay", 22: "knock"}
        return "STUN" if first <= 3 else "QUIC" if first >= 64 else kinds.get(first, f"unknown {first}")

    def check(self, kind, expected, kinds):
        lab = self.enterContext(natlab.Lab(kind, kind))
        site = natt_site.Site(lab)
        self.sites = [site]
        natt_site.start_web(lab, 1 << 20)
        recordings = [lab.internet.capture(port, "udp") for port in ("to-client-nat", "to-gateway-nat", "to-broker")]
        site.start_all()
        self.fetch_page(site)
        fetch.download(lab.client, WEB_PORT)
        self.assert_type(site, expected)
        frames = {}
        for recording in recordings:
            for frame, payload in recording.datagrams():
                frames.setdefault(self.kind(frame, payload), []).append(frame)
        self.assertEqual(set(frames), kinds)
        for each in kinds & set(self.PROTOCOLS):
            self.assert_decoded(lab, each, frames[each])

    def assert_decoded(self, lab, kind, frames):
        """A file of its own, because tshark goes by what it saw first between two ports."""
        protocol, field = self.PROTOCOLS[kind]
        path = lab.folder / f"{protocol}.pcap"
        capture.write_pcap(path, frames)
        known = capture.decode(path, f"{field} && !_ws.malformed", ["frame.number"], decode_as=protocol)
        self.assertEqual(len(known), len(frames), f"tshark does not take all of these for {protocol}")

    def test_punched(self):
        self.check("port-restricted", PUNCHED, {"STUN", "QUIC", "knock", "DNS knock", "relay"})  # The relay leg is bound in advance.

    def test_relayed(self):
        self.check("symmetric", RELAYED, {"STUN", "relay", "knock", "DNS knock"})


class ManyClients(ConnectionTest):
    """Several clients on one gateway socket, each behind its own NAT."""

    def test_clients_of_different_kinds_at_once(self):
        kinds = {"alice": ("port-restricted", PUNCHED), "bob": ("full-cone", PUNCHED), "carol": ("cgnat", PUNCHED)}
        site = self.site("port-restricted", "port-restricted", clients=tuple(kinds))
        for number, (name, (kind, _)) in enumerate(list(kinds.items())[1:]):
            host, _ = site.lab.host_behind(name, kind, f"192.0.2.{30 + number}", f"192.168.{30 + number}.0/24")
            site.start_client(name, host)
        for name, (_, expected) in kinds.items():
            self.fetch_page(site, name, site.lab.hosts["client" if name == "alice" else name])
            self.assert_type(site, expected, name)
        site.wait_for("three sessions", lambda: len(site.sessions("gateway-gw1")) == len(kinds))
        self.assert_clean(site)

    def test_both_ends_in_networks_of_the_same_prefix(self):
        """The peer's private address exists here too, and is somebody else."""
        natlab_network, natlab.GATEWAY_NETWORK = natlab.GATEWAY_NETWORK, natlab.CLIENT_NETWORK
        self.addCleanup(setattr, natlab, "GATEWAY_NETWORK", natlab_network)
        site = self.site("port-restricted", "port-restricted")
        self.fetch_page(site)
        self.assert_type(site, PUNCHED)
        self.assert_clean(site)


if __name__ == "__main__":
    suite.main()
