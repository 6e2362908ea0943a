# SPDX-License-Identifier: Apache-2.0
"""Packets on the wire of one host, recorded by dumpcap and read by tshark."""
import signal
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

    def fields(self, display_filter, *names, decode_as=None):
        """One list of values per matching packet; `decode_as` as tshark's -d takes it."""
        self.stop()
        command = ["tshark", "-n", "-r", str(self.path), "-Y", display_filter, "-T", "fields"]
        command += ["-d", decode_as] if decode_as else []
        for name in names:
            command += ["-e", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line.split("\t") for line in done.stdout.splitlines()]
