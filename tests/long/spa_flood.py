#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Knocks and a live tunnel while garbage arrives.

    tests/long/spa_flood.py [knocks] [tunnel] [replay]      all by default

knocks   30 knocks/s by 20 devices beside a flood of each kind: how many open, and how soon
tunnel   throughput of one download, with the sender aimed at a host that drops (A) and at the broker (B), in turns (A B, B A);
         the sender has one processor, the programs, the server and who downloads have the other
replay   one frame of a device, again and again, while that device knocks

NATT_FLOOD_SECONDS   length of each flood of `knocks` and `replay` (60)
NATT_FLOOD_RATE      packets/s offered (200000); what was reached is printed
NATT_FLOOD_TRAIN     payloads per segmentation-offload train in the floods that use them (16)
NATT_KNOCK_RATE      knocks/s (30)
NATT_TUNNEL_ROUNDS   pairs of A and B (20) of NATT_TUNNEL_SECONDS (1.5) each
NATT_SPA_MODE, NATT_TCP_VISIBILITY    of the broker (udp-tcp, ip)

In mode udp-tcp a knock counts as open when the TLS answer is there, which needs the UDP knock and the TCP hello: the flood
at UDP cannot hide behind the other.
"""
import os
import statistics
import sys
import threading
import time

import proof
import fetch
import garbage
import knocking
import natlab
import natt_site
import toml_edit

SECONDS = proof.size("NATT_FLOOD_SECONDS", 60.0)
RATE = proof.size("NATT_FLOOD_RATE", 200000)
TRAIN = proof.size("NATT_FLOOD_TRAIN", 16)
KNOCK_RATE = proof.size("NATT_KNOCK_RATE", 30.0)
ROUNDS = proof.size("NATT_TUNNEL_ROUNDS", 20)
TUNNEL_SECONDS = proof.size("NATT_TUNNEL_SECONDS", 1.5)
MODE = os.environ.get("NATT_SPA_MODE", "udp-tcp")
VISIBILITY = os.environ.get("NATT_TCP_VISIBILITY", "ip")
PEOPLE = [f"p{number}" for number in range(20)]
OWNER = "owner"
BROKER = natlab.BROKER[0]


def knock_options():
    """As natt's own client; a host without the gate would take the hello in the SYN no sooner."""
    return [] if VISIBILITY == "open" else ["--syn", "--attempts", "0,100,200,300p,400,800,1600"]


class FloodSite:
    """Broker, gateway, a client with a direct tunnel; a crowd that knocks, a stranger that floods."""

    def __init__(self):
        self.lab = natlab.Lab()
        self.site = natt_site.Site(self.lab, gateway_address=natlab.GATEWAY, clients=("alice", OWNER, *PEOPLE))
        toml_edit.set_key(self.site.config("broker"), "spa", "mode", MODE)
        toml_edit.set_key(self.site.config("broker"), "spa", "tcp_visibility", VISIBILITY)
        self.crowd = self.lab.public_host("crowd", *knocking.CROWD)
        self.web = natt_site.start_web(self.lab, 64 << 20)
        self.site.start_broker()
        self.site.start_gateway()
        # A host that costs the sender the same way and nobody anything.
        self.lab.victim.nft("table inet sink {\n chain in {\n  type filter hook prerouting priority raw; policy accept;\n"
                            "  udp dport 443 drop\n }\n}\n")
        self.keys = knocking.key_files(self.site, PEOPLE)
        self.owner_keys = knocking.key_files(self.site, [OWNER])
        knocking.save_knocks(self.lab.client, self.keys[:2], self.lab.folder / "shape", 1)

    def kinds(self, rate):
        """{name: lab_flood's words}; everything but the target."""
        lab, paced = self.lab, ["--rate", rate]
        fixed = knocking.write_payloads(lab.folder / "one-size", [garbage.seeded(1).randbytes(232) for _ in range(64)])
        return {
            "random": ["--random", "64:300", *paced],
            "random_trains": ["--payloads", fixed, "--train", TRAIN, *paced],
            "knock_shaped": ["--payloads", lab.folder / "shape", "--stir", "27:59", *paced],
            "knock_shaped_trains": ["--payloads", lab.folder / "shape", "--stir", "27:59", "--train", TRAIN, *paced],
        }

    def syns(self, rate):
        """SYNs that carry a hello with a random frame."""
        framer = garbage.Framer(self.lab, self.lab.stranger, BROKER)
        frames = garbage.tcp_kinds(garbage.seeded(1), framer, 443, [])["syn-with-hello"]
        return ["--interface", "eth0", "--payloads", knocking.write_payloads(self.lab.folder / "syns", frames), "--rate", rate]

    def flood(self, words, to=BROKER, port=443, seconds=SECONDS):
        target = [] if "--interface" in words else ["--to", to, "--port", port]
        return knocking.start_flood(self.lab.stranger, *target, "--seconds", seconds, *words)


def knocks_under_flood(results, site):
    quiet = knocking.knock(site.crowd, site.keys, int(KNOCK_RATE * 5), KNOCK_RATE, *knock_options())
    results.note(f"without a flood: {quiet}")
    results.add("quiet_open_p50", quiet.open_p50, "ms")
    for kind, words in {**site.kinds(RATE), "syns": site.syns(RATE)}.items():
        time.sleep(10.5)  # what the last round opened by address is closed
        measure_knocks(results, site, f"flood_{kind}", words)


