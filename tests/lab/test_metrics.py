#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""/metrics on all three hosts while clients connect in every way and a stranger knocks: each thing that
happens moves its counter, and none of it is seen from outside."""
import random
import re
import signal

import fetch
import garbage
import natlab
import suite
import toml_edit
from test_connections import ConnectionTest, DIRECT, PUNCHED, RELAYED

PORT = 9464
# `type` of natt_sessions.
SESSIONS = {DIRECT: "direct", PUNCHED: "directViaNatt", RELAYED: "relayed"}


SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


class Page:
    """One scrape, of a form that tests/integration/metrics_pages.py has checked."""

    def __init__(self, text):
        self.samples = {(name, tuple(sorted(LABEL.findall(labels)))): float(value)
                        for name, labels, value in SAMPLE.findall(text)}

    def value(self, name, **labels):
        return self.samples[name, tuple(sorted(labels.items()))]

    def sum(self, name, *verdicts):
        return sum(value for (each, labels), value in self.samples.items()
                   if each == name and dict(labels)["verdict"] in verdicts)


class Metrics(ConnectionTest):
    def site(self, *nats, **options):
        """With a metrics port in every program, of its own host only."""
        site = super().site(*nats, **options)
        for stem in ("broker", "gateway-gw1", "client-alice"):
            toml_edit.set_key(site.config(stem), "metrics", "listen", f"127.0.0.1:{PORT}")
            site.processes[stem].send_signal(signal.SIGHUP)
            site.processes[stem].wait_until(lambda text: "natt.metrics.listening" in text, "the metrics port")
        return site

    def scrape(self, host):
        return Page(fetch.get(host, PORT, "/metrics").decode())

    def scrape_all(self, site):
        return [self.scrape(each) for each in (site.lab.broker, site.lab.gateway, site.lab.client)]

    def session_counts(self, host):
        page = self.scrape(host)
        return {kind: page.value("natt_sessions", type=name) for kind, name in SESSIONS.items()}

    def check_types(self, site, expected):
        """One session of one kind, in all three programs' words; losers of the race leave after the winner came."""
        wanted = {kind: int(kind == expected) for kind in SESSIONS}
        for host in (site.lab.broker, site.lab.gateway, site.lab.client):
            site.wait_for(f"{wanted} at the {host.name}", lambda: self.session_counts(host) == wanted, 3)
        for page in self.scrape_all(site):
            self.assertEqual(page.value("natt_health", check="roster_fresh"), 1)
            self.assertEqual(page.value("natt_health", check="metrics_port_hidden"), 1)

    def check_nobody_else_sees_it(self, site):
        """With the control: on every address the stranger does connect, so it is loopback that keeps them out."""
        self.move(site, f"0.0.0.0:{PORT}")
        for address in natlab.BROKER:
            fetch.connect(site.lab.stranger, PORT, address, timeout=3).close()
        self.move(site, f"127.0.0.1:{PORT}")
        for address in natlab.BROKER:
            with self.assertRaises(OSError):
                fetch.connect(site.lab.stranger, PORT, address, timeout=0.3).close()

    @staticmethod
    def move(site, listen):
        line = f"natt.metrics.listening address={listen}"
        broker = site.processes["broker"]
        before = broker.text().count(line)
        toml_edit.set_key(site.config("broker"), "metrics", "listen", listen)
        broker.send_signal(signal.SIGHUP)
        broker.wait_until(lambda text: text.count(line) > before, "the broker's port to move")

    def knock_falsely(self, site, count=200):
        """A stranger's datagrams in the shape of a knock; at the gate or in the program, the hint is nobody's."""
        rng = random.Random(1)
        with site.lab.stranger.socket() as sender:
            for _ in range(count):
                sender.sendto(garbage.dtls_knock_shape(rng), (natlab.BROKER[0], 443))
        return count

    def refused_hints(self, page):
        return (page.value("natt_spa_frames_total", site="hq", verdict="unknown_hint") +
                page.sum("natt_spa_gate_packets_total", "unknown_hint"))

    def test_direct_and_strangers_garbage(self):
        site = self.site("port-restricted", "none", public_gateway=True)
        self.fetch_page(site)
        self.check_types(site, DIRECT)
        before = self.scrape(site.lab.broker)
        sent = self.knock_falsely(site)
        site.wait_for("the garbage to be counted",
                      lambda: self.refused_hints(self.scrape(site.lab.broker)) == self.refused_hints(before) + sent, 5)
        after = self.scrape(site.lab.broker)
        for verdict in ("granted", "bad_prefilter", "replayed", "bad_tag"):
            self.assertEqual(after.value("natt_spa_frames_total", site="hq", verdict=verdict),
                             before.value("natt_spa_frames_total", site="hq", verdict=verdict), verdict)
        self.assertEqual(after.value("natt_relay_bytes_total"), 0)
        self.check_nobody_else_sees_it(site)
        self.assert_clean(site)

    def test_punched(self):
        site = self.site("port-restricted", "port-restricted")
        self.fetch_page(site)
        self.check_types(site, PUNCHED)
        broker, gateway, client = self.scrape_all(site)
        for page in (gateway, client):
            self.assertGreater(page.value("natt_punch_events_total", event="path_validated"), 0)
            self.assertGreater(page.value("natt_punch_events_total", event="check_sent"), 0)
        self.assertGreaterEqual(broker.value("natt_stun_requests_total", verdict="answered"), 2)
        self.assertEqual(broker.value("natt_signal_offers_total", verdict="forwarded"), 1)
        self.assertEqual(broker.value("natt_relay_bytes_total"), 0)
        self.assert_clean(site)

    def test_relayed(self):
        site = self.site("symmetric", "symmetric")
        self.fetch_page(site)
        self.check_types(site, RELAYED)
        broker, gateway, _ = self.scrape_all(site)
        self.assertEqual(broker.value("natt_relay_sessions"), 1)
        self.assertGreater(broker.value("natt_relay_packets_total", verdict="forwarded"), 10)
        self.assertGreater(broker.value("natt_relay_bytes_total"), 1000)
        self.assertEqual(broker.value("natt_relay_events_total", event="session_opened"), 1)
        self.assertEqual(gateway.value("natt_tunnel_connections"), 1)
        self.assert_clean(site)


if __name__ == "__main__":
    suite.main()
