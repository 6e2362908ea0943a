# SPDX-License-Identifier: Apache-2.0
"""Packets on the wire of one host, recorded by dumpcap and read by tshark."""
import signal
import socket
import struct
import subprocess
import time

# dumpcap hands a block of packets over 250 ms after the first of it; what is younger is lost at the end.
FLUSH = 0.5


class Capture:
    """A recording that runs from construction to `stop()`."""

    def __init__(self, host, interface, filter_text, path):
        self.path = path
        # -B 64: a kernel buffer in MiB that holds a burst of a bulk download.
        command = ["dumpcap", "-q", "-P", "-B", "64", "-i", interface, "-w", str(path)]
        command += ["-f", filter_text] if filter_text else []
        self._process = host.popen(command, log=path.stem)
        self._process.wait_until(lambda text: "File: " in text, "start of the recording")

    def stop(self, number=signal.SIGINT):
        """Ends the recording; the file is complete afterwards. A second call does nothing."""
        if self._process.poll() is None:
            time.sleep(FLUSH)
            self._process.stop(number)
        return self.path

    def count(self, display_filter):
        """Packets that match a tshark display filter."""
        return len(self.fields(display_filter, "frame.number"))

    def fields(self, display_filter, *names):
        """One list of values per matching packet."""
        self.stop()
        return decode(self.path, display_filter, names)

    def datagrams(self):
        """The frames that carry UDP over IPv4, as (frame, payload)."""
        self.stop()
        for _, frame in _records(self.path.read_bytes()):
            ip = 14 + (frame[14] & 15) * 4 if frame[12:14] == b"\x08\x00" else 0
            if ip and frame[23] == socket.IPPROTO_UDP:
                yield frame, frame[ip + 8:]


def decode(path, display_filter, names, decode_as=None):
    """Asks tshark for fields; `decode_as` names the protocol that every UDP port carries."""
    command = ["tshark", "-n", "-r", str(path), "-Y", display_filter, "-T", "fields"]
    command += ["-d", f"udp.port==1-65535,{decode_as}"] if decode_as else []
    for name in names:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t") for line in done.stdout.splitlines()]


def _records(content):
    """Header and frame of each packet of a pcap file."""
    at = 24
    while at < len(content):
        header = content[at:at + 16]
        length = struct.unpack("<I", header[8:12])[0]
        yield header, content[at + 16:at + 16 + length]
        at += 16 + length


def write_pcap(path, frames):
    """A pcap file of Ethernet frames."""
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for frame in frames:
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)
