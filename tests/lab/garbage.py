# SPDX-License-Identifier: Apache-2.0
"""What strangers send, by kind, for lab_flood: payloads for a UDP port, and whole Ethernet frames where a socket
cannot make them. Nothing of it may be answered."""
import ipaddress
import json
import random
import socket
import struct

import natlab

UDP, TCP = socket.IPPROTO_UDP, socket.IPPROTO_TCP
FRAGMENT6 = 44
MSS = 1400


# --- payloads ------------------------------------------------------------------------------


def stun(rng, kind=0x0001, attributes=b""):
    return struct.pack("!HHI", kind, len(attributes), 0x2112A442) + rng.randbytes(12) + attributes


def quic_initial(rng, version, token=b"", size=1200):
    head = bytes([0xC0 | rng.randrange(16)]) + struct.pack("!I", version) + b"\x08" + rng.randbytes(8) + b"\x08" + rng.randbytes(8)
    head += struct.pack("!H", 0x4000 | len(token)) + token
    rest = size - len(head) - 2
    return head + struct.pack("!H", 0x4000 | rest) + rng.randbytes(rest)


def dns_name(*labels):
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def dns_query(rng, name, kind, options=b"\0\0\x29\x04\xd0\0\0\0\0\0\0"):
    return rng.randbytes(2) + struct.pack("!5H", 0x0100, 1, 0, 0, 1 if options else 0) + name + struct.pack("!HH", kind, 1) + options


def dns_knock_shape(rng, suffix=b"\0"):
    """Section 1.4.1 of WIRE.md with a random frame and the site's suffix: all the verifier asks of a shape."""
    letters = bytes(rng.choice(b"0123456789abcdefghijklmnopqrstuv") for _ in range(102)) + bytes([rng.choice(b"08go")])
    name = dns_name(letters[:26], letters[26:52], letters[52:78], letters[78:])[:-1] + suffix
    return dns_query(rng, name, rng.choice([1, 28]))


def dns_suffix(valid):
    """What the names of a site's DNS knocks end in, labels and root; the root alone when none is among them."""
    header = struct.pack("!4H", 1, 0, 0, 1) + b"\x1a"
    return next((each[119:-15] for each in valid if each[4:13] == header and len(each) > 134), b"\0")


def dtls_knock_shape(rng, rest=150):
    """Section 1.4 of WIRE.md with a random frame."""
    body = b"\xfe\xfd" + rng.randbytes(32) + b"\x20" + rng.randbytes(32) + b"\0" + rng.randbytes(rest)
    size = len(body).to_bytes(3, "big")
    return b"\x16\xfe\xfd" + bytes(8) + struct.pack("!H", len(body) + 12) + b"\x01" + size + bytes(5) + size + body


def tls_hello(rng, session_id=True):
    extensions = (b"\0\x2b\0\3\2\3\4" b"\0\x0d\0\x08\0\6\4\3\x08\4\4\1" b"\0\x0a\0\4\0\2\0\x1d" b"\0\x33\0\x26\0\x24\0\x1d\0\x20" +
                  rng.randbytes(32))
    body = b"\3\3" + rng.randbytes(32) + (b"\x20" + rng.randbytes(32) if session_id else b"\0") + b"\0\2\x13\1\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\x16\3\1" + struct.pack("!H", len(body) + 4) + b"\1" + len(body).to_bytes(3, "big") + body


def tcp_knock_shape(rng):
    """Section 1.5 of WIRE.md with a random frame, and a hello behind it."""
    return tls_hello(rng) + tls_hello(rng, session_id=False)


