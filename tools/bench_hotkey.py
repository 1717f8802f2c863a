#!/usr/bin/env python3
"""What a hot key costs behind momento_proxy, in one run.

    tools/bench_hotkey.py [--bin build/release/bin] [--rounds 3] [--requests 60000]
                          [--connections 100] [--workers 2]

Connections ask for one key in a closed loop. A row each: every get a call of its own, gets of a turn
in GetBatch calls, gets of a key sharing a call, and the near cache. Prints backend operations and
calls for each client get, as momento_local counts them, CPU of the proxy for each get and the
median latency, medians over rounds that are interleaved. Processes run wherever the kernel likes.
"""
import argparse
import json
import re
import statistics
import sys
import urllib.request

from bench_proxy import free_port, run, start, wait_for

ANYWHERE = {0, 1}
ROWS = (
    ("a call a get", ("cache.0.coalesce=false", "cache.0.batch=off")),
    ("batches, not coalesced", ("cache.0.coalesce=false",)),
    ("coalesced (default)", ()),
    ("near cache, 1 s", ("cache.0.near_size=1MB",)),
)


def counts(port):
    """Operations and calls that momento_local answered."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()

    def total(name):
        return sum(float(v) for v in re.findall(rf"^{name}\{{.*\}} (\S+)$", text, re.M))
    return total("cache_local_operation_total"), total("cache_local_calls_total")


def launch(args):
    def sets(*settings):
        return [word for one in settings for word in ("--set", one)]
    local_port, http_port = free_port(), free_port()
    start(ANYWHERE, f"{args.bin}/momento_local", "-p", str(local_port), *sets(
        "admin.enabled=false", f"admin.http_port={http_port}", "local.create_unknown=true"))
    wait_for(local_port)
    proxies = []
    for name, settings in ROWS:
        port = free_port()
        process = start(ANYWHERE, f"{args.bin}/momento_proxy", "-p", str(port), "-t",
                        str(args.workers), *sets(
                            "admin.enabled=false", "admin.http_enabled=false",
                            f"momento.endpoint_override=127.0.0.1:{local_port}",
                            "cache.0.cache_name=c", *settings))
        wait_for(port)
        proxies.append((name, port, process))
    return http_port, proxies


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=60_000)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    http_port, proxies = launch(args)
    run(ANYWHERE, f"{args.bin}/load_gen", "-p", str(proxies[0][1]), "--keys", "1", "--preload", "-n",
        "100")
    results = {name: [] for name, _, _ in proxies}
    for _ in range(args.rounds):
        for name, port, process in proxies:
            before = counts(http_port)
            load = json.loads(run(ANYWHERE, f"{args.bin}/load_gen", "-p", str(port), "--pid",
                                  str(process.pid), "--keys", "1", "-c", str(args.connections),
                                  "-n", str(args.requests), "--mix", "get", "--json"))
            after = counts(http_port)
            results[name].append(((after[0] - before[0]) / args.requests,
                                  (after[1] - before[1]) / args.requests,
                                  load["server_cpu_us_per_key"], load["latency"]["p50_us"]))
    print(f"{'one key, %d connections' % args.connections:28}{'operations/get':>15}{'calls/get':>11}"
          f"{'proxy us/get':>14}{'p50 us':>9}")
    for name, rounds in results.items():
        operations, calls, cpu, p50 = (statistics.median(column) for column in zip(*rounds))
        print(f"{name:28}{operations:15.4f}{calls:11.4f}{cpu:14.2f}{p50:9.0f}")


if __name__ == "__main__":
    sys.exit(main())
