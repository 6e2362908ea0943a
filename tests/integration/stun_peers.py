#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our STUN against independent implementations, on loopback.

usage: stun_peers.py EXAMPLE_QUERY_STUN STUN_PACKETS

coturn's turnserver answers examples/query_stun; tshark decodes what we send.
"""

import re
import socket
import subprocess
import sys
import tempfile
import time
import unittest

from free_port import free_port

QUERY, PACKETS = sys.argv[1:3]


def query(target):
    return subprocess.run([QUERY, target], capture_output=True, text=True, timeout=20)


class Coturn(unittest.TestCase):
    def setUp(self):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(f"{self.folder.name}/log", "w+")
        self.server = subprocess.Popen(
            ["turnserver", "-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--log-file", "stdout",
             "--pidfile", f"{self.folder.name}/pid", "--listening-ip", "127.0.0.1", "--listening-port", str(self.port)],
            cwd=self.folder.name, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def tearDown(self):
        self.server.kill()
        self.server.wait()
        self.log.close()
        self.folder.cleanup()

    def test_coturn_tells_the_mapped_address(self):
        # The client's own retransmissions bridge the time that the server needs to start.
        deadline = time.monotonic() + 20
        result = query(f"127.0.0.1:{self.port}")
        while result.returncode != 0 and time.monotonic() < deadline:
            result = query(f"127.0.0.1:{self.port}")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"^mapped 127\.0\.0\.1:[1-9][0-9]* rtt_us=[0-9]+\n$")


class Alone(unittest.TestCase):
    def test_no_server_is_a_clear_failure(self):
        result = query(f"127.0.0.1:{free_port()}")
        self.assertEqual(result.returncode, 1)
        self.assertIn("STUN Binding Request failed: no answer from 127.0.0.1:", result.stderr)

    def test_no_address_is_a_clear_failure(self):
        result = query("nonsense")
        self.assertEqual(result.returncode, 2)
        self.assertIn("STUN client initialization failed: no broker address is configured", result.stderr)


class Tshark(unittest.TestCase):
    TYPES = {"request": "0x0001", "answer": "0x0101", "check": "0x0001", "check-answer": "0x0101"}
    CRC_GOOD = "1"

    def tshark(self, packets, *arguments):
        dump = "".join(f"{i:04x} {octets[i:i + 16].hex(' ')}\n" for octets in packets for i in range(0, len(octets), 16))
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["text2pcap", "-q", "-u", "40000,3478", "-", f"{folder}/stun.pcap"], input=dump, text=True,
                           check=True, capture_output=True)
            return subprocess.run(["tshark", "-r", f"{folder}/stun.pcap", *arguments], text=True, check=True,
                                  capture_output=True).stdout

    def test_tshark_reads_every_packet_as_stun_and_finds_nothing_malformed(self):
        lines = subprocess.run([PACKETS], capture_output=True, text=True, check=True).stdout.splitlines()
        names, packets = zip(*((name, bytes.fromhex(digits)) for name, digits in map(str.split, lines)))
        self.assertEqual(names, ("request", "answer", "answer", "check", "check-answer"))

        fields = self.tshark(packets, "-o", "stun.stunversion:RFC5389/8489", "-T", "fields", "-e", "frame.protocols",
                             "-e", "stun.type", "-e", "stun.att.crc32.status").splitlines()
        self.assertEqual(len(fields), len(packets))
        for name, line in zip(names, fields):
            protocols, kind, crc = line.split()
            with self.subTest(packet=name):
                self.assertTrue(protocols.endswith("udp:stun"), protocols)
                self.assertEqual(kind, self.TYPES[name])
                self.assertEqual(crc, self.CRC_GOOD)
        self.assertEqual(self.tshark(packets, "-Y", "_ws.malformed"), "")
        self.assertNotRegex(self.tshark(packets, "-V"), re.compile("malformed|bogus|incorrect", re.IGNORECASE))

        # The judge can say no.
        bent = packets[0][:-30] + bytes([packets[0][-30] ^ 1]) + packets[0][-29:]
        self.assertNotEqual(self.tshark([bent], "-T", "fields", "-e", "stun.att.crc32.status").strip(), self.CRC_GOOD)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
