#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Both ends of a tunnel that is relayed over TCP vanish without a FIN: how soon the broker lets go of the session, how
many descriptors it keeps, and that a session whose end only pauses is kept.

    tests/long/tcp_relay_dead_legs.py        three minutes
"""
import os
import pathlib
import time

import proof
import fetch
import natlab
import natt_site

# libnatt/src/uv/broker/tcp_splice.h: the first question after a minute, the last answer two minutes old.
GOAL = 145
PAUSE = 45
NOBODY = """table ip nobody {
 chain in {
  type filter hook input priority filter
  iifname != "lo" drop
 }
 chain out {
  type filter hook output priority filter
  oifname != "lo" drop
 }
}
"""


def relayed(site):
    return site.ask("broker", "status")["relayed"]["sessions"]


def sockets_of(process):
    """Connected TCP sockets do not tell themselves apart here: all sockets of the broker's process."""
    folder = pathlib.Path(f"/proc/{process.pid}/fd")
    return sum(os.readlink(each).startswith("socket:") for each in folder.iterdir())


def run(results):
    with natlab.Lab("symmetric", "symmetric") as lab:
        site = natt_site.Site(lab, options=("--protocol", "tls"))
        natt_site.start_web(lab, 1 << 20)
        site.start_broker()
        site.start_gateway()
        before = sockets_of(site.processes["broker"])
        site.start_client()
        fetch.get(lab.client, natt_site.WEB_PORT)
        results.add("relayed_sessions", relayed(site), "", ("==", 1))

        for host in (lab.client, lab.gateway):
            host.nft(NOBODY)
        time.sleep(PAUSE)
        results.add("kept_after_a_pause", relayed(site), "", ("==", 1))
        waited = site.wait_for("the session to end", lambda: relayed(site) == 0, timeout=300)
        results.add("dead_session_ended_after", PAUSE + waited, "s", ("<=", GOAL))
        results.add("sockets_left", max(0, sockets_of(site.processes["broker"]) - before), "", ("<=", 0))


if __name__ == "__main__":
    proof.main(run)
