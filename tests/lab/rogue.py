# SPDX-License-Identifier: Apache-2.0
"""A client that breaks the rules: knocks with one device's SPA key, shows any
certificate, and says anything over signaling. Written from docs/WIRE.md sections 1.5
and 3 with the second implementation of the frame (tests/vectors/spa_codec.py).
"""
import base64
import hashlib
import ipaddress
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import time

import fetch
import natlab
import toml_edit

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "vectors"))
import spa_codec  # noqa: E402

UDP_CARRIER, TCP_CARRIER = 1, 3
BROKER_ROLE = 1


# --- protobuf, as much as it takes ------------------------------------------------------


def varint(value):
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def message(**fields):
    """fN=value: an integer, octets or text, or a list of them."""
    encoded = b""
    for name, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            number = int(name[1:])
            if isinstance(value, int):
                encoded += varint(number << 3) + varint(value)
            else:
                octets = value.encode() if isinstance(value, str) else value
                encoded += varint(number << 3 | 2) + varint(len(octets)) + octets
    return encoded


def fields_of(encoded):
    """{number: [values]} of varint and length-delimited fields."""
    at, found = 0, {}

    def number():
        nonlocal at
        value = shift = 0
        while True:
            octet = encoded[at]
            at += 1
            value |= (octet & 127) << shift
            shift += 7
            if octet < 128:
                return value

    while at < len(encoded):
        key = number()
        value = number()
        if key & 7 == 2:
            value, at = encoded[at:at + value], at + value
        found.setdefault(key >> 3, []).append(value)
    return found


def address(ip, port):
    return message(f1=b"\0" * 10 + b"\xff\xff" + ipaddress.ip_address(ip).packed, f2=port)


def candidate(kind, ip, port):
    return message(f1=kind, f2=address(ip, port))


# --- papers -----------------------------------------------------------------------------


