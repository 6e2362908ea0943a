#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who sees a client's packets, or forges its address to the very port: copies of a first QUIC packet from a thousand
sources, and garbage at the head of a train that the receiver's kernel made of an honest sender's packets."""
import os
import random
import unittest

import knocking
import natlab
import natt_site
import suite
import toml_edit
import trains
from test_hostile import HostileTest

INITIAL = f"ip.src == {natlab.CLIENT} && ip.dst == {natlab.GATEWAY} && udp.length > 1200 && udp.payload[0:1] & f0 == c0"


def seeded():
    seed = int(os.environ.get("NATT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"  seed {seed}", flush=True)
    return random.Random(seed)


class CopiedInitials(HostileTest):
    def test_an_initial_from_a_thousand_sources_makes_no_path_and_no_sound(self):
        site = self.open()
        wire = site.lab.internet.capture("to-client-nat")
        site.stop("client-alice")
        site.start_client()
        self.fetch_page(site)
        # The first, out of the train that it left in: later ones name a connection id of the gateway's own.
        initial = bytes.fromhex(wire.fields(INITIAL, "udp.payload")[0][0])[:1200]
        before = site.ask("gateway-gw1", "health")["spa"][0]
        sent = 0
        for _ in range(1000):
            with site.lab.stranger.socket() as sender:
                sender.sendto(initial, (natlab.GATEWAY, 443))
            sent += 1
        site.wait_for("the copies to be counted", lambda: self.replayed(site) >= before["dropped"]["replayed"] + sent * 9 // 10)
        after = site.ask("gateway-gw1", "health")["spa"][0]
        self.assertEqual(after["granted"], before["granted"])
        # Once each: what makes no path is not judged a second time.
        self.assertLessEqual(after["dropped"]["replayed"], before["dropped"]["replayed"] + sent)
        self.assert_unharmed(site)
        self.assert_silence(sent)

    @staticmethod
    def replayed(site):
        return site.ask("gateway-gw1", "health")["spa"][0]["dropped"]["replayed"]


class SpoiledTrains(unittest.TestCase):
    """docs/THREAT_MODEL.md section 7: the kernel gate judges a train by its head."""

    def open(self, without_bpf=False):
        lab = self.enterContext(natlab.Lab("none"))
        site = natt_site.Site(lab, clients=["p0", "p1"])
        if without_bpf:
            site.wrappers["broker"] = natt_site.WITHOUT_BPF
        toml_edit.set_key(site.config("broker"), "spa", "mode", "udp-tcp")
        site.start_broker()
        self.keys = [knocking.key_files(site, [name]) for name in ("p0", "p1")]
        self.host = trains.add_addresses(lab)
        self.gate = site.ask("broker", "health").get("kernelGate", {}).get("active", False)
        return site

    def spoiled(self, site, keys):
        """A train of garbage in a knock's shape with an honest knock at its end: doors that open."""
        knock = trains.fresh_knock(site.lab, keys, "spoiled")
        trains.send_train(self.host, [*trains.garbage_like(seeded(), knock, 3), knock])
        return trains.opened_addresses(self.host, keys)

    def check(self, without_bpf):
        site = self.open(without_bpf)
        recording = self.host.capture("eth0", "inbound and udp")
        self.assertEqual(self.spoiled(site, self.keys[0]), 0 if self.gate else 1)
        # The next repeat of the knock travels alone, and so does a knock whose neighbours were not put into one packet.
        knock = trains.fresh_knock(site.lab, self.keys[1], "repeat")
        with self.host.socket(bind=(self.host.address, 0)) as sender:
            for each in [*trains.garbage_like(seeded(), knock, 20), knock]:
                sender.sendto(each, trains.BROKER_PORT)
        self.assertEqual(trains.opened_addresses(self.host, self.keys[1]), 1)
        self.assertEqual(recording.count("udp"), 0)
        self.assertEqual(site.error_lines(), [])

    def test_garbage_in_front_costs_one_train_and_the_repeat_opens(self):
        self.check(without_bpf=False)
        self.assertTrue(self.gate)

    def test_without_the_kernel_gate_it_costs_nothing(self):
        self.check(without_bpf=True)
        self.assertFalse(self.gate)


del HostileTest

if __name__ == "__main__":
    suite.main()
