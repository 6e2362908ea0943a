#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A censor's look at a million knocks: nothing tells them from random octets, or two of one device from two of two.

    spa_looks_random.py PROGRAM         PROGRAM is build/dev/tests/long/spa_knock_stream

The frames are libspa's own, of 500 devices at one verifier within four slots (4 minutes), so alike as they ever get.
What carries them is shaped as a protocol and not looked at here: that is tshark's, in tests/lab/test_connections.py.

Statistics, each as a distance from what random octets give, in standard deviations, the largest of its family:
chi-squared of the values at each of the 64 positions, each of the 512 bits, all pairs of neighbouring octets,
correlation of every two octets of a frame, of all 1 to 63 apart, and of an octet with that of the device's next knock;
ones per octet; and any field of 8 octets that two frames share.
Classifiers, logistic regressions trained on one half and judged on the other, as area under the ROC curve (0.5 is
guessing): frames against random octets (bits, and products of neighbouring bits); two frames of one device against two
of different ones, in the same slot and in others (differing bits, equal octets).

By chance alone less than one run in 10,000 fails: each of the five families has a limit that one of its members passes
with 1e-5 or less, the AUC limit of 0.51 lies 7 standard deviations out (200,000 judgements of either kind: 0.0009
each), the other limits further. The seed is printed; NATT_TEST_SEED repeats a run, NATT_FRAMES changes its size:
600,000 or more, for what is judged must not be what was learnt from.

