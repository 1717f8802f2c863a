#!/usr/bin/env python3
"""How long segcache takes from SIGTERM to the end, and from the start to the first get served.

    tools/bench_restart.py [--bin build/release/bin] [--heap 4GB] [--value 1000] [--folder /dev/shm]

Fills a heap whose file (seg.restart_file) lies in FOLDER, stops it, starts it again, and checks that
what was last stored is served. Needs as much memory as the heap is large, and a little.
"""
import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

BATCH_BYTES = 4 << 20
UNITS = {"MB": 1 << 20, "GB": 1 << 30}


class Server:
    def __init__(self, binary, heap, path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(
            [os.path.join(binary, "segcache"), "-p", str(self.port), "--set", f"seg.heap_size={heap}",
             "--set", f"seg.restart_file={path}", "--set", "admin.enabled=false",
             "--set", "admin.http_enabled=false"], stderr=self.log)

    def connect(self):
        while True:
            if self.process.poll() is not None:
                sys.exit(open(self.log.name).read())
            try:
                return socket.create_connection(("127.0.0.1", self.port))
            except ConnectionRefusedError:
                time.sleep(0.002)

    def stop(self):
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return time.monotonic() - began


def ask(client, line):
    client.sendall(line + b"\r\n")
    told = b""
    while not told.endswith(b"END\r\n"):
        told += client.recv(65536)
    return told


def items_of(client):
    return int(re.search(rb"STAT curr_items (\d+)", ask(client, b"stats")).group(1))


def fill(client, size, total):
    body = b" 0 0 %d noreply\r\n" % size + b"x" * size + b"\r\n"
    batch = max(BATCH_BYTES // size, 1)
    last = 0
    for base in range(0, total // size, batch):
        last = base + batch - 1
        client.sendall(b"".join(b"set %010d%s" % (i, body) for i in range(base, last + 1)))
    return b"%010d" % last


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--heap", default="4GB")
    parser.add_argument("--value", type=int, default=1000)
    parser.add_argument("--folder", default="/dev/shm")
    args = parser.parse_args()
    total = int(args.heap[:-2]) * UNITS[args.heap[-2:]]
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = os.path.join(folder, "segcache")
        began = time.monotonic()
        server = Server(args.bin, args.heap, path)
        client = server.connect()
        empty = time.monotonic() - began
        last = fill(client, args.value, total * 11 // 10)
        items = items_of(client)
        client.close()
        stop = server.stop()
        began = time.monotonic()
        server = Server(args.bin, args.heap, path)
        client = server.connect()
        found = ask(client, b"get " + last)
        start = time.monotonic() - began
        kept = items_of(client)
        assert found.startswith(b"VALUE"), open(server.log.name).read()
        assert kept == items, (kept, items)
        server.process.kill()
        print(f"{args.heap} of values of {args.value} bytes, {items} items, a file of "
              f"{os.path.getsize(path) / (1 << 20):.0f} MB in {args.folder}: first start, empty, to "
              f"connect {empty:.2f} s; SIGTERM to the end {stop:.2f} s; start to the first get "
              f"served {start:.2f} s")


if __name__ == "__main__":
    main()