def udp_kinds(rng, valid, count=2000):
    """{kind: payloads}; `valid` are datagrams that a client of the site sent, each good once."""
    def many(make):
        return [make() for _ in range(count)]

    suffix = dns_suffix(valid)
    unknown = [0, 0x0A0A0A0A, 0xFFFFFFFF, 2, 0xFF00001D, 0x51303433]
    cut = [each[:rng.randrange(len(each))] for each in valid for _ in range(20) if each]
    return {
        "truncated": cut,
        "replayed": valid,
        "extended": [each + rng.randbytes(rng.randrange(1, 40)) for each in valid for _ in range(20) if len(each) < 1400],
        "flipped": [flip(rng, each) for each in valid for _ in range(20) if each],
        "quic-versions": many(lambda: quic_initial(rng, rng.choice([*unknown, rng.randrange(1 << 32)]))),
        "quic-tokens": many(lambda: quic_initial(rng, rng.choice([1, 0x6B3343CF]), rng.randbytes(rng.choice([0, 16, 64, 64, 200])))),
        "quic-short": many(lambda: bytes([0x40 | rng.randrange(64)]) + rng.randbytes(rng.randrange(20, 1300))),
        "stun": many(lambda: stun(rng, rng.choice([1, 1, 1, 3, 0x101, 0x111]), rng.choice(
            [b"", struct.pack("!HH", 8, 20) + rng.randbytes(20), struct.pack("!HH", 0x1C, 32) + rng.randbytes(32),
             struct.pack("!HHI", 3, 4, 6), struct.pack("!HH", 6, 8) + b"username"]))),
        "dns": many(lambda: dns_query(rng, rng.choice([dns_name(b"version", b"bind"), dns_name(b"www", b"example", b"com"), b"\0"]),
                                      rng.choice([1, 2, 15, 16, 28, 255]), rng.choice([b"", b"\0\0\x29\x10\0\0\0\x80\0\0\0"]))),
        "dns-knock-shape": many(lambda: dns_knock_shape(rng, suffix)),
        "dtls-knock-shape": many(lambda: dtls_knock_shape(rng)),
        "tls-hello": many(lambda: tls_hello(rng)),
        "relay-shape": many(lambda: b"\x0c" + rng.randbytes(rng.randrange(1, 1300))),
    }


def flip(rng, octets):
    at = rng.randrange(len(octets))
    return octets[:at] + bytes([octets[at] ^ 1 << rng.randrange(8)]) + octets[at + 1:]


# --- frames --------------------------------------------------------------------------------


def checksum(octets):
    octets += b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Framer:
    """Makes Ethernet frames from one host of the laboratory to another, by way of the internet's router."""

    def __init__(self, lab, host, target, ipv6=False):
        self._ethernet = mac_of(lab.internet, f"to-{host.name}") + mac_of(host, "eth0")
        self.ipv6 = ipv6
        ends = [host.address, target]
        self._ends = [ipaddress.ip_address(natlab.ipv6_of(each) if ipv6 else each).packed for each in ends]

    def packet(self, protocol, body, identification=0, fragment=None):
        """`fragment` is (offset in octets, more follow)."""
        source, target = self._ends
        if self.ipv6:
            if fragment is not None:
                body = struct.pack("!BBHI", protocol, 0, fragment[0] | fragment[1], identification) + body
                protocol = FRAGMENT6
            return self._ethernet + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + source + target + body
        offset = 0 if fragment is None else fragment[0] // 8 | fragment[1] << 13
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), identification, offset, 64, protocol, 0) + source + target
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        return self._ethernet + b"\x08\0" + head + body

    def _summed(self, protocol, head, payload, at):
        """A transport header with its checksum at an offset."""
        source, target = self._ends
        pseudo = source + target + (struct.pack("!II", len(head + payload), protocol) if self.ipv6
                                    else struct.pack("!HH", protocol, len(head + payload)))
        total = checksum(pseudo + head + payload) or 0xFFFF
        return head[:at] + struct.pack("!H", total) + head[at + 2:] + payload

    def udp_body(self, source_port, port, payload):
        return self._summed(UDP, struct.pack("!HHHH", source_port, port, 8 + len(payload), 0), payload, 6)

    def tcp_body(self, source_port, port, flags, payload=b"", sequence=1, options=b""):
        head = struct.pack("!HHIIBBHHH", source_port, port, sequence, 0 if flags & 0x10 == 0 else 77, (20 + len(options)) << 2, flags,
                           64240, 0, 0) + options
        return self._summed(TCP, head, payload, 16)

    def fragments(self, rng, protocol, body):
        """The packet cut into two to four, whole or damaged: first alone, last alone, overlapping, tiny, reordered."""
        number = rng.randrange(1 << 16)
        cuts = sorted(rng.sample(range(8, max(17, len(body)), 8), rng.randrange(1, 3)))
        edges = [0, *[cut for cut in cuts if cut < len(body)], len(body)]
        made = [self.packet(protocol, body[start:end], number, (start, end < len(body))) for start, end in zip(edges, edges[1:])]
        way = rng.randrange(6)
        if way == 0:
            return made[:1]
        if way == 1:
            return made[1:]
        if way == 2:
            return made[::-1]
        if way == 3:
            return [*made, self.packet(protocol, rng.randbytes(16), number, (8, True))]
        if way == 4:
            return [self.packet(protocol, body[:8], number, (0, True)), self.packet(protocol, b"", number, (65528, False))]
        return made


