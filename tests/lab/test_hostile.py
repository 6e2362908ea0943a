#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Strangers and hostile peers against a running site: what comes back is counted on the
wire, and the rest of the site must not notice.

Nobody without a valid knock gets one UDP packet or one octet over TCP. What user space does
with connections is judged with the kernel gate out of the way; test_spa_silence.py has it in.
"""
import contextlib
import os
import random
import re
import socket
import struct
import time
import unittest
import unittest.mock

import fetch
import natlab
import natt_site
import rogue
import suite
import test_nat_kinds
import toml_edit
from natt_site import WEB_PORT
from test_connections import ConnectionTest, PUNCHED

BROKER_UDP = (natlab.BROKER[0], 443)
GATEWAY_UDP = (natlab.GATEWAY, 443)
# A stranger's UDP answered, or TCP with content; bare handshake, close and reset packets are not content.
ANSWERS = f"ip.dst == {natlab.STRANGER} && (udp || icmp || tcp.len > 0)"
SENT = f"ip.src == {natlab.STRANGER}"
# The kernel answers SYNs, so what is sent over TCP reaches the broker.
OPEN_DOOR = (("mode", "tcp"), ("tcp_visibility", "open"))


def seeded():
    """Random octets that can be asked for again: NATT_TEST_SEED, printed."""
    seed = int(os.environ.get("NATT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"  seed {seed}", flush=True)
    return random.Random(seed)


def stun_request(kind=0x0001, attributes=b"", cookie=0x2112A442, length=None):
    body = struct.pack("!HHI", kind, len(attributes) if length is None else length, cookie) + bytes(range(12)) + attributes
    return body


def quic_initial(version, token=b"", size=1200):
    """The shape of an Initial: long header, version, both connection IDs, token, length, noise."""
    head = b"\xc3" + struct.pack("!I", version) + b"\x08" + bytes(8) + b"\x08" + bytes(range(8))
    head += struct.pack("!H", 0x4000 | len(token)) + token
    rest = size - len(head) - 2
    return head + struct.pack("!H", 0x4000 | rest) + os.urandom(rest)


def dtls_record(kind, body, epoch=0):
    return struct.pack("!BHHHIH", kind, 0xFEFD, epoch, 0, 1, len(body)) + body


def datagrams(rng):
    """(name, payload) of every kind a UDP port of natt tells apart by its first octet."""
    yield "empty", b""
    for first in range(256):
        yield f"one octet {first}", bytes([first])
    for first in (0, 1, 2, 3, 4, 12, 13, 15, 16, 20, 22, 23, 63, 64, 127, 128, 192, 255):
        for size in (2, 19, 20, 21, 36, 63, 64, 65, 77, 84, 100, 512, 1199, 1200, 1400, 1472):
            yield f"first octet {first}, {size} octets", bytes([first]) + rng.randbytes(size - 1)
    yield "STUN binding request", stun_request()
    yield "STUN request with wrong integrity", stun_request(attributes=struct.pack("!HH", 0x001C, 32) + rng.randbytes(32))
    yield "STUN with SHA-1 integrity", stun_request(attributes=struct.pack("!HH", 8, 20) + rng.randbytes(20))
    yield "STUN with unknown required attribute", stun_request(attributes=struct.pack("!HHI", 0x7777, 4, 1))
    yield "STUN asking to answer elsewhere", stun_request(attributes=struct.pack("!HHI", 0x0003, 4, 6))
    yield "STUN with RESPONSE-PORT", stun_request(attributes=struct.pack("!HHHH", 0x0027, 2, 53, 0))
    yield "STUN with a long length", stun_request(length=0xFFFC)
    yield "STUN success response", stun_request(kind=0x0101)
    yield "STUN error response", stun_request(kind=0x0111)
    yield "TURN allocate", stun_request(kind=0x0003, attributes=struct.pack("!HHI", 0x0019, 4, 17 << 24))
    for version in (0, 1, 0x6B3343CF, 0x0A0A0A0A, 0xFFFFFFFF):
        yield f"QUIC initial, version {version:#x}", quic_initial(version)
        yield f"QUIC initial with a token, version {version:#x}", quic_initial(version, rng.randbytes(64))
    yield "QUIC short header", b"\x40" + rng.randbytes(1199)
    yield "QUIC 0-RTT", b"\xd3" + quic_initial(1)[1:]
    yield "DTLS client hello", dtls_record(22, b"\x01" + rng.randbytes(200))
    yield "DTLS alert", dtls_record(21, b"\x02\x28")
    yield "DNS query", rng.randbytes(2) + b"\x01\0\0\1\0\0\0\0\0\0\7version\4bind\0\0\x10\0\3"
    yield "relay frame", b"\x0c" + rng.randbytes(1215)
    yield "as large as UDP allows", rng.randbytes(65507)


def tls_record(kind, body):
    return struct.pack("!BHH", kind, 0x0303, len(body)) + body


def extension(kind, body):
    return struct.pack("!HH", kind, len(body)) + body


def client_hello(session_id=bytes(32)):
    """A TLS 1.3 hello that any server answers (RFC 8446 section 4.1.2): see OrdinaryServersAnswer."""
    key_share = struct.pack("!HHH", 36, 0x001D, 32) + os.urandom(32)
    extensions = (extension(43, b"\x02\x03\x04") + extension(13, bytes.fromhex("0006040308040401")) +
                  extension(10, b"\x00\x02\x00\x1d") + extension(51, key_share))
    body = b"\x03\x03" + os.urandom(32) + bytes([len(session_id)]) + session_id + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += struct.pack("!H", len(extensions)) + extensions
    return tls_record(22, b"\x01" + struct.pack("!I", len(body))[1:] + body)


def openings(rng):
    """(name, octets) of what strangers send first over TCP/443."""
    yield "nothing", b""
    yield "HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
    yield "SSH", b"SSH-2.0-OpenSSH_9.2\r\n"
    yield "TLS hello", client_hello()
    yield "TLS hello with a random session id", client_hello(rng.randbytes(32))
    yield "TLS hello cut short", client_hello()[:40]
    yield "TLS hello with a huge length", b"\x16\x03\x01\xff\xff" + rng.randbytes(2000)
    yield "TLS alert", tls_record(21, b"\x02\x28")
    yield "TLS application data", tls_record(23, rng.randbytes(300))
    yield "zeros", bytes(70000)
    yield "noise", rng.randbytes(70000)
    for size in (1, 4, 5, 63, 64, 65, 100):
        yield f"noise of {size} octets", rng.randbytes(size)


class OrdinaryServersAnswer(unittest.TestCase):
    """What the strangers below send would be answered by a server that is not ours: silence means something."""

    def test_stun(self):
        with natlab.Lab() as lab, lab.stranger.socket() as asker:
            test_nat_kinds.start_turnserver(lab)
            asker.sendto(stun_request(), (natlab.BROKER[0], 3478))
            self.assertEqual(asker.recv(512)[:2], b"\x01\x01")

    def test_tls(self):
        with natlab.Lab() as lab:
            key, certificate = lab.folder / "key.pem", lab.folder / "certificate.pem"
            lab.broker.run(f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -days 2 "
                           f"-keyout {key} -out {certificate}")
            server = lab.broker.popen(["openssl", "s_server", "-www", "-accept", "443", "-cert", str(certificate), "-key", str(key)])
            server.wait_until(lambda text: "ACCEPT" in text, "ACCEPT")
            recording = lab.stranger.capture()
            with fetch.connect(lab.stranger, 443, natlab.BROKER[0]) as sock:
                sock.sendall(client_hello())
                self.assertEqual(sock.recv(6)[5:6], b"\x02")  # ServerHello
            self.assertGreater(recording.count(ANSWERS), 0)


class HostileTest(ConnectionTest):
    """A site that works, a stranger, and a recording of all that reaches the stranger."""

    def open(self, gateway_nat="none", **options):
        site = self.site("port-restricted", gateway_nat, public_gateway=gateway_nat == "none", **options)
        self.fetch_page(site)
        self.recording = site.lab.stranger.capture()
        return site

    def assert_silence(self, at_least):
        """The attack was on the wire, and nothing came back."""
        self.assertGreaterEqual(self.recording.count(SENT), at_least)
        shown = self.recording.fields(ANSWERS, "frame.number", "ip.src", "_ws.col.Info")
        self.assertEqual(shown, [])

    def assert_no_answer(self, site, opening):
        """No octet, whether the broker closes or waits; a reset is a TCP packet without content."""
        with contextlib.suppress(ConnectionError, TimeoutError):
            with fetch.connect(site.lab.stranger, 443, natlab.BROKER[0], timeout=1.0) as sock:
                sock.sendall(opening)
                self.assertEqual(sock.recv(1), b"")

    def assert_unharmed(self, site):
        """Every program lives, serves, and found nothing of this worth an error or a line per packet."""
        for stem, process in site.processes.items():
            self.assertIsNone(process.poll(), stem)
            self.assertLess(len(process.text().splitlines()), 300, f"{stem} logs what strangers send")
        self.fetch_page(site)
        self.assert_clean(site)


class Strangers(HostileTest):
    """Everything that knows no key."""

    def send_all(self, site, target):
        rng = seeded()
        count = 0
        with site.lab.stranger.socket() as sender:
            for _, payload in datagrams(rng):
                sender.sendto(payload, target)
                count += 1
            for _ in range(500):
                sender.sendto(rng.randbytes(rng.randrange(1473)), target)
        return count + 500

    def test_garbage_at_the_brokers_udp_port(self):
        site = self.open()
        count = self.send_all(site, BROKER_UDP)
        self.assert_unharmed(site)
        self.assert_silence(count)

    def test_garbage_at_the_gateways_udp_port(self):
        site = self.open()
        count = self.send_all(site, GATEWAY_UDP)
        self.assert_unharmed(site)
        self.assert_silence(count)

    def test_garbage_at_the_brokers_tcp_port(self):
        site = self.open(broker_spa=OPEN_DOOR)
        rng = seeded()
        names = []
        for name, opening in openings(rng):
            names.append(name)
            with self.subTest(name):
                self.assert_no_answer(site, opening)
        self.assert_unharmed(site)
        self.assert_silence(len(names))

    def test_many_silent_connections_do_not_keep_others_out(self):
        site = self.open(broker_spa=OPEN_DOOR)
        with contextlib.ExitStack() as held:
            for _ in range(1500):
                held.enter_context(fetch.connect(site.lab.stranger, 443, natlab.BROKER[0], timeout=5.0))
            site.stop("client-alice")
            site.start_client()
            self.assert_unharmed(site)
        self.assert_silence(1500)

    def test_packets_of_a_valid_session_replayed_by_a_stranger(self):
        """What a client sent while it connected, sent again from another address, finds the same silence."""
        site = self.open()
        wire = site.lab.internet.capture("to-client-nat")
        site.stop("client-alice")
        site.start_client()
        self.fetch_page(site)
        sent = wire.fields(f"ip.src == {natlab.CLIENT} && udp", "ip.dst", "udp.dstport", "udp.payload")
        self.assertGreater(len(sent), 5)
        with site.lab.stranger.socket() as sender:
            for address, port, payload in sent:
                sender.sendto(bytes.fromhex(payload), (address, int(port)))
        self.assert_unharmed(site)
        self.assert_silence(len(sent))

    def test_tcp_hello_of_a_valid_session_replayed_by_a_stranger(self):
        site = self.open(broker_spa=OPEN_DOOR)
        wire = site.lab.internet.capture("to-client-nat", "tcp port 443")
        site.stop("client-alice")
        site.start_client()
        self.fetch_page(site)
        sent = wire.fields(f"ip.src == {natlab.CLIENT} && tcp.len > 0", "tcp.payload")
        self.assertGreater(len(sent), 0)
        for (payload,) in sent[:4]:
            self.assert_no_answer(site, bytes.fromhex(payload))
        self.assert_unharmed(site)
        self.assert_silence(1)


class UnknownKeys(HostileTest):
    """Our own client, with keys that this site does not know."""

    def start_stranger(self, site, folder_site, name):
        """Runs a client on the stranger's host for a while, with a forward somebody uses."""
        process = folder_site.start(f"client-{name}", site.lab.stranger)
        with contextlib.suppress(OSError):
            fetch.get(site.lab.stranger, WEB_PORT, timeout=8)
        self.assertIsNone(process.poll(), process.text())
        with self.assertRaises(OSError):
            self.assertNotEqual(fetch.get(site.lab.stranger, WEB_PORT, timeout=3), b"")
        return process

    def test_a_client_of_another_site(self):
        site = self.open()
        other = natt_site.Site(site.lab, name="elsewhere", clients=("mallory",), gateway_address=natlab.GATEWAY)
        self.start_stranger(site, other, "mallory")
        self.assertEqual([each for each in other.connections("mallory") if each.get("connectionType")], [])
        self.assert_unharmed(site)
        # It knocked over UDP and TCP, at broker and gateway.
        for target in (natlab.BROKER[0], natlab.GATEWAY):
            self.assertGreater(self.recording.count(f"{SENT} && ip.dst == {target} && udp"), 0)
        self.assert_silence(2)

    def test_a_client_of_the_same_name_with_other_keys(self):
        """Same site name, same client name, another CA."""
        site = self.open()
        copy = natt_site.Site.__new__(natt_site.Site)
        copy.__dict__.update(site.__dict__, folder=site.lab.folder / "copy", processes={})
        copy.nattctl("init", copy.folder, "--site", "hq", "--broker-address", natlab.BROKER[0], "--gateway", "gw1",
                     "--gateway-address", natlab.GATEWAY, "--client", "alice")
        copy.add_forwards("alice")
        self.start_stranger(site, copy, "alice")
        self.assert_unharmed(site)
        self.assert_silence(2)

    def test_a_revoked_client(self):
        site = self.open(clients=("alice", "bob"))
        site.nattctl("revoke", site.folder, "bob")
        site.wait_for("the new roster at the broker", lambda: "device=spiffe://hq/client/bob" in site.processes["broker"].text())
        self.start_stranger(site, site, "bob")
        self.assert_silence(1)


