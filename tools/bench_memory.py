#!/usr/bin/env python3
"""Resident memory of a full segcache beside what it was asked to take (seg.memory, -m).

    tools/bench_memory.py [--bin build/release/bin] [--memory 16 64 256 1024] [--values 50 200 10240]
                          [--memcached memcached]

Each run is a process of its own that is filled twice over with values of one size under keys of ten
bytes; with --memcached that program, too, told the same. Prints what was asked, what is resident (VmRSS of /proc/PID/status), what of that are pages of
files (RssFile: code and libraries, which the kernel takes back when the machine is short of memory, so
that they vary by a megabyte), the items it holds, and what part of what is resident are their values.
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


def fill(port, size, total):
    """Sets `total` bytes of values; returns curr_items."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        body = b" 0 0 %d noreply\r\n" % size + b"x" * size + b"\r\n"
        batch = max(BATCH_BYTES // (size + 24), 1)
        for base in range(0, total // (size + 24), batch):
            client.sendall(b"".join(b"set %010d%s" % (i, body) for i in range(base, base + batch)))
        client.sendall(b"stats\r\n")
        told = b""
        while not told.endswith(b"END\r\n"):
            told += client.recv(65536)
    return int(re.search(rb"STAT curr_items (\d+)", told).group(1))


def segcache(binary, megabytes, extra, log):
    """A server and its port."""
    server = subprocess.Popen([os.path.join(binary, "segcache"), "-p", "0", "-m", str(megabytes),
                               "--set", "admin.port=0", "--set", "admin.http_port=0", *extra],
                              stderr=log)
    while True:
        found = re.search(r"memcache on \S+:(\d+)", open(log.name).read())
        if found:
            return server, int(found.group(1))
        if server.poll() is not None:
            sys.exit(open(log.name).read())
        time.sleep(0.01)


def memcached(program, megabytes, log):
    """The same; the port is written to the log."""
    server = subprocess.Popen([program, "-p", "-1", "-l", "127.0.0.1", "-U", "0", "-u", "root", "-t",
                               "2", "-m", str(megabytes)],
                              env={**os.environ, "MEMCACHED_PORT_FILENAME": log.name})
    while True:
        found = re.search(r"TCP INET: (\d+)", open(log.name).read())
        if found:
            return server, int(found.group(1))
        if server.poll() is not None:
            sys.exit(f"{program} ended")
        time.sleep(0.01)


def run(start, megabytes, size):
    with tempfile.NamedTemporaryFile() as log:
        server, port = start(megabytes, log)
        try:
            items = fill(port, size, 2 * megabytes << 20)
            status = open(f"/proc/{server.pid}/status").read()
            return items, *(int(re.search(name + r":\s+(\d+) kB", status).group(1)) / 1024
                            for name in ("VmRSS", "RssFile"))
        finally:
            server.send_signal(signal.SIGKILL)
            server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--memory", type=int, nargs="+", default=[16, 64, 256, 1024])
    parser.add_argument("--values", type=int, nargs="+", default=[50, 200, 10240])
    parser.add_argument("--set", action="append", default=[], help="a knob, as for segcache")
    parser.add_argument("--memcached", help="a program to be measured beside")
    args = parser.parse_args()
    extra = [word for one in args.set for word in ("--set", one)]
    servers = {"segcache": lambda megabytes, log: segcache(args.bin, megabytes, extra, log)}
    if args.memcached:
        servers["memcached"] = lambda megabytes, log: memcached(args.memcached, megabytes, log)
    print("| | MB asked | value bytes | MB resident | of what was asked | MB of files | items | "
          "values, of what is resident |")
    print("|---|---|---|---|---|---|---|---|")
    for megabytes in args.memory:
        for size in args.values:
            for name, start in servers.items():
                items, rss, files = run(start, megabytes, size)
                print(f"| {name} | {megabytes} | {size} | {rss:.1f} | {100 * rss / megabytes:.1f} % | "
                      f"{files:.1f} | {items} | {100 * items * size / (rss * (1 << 20)):.1f} % |",
                      flush=True)


if __name__ == "__main__":
    main()
