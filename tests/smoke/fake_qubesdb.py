#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A daemon of QubesDB for tests, and dom0 behind it.

    fake_qubesdb.py serve SOCKET CONTROL     be the daemon; CONTROL is a socket for what follows
    fake_qubesdb.py CONTROL COMMAND...       make it do something, print what it says

    write PATH VALUE | read PATH | rm PATH | list PREFIX     as dom0 does it
    rules ADDRESS POLICY [RULE...]     as dom0 writes rules: rm, policy, rules, commit marker
    forwards ADDRESS [RULE...]         the same for forwards
    handled ADDRESS                    the counter, 0 for none
    wait ADDRESS COUNTER SECONDS       until the counter is another one; prints milliseconds
    commit SECONDS ADDRESS POLICY [RULE...]   rules, and wait; prints milliseconds after the marker
    load FILE                          many commands, one per line, in one go; RULE.. separated by |
    restart [SECONDS] [empty]          drop all clients and refuse others for so long
    rude HABIT [on|off]                see HABITS
    stats                              what clients did, as JSON

As a module: Daemon (in this process) and Remote (over CONTROL).

The wire protocol is that of the table in the contract: header of 72 bytes - type, path with a NUL in
64, three zeroes, length of the data in the order of this machine - and data. The daemon answers in
order, tells its own client the result of a write before it tells others of the change, ends the
connection of who writes what cannot be, and does not read from who does not read.
"""
import json
import os
import selectors
import socket
import struct
import sys
import time

(READ, WRITE, MULTIREAD, LIST, RM, WATCH, UNWATCH,
 OK, NOENT, ERROR, GOT_READ, GOT_MULTIREAD, GOT_LIST, GOT_WATCH) = range(14)

HEADER = struct.Struct("=B64s3xI")
assert HEADER.size == 72
PATH_MAX, VALUE_MAX = 63, 3071
LETTERS = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.:@")

HABITS = {
    "pieces": "send everything in pieces of a few bytes",
    "gossip": "events of a path that nobody needs between all messages of an answer",
    "mute": "accept, read, and answer nothing",
    "deaf": "accept, and read nothing",
    "garbage": "answer with bytes that are no message",
    "type": "answer with the wrong type",
    "endless": "trees without an end",
    "long": "data that is longer than allowed",
    "slow": "read one message in 10 ms",
    "hangup": "end the connection after half an answer",
}


def message(kind, path=b"", data=b""):
    return HEADER.pack(kind, path, len(data)) + data


def path_is_good(path):
    return 0 < len(path) <= PATH_MAX and path[:1] == b"/" and set(path) <= LETTERS


class Client:
    def __init__(self, connection):
        self.connection = connection
        self.input = b""
        self.output = b""
        self.watches = []
        self.closing = False
        self.next_read = 0.0


class Daemon:
    """The database and its clients. `poll` does what can be done without waiting."""

    def __init__(self, path):
        self.path = path
        self.keys = {}
        self.clients = {}
        self.selector = selectors.DefaultSelector()
        self.rude = set()
        self.refuse_until = 0.0
        self.listener = None
        self.stats = {"connections": 0, "requests": 0, "writes": 0, "bad_writes": 0,
                      "watches": 0, "split": 0}
        self.listen()

    def listen(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(16)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)

    # --- the loop

    def poll(self, timeout):
        now = time.monotonic()
        if self.listener is None and now >= self.refuse_until:
            self.listen()
        if self.listener is None:
            timeout = min(timeout, self.refuse_until - now)
        if "slow" in self.rude or "pieces" in self.rude:
            timeout = min(timeout, 0.005)
        for key, mask in self.selector.select(timeout):
            key.data(mask)
        for client in list(self.clients.values()):
            self.requests(client)
            self.flush(client)

    def accept(self, _):
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        client = Client(connection)
        self.clients[connection] = client
        self.stats["connections"] += 1
        self.selector.register(connection, selectors.EVENT_READ,
                               lambda mask: self.serve(client, mask))

    def drop(self, client):
        if self.clients.pop(client.connection, None) is not None:
            self.selector.unregister(client.connection)
            client.connection.close()

    def restart(self, seconds, empty):
        for client in list(self.clients.values()):
            self.drop(client)
        self.selector.unregister(self.listener)
        self.listener.close()
        os.unlink(self.path)
        self.listener = None
        self.refuse_until = time.monotonic() + seconds
        if empty:
            self.keys.clear()

    def serve(self, client, mask):
        if mask & selectors.EVENT_READ and client.connection in self.clients:
            if "deaf" in self.rude:
                time.sleep(0.002)
                return
            # as the daemon does: nothing is read from who has not read what there is for it
            if len(client.output) < 1 << 20 or "mute" in self.rude:
                try:
                    data = client.connection.recv(1 << 16)
                except BlockingIOError:
                    return
                except OSError:
                    data = b""
                if not data:
                    self.drop(client)
                    return
                client.input += data

    def requests(self, client):
        while client.connection in self.clients and len(client.input) >= HEADER.size \
                and not client.closing:
            if "slow" in self.rude:
                now = time.monotonic()
                if now < client.next_read:
                    return
                client.next_read = now + 0.01
            kind, path, length = HEADER.unpack_from(client.input)
            if len(client.input) < HEADER.size + length:
                self.stats["split"] += 1  # header and data did not come in one piece
                return
            data = client.input[HEADER.size:HEADER.size + length]
            client.input = client.input[HEADER.size + length:]
            self.stats["requests"] += 1
            if b"\0" not in path:
                self.drop(client)
                return
            self.request(client, kind, path.split(b"\0")[0], data)

    def request(self, client, kind, path, data):
        if "mute" in self.rude:
            return
        if "garbage" in self.rude:
            client.output += b"\xff" * 200
            return
        if "type" in self.rude:
            client.output += message(GOT_WATCH + 1, path)
            return
        if "long" in self.rude:
            client.output += message(GOT_READ, path, b"x" * 4000)
            return
        if "endless" in self.rude and kind == MULTIREAD:
            client.output += message(GOT_MULTIREAD,
                                     path + b"0000") * 1000
            client.input = message(kind, path) + client.input
            return
        if kind != WRITE and data:
            self.drop(client)
        elif kind == READ:
            if path in self.keys:
                self.answer(client, message(GOT_READ, path, self.keys[path]))
            else:
                self.answer(client, message(NOENT, path))
        elif kind == MULTIREAD:
            for one in sorted(self.keys):
                if one.startswith(path):
                    self.answer(client, message(GOT_MULTIREAD, one, self.keys[one]))
            self.answer(client, message(GOT_MULTIREAD))
        elif kind == LIST:
            for one in sorted(self.keys):
                if one.startswith(path):
                    self.answer(client, message(GOT_LIST, one))
            self.answer(client, message(GOT_LIST))
        elif kind == WRITE:
            self.stats["writes"] += 1
            if not path_is_good(path) or path.endswith(b"/") or len(data) > VALUE_MAX \
                    or b"\0" in data:
                self.stats["bad_writes"] += 1
                self.answer(client, message(ERROR, path))
                client.closing = True
            else:
                self.keys[path] = data
                self.answer(client, message(OK, path))
                self.fire(path)
        elif kind == RM:
            self.answer(client, message(OK if self.remove(path) else NOENT, path))
            self.fire_pending()
        elif kind == WATCH:
            self.stats["watches"] += 1
            client.watches.append(path)
            self.answer(client, message(OK, path))
        elif kind == UNWATCH:
            if path in client.watches:
                client.watches.remove(path)
            self.answer(client, message(OK, path))
        else:
            self.drop(client)

    def answer(self, client, data):
        if "gossip" in self.rude and client.watches:
            client.output += message(GOT_WATCH, b"/qubes-firewall/192.0.2.99/0000")
        if "hangup" in self.rude:
            client.output += data[:len(data) // 2]
            client.closing = True
            return
        if not client.closing:
            client.output += data

    def flush(self, client):
        if client.connection not in self.clients:
            return
        while client.output:
            piece = client.output[:7] if "pieces" in self.rude else client.output[:1 << 18]
            try:
                sent = client.connection.send(piece)
            except BlockingIOError:
                break
            except OSError:
                self.drop(client)
                return
            client.output = client.output[sent:]
            if "pieces" in self.rude and len(client.output) % 3 == 0:
                break
        if client.closing and not client.output:
            self.drop(client)
            return
        self.selector.modify(client.connection,
                             selectors.EVENT_READ | (selectors.EVENT_WRITE if client.output else 0),
                             lambda mask: self.serve(client, mask))

    # --- the database

    pending = ()

    def remove(self, path):
        if path.endswith(b"/"):
            gone = [one for one in self.keys if one.startswith(path)]
        else:
            gone = [path] if path in self.keys else []
        for one in gone:
            del self.keys[one]
        self.pending = (path,) if gone else ()
        return bool(gone)

    def fire_pending(self):
        for path in self.pending:
            self.fire(path)
        self.pending = ()

    def fire(self, path):
        for client in self.clients.values():
            for watch in client.watches:
                if path.startswith(watch) if watch.endswith(b"/") else path == watch:
                    client.output += message(GOT_WATCH, path)

    # --- dom0

    def write(self, path, value):
        path, value = path.encode(), value.encode("latin-1")
        assert path_is_good(path) and len(value) <= VALUE_MAX, path
        self.keys[path] = value
        self.fire(path)

    def rm(self, path):
        self.remove(path.encode())
        self.fire_pending()

    def tree(self, prefix, address, policy, rules):
        self.rm(f"{prefix}/{address}/")
        if policy:
            self.write(f"{prefix}/{address}/policy", policy)
        for number, rule in enumerate(rules):
            if rule:
                self.write(f"{prefix}/{address}/{number:04}", rule)
        self.write(f"{prefix}/{address}", "")

    def handled(self, address):
        return int(self.keys.get(f"/qubes-firewall-handled/{address}".encode(), b"0"))

    def command(self, words):
        """What CONTROL takes, but for those that wait. @return text"""
        verb, rest = words[0], words[1:]
        if verb == "write":
            self.write(rest[0], rest[1] if len(rest) > 1 else "")
        elif verb == "rm":
            self.rm(rest[0])
        elif verb == "read":
            value = self.keys.get(rest[0].encode())
            return "" if value is None else value.decode("latin-1")
        elif verb == "list":
            return "\n".join(one.decode() for one in sorted(self.keys)
                             if one.startswith(rest[0].encode()))
        elif verb == "rules":
            self.tree("/qubes-firewall", rest[0], rest[1], rest[2:])
        elif verb == "forwards":
            self.tree("/qubes-firewall-forward", rest[0], "", rest[1:])
        elif verb == "handled":
            return str(self.handled(rest[0]))
        elif verb == "load":
            with open(rest[0], encoding="utf-8") as lines:
                for line in lines:
                    self.command(line.rstrip("\n").split("|"))
        elif verb == "restart":
            self.restart(float(rest[0]) if rest else 0.0, "empty" in rest)
        elif verb == "rude":
            if rest[0] not in HABITS:
                raise ValueError(f"no such habit: {rest[0]}")
            (self.rude.discard if rest[1:] == ["off"] else self.rude.add)(rest[0])
        elif verb == "stats":
            return json.dumps(self.stats)
        else:
            raise ValueError(f"no such command: {verb}")
        return ""


class Waiter:
    """A command that waits for a counter."""

    def __init__(self, connection, address, counter, seconds):
        self.connection = connection
        self.address = address
        self.counter = counter
        self.begin = time.monotonic()
        self.end = self.begin + seconds


def serve(path, control_path):
    daemon = Daemon(path)
    if os.path.exists(control_path):
        os.unlink(control_path)
    control = socket.socket(socket.AF_UNIX)
    control.bind(control_path)
    control.listen(16)
    waiters = []

    def answer(connection, status, text):
        try:
            connection.sendall(json.dumps([status, text]).encode())
        except OSError:
            pass
        connection.close()

    def command(_):
        connection, _ = control.accept()
        connection.settimeout(5)
        data = b""
        while not data.endswith(b"\n"):
            piece = connection.recv(1 << 20)
            if not piece:
                return
            data += piece
        words = json.loads(data)
        try:
            if words[0] == "wait":
                waiters.append(Waiter(connection, words[1], int(words[2]), float(words[3])))
            elif words[0] == "commit":
                before = daemon.handled(words[2])
                daemon.command(["rules"] + words[2:])
                waiters.append(Waiter(connection, words[2], before, float(words[1])))
            else:
                answer(connection, 0, daemon.command(words))
        except (ValueError, AssertionError, IndexError, OSError) as error:
            answer(connection, 1, repr(error))

    daemon.selector.register(control, selectors.EVENT_READ, command)
    print("ready", flush=True)
    while True:
        daemon.poll(0.5 if not waiters else 0.02)
        now = time.monotonic()
        for waiter in list(waiters):
            if daemon.handled(waiter.address) != waiter.counter:
                answer(waiter.connection, 0, f"{(now - waiter.begin) * 1e3:.1f}")
                waiters.remove(waiter)
            elif now > waiter.end:
                answer(waiter.connection, 1, "nothing was handled")
                waiters.remove(waiter)


class Remote:
    def __init__(self, control_path):
        self.control_path = control_path

    def command(self, *words):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.control_path)
            connection.sendall(json.dumps(words).encode() + b"\n")
            data = b""
            while piece := connection.recv(1 << 16):
                data += piece
        status, text = json.loads(data)
        if status != 0:
            raise RuntimeError(text)
        return text


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3])
    elif len(sys.argv) > 2:
        try:
            text = Remote(sys.argv[1]).command(*sys.argv[2:])
        except RuntimeError as error:
            sys.exit(f"fake_qubesdb: {error}")
        if text:
            print(text)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
