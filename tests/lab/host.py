# SPDX-License-Identifier: Apache-2.0
"""One host of the laboratory: a network namespace that lives as long as its descriptor.

No name is registered anywhere: when the laboratory's process ends, the kernel drops
the namespace with its interfaces, routes, nft tables and connection tracking.
"""
import array
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import threading
import time

import capture
import world

# linux/sockios.h, linux/ethtool.h
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17


class LabError(Exception):
    """A command of the laboratory failed; the text says which and why."""


class Process:
    """A program that runs on a host, its output in a log file."""

    def __init__(self, popen, log):
        self._popen = popen
        self.log = pathlib.Path(log)

    @property
    def pid(self):
        return self._popen.pid

    def poll(self):
        return self._popen.poll()

    def wait(self, timeout=None):
        return self._popen.wait(timeout)

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_for(self, line, timeout=10.0):
        """Waits until the log holds a whole line equal to `line`."""
        self.wait_until(lambda text: line in text.splitlines(), f"the line '{line}'", timeout)

    def wait_until(self, holds, what, timeout=10.0):
        """Waits until `holds(log text)`; fails at once when the program ends."""
        deadline = time.monotonic() + timeout
        while not holds(self.text()):
            if self.poll() is not None:
                raise LabError(f"{self.log.name} ended with status {self.poll()} before {what}:\n{self.text()[-4000:]}")
            if time.monotonic() > deadline:
                raise LabError(f"{self.log.name}: no {what} within {timeout} s:\n{self.text()[-4000:]}")
            time.sleep(0.02)

    def send_signal(self, number):
        """Signals the program and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def stop(self, number=signal.SIGTERM, timeout=10.0):
        """Asks the program to end, waits, and kills it when it does not; returns its status."""
        if self.poll() is None:
            self.send_signal(number)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.send_signal(signal.SIGKILL)
        status = self.wait()
        self.send_signal(signal.SIGKILL)  # Children that outlived their leader.
        return status


class Host:
    """A network namespace and what runs in it. Owned by a Lab; closed with it."""

    def __init__(self, name, log_folder, ipv6=False):
        self.name = name
        self.addresses = []
        self._log_folder = pathlib.Path(log_folder)
        self._started = []
        self._numbers = {}
        self.descriptor = self._new_namespace()
        self.sysctl("net/ipv6/conf/all/disable_ipv6", 0 if ipv6 else 1)
        self.sysctl("net/ipv6/conf/default/disable_ipv6", 0 if ipv6 else 1)
        if ipv6:
            self.sysctl("net/ipv6/conf/default/accept_dad", 0)
            self.sysctl("net/ipv6/conf/default/accept_ra", 0)
        self.sysctl("net/ipv4/conf/all/rp_filter", 0)
        self.sysctl("net/ipv4/conf/default/rp_filter", 0)
        self.ip("link set lo up")

    @staticmethod
    def _new_namespace():
        """Made in a thread that ends, so that no other code ever runs in it by mistake."""
        result = []

        def make():
            world.unshare_network()
            result.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not result:
            raise LabError("cannot make a network namespace")
        return result[0]

    @property
    def address(self):
        return self.addresses[0]

    @property
    def namespace(self):
        """The namespace's number, as `readlink /proc/PID/ns/net` shows it."""
        return os.stat(self.descriptor).st_ino

    @contextlib.contextmanager
    def inside(self):
        """The calling thread acts on this host: sockets made here stay here."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        world.setns(self.descriptor)
        try:
            yield
        finally:
            world.setns(before)
            os.close(before)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM, bind=None, timeout=2.0):
        """A socket of this host in the caller's hands."""
        with self.inside():
            made = socket.socket(family, kind)
        made.settimeout(timeout)
        if bind is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(bind)
        return made

    def sysctl(self, key, value):
        with self.inside():
            pathlib.Path("/proc/sys", key).write_text(str(value))

    def enter(self):
        """For a process between fork and exec: it runs here, and ends with its parent."""
        world.setns(self.descriptor)
        world.die_with_parent()

    def run(self, command, check=True, timeout=60, pass_fds=(), **options):
        """Runs a command (list, or text for the shell) to its end."""
        done = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True, timeout=timeout,
                              preexec_fn=self.enter, pass_fds=pass_fds, **options)
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def popen(self, command, log=None, **options):
        """Starts a command (list); its output goes to a log file. Start long-lived
        programs from the main thread: they end with the thread that started them."""
        path = self._log_path(log or os.path.basename(command[0]))
        with open(path, "ab") as file:
            popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                                     preexec_fn=self.enter, start_new_session=True, **options)
        process = Process(popen, path)
        self._started.append(process)
        return process

    def _log_path(self, name):
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        return self._log_folder / f"{self.name}-{name}{'' if number == 1 else f'-{number}'}.log"

    def ip(self, *lines):
        """Runs lines of `ip -batch`."""
        self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def without_offloads(self, interface):
        """Packets leave whole and with their checksums, as on a cable (ethtool -K INTERFACE tx off)."""
        setting = array.array("I", [ETHTOOL_STXCSUM, 0])
        request = struct.pack("16sP16x", interface.encode(), setting.buffer_info()[0])
        with self.socket() as asker:
            fcntl.ioctl(asker, SIOCETHTOOL, request)

    def nft(self, ruleset):
        self.run(["nft", "-f", "-"], input=ruleset)

    def counters(self, interface="eth0"):
        """Packets and bytes of an interface: {"rx": {"packets": ..}, "tx": {..}}."""
        shown = json.loads(self.run(["ip", "-j", "-s", "link", "show", "dev", interface]).stdout)
        return shown[0]["stats64"]

    def capture(self, interface="eth0", filter_text=""):
        """Records packets until `stop()`; a Capture with the path of the pcap file."""
        path = self._log_path(f"capture-{interface}").with_suffix(".pcap")
        recording = capture.Capture(self, interface, filter_text, path)
        self._started.append(recording)
        return recording

    def close(self):
        for each in reversed(self._started):
            each.stop(signal.SIGKILL)
        self._started.clear()
        os.close(self.descriptor)
