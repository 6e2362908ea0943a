# SPDX-License-Identifier: Apache-2.0
"""What the long proofs share: a private world, stable result lines, and a status.

Each result is one line `name value unit`, with `goal OPERATOR VALUE ok` or `... MISSED` where
there is a goal; the program's status is 1 when a goal was missed. Sizes come from the environment,
the issue's figures are the defaults.
"""
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))

import natlab  # noqa: E402
import natt_site  # noqa: E402
import world  # noqa: E402
from host import LabError  # noqa: E402

_COMPARE = {"<=": lambda value, goal: value <= goal, ">=": lambda value, goal: value >= goal, "==": lambda value, goal: value == goal}


def size(name, default):
    """A number from the environment, of the default's type."""
    return type(default)(os.environ.get(name, default))


class Results:
    """Prints the lines and remembers whether a goal was missed."""

    def __init__(self):
        self.missed = []

    def add(self, name, value, unit="", goal=None):
        """`goal` is (operator, value)."""
        line = f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        line += f" {unit}" if unit else ""
        if goal:
            met = _COMPARE[goal[0]](value, goal[1])
            line += f" goal {goal[0]} {goal[1]} {'ok' if met else 'MISSED'}"
            if not met:
                self.missed.append(name)
        print(line, flush=True)

    def note(self, text):
        print(f"# {text}", flush=True)


def need(**packages):
    """Ends the program when a tool is missing, naming its package."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = {package for tool, package in packages.items() if shutil.which(tool) is None}
    if missing:
        sys.exit(f"proof: install {' '.join(sorted(missing))} (cmake/install_dependencies.sh test does)")


def main(run):
    """Runs a proof in a private world."""
    need(ip="iproute2", nft="nftables", dumpcap="tshark", tshark="tshark")
    world.enter()
    results = Results()
    try:
        run(results)
    except LabError as error:
        print(f"FAILED {error}", flush=True)
        sys.exit(1)
    print(f"{len(results.missed)} goals missed" + "".join(f" {name}" for name in results.missed), flush=True)
    sys.exit(1 if results.missed else 0)


def cpu_seconds(pid):
    """Time on a processor of all threads of a process (Documentation/scheduler/sched-stats.rst)."""
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def udp_counters(host):
    """{"InDatagrams": .., "RcvbufErrors": .., ...} of a host."""
    with host.inside():
        lines = [line.split() for line in pathlib.Path("/proc/thread-self/net/snmp").read_text(encoding="ascii").splitlines()
                 if line.startswith("Udp:")]
    return dict(zip(lines[0][1:], map(int, lines[1][1:])))


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
