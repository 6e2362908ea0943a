# SPDX-License-Identifier: Apache-2.0
"""Copies and trains: one frame from many sources, and segmentation-offload trains in which a knock and garbage
travel as one packet. What a grant is worth is seen from outside: in mode `udp-tcp` a device's own TCP hello is answered
only at addresses its UDP knock has opened."""
import socket

import garbage
import knocking
import natlab

UDP_SEGMENT = 103  # linux/udp.h
SOURCES = 25       # a device may knock 32 times at once
BROKER_PORT = (natlab.BROKER[0], 443)


def add_addresses(lab, name="copies"):
    """A host with many addresses."""
    return lab.public_host(name, *(f"203.0.113.{number}" for number in range(60, 60 + SOURCES)))


def opened_addresses(host, keys):
    """At how many of the host's addresses the device gets TLS for a hello without a knock."""
    return knocking.knock(host, keys, len(host.addresses), 20, "--no-udp", "--attempts", "0,150", "--timeout", "1500",
                          "--from", ",".join(host.addresses)).opened


def fresh_knock(lab, keys, name):
    """A UDP knock of the device that nobody has sent yet."""
    return knocking.save_knocks(lab.client, keys, lab.folder / name, 1)[0]


def send_from_everywhere(host, datagram, ports=40):
    """The same octets from `ports` ports of each address: how many were sent."""
    sockets = [host.socket(bind=(address, 0)) for address in host.addresses for _ in range(ports)]
    for each in sockets:
        each.sendto(datagram, BROKER_PORT)
    for each in sockets:
        each.close()
    return len(sockets)


def send_train(host, segments, address=None):
    """One packet that the network card would cut; they arrive as one train."""
    size = len(segments[0])
    if any(len(each) != size for each in segments):
        raise ValueError("the segments of a train have one size")
    with host.socket(bind=(address or host.address, 0)) as sender:
        sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, size)
        sender.sendto(b"".join(segments), BROKER_PORT)


def garbage_like(rng, datagram, count):
    """Knocks in shape and size, with random frames."""
    return [datagram[:27] + rng.randbytes(32) + datagram[59:60] + rng.randbytes(32) + datagram[92:] for _ in range(count)]


def noise_like(rng, datagram, count):
    return [rng.randbytes(len(datagram)) for _ in range(count)]


def trains(rng, knock, used):
    """{name: (segments, whether the knock in it may open)}; `used` is a knock that was granted before."""
    shaped, noise = garbage_like(rng, knock, 15), noise_like(rng, knock, 15)
    return {
        "knock, then garbage in its shape": [knock, *shaped],
        "knock, then noise": [knock, *noise],
        "knock, then copies of it": [knock] * 16,
        "used knock, then garbage": [used, *shaped],
        "garbage alone": shaped,
    }


def seeded(seed):
    return garbage.seeded(seed)
