# SPDX-License-Identifier: Apache-2.0
"""Runs one file of laboratory tests inside a private world and counts.

A missing tool is an error that names the package, never a skipped test.
"""
import os
import shutil
import sys
import unittest

import world

PACKAGES = {
    "ip": "iproute2", "nft": "nftables", "unshare": "util-linux", "nsenter": "util-linux", "curl": "curl", "ping": "iputils-ping",
    "turnserver": "coturn", "turnutils_natdiscovery": "coturn", "dumpcap": "tshark", "tshark": "tshark",
}


def require_tools():
    """Ends the program when a tool is missing, naming the packages."""
    # An ordinary user's PATH lacks the folders of ip, nft and turnserver.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = {PACKAGES[tool] for tool in PACKAGES if shutil.which(tool) is None}
    if missing:
        sys.exit(f"natlab: install {' '.join(sorted(missing))} (cmake/install_dependencies.sh test does)")


def main():
    """Runs the tests of the file that was started; the last line is `N passed, M failed`."""
    require_tools()
    world.enter()
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    # An error outside a test (setUpClass) belongs to no test that ran, and counts as one more.
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses) + len(result.skipped)
    passed = max(0, result.testsRun - failed)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)
