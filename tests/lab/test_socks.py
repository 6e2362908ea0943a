#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SOCKS5 at the client, spoken by curl: over a loopback port with a password and over a
UNIX socket that is the owner's alone."""
import stat
import unittest

import natlab
import natt_site
import suite
import toml_edit

WEB = f"http://{natlab.WEB}"


class SocksTest(unittest.TestCase):
    def site(self, **socks):
        lab = self.enterContext(natlab.Lab("port-restricted", "port-restricted"))
        site = natt_site.Site(lab, allow=(f"tcp/{natlab.WEB}:80",))
        for key, value in socks.items():
            toml_edit.set_key(site.config("client-alice"), "socks", key, value)
        natt_site.start_web(lab, 1 << 20)
        site.start_all()
        return site

    @staticmethod
    def curl(site, *arguments):
        return site.lab.client.run(["curl", "-sS", "--max-time", "20", *arguments], check=False)

    def test_loopback_with_a_password(self):
        site = self.site(listen="127.0.0.1:1080", username="app", password="correct horse")
        good = self.curl(site, "--proxy", "socks5h://app:correct%20horse@127.0.0.1:1080", f"{WEB}/")
        self.assertIn("Only the gateway can reach this page", good.stdout, good.stderr)
        wrong = self.curl(site, "--proxy", "socks5h://app:guess@127.0.0.1:1080", f"{WEB}/")
        self.assertEqual(wrong.returncode, 97, wrong.stderr)  # curl: the proxy refused
        self.assertEqual(site.error_lines(), [])

    def test_what_no_rule_allows_is_refused_as_such(self):
        site = self.site(listen="127.0.0.1:1080")
        refused = self.curl(site, "--proxy", "socks5h://127.0.0.1:1080", f"{WEB}:7/")
        self.assertEqual(refused.returncode, 97)
        self.assertIn("(2)", refused.stderr)  # RFC 1928 section 6: not allowed by ruleset

    def test_unix_socket(self):
        lab_socket = "/run/natlab/socks.sock"
        site = self.site(listen=lab_socket)
        mode = stat.S_IMODE(int(site.lab.client.run(["stat", "-c", "0x%f", lab_socket]).stdout, 16))
        self.assertEqual(oct(mode), oct(0o600))
        page = self.curl(site, "--proxy", f"socks5h://localhost{lab_socket}", f"{WEB}/")
        self.assertIn("Only the gateway can reach this page", page.stdout, page.stderr)


if __name__ == "__main__":
    suite.main()
