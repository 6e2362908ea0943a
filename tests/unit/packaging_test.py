#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The systemd units: broker and gateway share a host without sharing a folder, can start with the configuration
that nattctl writes, and are started again however often they fail."""
import configparser
import pathlib
import unittest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "packaging/systemd"


def unit(kind):
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str
    parser.read_string((FOLDER / f"natt-{kind}.service").read_text())
    return parser


class Units(unittest.TestCase):
    def test_each_program_has_folders_of_its_own(self):
        for kind in ("broker", "gateway"):
            service = unit(kind)["Service"]
            # Nothing else is writable, and it is where the program keeps its state without [state] dir.
            self.assertEqual(service["ProtectSystem"], "strict")
            self.assertEqual(service["StateDirectory"], f"natt-{kind}")
            self.assertEqual(service["StateDirectoryMode"], "0700")
            self.assertEqual(service["RuntimeDirectory"], f"natt-{kind}")

    def test_no_restart_loop_ends_a_service(self):
        for kind in ("broker", "gateway"):
            self.assertEqual(unit(kind)["Unit"]["StartLimitIntervalSec"], "0")
            self.assertEqual(unit(kind)["Service"]["Restart"], "always")


if __name__ == "__main__":
    unittest.main()
