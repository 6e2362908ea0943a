# SPDX-License-Identifier: Apache-2.0
"""Knocks and floods for the laboratory: drives lab_knocker and lab_flood (tests/support),
and makes what they send. Both send only inside the laboratory's namespaces."""
import base64
import os
import pathlib
import re
import struct
import sys

import fetch
import natlab
import natt_site
import rogue
from host import LabError


def tool(name):
    """A program of tests/support: $NATT_TOOLS, else beside the programs under test."""
    folder = pathlib.Path(os.environ.get("NATT_TOOLS", natt_site.programs().parent / "tests/support"))
    if not os.access(folder / name, os.X_OK):
        sys.exit(f"natlab: no program {folder / name}: build it, or set NATT_TOOLS to the folder of the build's tests/support")
    return str(folder / name)


class KnockKeys(rogue.Papers):
    """One client's keys for the site's broker, as a file for lab_knocker."""

    def path(self):
        broker = next(each for each in self._devices if each[1] == [rogue.BROKER_ROLE])
        spa_key = rogue.fields_of(broker[3][0])
        generation, secret = self._table["spa_keys"][0].split(":", 1)
        lines = {
            "device": self.identity,
            "verifier": self.identity.rsplit("/", 2)[0] + "/broker/" + broker[2][0].decode(),
            "port": 443,
            "generation": generation,
            "secret": base64.b64decode(secret).hex(),
            "peer": spa_key[2][0].hex(),
            "psk": base64.b64decode(self._table["psk"]).hex(),
            "mask": broker[4][0].hex(),
        }
        return self._write("knock.keys", "".join(f"{name} {value}\n" for name, value in lines.items()))


# Addresses for a host that plays many: a grant by address is good for one connection, so each knocks from its own.
CROWD = [f"{network}.{number}" for network in ("192.0.2", "203.0.113", "198.51.100") for number in range(110, 250)]


def key_files(site, clients):
    return [word for client in clients for word in ("--keys", str(KnockKeys(site, client).path()))]


RESULT = re.compile(r"^knocks (\d+) opened (\d+) synack p50 (\S+) p99 (\S+) ms open p50 (\S+) p99 (\S+) max (\S+) ms$", re.M)


class Knocks:
    """What lab_knocker measured."""

    def __init__(self, text):
        found = RESULT.search(text)
        if not found:
            raise LabError(f"lab_knocker said no result:\n{text}")
        self.made, self.opened = int(found[1]), int(found[2])
        self.synack_p50, self.synack_p99, self.open_p50, self.open_p99, self.open_max = map(float, found.groups()[2:])

    @property
    def share(self):
        return self.opened / self.made

    def __str__(self):
        return (f"{self.opened}/{self.made} opened ({self.share:.4%}), SYN-ACK p50 {self.synack_p50} p99 {self.synack_p99} ms, "
                f"open p50 {self.open_p50} p99 {self.open_p99} max {self.open_max} ms")


def start_knocks(host, keys, count, rate, *options, to=natlab.BROKER[0]):
    """Starts lab_knocker; its Process. Read it with Knocks(process.text()) after wait()."""
    return host.popen([tool("lab_knocker"), "--to", to, *keys, "--count", str(count), "--rate", str(rate), *options])


def knock(host, keys, count, rate, *options, to=natlab.BROKER[0]):
    process = start_knocks(host, keys, count, rate, *options, to=to)
    if process.wait(count / rate + 60) != 0:
        raise LabError(process.text())
    return Knocks(process.text())


def save_knocks(host, keys, path, count):
    """Writes UDP knocks that nobody has sent yet as payloads; returns them."""
    host.run([tool("lab_knocker"), "--save", str(path), "--count", str(count), *keys])
    return read_payloads(path)


def connects(host, port, timeout=1.5):
    """What a plain connection to the broker meets: "accepted", "refused" or "silence"."""
    try:
        fetch.connect(host, port, natlab.BROKER[0], timeout=timeout).close()
        return "accepted"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silence"


# --- floods --------------------------------------------------------------------------------


def write_payloads(path, payloads):
    with open(path, "wb") as file:
        for each in payloads:
            file.write(struct.pack(">H", len(each)) + each)
    return path


def read_payloads(path):
    content, payloads, at = pathlib.Path(path).read_bytes(), [], 0
    while at < len(content):
        size = struct.unpack_from(">H", content, at)[0]
        payloads.append(content[at + 2:at + 2 + size])
        at += 2 + size
    return payloads


SENT_LINE = re.compile(r"^sent (\d+) packets (\d+) octets (\S+) s (\S+) packets/s (\S+) cpu-s$", re.M)


class Flood:
    """What lab_flood sent."""

    def __init__(self, text):
        found = SENT_LINE.search(text)
        if not found:
            raise LabError(f"lab_flood said no result:\n{text}")
        self.packets, self.octets = int(found[1]), int(found[2])
        self.seconds, self.rate, self.cpu = map(float, found.groups()[2:])
        refused = re.search(r"^refused (\d+)$", text, re.M)
        self.refused = int(refused[1]) if refused else 0

    def __str__(self):
        return f"{self.packets} packets at {self.rate:.0f}/s, {self.octets / self.packets:.0f} octets each, sender {self.cpu:.2f} CPU-s"


def start_flood(host, *options):
    return host.popen([tool("lab_flood"), *map(str, options)])


def flood(host, *options, timeout=600):
    process = start_flood(host, *options)
    if process.wait(timeout) != 0:
        raise LabError(process.text())
    return Flood(process.text())
