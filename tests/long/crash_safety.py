#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random moments under load: copies of knocks that are accepted afterwards, and how soon service is back.

    tests/long/crash_safety.py

First a verifier with its journal and nothing around it (crash_verifier, tests/support), also with the journal damaged,
deleted and set back to older copies in between; then the broker itself, in the laboratory.

NATT_VERIFIER_KILLS   kills of the verifier (200)
NATT_DAMAGES          journals damaged (70)
NATT_KILLS            kills of the broker (40)
"""
import random
import signal
import subprocess
import time

import proof
import knocking
import natlab
import natt_site
import toml_edit
from host import LabError

VERIFIER_KILLS = proof.size("NATT_VERIFIER_KILLS", 200)
DAMAGES = proof.size("NATT_DAMAGES", 70)
KILLS = proof.size("NATT_KILLS", 40)
CLIENTS = [f"p{number}" for number in range(8)]
# A client may make 32 knocks at once; some are left for the knock that is timed.
KNOCKS = 8 * 24
# A connection every 10 ms, until one opens.
ATTEMPTS = ",".join(str(at) for at in range(0, 2000, 10))


def verifier(results):
    command = [knocking.tool("crash_verifier"), str(VERIFIER_KILLS), str(DAMAGES)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        raise LabError("crash_verifier failed")
    goals = {"crash_copies_granted": ("==", 0), "crash_incomplete_journals": ("==", 0), "damage_copies_granted": ("==", 0),
             "crash_service_back_max": ("<=", 200.0)}
    for line in done.stdout.splitlines():
        name, value, *unit = line.split()
        results.add("verifier_" + name, float(value) if unit else int(value), *unit, goal=goals.get(name))


def granted(site):
    """Knocks accepted since the broker's start."""
    return listed(site)["granted"]


def listed(site):
    return site.ask("broker", "health")["spa"][0]


def settle(site):
    """Waits until nothing more is counted."""
    last = None
    while (now := listed(site)) != last:
        last = now
        time.sleep(0.05)
    return now["granted"]


def send(host, path, count):
    knocking.flood(host, "--to", natlab.BROKER[0], "--port", 443, "--payloads", path, "--count", count, "--rate", 20000)


def kill(site):
    site.processes["broker"].send_signal(signal.SIGKILL)
    site.processes["broker"].wait()


def restart(site, host, keys):
    """Starts the broker and a client's connections at the same moment; milliseconds until one opens."""
    site.start("broker", site.lab.broker, ready=False)
    knock = knocking.knock(host, keys, 1, 10, "--no-udp", "--syn", "--attempts", ATTEMPTS)
    site.processes["broker"].wait_for("ready")
    if knock.opened != 1:
        raise LabError("the restarted broker opened to nobody")
    return knock.open_max


def broker(results):
    rng = random.Random(1)
    with natlab.Lab() as lab:
        site = natt_site.Site(lab, clients=[*CLIENTS, "timed"])
        toml_edit.set_key(site.config("broker"), "spa", "mode", "tcp")
        site.start_broker()
        host, keys = lab.stranger, knocking.key_files(site, CLIENTS)
        timed = knocking.key_files(site, ["timed"])
        again = knocks = copies = 0
        back, before = [], None
        for number in range(KILLS):
            now = lab.folder / f"knocks-{number}"
            knocking.save_knocks(host, keys, now, KNOCKS)
            flood = knocking.start_flood(host, "--to", natlab.BROKER[0], "--port", 443, "--payloads", now,
                                         "--count", KNOCKS * 4, "--rate", 4000)
            time.sleep(rng.uniform(0.01, 0.2))
            kill(site)
            flood.wait(30)
            back.append(restart(site, host, timed))
            start = granted(site)
            if before:
                # All of these were sent in full to a broker that has ended since: each was accepted then, or spent.
                send(host, before, KNOCKS)
                again += settle(site) - start
                copies += KNOCKS
            send(host, now, KNOCKS)
            settle(site)
            knocks += KNOCKS
            before = now
            kill(site)
            back.append(restart(site, host, timed))
        results.add("broker_kills", 2 * KILLS)
        results.add("broker_knocks", knocks)
        results.add("broker_copies", copies)
        results.add("broker_copies_granted", again, goal=("==", 0))
        results.add("broker_service_back_p50", proof.percentile(back, 0.5), "ms")
        results.add("broker_service_back_max", max(back), "ms", ("<=", 200.0))
        for line in site.error_lines():
            results.note(line)


def run(results):
    verifier(results)
    broker(results)


if __name__ == "__main__":
    proof.main(run)
