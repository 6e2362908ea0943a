# SPDX-License-Identifier: Apache-2.0
"""A second implementation of the SPA frame, written from docs/WIRE.md section 1.

    spa_codec.py GOLDEN [WRITER [COUNT [SEED]]]

Checks every line of the golden file, then COUNT random vectors that the program
WRITER produces. For each it derives all keys, seals and opens the frame, and
compares every value; single-bit flips must be refused: all 512 of the golden
frames, 4 of each random one. Uses nothing but the standard library.
"""
import hashlib
import ipaddress
import random
import struct
import subprocess
import sys

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF
P25519 = 2**255 - 19


def blake2b(size, data, key=b""):
    return hashlib.blake2b(data, digest_size=size, key=key).digest()


# --- X25519, RFC 7748 section 5 ---------------------------------------------------


def x25519(secret, point):
    k = bytearray(secret)
    k[0] &= 248
    k[31] = (k[31] & 127) | 64
    k = int.from_bytes(k, "little")
    x1 = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, x1, 1, 0
    for t in reversed(range(255)):
        bit = (k >> t) & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P25519, b * b % P25519, d * a % P25519, c * b % P25519
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P25519, x1 * (da - cb) ** 2 % P25519
        x2, z2 = aa * bb % P25519, e * (aa + 121665 * e) % P25519
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P25519 - 2, P25519) % P25519).to_bytes(32, "little")


BASE = (9).to_bytes(32, "little")

# --- SipHash-2-4 ------------------------------------------------------------------


def siphash(key, data):
    k0, k1 = struct.unpack("<QQ", key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(x, n):
        return ((x << n) | (x >> (64 - n))) & MASK64

    def rounds(count):
        a, b, c, d = v
        for _ in range(count):
            a = (a + b) & MASK64
            b = rotate(b, 13) ^ a
            a = rotate(a, 32)
            c = (c + d) & MASK64
            d = rotate(d, 16) ^ c
            a = (a + d) & MASK64
            d = rotate(d, 21) ^ a
            c = (c + b) & MASK64
            b = rotate(b, 17) ^ c
            c = rotate(c, 32)
        v[:] = [a, b, c, d]

    whole = len(data) // 8 * 8
    last = data[whole:].ljust(7, b"\0") + bytes([len(data) & 255])
    for word in struct.unpack("<%dQ" % (whole // 8 + 1), data[:whole] + last):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")


# --- ChaCha20-Poly1305, RFC 8439 --------------------------------------------------


def chacha20_block(key, counter, nonce):
    start = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
    s = start[:]

    def quarter(a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = (s[x] + s[y]) & MASK32
            w = s[z] ^ s[x]
            s[z] = ((w << n) | (w >> (32 - n))) & MASK32

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & MASK32 for a, b in zip(s, start)))


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for at in range(0, len(data), 16):
        total = (total + int.from_bytes(data[at : at + 16] + b"\1", "little")) * r % (2**130 - 5)
    return ((total + int.from_bytes(key[16:32], "little")) % 2**128).to_bytes(16, "little")


def aead_tag(key, nonce, associated, cipher):
    def pad(data):
        return data + bytes(-len(data) % 16)

    lengths = struct.pack("<QQ", len(associated), len(cipher))
    return poly1305(chacha20_block(key, 0, nonce)[:32], pad(associated) + pad(cipher) + lengths)


def chacha20_xor(key, nonce, data):
    return bytes(a ^ b for a, b in zip(data, chacha20_block(key, 1, nonce)))


# --- SPA, docs/WIRE.md sections 1.1 and 1.2 ---------------------------------------


class Keys:
    def __init__(self, own_secret, peer_public, device, verifier, psk, slot):
        shared = x25519(own_secret, peer_public)
        self.k = blake2b(32, b"natt-spa-1" + shared + id16(device) + id16(verifier), psk)
        label = b"slot" + struct.pack(">Q", slot)
        first = blake2b(64, label + b"\1", self.k)
        second = blake2b(64, label + b"\2", self.k)
        self.a, self.b = first[:32], first[32:]
        self.h, self.q = second[:8], second[8:24]


def id16(uri):
    return blake2b(16, uri.encode())


def associated_data(tr, verifier, port, binding):
    return b"spa1" + bytes([tr]) + id16(verifier) + struct.pack(">H", port) + binding


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b))


