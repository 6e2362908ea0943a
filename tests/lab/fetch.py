# SPDX-License-Identifier: Apache-2.0
"""Requests to web_server.py from any host of the laboratory, in the test's own process."""
import hashlib
import http.client
import os
import socket

CHUNK = 1 << 20


def connect(host, port, address="127.0.0.1", timeout=30.0):
    made = host.socket(kind=socket.SOCK_STREAM, timeout=timeout)
    try:
        made.connect((address, port))
    except OSError:
        made.close()
        raise
    return made


def http_over(sock):
    """An HTTP connection over a socket that is connected already."""
    connection = http.client.HTTPConnection("127.0.0.1")
    connection.sock = sock
    return connection


def get(host, port, path="/", timeout=30.0):
    """The body of a small answer."""
    with connect(host, port, timeout=timeout) as sock:
        connection = http_over(sock)
        connection.request("GET", path)
        return connection.getresponse().read()


def get_part(sock, start, length):
    """A part of the blob over a connected socket."""
    connection = http_over(sock)
    connection.request("GET", "/blob", headers={"Range": f"bytes={start}-{start + length - 1}"})
    return connection.getresponse().read()


def download(host, port):
    """Fetches the whole blob: its length and SHA-256."""
    with connect(host, port) as sock:
        connection = http_over(sock)
        connection.request("GET", "/blob")
        answer = connection.getresponse()
        digest, length = hashlib.sha256(), 0
        while piece := answer.read(CHUNK):
            digest.update(piece)
            length += len(piece)
        return length, digest.hexdigest()


def _random_pieces(size):
    for start in range(0, size, CHUNK):
        yield os.urandom(min(CHUNK, size - start))


def upload(host, port, size):
    """Sends random octets: the SHA-256 here and the one the other end computed."""
    digest = hashlib.sha256()
    with connect(host, port) as sock:
        connection = http_over(sock)
        connection.putrequest("PUT", "/")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        for piece in _random_pieces(size):
            digest.update(piece)
            connection.send(piece)
        return digest.hexdigest(), connection.getresponse().read().decode()


def half_close(host, port, size):
    """Sends, closes the sending half, and reads what the other end says only then."""
    digest = hashlib.sha256()
    with connect(host, port) as sock:
        for piece in _random_pieces(size):
            digest.update(piece)
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(CHUNK):
            answer += piece
        return digest.hexdigest(), answer.decode()
