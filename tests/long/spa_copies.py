#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One frame from a thousand sources, and garbage inside trains: how many doors open.

    tests/long/spa_copies.py

NATT_ROUNDS   times that each case is tried (20)
NATT_TCP_VISIBILITY   of the broker (ip)
"""
import os
import random
import time

import proof
import knocking
import natlab
import natt_site
import toml_edit
import trains

ROUNDS = proof.size("NATT_ROUNDS", 20)
VISIBILITY = os.environ.get("NATT_TCP_VISIBILITY", "ip")


def one_frame_everywhere(results, lab, host, people):
    sent = opened = 0
    for number, keys in enumerate(people):
        sent += trains.send_from_everywhere(host, trains.fresh_knock(lab, keys, f"copy-{number}"))
        opened += trains.opened_addresses(host, keys)
        time.sleep(0.1)
    results.add("copies_sent", sent)
    results.add("copies_opened", opened, f"doors of {len(people)} frames", ("==", len(people)))


def frames_in_trains(results, lab, host, people):
    rng = random.Random(1)
    used = trains.fresh_knock(lab, people[0], "used")
    trains.send_train(host, [used])
    for name in trains.trains(rng, used, used):
        opened = 0
        for number, keys in enumerate(people):
            knock = trains.fresh_knock(lab, keys, f"train-{number}")
            trains.send_train(host, trains.trains(rng, knock, used)[name], host.addresses[number % len(host.addresses)])
            opened += trains.opened_addresses(host, keys)
        expected = len(people) if name.startswith("knock") else 0
        results.add("train_" + name.replace(", ", "_").replace(" ", "_"), opened, "doors", ("==", expected))
        time.sleep(10.5)  # the grants are over, and so are the devices' budgets of knocks


def run(results):
    with natlab.Lab() as lab:
        people = [f"p{number}" for number in range(ROUNDS)]
        site = natt_site.Site(lab, clients=people)
        toml_edit.set_key(site.config("broker"), "spa", "mode", "udp-tcp")
        toml_edit.set_key(site.config("broker"), "spa", "tcp_visibility", VISIBILITY)
        site.start_broker()
        host = trains.add_addresses(lab)
        keys = [knocking.key_files(site, [name]) for name in people]
        recording = host.capture("eth0", "inbound and udp")
        one_frame_everywhere(results, lab, host, keys)
        time.sleep(10.5)
        frames_in_trains(results, lab, host, keys)
        results.add("udp_answers", recording.count("udp"), "packets", ("==", 0))


if __name__ == "__main__":
    proof.main(run)
