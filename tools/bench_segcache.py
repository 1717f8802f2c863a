#!/usr/bin/env python3
"""What segcache costs beside stock memcached, in one run.

    tools/bench_segcache.py [--bin build/release/bin] [--rounds 5] [--seconds 1] [--workers 1]
                            [--parts cpu,tail,memory,dialects,io] [--segcache-flags "--set k=v ..."]
                            [--realtime]

segcache, memcached as it comes, memcached -R 320 (which does not yield every 20 requests),
pingserver (our runtime without a cache) and floor_server (only polls, receives and sends) run with
one worker on the first CPU; load_gen runs on the second. Rounds are interleaved; every figure is a
median over rounds, with the least and the most of them, and every ratio is the median of the
ratios within a round. The part "io" runs segcache twice, over epoll and over io_uring, beside
memcached alone. CPU is the server process's own, so other work on the machine disturbs it
less than it does rates and latencies.

With --workers N above 1 servers and load share all CPUs. --realtime (as root) gives them their CPUs
before anything else on the machine: for a busy one, and not for long.
"""
import argparse
import atexit
import getpass
import json
import os
import socket
import statistics
import subprocess
import sys
import time

KEYS = 100_000  # 20 bytes each, with values of 64: fits every cache and no CPU's.
# name, flags of load_gen, what a figure is per.
PIPELINED = ["-c", "8", "-d", "32"]
ONE_AT_A_TIME = ["-c", "50", "-d", "1"]
WORKLOADS = [
    ("get, 8 connections x 32", [*PIPELINED, "--mix", "get"], "request"),
    ("set, 8 x 32", [*PIPELINED, "--mix", "set"], "request"),
    ("90/10, 8 x 32", [*PIPELINED, "--mix", "get:90,set:10"], "request"),
    ("get of 32 keys, 8 x 1", ["-c", "8", "-d", "1", "--mix", "get*32"], "key"),
    ("get, 50 x 1", [*ONE_AT_A_TIME, "--mix", "get"], "request"),
    ("set, 50 x 1", [*ONE_AT_A_TIME, "--mix", "set"], "request"),
    ("90/10, 50 x 1", [*ONE_AT_A_TIME, "--mix", "get:90,set:10"], "request"),
]
# The open loops: what they ask for, and the workload whose saturation sets the rate.
TAILS = [
    ("90/10 over 8 connections", ["-c", "8", "--mix", "get:90,set:10"], "90/10, 8 x 32"),
    ("90/10 over 50 connections", ["-c", "50", "-d", "1", "--mix", "get:90,set:10"],
     "90/10, 50 x 1"),
]
LOAD_SHARE = 0.7
# Other ways to say the same, over the same connections.
DIALECTS = ("text", "meta", "binary")
# Where the two ways to wait differ most: what arrives in each turn, and how much of it.
IO_WORKLOADS = [
    *WORKLOADS,
    ("get, 8 x 1", ["-c", "8", "-d", "1", "--mix", "get"], "request"),
    ("get, 500 x 1", ["-c", "500", "-d", "1", "--mix", "get"], "request"),
    ("set of 100 KB, 4 x 1", ["-c", "4", "-d", "1", "--mix", "set", "--keys", "1000",
                              "--value-bytes", "100000"], "request"),
]
DIALECT_WORKLOADS = [row for row in WORKLOADS if "90/10" not in row[0]]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def placed(cpus, realtime):
    def place():
        os.sched_setaffinity(0, cpus)
        if realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return place


class Server:
    def __init__(self, name, place, argv):
        self.name = name
        self.port = free_port()
        argv = [word.replace("PORT", str(self.port)) for word in argv]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        preexec_fn=place)
        atexit.register(self.stop)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"{' '.join(argv)}: ended with {self.process.returncode}")
                time.sleep(0.05)
        sys.exit(f"{name}: nothing listens")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stats(self):
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(b"stats\r\n")
            heard = b""
            while not heard.endswith(b"END\r\n"):
                heard += s.recv(65536)
        return dict(line.split(" ", 2)[1:] for line in heard.decode().splitlines()[:-1])


