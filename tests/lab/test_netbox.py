#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The laboratory's impaired links do what they are told."""
import contextlib
import hashlib
import os
import signal
import socket
import threading
import time
import unittest

import natlab
import suite


class Netbox(unittest.TestCase):
    def open(self, nat="none", **options):
        lab = self.enterContext(natlab.Lab(client_nat=nat))
        self.box = lab.impair("client", **options)
        self.server = self.enterContext(lab.broker.socket(bind=(natlab.BROKER[0], 7000)))
        self.inside = self.enterContext(lab.client.socket())
        self.inside.connect((natlab.BROKER[0], 7000))
        return lab

    def round_trip(self):
        start = time.monotonic()
        self.inside.send(b"ping")
        self.server.sendto(b"pong", self.server.recvfrom(64)[1])
        self.inside.recv(64)
        return time.monotonic() - start

    def test_delay(self):
        self.open(delay_ms=40)
        self.round_trip()  # ARP
        took = min(self.round_trip() for _ in range(5))
        self.assertGreater(took, 0.080)
        self.assertLess(took, 0.100)

    def test_delay_in_front_of_a_nat(self):
        self.open("port-restricted", delay_ms=20)
        self.round_trip()
        self.assertGreater(self.round_trip(), 0.040)

    def test_loss(self):
        self.open(loss=0.2)
        self.server.settimeout(0.1)
        sent, arrived = 2000, 0
        for _ in range(sent // 100):  # No more at once than a socket's buffer holds.
            for _ in range(100):
                self.inside.send(b"x" * 100)
            with contextlib.suppress(TimeoutError):
                while self.server.recv(200):
                    arrived += 1
        # Binomial: a standard deviation is 18 packets.
        self.assertAlmostEqual(arrived, sent * 0.8, delta=100)

    def test_rate_of_a_tcp_transfer_and_its_content(self):
        lab = self.open("port-restricted", rate_mbit=40, delay_ms=5)
        listener = self.enterContext(lab.broker.socket(kind=socket.SOCK_STREAM, bind=(natlab.BROKER[0], 80)))
        listener.listen()
        payload = os.urandom(5_000_000)

        def serve():
            with listener.accept()[0] as accepted:
                accepted.sendall(payload)

        thread = threading.Thread(target=serve)
        thread.start()
        with lab.client.socket(kind=socket.SOCK_STREAM, timeout=20) as caller:
            start = time.monotonic()
            caller.connect((natlab.BROKER[0], 80))
            digest, length = hashlib.sha256(), 0
            while piece := caller.recv(1 << 16):
                digest.update(piece)
                length += len(piece)
        thread.join()
        rate = length * 8 / (time.monotonic() - start) / 1e6
        self.assertEqual(digest.digest(), hashlib.sha256(payload).digest())
        self.assertGreater(rate, 20)
        self.assertLess(rate, 41)

    def test_blackout_and_its_end(self):
        self.open()
        self.round_trip()
        self.box.send_signal(signal.SIGUSR1)
        time.sleep(0.1)
        self.inside.send(b"lost")
        self.server.settimeout(0.3)
        with self.assertRaises(TimeoutError):
            self.server.recv(64)
        self.box.send_signal(signal.SIGUSR2)
        time.sleep(0.1)
        self.server.settimeout(2.0)
        self.round_trip()


if __name__ == "__main__":
    suite.main()
