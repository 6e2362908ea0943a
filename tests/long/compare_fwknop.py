#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""natt and fwknop side by side, on the same host and network: time to open, garbage refused, a shared NAT.

    tests/long/compare_fwknop.py [fwknop|natt|all]

NATT_KNOCKS          knocks per figure (100)
NATT_FLOOD_SECONDS   length of each flood (10)
NATT_FLOOD_RATE      packets/s offered in the flood with knocks alongside (200000)
NATT_COST_RATE       packets/s at which the CPU time of a refusal is taken: slow enough that nothing is lost (5000)
"""
import sys
import time

import proof
import fwknop_site
import knocking
import natlab
import natt_site
import toml_edit

KNOCKS = proof.size("NATT_KNOCKS", 100)
SECONDS = proof.size("NATT_FLOOD_SECONDS", 10.0)
RATE = proof.size("NATT_FLOOD_RATE", 200000)
COST_RATE = proof.size("NATT_COST_RATE", 5000)
PEOPLE = [f"p{number}" for number in range(20)]


def times(results, name, taken):
    opened = [value * 1000 for value in taken if value is not None]
    results.add(f"{name}_opened", f"{len(opened)}/{len(taken)}")
    if opened:
        results.add(f"{name}_p50", proof.percentile(opened, 0.5), "ms")
        results.add(f"{name}_p99", proof.percentile(opened, 0.99), "ms")


# --- fwknop --------------------------------------------------------------------------------


def fwknop_knocks(site, count, pause=0.0):
    """Time to open of `count` knocks, each for a port of its own."""
    packets = [site.packet(fwknop_site.FIRST_PORT + number, natlab.CLIENT) for number in range(count)]
    taken = []
    with site.lab.client.socket() as sender:
        for number, packet in enumerate(packets):
            taken.append(fwknop_site.time_to_open(site.lab.client, fwknop_site.FIRST_PORT + number,
                                                  lambda: sender.sendto(packet, (natlab.BROKER[0], fwknop_site.SPA_PORT))))
            time.sleep(pause)
    return taken


def flood_words(lab, kind, rate):
    path = knocking.write_payloads(lab.folder / f"garbage-{kind}", fwknop_site.garbage(kind))
    return ["--to", natlab.BROKER[0], "--port", fwknop_site.SPA_PORT, "--payloads", path, "--seconds", SECONDS, "--rate", rate]


def cpu_per_packet(results, name, process, flooded):
    """The CPU time that a process takes for one packet of a flood."""
    before = proof.cpu_seconds(process.pid)
    flood = flooded()
    spent = proof.cpu_seconds(process.pid) - before
    results.add(f"{name}_cpu_per_packet", spent / flood.packets * 1e9, "ns")
    results.add(f"{name}_refused_per_core_second", flood.packets / spent if spent else float("inf"), "packets/s")


def compare_fwknop(results, mode):
    name = f"fwknop_{mode.replace('-', '_')}"
    with natlab.Lab() as lab:
        site = fwknop_site.Fwknop(lab, mode)
        times(results, f"{name}_time_to_open", fwknop_knocks(site, KNOCKS))
        for kind in ("random", "shaped"):
            cpu_per_packet(results, f"{name}_{kind}_garbage", site.process,
                           lambda: knocking.flood(lab.stranger, *flood_words(lab, kind, COST_RATE)))
        for kind in ("random", "shaped"):
            running = knocking.start_flood(lab.stranger, *flood_words(lab, kind, RATE))
            time.sleep(0.5)
            taken = fwknop_knocks(site, max(1, int(SECONDS / 3.5)))
            running.wait(60)
            results.note(str(knocking.Flood(running.text())))
            times(results, f"{name}_under_{kind}_flood", taken)
        site.stop()


def share_nat_fwknop(results):
    with natlab.Lab("port-restricted") as lab:
        site = fwknop_site.Fwknop(lab, "udp-server", open_seconds=30)
        other = lab.neighbour_behind(lab.client_nats[0])
        listener = lab.broker.socket(kind=1, bind=("0.0.0.0", fwknop_site.FIRST_PORT))
        listener.listen(8)
        before = knocking.connects(other, fwknop_site.FIRST_PORT)
        packet = site.packet(fwknop_site.FIRST_PORT, natlab.CLIENT)
        with lab.client.socket() as sender:
            fwknop_site.time_to_open(lab.client, fwknop_site.FIRST_PORT,
                                     lambda: sender.sendto(packet, (natlab.BROKER[0], fwknop_site.SPA_PORT)))
        results.add("fwknop_neighbour_behind_same_nat", f"{before} before, {knocking.connects(other, fwknop_site.FIRST_PORT)} after the victim's knock")
        site.stop()


# --- natt ----------------------------------------------------------------------------------


def natt_lab(mode, visibility):
    lab = natlab.Lab()
    site = natt_site.Site(lab, clients=PEOPLE)
    toml_edit.set_key(site.config("broker"), "spa", "mode", mode)
    toml_edit.set_key(site.config("broker"), "spa", "tcp_visibility", visibility)
    site.start_broker()
    return lab, site


def compare_natt(results, mode, visibility, *options):
    name = f"natt_{visibility}"
    lab, site = natt_lab(mode, visibility)
    with lab:
        crowd = lab.public_host("crowd", *knocking.CROWD)
        keys = knocking.key_files(site, PEOPLE)
        options = [*options, "--from", ",".join(knocking.CROWD)]
        # As fwknop's: a new socket every millisecond where the first SYN may come too early.
        if visibility == "ip":
            options += ["--attempts", ",".join(map(str, [*range(8), 100, 200, 400, 800, 1600]))]
        measured = knocking.knock(crowd, keys, min(KNOCKS, len(knocking.CROWD)), 10, *options)
        results.add(f"{name}_time_to_open_opened", f"{measured.opened}/{measured.made}")
        results.add(f"{name}_time_to_open_p50", measured.synack_p50, "ms")
        results.add(f"{name}_time_to_open_p99", measured.synack_p99, "ms")
        results.add(f"{name}_time_to_first_tls_octet_p50", measured.open_p50, "ms")
        time.sleep(11)  # the grants of before are over
        for kind in ("random", "shaped"):
            cpu_per_packet(results, f"{name}_{kind}_garbage", site.processes["broker"],
                           lambda: knocking.flood(lab.stranger, *natt_flood_words(site, kind, COST_RATE)))
        for kind in ("random", "shaped"):
            running = knocking.start_flood(lab.stranger, *natt_flood_words(site, kind, RATE))
            time.sleep(0.5)
            measured = knocking.knock(crowd, keys, int(SECONDS - 1) * 5, 5, *options)
            running.wait(60)
            results.note(str(knocking.Flood(running.text())))
            results.add(f"{name}_under_{kind}_flood_opened", f"{measured.opened}/{measured.made}")
            results.add(f"{name}_under_{kind}_flood_p50", measured.synack_p50, "ms")
            results.add(f"{name}_under_{kind}_flood_p99", measured.synack_p99, "ms")
            time.sleep(11)


def natt_flood_words(site, kind, rate):
    """Random octets, and knocks in shape whose frame is random: they reach the pre-filter."""
    lab = site.lab
    words = ["--to", natlab.BROKER[0], "--port", 443, "--seconds", SECONDS, "--rate", rate]
    if kind == "random":
        return [*words, "--random", "225:225"]
    path = lab.folder / "shaped"
    if not path.exists():
        knocking.save_knocks(lab.client, knocking.key_files(site, PEOPLE[:1]), path, 1)
    return [*words, "--payloads", path, "--stir", "27:59"]


def share_nat_natt(results):
    lab = natlab.Lab("port-restricted")
    with lab:
        site = natt_site.Site(lab, clients=("alice",))
        toml_edit.set_key(site.config("broker"), "spa", "mode", "tcp")
        toml_edit.set_key(site.config("broker"), "spa", "tcp_visibility", "syn")
        site.start_broker()
        other = lab.neighbour_behind(lab.client_nats[0])
        before = knocking.connects(other, 443)
        keys = knocking.key_files(site, ["alice"])
        assert knocking.knock(lab.client, keys, 1, 1, "--syn", "--no-udp").opened == 1
        results.add("natt_neighbour_behind_same_nat", f"{before} before, {knocking.connects(other, 443)} after the victim's knock")


def run(results):
    what = sys.argv[1] if len(sys.argv) > 1 else "all"
    if what in ("fwknop", "all"):
        proof.need(fwknopd="fwknop-server", fwknop="fwknop-client", iptables="iptables")
        for mode in ("pcap", "udp-server"):
            compare_fwknop(results, mode)
        share_nat_fwknop(results)
    if what in ("natt", "all"):
        compare_natt(results, "tcp", "syn", "--syn", "--no-udp")
        compare_natt(results, "udp-tcp", "ip", "--no-dns")
        share_nat_natt(results)


if __name__ == "__main__":
    proof.main(run)
