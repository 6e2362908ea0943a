#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""/metrics of the three programs as processes on loopback, asked by Python's HTTP client and judged by the
parser of python3-prometheus-client (hence Debian's own Python): well formed, moved by traffic, and the same
numbers as `nattctl health`."""
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

from prometheus_client.parser import text_string_to_metric_families

from free_port import free_ports
from key_renewal import PROGRAMS, Program, until

# Tables of health's `counters` and `gauges`: their metric, and its label.
TABLES = {
    "knockGrants": ("natt_spa_address_grants_total", "event"),
    "signalHandshakes": ("natt_signal_handshakes_total", "result"),
    "signalMessages": ("natt_signal_messages_total", "kind"),
    "signalOffers": ("natt_signal_offers_total", "verdict"),
    "signalEnds": ("natt_signal_channels_ended_total", "reason"),
    "stunRequests": ("natt_stun_requests_total", "verdict"),
    "relayPackets": ("natt_relay_packets_total", "verdict"),
    "relayBytes": ("natt_relay_bytes_total", None),
    "relayEvents": ("natt_relay_events_total", "event"),
    "relayJoins": ("natt_relay_joins_total", "result"),
    "tunnelPacketsDropped": ("natt_tunnel_packets_dropped_total", "reason"),
    "tunnelEvents": ("natt_tunnel_events_total", "event"),
    "punchEvents": ("natt_punch_events_total", "event"),
    "punchPacketsDropped": ("natt_punch_packets_dropped_total", "reason"),
    "udpDatagrams": ("natt_udp_datagrams_total", "direction"),
    "udpBytes": ("natt_udp_bytes_total", "direction"),
    "udpErrors": ("natt_udp_errors_total", "reason"),
    "metricsRequests": ("natt_metrics_requests_total", "result"),
}
GAUGES = {"tunnelConnections": "natt_tunnel_connections", "tunnelStreams": "natt_tunnel_streams",
          "tunnelSessions": "natt_tunnel_sessions", "relaySessions": "natt_relay_sessions",
          "relayBitsPerSecond": "natt_relay_bits_per_second"}
DOOR_GAUGES = {"unproven": "natt_tcp_connections_unproven", "silenced": "natt_tcp_connections_silenced",
               "knocksLive": "natt_tcp_knocks_live"}
SPA_GAUGES = {"devices": "natt_spa_devices", "devicesLoading": "natt_spa_devices_loading",
              "devicesOnNewestKey": "natt_spa_devices_on_newest_key", "keys": "natt_spa_keys",
              "ownKeys": "natt_spa_own_keys", "nonces": "natt_spa_nonces",
              "clockStepsBack": "natt_spa_clock_steps_back_total", "retransmits": "natt_spa_retransmits_total"}
# What health does not have.
ONLY_METRICS = {"natt_build_info", "process_start_time_seconds", "natt_sessions", "natt_metrics_last_page_seconds",
                "natt_certificate_expiry_timestamp_seconds"}
# A signal's reload; a file that was only saved says scope=keys.
RELOADED = "natt.reload.done scope=keys+settings"


def sample(name, **labels):
    return name, tuple(sorted(labels.items()))


def expected(health):
    """The samples that a health answer amounts to."""
    samples = {}
    for table, counts in health["counters"].items():
        name, label = TABLES[table]
        for key, count in counts.items():
            samples[sample(name, **({label: key} if label else {}))] = count
    for key, count in health.get("gauges", {}).items():
        samples[sample(GAUGES[key])] = count
    for check, good in health["checks"].items():
        samples[sample("natt_health", check=check)] = int(good)
    for status in ("healthy", "warning", "error"):
        samples[sample("natt_health_status", status=status)] = int(health["status"] == status)
    for site in health.get("sites", []):
        name = site["site"]
        samples[sample("natt_roster_number", site=name)] = site["rosterNumber"]
        if "clockOffsetSeconds" in site:
            samples[sample("natt_clock_offset_seconds", site=name)] = site["clockOffsetSeconds"]
        for broker, connected in site.get("brokers", {}).items():
            samples[sample("natt_broker_connected", site=name, broker=broker)] = int(connected)
        for role, count in site.get("channels", {}).items():
            samples[sample("natt_signal_channels", site=name, role=role)] = count
    for spa in health.get("spa", []):
        samples.update(expected_spa(spa))
    if "tcp" in health:
        door = health["tcp"]
        samples[sample("natt_tcp_door_info", mode=door["mode"], visibility=door["tcpVisibility"])] = 1
        for key, count in door["connections"].items():
            if key in DOOR_GAUGES:
                samples[sample(DOOR_GAUGES[key])] = count
            elif key != "knocksUsed":
                samples[sample("natt_tcp_connections_total", verdict=key)] = count
    if "kernelGate" in health:
        samples[sample("natt_spa_gate_active")] = int(health["kernelGate"]["active"])
        for verdict, count in health["kernelGate"].get("packets", {}).items():
            samples[sample("natt_spa_gate_packets_total", verdict=verdict)] = count
    return samples


def expected_spa(spa):
    site = spa["site"]
    samples = {sample(name, site=site): spa[key] for key, name in SPA_GAUGES.items()}
    for verdict, count in {"granted": spa["granted"], **spa["dropped"]}.items():
        samples[sample("natt_spa_frames_total", site=site, verdict=verdict)] = count
    if "replay" in spa:
        replay = spa["replay"]
        for state in ("complete", "first", "missing", "stale", "corrupt", "unavailable"):
            samples[sample("natt_spa_replay_journal_state", site=site, state=state)] = int(replay["state"] == state)
        for result in ("appended", "refused"):
            samples[sample("natt_spa_replay_journal_records_total", site=site, result=result)] = replay[result]
        samples[sample("natt_spa_replay_journal_restored", site=site)] = replay["restored"]
        samples[sample("natt_spa_replay_journal_room", site=site)] = replay["recordsPerSlot"]
        samples[sample("natt_spa_refuses_for_seconds", site=site)] = replay["refusesForSeconds"]
    return samples


class Scraped(Program):
    """A program with a metrics port."""

    def __init__(self, kind, folder, source, port, text=""):
        self.port, self.text = port, text
        super().__init__(kind, folder, source)

    def take_file(self, source=None):
        super().take_file(source)
        self.base = self.config.read_text()
        self.listen(f"127.0.0.1:{self.port}")

    def listen(self, address):
        table = f'[metrics]\nlisten = "{address}"\n' if address else ""
        self.config.write_text(self.text + table + self.base)

    def request(self, method, path, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response, body

    def page(self, port=None):
        """{(name, labels): value}; the parser is the judge of the form."""
        time.sleep(0.26)  # No text of before is served any more.
        response, body = self.request("GET", "/metrics", port)
        assert response.status == 200, (response.status, body)
        assert response.getheader("Content-Type") == "text/plain; version=0.0.4; charset=utf-8"
        samples = {}
        for family in text_string_to_metric_families(body):
            assert family.type in ("counter", "gauge") and family.documentation, family
            for each in family.samples:
                key = sample(each.name, **each.labels)
                assert key not in samples, key
                samples[key] = each.value
        assert body.count("# TYPE ") == len({name for name, _ in samples}), "families are in one piece"
        return samples

    def value(self, name, **labels):
        return self.page()[sample(name, **labels)]

    def reload(self):
        """Returns when the signal has been acted on."""
        done = self.log().count(RELOADED)
        self.process.send_signal(signal.SIGHUP)
        until(lambda: self.log().count(RELOADED) > done, 10, f"{self.kind} reloads; its log:\n{self.log()}")


class Echo(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data)


class Metrics(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        folder = pathlib.Path(temporary.name)
        self.echo = Echo()
        self.addCleanup(self.echo.listener.close)
        self.udp_port, dns_port, gateway_port, self.forward, *ports = free_ports(8)
        self.spare = ports.pop()
        site = folder / "site"
        subprocess.run([PROGRAMS["nattctl"], "init", site, "--site", "hq", "--broker-address",
                        f"127.0.0.1:{self.udp_port}", "--broker-dns-port", str(dns_port), "--gateway",
                        f"gw1=127.0.0.1:{gateway_port}", "--client", "alice", "--allow",
                        f"tcp/127.0.0.1:{self.echo.port}"], check=True, capture_output=True, timeout=60)
        self.broker = Scraped("broker", folder / "broker-host", site / "broker.toml", ports[0],
                              "[spa]\nkernel_gate = false\n")
        self.gateway = Scraped("gateway", folder / "gateway-host", site / "gateway-gw1.toml", ports[1])
        forward = f'[[forward]]\nlisten = "127.0.0.1:{self.forward}"\ntarget = "127.0.0.1:{self.echo.port}"\n'
        self.client = Scraped("client", folder / "client-host", site / "client-alice.toml", ports[2], forward)
        self.programs = (self.broker, self.gateway, self.client)
        for program in self.programs:
            self.addCleanup(program.stop)

    def start(self):
        for program in self.programs:
            program.start()
        self.gateway.connects()
        self.client.connects()

    def carry(self, octets):
        """Through the tunnel and back."""
        with socket.create_connection(("127.0.0.1", self.forward), timeout=20) as connection:
            connection.sendall(octets)
            received = b""
            while len(received) < len(octets):
                received += connection.recv(65536)
        self.assertEqual(received, octets)

    def knock_falsely(self, count):
        """Datagrams of a knock's shape with nothing behind them (docs/WIRE.md section 1.4)."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(count):
                body = b"\xfe\xfd" + os.urandom(32) + b"\x20" + os.urandom(32) + b"\0" + os.urandom(150)
                size = len(body).to_bytes(3, "big")
                head = b"\x16\xfe\xfd" + bytes(8) + (len(body) + 12).to_bytes(2, "big")
                stranger.sendto(head + b"\x01" + size + bytes(5) + size + body, ("127.0.0.1", self.udp_port))

    def check_agreement(self, program):
        """What stood still between two answers of nattctl is the same on the page, what moved is between them."""
        before = expected(program.ask("health"))
        page = program.page()
        after = expected(program.ask("health"))
        self.assertEqual({name for name, _ in page} - {name for name, _ in before}, {
            name for name in ONLY_METRICS if any(name == each for each, _ in page)})
        self.assertEqual(before.keys(), after.keys())
        still = 0
        for key, first in before.items():
            self.assertIn(key, page)
            low, high = sorted((first, after[key]))
            # Clocks differ anew at each look.
            slack = 0.1 if key[0] == "natt_clock_offset_seconds" else 0
            self.assertTrue(low - slack <= page[key] <= high + slack, (key, first, page[key], after[key]))
            still += first == after[key]
        self.assertGreater(still, len(before) * 0.9)

    def test_pages_move_with_traffic_and_agree_with_health(self):
        self.start()
        self.carry(os.urandom(300_000))
        self.knock_falsely(50)
        until(lambda: self.broker.value("natt_spa_frames_total", site="hq", verdict="unknown_hint") == 50, 5,
              "strangers are counted")
        for program in self.programs:
            self.check_agreement(program)

        broker, gateway, client = (program.page() for program in self.programs)
        self.assertGreaterEqual(broker[sample("natt_spa_frames_total", site="hq", verdict="granted")], 2)
        self.assertEqual(broker[sample("natt_spa_devices", site="hq")], 2)
        self.assertEqual(broker[sample("natt_signal_channels", site="hq", role="client")], 1)
        self.assertEqual(broker[sample("natt_signal_channels", site="hq", role="gateway")], 1)
        self.assertGreaterEqual(broker[sample("natt_tcp_connections_total", verdict="admitted")], 2)
        self.assertGreaterEqual(broker[sample("natt_stun_requests_total", verdict="answered")], 2)
        self.assertEqual(broker[sample("natt_build_info", program="broker", version=self.broker.ask("status")["version"])], 1)
        self.assertGreater(broker[sample("natt_certificate_expiry_timestamp_seconds", site="hq")], 1.7e9)
        self.assertEqual(gateway[sample("natt_tunnel_connections")], 1)
        self.assertGreaterEqual(gateway[sample("natt_spa_frames_total", site="hq", verdict="granted")], 1)
        self.assertGreater(gateway[sample("natt_udp_bytes_total", direction="in")], 300_000)
        self.assertEqual(gateway[sample("natt_broker_connected", site="hq", broker="b1")], 1)
        self.assertEqual(sum(client[sample("natt_sessions", type=kind)]
                             for kind in ("direct", "directViaNatt", "relayed")), 1)
        self.assertGreater(client[sample("natt_udp_bytes_total", direction="out")], 300_000)
        self.assertAlmostEqual(client[sample("natt_clock_offset_seconds", site="hq")], 0, delta=1)
        # Neither devices nor addresses.
        for program in self.programs:
            _, body = program.request("GET", "/metrics")
            self.assertNotIn("alice", body)
            self.assertNotIn("127.0.0.1", body)

    def test_only_the_page_is_served(self):
        self.broker.start()
        self.assertEqual(self.broker.request("GET", "/")[0].status, 404)
        self.assertEqual(self.broker.request("POST", "/metrics")[0].status, 405)
        response, body = self.broker.request("HEAD", "/metrics")
        self.assertEqual((response.status, body), (200, ""))
        self.assertGreater(int(response.getheader("Content-Length")), 1000)
        self.assertEqual(self.broker.value("natt_metrics_requests_total", result="not_found"), 1)
        self.assertEqual(self.broker.value("natt_metrics_requests_total", result="served"), 3)

    def test_a_reload_moves_the_port_and_a_bad_one_leaves_it(self):
        for program in (self.broker, self.client):
            program.start()
            old, new = program.port, self.spare
            program.page()
            program.listen(f"127.0.0.1:{new}")
            program.reload()
            program.page(new)
            with self.assertRaises(ConnectionRefusedError):
                program.page(old)
            # The port is somebody else's: the one there is stays.
            with socket.create_server(("127.0.0.1", 0)) as taken:
                program.listen(f"127.0.0.1:{taken.getsockname()[1]}")
                program.reload()
                program.says("natt.metrics.not_moved")
            page = program.page(new)
            self.assertEqual(page[sample("natt_metrics_requests_total", result="served")], 3)
            program.listen("")
            program.reload()
            with self.assertRaises(ConnectionRefusedError):
                program.page(new)
            program.stop()

    def test_a_port_that_is_taken_stops_no_program(self):
        """Anybody on the host can take it and wait for a restart: that costs the metrics, not the service."""
        with socket.create_server(("127.0.0.1", self.broker.port)), \
                socket.create_server(("127.0.0.1", self.gateway.port)), \
                socket.create_server(("127.0.0.1", self.client.port)):
            self.start()
            self.carry(os.urandom(1000))
            for program in self.programs:
                self.assertIn("natt.metrics.not_served", program.log())
                self.assertIn(f"127.0.0.1:{program.port}", program.health())
                health = program.ask("health")
                self.assertEqual((health["status"], health["checks"]["metrics_served"]), ("warning", False))
        for program in self.programs:
            program.says("natt.metrics.listening", 15)
            self.assertEqual(program.value("natt_health", check="metrics_served"), 1)

    def test_a_refused_file_leaves_no_signal_behind(self):
        for program in (self.broker, self.gateway):
            program.start()
            good = program.config.read_text()
            program.config.write_text("nonsense = \n")
            program.process.send_signal(signal.SIGHUP)
            until(lambda: program.log().count("natt.reload.refused") >= 2, 10, "the save and the signal are refused")
            # The next save is only a save: settings wait for their own signal.
            moved = good.replace(f"127.0.0.1:{program.port}", f"127.0.0.1:{self.spare}", 1)
            self.assertNotEqual(moved, good)
            program.config.write_text(moved)
            program.says("natt.reload.done scope=keys\n")
            program.page()
            with self.assertRaises(ConnectionRefusedError):
                program.page(self.spare)
            program.reload()
            program.page(self.spare)
            program.stop()

    def test_a_port_that_scanners_see_is_named_as_such(self):
        self.broker.start()
        self.assertNotIn("natt.metrics.visible", self.broker.log())
        self.assertEqual(self.broker.value("natt_health", check="metrics_port_hidden"), 1)
        self.broker.listen(f"0.0.0.0:{self.broker.port}")
        self.broker.restart()
        self.broker.page()
        self.assertEqual(self.broker.log().count("scanners see this port"), 1)
        self.assertIn("scanners see this port", self.broker.health())
        self.assertEqual(self.broker.value("natt_health", check="metrics_port_hidden"), 0)


if __name__ == "__main__":
    unittest.main()
