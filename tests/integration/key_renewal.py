#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SPA keys over their life, with the programs as processes on loopback: a device's renewal and a
broker's, files that come late, in the wrong order or out of a backup, and what the device's own
tool says when a broker may not say anything."""
import json
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAMS = {pathlib.Path(path).name: path for path in sys.argv[1:5]}
del sys.argv[1:5]


def free_ports(count):
    sockets = [(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()) for _ in range(count)]
    ports = []
    for udp, tcp in sockets:
        tcp.bind(("127.0.0.1", 0))
        ports.append(tcp.getsockname()[1])
        udp.bind(("127.0.0.1", ports[-1]))
    for pair in sockets:
        for each in pair:
            each.close()
    return ports


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class Program:
    """One program on a host of its own: a folder with its file, its state and its log."""

    def __init__(self, kind, folder, source):
        self.kind, self.folder, self.source = kind, folder, source
        self.config = folder / f"{kind}.toml"
        self.process = None
        self.runs = 0
        folder.mkdir()
        self.take_file()

    def take_file(self, source=None):
        """What an operator's copy does: the new file under the old name, 0600."""
        fresh = self.folder / "fresh"
        shutil.copy(source or self.source, fresh)
        text = fresh.read_text()
        fresh.write_text(f'[control]\nsocket = "{self.folder}/control.sock"\n' + text)
        fresh.chmod(0o600)
        fresh.rename(self.config)

    def start(self):
        self.runs += 1
        self.log_file = self.folder / f"log-{self.runs}"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen([PROGRAMS[self.kind], "--config", self.config], stdout=subprocess.PIPE,
                                            stderr=log, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise AssertionError(f"{self.kind} did not start:\n{self.log()}")

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        self.process.stdout.close()
        self.process = None

    def restart(self):
        self.stop()
        self.start()

    def log(self):
        return self.log_file.read_text()

    def says(self, text, seconds=10):
        until(lambda: text in self.log(), seconds, f"{self.kind} says {text!r}; it said:\n{self.log()}")

    def ask(self, command):
        done = subprocess.run([PROGRAMS["nattctl"], "--socket", self.folder / "control.sock", command, "--json"],
                              capture_output=True, text=True, timeout=20, check=True)
        return json.loads(done.stdout)

    def health(self):
        return " / ".join(self.ask("health")["details"])

    def is_connected(self):
        return any(peer["role"] == "broker" and peer["state"] == "connected"
                   for site in self.ask("sites")["sites"] for peer in site["peers"])

    def connects(self, seconds=10):
        until(self.is_connected, seconds, f"{self.kind} connects; its log:\n{self.log()}")

    def check(self):
        done = subprocess.run([PROGRAMS[self.kind], "--config", self.config, "--check"], capture_output=True, text=True,
                              timeout=20, check=True)
        return done.stderr


class KeyRenewal(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = pathlib.Path(temporary.name)
        self.site = folder / "site"
        port, dns_port, gateway_port = free_ports(3)
        self.nattctl("init", self.site, "--site", "hq", "--broker-address", f"127.0.0.1:{port}", "--broker-dns-port",
                     dns_port, "--gateway", f"gw1=127.0.0.1:{gateway_port}", "--client", "alice", "--client", "bob")
        self.broker = Program("broker", folder / "broker-host", self.site / "broker.toml")
        self.gateway = Program("gateway", folder / "gateway-host", self.site / "gateway-gw1.toml")
        self.client = Program("client", folder / "client-host", self.site / "client-alice.toml")
        for program in (self.broker, self.gateway, self.client):
            self.addCleanup(program.stop)
        self.broker.start()
        self.client.start()
        self.client.connects()

    def nattctl(self, *arguments):
        done = subprocess.run([PROGRAMS["nattctl"], *map(str, arguments)], capture_output=True, text=True, timeout=60,
                              check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def give_roster(self):
        fresh = self.broker.folder / "roster.fresh"
        shutil.copy(self.site / "roster", fresh)
        fresh.rename(self.broker.folder / "roster")

    def renew_client(self):
        """Alice's second generation is made and the broker knows; her file is still the first one."""
        shutil.copy(self.site / "client-alice.toml", self.site / "backup.toml")
        self.nattctl("renew", self.site, "alice")
        self.give_roster()
        self.broker.says("natt.roster.accepted site=hq number=2")

    def use_new_key(self):
        self.client.take_file()
        self.client.restart()
        self.client.says("key_generation=2")
        self.broker.says("natt.spa.key_retired device=spiffe://hq/client/alice generation=1 used=2")

    def test_the_old_key_of_a_device_works_until_the_new_one_was_used_and_not_after(self):
        self.renew_client()
        self.client.restart()
        self.client.says("key_generation=1")
        until(lambda: "newest this site knows is 2" in self.client.health(), 5, "health names the newer generation")

        self.use_new_key()
        retired = until(lambda: list(self.broker.folder.glob("state-*/retired-hq")), 5, "a file of retired keys")
        until(lambda: retired[0].read_text().startswith("spiffe://hq/client/alice 1 "), 5, "the key in it")

    def test_a_backup_with_a_retired_key_is_told_why_it_is_refused(self):
        self.renew_client()
        self.use_new_key()
        reason = "SPA key generation 1 of this device's file was retired when generation 2 was used; the newest this " \
                 "site knows is 2: copy the device's newest file here"

        self.client.take_file(self.site / "backup.toml")
        self.assertIn(reason, self.client.check())
        # The broker remembers over a restart.
        self.broker.restart()
        self.client.restart()
        until(lambda: reason in self.client.health(), 5, "health says why")
        time.sleep(2)
        self.assertFalse(self.client.is_connected())

        self.client.take_file()
        self.assertEqual(self.client.check(), "")
        self.client.restart()
        self.client.connects()

    def test_a_file_that_comes_before_the_roster_reaches_the_broker_at_the_second_try(self):
        self.nattctl("renew", self.site, "alice")
        self.client.take_file()
        self.client.restart()
        self.client.connects()
        self.assertIn("key_generation=1", self.client.log())

    def test_a_broker_renews_its_key_while_it_serves_and_nobody_notices(self):
        self.gateway.start()
        self.gateway.connects()
        old_client = self.site / "old-client.toml"
        shutil.copy(self.site / "client-alice.toml", old_client)
        pid = self.broker.process.pid

        self.nattctl("renew", self.site, self.broker_name())
        self.broker.take_file()
        self.broker.says("natt.spa.renewed site=hq generation=2")
        self.broker.says("natt.roster.accepted site=hq number=2")
        self.client.says("natt.roster.accepted site=hq number=2")
        self.assertNotIn("natt.signal.lost", self.client.log())
        self.assertNotIn("natt.signal.lost", self.gateway.log())

        # A device with the roster of before, and nothing remembered, knocks with the broker's old key at its first try.
        self.client.stop()
        shutil.rmtree(next(self.client.folder.glob("state-*")))
        self.client.take_file(old_client)
        self.client.start()
        self.client.connects()
        self.assertNotIn("natt.signal.lost", self.client.log())
        self.assertNotIn("own_key_retired", self.broker.log())

        # Everybody has used the new one, but Bob, who is off: both pairs stay. Without Bob the old one goes.
        for device in (self.client, self.gateway):
            device.restart()
            device.connects()
            self.assertNotIn("natt.signal.lost", device.log())
        until(lambda: "2 of 3 devices of site hq have used this broker's newest SPA key" in self.broker.health(), 5,
              "health counts the devices")
        self.assertNotIn("own_key_retired", self.broker.log())
        self.nattctl("revoke", self.site, "bob")
        self.give_roster()
        self.broker.says("natt.spa.own_key_retired site=hq")
        self.assertEqual(self.broker.process.pid, pid)
        self.client.restart()
        self.client.connects()

    def broker_name(self):
        roster = self.nattctl("--socket", self.client.folder / "control.sock", "sites", "--json")
        return next(peer["name"] for peer in json.loads(roster)["sites"][0]["peers"] if peer["role"] == "broker")

    def test_a_roster_that_comes_before_the_brokers_own_file_costs_one_try(self):
        self.nattctl("renew", self.site, self.broker_name())
        self.give_roster()
        self.client.says("natt.roster.accepted site=hq number=2")
        until(lambda: "lists SPA key generation 2 of this broker" in self.broker.health(), 5, "health says so")
        self.client.restart()
        self.client.connects()
        self.broker.take_file()
        self.broker.says("natt.spa.renewed site=hq generation=2")
        until(lambda: "lists SPA key generation" not in self.broker.health(), 5, "and no more")

    def test_revocation_ends_a_live_channel_within_a_second(self):
        self.nattctl("revoke", self.site, "alice")
        self.give_roster()
        # Half a second of it is the watch on the file.
        until(lambda: "natt.broker.revoked device=spiffe://hq/client/alice" in self.broker.log(), 1.5, "revoked")
        until(lambda: not self.client.is_connected(), 1, "the channel ends")


if __name__ == "__main__":
    unittest.main(verbosity=2)
