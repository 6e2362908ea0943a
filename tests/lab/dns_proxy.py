#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A transparent DNS proxy, as hotels and providers have them: takes what is sent to anybody's port 53.

    dns_proxy.py ADDRESS eat               answers everything with NXDOMAIN
    dns_proxy.py ADDRESS forward SERVER    asks the server itself, twice, in its own words: another id, letters in
                                           mixed case, its own EDNS record; hands on what comes back
"""
import random
import selectors
import socket
import sys

# The OPT record of a query, at its end: root, type, UDP size, flags, no options.
_OPT = 11
_OWN_OPT = b"\0\0\x29\x10\x00\0\0\x80\0\0\x0c\0\x0a\0\x08" + bytes(range(8))  # 4096 octets, DO, a cookie (RFC 7873)


def nxdomain(query):
    """RFC 1035 section 4.1.1: the query with QR, RA and RCODE 3."""
    return query[:2] + bytes([query[2] | 0x80, 0x83]) + query[4:]


def mixed_case(query, rng):
    """The query with the case of its letters thrown (draft-vixie-dnsext-dns0x20), a new id and AD."""
    body = bytes(octet ^ 0x20 if chr(octet).isalpha() and octet < 128 and rng.random() < 0.5 else octet
                 for octet in query[12:-_OPT - 4])
    return rng.randbytes(2) + b"\x01\x20" + query[4:12] + body + query[-_OPT - 4:-_OPT] + _OWN_OPT


class Proxy:
    def __init__(self, address, server):
        self._rng = random.Random(53)
        self._server = server
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._listener.bind((address, 53))
        self._upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._asker = None

    def run(self):
        ready = selectors.DefaultSelector()
        for sock in (self._listener, self._upstream):
            ready.register(sock, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                self._ask() if key.fileobj is self._listener else self._answer()

    def _ask(self):
        query, self._asker = self._listener.recvfrom(2048)
        if len(query) < 12 + 5 + _OPT:
            return
        if not self._server:
            self._listener.sendto(nxdomain(query), self._asker)
        for _ in range(2 if self._server else 0):
            self._upstream.sendto(mixed_case(query, self._rng), (self._server, 53))

    def _answer(self):
        answer, _ = self._upstream.recvfrom(2048)
        if self._asker:
            self._listener.sendto(answer, self._asker)


def main():
    proxy = Proxy(sys.argv[1], sys.argv[3] if sys.argv[2] == "forward" else None)
    print("ready", flush=True)
    proxy.run()


if __name__ == "__main__":
    main()
