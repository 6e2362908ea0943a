#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What nmap sees of a host with the broker up, over IPv4 and IPv6.

    tests/long/spa_nmap.py [identical] [bare]      both by default

identical   with the documented host policy: every scan's output with the broker up is the same as without it
bare        without the policy: 443 is `filtered` or `open|filtered` in every scan, never open, closed or unfiltered

NATT_POLICY   the nftables file (the one that OPERATIONS.md names)
NATT_SPA_MODE, NATT_TCP_VISIBILITY   of the broker (tcp, syn)
NATT_NMAP_SCANS   names of SCANS to run (all)
"""
import os
import pathlib
import sys
import xml.etree.ElementTree

import proof
import natlab
import natt_site
import toml_edit

TOP = proof.HERE.parents[1]
POLICY = os.environ.get("NATT_POLICY", str(TOP / "packaging/nftables/natt-hidden.nft"))
MODE = os.environ.get("NATT_SPA_MODE", "tcp")
VISIBILITY = os.environ.get("NATT_TCP_VISIBILITY", "syn")
TCP_PORTS, UDP_PORTS = "22,53,80,443,444,8443", "53,123,443,444,500,33434"
# -Pn: a silent host is scanned too. -n: nobody to ask for names here.
COMMON = ["nmap", "-Pn", "-n", "--reason", "--max-retries", "2"]
SCANS = {
    "syn": ["-sS", "-p", TCP_PORTS],
    "connect": ["-sT", "-p", TCP_PORTS],
    "ack": ["-sA", "-p", TCP_PORTS],
    "fin": ["-sF", "-p", TCP_PORTS],
    "null": ["-sN", "-p", TCP_PORTS],
    "xmas": ["-sX", "-p", TCP_PORTS],
    "version": ["-sS", "-sV", "--version-all", "-O", "-p", TCP_PORTS],
    "udp": ["-sU", "-p", UDP_PORTS],
    "udp-version": ["-sU", "-sV", "--version-all", "-O", "-p", UDP_PORTS],
}
# What differs between two scans of one host, too.
TIMES = ("start", "startstr", "end", "endstr", "elapsed", "time", "timestr", "starttime", "endtime", "summary")


def normalised(path):
    """The XML without what a clock or a generator puts into it."""
    root = xml.etree.ElementTree.parse(path).getroot()
    for element in root.iter():
        for name in TIMES:
            element.attrib.pop(name, None)
    root.attrib.pop("args", None)
    for parent in root.iter():
        for child in list(parent):
            if child.tag in ("times", "runstats", "taskprogress", "taskbegin", "taskend"):
                parent.remove(child)
    return xml.etree.ElementTree.tostring(root, encoding="unicode")


def states(path):
    """{(protocol, port): state}; a group of ports that nmap folds together counts for each of them."""
    root = xml.etree.ElementTree.parse(path).getroot()
    found = {}
    for port in root.iter("port"):
        found[port.get("protocol"), int(port.get("portid"))] = port.find("state").get("state")
    for extra in root.iter("extraports"):
        for reason in extra.iter("extrareasons"):
            for number in numbers(reason.get("ports", "")):
                found.setdefault((reason.get("proto"), number), extra.get("state"))
    return found


def numbers(text):
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


class Scanned:
    """One laboratory whose broker host is scanned in every way at once."""

    def __init__(self, name, policy, broker):
        self.name = name
        self.lab = natlab.Lab(ipv6=True)
        site = natt_site.Site(self.lab)
        toml_edit.set_key(site.config("broker"), "spa", "mode", MODE)
        toml_edit.set_key(site.config("broker"), "spa", "tcp_visibility", VISIBILITY)
        if policy:
            self.lab.broker.nft(policy)
        self.site = site
        if broker:
            site.start_broker()
        self.scans = {}

    def start(self, wanted):
        for scan, words in SCANS.items():
            for family, target in (("v4", natlab.BROKER[0]), ("v6", natlab.ipv6_of(natlab.BROKER[0]))):
                if scan in wanted:
                    path = self.lab.folder / f"{scan}-{family}.xml"
                    command = [*COMMON, *words, *(["-6"] if family == "v6" else []), "-oX", str(path), target]
                    self.scans[f"{scan}_{family}"] = (self.lab.stranger.popen(command, log=f"{scan}-{family}"), path)

    def wait(self):
        for name, (process, path) in self.scans.items():
            if process.wait(3600) != 0:
                raise proof.LabError(f"nmap {name}: {process.text()[-2000:]}")
            yield name, path


def identical(results, wanted):
    policy = pathlib.Path(POLICY).read_text(encoding="ascii")
    without, with_broker = Scanned("without", policy, False), Scanned("with", policy, True)
    with without.lab, with_broker.lab:
        for each in (without, with_broker):
            each.start(wanted)
        for (name, one), (_, other) in zip(without.wait(), with_broker.wait()):
            same = normalised(one) == normalised(other)
            results.add(f"identical_{name}", int(same), "", ("==", 1))
            if not same:
                results.note(f"without: {states(one)}")
                results.note(f"with:    {states(other)}")
        alive(results, with_broker)


def bare(results, wanted):
    scanned = Scanned("bare", None, True)
    with scanned.lab:
        scanned.start(wanted)
        for name, path in scanned.wait():
            found = {key: state for key, state in states(path).items() if key[1] == 443 or key == ("udp", 53)}
            hidden = bool(found) and all(state in ("filtered", "open|filtered") for state in found.values())
            results.note(f"bare {name}: {states(path)}")
            results.add(f"bare_{name}_hidden", int(hidden), "", ("==", 1))
        alive(results, scanned)


def alive(results, scanned):
    broker = scanned.site.processes["broker"]
    results.add(f"{scanned.name}_broker_alive", int(broker.poll() is None), "", ("==", 1))
    results.add(f"{scanned.name}_broker_log_lines", len(broker.text().splitlines()), "", ("<=", 50))


def run(results):
    proof.need(nmap="nmap")
    what = sys.argv[1:] or ["identical", "bare"]
    wanted = os.environ.get("NATT_NMAP_SCANS", ",".join(SCANS)).split(",")
    if "identical" in what:
        identical(results, wanted)
    if "bare" in what:
        bare(results, wanted)


if __name__ == "__main__":
    proof.main(run)
