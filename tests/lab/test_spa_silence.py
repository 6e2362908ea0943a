#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The short versions of the proofs in tests/long: garbage meets silence, knocks open under it, copies and trains open
one door, and a neighbour behind the same NAT gets nothing. With the kernel gate and without it.
"""
import os
import random
import unittest

import knocking
import natlab
import natt_site
import silence
import suite
import toml_edit
import trains

# What the kernel of any host says about broken fragments, with or without a broker; tests/long/spa_silence.py runs with
# the policy that stops it.
NOT_ABOUT_FRAGMENTS = " && !(icmp.type == 11) && !(icmpv6.type == 3) && !(icmpv6.type == 4)"
# A visible listener's handshake: no octet, no datagram, no ICMP.
CONTENT = " && (udp || icmp || icmpv6 || tcp.len > 0)"


def seed():
    chosen = int(os.environ.get("NATT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"  seed {chosen}", flush=True)
    return chosen


class Garbage(unittest.TestCase):
    """Every kind of garbage_kinds at broker and gateway, IPv4 and IPv6."""

    without_bpf = False

    def open(self, *spa):
        site = self.enterContext(silence.SilenceSite(seed(), people=2, spa=spa, without_bpf=self.without_bpf))
        self.addCleanup(self._show, site)
        return site

    def _show(self, site):
        if self._outcome is not None and not self._outcome.success:
            print(site.site.tails(), flush=True)

    def attack(self, site, floods, and_filter):
        recording = site.watch()
        sent = sum(knocking.flood(site.lab.stranger, *words).packets for _, words in floods)
        self.assertGreater(sent, 500)
        self.assertEqual(site.answers(recording, and_filter), [])

    def assert_unharmed(self, site):
        self.assertIn(b"Only the gateway can reach this page", site.fetch_page())
        self.assertTrue(site.programs_alive())
        self.assertLess(site.log_lines(), 300)
        self.assertEqual(site.site.error_lines(), [])

    def test_garbage_meets_silence(self):
        site = self.open(("mode", "tcp"), ("tcp_visibility", "syn"))
        hidden = site.tcp_is_hidden
        print(f"  TCP/443 is {'silent' if hidden else 'a mute listener'} to strangers", flush=True)
        self.assertEqual(self.named_in_health(site), not hidden, site.health())
        self.attack(site, site.mixed(), NOT_ABOUT_FRAGMENTS)
        self.attack(site, site.mixed_tcp(), (NOT_ABOUT_FRAGMENTS if hidden else NOT_ABOUT_FRAGMENTS + CONTENT))
        self.assert_unharmed(site)
        opened = knocking.knock(site.lab.victim, knocking.key_files(site.site, site.people), 10, 10, *(["--syn"] if hidden else []))
        self.assertEqual(opened.opened, 10, opened)

    @staticmethod
    def named_in_health(site):
        """Whether health says that the kernel does not hide the port."""
        return any("kernel" in line.lower() or "gate" in line.lower() or "bpf" in line.lower() for line in site.health())


class GarbageWithoutGate(Garbage):
    """The same where nobody may load eBPF: user space refuses what the kernel would, TCP shows a mute listener."""

    without_bpf = True

    def test_health_names_the_missing_gate(self):
        site = self.open(("mode", "tcp"), ("tcp_visibility", "syn"))
        self.assertFalse(site.tcp_is_hidden)
        self.assertTrue(self.named_in_health(site), site.health())


class KnocksTest(unittest.TestCase):
    """A broker, people with keys, a host with many addresses."""

    def open(self, mode, nat="none", people=10):
        lab = self.enterContext(natlab.Lab(nat))
        names = [f"p{number}" for number in range(people)]
        site = natt_site.Site(lab, clients=names)
        toml_edit.set_key(site.config("broker"), "spa", "mode", mode)
        site.start_broker()
        self.keys = [knocking.key_files(site, [name]) for name in names]
        return site


class Floods(KnocksTest):
    def knocks_beside(self, site, words, keys, rate, seconds=5):
        crowd = site.lab.public_host("crowd", *knocking.CROWD[:40])
        flood = knocking.start_flood(site.lab.stranger, "--to", natlab.BROKER[0], "--port", 443, "--seconds", seconds, *words)
        opened = knocking.knock(crowd, keys, int(rate * (seconds - 0.5)), rate, "--from", ",".join(crowd.addresses))
        flood.wait(30)
        print(f"  {knocking.Flood(flood.text())}; {opened}", flush=True)
        self.assertEqual(opened.opened, opened.made)

    def test_knocks_open_under_a_flood(self):
        site = self.open("udp-tcp")
        knocking.save_knocks(site.lab.client, self.keys[0], site.lab.folder / "shape", 1)
        self.knocks_beside(site, ["--payloads", site.lab.folder / "shape", "--stir", "27:59", "--rate", "50000"],
                           [word for each in self.keys for word in each], 8)

    def test_copies_of_a_frame_cost_its_owner_nothing(self):
        site = self.open("udp-tcp", people=1)
        datagram = knocking.save_knocks(site.lab.client, self.keys[0], site.lab.folder / "copy", 1)[0]
        with site.lab.client.socket() as sender:
            sender.sendto(datagram, trains.BROKER_PORT)
        self.knocks_beside(site, ["--payloads", site.lab.folder / "copy", "--rate", "50000"], self.keys[0], 4)


class Copies(KnocksTest):
    def test_one_frame_from_a_thousand_sources_opens_one_door(self):
        site = self.open("udp-tcp", people=1)
        host = trains.add_addresses(site.lab)
        knock = trains.fresh_knock(site.lab, self.keys[0], "copy")
        self.assertEqual(trains.send_from_everywhere(host, knock), 1000)
        self.assertEqual(trains.opened_addresses(host, self.keys[0]), 1)

    def test_trains_open_what_their_own_knock_opens(self):
        site = self.open("udp-tcp")
        rng = random.Random(seed())
        host = trains.add_addresses(site.lab)
        recording = host.capture("eth0", "inbound and udp")
        used = trains.fresh_knock(site.lab, self.keys[9], "used")
        trains.send_train(host, [used], host.addresses[-1])
        for keys, name in zip(self.keys, trains.trains(rng, used, used)):
            with self.subTest(name):
                knock = trains.fresh_knock(site.lab, keys, "train")
                trains.send_train(host, trains.trains(rng, knock, used)[name])
                self.assertEqual(trains.opened_addresses(host, keys), 1 if name.startswith("knock") else 0)
        self.assertEqual(recording.count("udp"), 0)


if __name__ == "__main__":
    suite.main()
