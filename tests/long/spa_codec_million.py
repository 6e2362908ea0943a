#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libspa and a codec in Python, written from docs/WIRE.md section 1, agree on a million frames.

    spa_codec_million.py PROGRAM        PROGRAM is build/dev/tests/long/spa_frame_stream

Both ways and in all four carriers: frames that libspa sealed are taken out of their carriers, compared
with what this codec makes of the same inputs, and opened; then this codec seals and libspa opens. Of a
sample every altered frame is refused by either side: all 512 with one bit flipped and all 64 x 255 with
one octet changed. At the end, whether the million frames look random: chi-squared of all octets and of
the octets at each position, pairs of neighbours, octets of two frames of one device, and ones per octet.

The primitives are those of tests/vectors/spa_codec.py, over columns of many frames at once (numpy,
Debian's python3-numpy) and checked against it. NATT_FRAMES, NATT_ALTERED and NATT_TEST_SEED change the
size, the sample and the seed.
"""
import hashlib
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "vectors"))
import spa_codec  # noqa: E402

HEAD = 136
CHUNK = 20_000
REFUSED, OPENS, REFUSED_TWICE = 0, 1, 2

# --- Primitives over columns: one row a frame --------------------------------------


def rotate(x, n, bits):
    return (x << x.dtype.type(n)) | (x >> x.dtype.type(bits - n))


def siphash(keys, data):
    """SipHash-2-4 of each row of `data`, keys of shape (rows, 16); octets of shape (rows, 8)."""
    rows, size = data.shape
    k = np.ascontiguousarray(keys).view("<u8")
    constants = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    v = [k[:, i % 2] ^ np.uint64(c) for i, c in enumerate(constants)]
    message = np.zeros((rows, size // 8 * 8 + 8), np.uint8)
    message[:, :size] = data
    message[:, -1] = size & 255

    def rounds(count):
        for _ in range(count):
            v[0] += v[1]
            v[1] = rotate(v[1], 13, 64) ^ v[0]
            v[0] = rotate(v[0], 32, 64)
            v[2] += v[3]
            v[3] = rotate(v[3], 16, 64) ^ v[2]
            v[0] += v[3]
            v[3] = rotate(v[3], 21, 64) ^ v[0]
            v[2] += v[1]
            v[1] = rotate(v[1], 17, 64) ^ v[2]
            v[2] = rotate(v[2], 32, 64)

    for word in message.view("<u8").T:
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= np.uint64(0xFF)
    rounds(4)
    return np.ascontiguousarray(v[0] ^ v[1] ^ v[2] ^ v[3]).view(np.uint8).reshape(rows, 8)


def chacha20_block(keys, counter, nonces):
    rows = len(keys)
    start = [np.full(rows, word, np.uint32) for word in struct.unpack("<4I", b"expand 32-byte k")]
    start += [column.copy() for column in np.ascontiguousarray(keys).view("<u4").T]
    start += [np.full(rows, counter, np.uint32)]
    start += [column.copy() for column in np.ascontiguousarray(nonces).view("<u4").T]
    s = [column.copy() for column in start]

    def quarter(a, b, c, d):
        for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] += s[y]
            s[z] = rotate(s[z] ^ s[x], n, 32)

    for _ in range(10):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return np.stack([a + b for a, b in zip(s, start)], axis=1).view(np.uint8).reshape(rows, 64)


def tags(aead_keys, nonces, associated, cipher):
    rows = len(cipher)
    message = np.zeros((rows, 64 + 32 + 16), np.uint8)
    message[:, :55] = associated
    message[:, 64:84] = cipher
    message[:, 96], message[:, 104] = 55, 20
    one_time = chacha20_block(aead_keys, 0, nonces)[:, :32]
    out = [spa_codec.poly1305(key.tobytes(), text.tobytes()) for key, text in zip(one_time, message)]
    return np.frombuffer(b"".join(out), np.uint8).reshape(rows, 16)


def columns(rows):
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)


# --- Frames ------------------------------------------------------------------------


class Pair:
    def __init__(self, line):
        v = dict(field.split("=", 1) for field in line.split())
        psk = bytes.fromhex(v["psk"])
        secret, public = bytes.fromhex(v["device_secret"]), spa_codec.x25519(bytes.fromhex(v["verifier_secret"]), spa_codec.BASE)
        shared = spa_codec.x25519(secret, public)
        text = b"natt-spa-1" + shared + spa_codec.id16(v["device"]) + spa_codec.id16(v["verifier"])
        self.k = spa_codec.blake2b(32, text, psk)
        assert self.k.hex() == v["K"]
        self.verifier = spa_codec.id16(v["verifier"])
        self.mask = bytes.fromhex(v["mask"])
        self.suffix = spa_codec.site_suffix(psk)

    def slot_keys(self, slot):
        label = b"slot" + slot.to_bytes(8, "big")
        first = hashlib.blake2b(label + b"\1", key=self.k, digest_size=64).digest()
        second = hashlib.blake2b(label + b"\2", key=self.k, digest_size=64).digest()
        return first[:32] + second[:24]


class Batch:
    """Heads of records as columns, with the keys that belong to them."""

    def __init__(self, pairs, heads):
        self.heads = columns(heads)
        h = self.heads
        self.transport, self.body, self.nonce, self.frame = h[:, 2:3], h[:, 37:57], h[:, 57:69], h[:, 69:133]
        own = [pairs[head[0] << 8 | head[1]] for head in heads]
        keys = columns(
            [pair.slot_keys(int.from_bytes(head[41:47], "big") // 64000) for pair, head in zip(own, heads)]
        )
        self.a, self.h, self.q = keys[:, :32], keys[:, 32:40], keys[:, 40:56]
        self.mask = columns([pair.mask for pair in own])
        fixed = columns([b"spa1" + head[2:3] + pair.verifier + head[3:37] for pair, head in zip(own, heads)])
        self.associated = fixed
        self.suffix = [pair.suffix for pair in own]

    def seal(self):
        cipher = self.body ^ chacha20_block(self.a, 1, self.nonce)[:, :20]
        hint = self.h ^ siphash(self.mask, self.nonce)
        tag = tags(self.a, self.nonce, self.associated, cipher)
        front = np.concatenate([self.nonce, hint, cipher, tag], axis=1)
        return np.concatenate([front, siphash(self.q, np.concatenate([front, self.transport], axis=1))], axis=1)

    def plausible(self, frames):
        hint = frames[:, 12:20] ^ siphash(self.mask, frames[:, :12])
        p = siphash(self.q, np.concatenate([frames[:, :56], self.transport], axis=1))
        return (hint == self.h).all(axis=1) & (p == frames[:, 56:]).all(axis=1)

    def opens(self, frames):
        return (tags(self.a, frames[:, :12], self.associated, frames[:, 20:40]) == frames[:, 40:56]).all(axis=1)


# --- Carriers: docs/WIRE.md sections 1.4 to 1.6 ---------------------------------------


def frame_of_tls(octets):
    size = int.from_bytes(octets[3:5], "big")
    assert octets[:3] == b"\x16\3\1" and 71 <= size <= 512 and octets[5] == 1
    assert int.from_bytes(octets[6:9], "big") == size - 4 and octets[9:11] == b"\3\3" and octets[43] == 32
    record2 = octets[5 + size :]
    assert record2[0] in (22, 23) and record2[1:3] in (b"\3\1", b"\3\3")
    assert int.from_bytes(record2[3:5], "big") == len(record2) - 5
    return octets[11:43] + octets[44:76], spa_codec.blake2b(32, record2)


def frame_of_initial(octets):
    version = {b"\0\0\0\1": 0xC0, bytes.fromhex("6b3343cf"): 0xD0}[octets[1:5]]
    assert octets[0] & 0xF0 == version and len(octets) >= 1200
    dcid_end = 6 + octets[5]
    scid_end = dcid_end + 1 + octets[dcid_end]
    assert 8 <= octets[5] <= 20 and octets[dcid_end] <= 20
    token = scid_end + 2
    assert octets[scid_end:token] == b"\x40\x40"
    assert int.from_bytes(octets[token + 64 : token + 66], "big") & 0x3FFF <= len(octets) - token - 66
    return octets[token : token + 64], spa_codec.blake2b(32, octets[5:scid_end])


def take_out(transport, carrier, suffix):
    if transport == 1:
        return spa_codec.frame_of_udp(carrier), bytes(32)
    if transport == 2:
        return spa_codec.frame_of_dns(carrier, suffix), bytes(32)
    return frame_of_tls(carrier) if transport == 3 else frame_of_initial(carrier)


def hello(pick, shape, frame):
    """A ClientHello as WIRE.md has it; what follows the frame is arbitrary."""
    rest = pick.randbytes(pick.randrange(1, 400))
    if shape == 1:
        inside = b"\xfe\xfd" + frame[:32] + b"\x20" + frame[32:] + b"\0" + rest
        size = len(inside).to_bytes(3, "big")
        message = b"\1" + size + bytes(5) + size + inside
        return bytes.fromhex("16fefd0000000000000000") + struct.pack(">H", len(message)) + message
    inside = b"\3\3" + frame[:32] + b"\x20" + frame[32:] + rest
    message = b"\1" + len(inside).to_bytes(3, "big") + inside
    return b"\x16\3\1" + struct.pack(">H", len(message)) + message


class Bound:
    """What a frame is bound to, drawn before it is sealed, and the carrier around it afterwards."""

    def __init__(self, pick, transport):
        self.pick, self.transport, self.cb = pick, transport, bytes(32)
        if transport == 3:
            content = pick.randbytes(pick.randrange(1, 300))
            self.record2 = b"\x16\3" + bytes([pick.choice((1, 3))]) + struct.pack(">H", len(content)) + content
            self.cb = spa_codec.blake2b(32, self.record2)
        if transport == 4:
            dcid, scid = pick.randbytes(pick.randrange(8, 21)), pick.randbytes(pick.randrange(0, 21))
            self.ids = bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid
            self.cb = spa_codec.blake2b(32, self.ids)

    def carry(self, frame, suffix):
        pick = self.pick
        if self.transport == 1:
            return hello(pick, 1, frame)
        if self.transport == 2:
            return spa_codec.dns_of_frame(frame, suffix, pick.randbytes(2), pick.getrandbits(1))
        if self.transport == 3:
            return hello(pick, 3, frame) + self.record2
        first, version = pick.choice(((0xC0, b"\0\0\0\1"), (0xD0, bytes.fromhex("6b3343cf"))))
        front = bytes([first | pick.getrandbits(4)]) + version + self.ids + b"\x40\x40" + frame
        rest = 1200 - len(front) - 2
        return front + struct.pack(">H", 0x4000 | rest) + pick.randbytes(rest)


# --- The two directions ------------------------------------------------------------


class Randomness:
    """What makes octets look random, over all frames that passed by."""

    def __init__(self):
        self.octets = np.zeros((64, 256), np.int64)
        self.neighbours = np.zeros(65536, np.int64)
        self.same_device = np.zeros(256, np.int64)
        self.last_of = {}

    def add(self, frames, owners):
        for at in range(64):
            self.octets[at] += np.bincount(frames[:, at], minlength=256)
        words = frames[:, :-1].astype(np.int64) << 8 | frames[:, 1:]
        self.neighbours += np.bincount(words.ravel(), minlength=65536)
        for owner, frame in zip(owners, frames):
            if owner in self.last_of:
                self.same_device += np.bincount(frame ^ self.last_of[owner], minlength=256)
            self.last_of[owner] = frame

    @staticmethod
    def z(counts):
        """Chi-squared of a uniform distribution, as distance from its mean in standard deviations."""
        expected = counts.sum() / len(counts)
        freedom = len(counts) - 1
        return (((counts - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom)

    def report(self):
        total = self.octets.sum(axis=0)
        ones = sum(bin(value).count("1") * int(count) for value, count in enumerate(total)) / total.sum()
        worst = max(abs(self.z(row)) for row in self.octets)
        figures = [
            ("ones_per_octet", ones, abs(ones - 4) <= 0.01),
            ("chi2_octets", self.z(total), abs(self.z(total)) < 4),
            # The largest of 64: 1 run in 100 has one beyond 4 by chance alone.
            ("chi2_worst_position", worst, worst < 5),
            ("chi2_neighbours", self.z(self.neighbours), abs(self.z(self.neighbours)) < 4),
            ("chi2_same_device", self.z(self.same_device), abs(self.z(self.same_device)) < 4),
        ]
        for name, value, good in figures:
            print("spa.codec.%s %.4f %s" % (name, value, "ok" if good else "MISSED"), flush=True)
        return all(good for _, _, good in figures)


def alterations():
    """All 64 x 255 changes of one octet, which hold the 512 flips of one bit."""
    return [(at, change) for at in range(64) for change in range(1, 256)]


def repeat(batch, row, count):
    """The same record many times, as a batch."""
    copy = object.__new__(Batch)
    for name in ("transport", "a", "h", "q", "mask", "associated"):
        setattr(copy, name, np.repeat(getattr(batch, name)[row : row + 1], count, axis=0))
    return copy


def covered(at):
    """By the AEAD: nonce, ciphertext and tag."""
    return at < 12 or 20 <= at < 56


def refuses_altered(batch, row):
    changes = alterations()
    altered = np.repeat(batch.frame[row : row + 1], len(changes), axis=0)
    for index, (at, change) in enumerate(changes):
        altered[index, at] ^= change
    many = repeat(batch, row, len(changes))
    assert not many.plausible(altered).any(), "an altered frame passed hint and P"
    under_aead = np.array([covered(at) for at, _ in changes])
    assert (many.opens(altered) != under_aead).all(), "the AEAD opened an altered frame, or refused one it does not cover"
    return len(changes)


def read_records(stream, count):
    for _ in range(count):
        head = stream.read(HEAD)
        assert len(head) == HEAD, "the program ended early"
        yield head, stream.read(int.from_bytes(head[134:136], "big"))


def from_libspa(program, pairs, seed, count, sample, randomness):
    altered = 0
    with subprocess.Popen([program, "write", str(seed), str(count)], stdout=subprocess.PIPE, bufsize=1 << 20) as writer:
        for done in range(0, count, CHUNK):
            records = list(read_records(writer.stdout, min(CHUNK, count - done)))
            batch = Batch(pairs, [head for head, _ in records])
            assert (batch.seal() == batch.frame).all(), "sealed differently"
            assert batch.plausible(batch.frame).all() and batch.opens(batch.frame).all()
            for (head, carrier), suffix in zip(records, batch.suffix):
                assert take_out(head[2], carrier, suffix) == (head[69:133], head[5:37]), "carrier %d" % head[2]
            randomness.add(batch.frame, [head[:2] for head, _ in records])
            while altered < sample * (done + len(records)) // count:
                refuses_altered(batch, altered % len(records))
                altered += 1
    assert writer.returncode == 0
    return altered


def draw_head(pick, bound):
    at = pick.randrange(500)
    body = bytes([0x10 | pick.randrange(1, 4), pick.randrange(256)]) + pick.randbytes(18)
    port = 0 if bound.transport == 4 else pick.randrange(65536)
    return struct.pack(">HBH", at, bound.transport, port) + bound.cb + body + pick.randbytes(12) + bytes(67)


def record(head, frame, verdict, carrier):
    return head[:69] + frame + bytes([verdict]) + struct.pack(">H", len(carrier)) + carrier


def to_libspa(program, pairs, seed, count, sample):
    pick = random.Random(seed)
    sent, altered = 0, 0
    reader = subprocess.Popen([program, "check", str(seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1 << 20)
    for done in range(0, count, CHUNK):
        bound = [Bound(pick, pick.randrange(1, 5)) for _ in range(min(CHUNK, count - done))]
        heads = [draw_head(pick, each) for each in bound]
        batch = Batch(pairs, heads)
        frames = [row.tobytes() for row in batch.seal()]
        for head, frame, each, suffix in zip(heads, frames, bound, batch.suffix):
            reader.stdin.write(record(head, frame, OPENS, each.carry(frame, suffix)))
        sent += len(frames)
        while altered < sample * sent // count:
            row = altered % len(frames)
            for at, change in alterations():
                frame = bytearray(frames[row])
                frame[at] ^= change
                verdict = REFUSED_TWICE if covered(at) else REFUSED
                carrier = bound[row].carry(bytes(frame), batch.suffix[row])
                reader.stdin.write(record(heads[row], bytes(frame), verdict, carrier))
            altered += 1
    out, _ = reader.communicate()
    text = out.decode().strip()
    assert reader.returncode == 0, text
    assert text == "opened %d refused %d" % (count, altered * len(alterations())), text
    return altered


def self_test():
    """The columns compute what the vectors' codec computes."""
    pick = random.Random(1)
    for size in (12, 20, 57):
        keys, data = [pick.randbytes(16) for _ in range(4)], [pick.randbytes(size) for _ in range(4)]
        for row, out in enumerate(siphash(columns(keys), columns(data))):
            assert out.tobytes() == spa_codec.siphash(keys[row], data[row])
    keys, nonces = [pick.randbytes(32) for _ in range(4)], [pick.randbytes(12) for _ in range(4)]
    for row, out in enumerate(chacha20_block(columns(keys), 1, columns(nonces))):
        assert out.tobytes() == spa_codec.chacha20_block(keys[row], 1, nonces[row])
    associated, cipher = [pick.randbytes(55) for _ in range(4)], [pick.randbytes(20) for _ in range(4)]
    for row, out in enumerate(tags(columns(keys), columns(nonces), columns(associated), columns(cipher))):
        assert out.tobytes() == spa_codec.aead_tag(keys[row], nonces[row], associated[row], cipher[row])


def main():
    program = sys.argv[1]
    count = int(os.environ.get("NATT_FRAMES", "1000000"))
    sample = int(os.environ.get("NATT_ALTERED", "20"))
    seed = int(os.environ.get("NATT_TEST_SEED", random.SystemRandom().getrandbits(62)))
    print("# seed %d" % seed, flush=True)
    self_test()
    lines = subprocess.run([program, "pairs", str(seed)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    pairs = [Pair(line) for line in lines]
    each = len(alterations())

    start, randomness = time.monotonic(), Randomness()
    altered = from_libspa(program, pairs, seed, count, sample, randomness)
    print("spa.codec.from_libspa %d frames agree, %d altered refused, %.0f s" % (count, altered * each, time.monotonic() - start), flush=True)
    start = time.monotonic()
    altered = to_libspa(program, pairs, seed, count, sample)
    print("spa.codec.to_libspa %d frames agree, %d altered refused, %.0f s" % (count, altered * each, time.monotonic() - start), flush=True)
    sys.exit(0 if randomness.report() else 1)


if __name__ == "__main__":
    main()
