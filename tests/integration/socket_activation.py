#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A broker on sockets that a service manager holds: what a stranger sees of its ports is the
same while it runs, after kill -9, and after the restart.

    socket_activation.py BROKER NATTCTL
"""
import fcntl
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

NATTCTL = sys.argv.pop()
BROKER = sys.argv.pop()


def bound(kind):
    held = socket.socket(socket.AF_INET6, kind)
    held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    held.bind(("::", 0))
    if kind == socket.SOCK_STREAM:
        held.listen(64)
    return held


def tcp_state(port):
    """What a plain SYN meets: "open", "closed", or "filtered" when nothing comes back."""
    with socket.socket() as probe:
        probe.settimeout(0.4)
        try:
            probe.connect(("127.0.0.1", port))
            return "open"
        except ConnectionRefusedError:
            return "closed"
        except socket.timeout:
            return "filtered"


def udp_state(port):
    """ "closed" when the kernel says that nobody listens, else "open|filtered"."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.settimeout(0.2)
        probe.send(b"anybody there?")
        try:
            probe.recv(64)
            return "answered"
        except ConnectionRefusedError:
            return "closed"
        except socket.timeout:
            return "open|filtered"


class SocketActivation(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name) / "hq"
        # One number for UDP and TCP: try until both are free.
        for _ in range(100):
            self.tcp = bound(socket.SOCK_STREAM)
            self.port = self.tcp.getsockname()[1]
            self.udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                self.udp.bind(("::", self.port))
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
        self.dns = bound(socket.SOCK_DGRAM)
        self.dns_port = self.dns.getsockname()[1]
        for held in (self.tcp, self.udp, self.dns):
            self.addCleanup(held.close)
        subprocess.run([NATTCTL, "init", self.folder, "--site", "hq", "--broker-address", "127.0.0.1", "--gateway", "gw1",
                        "--client", "alice"], check=True, capture_output=True, timeout=60)
        config = self.folder / "broker.toml"
        text = re.sub(r"(?ms)^\[listen\]\n.*?(?=^\[|\Z)", "", config.read_text())
        config.write_text(f"{text}\n[listen]\nport = {self.port}\ndns_port = {self.dns_port}\n")

    def start(self):
        """The broker with the three sockets as descriptors 3, 4 and 5, as sd_listen_fds(3) has it."""
        # Copies far from 3, 4 and 5, which the shell then makes of them.
        held = [fcntl.fcntl(held.fileno(), fcntl.F_DUPFD, 20) for held in (self.udp, self.dns, self.tcp)]
        script = ('exec 3<&%d 4<&%d 5<&%d %d<&- %d<&- %d<&-; export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=natt:natt:natt; exec "$0" --config "$1"'
                  % tuple(held + held))
        process = subprocess.Popen(["bash", "-c", script, BROKER, str(self.folder / "broker.toml")], pass_fds=held,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for copy in held:
            os.close(copy)
        line = process.stdout.readline()
        if line.strip() != "ready":
            process.kill()
            self.fail(process.stderr.read())
        return process

    def states(self):
        return tcp_state(self.port), udp_state(self.port), udp_state(self.dns_port)

    def test_nothing_changes_when_the_broker_is_killed(self):
        process = self.start()
        before = self.states()
        self.assertEqual(before[1:], ("open|filtered", "open|filtered"))
        process.send_signal(signal.SIGKILL)
        log = process.communicate(timeout=30)[1]
        self.assertNotIn("natt.broker.socket_unused", log)
        # Where eBPF is allowed the listener is hidden too, and stays so without its process.
        self.assertEqual(before[0], "filtered" if "kernel_gate state=on" in log else "open", log)
        self.assertEqual(self.states(), before)
        process = self.start()
        self.assertEqual(self.states(), before)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(self.states(), before)

    def test_without_the_holder_the_port_closes(self):
        """The control: the probes do see the difference."""
        process = self.start()
        for held in (self.tcp, self.udp, self.dns):
            held.close()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        self.assertEqual(self.states(), ("closed", "closed", "closed"))


if __name__ == "__main__":
    unittest.main()