def measure_knocks(results, site, name, words, keys=None, rate=KNOCK_RATE):
    counters = proof.udp_counters(site.lab.broker)
    cpu = proof.cpu_seconds(site.site.processes["broker"].pid)
    running = site.flood(words)
    time.sleep(0.3)
    measured = knocking.knock(site.crowd, keys or site.keys, int((SECONDS - 1) * rate), rate, "--from", ",".join(knocking.CROWD),
                              *knock_options())
    running.wait(SECONDS + 30)
    flood = knocking.Flood(running.text())
    delivered = proof.udp_counters(site.lab.broker)["InDatagrams"] - counters["InDatagrams"]
    results.note(f"{name}: {flood}; {measured}")
    results.add(f"{name}_rate", flood.rate, "packets/s", (">=", RATE * 0.98))
    results.add(f"{name}_delivered_to_broker", delivered, "datagrams or trains")
    results.add(f"{name}_broker_cpu", proof.cpu_seconds(site.site.processes["broker"].pid) - cpu, "s")
    results.add(f"{name}_opened", measured.share, "", (">=", 0.999))
    results.add(f"{name}_synack_p99", measured.synack_p99, "ms")
    results.add(f"{name}_open_p50", measured.open_p50, "ms")
    results.add(f"{name}_open_p99", measured.open_p99, "ms", ("<=", 20))
    return measured


def replay_under_knocks(results, site):
    """The frame first reaches the broker by its owner; the copies come from elsewhere."""
    site.lab.folder.joinpath("copy").unlink(missing_ok=True)
    datagram = knocking.save_knocks(site.lab.client, site.owner_keys, site.lab.folder / "copy", 1)[0]
    with site.lab.client.socket() as sender:
        sender.sendto(datagram, (BROKER, 443))
    # 4 knocks/s of one device: its budget is 8/s.
    measure_knocks(results, site, "replay_of_one_frame", ["--payloads", site.lab.folder / "copy", "--rate", RATE], site.owner_keys, 4)


# --- the tunnel ----------------------------------------------------------------------------


def on_processor(process, number):
    """Every thread of a program to one processor."""
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        os.sched_setaffinity(int(thread), {number})


class Download:
    """Downloads through the tunnel until stopped, and counts octets."""

    def __init__(self, host):
        self.octets, self._host, self._stop = 0, host, False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        os.sched_setaffinity(0, {1})
        while not self._stop:
            with fetch.connect(self._host, natt_site.WEB_PORT) as sock:
                sock.sendall(b"GET /blob HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
                while not self._stop and (size := len(sock.recv(1 << 18))):
                    self.octets += size

    def stop(self):
        self._stop = True
        self._thread.join()


def throughput(site, download, words, to, seconds):
    """Mbit/s while a flood goes somewhere."""
    running = site.flood(words, to=to, seconds=seconds + 0.6)
    on_processor(running, 0)
    time.sleep(0.3)
    before, start = download.octets, time.monotonic()
    time.sleep(seconds)
    rate = (download.octets - before) * 8e-6 / (time.monotonic() - start)
    running.wait(30)
    return rate, knocking.Flood(running.text()).rate


def tunnel_under_flood(results, site):
    site.site.start_client()
    fetch.get(site.lab.client, natt_site.WEB_PORT)
    results.note(f"tunnel: {site.site.connections()[0]['connectionType']}")
    for process in (site.web, *(site.site.processes[stem] for stem in ("broker", "gateway-gw1", "client-alice"))):
        on_processor(process, 1)
    download = Download(site.lab.client)
    try:
        for kind, words in site.kinds(RATE).items():
            sink, aimed, rates = [], [], []
            for number in range(ROUNDS):
                turns = ((natlab.VICTIM, sink), (BROKER, aimed))
                for to, into in turns if number % 2 == 0 else turns[::-1]:
                    mbits, rate = throughput(site, download, words, to, TUNNEL_SECONDS)
                    into.append(mbits)
                    rates.append(rate)
            lost = [1 - b / a for a, b in zip(sink, aimed)]
            results.note(f"tunnel_{kind}: A {[round(each) for each in sink]} B {[round(each) for each in aimed]} Mbit/s")
            results.add(f"tunnel_{kind}_flood_rate", statistics.median(rates), "packets/s")
            results.add(f"tunnel_{kind}_sink", statistics.median(sink), "Mbit/s")
            results.add(f"tunnel_{kind}_broker", statistics.median(aimed), "Mbit/s")
            results.add(f"tunnel_{kind}_lost", statistics.median(lost) * 100, "%", ("<=", 1.0))
    finally:
        download.stop()


def run(results):
    what = sys.argv[1:] or ["knocks", "tunnel", "replay"]
    site = FloodSite()
    with site.lab:
        if "knocks" in what:
            knocks_under_flood(results, site)
        if "replay" in what:
            time.sleep(10.5)
            replay_under_knocks(results, site)
        if "tunnel" in what:
            tunnel_under_flood(results, site)
        results.add("error_lines", len(site.site.error_lines()), "", ("==", 0))


if __name__ == "__main__":
    proof.main(run)
