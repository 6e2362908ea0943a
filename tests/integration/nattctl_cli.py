#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nattctl as a process: exit statuses, where options may stand, and what it says to a
control socket. The program at the other end is played by this test."""
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

NATTCTL = sys.argv.pop(1)


def nattctl(*arguments, **environment):
    return subprocess.run([NATTCTL, *map(str, arguments)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment})


class Program:
    """A control socket that answers each line with what `answer(request)` returns."""

    def __init__(self, path, answer):
        self.requests = []
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rwb") as stream:
                for line in stream:
                    self.requests.append(json.loads(line))
                    stream.write(self._answer(self.requests[-1]) + b"\n")
                    stream.flush()


def ok(result):
    return json.dumps({"ok": True, "result": result}).encode()


class CommandLine(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def assert_status(self, status, process, *says):
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        for text in says:
            self.assertIn(text, process.stdout if status == 0 else process.stderr)

    def test_a_wrong_command_line_is_status_2(self):
        for arguments in ((), ("moon",), ("init",), ("init", "x", "--site", "hq"), ("status", "--loud"), ("config",),
                          ("config", "get"), ("enroll", "x"), ("enroll", "x", "--client", "a", "--gateway", "b"), ("renew", "x")):
            with self.subTest(arguments):
                self.assert_status(2, nattctl(*arguments))

    def test_help_is_status_0(self):
        self.assert_status(0, nattctl("--help"), "init", "nat-sockets")

    def test_the_folder_may_stand_before_and_behind_the_options(self):
        options = ["--site", "hq", "--broker-address", "198.51.100.10", "--gateway", "gw1", "--client", "alice",
                   "--client", "bob", "--allow", "tcp/10.99.0.0/24:1-65535", "--allow", "icmp/10.99.0.0/24"]
        self.assert_status(0, nattctl("init", self.folder / "a", *options), "client-bob.toml")
        self.assert_status(0, nattctl("init", *options, self.folder / "b"), "client-bob.toml")
        self.assert_status(1, nattctl("init", self.folder / "a", *options), "nattctl: ", "holds a site already")
        self.assertEqual(sorted(os.listdir(self.folder / "a")), sorted(os.listdir(self.folder / "b")))

    def test_files_are_private_whatever_the_umask(self):
        self.addCleanup(os.umask, os.umask(0))
        for umask in (0o000, 0o022, 0o277):
            os.umask(umask)
            folder = self.folder / f"{umask:03o}"
            self.assert_status(0, nattctl("init", folder, "--site", "hq", "--broker-address", "198.51.100.10"))
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700)
            self.assertEqual({path.stat().st_mode & 0o777 for path in folder.iterdir()}, {0o600})

    def test_devices_come_change_and_go(self):
        site = self.folder / "site"
        self.assert_status(0, nattctl("init", site, "--site", "hq", "--broker-address", "198.51.100.10", "--gateway", "gw1"),
                           "clients reach nothing")
        self.assert_status(0, nattctl("enroll", site, "--client", "alice"), "client-alice.toml")
        self.assert_status(0, nattctl("enroll", site, "--broker", "b2=198.51.100.11"), "broker-b2.toml")
        self.assert_status(0, nattctl("renew", site, "alice"), "client-alice.toml")
        self.assert_status(0, nattctl("revoke", site, "alice"), "revoked spiffe://hq/client/alice")
        self.assert_status(0, nattctl("revoke", site, "alice"), "already")
        self.assert_status(1, nattctl("revoke", site, "carol"), "has no device")
        self.assert_status(0, nattctl("sign", site), "roster number 6")

    def test_views_are_tables_or_the_programs_json(self):
        session = {"site": "hq", "gateway": "gw1", "connectionType": "Relay", "relayReason": "udp-blocked", "rttMs": None}
        program = Program(self.folder / "s", lambda _: ok({"sessions": [session]}))
        table = nattctl("--socket", self.folder / "s", "sessions")
        self.assert_status(0, table, "CONNECTION TYPE", "Relay", "udp-blocked")
        for arguments in (("--socket", self.folder / "s", "sessions", "--json"), ("sessions", "--json", "--socket", self.folder / "s")):
            self.assertEqual(json.loads(nattctl(*arguments).stdout), {"sessions": [session]})
        self.assertEqual(json.loads(nattctl("sessions", "--json", NATT_SOCKET=str(self.folder / "s")).stdout)["sessions"], [session])
        self.assertEqual({request["command"] for request in program.requests}, {"sessions"})

    def test_settings_are_read_changed_and_taken_back(self):
        program = Program(self.folder / "s", lambda _: ok({"key": "k", "value": 7}))
        key = "natt/relaySessionsThreshold"
        self.assertEqual(nattctl("--socket", self.folder / "s", "config", "get", key).stdout, "7\n")
        self.assert_status(0, nattctl("--socket", self.folder / "s", "config", "set", key, "7"))
        self.assert_status(0, nattctl("--socket", self.folder / "s", "config", "set", key))
        self.assertEqual([(request["command"], request["arguments"]) for request in program.requests],
                         [("config-get", {"key": key}), ("config-set", {"key": key, "value": "7"}),
                          ("config-set", {"key": key, "value": None})])

    def test_a_program_that_refuses_is_gone_or_talks_nonsense_is_status_1(self):
        Program(self.folder / "refuses", lambda _: b'{"ok":false,"error":"only root may"}')
        Program(self.folder / "babbles", lambda _: b"HTTP/1.1 200 OK")
        (self.folder / "file").touch()
        self.assert_status(1, nattctl("--socket", self.folder / "refuses", "status"), "only root may")
        self.assert_status(1, nattctl("--socket", self.folder / "babbles", "status"), "none of a natt program")
        for name in ("file", "nothing"):
            self.assert_status(1, nattctl("--socket", self.folder / name, "status"), "--socket")


if __name__ == "__main__":
    unittest.main()