class Papers:
    """What one client file of `nattctl init` holds, and what openssl makes with its CA's key."""

    def __init__(self, site, name, role="client"):
        self._table = toml_edit.load(site.config(f"{role}-{name}"))["site"][0]
        self.identity = self._table["identity"]
        self._folder = site.lab.folder / f"papers-{role}-{name}"
        self._folder.mkdir(exist_ok=True)
        self._ca_key = site.folder / "ca.key"
        self.certificate = self._write("certificate.pem", self._table["certificate"])
        self.key = self._write("key.pem", self._table["private_key"])
        self._ca = self._write("ca.pem", self._table["ca"])
        roster = fields_of(base64.b64decode(self._table["roster"]))
        body = fields_of(next(iter(roster.values()))[0])[1][0]
        self._devices = [fields_of(each) for each in fields_of(body)[6]]

    def _write(self, name, text):
        path = self._folder / name
        path.write_text(text)
        return path

    def issue(self, *uris, ca=None, usage="digitalSignature"):
        """A certificate for these URIs, of the site's CA or of (certificate, key) `ca`."""
        ca_certificate, ca_key = ca or (self._ca, self._ca_key)
        extensions = self._write("extensions", "subjectAltName=" + ",".join(f"URI:{uri}" for uri in uris) +
                                 f"\nkeyUsage=critical,{usage}\nextendedKeyUsage=serverAuth,clientAuth\n"
                                 "basicConstraints=critical,CA:FALSE\n")
        openssl("req", "-new", "-key", self.key, "-subj", "/CN=x", "-out", self._folder / "request")
        issued = self._folder / f"issued-{len(list(self._folder.iterdir()))}.pem"
        openssl("x509", "-req", "-in", self._folder / "request", "-CA", ca_certificate, "-CAkey", ca_key, "-days", "2",
                "-set_serial", str(int.from_bytes(os.urandom(15), "big") | 1 << 125), "-sha256",
                "-extfile", extensions, "-out", issued)
        return issued

    def other_ca(self, uri):
        """Another CA that calls itself the same."""
        key, certificate = self._folder / "other.key", self._folder / "other.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=hq",
                "-days", "2", "-addext", f"subjectAltName=URI:{uri}", "-keyout", key, "-out", certificate)
        return certificate, key

    def sign(self, text):
        return subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=text, capture_output=True,
                              check=True).stdout

    def certificate_der(self):
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text())

    def frame(self, binding, carrier=TCP_CARRIER, kind=1):
        """A frame for the site's broker under this device's key: a knock, or what `kind` says."""
        broker = next(each for each in self._devices if each[1] == [BROKER_ROLE])
        uri = self.identity.rsplit("/", 2)[0] + "/broker/" + broker[2][0].decode()
        spa_key = fields_of(broker[3][0])
        generation, secret = self._table["spa_keys"][0].split(":", 1)
        now = int(time.time() * 1000)
        keys = spa_codec.Keys(base64.b64decode(secret), spa_key[2][0], self.identity, uri,
                              base64.b64decode(self._table["psk"]), now // 64000)
        body = bytes([0x10 | kind, 0x06]) + struct.pack(">H", int(generation)) + now.to_bytes(6, "big") + os.urandom(10)
        associated = spa_codec.associated_data(carrier, uri, 443, binding)
        return spa_codec.seal(keys, broker[4][0], carrier, associated, body, os.urandom(12))

    def udp_knock(self):
        """A frame as a DTLS ClientHello (docs/WIRE.md section 1.4)."""
        frame = self.frame(bytes(32), UDP_CARRIER)
        hello = b"\xfe\xfd" + frame[:32] + b"\x20" + frame[32:] + b"\0" + b"\0\2\x13\1\1\0"
        length = len(hello).to_bytes(3, "big")
        message = b"\1" + length + bytes(5) + length + hello
        return bytes.fromhex("16fefd0000000000000000") + struct.pack(">H", len(message)) + message

    def relay_join(self, token):
        """Both records of a relay leg (docs/WIRE.md section 1.5)."""
        record2 = b"\x17\x03\x03\x00\x10" + token
        return hello_record(self.frame(hashlib.blake2b(record2, digest_size=32).digest(), kind=3)) + record2


def hello_record(frame):
    """Record 1 of the TCP carrier."""
    body = b"\x01" + (67 + 32).to_bytes(3, "big") + b"\x03\x03" + frame[:32] + b"\x20" + frame[32:] + bytes(32)
    return b"\x16\x03\x01" + struct.pack(">H", len(body)) + body


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


# --- the channel ------------------------------------------------------------------------


class Channel:
    """TCP, SPA hello, TLS 1.3 and messages, as docs/WIRE.md section 3.1 has them."""

    def __init__(self, host, papers, certificate=None, udp_knock=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(certificate or papers.certificate, papers.key)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)
        self._papers = papers
        if udp_knock:  # a broker in mode udp-tcp wants one from the address that TCP comes from
            with host.socket() as knocker:
                knocker.sendto(papers.udp_knock(), (natlab.BROKER[0], 443))
        self.sock = fetch.connect(host, 443, natlab.BROKER[0], timeout=8)

    def send_hello(self):
        """The knock and the ClientHello that it is bound to."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        hello = self._out.read()
        self.sock.sendall(hello_record(self._papers.frame(hashlib.blake2b(hello, digest_size=32).digest())) + hello)

    def _pump(self, step):
        """Repeats a TLS step until it is done, moving octets in between."""
        while True:
            try:
                result = step()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                octets = self.sock.recv(65536)
                if not octets:
                    raise ConnectionError("the broker closed the connection") from None
                self._in.write(octets)

    def _flush(self):
        octets = self._out.read()
        if octets:
            self.sock.sendall(octets)

    def handshake(self):
        self._pump(self._tls.do_handshake)

    def send(self, octets):
        """One message with its length."""
        self.send_raw(struct.pack(">I", len(octets)) + octets)

    def send_raw(self, octets):
        self._pump(lambda: self._tls.write(octets))

    def receive(self):
        """The fields of the next message."""
        buffered = b""
        while len(buffered) < 4 or len(buffered) < 4 + struct.unpack(">I", buffered[:4])[0]:
            wanted = 4 if len(buffered) < 4 else 4 + struct.unpack(">I", buffered[:4])[0]
            octets = self._pump(lambda: self._tls.read(wanted - len(buffered)))
            if not octets:
                raise ConnectionError("the broker closed the channel")
            buffered += octets
        return fields_of(buffered[4:])

    def open(self):
        """Up to the broker's Welcome."""
        self.send_hello()
        self.handshake()
        self.send(message(f1=message(f1=1, f3=int.from_bytes(os.urandom(7), "big"), f5="rogue")))
        return self.receive()

    def offer(self, gateway, candidates, session=None):
        """An offer with these candidates, sealed as it should be."""
        session = session or os.urandom(16)
        punch = message(f1="rogue", f2=os.urandom(32))
        body = message(f1=session, f2=gateway, f3=punch, f4=message(f1=2, f2=2, f3=1), f5=candidates,
                       f6=int(time.time() * 1000))
        sealed = message(f1=body, f2=self._papers.certificate_der(), f3=self._papers.sign(b"natt-offer-1\0" + body))
        self.send(message(f5=message(f1=session, f2=gateway, f3=sealed)))
        return session

    def trickle(self, session, candidates):
        self.send(message(f9=message(f1=session, f2=candidates)))

    def close(self):
        self.sock.close()


# What ends a channel at the rogue's side: an alert, a reset or an end, but no octet of content.
ENDED = (ssl.SSLError, ConnectionError, TimeoutError, socket.timeout)
