#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The programs themselves under clocks that are wrong or set, and with folders out of old backups: each device
connects at its first try, or its own tool says why not.

    tests/long/spa_old_devices.py [CASE...]        cases whose name holds one of these words; all

Clocks are set with Debian's libfaketime, which every program asks in the kernel's place for the calendar and not for
the time since boot (that the programs do ask it is checked). A reboot is played by another boot id in what the device
remembers. What a device says is read where its operator would: `status`, `health` and the log.

NATT_RENEWALS   times that `nattctl renew` is killed (25)
"""
import glob
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import proof
import knocking
import natlab
import natt_site
from host import LabError

RENEWALS = proof.size("NATT_RENEWALS", 25)
DAY = 86400
TEN_YEARS = 3650 * DAY
# Longer than any cause takes to be named: an attempt is given up after 5 s.
SECONDS = 12.0
BOOT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Clock:
    """The calendar of one host: what is added to the kernel's, while programs run."""

    def __init__(self, folder, name):
        self._file = folder / f"clock-{name}"
        self.set(0)

    def set(self, seconds):
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{int(seconds):+d}")
        fresh.rename(self._file)
        self.seconds = int(seconds)

    @property
    def wrapper(self):
        library = (glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1") or [""])[0]
        return ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={self._file}", "FAKETIME_NO_CACHE=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"]


class OldSite(natt_site.Site):
    """A site whose broker, client and administrator have calendars of their own."""

    def __init__(self, lab, made=0, **options):
        self.clocks = {}
        self.admin = Clock(lab.folder, f"admin-{len(os.listdir(lab.folder))}")
        self.admin.set(made)
        super().__init__(lab, **options)
        for stem in ("broker", "gateway", "client"):
            self.clocks[stem] = Clock(lab.folder, f"{stem}-{len(os.listdir(lab.folder))}")
            self.wrappers[stem] = [*self.clocks[stem].wrapper, *self.wrappers.get(stem, [])]
        self.homes = {}

    def config(self, stem):
        home = getattr(self, "homes", {}).get(stem, self.folder)
        return home / f"{stem}.toml"

    def move_out(self, stem):
        """The device gets a folder of its own: what happens to the site's folder is news to it."""
        home = self.homes[stem] = self.lab.folder / f"home-{stem}"
        home.mkdir()
        self.take_file(stem)

    def take_file(self, stem):
        shutil.copy(self.folder / f"{stem}.toml", self.homes[stem])

    def nattctl(self, *arguments, check=True):
        return self.lab.broker.run([*self.admin.wrapper, str(self._programs / "nattctl"), *map(str, arguments)], check=check)

    def state(self, stem):
        return self.config(stem).parent / f"state-{stem}"

    def wait_for_service(self):
        """Until the broker takes knocks: a minute where its own past is doubtful."""
        self.wait_for("the end of the quarantine", lambda: "are refused for another" not in self.health("broker"), 75)

    def start_device(self, name="alice", ahead=None):
        if ahead is not None:
            self.clocks["client"].set(ahead)
        return self.start_client(name)

    def restart_device(self, name="alice", ahead=None):
        self.stop(f"client-{name}")
        return self.start_device(name, ahead)

    def brokers_of(self, name="alice"):
        return self.ask(f"client-{name}", "status")["brokers"]

    def is_online(self, name="alice"):
        return any(each["state"] == "connected" for each in self.brokers_of(name))

    def cause(self, name="alice"):
        return next((each["cause"] for each in self.brokers_of(name) if each.get("cause")), "")

    def log(self, name="alice"):
        return self.processes[f"client-{name}"].text()

    def health(self, stem):
        return " / ".join(self.ask(stem, "health")["details"])

    def check_calendars(self):
        """The calendar that the programs write into their logs is the one that was set."""
        for stem, clock in (("broker", self.clocks["broker"]), ("client-alice", self.clocks["client"])):
            process = self.processes.get(stem)
            if process is None:
                continue
            stamps = re.findall(r"^(\d{4}-\d\d-\d\d)T", process.text(), re.M)
            wanted = time.strftime("%Y-%m-%d", time.gmtime(time.time() + clock.seconds))
            if not stamps or stamps[-1] != wanted:
                raise LabError(f"libfaketime does not reach {stem}: its log is of {stamps[-1:]}, not {wanted}")


class Cases:
    """Counts, per case, devices that came online at their first try, were told why not, or neither."""

    def __init__(self, results):
        self.results = results

    def first_try(self, site, case, name="alice", seconds=SECONDS):
        """The device is online, and none of its attempts failed before."""
        took = None
        try:
            took = site.wait_for("online", lambda: site.is_online(name), seconds)
        except LabError:
            self.explain(site, case, name)
        lost = site.log(name).count("natt.signal.lost")
        if lost:
            self.explain(site, case, name)
        self.results.add(f"{case}_first_try", int(took is not None and lost == 0), "", ("==", 1))
        return took

    def told(self, site, case, cause, sentence="", stem=None, name="alice"):
        """The device's own status names the cause, or with `stem` that program's health has the sentence."""
        try:
            if cause:
                site.wait_for(cause, lambda: site.cause(name) == cause, SECONDS)
            said = (lambda: site.health(stem)) if stem else (lambda: site.health(f"client-{name}") + self.detail(site, name))
            took = site.wait_for(sentence, lambda: re.search(sentence, said()), SECONDS)
            self.results.add(f"{case}_told", 1, "", ("==", 1))
            return took
        except LabError:
            cause_seen = "-" if stem else site.cause(name)
            self.results.note(f"{case}: cause is '{cause_seen}', not '{cause}'; health: {site.health(stem or f'client-{name}')}")
            if not stem:
                self.explain(site, case, name)
            self.results.add(f"{case}_told", 0, "", ("==", 1))

    @staticmethod
    def detail(site, name):
        return "".join(f" / {each.get('detail') or ''}" for each in site.brokers_of(name))

    def explain(self, site, case, name):
        self.results.note(f"{case}: " + " | ".join(site.log(name).splitlines()[-6:]))


def reboot(site, name="alice"):
    """Another boot id in what the stopped device remembers."""
    memory = site.state(f"client-{name}") / "device-hq"
    text = memory.read_text()
    changed = BOOT_ID.sub("01234567-89ab-cdef-0123-456789abcdef", text)
    if changed == text:
        raise LabError(f"no boot id in {memory}: {text}")
    memory.write_text(changed)


# --- a client's clock ----------------------------------------------------------------------


def client_clock(results, cases, lab):
    """Ten years either way, and back: at a device that has met a broker, over a reboot, and at one that is new."""
    site = OldSite(lab, clients=("alice", "bob"))
    site.start_broker()
    site.start_device("alice", 0)
    cases.first_try(site, "clock_right")
    for case, ahead in (("clock_ten_years_ahead", TEN_YEARS), ("clock_right_again", 0), ("clock_ten_years_behind", -TEN_YEARS),
                        ("clock_right_at_last", 0)):
        site.restart_device("alice", ahead)
        cases.first_try(site, case)
        site.check_calendars()
    site.restart_device("alice", -TEN_YEARS)
    cases.first_try(site, "clock_behind_knows_itself")
    cases.told(site, "clock_behind_health", "", r"this device's clock is \d+ s .* behind")
    # Set while the program runs: the next channel is opened at the first try, too.
    site.restart_device("alice", 0)
    cases.first_try(site, "clock_before_it_is_set")
    for case, ahead in (("clock_set_ahead_while_running", TEN_YEARS), ("clock_set_behind_while_running", -TEN_YEARS)):
        site.clocks["client"].set(ahead)
        before = site.log().count("natt.signal.connected")
        site.stop("broker")
        site.start_broker()
        took = site.wait_for("the next channel", lambda b=before: site.log().count("natt.signal.connected") > b, 75)
        results.note(f"{case}: back after {took:.1f} s; a broker's restart costs attempts of its own")
        results.add(f"{case}_cause_seen", int("clock-skew" in site.log()), "", ("==", 0))
    site.stop("client-alice")
    # After a reboot a calendar that went back is known to be lost, and one ten years ahead is past every paper.
    for case, ahead in (("rebooted_ten_years_behind", -TEN_YEARS), ("rebooted_ten_years_ahead", TEN_YEARS)):
        site.start_device("alice", 0)
        cases.first_try(site, case + "_before")
        site.stop("client-alice")
        reboot(site)
        site.start_device("alice", ahead)
        cases.told(site, case, "clock-skew")
        site.restart_device("alice", 0)
        cases.first_try(site, case + "_and_set_right")
        site.stop("client-alice")
    for case, ahead in (("new_ten_years_behind", -TEN_YEARS), ("new_ten_years_ahead", TEN_YEARS)):
        site.start_device("bob", ahead)
        cases.told(site, case, "clock-skew", name="bob")
        site.stop("client-bob")
        shutil.rmtree(site.state("client-bob"))
    site.start_device("bob", 0)
    cases.first_try(site, "new_and_set_right", "bob")
    stop_all(site)


# --- a broker's clock ----------------------------------------------------------------------


def broker_clock(results, cases, lab):
    """An hour either way while it serves, and back: who is there stays, and who comes meets the clock that is."""
    site = OldSite(lab, made=-2 * DAY)
    site.start_broker()
    site.wait_for_service()
    site.start_device("alice", 0)
    cases.first_try(site, "broker_clock_right")
    for case, hours in (("behind", -1), ("ahead", 1)):
        site.clocks["broker"].set(hours * 3600)
        cases.told(site, f"broker_set_{case}", "", r"this host's clock was set", stem="broker")
        time.sleep(2)
        results.add(f"broker_set_{case}_channel_stays", int("natt.signal.lost" not in site.log()), "", ("==", 1))
        # The device hears the broker's time with every answer to its ping.
        site.wait_for("the device hears of it", lambda: "clock is" in site.health("client-alice"), 40)
        site.restart_device("alice")
        cases.first_try(site, f"broker_set_{case}_restarted_device")
        site.clocks["broker"].set(0)
        site.wait_for("the device hears of it", lambda: "clock is" not in site.health("client-alice"), 40)
        site.restart_device("alice")
        if hours < 0:
            cases.first_try(site, f"broker_set_right_after_{case}")
            continue
        # Set back: minutes that come again are closed to a device that knocked later by the clock of then, because a copy
        # could not be told from a fresh knock. They end with the slots that were open when the clock was set ahead.
        back = site.wait_for("service after the step back", site.is_online, 200)
        results.add(f"broker_set_right_after_{case}_service_back", back, "s", ("<=", 150.0))
        site.restart_device("alice")
        cases.first_try(site, f"broker_set_right_after_{case}_and_later")
    stop_all(site)


# --- a device that was off -----------------------------------------------------------------


def off_for_400_days(results, cases, lab):
    """What it holds is of then; since then ten devices were revoked and broker, gateway and others renewed."""
    others = [f"p{number}" for number in range(12)]
    site = OldSite(lab, made=-400 * DAY, clients=("alice", *others))
    for clock in site.clocks.values():
        clock.set(-400 * DAY)
    site.move_out("client-alice")
    site.start_broker()
    site.start_device("alice")
    cases.first_try(site, "day_one")
    stop_all(site)
    for number in range(10):
        site.admin.set((-390 + 30 * number) * DAY)
        site.nattctl("revoke", site.folder, others[number])
    site.admin.set(-90 * DAY)
    for name in (broker_name(site), "gw1", others[10]):
        site.nattctl("renew", site.folder, name)
    site.admin.set(0)
    site.nattctl("sign", site.folder)
    reboot(site)
    for clock in site.clocks.values():
        clock.set(0)
    site.start_broker()
    site.wait_for_service()
    site.start_device("alice")
    cases.told(site, "off_400_days_broker_says", "", "the peer finds this certificate expired or not yet valid")
    cases.told(site, "off_400_days_certificate", "",
               r"certificate of spiffe://hq/client/alice expired \d+ days ago: run nattctl renew")
    granted = site.ask("broker", "health")["spa"][0]["granted"]
    results.add("off_400_days_knocks_granted", granted, "", (">=", 1))
    results.add("off_400_days_silent", site.log().count("natt.signal.silent"), "", ("==", 0))
    site.stop("client-alice")
    site.nattctl("renew", site.folder, "alice")
    site.take_file("client-alice")
    time.sleep(1)
    site.start_device("alice")
    cases.first_try(site, "off_400_days_renewed")
    stop_all(site)


def broker_name(site):
    names = [line for line in (site.folder / "certificates").read_text().split() if "/broker/" in line]
    return names[0].rsplit("/", 1)[1]


# --- backups -------------------------------------------------------------------------------


def backups(results, cases, lab):
    """What broker and device remembered a month ago, put back; and the device's file with it."""
    site = OldSite(lab, made=-30 * DAY)
    for clock in site.clocks.values():
        clock.set(-30 * DAY)
    site.start_broker()
    site.start_device("alice")
    cases.first_try(site, "a_month_ago")
    stop_all(site)
    month_old = {stem: lab.folder / f"backup-{stem}" for stem in ("broker", "client-alice")}
    for stem, copy in month_old.items():
        shutil.copytree(site.state(stem), copy, ignore=shutil.ignore_patterns("*.sock"))
    reboot(site)
    old_file = site.config("client-alice").read_text()
    for clock in site.clocks.values():
        clock.set(0)
    site.admin.set(0)

    # The device: renewed and used since, then its memory of a month ago.
    site.start_broker()
    site.wait_for_service()
    site.nattctl("renew", site.folder, "alice")
    site.wait_for("the roster", lambda: "natt.roster.accepted site=hq number=2" in site.processes["broker"].text())
    site.start_device("alice")
    cases.first_try(site, "renewed_and_used")
    site.wait_for("the old key goes", lambda: "natt.spa.key_retired" in site.processes["broker"].text())
    site.stop("client-alice")
    restore(site, "client-alice", month_old["client-alice"])
    reboot(site)
    site.start_device("alice")
    cases.first_try(site, "device_state_of_a_month_ago")
    site.stop("client-alice")
    # The file of a month ago: told by what the device remembers.
    fresh_file = site.config("client-alice").read_text()
    write_private(site.config("client-alice"), old_file)
    site.start_device("alice")
    cases.told(site, "device_file_of_a_month_ago", "key-generation", r"SPA key generation 1 of this device's file was retired")
    site.stop("client-alice")
    # File and memory of a month ago, as an image of the whole device brings them back: nothing on it can know.
    restore(site, "client-alice", month_old["client-alice"])
    reboot(site)
    site.start_device("alice")
    cases.told(site, "whole_device_of_a_month_ago", "silent", r"an older copy")
    site.stop("client-alice")
    write_private(site.config("client-alice"), fresh_file)

    # The broker: knocks that it accepted, then its state of a month ago, then the same knocks.
    keys = knocking.key_files(site, ["alice"])
    keys_file = pathlib.Path(keys[1])
    keys_file.write_text(re.sub(r"^generation .*$", "generation 2", keys_file.read_text(), flags=re.M))
    knocks = knocking.save_knocks(lab.stranger, keys, lab.folder / "accepted", 20)
    send(lab, knocks)
    accepted = granted(site)
    results.add("knocks_before_the_backup", accepted, "", (">=", 20))
    site.stop("broker")
    restore(site, "broker", month_old["broker"])
    site.start_broker()
    send(lab, knocks)
    results.add("copies_after_the_backup_granted", granted(site), "", ("==", 0))
    cases.told(site, "broker_state_of_a_month_ago", "", r"are refused for another \d+ s, because older ones may be copies", stem="broker")
    started = time.monotonic()
    site.start_device("alice")
    site.wait_for("service after the quarantine", site.is_online, 90)
    results.add("service_back_after_the_backup", time.monotonic() - started, "s", ("<=", 90.0))
    send(lab, knocks)
    results.add("copies_after_the_quarantine_granted", copies_granted(site, lab, knocks), "", ("==", 0))
    stop_all(site)


def copies_granted(site, lab, knocks):
    before = granted(site)
    send(lab, knocks)
    return granted(site) - before


def restore(site, stem, copy):
    shutil.rmtree(site.state(stem))
    shutil.copytree(copy, site.state(stem))
    site.state(stem).chmod(0o700)


def write_private(path, text):
    path.write_text(text)
    path.chmod(0o600)


def send(lab, datagrams):
    with lab.stranger.socket() as sender:
        for each in datagrams:
            sender.sendto(each, (natlab.BROKER[0], 443))
    time.sleep(0.3)


def granted(site):
    return site.ask("broker", "health")["spa"][0]["granted"]


# --- crashes -------------------------------------------------------------------------------


def crashed_renewals(results, cases, lab):
    """nattctl is killed at some moment of `renew`; broker and device then work with whatever lies there."""
    rng = random.Random(1)
    site = OldSite(lab)
    site.start_broker()
    site.start_device("alice", 0)
    cases.first_try(site, "before_the_renewals")
    started = time.monotonic()
    start_renewal(site).wait()
    whole = time.monotonic() - started
    killed = first = 0
    for number in range(RENEWALS):
        process = start_renewal(site)
        time.sleep(rng.uniform(0, 1) * whole)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        time.sleep(0.7)  # the broker looks twice a second
        site.restart_device("alice")
        try:
            site.wait_for("online", site.is_online, SECONDS)
            first += "natt.signal.lost" not in site.log()
        except LabError:
            cases.explain(site, f"renewal {number}", "alice")
    results.add("renewals_killed", killed, "", (">=", RENEWALS // 3))
    results.add("renewals_then_first_try", first, f"of {RENEWALS}", ("==", RENEWALS))
    site.nattctl("renew", site.folder, "alice")
    time.sleep(0.7)
    site.restart_device("alice")
    cases.first_try(site, "after_the_renewals")
    for line in site.error_lines():
        results.note(line)
    stop_all(site)


def start_renewal(site):
    return subprocess.Popen([str(natt_site.programs() / "nattctl"), "renew", str(site.folder), "alice"], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def stop_all(site):
    for stem, process in list(site.processes.items()):
        process.stop()
        del site.processes[stem]


CASES = {"client-clock": client_clock, "broker-clock": broker_clock, "off": off_for_400_days, "backups": backups,
         "crashes": crashed_renewals}


def run(results):
    proof.need(faketime="faketime")
    cases = Cases(results)
    for name, case in CASES.items():
        if len(sys.argv) > 1 and not any(word in name for word in sys.argv[1:]):
            continue
        started = time.monotonic()
        with natlab.Lab() as lab:
            case(results, cases, lab)
        results.note(f"{name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    proof.main(run)