class Bench:
    def __init__(self, args):
        self.args = args
        every = os.sched_getaffinity(0)
        server_cpus = load_cpus = every
        if args.workers == 1:
            first, second = sorted(every)[:2]
            server_cpus, load_cpus = {first}, {second}
        self.place = placed(server_cpus, args.realtime)
        self.place_load = placed(load_cpus, args.realtime)
        self.servers = {}

    def segcache(self, megabytes, name="segcache", more=()):
        a = self.args
        return Server(name, self.place,
                      [f"{a.bin}/segcache", "-p", "PORT", "-t", str(a.workers), "-m",
                       str(megabytes), "--set", "admin.enabled=false", "--set",
                       "admin.http_enabled=false", *a.segcache_flags.split(), *more])

    def memcached(self, megabytes, *more):
        user = ["-u", "root"] if getpass.getuser() == "root" else []
        return Server(" ".join(["memcached", *more]), self.place,
                      [self.args.memcached, "-p", "PORT", "-U", "0", "-t", str(self.args.workers),
                       "-m", str(megabytes), *user, *more])

    def start_all(self):
        a = self.args
        made = [self.segcache(256), self.memcached(256), self.memcached(256, "-R", "320"),
                Server("floor", self.place, [f"{a.bin}/floor_server", "PORT"])]
        self.servers = {server.name: server for server in made}
        self.ping = Server("pingserver", self.place,
                           [f"{a.bin}/pingserver", "-p", "PORT", "-t", str(a.workers), "--set",
                            "admin.enabled=false", "--set", "admin.http_enabled=false"])
        for server in made[:3]:
            self.load(server, ["-c", "8", "-n", "1", "--preload"])

    def load(self, server, flags, seconds=None):
        argv = [f"{self.args.bin}/load_gen", "-p", str(server.port), "--pid",
                str(server.process.pid), "--json", *flags]
        if "--keys" not in flags:
            argv += ["--keys", str(KEYS), "--value-bytes", "64"]
        if seconds:
            argv += ["--duration", str(seconds), "--warmup", str(min(0.2, seconds / 5))]
        done = subprocess.run(argv, capture_output=True, text=True, preexec_fn=self.place_load)
        if self.args.realtime:
            time.sleep(0.1)  # The kernel keeps 5 % of each second from them, and takes it in one piece.
        if done.returncode != 0:
            sys.exit(f"{' '.join(argv)}: {done.stderr}{done.stdout}")
        return json.loads(done.stdout)


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def cpu_part(bench, args):
    """Server CPU per request at saturation. Returns the medians in us, by workload and server."""
    us = {(work, name): [] for work, _, _ in WORKLOADS for name in bench.servers}
    busy = {key: [] for key in us}
    ping = {"8 x 32": [], "50 x 1": []}
    for _ in range(args.rounds):
        for work, flags, per in WORKLOADS:
            for name, server in bench.servers.items():
                out = bench.load(server, flags, args.seconds)
                us[work, name].append(
                    out["server_cpu_us_per_key" if per == "key" else "server_cpu_us"])
                busy[work, name].append(out["server_cpus"])
        for shape, flags in (("8 x 32", PIPELINED), ("50 x 1", ONE_AT_A_TIME)):
            out = bench.load(bench.ping, [*flags, "--mix", "ping"], args.seconds)
            ping[shape].append(out["server_cpu_us"])
    names = list(bench.servers)
    peers = [name for name in names if name.startswith("memcached")]
    print(f"\nServer CPU, us per request (of the 32-key gets: per key), {args.workers} worker(s), "
          f"medians of {args.rounds} rounds (least-most)\n")
    print("| workload | " + " | ".join(names) + " | " +
          " | ".join(f"segcache / {peer}" for peer in peers) + " | CPUs busy |")
    print("|---" * (len(names) + len(peers) + 2) + "|")
    for work, _, _ in WORKLOADS:
        cells = [spread(us[work, name]) for name in names]
        cells += [f"{ratio(us, work, peer):.2f}" for peer in peers]
        cells.append("/".join(f"{statistics.median(busy[work, name]):.2f}" for name in names))
        print(f"| {work} | " + " | ".join(cells) + " |")
    print("\npingserver, PING: " + "; ".join(f"{s} {spread(v)}" for s, v in ping.items()))
    return {key: statistics.median(values) for key, values in us.items()}


def dialects_part(bench, args):
    """CPU per request in every dialect, beside memcached's for the same."""
    names = [name for name in bench.servers if name != "floor"]
    us = {}
    for _ in range(args.rounds):
        for work, flags, per in DIALECT_WORKLOADS:
            for dialect in DIALECTS:
                for name in names:
                    out = bench.load(bench.servers[name], [*flags, "--dialect", dialect],
                                     args.seconds)
                    us.setdefault((work, dialect, name), []).append(
                        out["server_cpu_us_per_key" if per == "key" else "server_cpu_us"])
    print(f"\nServer CPU by dialect, us per request (of the 32-key gets: per key), {args.workers} "
          f"worker(s), medians of {args.rounds} rounds (least-most)\n")
    print("| workload | dialect | " + " | ".join(names) + " | " +
          " | ".join(f"segcache / {peer}" for peer in names[1:]) + " |")
    print("|---" * (2 * len(names) + 1) + "|")
    for work, _, _ in DIALECT_WORKLOADS:
        for dialect in DIALECTS:
            ours = us[work, dialect, names[0]]
            cells = [spread(us[work, dialect, name]) for name in names]
            cells += [f"{statistics.median(a / b for a, b in zip(ours, us[work, dialect, peer])):.2f}"
                      for peer in names[1:]]
            print(f"| {work} | {dialect} | " + " | ".join(cells) + " |")


