#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The kernel gate in front of a gateway: a flood of garbage at its UDP port wakes nobody, while its own STUN, checks,
relay legs and tunnels go on. Counted by the kernel of the gateway's host, by the gate and by the scheduler; and the
same without the gate, so that these counts mean something.
"""
import os
import random
import unittest

import fetch
import garbage
import knocking
import natlab
import natt_site
import suite
import toml_edit
from test_spa_dns import block, intercept_dns

FLOOD = 40_000
RATE = 20_000
PASSED = ("knock", "initial", "connection_id", "stun", "relay", "dns_answer", "unchecked")


def seeded():
    seed = int(os.environ.get("NATT_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"  seed {seed}", flush=True)
    return random.Random(seed)


def udp_counters(host):
    """Of all UDP sockets of a host, both families: datagrams that programs took, that the kernel dropped at a socket, and
    of these those that only had no room."""
    text = host.run(["cat", "/proc/net/snmp", "/proc/net/snmp6"]).stdout
    names, values = (line.split()[1:] for line in text.splitlines() if line.startswith("Udp:"))
    four = {name: int(value) for name, value in zip(names, values)}
    six = {name: int(value) for name, value in (line.split() for line in text.splitlines() if line.startswith("Udp6"))}
    return tuple(four[name] + six["Udp6" + name] for name in ("InDatagrams", "InErrors", "RcvbufErrors"))


def wakes(process):
    """How often a program went to sleep so far; so often was it woken."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))


class GatewayGateTest(unittest.TestCase):
    def open(self, without_bpf=False, **spa):
        lab = self.enterContext(natlab.Lab("port-restricted", ipv6=True))
        self.site = site = natt_site.Site(lab, gateway_address=natlab.GATEWAY)
        self.addCleanup(lambda: None if self._outcome is None or self._outcome.success else print(site.tails(), flush=True))
        if without_bpf:
            site.wrappers["gateway"] = natt_site.WITHOUT_BPF
        for key, value in spa.items():
            toml_edit.set_key(site.config("gateway-gw1"), "spa", key, value)
        # Nothing of its own is to arrive while it is counted.
        toml_edit.set_key(site.config("gateway-gw1"), "natt", "stunKeepaliveInterval", 600)
        natt_site.start_web(lab, 4 << 20)
        site.start_broker()
        gateway = site.start_gateway()
        gateway.wait_until(lambda text: text.count("natt.stun.mapped") == 2, "both STUN answers")
        return site

    def gate(self):
        return self.site.ask("gateway-gw1", "health")["kernelGate"]

    def kinds(self, rng):
        """What strangers send who never saw a packet of the site."""
        payloads = [each for kind in garbage.udp_kinds(rng, [], 150).values() for each in kind]
        payloads += [rng.randbytes(rng.randrange(1473)) for _ in range(300)]
        # Well-formed relay frames of every kind that a relay sends.
        for kind, size in ((0, 15), (0, 1300), (2, 46), (4, 39), (7, 31)):
            payloads += [bytes([0x0C, kind]) + rng.randbytes(size - 2) for _ in range(60)]
        rng.shuffle(payloads)
        return knocking.write_payloads(self.site.lab.folder / "garbage", payloads)

    def flood_words(self, payloads, to, count=FLOOD):
        return ["--payloads", payloads, "--to", to, "--port", 443, "--count", count, "--rate", RATE]

    def flood(self):
        """Both families; (sent, taken, dropped, of these without room, wakes)."""
        lab, gateway = self.site.lab, self.site.processes["gateway-gw1"]
        payloads = self.kinds(seeded())
        before, woken = udp_counters(lab.gateway), wakes(gateway)
        sent = sum(knocking.flood(lab.stranger, *self.flood_words(payloads, to)).packets
                   for to in (natlab.GATEWAY, natlab.ipv6_of(natlab.GATEWAY)))
        counts = [after - start for after, start in zip(udp_counters(lab.gateway), before)]
        result = (sent, *counts, wakes(gateway) - woken)
        print("  sent {}, taken {}, dropped at the socket {}, for want of room {}, program woken {} times".format(*result),
              flush=True)
        return result

    def fetch_page(self):
        self.assertIn(b"Only the gateway can reach this page", fetch.get(self.site.lab.client, natt_site.WEB_PORT))


class Gated(GatewayGateTest):
    def test_a_flood_of_garbage_reaches_nobody(self):
        site = self.open()
        before = self.gate()
        self.assertTrue(before["active"], before)
        sent, taken, dropped, no_room, woken = self.flood()
        self.assertEqual((taken, no_room), (0, 0))
        self.assertGreater(dropped, 0.95 * sent)
        self.assertLess(woken, 100)  # its own timers
        after = self.gate()
        passed = {name: after["packets"][name] - before["packets"][name] for name in PASSED}
        self.assertEqual(sum(passed.values()), 0, passed)
        self.assertEqual(sum(after["packets"].values()) - sum(before["packets"].values()), dropped)
        self.assertEqual(site.error_lines(), [])

    def test_a_tunnel_opens_beside_the_flood(self):
        site = self.open()
        flood = knocking.start_flood(site.lab.stranger, *self.flood_words(self.kinds(seeded()), natlab.GATEWAY, 1 << 30))
        site.start_client()
        self.fetch_page()
        self.assertEqual(fetch.download(site.lab.client, natt_site.WEB_PORT)[0], 4 << 20)
        self.assertIsNone(flood.poll(), "the flood ended before the tunnel was used")
        flood.stop()
        self.assertEqual(site.error_lines(), [])


class NotGated(GatewayGateTest):
    def test_without_the_privilege_user_space_refuses_and_health_says_so(self):
        site = self.open(without_bpf=True)
        log = site.processes["gateway-gw1"].text()
        self.assertEqual(log.count("natt.spa.kernel_gate state=off"), 1, log)
        self.assertFalse(self.gate()["active"])
        details = site.ask("gateway-gw1", "health")["details"]
        self.assertTrue(any("CAP_BPF" in line for line in details), details)
        # The control: the same flood is seen by the same counters.
        sent, taken, _, _, woken = self.flood()
        self.assertGreater(taken, 0.5 * sent)
        self.assertGreater(woken, 100)
        site.start_client()
        self.fetch_page()
        self.assertEqual(site.error_lines(), [])

    def test_the_operator_may_leave_it_out(self):
        site = self.open(kernel_gate=False)
        gate = self.gate()
        self.assertEqual((gate["active"], gate["reason"]), (False, "[spa] kernel_gate is false"))
        self.assertEqual([line for line in site.ask("gateway-gw1", "health")["details"] if "kernel gate" in line], [])


class Diagnosis(unittest.TestCase):
    def test_a_dns_proxy_in_front_of_a_gateway_is_heard_through_the_gate(self):
        lab = self.enterContext(natlab.Lab("none", "port-restricted"))
        site = natt_site.Site(lab)
        toml_edit.set_key(site.config("broker"), "spa", "mode", "udp-tcp")
        block(lab.gateway_nats[-1], 443)
        intercept_dns(lab.gateway_nats[-1], "eat")
        site.start_broker()
        site.start("gateway-gw1", lab.gateway)
        site.wait_for("the cause", lambda: self.causes(site) == ["dns-intercepted"], 15)
        gate = site.ask("gateway-gw1", "health")["kernelGate"]
        self.assertGreater(gate["packets"]["dns_answer"], 0, gate)

    @staticmethod
    def causes(site):
        return [broker.get("cause") for broker in site.ask("gateway-gw1", "status")["brokers"]]


if __name__ == "__main__":
    suite.main()
