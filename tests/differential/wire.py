# SPDX-License-Identifier: BSD-3-Clause
"""The far ends of all links: frames in, frames out, and knowing when no more will come.

Waiting for silence alone is slow or wrong. Behind the frames of a step each port gets one that its
firewall surely answers at once (a ping to the gateway, on the uplink an ARP request). When all
answers are there, everything before them has been handled, but for what was under way between two
workers, and a short silence is enough.
"""

import ipaddress
import select
import socket
import struct
import time

from packets import checksum
from world import (
    GATEWAY,
    LINK,
    LINK6,
    LIVE,
    PORTS,
    QUBE_MAC,
    ROUTER_MAC,
    UPLINK,
    UPLINK6,
    UPLINK_MAC,
    VIF_MAC,
)

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SOL_PACKET = 263
PACKET_IGNORE_OUTGOING = 23
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD

SILENCE_S = 0.006
ANSWER_S = 1.0  # before the question is put again
PATIENCE_S = 20.0
SENTINEL_ID = 0xFFFF
SENTINEL_HOST = 200  # addresses from here to 249 of the uplink's link ask by ARP

LINK_NETWORK, LINK6_NETWORK = ipaddress.ip_network(LINK), ipaddress.ip_network(LINK6)


class Dead(Exception):
    """A world does not answer any more."""


def mac(words):
    return bytes.fromhex(words.replace(":", ""))


QUBE_FRAME = mac(VIF_MAC) + mac(QUBE_MAC)
UPLINK_FRAME = mac(UPLINK_MAC) + mac(ROUTER_MAC)
ETHERTYPE = {4: struct.pack("!H", IPV4), 6: struct.pack("!H", IPV6)}


def frame_of(port, packet):
    """Put an IP packet into a frame, as the station at the far end of the port would."""
    return (UPLINK_FRAME if port == "uplink" else QUBE_FRAME) + ETHERTYPE[packet[0] >> 4] + packet


def ping_gateway(address, sequence):
    icmp = struct.pack("!BBHHH", 8, 0, 0, SENTINEL_ID, sequence)
    icmp = icmp[:2] + struct.pack("!H", checksum(icmp)) + icmp[4:]
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45, 0, 28, sequence, 0, 64, 1, 0,
        socket.inet_aton(address), socket.inet_aton(GATEWAY),
    )
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return QUBE_FRAME + ETHERTYPE[4] + header + icmp


def arp(operation, to_mac, sender_mac, sender, target_mac, target):
    return (
        to_mac + sender_mac + struct.pack("!HHHBBH", ARP, 1, IPV4, 6, 4, operation)
        + sender_mac + sender + target_mac + target
    )


