#!/usr/bin/env python3
"""What momento_proxy costs beside a bare gRPC client, in one run.

    tools/bench_proxy.py [--bin build/release/bin] [--rounds 5] [--requests 200000]

momento_local runs on the second CPU with the memcache load; the measured process - the bare
asynchronous gRPC client (tools/grpc_load.cc) or momento_proxy with one worker - runs alone on the
first. Rounds are interleaved. Prints CPU per key answered (all threads of the measured process),
latency and the ratio proxy / bare client, each as the median over rounds, and resident memory.
Needs two CPUs. Other work on the machine inflates the times of both sides; the ratio suffers less.
"""
import argparse
import atexit
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time

MEASURED, OTHERS = {0}, {1}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def start(cpus, *argv):
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, cpus))
    atexit.register(stop, process)
    return process


def stop(process):
    process.terminate()
    process.wait()


def run(cpus, *argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, cpus)).stdout


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


class Bench:
    def __init__(self, args):
        self.args = args
        self.local_port, self.proxy_port = free_port(), free_port()
        quiet = ["--set", "admin.enabled=false", "--set", "admin.http_enabled=false"]
        self.local = start(OTHERS, f"{args.bin}/momento_local", "-p", str(self.local_port), *quiet,
                           "--set", "local.create_unknown=true", "-m", "64")
        wait_for(self.local_port)
        self.proxy_port_single = free_port()
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
            config.write(f'[server]\nworkers = 1\n[admin]\nenabled = false\nhttp_enabled = false\n'
                         f'[momento]\nendpoint_override = "127.0.0.1:{self.local_port}"\n'
                         f'[[cache]]\nport = {self.proxy_port}\ncache_name = "default-cache"\n')
            config.flush()
            self.proxy = start(MEASURED, f"{args.bin}/momento_proxy", config.name)
            self.single = start(MEASURED, f"{args.bin}/momento_proxy", config.name, "--set",
                                "cache.0.batch=off", "-p", str(self.proxy_port_single))
            wait_for(self.proxy_port)
            wait_for(self.proxy_port_single)

    def bare(self, in_flight, batch=0, requests=None):
        out = run(MEASURED, f"{self.args.bin}/grpc_load", "--target",
                  f"127.0.0.1:{self.local_port}", "--in-flight", str(in_flight), "--batch",
                  str(batch), "--requests", str(requests or self.args.requests))
        return {k: float(v) for k, v in re.findall(r"(\w+)=([\d.]+)", out)}

    def proxied(self, process, port, connections, depth, keys, requests=None):
        out = json.loads(run(OTHERS, f"{self.args.bin}/load_gen", "-p", str(port), "--pid",
                             str(process.pid), "-c", str(connections), "-d", str(depth), "--mix",
                             f"get*{keys}", "-n", str((requests or self.args.requests) // keys),
                             "--json"))
        return {"cpu_us": out["server_cpu_us_per_key"], **out["latency"]}


def table(bench, args):
    """Interleaved rounds of every workload, then a line of medians for each."""
    batched, single = (bench.proxy, bench.proxy_port), (bench.single, bench.proxy_port_single)
    few = args.requests // 20
    rows = [
        ("64 in flight, a call a key", lambda: bench.bare(64),
         lambda: bench.proxied(*single, 64, 1, 1)),
        ("64 in flight, a turn's gets share a call", lambda: bench.bare(64),
         lambda: bench.proxied(*batched, 64, 1, 1)),
        ("8 connections x depth 32, pipelined", lambda: bench.bare(64),
         lambda: bench.proxied(*batched, 8, 32, 1)),
        ("8 connections, 32-key gets", lambda: bench.bare(64),
         lambda: bench.proxied(*batched, 8, 1, 32)),
        ("32-key gets beside bare GetBatch of 32", lambda: bench.bare(8, batch=32),
         lambda: bench.proxied(*batched, 8, 1, 32)),
        ("1 in flight", lambda: bench.bare(1, requests=few),
         lambda: bench.proxied(*batched, 1, 1, 1, requests=few)),
    ]
    results = {name: [] for name, _, _ in rows}
    for _ in range(args.rounds):
        for name, bare, proxied in rows:
            results[name].append((bare(), proxied()))
    print(f"{'workload':42}{'bare us/key':>12}{'proxy us/key':>13}{'ratio':>7}"
          f"{'bare p50/p99 us':>18}{'proxy p50/p99 us':>19}")
    for name, pairs in results.items():
        def middle(side, key):
            return statistics.median(pair[side][key] for pair in pairs)
        ratio = statistics.median(p["cpu_us"] / b["cpu_us"] for b, p in pairs)
        latency = [f"{middle(side, 'p50_us'):.0f}/{middle(side, 'p99_us'):.0f}" for side in (0, 1)]
        print(f"{name:42}{middle(0, 'cpu_us'):12.2f}{middle(1, 'cpu_us'):13.2f}{ratio:7.2f}"
              f"{latency[0]:>18}{latency[1]:>19}")


def connect(port, count):
    """Connections that have been used once and are idle."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for client in clients:
        client.sendall(b"get x\r\n")
    for client in clients:
        client.recv(100)
    time.sleep(0.5)
    return clients


def memory(bench, args, idle_kb):
    fresh = start(MEASURED, f"{args.bin}/momento_proxy", "--local", "-p", "0",
                  "--set", "admin.port=0", "--set", "admin.http_port=0")
    time.sleep(1.5)
    print(f"resident: {idle_kb / 1024:.1f} MB idle, {rss_kb(fresh.pid) / 1024:.1f} MB idle with "
          "--local (momento_local within)")
    before_kb = rss_kb(bench.single.pid)
    clients = connect(bench.proxy_port_single, 1000)
    after_kb = rss_kb(bench.single.pid)
    print(f"after the load {before_kb / 1024:.1f} MB, with {len(clients)} idle connections "
          f"{after_kb / 1024:.1f} MB: {(after_kb - before_kb) / len(clients):.1f} KB each")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200_000)
    args = parser.parse_args()
    bench = Bench(args)
    idle_kb = rss_kb(bench.proxy.pid)
    run(OTHERS, f"{args.bin}/load_gen", "-p", str(bench.proxy_port), "--preload", "-n", "1000")
    table(bench, args)
    memory(bench, args, idle_kb)


if __name__ == "__main__":
    main()
