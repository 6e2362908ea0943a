# SPDX-License-Identifier: Apache-2.0
"""Ports of loopback for a test's programs, as free_port.h has them for a test's site."""
import random
import socket

# Of this process as long as it lives.
RESERVED = []


def reserve(port):
    """One process at a time has the name, and the kernel takes it back from a dead one."""
    name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        name.bind(f"\0natt-test-port-{port}")
    except OSError:
        return False
    RESERVED.append(name)
    return True


def is_free(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            udp.bind(("127.0.0.1", port))
            tcp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    """A UDP and TCP port below the range from which the kernel takes ports."""
    while True:
        port = random.randrange(15000, 30000)
        if reserve(port) and is_free(port):
            return port


def free_ports(count):
    return [free_port() for _ in range(count)]
