#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Garbage of every kind at broker and gateway, over IPv4 and IPv6: how many packets of any protocol come back.

    tests/long/spa_silence.py [KIND...]        kinds whose name holds one of these words; all

NATT_GARBAGE        packets of every kind at every port and family (1000000)
NATT_GARBAGE_RATE   packets/s at most; 0: as fast as it goes (0)
NATT_SPA_MODE, NATT_TCP_VISIBILITY    of the broker (tcp, syn)
NATT_POLICY         the host's nftables policy (packaging/nftables/natt-hidden.nft); empty: the kernel answers broken fragments
                    as on any host
NATT_GARBAGE_JOBS   kinds that are sent at once (the number of processors)
NATT_TEST_SEED      (1)

TCP kinds have to meet silence only where the kernel gate hides the port; elsewhere no octet and no ICMP may come
back, and the kernel's handshake packets are counted beside.
"""
import collections
import os
import pathlib
import sys
import time

import proof
import knocking
import silence
from host import LabError

COUNT = proof.size("NATT_GARBAGE", 1000000)
RATE = proof.size("NATT_GARBAGE_RATE", 0)
JOBS = proof.size("NATT_GARBAGE_JOBS", os.cpu_count() or 1)
SEED = proof.size("NATT_TEST_SEED", 1)
POLICY = os.environ.get("NATT_POLICY", str(proof.HERE.parents[1] / "packaging/nftables/natt-hidden.nft"))
# Longer than the kernel keeps half a packet (net.ipv4.ipfrag_time, net.ipv6.ip6frag_time): then it may speak of it.
REASSEMBLY = 62


def wanted(kind):
    return len(sys.argv) < 2 or any(word in kind for word in sys.argv[1:])


def send_all(site, floods):
    """Yields (kind, what was sent); JOBS kinds are under way at once, for one sender fills one processor."""
    running = collections.deque()

    def finish():
        kind, process = running.popleft()
        if process.wait(1800) != 0:
            raise LabError(f"{kind}: {process.text()}")
        return kind, knocking.Flood(process.text())

    for kind, words in floods:
        if not wanted(kind):
            continue
        if len(running) == JOBS:
            yield finish()
        rate = ["--rate", RATE] if RATE else []
        running.append((kind, knocking.start_flood(site.lab.stranger, *words, "--seed", SEED, *rate)))
    while running:
        yield finish()


def attack(results, site, name, floods, and_filter=""):
    """Sends every kind and counts what came back in all."""
    recording = site.watch()
    sent, cpu, started = 0, 0.0, time.monotonic()
    for kind, flood in send_all(site, floods):
        results.note(f"{kind}: {flood}" + (f", refused {flood.refused}" if flood.refused else ""))
        sent += flood.packets
        cpu += flood.cpu
    took = time.monotonic() - started
    time.sleep(REASSEMBLY if sent and name != "udp" else 2)
    answers = site.answers(recording, and_filter)
    for line in answers[:20]:
        results.note("answer " + " ".join(line))
    results.add(f"{name}_sent", sent, "packets")
    results.add(f"{name}_rate", sent / took, "packets/s")
    results.add(f"{name}_sender_cpu", 1e6 * cpu / max(sent, 1), "us/packet, the kernel's way to the receiver included")
    results.add(f"{name}_answers", len(answers), "packets", ("==", 0))


def check_alive(results, site, knocks):
    site.fetch_page()
    keys = knocking.key_files(site.site, site.people)
    measured = knocking.knock(site.lab.victim, keys, knocks, 20, *([] if not site.tcp_is_hidden else ["--syn"]))
    results.note(f"knocks afterwards: {measured}")
    results.add("knocks_afterwards_opened", measured.share, "", (">=", 1.0))
    results.add("programs_alive", int(site.programs_alive()), "", ("==", 1))
    results.add("log_lines", site.log_lines(), "", ("<=", 300))


def run(results):
    spa = [("mode", os.environ.get("NATT_SPA_MODE", "tcp")), ("tcp_visibility", os.environ.get("NATT_TCP_VISIBILITY", "syn"))]
    policy = pathlib.Path(POLICY).read_text(encoding="ascii") if POLICY else None
    with silence.SilenceSite(SEED, spa=spa, policy=policy) as site:
        results.note(f"seed {SEED}, {len(site.datagrams)} datagrams and {len(site.flights)} first flights recorded of a client")
        before = {stem: memory(process.pid) for stem, process in site.site.processes.items()}
        attack(results, site, "udp", site.udp(COUNT))
        attack(results, site, "raw_udp", site.raw_udp(COUNT))
        hidden = site.tcp_is_hidden
        results.add("tcp_is_hidden", int(hidden))
        attack(results, site, "tcp", site.tcp(COUNT), "" if hidden else " && (icmp || icmpv6 || udp || tcp.len > 0)")
        for stem, process in site.site.processes.items():
            results.add(f"{stem}_memory_grew", memory(process.pid) - before[stem], "KiB", ("<=", 2048))
        check_alive(results, site, 20)


def memory(pid):
    """Resident KiB of a process."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


if __name__ == "__main__":
    proof.main(run)
