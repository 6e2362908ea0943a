# SPDX-License-Identifier: Apache-2.0
"""A private world for one laboratory: user, network, mount and process namespaces.

`enter()` splits the calling program: the part that returns runs inside, the outer
part waits, passes signals on and leaves with the same status. Everything started
inside ends with the first process of the process namespace, which ends with the
outer part: after `kill -9` of any of them no process, namespace, nft table or
temporary file remains, because the kernel owns the cleaning.

Works as root, and without root where unprivileged user namespaces are allowed.
"""
import ctypes
import os
import signal
import subprocess
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
PR_SET_PDEATHSIG = 1

# Temporary files of a laboratory: a tmpfs of its own, gone with the world.
TEMPORARY = "/run/natlab"

_libc = ctypes.CDLL(None, use_errno=True)
_inside = False


def _call(name, *arguments):
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def die_with_parent():
    """The kernel kills the caller when the thread that started it ends."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def setns(descriptor):
    """Moves the calling thread into the network namespace of a descriptor."""
    _call("setns", descriptor, CLONE_NEWNET)


def unshare_network():
    """Gives the calling thread a network namespace of its own."""
    _call("unshare", CLONE_NEWNET)


def _mount(source, target, kind, flags=0):
    _call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)


def _refusal(options):
    """What the kernel says to these namespaces, or None when it allows them."""
    done = subprocess.run(["unshare", *options, "true"], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


def _allowed_namespaces():
    """The namespaces to take: with a process namespace where /proc can be mounted,
    without a user namespace for those who need none."""
    refusals = []
    for user in ([False, True] if os.geteuid() == 0 else [True]):
        for process in (True, False):
            options = ["--net", "--mount"] + (["--user", "--map-root-user"] if user else [])
            options += ["--pid", "--fork", "--mount-proc"] if process else []
            refusal = _refusal(options)
            if refusal is None:
                return user, process
            refusals.append(refusal)
    sys.exit("natlab: this kernel or container allows no network namespaces here (" + refusals[-1] + "); run as root, "
             "or allow unprivileged user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)")


def _map_root(user, group):
    """The caller becomes root of its user namespace, as `unshare --map-root-user` does."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def _split(interactive):
    """Forks; the parent waits for the child, passes SIGINT and SIGTERM on (a second
    one kills) and never returns. With `interactive` a terminal's SIGINT is for the shell inside."""
    # Blocked until the parent can pass them on, so that an early signal is late, not lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
        return
    received = []

    def pass_on(number, _frame):
        received.append(number)
        try:
            os.kill(child, number if len(received) < 3 else signal.SIGKILL)
        except ProcessLookupError:
            pass

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN if interactive else pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    while True:
        process, status = os.wait()  # As first process of a namespace: orphans are reaped here too.
        if process == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _stop_once(number, _frame):
    """The first signal unwinds the program, further ones do not disturb its cleaning."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def _furnish(process):
    """Private mounts: the outside sees none of them."""
    _mount("none", "/", "", MS_REC | MS_PRIVATE)
    if process:
        _mount("proc", "/proc", "proc")
    _mount("natlab", "/run", "tmpfs")
    os.mkdir(TEMPORARY, 0o700)
    os.environ["TMPDIR"] = TEMPORARY


def enter(interactive=False):
    """Continues inside a private world. Call it first, from a program without threads."""
    global _inside
    sys.stdout.flush()
    sys.stderr.flush()
    user, process = _allowed_namespaces()
    identity = os.geteuid(), os.getegid()
    die_with_parent()
    _call("unshare", CLONE_NEWNS | CLONE_NEWNET | (CLONE_NEWUSER if user else 0) | (CLONE_NEWPID if process else 0))
    if user:
        _map_root(*identity)
    _split(interactive)
    die_with_parent()
    _furnish(process)
    if process:
        _split(interactive)  # The first process only waits: signals have no default action there.
        die_with_parent()
    signal.signal(signal.SIGTERM, _stop_once)
    signal.signal(signal.SIGINT, signal.SIG_IGN if interactive else _stop_once)
    _inside = True


def require():
    """For code that must not touch the machine's own network."""
    if not _inside:
        sys.exit("natlab: not inside a private world: start the file itself (python3 tests/lab/NAME.py), "
                 "not through another runner")
