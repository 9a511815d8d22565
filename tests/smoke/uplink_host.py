#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What runs on the uplink host: uplink_host.py DIRECTORY HTTP-PORT... -- UDP-PORT

A web server for the files of DIRECTORY (GET) that also takes files (PUT), fast enough not to be
what is measured; and a UDP port whose datagrams are written to DIRECTORY/datagrams, one line each:
source address, source port, text. DIRECTORY/ready exists as soon as all ports are open.
"""
import http.server
import os
import socket
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def file(self):
        return os.path.join(self.server.directory, os.path.basename(self.path) or "index")

    def answer(self, status, length):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def do_GET(self):
        try:
            with open(self.file(), "rb") as file:
                self.answer(200, os.fstat(file.fileno()).st_size)
                self.connection.sendfile(file)
        except FileNotFoundError:
            self.answer(404, 0)

    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        buffer = memoryview(bytearray(1 << 20))
        # written over: what is there already costs no new memory
        descriptor = os.open(self.file(), os.O_WRONLY | os.O_CREAT, 0o644)
        with open(descriptor, "wb", buffering=0) as file:
            while left:
                count = self.rfile.readinto1(buffer[: min(left, len(buffer))])
                if not count:
                    return
                file.write(buffer[:count])
                left -= count
            file.truncate()
        self.answer(201, 0)

    def log_message(self, format, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and with it IPv4
    request_queue_size = 128


def main():
    directory, arguments = sys.argv[1], sys.argv[2:]
    split = arguments.index("--")
    for port in arguments[:split]:
        server = Server(("::", int(port)), Handler)
        server.directory = directory
        threading.Thread(target=server.serve_forever, daemon=True).start()
    receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.bind(("::", int(arguments[split + 1])))
    with open(os.path.join(directory, "datagrams"), "w", buffering=1) as log:
        open(os.path.join(directory, "ready"), "w").close()
        while True:
            data, source = receiver.recvfrom(2048)
            address = source[0].removeprefix("::ffff:")
            print(address, source[1], data.decode(errors="replace").strip(), file=log)


main()