class Authority(HostileTest):
    """Who may reach what is the gateway's own word."""

    def forbidden(self, target, **options):
        """A target that no entitlement names: the forward opens, carries nothing, and ends."""
        lab_site = self.site("port-restricted", "port-restricted", **options)
        lab_site.stop("client-alice")
        toml_edit.append_table(lab_site.config("client-alice"), "forward", listen="127.0.0.1:9000", target=target)
        lab_site.start_client()
        self.fetch_page(lab_site)
        with contextlib.suppress(ConnectionError):
            with fetch.connect(lab_site.lab.client, 9000) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                self.assertEqual(sock.recv(1), b"")
        return lab_site

    def test_default_is_to_deny(self):
        site = self.forbidden(f"{natlab.WEB}:7", allow=(f"tcp/{natlab.WEB}/32:80",))
        self.assertIn("den", site.processes["gateway-gw1"].text().lower())
        self.assert_clean(site)

    def test_the_gateway_itself_is_on_the_never_list(self):
        for target in ("10.99.0.1:80", "127.0.0.1:80", "10.2.0.2:80", f"{natlab.BROKER[0]}:443", "169.254.169.254:80"):
            with self.subTest(target):
                self.forbidden(target, allow=("tcp/0.0.0.0/0:1-65535",))


class WrongPapers(HostileTest):
    """Certificates and keys that do not belong together."""

    def swap(self, site, *keys):
        """bob's file with some of alice's papers in it."""
        alice, bob = (toml_edit.load(site.config(f"client-{name}"))["site"][0] for name in ("alice", "bob"))
        text = site.config("client-bob").read_text()
        for key in keys:
            for hers, his in zip(*(value if isinstance(value, list) else [value] for value in (alice[key], bob[key]))):
                self.assertIn(his, text)
                text = text.replace(his, hers)
        site.config("client-bob").write_text(text)

    def test_a_file_with_the_certificate_of_another_is_refused_at_the_start(self):
        site = self.open(clients=("alice", "bob"))
        self.swap(site, "certificate", "private_key")
        process = site.start("client-bob", site.lab.stranger, ready=False)
        self.assertEqual(process.wait(10), 2)
        self.assertRegex(process.text(), r"client-bob\.toml:\d+: .*certificate")
        self.assert_silence(0)

    def test_the_spa_key_of_another_meets_silence(self):
        site = self.open(clients=("alice", "bob"))
        self.swap(site, "spa_keys")
        site.start("client-bob", site.lab.stranger, ready=False)
        with contextlib.suppress(OSError):
            self.assertEqual(fetch.get(site.lab.stranger, WEB_PORT, timeout=6), b"")
        self.assert_unharmed(site)
        self.assert_silence(2)


