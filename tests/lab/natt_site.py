# SPDX-License-Identifier: Apache-2.0
"""A site of natt inside a laboratory: made by `nattctl init`, run by the three programs,
seen through `nattctl --json`. Nothing here knows more than an operator does."""
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import time

import natlab
import toml_edit
from host import LabError

HERE = pathlib.Path(__file__).resolve().parent
ALLOW = f"tcp/{natlab.PROTECTED_NETWORK}:1-65535"
# What the client listens on, and where it leads.
WEB_PORT = 8080
DIGEST_PORT = 7007
# Takes from root what loading eBPF programs needs (capabilities(7)): what a user namespace refuses anyway.
WITHOUT_BPF = ["setpriv", "--bounding-set=-bpf,-sys_admin,-perfmon", "--inh-caps=-bpf,-sys_admin,-perfmon"]
# "2026-01-31T08:00:00.123Z error natt.event key=value"
ERROR_LINE = re.compile(r"^\S+Z (error|critical) |runtime error:|ERROR: AddressSanitizer|LeakSanitizer")


def programs():
    """The folder of the programs under test: $NATT_PROGRAMS, else the dev preset's."""
    folder = pathlib.Path(os.environ.get("NATT_PROGRAMS", HERE.parents[1] / "build/dev/apps"))
    for name in ("broker", "gateway", "client", "nattctl"):
        if not os.access(folder / name, os.X_OK):
            sys.exit(f"natlab: no program {folder / name}: build it, or set NATT_PROGRAMS to the folder of the programs")
    return folder


class Site:
    """One trust domain with one broker, one gateway and some clients."""

    def __init__(self, lab, name="hq", clients=("alice",), gateway_address=None, allow=(ALLOW,), options=()):
        self.lab = lab
        self.name = name
        self.folder = lab.folder / name
        self.processes = {}
        # What programs are started with, by program; NATT_WITHOUT_BPF=1 takes the kernel gate from all of them.
        self.wrappers = dict.fromkeys(("broker", "gateway"), WITHOUT_BPF if os.environ.get("NATT_WITHOUT_BPF") == "1" else [])
        self._programs = programs()
        command = ["init", self.folder, "--site", name, "--broker-address", natlab.BROKER[0], "--gateway", "gw1"]
        command += ["--gateway-address", gateway_address] if gateway_address else []
        for client in clients:
            command += ["--client", client]
        for rule in allow:
            command += ["--allow", rule]
        self.nattctl(*command, *options)
        for client in clients:
            self.add_forwards(client)

    def nattctl(self, *arguments, check=True):
        """Runs nattctl on the broker's host: files and control sockets are all it uses."""
        return self.lab.broker.run([str(self._programs / "nattctl"), *map(str, arguments)], check=check)

    def add_forwards(self, client):
        for port, target in ((WEB_PORT, 80), (DIGEST_PORT, 7)):
            toml_edit.append_table(self.config(f"client-{client}"), "forward", listen=f"127.0.0.1:{port}",
                                   target=f"{natlab.WEB}:{target}")

    def config(self, stem):
        """The file of "broker", "gateway-gw1" or "client-NAME"."""
        return self.folder / f"{stem}.toml"

    def socket(self, stem):
        return self.folder / f"{stem}.sock"

    def start(self, stem, host, ready=True):
        """Starts one program on a host and waits for its `ready`."""
        toml_edit.set_key(self.config(stem), "control", "socket", str(self.socket(stem)))
        program = stem.split("-")[0]
        process = host.popen([*self.wrappers.get(program, []), str(self._programs / program), "--config",
                              str(self.config(stem))], log=f"{self.name}-{stem}")
        self.processes[stem] = process
        if ready:
            process.wait_for("ready", 30)
        return process

    def start_broker(self):
        return self.start("broker", self.lab.broker)

    def start_gateway(self):
        """Returns when the broker's own view has the gateway, so that a client's first offer finds it."""
        process = self.start("gateway-gw1", self.lab.gateway)
        self.wait_for("the gateway at the broker", lambda: self._registered("gw1"))
        return process

    def start_client(self, name="alice", host=None):
        return self.start(f"client-{name}", host or self.lab.client)

    def start_all(self):
        self.start_broker()
        self.start_gateway()
        self.start_client()

    def _registered(self, gateway):
        peers = [peer for site in listed(self.ask("broker", "sites"), "sites") for peer in site.get("peers", [])]
        return any(peer["name"] == gateway and peer["state"] == "connected" for peer in peers)

    def ask(self, stem, what):
        """The answer of `nattctl status|sessions|sites|... --json` from one program."""
        return json.loads(self.nattctl("--socket", self.socket(stem), what, "--json").stdout)

    def connections(self, client="alice"):
        return self.ask(f"client-{client}", "status")["connections"]

    def sessions(self, stem):
        return listed(self.ask(stem, "sessions"), "sessions")

    def stop(self, stem, number=signal.SIGTERM):
        return self.processes[stem].stop(number)

    def wait_for(self, what, holds, timeout=10.0):
        """Waits until `holds()`; returns the seconds it took."""
        start = time.monotonic()
        while not holds():
            if time.monotonic() - start > timeout:
                raise LabError(f"not within {timeout} s: {what}")
            time.sleep(0.02)
        return time.monotonic() - start

    def error_lines(self):
        """Error lines of every program's log, and what a sanitizer said."""
        return [f"{stem}: {line}" for stem, process in self.processes.items()
                for line in process.text().splitlines() if ERROR_LINE.search(line)]

    def tails(self, lines=25):
        """The ends of all logs, for a failing test's report."""
        parts = []
        for process in self.processes.values():
            parts.append(f"--- {process.log.name}\n" + "\n".join(process.text().splitlines()[-lines:]))
        return "\n".join(parts)


def listed(answer, key):
    """A list, whether it stands alone or under its name."""
    return answer[key] if isinstance(answer, dict) else answer


def start_web(lab, blob_bytes):
    """The protected host's services (web_server.py)."""
    server = lab.web.popen([shutil.which("python3"), str(HERE / "web_server.py"), natlab.WEB, str(blob_bytes)])
    server.wait_for("ready", timeout=60)
    return server