def neighbour_advertisement(to_mac, target, destination):
    body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + target + b"\x02\x01" + mac(ROUTER_MAC)
    pseudo = target + destination + struct.pack("!II", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + target + destination
    return to_mac + mac(ROUTER_MAC) + ETHERTYPE[6] + header + body


class World:
    """One firewall, seen from the far ends of its links."""

    def __init__(self, name, prefix):
        self.name = name
        self.sockets = {}
        self.sequence = 0
        self.waiting = {}  # port -> number of the sentinel that is not answered yet
        self.solicited = False  # somebody asked for a neighbour since the last sentinels
        self.out = []  # (port, frame)
        self.frames_in = self.frames_out = 0
        for port in PORTS:
            one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            one.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            one.bind((f"{prefix}-{port}", ETH_P_ALL))
            one.setblocking(False)
            self.sockets[port] = one

    def inject(self, port, frame):
        self.frames_in += 1
        self.send(port, frame)

    def send(self, port, frame):
        while True:
            try:
                self.sockets[port].send(frame)
                return
            except BlockingIOError:
                select.select([], [self.sockets[port]], [], 0.1)
            except OSError as error:
                raise Dead(f"{self.name}: {port} takes no frame of {len(frame)} bytes: {error}")

    def ask(self, ports):
        """Send the sentinels."""
        self.sequence = (self.sequence + 1) & 0xFFFF
        for port in ports:
            self.waiting[port] = self.sequence
            if port == "uplink":
                sender = LINK_NETWORK[SENTINEL_HOST + self.sequence % 50].packed
                ours = socket.inet_aton(UPLINK)
                self.send(port, arp(1, b"\xff" * 6, mac(ROUTER_MAC), sender, bytes(6), ours))
            else:
                qube = next(qube for qube in LIVE if qube.name == port)
                self.send(port, ping_gateway(qube.ip, self.sequence))

    def receive(self, port):
        """Take all frames that wait on a port. Returns whether there were any but sentinels."""
        one = self.sockets[port]
        heard = False
        while True:
            try:
                frame = one.recv(1 << 16)
            except BlockingIOError:
                return heard
            if not self.housekeeping(port, frame):
                self.out.append((port, frame))
                self.frames_out += 1
                heard = True

    def housekeeping(self, port, frame):
        """Deal with what is no outcome: sentinels, and questions for neighbours."""
        ethertype = struct.unpack_from("!H", frame, 12)[0]
        if ethertype == ARP and len(frame) >= 42 and port == "uplink":
            operation, sender, target = frame[21], frame[28:32], frame[38:42]
            if operation == 2 and target[:3] == LINK_NETWORK.network_address.packed[:3]:
                number = SENTINEL_HOST + self.waiting.get(port, -1) % 50
                if port in self.waiting and target[3] == number:
                    del self.waiting[port]
                return target[3] >= SENTINEL_HOST
            if operation == 1:
                address = ipaddress.ip_address(target)
                if address in LINK_NETWORK and str(address) != UPLINK:
                    asker = frame[6:12]
                    self.send(port, arp(2, asker, mac(ROUTER_MAC), target, asker, sender))
                    self.solicited = True
                return True
        elif ethertype == IPV4 and port != "uplink" and frame[23] == 1 and frame[34] == 0:
            identifier, sequence = struct.unpack_from("!HH", frame, 38)
            if identifier == SENTINEL_ID:
                if self.waiting.get(port) == sequence:
                    del self.waiting[port]
                return True
        elif ethertype == IPV6 and frame[20] == 58 and len(frame) >= 78:
            if frame[54] == 135 and port == "uplink":
                target, sender = frame[62:78], frame[22:38]
                address = ipaddress.ip_address(target)
                if address in LINK6_NETWORK and str(address) != UPLINK6 and any(sender):
                    self.send(port, neighbour_advertisement(frame[6:12], target, sender))
                    self.solicited = True
                return True
            # what the kernel says of itself on a link: whom it looks for, groups, shorter ways
            return frame[54] in (133, 143) or frame[54] in (135, 137) and self.name == "kernel"
        elif ethertype == IPV6 and frame[20] == 0:  # hop by hop: MLD
            return frame[38:40] == b"\xff\x02"
        return False


class Wire:
    """Both worlds at once."""

    def __init__(self, worlds):
        self.worlds = worlds
        self.poll = select.poll()
        self.by_descriptor = {}
        for world in worlds:
            for port, one in world.sockets.items():
                self.poll.register(one, select.POLLIN)
                self.by_descriptor[one.fileno()] = (world, port)

    def pump(self, timeout_s):
        """Receive for at most so long. Returns whether an outcome came."""
        heard = False
        for descriptor, _ in self.poll.poll(max(0, timeout_s) * 1000):
            world, port = self.by_descriptor[descriptor]
            heard |= world.receive(port)
        return heard

    def settle(self):
        """Wait until both worlds have dealt with all they were sent."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            for world in self.worlds:
                world.solicited = False
                world.ask(PORTS)
            again = time.monotonic() + ANSWER_S
            while any(world.waiting for world in self.worlds):
                self.pump(0.05)
                now = time.monotonic()
                if now > give_up:
                    silent = "; ".join(
                        f"{world.name} on {', '.join(world.waiting)}" for world in self.worlds
                    )
                    raise Dead(f"no answer from {silent} after {PATIENCE_S:.0f} s")
                if now > again:
                    for world in self.worlds:
                        world.ask(list(world.waiting))
                    again = now + ANSWER_S
            # what waited for a neighbour goes on now: see it through as well
            if not any(world.solicited for world in self.worlds):
                break
        self.silence(SILENCE_S)

    def silence(self, seconds):
        """Receive until nothing has come for so long."""
        quiet = time.monotonic() + seconds
        while True:
            left = quiet - time.monotonic()
            if left <= 0:
                return
            if self.pump(left):
                quiet = time.monotonic() + seconds

    def take(self):
        """What came out since the last time: for each world its (port, frame), in order."""
        taken = [world.out for world in self.worlds]
        for world in self.worlds:
            world.out = []
        return taken
