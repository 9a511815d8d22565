#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Clients of the control socket that are wrong, many, slow or gone: control_clients.py SOCKET

Prints one line per kind; the exit status is 0 when sluiced has treated all of them rightly.
"""
import json
import os
import socket
import sys
import time

PATH = sys.argv[1]
LONG = int(os.environ.get("SECONDS_LONG", "0")) >= 60
LINE_MAX = 1024 * 1024
NESTING_MAX = 32
CLIENTS_MAX = 64
REQUESTS_MAX = 16
INCOMPLETE_SECONDS, UNREAD_SECONDS = 30, 60
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
CONFLICT, TOO_MANY = -32001, -32004

failures = 0


def expect(what, good, seen=None):
    global failures
    if not good:
        failures += 1
    print("ok:  " if good else "FAIL:", what, "" if good else f"(saw {seen!r})")


def connect(timeout=5):
    deadline = time.monotonic() + timeout
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(timeout)
    while True:
        try:
            client.connect(PATH)
            return client
        except BlockingIOError:  # so many wait to be accepted
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def request(method="hello", identity=1, params=None):
    message = {"jsonrpc": "2.0", "id": identity, "method": method}
    if params is not None:
        message["params"] = params
    return json.dumps(message).encode() + b"\n"


def read_line(client):
    """One line without its end; None when the connection ended or nothing came in time."""
    line = b""
    try:
        while not line.endswith(b"\n"):
            part = client.recv(65536)
            if not part:
                return None
            line += part
    except OSError:
        return None
    return line[:-1]


def answer_to(line):
    """The answer to one line of a new client, as an object."""
    with connect() as client:
        client.sendall(line)
        answer = read_line(client)
    try:
        return json.loads(answer) if answer is not None else None
    except ValueError:
        return answer


def closed(client):
    """Tell whether the other side has closed, after whatever it had to say."""
    try:
        while client.recv(65536):
            pass
        return True
    except ConnectionResetError:
        return True
    except OSError:
        return False


def code_of(answer):
    return answer.get("error", {}).get("code") if isinstance(answer, dict) else None


def alive(seconds=2):
    """A well-behaved client is served at once, whatever others do."""
    start = time.monotonic()
    answer = answer_to(request())
    took = time.monotonic() - start
    return isinstance(answer, dict) and "result" in answer and took < seconds


def wrong_lines():
    rows = [
        (b"\n", PARSE_ERROR),
        (b"x\n", PARSE_ERROR),
        (b"{\n", PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "hello"} x\n', PARSE_ERROR),
        (b'"hello"\n', PARSE_ERROR),
        (b"1\n", PARSE_ERROR),
        (b"\xff\xfe\n", PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "\xc3"}\n', PARSE_ERROR),
        ('{"é": ñ}\n'.encode(), PARSE_ERROR),
        (b"[" * 5000 + b"\n", PARSE_ERROR),
        (b'{"a":' * 5000 + b"\n", PARSE_ERROR),
        (b"[]\n", INVALID_REQUEST),
        (b"{}\n", INVALID_REQUEST),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "hello"}]\n', INVALID_REQUEST),
        (b'{"id": 1, "method": "hello"}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "hello"}\n', INVALID_REQUEST),
        (b'{"jsonrpc": 2.0, "id": 1, "method": "hello"}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": 7}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "nothing"}\n', METHOD_NOT_FOUND),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "HELLO"}\n', METHOD_NOT_FOUND),
        (b'{"jsonrpc": "2.0", "id": 1, "method": ""}\n', METHOD_NOT_FOUND),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "hel\0lo"}\n', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "hel\\u0000lo"}\n', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "hello"}\n', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1' + b"0" * 400 + b', "method": "hello"}\n', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": 1e999, "method": "hello"}\n', PARSE_ERROR),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "hello"}\n', INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": true, "method": "hello"}\n', INVALID_REQUEST),
        (request(identity="x" * 1025), INVALID_REQUEST),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "parms": {}}\n', INVALID_REQUEST),
        (request(params=[]), INVALID_PARAMS),
        (request(params="x"), INVALID_PARAMS),
        (request(params={"qube": "work"}), INVALID_PARAMS),
        (request("qubes", params={"Qube": "work"}), INVALID_PARAMS),
        (request("qubes", params={"qube": 7}), INVALID_PARAMS),
        (request("qubes", params={"qube": "nobody"}), CONFLICT),
        (request("qubes", params={"qube": "\u2603" * 1000}), CONFLICT),
        (request("events", params={"kinds": ["weather"]}), INVALID_PARAMS),
        (request("events", params={"kinds": "policy"}), INVALID_PARAMS),
        (request("cancel", params={"id": 1}), CONFLICT),
        (request("cancel"), CONFLICT),
        (b"[" * (NESTING_MAX + 1) + b"]" * (NESTING_MAX + 1) + b"\n", PARSE_ERROR),
        (b"[" * NESTING_MAX + b"]" * NESTING_MAX + b"\n", INVALID_REQUEST),
        (b'["' + b"[" * 100 + b'\\"' + b"[" * 100 + b'"]\n', INVALID_REQUEST),
    ]
    for line, code in rows:
        answer = answer_to(line)
        expect(f"{line[:60]!r} is answered {code}", code_of(answer) == code, answer)


def identities():
    for identity in (0, -1, 2**62, 1.5, "a", "\u2603", "", "x" * 1000):
        answer = answer_to(request(identity=identity))
        expect(
            f"an answer bears its request's id {str(identity)[:20]!r}",
            isinstance(answer, dict) and answer.get("id") == identity,
            answer,
        )
    with connect() as client:
        client.sendall(b'{"jsonrpc": "2.0", "method": "hello"}\n' + request(identity="second"))
        answer = json.loads(read_line(client))
    expect("a notification is not answered", answer.get("id") == "second", answer)


def pipelined():
    with connect() as client:
        client.sendall(b"".join(request(identity=i) for i in range(200)))
        reader = client.makefile("rb")
        seen = [json.loads(reader.readline())["id"] for _ in range(200)]
    expect("200 requests at once are answered in order", seen == list(range(200)), seen[:5])
    with connect() as client:
        for byte in request(identity="slow"):
            client.sendall(bytes([byte]))
        answer = json.loads(read_line(client))
    expect("a request may come byte by byte", answer.get("id") == "slow", answer)
    with connect() as client:
        client.sendall(request("counters"))
        client.shutdown(socket.SHUT_WR)
        answer = read_line(client)
    expect(
        "who has said all he has to say is answered",
        answer is not None and "result" in json.loads(answer),
        answer,
    )


def long_lines():
    padded = request()[:-2] + b" " * (LINE_MAX - len(request())) + b"}\n"
    answer = answer_to(padded)
    expect(
        f"a line of {len(padded)} bytes is answered",
        isinstance(answer, dict) and "result" in answer,
        answer,
    )
    for size in (LINE_MAX, LINE_MAX + 1, 2 * LINE_MAX, 100 * LINE_MAX):
        with connect() as client:
            try:
                for _ in range(0, size, LINE_MAX):
                    client.sendall(b" " * min(size, LINE_MAX))
            except OSError:
                pass  # cut off while sending
            line = read_line(client)
            answer = json.loads(line) if line else line
            expect(
                f"{size} bytes without an end of line are told so and cut off",
                code_of(answer) == INVALID_REQUEST and closed(client),
                answer,
            )
    answer = answer_to(b" " * LINE_MAX + request())
    expect("a line that is one too long is no request", code_of(answer) == INVALID_REQUEST, answer)
    expect("others are served after that", alive())


def values():
    """A line may hold as much as it can: nobody waits for it to be understood."""
    for part in (b"[],", b"1,", b'"",', b'{"a":1},'):
        with connect() as client:
            client.sendall(b"[" + part * (LINE_MAX // len(part) - 2) + b"1]\n")
            good = alive(seconds=0.5)
            answer = json.loads(read_line(client))
        expect(
            f"a line full of {part!r} delays nobody",
            good and code_of(answer) == INVALID_REQUEST,
            answer,
        )
    keys = ",".join(f'"{i}":0' for i in range(90_000))
    answer = answer_to(request()[:-2].replace(b"1", b"{" + keys.encode() + b"}") + b"}\n")
    expect("90000 members are no request", code_of(answer) == INVALID_REQUEST, answer)


def many():
    """1,000 of them at once: 64 are served, the others told so, and it is over in a moment."""
    clients = [connect() for _ in range(100)]
    served = told = 0
    for client in clients:
        try:
            client.sendall(request())
        except OSError:
            pass  # closed already; what it was told can be read still
        line = read_line(client)
        answer = json.loads(line) if line else {}
        served += "result" in answer
        told += code_of(answer) == TOO_MANY
    expect(f"of 100 clients {CLIENTS_MAX} are served", served == CLIENTS_MAX, served)
    expect("and the others told that they are too many", told == 100 - CLIENTS_MAX, told)
    for client in clients:
        client.close()
    time.sleep(0.2)
    expect("others are served when they have gone", alive())
    start = time.monotonic()
    clients = [connect() for _ in range(1000)]
    took = time.monotonic() - start
    told = 0
    for client in clients[CLIENTS_MAX:]:
        told += b"too many" in (read_line(client) or b"")
    expect("of 1000 all but 64 are told so", told == 1000 - CLIENTS_MAX and took < 5, (told, took))
    for client in clients:
        client.close()
    time.sleep(0.2)
    expect("others are served when those have gone", alive())


def pipeliners():
    """Full of small requests, from twenty sides at once: all the same, others are served."""
    clients = [connect(timeout=0.01) for _ in range(20)]
    burst = request() * 20_000
    slowest = 0
    for client in clients:
        try:
            client.sendall(burst)
        except OSError:
            pass  # as much as fits
    for _ in range(20):
        start = time.monotonic()
        if not alive():
            slowest = 99
        slowest = max(slowest, time.monotonic() - start)
    for client in clients:
        client.close()
    expect("others are served beside 20 pipeliners", slowest < 0.5, slowest)
    print(f"      the slowest answer took {slowest * 1000:.1f} ms")


def slow():
    """Ask, and never read: requests wait, nobody else has to, and what was asked is answered."""
    with connect(timeout=1) as client:
        sent = 0
        ask = request("status") * 20
        try:
            while sent < 100_000:
                client.sendall(ask)
                sent += 20
                if sent % 2000 == 0 and not alive():
                    expect("others are served beside a client that does not read", False)
                    return
        except socket.timeout:
            pass
        expect("a client that does not read is not read from", sent < 100_000, sent)
        client.settimeout(5)
        reader = client.makefile("rb")
        seen = 0
        while seen < sent and b"result" in reader.readline():
            seen += 1
        expect(f"when it reads it gets all {sent} answers", seen == sent, seen)
    expect("others are served beside a client that does not read", alive())


def streams():
    with connect() as client:
        for i in range(REQUESTS_MAX):
            client.sendall(request("events", identity=i))
        client.sendall(request(identity="next"))
        client.settimeout(0.3)
        answer = read_line(client)
        expect(f"after {REQUESTS_MAX} open requests the next one waits", answer is None, answer)
    with connect() as client:
        client.sendall(request("events", identity="a") + request("events", identity="b"))
        client.sendall(request("cancel", identity="c", params={"id": "a"}))
        reader = client.makefile("rb")
        lines = [json.loads(reader.readline()) for _ in range(2)]
        expect(
            "a cancelled stream is answered, and so is who cancels it",
            [line["id"] for line in lines] == ["a", "c"]
            and all("result" in line for line in lines),
            lines,
        )
        client.sendall(request("cancel", identity="d", params={"id": "a"}))
        answer = json.loads(reader.readline())
        expect("it cannot be cancelled twice", code_of(answer) == CONFLICT, answer)
    with connect() as client:
        client.sendall(request("events") + request("status", identity=2) * 5)
        client.shutdown(socket.SHUT_WR)
        reader = client.makefile("rb")
        seen = sum(b"result" in reader.readline() for _ in range(5))
        expect("who has a stream and said all is answered all the same", seen == 5, seen)


def half_closed():
    with connect() as client:
        client.sendall(request("status") * 300)
        client.shutdown(socket.SHUT_WR)
        reader = client.makefile("rb")
        seen = len(reader.readlines())
    expect("300 requests of who has said all are answered, then it ends", seen == 300, seen)
    with connect() as client:
        client.sendall(request()[:-1])
        client.shutdown(socket.SHUT_WR)
        expect("a request that was cut off is not carried out", closed(client))


def long_waits():
    """What takes a minute to see."""
    if not LONG:
        return
    incomplete, silent, unread = connect(), connect(), connect()
    incomplete.sendall(request()[:-5])
    unread.settimeout(0.5)
    try:
        while True:
            unread.sendall(request("status") * 20)
    except socket.timeout:
        pass
    start = time.monotonic()
    incomplete.settimeout(INCOMPLETE_SECONDS + 5)
    while time.monotonic() - start < INCOMPLETE_SECONDS - 5:
        time.sleep(1)
        incomplete.sendall(b" ")  # some of it comes, it never ends
    gone = closed(incomplete)
    took = time.monotonic() - start
    expect(f"a request that never ends is cut off after {took:.0f} s", gone and took > 25, took)
    time.sleep(UNREAD_SECONDS + 3 - (time.monotonic() - start))
    gone = True
    try:
        unread.settimeout(5)
        unread.sendall(request())
        gone = False
    except OSError:
        pass
    expect("so is who has not read for a minute", gone)
    silent.sendall(request())
    expect("a silent client may stay", b"result" in (read_line(silent) or b""))


def gone():
    for i in range(300):
        client = connect()
        try:
            client.sendall((request("counters") * 50)[: 40 + i * 7])
        except OSError:
            pass  # one too many at this moment: refused
        client.close()
    time.sleep(0.5)
    expect("others are served after clients that vanished", alive())
    time.sleep(1.2)  # those who left a stream are found within a second
    clients = [connect() for _ in range(CLIENTS_MAX)]
    served = 0
    for client in clients:
        client.sendall(request())
        served += read_line(client) is not None
        client.close()
    expect("and no place is lost by them", served == CLIENTS_MAX, served)
    time.sleep(0.2)


KINDS = (
    wrong_lines,
    identities,
    pipelined,
    long_lines,
    values,
    many,
    pipeliners,
    slow,
    streams,
    half_closed,
    gone,
    long_waits,
)
for kind in KINDS:
    try:
        kind()
    except Exception as error:  # one kind of client must not hide the others
        expect(f"{kind.__name__}: {type(error).__name__}", False, error)
sys.exit(failures != 0)
