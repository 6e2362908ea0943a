#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an operator gets wrong, and what the network does to programs: one clear sentence, the
right exit status where a program cannot go on, and a retry where it can."""
import os
import pathlib
import shutil
import unittest

import fetch
import natlab
import natt_site
import suite
import toml_edit

CONFIG, FAILURE = 2, 1


class BadInput(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(natlab.Lab("port-restricted", "none"))
        self.site = natt_site.Site(self.lab, gateway_address=natlab.GATEWAY)
        natt_site.start_web(self.lab, 1 << 20)

    def run_program(self, stem, host, *options, **kwargs):
        """Runs a program that is expected to end by itself."""
        program = natt_site.programs() / stem.split("-")[0]
        return host.run([str(program), "--config", str(self.site.config(stem)), *options], check=False, timeout=10,
                        **kwargs)

    def assert_refused(self, done, status, *words):
        self.assertEqual(done.returncode, status, done.stderr)
        sentence = done.stderr.strip().splitlines()[-1]
        for word in words:
            self.assertIn(word, sentence)
        self.assertEqual(done.stdout, "")

    # --- the file -------------------------------------------------------------------

    def test_check_says_nothing_about_a_good_file(self):
        for stem in ("broker", "gateway-gw1", "client-alice"):
            done = self.run_program(stem, self.lab.stranger, "--check")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""), stem)

    def test_unknown_key_names_file_line_and_key(self):
        toml_edit.set_key(self.site.config("broker"), "listen", "prot", 443)
        self.assert_refused(self.run_program("broker", self.lab.broker, "--check"), CONFIG, "broker.toml:", "prot")

    def test_bad_value_names_file_line_and_key(self):
        toml_edit.set_key(self.site.config("client-alice"), "race", "natt_after", "soon")
        self.assert_refused(self.run_program("client-alice", self.lab.client), CONFIG, "client-alice.toml:",
                            "natt_after")

    def test_missing_file(self):
        self.site.config("broker").unlink()
        self.assert_refused(self.run_program("broker", self.lab.broker), CONFIG, "broker.toml")

    def test_garbage_and_huge_files(self):
        for content in (os.urandom(4096), b"[listen\n", b"a = " + b"[" * 100_000, b"\x00" * 4096, b""):
            self.site.config("broker").write_bytes(content)
            done = self.run_program("broker", self.lab.broker)
            self.assertEqual(done.returncode, CONFIG, content[:20])
            self.assertIn("broker.toml", done.stderr)

    def test_a_key_file_that_others_may_read(self):
        os.chmod(self.site.config("gateway-gw1"), 0o644)
        self.assert_refused(self.run_program("gateway-gw1", self.lab.gateway), CONFIG, "0644")

    def test_a_file_of_another_program(self):
        shutil.copy(self.site.config("gateway-gw1"), self.site.config("client-alice"))
        self.assert_refused(self.run_program("client-alice", self.lab.client), CONFIG, "gateway")

    def test_dtls_names_what_to_use(self):
        path = pathlib.Path(self.site.config("client-alice"))
        path.write_text(path.read_text().replace('protocol = "quic"', 'protocol = "dtls"'))
        self.assert_refused(self.run_program("client-alice", self.lab.client), CONFIG, "DTLS", "QUIC", "TLS")

    def test_secrets_are_never_printed(self):
        path = pathlib.Path(self.site.config("client-alice"))
        secret = toml_edit.load(path)["site"][0]["psk"]
        path.write_text(path.read_text().replace(secret, secret[:-8] + "!!!!"))
        done = self.run_program("client-alice", self.lab.client)
        self.assert_refused(done, CONFIG, "psk")
        self.assertNotIn(secret[:-8], done.stderr)

    # --- the host -------------------------------------------------------------------

    def test_port_in_use(self):
        self.site.start_broker()
        toml_edit.set_key(self.site.config("broker"), "state", "dir", str(self.site.folder / "second"))
        self.assert_refused(self.run_program("broker", self.lab.broker), FAILURE, "443", "in use")

    def test_state_folder_in_use(self):
        self.site.start_broker()
        self.assert_refused(self.run_program("broker", self.lab.broker), FAILURE, "another process serves as this verifier")

    def test_control_socket_in_use(self):
        toml_edit.set_key(self.site.config("broker"), "control", "socket", str(self.site.folder / "one.sock"))
        self.site.start_broker()
        toml_edit.set_key(self.site.config("broker"), "state", "dir", str(self.site.folder / "second"))
        for key in ("port", "dns_port"):
            toml_edit.set_key(self.site.config("broker"), "listen", key, 4443 + len(key))
        self.assert_refused(self.run_program("broker", self.lab.broker), FAILURE, "another program serves this socket")

    def test_no_privilege_for_tun(self):
        toml_edit.set_key(self.site.config("client-alice"), "tun", "enabled", True)
        # Without its capabilities even root may not make an interface.
        program = natt_site.programs() / "client"
        done = self.lab.client.run(["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", str(program),
                                    "--config", str(self.site.config("client-alice"))], check=False, timeout=10)
        self.assert_refused(done, FAILURE, "TUN", "CAP_NET_ADMIN")

    def test_damaged_state_is_a_sentence(self):
        state = self.site.folder / "state-broker"
        state.mkdir(mode=0o700)
        (state / "relay.key").write_bytes(b"short")
        os.chmod(state / "relay.key", 0o600)
        self.assert_refused(self.run_program("broker", self.lab.broker), FAILURE, "relay.key")

    # --- the network ----------------------------------------------------------------

    def test_an_unreachable_broker_is_tried_again(self):
        client = self.site.start_client()
        self.site.wait_for("the reason in the log", lambda: "connecting to broker b1" in client.text())
        health = self.site.ask("client-alice", "health")
        self.assertEqual(health["status"], "error")
        self.assertTrue(any("198.51.100.10" in detail for detail in health["details"]), health)

        self.site.start_broker()
        self.site.start_gateway()
        self.site.wait_for("the broker to be found", lambda: self.site.ask("client-alice", "health")["status"] == "healthy",
                           timeout=40)
        self.assertIn(b"Only the gateway", fetch.get(self.lab.client, natt_site.WEB_PORT))

    def test_a_site_the_broker_does_not_serve_meets_silence_and_says_so(self):
        other = natt_site.Site(self.lab, name="elsewhere")
        self.site.start_broker()
        client = other.start_client()
        other.wait_for("the reason in the log", lambda: "natt.signal.lost" in client.text(), timeout=15)
        self.assertEqual(other.ask("client-alice", "health")["status"], "error")

    def test_reload_keeps_the_old_settings_when_the_file_is_wrong(self):
        broker = self.site.start_broker()
        good = self.site.config("broker").read_text()
        toml_edit.set_key(self.site.config("broker"), "log", "level", "loud")
        broker.send_signal(1)
        self.site.wait_for("the refusal", lambda: "natt.reload.refused" in broker.text())
        self.site.config("broker").write_text(good)
        broker.send_signal(1)
        self.site.wait_for("the reload", lambda: "natt.reload.done" in broker.text())
        self.assertEqual(self.site.ask("broker", "health")["status"], "healthy")

    def test_changed_entitlements_count_after_a_reload(self):
        self.site.start_all()
        self.assertIn(b"Only the gateway", fetch.get(self.lab.client, natt_site.WEB_PORT))
        path = pathlib.Path(self.site.config("gateway-gw1"))
        path.write_text(path.read_text().replace(f"tcp/{natlab.PROTECTED_NETWORK}:1-65535", f"tcp/{natlab.WEB}:9"))
        gateway = self.site.processes["gateway-gw1"]
        gateway.send_signal(1)
        self.site.wait_for("the reload", lambda: "natt.reload.done" in gateway.text())
        with self.assertRaises(Exception):
            fetch.get(self.lab.client, natt_site.WEB_PORT, timeout=5)
        self.assertIn("natt.stream.denied", gateway.text())


if __name__ == "__main__":
    suite.main()