def seal(keys, mask, tr, associated, body, nonce):
    cipher = chacha20_xor(keys.a, nonce, body)
    frame = nonce + xor(keys.h, siphash(mask, nonce)) + cipher + aead_tag(keys.a, nonce, associated, cipher)
    return frame + siphash(keys.q, frame + bytes([tr]))


def accepted_by_hint_and_p(keys, mask, tr, frame):
    return xor(frame[12:20], siphash(mask, frame[:12])) == keys.h and frame[56:] == siphash(
        keys.q, frame[:56] + bytes([tr])
    )


def open_sealed(keys, associated, frame):
    nonce, cipher, tag = frame[:12], frame[20:40], frame[40:56]
    if aead_tag(keys.a, nonce, associated, cipher) != tag:
        return None
    return chacha20_xor(keys.a, nonce, cipher)


def make_body(v):
    return (
        bytes([0x10 | int(v["type"]), int(v["flags"])])
        + struct.pack(">H", int(v["generation"]))
        + int(v["unix_ms"]).to_bytes(6, "big")
        + struct.pack(">H", int(v["knock_id"]))
        + bytes.fromhex(v["tag"])
    )


def frame_of_udp(datagram):
    """Section 1.4, every rule of the table."""
    size = len(datagram)
    start = bytes.fromhex("16fefd0000000000000000") + struct.pack(">H", size - 13)
    hello = b"\1" + (size - 25).to_bytes(3, "big") + bytes(5) + (size - 25).to_bytes(3, "big") + b"\xfe\xfd"
    assert datagram[:27] == start + hello and datagram[59] == 0x20 and datagram[92] == 0
    return datagram[27:59] + datagram[60:92]


# --- The DNS carrier, section 1.4.1 -----------------------------------------------

DIGITS = "0123456789abcdefghijklmnopqrstuv"


def site_suffix(psk):
    label = blake2b(16, b"natt-spa-1 dns suffix", psk)[:8]
    return "".join(DIGITS[octet % 32] for octet in label) + ".internal"


def labels(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def dns_of_frame(frame, suffix, message_id, aaaa):
    number = int.from_bytes(frame, "big") << 3
    digits = "".join(DIGITS[number >> (5 * at) & 31] for at in reversed(range(103)))
    name = ".".join([digits[:26], digits[26:52], digits[52:78], digits[78:], suffix])
    question = labels(name) + struct.pack(">HH", 28 if aaaa else 1, 1)
    opt = b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)
    return message_id + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 1) + question + opt


def frame_of_dns(datagram, suffix):
    """None where the table says reject."""
    wire = labels(suffix)
    tail = 119 + len(wire)
    if not tail + 15 <= len(datagram) <= 512:
        return None
    flags, questions, answers, authorities, additional = struct.unpack(">HHHHH", datagram[2:12])
    if flags & ~0x0130 or (questions, answers, authorities, additional) != (1, 0, 0, 1):
        return None
    if [datagram[at] for at in (12, 39, 66, 93)] != [26, 26, 26, 25] or datagram[119:tail].lower() != wire:
        return None
    kind, dns_class, root, opt, _size, _extended, length = struct.unpack(">HHBHHIH", datagram[tail : tail + 15])
    if kind not in (1, 28) or dns_class != 1 or root != 0 or opt != 41 or length != len(datagram) - tail - 15:
        return None
    text = datagram[13:39] + datagram[40:66] + datagram[67:93] + datagram[94:119]
    number = 0
    for octet in text.lower():
        value = DIGITS.find(chr(octet))
        if value < 0:
            return None
        number = number << 5 | value
    return None if number & 7 else (number >> 3).to_bytes(64, "big")


