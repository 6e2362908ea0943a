#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The protected host's services: a page, a blob (sendfile), and a digest of what it is sent.

    GET /            a page
    GET /blob        the blob, or the part that `Range: bytes=A-B` names
    GET /digest      SHA-256 of the blob
    PUT anything     SHA-256 of the body
    GET /drip        one byte every 50 ms, for ever
    port 7           SHA-256 of all that comes until the sender closes its half (TCP)

Usage: web_server.py ADDRESS BLOB_BYTES; prints `ready` when it listens.
"""
import hashlib
import http.server
import os
import re
import socket
import socketserver
import sys
import threading
import time

PAGE = b"<!doctype html><title>natt</title><p>Only the gateway can reach this page.\n"
CHUNK = 1 << 20


class Blob:
    """Random octets in memory, and their SHA-256."""

    def __init__(self, size):
        self.size = size
        self.descriptor = os.memfd_create("blob")
        digest = hashlib.sha256()
        for start in range(0, size, CHUNK):
            piece = os.urandom(min(CHUNK, size - start))
            digest.update(piece)
            os.write(self.descriptor, piece)
        self.digest = digest.hexdigest()

    def send(self, connection, start, end):
        while start < end:
            start += os.sendfile(connection.fileno(), self.descriptor, start, min(end - start, 64 * CHUNK))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/blob":
            self._blob()
        elif self.path == "/drip":
            self._drip()
        elif self.path == "/digest":
            self._answer(self.server.blob.digest.encode())
        else:
            self._answer(PAGE)

    def _answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _blob(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2]) + 1) if asked else (0, self.server.blob.size)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        self.server.blob.send(self.connection, start, end)

    def _drip(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            self.wfile.write(b".")
            time.sleep(0.05)

    def do_PUT(self):
        digest = hashlib.sha256()
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read1(min(left, CHUNK))
            if not piece:
                return
            digest.update(piece)
            left -= len(piece)
        self._answer(digest.hexdigest().encode())

    def log_message(self, *_):
        pass


class DigestHandler(socketserver.BaseRequestHandler):
    def handle(self):
        digest = hashlib.sha256()
        while piece := self.request.recv(CHUNK):
            digest.update(piece)
        self.request.sendall(digest.hexdigest().encode())


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1024
    allow_reuse_address = True
    daemon_threads = True

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().server_bind()

    def handle_error(self, request, client_address):
        """A client that goes away in the middle is ordinary here."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main():
    address, size = sys.argv[1], int(sys.argv[2])
    digests = Server((address, 7), DigestHandler)
    threading.Thread(target=digests.serve_forever, daemon=True).start()
    pages = Server((address, 80), Handler)
    pages.blob = Blob(size)
    print("ready", flush=True)
    pages.serve_forever()


if __name__ == "__main__":
    main()