Then the proof has to prove itself: the same frames with a planted weakness (`PLANTED` below) must be found out, each by
the means that is named, or it ends with status 1.
"""
import math
import os
import random
import subprocess
import sys

import numpy as np

RECORD = 68
JUDGED = 200_000
JUDGED_WEAK = 50_000
AUC_LIMIT = 0.51
# Two-sided tails of the normal distribution: with as many members as the family has, below 1e-5 in all.
LIMITS = {"positions": 5.5, "bits": 5.7, "neighbours": 4.5, "correlation": 6.0, "ones": 4.5}


def read_knocks(program, seed, count):
    raw = subprocess.run([program, str(seed), str(count)], check=True, stdout=subprocess.PIPE).stdout
    rows = np.frombuffer(raw, np.uint8).reshape(-1, RECORD)
    assert len(rows) == count, "the program ended early"
    device = rows[:, 0].astype(np.int64) << 8 | rows[:, 1]
    return device, rows[:, 2].astype(np.int64), rows[:, 4:].copy()


# --- Statistics --------------------------------------------------------------------


def chi2_z(counts):
    """Distance of chi-squared from its mean by Wilson and Hilferty's cube root, good far into the tail."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    chi2 = ((counts - expected) ** 2 / expected).sum()
    return ((chi2 / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


VARIANCE = (256**2 - 1) / 12  # of an octet


def products(a, b):
    """The 64 x 64 sums of products of octets around their mean."""
    total = np.zeros((64, 64))
    for at in range(0, len(a), 50_000):
        total += (a[at : at + 50_000] - 127.5).T @ (b[at : at + 50_000] - 127.5)
    return total


def correlations(device, frames):
    """Each octet with each other of its frame, all that are equally far apart together, and with its successor."""
    within = products(frames, frames)
    count = len(frames)
    each = within[np.triu_indices(64, 1)] / (math.sqrt(count) * VARIANCE)
    apart = [np.trace(within, lag) / (math.sqrt(count * (64 - lag)) * VARIANCE) for lag in range(1, 64)]
    first, second = consecutive(device)
    successive = np.array([products_of(frames[first, at], frames[second, at]) for at in range(64)])
    return np.concatenate([each, apart, successive / (math.sqrt(len(first)) * VARIANCE)])


def products_of(a, b):
    return (a - 127.5) @ (b - 127.5)


def consecutive(device):
    """Indices of knocks and of the next one of the same device."""
    order = np.argsort(device, kind="stable")
    same = device[order[:-1]] == device[order[1:]]
    return order[:-1][same], order[1:][same]


def statistics(device, frames):
    count = len(frames)
    bits = np.array([(frames & mask != 0).sum(axis=0) for mask in 128 >> np.arange(8)])
    pairs = np.zeros(65536, np.int64)
    for at in range(63):
        pairs += np.bincount(frames[:, at].astype(np.int64) << 8 | frames[:, at + 1], minlength=65536)
    ones = bits.sum() / (count * 64)
    words = np.ascontiguousarray(frames).view(np.uint64)
    return {
        "positions": max(abs(chi2_z(np.bincount(frames[:, at], minlength=256))) for at in range(64)),
        "bits": (np.abs(bits - count / 2) / math.sqrt(count / 4)).max(),
        "neighbours": abs(chi2_z(pairs)),
        "correlation": np.abs(correlations(device, frames)).max(),
        "ones": abs(ones - 4) / math.sqrt(2 / (count * 64)),
        "ones_per_octet": ones,
        # Hm begins in the middle of a word: also at 12.
        "shared_fields": sum(count - len(np.unique(w)) for w in [*words.T, field(frames, 12)]),
    }


def field(frames, at):
    return np.ascontiguousarray(frames[:, at : at + 8]).view(np.uint64).ravel()


def faults(found):
    bad = [name for name, limit in LIMITS.items() if found[name] > limit]
    if abs(found["ones_per_octet"] - 4) > 0.01:
        bad.append("ones_per_octet")
    return bad + ["shared_fields"] * (found["shared_fields"] > 0)


# --- Classifiers -------------------------------------------------------------------


def auc(good, bad):
    """That a random one of `good` is ranked above a random one of `bad`; ties count half."""
    scores = np.concatenate([good, bad])
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    assert len(values)
    return (ranks[inverse[: len(good)]].sum() - len(good) * (len(good) + 1) / 2) / (len(good) * len(bad))


class Logistic:
    """Logistic regression by stochastic gradient descent, inputs of mean zero."""

    def __init__(self, size):
        self.weights = np.zeros(size, np.float32)
        self.bias = np.float32(0)

    def train(self, inputs, labels, rate):
        error = labels - 1 / (1 + np.exp(-np.clip(self.score(inputs), -30, 30)))
        self.weights += np.float32(rate / len(labels)) * (error.astype(np.float32) @ inputs)
        self.bias += np.float32(rate * error.mean())

    def score(self, inputs):
        return inputs @ self.weights + self.bias


def signs(frames):
    return np.unpackbits(frames, axis=1).astype(np.float32) * 2 - 1


def alone(frames):
    bits = signs(frames)
    return np.concatenate([bits, bits[:, 1:] * bits[:, :-1]], axis=1)


def compared(pair):
    first, second = pair
    equal = (first == second).astype(np.float32) - np.float32(1 / 256)
    return np.concatenate([signs(first ^ second), 16 * equal], axis=1)


def judge(features, good, bad, judged, batch=2000):
    """`good(n)` and `bad(n)` draw: `judged` of each to learn from, and as many to be judged."""
    model = None
    for step in range(judged // batch):
        inputs = np.concatenate([features(good(batch)), features(bad(batch))])
        labels = np.repeat(np.float32([1, 0]), batch)
        model = model or Logistic(inputs.shape[1])
        model.train(inputs, labels, 0.5 / (1 + step / 20))

    def scores(draw):
        return np.concatenate([model.score(features(draw(batch))) for _ in range(judged // batch)])

    return auc(scores(good), scores(bad))


class Pairs:
    """Draws two frames of one device or of different ones, half of them in one slot, out of a part of the frames."""

    def __init__(self, pick, device, slot, frames):
        self.pick, self.device, self.slot, self.frames = pick, device, slot, frames
        keys = device * 8 + slot
        order = np.argsort(keys, kind="stable")
        starts = np.searchsorted(keys[order], np.arange(keys.max() + 2))
        self.order, self.starts = order, starts
        self.slots = int(slot.max()) + 1

    def of(self, device, slot):
        key = device * 8 + slot
        low, high = self.starts[key], self.starts[key + 1]
        assert (high > low).all(), "too few frames for this"
        return self.order[low + (self.pick.random(len(key)) * (high - low)).astype(np.int64)]

    def draw(self, count, same):
        devices = int(self.device.max()) + 1
        first_of = self.pick.integers(0, devices, count)
        second_of = first_of if same else (first_of + self.pick.integers(1, devices, count)) % devices
        first_slot = self.pick.integers(0, self.slots, count)
        second_slot = np.where(np.arange(count) % 2 == 0, first_slot, self.pick.integers(0, self.slots, count))
        first, second = self.of(first_of, first_slot), self.of(second_of, second_slot)
        # The same frame twice is no pair.
        keep = first != second
        first, second = np.resize(first[keep], count), np.resize(second[keep], count)
        return self.frames[first], self.frames[second]


def classify(pick, device, slot, frames, wanted, judged):
    pairs = Pairs(pick, device, slot, frames)

    def random_frames(count):
        return pick.integers(0, 256, (count, 64), np.uint8)

    # Each frame is drawn once: what is judged was not learnt by heart.
    at = 0

    def next_frames(count):
        nonlocal at
        at = (at + count) % (len(frames) - count)
        return frames[at : at + count]

    found = {}
    if "auc_random" in wanted:
        found["auc_random"] = judge(alone, next_frames, random_frames, judged)
    if "auc_same_device" in wanted:
        same, different = (lambda n: pairs.draw(n, True)), (lambda n: pairs.draw(n, False))
        found["auc_same_device"] = judge(compared, same, different, judged)
    return found


def told_apart(found):
    """Either side: who is always wrong knows as much."""
    return [name for name, value in found.items() if abs(value - 0.5) > AUC_LIMIT - 0.5]


# --- Planted weaknesses ------------------------------------------------------------


def constant_hint(pick, device, slot, frames):
    """Hm not masked: one number for each device and slot."""
    hints = pick.integers(0, 256, (512 * 8, 8), np.uint8)
    frames[:, 12:20] = hints[device * 8 + slot]


def constant_bit(pick, device, slot, frames):
    """One bit of each device and slot in clear, in the first octet of C."""
    hints = pick.integers(0, 2, 512 * 8).astype(np.uint8)
    frames[:, 20] = (frames[:, 20] & 0x7F) | hints[device * 8 + slot] << 7


def clear_version(pick, device, slot, frames):
    frames[:, 20] = (frames[:, 20] & 0x0F) | 0x10


def counted_nonce(pick, device, slot, frames):
    """The last four octets of N count, from a random start of each device."""
    numbers = pick.integers(0, 2**32, 512)[device]
    order = np.argsort(device, kind="stable")
    within = np.empty(len(device), np.int64)
    starts = np.searchsorted(device[order], device[order])
    within[order] = np.arange(len(device)) - starts
    frames[:, 8:12] = ((numbers + within) & 0xFFFFFFFF).astype(">u4").view(np.uint8).reshape(-1, 4)


def few_ones(pick, device, slot, frames):
    """One bit that is 0 in 51 of 100."""
    frames[pick.random(len(frames)) < 0.02, 5] &= 0xFE


def repeated_half(pick, device, slot, frames):
    """A bit of P that is the parity of its neighbour three times of five."""
    copies = pick.random(len(frames)) < 0.2
    frames[copies, 57] = (frames[copies, 57] & 0x7F) | (frames[copies, 56] & 1) << 7


PLANTED = [
    (constant_hint, {"shared_fields", "auc_same_device"}),
    (constant_bit, {"auc_same_device"}),
    (clear_version, {"positions", "bits", "auc_random"}),
    (counted_nonce, {"correlation"}),
    (few_ones, {"bits"}),
    (repeated_half, {"auc_random"}),
]


def main():
    program = sys.argv[1]
    count = int(os.environ.get("NATT_FRAMES", "1000000"))
    if count < 3 * JUDGED:
        sys.exit("spa_looks_random: %d frames are too few, classifiers would learn them by heart" % count)
    seed = int(os.environ.get("NATT_TEST_SEED", random.SystemRandom().getrandbits(62)))
    print("# seed %d" % seed, flush=True)
    pick = np.random.default_rng(seed)
    device, slot, frames = read_knocks(program, seed, count)
    missed = 0

    def line(name, value, limit, good):
        nonlocal missed
        missed += not good
        print("spa.looks_random.%s %.4f goal %s %s" % (name, value, limit, "ok" if good else "MISSED"), flush=True)

    found = statistics(device, frames)
    bad = faults(found)
    for name, value in found.items():
        limit = {"ones_per_octet": "4.00 +- 0.01", "shared_fields": "== 0"}.get(name) or "<= %.1f" % LIMITS[name]
        line(name, value, limit, name not in bad)
    judged = classify(pick, device, slot, frames, {"auc_random", "auc_same_device"}, JUDGED)
    for name, value in judged.items():
        line(name, value, "0.5 +- 0.01", name not in told_apart(judged))

    for plant, means in PLANTED:
        weak = frames.copy()
        plant(pick, device, slot, weak)
        found_by = set(faults(statistics(device, weak)))
        found_by |= set(told_apart(classify(pick, device, slot, weak, means, JUDGED_WEAK)))
        line("finds_%s" % plant.__name__, len(found_by & means), "== %d" % len(means), means <= found_by)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
