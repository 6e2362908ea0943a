#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The IP tunnel (CONNECT-IP) between real TUN devices: what the gateway's rules allow goes
through, unchanged, and nothing else does."""
import unittest

import natlab
import natt_site
import suite
import toml_edit

POOL = "10.64.0.0/24"
TUNNEL_GATEWAY = "10.64.0.1"
RULES = (f"tcp/{natlab.WEB}:80", f"icmp/{natlab.WEB}")
KINDS = {"Direct": ("port-restricted", "none", natlab.GATEWAY),
         "Direct via NAT Traversal": ("port-restricted", "port-restricted", None),
         "Relay": ("symmetric", "symmetric", None)}


class TunChecks(unittest.TestCase):
    # What every site of a class is made with.
    INIT = ()

    def site(self, kind, routes=(natlab.PROTECTED_NETWORK,), accept=(natlab.PROTECTED_NETWORK,)):
        client_nat, gateway_nat, address = KINDS[kind]
        lab = self.enterContext(natlab.Lab(client_nat, gateway_nat))
        site = natt_site.Site(lab, gateway_address=address, allow=RULES, options=self.INIT)
        for key, value in (("enabled", True), ("pool", [POOL]), ("routes", list(routes))):
            toml_edit.set_key(site.config("gateway-gw1"), "tun", key, value)
        for key, value in (("enabled", True), ("accept_routes", list(accept))):
            toml_edit.set_key(site.config("client-alice"), "tun", key, value)
        natt_site.start_web(lab, 4 << 20)
        site.start_all()
        self.sites = [site]
        return site

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for site in getattr(self, "sites", []):
                print(site.tails(), flush=True)

    def wait_for_route(self, site):
        site.wait_for("the route to the protected network",
                      lambda: "dev natt0" in site.lab.client.run(["ip", "route", "get", natlab.WEB], check=False).stdout)

    def check(self, kind):
        site = self.site(kind)
        self.wait_for_route(site)
        client = site.lab.client
        self.assertEqual([each["connectionType"] for each in site.connections()], [kind])

        page = client.run(["curl", "-sS", "--max-time", "10", f"http://{natlab.WEB}/"]).stdout
        self.assertIn("Only the gateway can reach this page", page)
        blob = client.run(["sh", "-c", f"curl -sS --max-time 60 http://{natlab.WEB}/blob | wc -c"]).stdout
        self.assertEqual(int(blob), 4 << 20)
        echo = client.run(["ping", "-c", "3", "-i", "0.2", "-W", "2", natlab.WEB]).stdout
        self.assertIn(" 0% packet loss", echo)

        # No rule for this port: no answer, and the reason in the gateway's log.
        refused = client.run(["curl", "-sS", "--max-time", "2", f"http://{natlab.WEB}:7/"], check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("natt.ip.denied", site.processes["gateway-gw1"].text())
        self.assertEqual(site.error_lines(), [])


class TunTest(TunChecks):
    def test_direct(self):
        self.check("Direct")

    def test_punched(self):
        self.check("Direct via NAT Traversal")

    def test_relayed(self):
        self.check("Relay")

    def test_a_gateway_cannot_make_itself_the_default_route(self):
        site = self.site("Direct", routes=(natlab.PROTECTED_NETWORK, "0.0.0.0/0"))
        site.wait_for("the refusal in the client's log",
                      lambda: "natt.ip.route_refused route=0.0.0.0/0" in site.processes["client-alice"].text())
        self.assertNotIn("dev natt0", site.lab.client.run(["ip", "route", "show", "default"]).stdout)

    def test_the_host_itself_is_out_of_reach(self):
        site = self.site("Direct")
        self.wait_for_route(site)
        silent = site.lab.client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", TUNNEL_GATEWAY], check=False)
        self.assertNotEqual(silent.returncode, 0)

    def test_a_source_that_was_not_assigned_is_dropped(self):
        site = self.site("Direct")
        self.wait_for_route(site)
        client = site.lab.client
        client.ip("address add 10.64.0.77/32 dev natt0")
        spoofed = client.run(["ping", "-I", "10.64.0.77", "-c", "2", "-i", "0.2", "-W", "1", natlab.WEB], check=False)
        self.assertNotEqual(spoofed.returncode, 0)
        self.assertIn("the source is not the assigned address", site.processes["gateway-gw1"].text())


if __name__ == "__main__":
    suite.main()