def io_part(bench, args):
    """CPU per request over epoll and over io_uring, beside memcached's."""
    servers = [bench.segcache(256, io, ("--set", f"server.io={io}")) for io in ("epoll", "io_uring")]
    servers.append(bench.memcached(256))
    for server in servers:
        bench.load(server, ["-c", "8", "-n", "1", "--preload"])
    us = {}
    for _ in range(args.rounds):
        for work, flags, per in IO_WORKLOADS:
            for server in servers:
                out = bench.load(server, flags, args.seconds)
                us.setdefault((work, server.name), []).append(
                    out["server_cpu_us_per_key" if per == "key" else "server_cpu_us"])
    print(f"\nServer CPU, us per request (of the 32-key gets: per key), {args.workers} worker(s), "
          f"medians of {args.rounds} rounds (least-most), load average {os.getloadavg()[0]:.1f}\n")
    print("| workload | epoll | io_uring | memcached | io_uring / epoll | epoll / memcached | "
          "io_uring / memcached |")
    print("|---" * 7 + "|")
    for work, _, _ in IO_WORKLOADS:
        cells = [spread(us[work, server.name]) for server in servers]
        for a, b in (("io_uring", "epoll"), ("epoll", "memcached"), ("io_uring", "memcached")):
            both = zip(us[work, a], us[work, b])
            cells.append(f"{statistics.median(x / y for x, y in both):.2f}")
        print(f"| {work} | " + " | ".join(cells) + " |")
    for server in servers:
        server.stop()


def ratio(us, work, peer):
    return statistics.median(a / b for a, b in zip(us[work, "segcache"], us[work, peer]))


def tail_part(bench, args, medians):
    """Open loop at one absolute rate: 70 % of what fills memcached's CPU."""
    names = [name for name in bench.servers if name != "floor"]
    print(f"\nLatency, us, open loop at {LOAD_SHARE:.0%} of the rate that fills memcached's CPU, "
          "from the time a request was due\n")
    print("| load | rate/s | server | p50 | p99 | p99.9 | unsent | CPUs busy |")
    print("|---|---|---|---|---|---|---|---|")
    for load, flags, work in TAILS:
        rate = LOAD_SHARE * args.workers * 1e6 / medians[work, "memcached"]
        rounds = {name: [] for name in names}
        for _ in range(args.rounds):
            for name in names:
                rounds[name].append(bench.load(bench.servers[name], [*flags, "-r", f"{rate:.0f}"],
                                               args.seconds))
        for name in names:
            cells = [spread_us([r["latency"][q] for r in rounds[name]])
                     for q in ("p50_us", "p99_us", "p999_us")]
            unsent = statistics.median(r["unsent"] for r in rounds[name])
            busy = statistics.median(r["server_cpus"] for r in rounds[name])
            print(f"| {load} | {rate:.0f} | {name} | " + " | ".join(cells) +
                  f" | {unsent:.0f} | {busy:.2f} |")


def spread_us(values):
    return f"{statistics.median(values):.0f} ({min(values):.0f}-{max(values):.0f})"


def memory_part(bench):
    """Resident bytes for a million items of 20-byte keys and 100-byte values."""
    items, megabytes = 1_000_000, 256
    payload = items * 120
    print(f"\nResident memory, {items} items of 120 bytes (keys and values {payload / 2**20:.1f} MB), "
          f"-m {megabytes}, nothing evicted\n")
    print("| server | empty MB | full MB | grown by MB | bytes an item beyond key and value |")
    print("|---|---|---|---|---|")
    for server in (bench.segcache(megabytes), bench.memcached(megabytes)):
        empty = server.resident_bytes()
        bench.load(server, ["-c", "8", "-n", "1", "--preload", "--keys", str(items),
                            "--value-bytes", "100"])
        full = server.resident_bytes()
        stats = server.stats()
        if int(stats["curr_items"]) != items or int(stats["evictions"]) != 0:
            sys.exit(f"{server.name}: holds {stats['curr_items']}, evicted {stats['evictions']}")
        print(f"| {server.name} | {empty / 2**20:.1f} | {full / 2**20:.1f} | "
              f"{(full - empty) / 2**20:.1f} | {(full - empty - payload) / items:.1f} "
              f"({(full - payload) / items:.1f} with the empty process) |")
        server.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--memcached", default="memcached")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--parts", default="cpu,tail,memory")
    parser.add_argument("--segcache-flags", default="")
    parser.add_argument("--realtime", action="store_true")
    args = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("needs two CPUs")
    parts = args.parts.split(",")
    bench = Bench(args)
    if set(parts) & {"cpu", "tail", "dialects"}:
        bench.start_all()
    if "dialects" in parts:
        dialects_part(bench, args)
    if "cpu" in parts or "tail" in parts:  # The tail's rate comes from the first.
        medians = cpu_part(bench, args)
        if "tail" in parts:
            tail_part(bench, args, medians)
    if "io" in parts:
        io_part(bench, args)
    if "memory" in parts:
        memory_part(bench)


if __name__ == "__main__":
    main()
