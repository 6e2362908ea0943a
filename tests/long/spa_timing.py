#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How soon a door opens over veth, by the packets' own timestamps, and how surely it opens when packets are lost.

    tests/long/spa_timing.py [synack] [loss]      both by default

synack   per connection: from the SYN that carries the hello to the SYN-ACK (syn), and from the UDP knock to the
         SYN-ACK (ip)
loss     a link that loses packets each way (netbox.py): share of knocks that open within 3 s

NATT_KNOCKS       knocks of `synack` (1000), at NATT_KNOCK_RATE (50) a second
NATT_LOSS_KNOCKS  knocks of `loss` (4000), at NATT_LOSS_RATE (40) a second
NATT_LOSS         share of packets lost each way (0.3), NATT_DELAY_MS one way (20)
"""
import sys

import proof
import garbage
import knocking
import natlab
import natt_site
import toml_edit

KNOCKS = proof.size("NATT_KNOCKS", 1000)
KNOCK_RATE = proof.size("NATT_KNOCK_RATE", 50.0)
LOSS_KNOCKS = proof.size("NATT_LOSS_KNOCKS", 4000)
LOSS_RATE = proof.size("NATT_LOSS_RATE", 40.0)
LOSS = proof.size("NATT_LOSS", 0.3)
DELAY = proof.size("NATT_DELAY_MS", 20.0)
PEOPLE = [f"p{number}" for number in range(20)]
# As natt's own client tries (libnatt/include/natt/connect_schedule.h).
CLIENT = ["--syn", "--attempts", "0,100,200,300p,400,600,800,1100,1400,1700,2000,2300"]
BROKER = natlab.BROKER[0]


def open_site(mode, visibility):
    lab = natlab.Lab()
    site = natt_site.Site(lab, clients=PEOPLE)
    toml_edit.set_key(site.config("broker"), "spa", "mode", mode)
    toml_edit.set_key(site.config("broker"), "spa", "tcp_visibility", visibility)
    crowd = lab.public_host("crowd", *knocking.CROWD)
    site.start_broker()
    return lab, site, crowd


def from_first(first, then):
    """Milliseconds from the first packet of each key to the first answer after it."""
    starts, taken = {}, []
    for key, when in sorted(first, key=lambda each: each[1]):
        starts.setdefault(key, when)
    for key, when in sorted(then, key=lambda each: each[1]):
        if key in starts:
            taken.append((when - starts.pop(key)) * 1000)
    return taken


def synack_time(results, mode, visibility, options):
    lab, site, crowd = open_site(mode, visibility)
    with lab:
        wire = crowd.capture(filter_text="tcp port 443 or udp port 443")
        # One address, one knock: a grant by address is used up by its first connection.
        count = KNOCKS if visibility == "syn" else len(knocking.CROWD)
        measured = knocking.knock(crowd, knocking.key_files(site, PEOPLE), count, KNOCK_RATE, "--from", ",".join(knocking.CROWD), *options)
        results.note(f"{visibility}: {measured}")
        syns = wire.fields("tcp.flags.syn == 1 && tcp.flags.ack == 0", "ip.src", "tcp.srcport", "frame.time_epoch")
        answers = wire.fields("tcp.flags.syn == 1 && tcp.flags.ack == 1", "ip.dst", "tcp.dstport", "frame.time_epoch")
        if visibility == "syn":
            taken = from_first([((ip, port), float(when)) for ip, port, when in syns], [((ip, port), float(when)) for ip, port, when in answers])
        else:
            knocks = wire.fields("udp.dstport == 443", "ip.src", "frame.time_epoch")
            taken = from_first([(ip, float(when)) for ip, when in knocks], [(ip, float(when)) for ip, _, when in answers])
        results.add(f"{visibility}_opened", measured.share, "", ("==", 1.0))
        results.add(f"{visibility}_synack_measured", len(taken), "connections", (">=", int(count * 0.99)))
        results.add(f"{visibility}_synack_p50", proof.percentile(taken, 0.5), "ms", ("<=", 1.0))
        results.add(f"{visibility}_synack_p99", proof.percentile(taken, 0.99), "ms")


def know_each_other(lab, crowd):
    """Address resolution is the laboratory's matter, one question per address of the crowd: none of it may be lost."""
    ends = garbage.mac_of(crowd, "eth0").hex(":"), garbage.mac_of(lab.internet, "to-crowd").hex(":")
    lab.internet.ip(*(f"neigh replace {each} lladdr {ends[0]} dev to-crowd nud permanent" for each in crowd.addresses))
    crowd.ip(f"neigh replace 192.0.2.1 lladdr {ends[1]} dev eth0 nud permanent")


def loss(results, mode, visibility, options):
    lab, site, crowd = open_site(mode, visibility)
    with lab:
        lab.impair("crowd", delay_ms=DELAY, loss=LOSS)
        know_each_other(lab, crowd)
        keys = knocking.key_files(site, PEOPLE)
        measured = knocking.knock(crowd, keys, LOSS_KNOCKS, LOSS_RATE, "--from", ",".join(knocking.CROWD), *options, "--log", str(lab.folder / "log"))
        lines = [[float(word) for word in line.split()] for line in (lab.folder / "log").read_text().splitlines()]
        doors = sum(synack >= 0 for _, synack, _ in lines)
        results.note(f"{visibility} with {LOSS:.0%} loss each way: {measured}")
        results.add(f"loss_{visibility}_syn_answered_in_3s", doors / len(lines), "", (">=", 0.999))
        results.add(f"loss_{visibility}_tls_answered_in_3s", measured.share, "")
        results.add(f"loss_{visibility}_open_p50", measured.synack_p50, "ms")
        results.add(f"loss_{visibility}_open_p99", measured.synack_p99, "ms")


def run(results):
    what = sys.argv[1:] or ["synack", "loss"]
    if "synack" in what:
        synack_time(results, "tcp", "syn", ["--syn", "--no-udp"])
        synack_time(results, "udp-tcp", "ip", ["--no-dns", "--attempts", "0,0.25,0.5,0.75,1,2,4,100,200,400,800,1600"])
    if "loss" in what:
        loss(results, "tcp", "syn", CLIENT)
        loss(results, "udp-tcp", "ip", CLIENT)


if __name__ == "__main__":
    proof.main(run)
