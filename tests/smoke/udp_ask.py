#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Ask a UDP port and say what came of it: udp_ask.py [OPTION...] ADDRESS PORT

  --size N    send N bytes and expect them back; without it, the question is "who"
  --big N     have the other end send N bytes
  --bind N    from this port
  --ttl N     hop limit
  --path      say which ICMP error came from whom, not what connect() makes of it
  --df        never in fragments, as path MTU discovery wants it
  --wait S    seconds for the answer, 3 without it

Prints the answer ("N bytes" for what came back unharmed), the name of the error that the socket
got, such as ECONNREFUSED, "ADDRESS TYPE/CODE [MTU]" with --path, or "silence".
"""
import argparse
import errno
import os
import select
import socket
import struct

IP_RECVERR, IPV6_RECVERR = 11, 25
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER = 10, 23
PMTUDISC_DO = 2


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int)
    parser.add_argument("--big", type=int)
    parser.add_argument("--bind", type=int, default=0)
    parser.add_argument("--ttl", type=int)
    parser.add_argument("--path", action="store_true")
    parser.add_argument("--df", action="store_true")
    parser.add_argument("--wait", type=float, default=3)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    return parser.parse_args()


def open_socket(options):
    ipv6 = ":" in options.address
    level = socket.IPPROTO_IPV6 if ipv6 else socket.IPPROTO_IP
    client = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    if options.ttl is not None:
        client.setsockopt(level, 16 if ipv6 else socket.IP_TTL, options.ttl)
    if options.path:
        client.setsockopt(level, IPV6_RECVERR if ipv6 else IP_RECVERR, 1)
    if options.df:
        client.setsockopt(level, IPV6_MTU_DISCOVER if ipv6 else IP_MTU_DISCOVER, PMTUDISC_DO)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    client.bind(("::" if ipv6 else "0.0.0.0", options.bind))
    client.connect((options.address, options.port))
    return client


def path_error(client):
    """What the kernel kept of an ICMP error: struct sock_extended_err and who sent it."""
    _, ancillary, _, _ = client.recvmsg(65536, 512, socket.MSG_ERRQUEUE)
    for level, _, data in ancillary:
        number, origin, kind, code, _, info, _ = struct.unpack_from("=IBBBBII", data)
        offender = data[16:]
        if origin not in (2, 3):
            return f"{errno.errorcode[number]} here, MTU {info}"
        if level == socket.IPPROTO_IPV6:
            address = socket.inet_ntop(socket.AF_INET6, offender[8:24])
        else:
            address = socket.inet_ntop(socket.AF_INET, offender[4:8])
        return f"{address} {kind}/{code}" + (f" {info}" if info else "")
    return "an error without details"


def outcome(client, options, question):
    poll = select.poll()
    poll.register(client, select.POLLIN)
    if not poll.poll(options.wait * 1000):
        return "silence"
    try:
        answer = client.recv(65536)
    except OSError as error:
        return path_error(client) if options.path else errno.errorcode[error.errno]
    if options.big is not None:
        return f"{len(answer)} bytes"
    if options.size is None:
        return answer.decode()
    return f"{len(answer)} bytes" + ("" if answer == question else ", damaged")


def main():
    options = arguments()
    question = b"who" if options.size is None else os.urandom(options.size)
    if options.big is not None:
        question = b"big %d" % options.big
    client = open_socket(options)
    try:
        client.send(question)
    except OSError as error:
        print(path_error(client) if options.path else errno.errorcode[error.errno])
        return
    print(outcome(client, options, question))


main()