def mac_of(host, interface):
    shown = json.loads(host.run(["ip", "-j", "link", "show", "dev", interface]).stdout)
    return bytes.fromhex(shown[0]["address"].replace(":", ""))


def raw_udp_kinds(rng, framer, port, valid, count=500):
    """{kind: frames} of UDP that no socket sends."""
    def source():
        return rng.choice([53, 443, 0, rng.randrange(1024, 65536)])

    shapes = [dtls_knock_shape, dns_knock_shape, tls_hello, lambda rng: quic_initial(rng, 1), lambda rng: rng.randbytes(1300)]
    bodies = [framer.udp_body(source(), port, rng.choice(shapes)(rng)) for _ in range(count)]
    bodies += [framer.udp_body(source(), port, each) for each in valid]
    damaged = [each[:6] + rng.randbytes(2) + each[8:] for each in bodies]
    lying = [each[:4] + struct.pack("!H", rng.choice([0, 7, 8, 9, 65535])) + each[6:] for each in bodies]
    return {
        "fragments": [frame for body in bodies for frame in framer.fragments(rng, UDP, body)],
        "odd-source-ports": [framer.packet(UDP, body) for body in bodies],
        "bad-checksums": [framer.packet(UDP, body) for body in damaged],
        "lying-lengths": [framer.packet(UDP, body) for body in lying],
    }


# MSS, SACK permitted, timestamps, window scale, and a Fast Open cookie request (RFC 7413 section 4.1.1).
SYN_OPTIONS = bytes.fromhex("020405b4" "0402" "080a0000000100000000" "01" "030307")
FAST_OPEN = bytes.fromhex("2202" "0101")


def tcp_kinds(rng, framer, port, valid, count=500):
    """{kind: frames} of TCP; `valid` are first flights of clients, each good once."""
    def frames(flags, payload=lambda: b"", options=b""):
        return [framer.packet(TCP, framer.tcp_body(rng.randrange(1024, 65536), port, flags() if callable(flags) else flags, payload(),
                                                   rng.randrange(1 << 32), options)) for _ in range(count)]

    syn, fin, ack, reset, push = 2, 1, 16, 4, 8
    hello = tcp_knock_shape
    return {
        "syn": frames(syn, options=SYN_OPTIONS),
        "syn-with-hello": frames(syn, lambda: hello(rng), SYN_OPTIONS + FAST_OPEN),
        "syn-with-noise": frames(syn, lambda: rng.randbytes(rng.randrange(1, 1200)), SYN_OPTIONS),
        "syn-replayed": frames(syn, lambda: rng.choice(valid)[:MSS], SYN_OPTIONS + FAST_OPEN) if valid else [],
        "ack": frames(ack),
        "ack-with-hello": frames(ack | push, lambda: hello(rng)),
        "fin": frames(fin),
        "null": frames(0),
        "xmas": frames(0x29),
        "syn-ack": frames(syn | ack),
        "reset": frames(reset),
        "any-flags": frames(lambda: rng.randrange(256), lambda: rng.randbytes(rng.randrange(0, 100))),
        "tcp-fragments": [frame for _ in range(count) for frame in framer.fragments(
            rng, TCP, framer.tcp_body(rng.randrange(1024, 65536), port, syn, hello(rng), rng.randrange(1 << 32), SYN_OPTIONS))],
    }


def seeded(seed):
    return random.Random(seed)