def check_dns(v, frame, psk, nonce, pick):
    suffix = site_suffix(psk)
    assert suffix == v["suffix"]
    datagram = bytes.fromhex(v["dns"])
    assert datagram == dns_of_frame(frame, suffix, nonce[:2], nonce[2] & 1)
    assert frame_of_dns(datagram, suffix) == frame
    mixed = bytes(octet - 32 if 97 <= octet <= 122 and pick.random() < 0.5 else octet for octet in datagram[12:-15])
    mixed = datagram[:12] + mixed + datagram[-15:]
    assert frame_of_dns(mixed, suffix) == frame
    assert frame_of_dns(datagram[:118] + b"1" + datagram[119:], suffix) is None, "bits past the frame"
    assert frame_of_dns(datagram, "x" + suffix[1:]) is None or suffix[0] == "x"


# --- The checks -------------------------------------------------------------------


def check(line, flips, pick):
    v = dict(field.split("=", 1) for field in line.split())
    raw = {name: bytes.fromhex(v[name]) for name in ("device_secret", "verifier_secret", "psk", "mask", "cb", "nonce")}
    device_public = x25519(raw["device_secret"], BASE)
    verifier_public = x25519(raw["verifier_secret"], BASE)
    slot = int(v["unix_ms"]) // 1000 // 64
    keys = Keys(raw["device_secret"], verifier_public, v["device"], v["verifier"], raw["psk"], slot)
    other_end = Keys(raw["verifier_secret"], device_public, v["device"], v["verifier"], raw["psk"], slot)
    tr = int(v["tr"])
    associated = associated_data(tr, v["verifier"], int(v["port"]), raw["cb"])
    body = make_body(v)
    frame = seal(keys, raw["mask"], tr, associated, body, raw["nonce"])
    source = b"\0" * 10 + b"\xff\xff" + ipaddress.ip_address("192.0.2.7").packed
    ids = bytes([8]) + raw["psk"][:8] + bytes([16]) + raw["mask"]
    computed = {
        "device_public": device_public,
        "verifier_public": verifier_public,
        "K": keys.k,
        "A": keys.a,
        "B": keys.b,
        "H": keys.h,
        "Q": keys.q,
        "address_tag": blake2b(32, source, keys.b)[:8],
        "cid_cb": blake2b(32, ids),
        "frame": frame,
    }
    for name, value in computed.items():
        assert value.hex() == v[name], "%s: %s, but the vector says %s" % (name, value.hex(), v[name])
    assert str(slot) == v["slot"]
    assert other_end.k == keys.k
    assert frame_of_udp(bytes.fromhex(v["udp"])) == frame
    check_dns(v, frame, raw["psk"], raw["nonce"], pick)
    assert accepted_by_hint_and_p(keys, raw["mask"], tr, frame)
    assert open_sealed(keys, associated, frame) == body
    for bit in flips:
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << (bit % 8)
        flipped = bytes(flipped)
        assert not accepted_by_hint_and_p(keys, raw["mask"], tr, flipped), "bit %d passed hint and P" % bit
        covered = bit < 96 or 160 <= bit < 448
        assert not covered or open_sealed(keys, associated, flipped) is None, "bit %d passed the AEAD" % bit


def self_test():
    # RFC 7748 section 5.2 and the SipHash paper, appendix A: the parts stand on their own.
    scalar = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert x25519(scalar, point).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    assert siphash(bytes(range(16)), bytes(range(15))) == (0xA129CA6149BE45E5).to_bytes(8, "little")


def main():
    self_test()
    with open(sys.argv[1]) as file:
        golden = file.read().splitlines()
    for line in golden:
        check(line, range(512), random.Random(1))
    print("%d golden vectors agree, every bit flip of them is refused" % len(golden))
    if len(sys.argv) < 3:
        return
    count = sys.argv[3] if len(sys.argv) > 3 else "2000"
    seed = sys.argv[4] if len(sys.argv) > 4 else str(random.SystemRandom().getrandbits(63))
    print("writer seed %s" % seed)
    lines = subprocess.run([sys.argv[2], count, seed], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    assert len(lines) == int(count)
    pick = random.Random(int(seed))
    for line in lines:
        check(line, [pick.randrange(512) for _ in range(4)], pick)
    print("%d random vectors agree" % len(lines))


if __name__ == "__main__":
    main()
