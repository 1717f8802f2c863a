#!/usr/bin/env python3
"""What momento_proxy costs beside a bare gRPC client, in one run.

    tools/bench_proxy.py [--bin build/release/bin] [--rounds 5] [--requests 200000]

momento_local runs on the second CPU with the memcache load; the measured process - the bare
asynchronous gRPC client (tools/grpc_load.cc) or momento_proxy with one worker - runs alone on the
first. Rounds are interleaved. Prints CPU per key answered (all threads of the measured process),
latency, resident memory, and the ratio proxy / bare client as the median over rounds.
"""
import argparse
import glob
import os
import re
import socket
import statistics
import subprocess
import sys
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
    return subprocess.Popen(argv, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            preexec_fn=lambda: os.sched_setaffinity(0, cpus))


def run(cpus, *argv):
    out = subprocess.run(argv, check=True, capture_output=True, text=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, cpus)).stdout
    return {k: float(v) for k, v in re.findall(r"(\w+)=([\d.]+)", out)}


def cpu_seconds(pid):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        total += int(open(path).read().split()[0])
    return total / 1e9


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
        config = f"/tmp/bench_proxy.{os.getpid()}.toml"
        with open(config, "w") as f:
            f.write(f'[server]\nworkers = 1\n[admin]\nenabled = false\nhttp_enabled = false\n'
                    f'[momento]\nendpoint_override = "127.0.0.1:{self.local_port}"\n'
                    f'[[cache]]\nport = {self.proxy_port}\ncache_name = "default-cache"\n')
        self.batched, self.proxy_port_single = self.proxy_port, free_port()
        self.proxy = start(MEASURED, f"{args.bin}/momento_proxy", config)
        self.single = start(MEASURED, f"{args.bin}/momento_proxy", config, "--set",
                            "cache.0.batch=off", "-p", str(self.proxy_port_single))
        wait_for(self.proxy_port)
        wait_for(self.proxy_port_single)
        os.unlink(config)

    def stop(self):
        for process in (self.proxy, self.single, self.local):
            process.terminate()
        for process in (self.proxy, self.single, self.local):
            process.wait()

    def bare(self, in_flight, batch=0, requests=None):
        return run(MEASURED, f"{self.args.bin}/grpc_load", "--target",
                   f"127.0.0.1:{self.local_port}", "--in-flight", str(in_flight), "--batch",
                   str(batch), "--requests", str(requests or self.args.requests))

    def proxied(self, process, port, connections, depth, keys, requests=None):
        before = cpu_seconds(process.pid)
        result = run(OTHERS, f"{self.args.bin}/memcache_load", "--port", str(port),
                     "--connections", str(connections), "--depth", str(depth), "--keys-per-get",
                     str(keys), "--requests", str(requests or self.args.requests))
        result["cpu_us"] = (cpu_seconds(process.pid) - before) * 1e6 / result["requests"]
        return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200_000)
    args = parser.parse_args()
    bench = Bench(args)
    try:
        idle_kb = rss_kb(bench.proxy.pid)
        run(OTHERS, f"{args.bin}/memcache_load", "--port", str(bench.proxy_port), "--fill",
            "--requests", "1000")
        on, off = (bench.proxy, bench.proxy_port), (bench.single, bench.proxy_port_single)
        slow = args.requests // 20
        rows = [
            ("64 at once, a call a key", lambda: bench.bare(64),
             lambda: bench.proxied(*off, 64, 1, 1)),
            ("64 at once, a turn's gets share a call", lambda: bench.bare(64),
             lambda: bench.proxied(*on, 64, 1, 1)),
            ("8 connections x depth 32, pipelined", lambda: bench.bare(64),
             lambda: bench.proxied(*on, 8, 32, 1)),
            ("8 connections, 32-key gets", lambda: bench.bare(64),
             lambda: bench.proxied(*on, 8, 1, 32)),
            ("32-key gets beside bare GetBatch of 32", lambda: bench.bare(8, batch=32),
             lambda: bench.proxied(*on, 8, 1, 32)),
            ("one at a time", lambda: bench.bare(1, requests=slow),
             lambda: bench.proxied(*on, 1, 1, 1, requests=slow)),
        ]
        results = {name: [] for name, _, _ in rows}
        for _ in range(args.rounds):
            for name, bare, proxied in rows:
                results[name].append((bare(), proxied()))
        print(f"{'workload':42}{'bare us/key':>12}{'proxy us/key':>13}{'ratio':>7}"
              f"{'bare p50/p99 us':>18}{'proxy p50/p99 us':>19}")
        for name, pairs in results.items():
            mid = statistics.median
            b, p = (lambda k, i: mid(x[i][k] for x in pairs)), None
            ratio = mid(x[1]["cpu_us"] / x[0]["cpu_us"] for x in pairs)
            print(f"{name:42}{b('cpu_us', 0):12.2f}{b('cpu_us', 1):13.2f}{ratio:7.2f}"
                  f"{b('p50_us', 0):9.0f}/{b('p99_us', 0):.0f}"
                  f"{b('p50_us', 1):13.0f}/{b('p99_us', 1):.0f}")
        clients = [socket.create_connection(("127.0.0.1", bench.proxy_port)) for _ in range(1000)]
        for client in clients:
            client.sendall(b"get x\r\n")
        for client in clients:
            client.recv(100)
        time.sleep(0.5)
        full_kb = rss_kb(bench.proxy.pid)
        fresh = start(MEASURED, f"{args.bin}/momento_proxy", "--local", "-p", str(free_port()),
                      "--set", "admin.port=0", "--set", "admin.http_port=0")
        time.sleep(1.5)
        print(f"resident: {idle_kb / 1024:.1f} MB idle, {rss_kb(fresh.pid) / 1024:.1f} MB idle with "
              f"--local; after the load and with 1000 idle connections {full_kb / 1024:.1f} MB")
        before_kb = rss_kb(bench.single.pid)
        more = [socket.create_connection(("127.0.0.1", bench.proxy_port_single))
                for _ in range(1000)]
        for client in more:
            client.sendall(b"get x\r\n")
        for client in more:
            client.recv(100)
        time.sleep(0.5)
        print(f"per idle connection: {(rss_kb(bench.single.pid) - before_kb) / 1000:.1f} KB")
        fresh.terminate()
        fresh.wait()
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
