#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A server that says who is asking: echo_server.py LOG tcp:PORT... udp:PORT...

TCP ports speak HTTP: GET /who answers "ADDRESS PORT OWN-PORT", the first two of the client as seen
here, GET /drip a line twenty times a second until the client goes. UDP ports answer "who" likewise,
"big N" with N bytes, and send every other datagram back as it came. IPv4 and IPv6 on all of them.

LOG gets a line "ready" as soon as all ports are open, and one "drip ADDRESS PORT: WHY" when a drip
ends.
"""
import errno
import http.server
import socket
import sys
import threading
import time

DRIP_S = 0.05


def plain(address):
    return address.removeprefix("::ffff:")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        who = f"{plain(self.client_address[0])} {self.client_address[1]}"
        if self.path == "/drip":
            self.close_connection = True
            self.drip(who)
            return
        body = f"{who} {self.server.server_address[1]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drip(self, who):
        try:
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(b"drip\n")
                time.sleep(DRIP_S)
        except OSError as error:
            print(f"drip {who}: {errno.errorcode[error.errno]}", file=self.server.log)

    def log_message(self, format, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and with it IPv4
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # clients are reset on purpose


def echo(receiver):
    while True:
        try:
            data, source = receiver.recvfrom(65536)
            if data == b"who":
                own = receiver.getsockname()[1]
                data = f"{plain(source[0])} {source[1]} {own}".encode()
            elif data.startswith(b"big "):
                data = bytes(int(data[4:]))
            receiver.sendto(data, source)
        except OSError:
            pass  # what an earlier answer met with


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    with open(sys.argv[1], "w", buffering=1) as log:
        for argument in sys.argv[2:]:
            protocol, port = argument.split(":")
            if protocol == "tcp":
                server = Server(("::", int(port)), Handler)
                server.log = log
                run, arguments = server.serve_forever, ()
            else:
                receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
                receiver.bind(("::", int(port)))
                run, arguments = echo, (receiver,)
            threading.Thread(target=run, args=arguments, daemon=True).start()
        print("ready", file=log)
        threading.Event().wait()


main()
