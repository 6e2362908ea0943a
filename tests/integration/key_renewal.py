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
import threading
import time
import unittest

from free_port import free_ports

PROGRAMS = {pathlib.Path(path).name: path for path in sys.argv[1:5]}
del sys.argv[1:5]


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class EchoServer:
    """What stands behind the gateway: gives back what it gets."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.echo, args=(connection,), daemon=True).start()

    @staticmethod
    def echo(connection):
        with connection:
            try:
                while octets := connection.recv(65536):
                    connection.sendall(octets)
            except OSError:
                pass

    def close(self):
        self.socket.close()


def echo_once(connection, octets):
    connection.sendall(octets)
    answer = b""
    while len(answer) < len(octets):
        if not (piece := connection.recv(65536)):
            break
        answer += piece
    return answer == octets


class LiveStream:
    """One connection through a tunnel that goes on all the time; says whether it ever failed."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.rounds, self.failure, self.wanted = 0, None, True
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while self.wanted:
                if not echo_once(self.connection, b"x" * 20000):
                    raise OSError("cut short")
                self.rounds += 1
        except OSError as error:
            self.failure = error

    def stop(self):
        self.wanted = False
        self.thread.join(10)
        self.connection.close()


class Program:
    """One program on a host of its own: a folder with its file, its state and its log."""

    def __init__(self, kind, folder, source, more=""):
        self.kind, self.folder, self.source, self.more = kind, folder, source, more
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
        fresh.write_text(f'[control]\nsocket = "{self.folder}/control.sock"\n' + text + self.more)
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
        port, dns_port, gateway_port, *self.forwards = free_ports(5)
        self.echo = EchoServer()
        self.addCleanup(self.echo.close)
        self.nattctl("init", self.site, "--site", "hq", "--broker-address", f"127.0.0.1:{port}", "--broker-dns-port",
                     dns_port, "--gateway", f"gw1=127.0.0.1:{gateway_port}", "--client", "alice", "--client", "bob",
                     "--allow", f"tcp/127.0.0.1:{self.echo.port}")
        self.broker = Program("broker", folder / "broker-host", self.site / "broker.toml")
        self.gateway = Program("gateway", folder / "gateway-host", self.site / "gateway-gw1.toml")
        self.client = Program("client", folder / "client-host", self.site / "client-alice.toml", self.forward(0))
        self.bob = Program("client", folder / "bob-host", self.site / "client-bob.toml", self.forward(1))
        for program in (self.broker, self.gateway, self.client, self.bob):
            self.addCleanup(program.stop)
        self.broker.start()
        self.client.start()
        self.client.connects()

    def forward(self, number):
        return f'\n[[forward]]\nlisten = "127.0.0.1:{self.forwards[number]}"\ntarget = "127.0.0.1:{self.echo.port}"\n'

    def reaches_the_echo(self, number):
        with socket.create_connection(("127.0.0.1", self.forwards[number]), timeout=10) as connection:
            return echo_once(connection, b"hello")

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

    def renewed_gateway(self):
        self.nattctl("renew", self.site, "gw1")
        self.gateway.take_file()
        self.gateway.says("natt.spa.renewed site=hq generation=2")
        self.gateway.says("natt.roster.accepted site=hq number=2")

    def test_a_gateway_renews_its_keys_under_load_without_a_failed_connection(self):
        self.gateway.start()
        self.gateway.connects()
        self.bob.start()
        pid = self.gateway.process.pid
        live = LiveStream(self.forwards[1])
        self.addCleanup(live.stop)
        until(lambda: live.rounds > 10, 10, "bob's stream runs")
        old_client = self.site / "old-client.toml"
        shutil.copy(self.site / "client-alice.toml", old_client)

        # Alice comes with a new tunnel again and again, before the renewal, with its file taken, with its roster out.
        failures, stages = [], {"before": 0, "file": 0, "roster": 0}
        stage, wanted = "before", True

        def come_and_go():
            while wanted:
                came = stage
                self.client.restart()
                if not self.reaches_the_echo(0) or "natt.race.lost" in self.client.log():
                    failures.append((came, self.client.log()))
                stages[came] += 1

        visitor = threading.Thread(target=come_and_go, daemon=True)
        visitor.start()
        try:
            until(lambda: stages["before"] >= 3, 20, "alice came before")
            self.renewed_gateway()
            stage = "file"
            until(lambda: stages["file"] >= 3, 20, "alice came between")
            self.give_roster()
            self.broker.says("natt.roster.accepted site=hq number=2")
            stage = "roster"
            until(lambda: stages["roster"] >= 5, 20, "alice came after")
        finally:
            wanted = False
            visitor.join(30)
        self.assertEqual(failures, [])
        self.assertIsNone(live.failure)
        self.assertNotIn("natt.tunnel.lost", self.bob.log())
        self.assertNotIn("natt.signal.lost", self.gateway.log())
        self.assertEqual(self.gateway.process.pid, pid)

        # Bob's tunnel is the one from before: he has not used the new pair, so the old one stays, for Alice's old file.
        self.assertNotIn("own_key_retired", self.gateway.log())
        self.assertIn("1 of 2 clients of site hq have used this gateway's newest SPA key", self.gateway.health())
        self.broker.stop()  # from whom she would learn the new key
        self.client.stop()
        shutil.rmtree(next(self.client.folder.glob("state-*")))
        self.client.take_file(old_client)
        self.client.start()
        self.assertTrue(self.reaches_the_echo(0))
        self.assertNotIn("natt.race.lost", self.client.log())

        live.stop()
        self.assertIsNone(live.failure)

    def test_a_gateway_retires_its_older_pair_for_good_when_every_client_has_used_the_newer(self):
        self.gateway.start()
        self.gateway.connects()
        old_client = self.site / "old-client.toml"
        shutil.copy(self.site / "client-alice.toml", old_client)
        self.renewed_gateway()
        self.give_roster()
        self.client.says("natt.roster.accepted site=hq number=2")
        self.bob.start()
        self.bob.says("natt.roster.accepted site=hq number=2")
        # Tunnels that they began before they knew go with the older pair.
        for number, client in enumerate((self.client, self.bob)):
            self.assertNotIn("own_key_retired", self.gateway.log())
            client.restart()
            self.assertTrue(self.reaches_the_echo(number))
        self.gateway.says("natt.spa.own_key_retired site=hq reason=\"every device has used the newer one\"")
        retired = until(lambda: list(self.gateway.folder.glob("state-*/retired-hq")), 5, "a file of retired keys")
        until(lambda: retired[0].read_text().startswith("spiffe://hq/gateway/gw1 1 "), 5, "the pair in it")

        # Its file holds both pairs still; a restart does not bring the older one back.
        self.gateway.restart()
        self.gateway.connects()
        self.assertEqual(self.gateway.health().count("newest SPA key"), 0)
        self.broker.stop()
        self.client.stop()
        shutil.rmtree(next(self.client.folder.glob("state-*")))
        self.client.take_file(old_client)
        self.client.start()
        with socket.create_connection(("127.0.0.1", self.forwards[0]), timeout=10) as connection:
            connection.settimeout(1.5)
            connection.sendall(b"hello")
            with self.assertRaises(TimeoutError):
                connection.recv(5)

    def test_a_roster_that_comes_before_the_gateways_own_file_is_named_by_its_health(self):
        self.gateway.start()
        self.gateway.connects()
        self.nattctl("renew", self.site, "gw1")
        self.give_roster()
        self.gateway.says("natt.roster.accepted site=hq number=2")
        until(lambda: "lists SPA key generation 2 of this gateway" in self.gateway.health(), 5, "health says so")
        self.gateway.take_file()
        self.gateway.says("natt.spa.renewed site=hq generation=2")
        until(lambda: "lists SPA key generation" not in self.gateway.health(), 5, "and no more")
        self.client.says("natt.roster.accepted site=hq number=2")
        self.assertTrue(self.reaches_the_echo(0))
        self.assertNotIn("natt.race.lost", self.client.log())

    def test_a_gateways_channel_after_the_renewal_goes_with_the_new_key(self):
        self.gateway.start()
        self.gateway.connects()
        self.renewed_gateway()
        self.give_roster()
        self.broker.says("natt.roster.accepted site=hq number=2")
        self.broker.restart()
        self.gateway.says("key_generation=2")
        self.broker.says("natt.spa.key_retired device=spiffe://hq/gateway/gw1 generation=1 used=2")

    def test_a_gateway_refuses_a_file_of_somebody_else_and_serves_on(self):
        self.gateway.start()
        self.gateway.connects()
        self.nattctl("enroll", self.site, "--gateway", "gw2=127.0.0.1:1")
        self.gateway.take_file(self.site / "gateway-gw2.toml")
        self.gateway.says("natt.spa.not_renewed reason=")
        self.assertNotIn("natt.spa.renewed", self.gateway.log())
        self.assertTrue(self.reaches_the_echo(0))

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

    def put_roster(self, program, octets):
        fresh = program.folder / "roster.fresh"
        fresh.write_bytes(octets)
        fresh.rename(program.folder / "roster")

    def test_health_names_a_roster_that_was_refused_until_one_is_taken(self):
        self.gateway.start()
        self.gateway.connects()
        first = (self.site / "roster").read_bytes()
        self.nattctl("renew", self.site, "bob")
        good = (self.site / "roster").read_bytes()
        forged = bytearray(good)
        forged[len(forged) // 4] ^= 1
        # The gateway gets the new one from the broker.
        for program, held in ((self.broker, first), (self.gateway, good)):
            for octets in (bytes(forged), good[:-100]):
                self.put_roster(program, octets)
                until(lambda p=program: "a roster of site hq was refused, the one before is" in p.health(), 5,
                      f"{program.kind} says that it refused one")
                self.put_roster(program, held)
                until(lambda p=program: "a roster of site hq was" not in p.health(), 5, f"{program.kind} took one")
            self.put_roster(program, good)
            program.says("natt.roster.accepted site=hq number=2")
            self.assertNotIn("a roster of site hq was", program.health())
            # An older one is told, but nothing is wrong.
            self.put_roster(program, first)
            until(lambda p=program: "a roster of site hq was ignored: " in p.health(), 5, f"{program.kind} ignored one")

    def test_health_names_a_roster_that_is_in_force_but_not_on_the_disk(self):
        self.gateway.start()
        self.gateway.connects()
        programs = (self.broker, self.gateway, self.client)
        # Root writes everywhere: a folder stands where the file is to be.
        obstacles = []
        for program in programs:
            obstacle = next(program.folder.glob("state-*")) / "roster-hq"
            obstacle.mkdir()
            (obstacle / "file").touch()
            obstacles.append(obstacle)
        self.nattctl("revoke", self.site, "bob")
        self.give_roster()
        for program in programs:
            program.says("natt.roster.accepted site=hq number=2")
            until(lambda p=program: "the newest roster of site hq is in force but not on the disk" in p.health(), 5,
                  f"{program.kind} says that it was not written")
            self.assertIn("Is a directory; see that this program can write there", program.health())
        for obstacle in obstacles:
            shutil.rmtree(obstacle)
        # Nobody gives it again.
        for program, obstacle in zip(programs, obstacles):
            until(lambda p=program: "not on the disk" not in p.health(), 15, f"{program.kind} wrote it")
            # Broker: both views; the others the one that they have.
            self.assertIn(obstacle.read_bytes(), (self.site / "roster").read_bytes())

    def test_revocation_ends_a_live_channel_within_a_second(self):
        self.nattctl("revoke", self.site, "alice")
        self.give_roster()
        # Half a second of it is the watch on the file.
        until(lambda: "natt.broker.revoked device=spiffe://hq/client/alice" in self.broker.log(), 1.5, "revoked")
        until(lambda: not self.client.is_connected(), 1, "the channel ends")


if __name__ == "__main__":
    unittest.main(verbosity=2)
