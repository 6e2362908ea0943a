#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A link with delay, loss and a rate: forwards whole frames between two interfaces.

This kernel may have no netem, so a box of its own namespace stands between two veth
ends (Lab.impair). Each direction has its own queue; a frame that finds it full is lost,
as in a router with a drop-tail queue. Loss comes from a seeded generator.

    netbox.py ONE OTHER [--delay-ms D] [--jitter-ms J] [--loss P] [--rate-mbit R] [--queue-ms Q] [--seed S]

The interfaces must not offload checksums or segmentation (Lab.impair sees to it).
Prints `ready` when it forwards. SIGUSR1 blacks the link out, SIGUSR2 ends that.
"""
import argparse
import collections
import random
import select
import signal
import socket
import time

ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
FRAME = 65536
BURST = 256  # Frames taken before the clock is looked at again.


class Direction:
    """Frames on their way from one interface to the other."""

    def __init__(self, source, target, arguments, generator):
        self._source, self._target = source, target
        self._arguments = arguments
        self._random = generator
        self._waiting = collections.deque()
        self._free_at = 0.0  # When the link has sent everything that was let in.
        self._last_release = 0.0

    def take(self, black):
        """Lets what has arrived into the queue, or loses it."""
        for _ in range(BURST):
            try:
                frame = self._source.recv(FRAME)
            except BlockingIOError:
                return
            if not black and self._random.random() >= self._arguments.loss:
                self._admit(frame, time.monotonic())

    def _admit(self, frame, now):
        start = max(now, self._free_at)
        if self._arguments.rate_mbit:
            if start - now > self._arguments.queue_ms / 1e3:
                return
            self._free_at = start + len(frame) * 8 / (self._arguments.rate_mbit * 1e6)
            start = self._free_at
        jitter = self._random.random() * self._arguments.jitter_ms
        # Jitter delays; it never reorders: few paths do, and QUIC's own tests cover it.
        release = max(start + (self._arguments.delay_ms + jitter) / 1e3, self._last_release)
        self._last_release = release
        self._waiting.append((release, frame))

    def release(self, now):
        """Sends what is due; returns when the next frame is, or None."""
        while self._waiting and self._waiting[0][0] <= now:
            try:
                self._target.send(self._waiting.popleft()[1])
            except OSError:
                pass  # Interface down or its queue full: lost, as on a wire.
        return self._waiting[0][0] if self._waiting else None


def open_interface(name):
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    made.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, 8 << 20)
    made.bind((name, 0))
    made.setblocking(False)
    return made


def parse_arguments():
    parser = argparse.ArgumentParser(description="A link with delay, loss and a rate.")
    parser.add_argument("interfaces", nargs=2)
    parser.add_argument("--delay-ms", type=float, default=0.0, help="one way, each way")
    parser.add_argument("--jitter-ms", type=float, default=0.0, help="added to the delay, uniformly, without reordering")
    parser.add_argument("--loss", type=float, default=0.0, help="share of frames, each way")
    parser.add_argument("--rate-mbit", type=float, default=0.0, help="each way; 0: as fast as it goes")
    parser.add_argument("--queue-ms", type=float, default=50.0, help="longest wait for the rate")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    one, other = (open_interface(name) for name in arguments.interfaces)
    generator = random.Random(arguments.seed)
    directions = [Direction(one, other, arguments, generator), Direction(other, one, arguments, generator)]
    black = [False]
    signal.signal(signal.SIGUSR1, lambda *_: black.__setitem__(0, True))
    signal.signal(signal.SIGUSR2, lambda *_: black.__setitem__(0, False))
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        due = [when for when in (each.release(now) for each in directions) if when is not None]
        wait = max(0.0, min(due) - time.monotonic()) if due else None
        select.select([one, other], [], [], wait)
        for each in directions:
            each.take(black[0])


if __name__ == "__main__":
    main()
