# SPDX-License-Identifier: Apache-2.0
"""fwknop (Debian's fwknop-server and fwknop-client) on the laboratory's broker host, as its manual sets it up:
iptables drops everything that is not established, a valid packet opens one port for one source address."""
import errno
import os
import select
import shutil
import socket
import time

import natlab

SPA_PORT = 62201
FIRST_PORT = 8000


class Fwknop:
    """A running fwknopd. `mode` is "pcap" (Debian's default) or "udp-server" (-U)."""

    def __init__(self, lab, mode, open_seconds=3):
        self.lab = lab
        self.mode = mode
        self.folder = lab.folder / f"fwknop-{mode}"
        self.folder.mkdir()
        self._keys = self._make_keys()
        self._write("access.conf", f"SOURCE ANY\nKEY_BASE64 {self._keys['KEY_BASE64']}\n"
                    f"HMAC_KEY_BASE64 {self._keys['HMAC_KEY_BASE64']}\nFW_ACCESS_TIMEOUT {open_seconds}\n")
        self._write("fwknopd.conf", f"PCAP_INTF eth0;\nFWKNOP_RUN_DIR {self.folder}/run;\nFIREWALL_EXE {shutil.which('iptables')};\n")
        lab.broker.run("iptables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT && "
                       f"iptables -A INPUT -p udp --dport {SPA_PORT} -j ACCEPT && iptables -P INPUT DROP")
        command = ["fwknopd", "-f", "-c", f"{self.folder}/fwknopd.conf", "-a", f"{self.folder}/access.conf",
                   "-r", f"{self.folder}/run", "-p", f"{self.folder}/run/fwknopd.pid", "-d", f"{self.folder}/run/digest.cache"]
        self.process = lab.broker.popen(command + (["-U"] if mode == "udp-server" else []))
        self.process.wait_until(lambda text: "Starting fwknopd main event loop" in text or "Kicking off UDP server" in text,
                                "fwknopd's main loop")
        time.sleep(1)

    def _write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

    def _make_keys(self):
        text = self.lab.broker.run(["fwknop", "--no-home-dir", "--no-rc-file", "--key-gen"]).stdout
        return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)

    def packet(self, port, allow):
        """What fwknop's own client sends for one port and one address."""
        with self.lab.client.socket(bind=("127.0.0.1", 0)) as sink:
            self.lab.client.run(["fwknop", "--no-home-dir", "--no-rc-file", "--no-save-args", "-E", str(self.folder / "args"), "--use-hmac", "-A", f"tcp/{port}", "-a", allow,
                                 "-D", "127.0.0.1", "-p", str(sink.getsockname()[1]),
                                 "--key-base64-rijndael", self._keys["KEY_BASE64"],
                                 "--key-base64-hmac", self._keys["HMAC_KEY_BASE64"]])
            return sink.recv(2048)

    def stop(self):
        self.process.stop()


def time_to_open(host, port, send, timeout=3.0, every=0.001):
    """Calls `send` and tries a new connection every millisecond until one is answered (also by a reset: nobody has to
    listen there). Returns seconds from the call to the answer, or None."""
    waiting, poller = {}, select.poll()
    with host.inside():
        start = time.perf_counter()
        send()
        try:
            while (now := time.perf_counter() - start) < timeout:
                made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                made.setblocking(False)
                waiting[made.fileno()] = made
                if made.connect_ex((natlab.BROKER[0], port)) not in (errno.EINPROGRESS, 0):
                    return time.perf_counter() - start
                poller.register(made, select.POLLOUT)
                until = start + now + every
                while (left := until - time.perf_counter()) > 0:
                    if poller.poll(left * 1000):
                        return time.perf_counter() - start
        finally:
            for made in waiting.values():
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                made.close()
    return None


def garbage(kind, count=2048):
    """Packets that fwknopd has to refuse: "random" octets, and "shaped" ones that pass its look at size and alphabet and
    reach the HMAC."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    made = []
    for _ in range(count):
        octets = os.urandom(225)
        made.append(octets if kind == "random" else bytes(alphabet[octet & 63] for octet in octets))
    return made
