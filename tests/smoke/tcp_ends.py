#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Connections that end in all the ways in which real ones do: tcp_ends.py serve LOG | tcp_ends.py HOST

What a tracker makes of an end shows when the same two ports are used again at once. Prints one line
per way, and ends with status 1 at the first that does not work.
"""
import errno
import socket
import struct
import sys
import threading
import time

PORT = 9000
CLOSED_PORT = 9999
DATAGRAM_PORT = 9001
PATIENCE_S = 15  # a lost SYN costs 1, 2, 4 seconds
TCP_REPAIR = 19
UDP_SEGMENT = 103
SOL_UDP = 17
HALF = 20 * 50000


def talk(connection):
    """Do what the first bytes say."""
    with connection:
        wish = connection.recv(100)
        if wish == b"half":
            while connection.recv(1000):
                pass
            for _ in range(20):
                connection.sendall(bytes(HALF // 20))
                time.sleep(0.02)
        elif wish != b"close":
            connection.sendall(b"yes")
            while connection.recv(1000):
                pass


def listen(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=quietly, args=(talk, connection), daemon=True).start()


def quietly(function, argument):
    try:
        function(argument)
    except OSError:
        pass  # to be reset is what it is here for


def serve(log):
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("::", PORT))
    listener.listen(100)
    threading.Thread(target=listen, args=(listener,), daemon=True).start()
    receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    receiver.bind(("::", DATAGRAM_PORT))
    with open(log, "w") as file:
        print("ready", file=file)
    while True:
        data, source = receiver.recvfrom(65536)
        receiver.sendto(data, source)


def family(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def connect(host, own_port, port=PORT):
    client = socket.socket(family(host))
    client.settimeout(PATIENCE_S)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("", own_port))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            client.connect((host, port))
            return client
        except OSError as error:
            # our own kernel still waits for the last ACK of the connection before
            if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def answered(client):
    client.sendall(b"hello")
    if client.recv(10) != b"yes":
        raise OSError("another answer")
    return client


def closed_by_server(host):
    with connect(host, 5001) as client:
        client.sendall(b"close")
        while client.recv(100):
            pass


def reset_by_client(host):
    with answered(connect(host, 5002)) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def died_in_silence(host):
    """The next SYN meets a connection that lives: a challenge ACK, its RST, and once more."""
    with answered(connect(host, 5003)) as client:
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)


def refused(host):
    try:
        connect(host, 5004, CLOSED_PORT)
    except ConnectionRefusedError:
        return
    raise OSError("not refused")


def half_closed(host):
    with connect(host, 0) as client:
        client.sendall(b"half")
        time.sleep(0.2)
        client.shutdown(socket.SHUT_WR)
        count = 0
        while data := client.recv(65536):
            count += len(data)
    if count != HALF:
        raise OSError(f"{count} bytes came after our FIN, not {HALF}")


def urgent(host):
    with answered(connect(host, 0)) as client:
        client.send(b"!", socket.MSG_OOB)


def segmented_datagrams(host):
    """Not TCP, but cut into segments like it (UDP_SEGMENT, as QUIC uses it)."""
    with socket.socket(family(host), socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE_S)
        client.setsockopt(SOL_UDP, UDP_SEGMENT, 1200)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.connect((host, DATAGRAM_PORT))
        client.send(bytes(40 * 1200))
        for _ in range(40):
            if len(client.recv(65536)) != 1200:
                raise OSError("another length")


WAYS = (
    ("closed by the server, and the same ports again", closed_by_server, 5),
    ("reset by the client, and the same ports again", reset_by_client, 3),
    ("dead without a word, and the same ports again", died_in_silence, 3),
    ("refused, and the same ports again", refused, 3),
    ("half closed, and a megabyte the other way", half_closed, 1),
    ("urgent data", urgent, 1),
    ("one large send as many datagrams", segmented_datagrams, 1),
)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "serve":
        serve(sys.argv[2])
    host = sys.argv[1]
    for name, way, times in WAYS:
        longest = 0.0
        for turn in range(times):
            began = time.monotonic()
            try:
                way(host)
            except OSError as error:
                sys.exit(f"{host}: {name}: turn {turn + 1} of {times}: {error}")
            longest = max(longest, time.monotonic() - began)
        print(f"ok:   {host}: {name}: {times} times, at most {longest * 1000:.0f} ms")


main()