class Rogues(HostileTest):
    """A device of the site that breaks the rules behind its own valid knock (rogue.py)."""

    BOB = "spiffe://hq/client/bob"
    GATEWAY = "spiffe://hq/gateway/gw1"

    def open(self, *arguments, **options):
        site = super().open(*arguments, clients=("alice", "bob"), **options)
        self.papers = rogue.Papers(site, "bob")
        return site

    def channel(self, site, certificate=None):
        channel = rogue.Channel(site.lab.stranger, self.papers, certificate)
        self.addCleanup(channel.close)
        return channel

    def broker_says(self, site, pattern):
        """The reason stands in the broker's log."""
        site.wait_for(f"/{pattern}/ in the broker's log", lambda: re.search(pattern, site.processes["broker"].text()))

    def refused(self, site, certificate, reason):
        with self.assertRaises(rogue.ENDED):
            self.channel(site, certificate).open()
        self.broker_says(site, reason)
        self.assert_unharmed(site)

    def test_the_rogue_is_able_to_behave(self):
        """Otherwise the refusals below would mean nothing."""
        site = self.open()
        self.assertIn(2, self.channel(site).open())  # Welcome
        own = self.papers.issue(self.BOB)
        self.assertIn(2, self.channel(site, own).open())
        self.assert_unharmed(site)

    def test_a_certificate_of_another_ca(self):
        site = self.open()
        self.refused(site, self.papers.issue(self.BOB, ca=self.papers.other_ca("spiffe://hq")), "(?i)bob.*(sign|issue|CA)")

    def test_a_certificate_with_two_names(self):
        site = self.open()
        self.refused(site, self.papers.issue(self.BOB, "spiffe://hq/client/alice"), "(?i)bob.*(one|SAN|alternative)")

    def test_a_certificate_with_the_wrong_role(self):
        site = self.open()
        self.refused(site, self.papers.issue("spiffe://hq/gateway/bob"), "(?i)bob.*(role|gateway)")

    def test_a_certificate_of_another_site(self):
        site = self.open()
        self.refused(site, self.papers.issue("spiffe://elsewhere/client/bob"), "(?i)bob.*site")

    def test_the_certificate_of_another_client_behind_a_valid_knock(self):
        site = self.open()
        self.refused(site, self.papers.issue("spiffe://hq/client/alice"), "(?i)bob.*alice")

    def test_a_message_that_claims_to_be_huge(self):
        site = self.open()
        channel = self.channel(site)
        channel.open()
        channel.send_raw(b"\x00\x01\x00\x01" + b"x" * 1000)
        with self.assertRaises(rogue.ENDED):
            for _ in range(100):
                channel.receive()
        self.broker_says(site, "(?i)bob.*(large|long|length|65,?536|64 KiB)")
        self.assert_unharmed(site)

    def test_messages_that_are_not_protobuf(self):
        site = self.open()
        channel = self.channel(site)
        channel.open()
        channel.send(b"\xff" * 40)
        with self.assertRaises(rogue.ENDED):
            for _ in range(100):
                channel.receive()
        self.assert_unharmed(site)

    def test_a_message_of_another_role(self):
        """A client that registers as a gateway."""
        site = self.open()
        channel = self.channel(site)
        channel.open()
        channel.send(rogue.message(f3=rogue.message(f1=rogue.address(natlab.STRANGER, 443), f5=1)))
        with self.assertRaises(rogue.ENDED):
            for _ in range(100):
                channel.receive()
        self.broker_says(site, "(?i)bob.*(role|client)")
        self.assert_unharmed(site)

    def test_a_handshake_that_stops_half_way_is_cut_off(self):
        site = self.open()
        channel = self.channel(site)
        channel.send_hello()
        channel.sock.settimeout(8)
        start = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while channel.sock.recv(65536):
                pass
        self.assertLess(time.monotonic() - start, 7)
        self.assert_unharmed(site)

    def test_a_knock_is_good_for_one_connection(self):
        """The very octets again, hello included, from the same address: silence."""
        site = self.open(broker_spa=OPEN_DOOR)
        channel = self.channel(site)
        sent = []
        original, channel.sock = channel.sock, unittest.mock.Mock(wraps=channel.sock)
        channel.sock.sendall.side_effect = lambda octets: (sent.append(octets), original.sendall(octets))
        channel.open()
        self.assert_no_answer(site, sent[0])
        self.assert_unharmed(site)

    def probed(self, site, candidates, seconds=12):
        """Offers these candidates, once a second, and trickles them; the gateway accepts the sessions."""
        channel = self.channel(site)
        channel.open()
        before = site.processes["gateway-gw1"].text().count("verdict=accepted")
        for _ in range(seconds):
            session = channel.offer(self.GATEWAY, candidates)
            time.sleep(0.5)
            channel.trickle(session, candidates)
            time.sleep(0.6)
        accepted = site.processes["gateway-gw1"].text().count("verdict=accepted") - before
        self.assertGreater(accepted, seconds // 2)

    def test_a_victims_address_as_candidate(self):
        site = self.open("port-restricted")
        victim, web, broker = (host.capture(filter_text="udp") for host in (site.lab.victim, site.lab.web, site.lab.broker))
        addresses = [(natlab.VICTIM, port) for port in range(2000, 2010)]
        # The gateway's LAN, its NAT, itself, the broker, everybody.
        addresses += [(ip, 7) for ip in (natlab.WEB, "10.99.0.255", "10.2.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255")]
        addresses += [(natlab.BROKER[0], 7)]
        self.probed(site, [rogue.candidate(1 + number % 2, *each) for number, each in enumerate(addresses)])
        reached = victim.count(f"ip.dst == {natlab.VICTIM}")
        print(f"  {reached} packets reached the victim", flush=True)
        self.assertLessEqual(reached, 50)
        self.assertEqual(web.count("udp"), 0)
        self.assertEqual(broker.count("udp.dstport == 7"), 0)
        self.fetch_page(site)
        self.assert_clean(site)


class Replays(HostileTest):
    """Packets of a session that lives, sent again by somebody else."""

    def test_a_relayed_session_is_not_steered_by_its_own_old_packets(self):
        lab = self.enterContext(natlab.Lab("symmetric", "symmetric"))
        site = natt_site.Site(lab)
        self.sites = [site]
        natt_site.start_web(lab, 4 << 20)
        wire = lab.internet.capture("to-client-nat", f"udp and src host {natlab.CLIENT}")
        site.start_all()
        self.fetch_page(site)
        self.assertEqual(site.connections()[0]["connectionType"], "Relay")
        sent = list(wire.datagrams())
        self.assertGreater(sum(payload[0] == 0x0C for _, payload in sent), 5)
        self.recording = lab.stranger.capture()
        with lab.stranger.socket() as sender:
            for _, payload in sent:
                for target in (BROKER_UDP, (natlab.BROKER[0], 53), GATEWAY_UDP):
                    sender.sendto(payload, target)
        self.assert_unharmed(site)
        self.assert_silence(len(sent))


if __name__ == "__main__":
    suite.main()
