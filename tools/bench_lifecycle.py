#!/usr/bin/env python3
"""What momento_proxy's life costs: connections it holds, its end under load, its backend's restart.

    tools/bench_lifecycle.py [--bin build/release/bin] [--connections 10000] [--rounds 5]

Memory: resident before and with so many connections, each of which has asked for a key once. End: from
SIGTERM to exit while 64 connections keep 8 gets and sets in flight each. Restart: momento_local is killed under
light load and started again; from the moment it listens until a set and its get work on a connection that
was there before. Medians and worst of the rounds.
"""
import argparse
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time

from bench_proxy import free_port, rss_kb, start, stop, wait_for

ANYWHERE = {0, 1}
QUIET = ["--set", "admin.enabled=false", "--set", "admin.http_enabled=false"]


class Stage:
    def __init__(self, args):
        self.args, self.local_port = args, free_port()
        self.start_local()

    def start_local(self):
        self.local = start(ANYWHERE, f"{self.args.bin}/momento_local", "-p", str(self.local_port),
                           *QUIET, "--set", "local.create_unknown=true")
        wait_for(self.local_port)

    def proxy(self, *settings):
        port = free_port()
        process = start(ANYWHERE, f"{self.args.bin}/momento_proxy", "-p", str(port), "-t", "2", *QUIET,
                        "--set", f"momento.endpoint_override=127.0.0.1:{self.local_port}", "--set",
                        "cache.0.cache_name=c", *settings)
        wait_for(port)
        while not served(port):
            time.sleep(0.01)
        return port, process


def ask(peer, line, end):
    peer.sendall(line)
    heard = b""
    while not heard.endswith(end):
        more = peer.recv(65536)
        if not more:
            raise EOFError(heard)
        heard += more
        if heard.startswith(b"SERVER_ERROR") and heard.endswith(b"\r\n"):
            return heard
    return heard


def served(port, peer=None):
    with peer or socket.create_connection(("127.0.0.1", port)) as one:
        return works(one)


def works(peer):
    return ask(peer, b"set k 0 60 1\r\nv\r\n", b"\r\n") == b"STORED\r\n" and \
        b"VALUE" in ask(peer, b"get k\r\n", b"END\r\n")


def memory(stage, count):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    port, process = stage.proxy("--set", f"server.connections_max={count + 100}")
    before = rss_kb(process.pid)
    peers = []
    for _ in range(count):
        peers.append(socket.create_connection(("127.0.0.1", port), 30))
        ask(peers[-1], b"get k\r\n", b"END\r\n")
    held = len(os.listdir(f"/proc/{process.pid}/fd"))
    assert held > count, f"{held} descriptors are open"
    after = rss_kb(process.pid)
    print(f"memory: {before / 1024:.1f} MB at rest, {after / 1024:.1f} MB with {count} connections, "
          f"{(after - before) / count:.2f} KB each")
    for peer in peers:
        peer.close()
    stop(process)


def exit_under_load(stage, rounds):
    took = []
    for _ in range(rounds):
        port, process = stage.proxy()
        load = subprocess.Popen([f"{stage.args.bin}/load_gen", "-p", str(port), "-c", "64", "-d", "8",
                                 "--preload", "--mix", "get:90,set:10", "-n", "100000000"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1.5)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait()
        took.append(time.monotonic() - began)
        assert code == 0, code
        load.kill()
        load.wait()
    print(f"SIGTERM to exit under load: {statistics.median(took) * 1000:.0f} ms, worst of {rounds} "
          f"{max(took) * 1000:.0f} ms")


def service_after_restart(stage, rounds):
    port, process = stage.proxy()
    took = []
    with socket.create_connection(("127.0.0.1", port), 30) as peer:
        for _ in range(rounds):
            stage.local.kill()
            stage.local.wait()
            until = time.monotonic() + 1
            while time.monotonic() < until:
                works(peer)
                time.sleep(0.01)
            stage.start_local()
            began = time.monotonic()
            while not works(peer):
                time.sleep(0.005)
            took.append(time.monotonic() - began)
    stop(process)
    print(f"service after a backend restart: {statistics.median(took) * 1000:.0f} ms after it listens, "
          f"worst of {rounds} {max(took) * 1000:.0f} ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    assert os.path.exists(f"{args.bin}/load_gen"), f"{args.bin}/load_gen is not built"
    stage = Stage(args)
    memory(stage, args.connections)
    exit_under_load(stage, args.rounds)
    service_after_restart(stage, args.rounds)


if __name__ == "__main__":
    sys.exit(main())
