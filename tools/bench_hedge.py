#!/usr/bin/env python3
"""What a few slow calls do to the tail behind momento_proxy, without and with hedged reads.

    tools/bench_hedge.py [--bin build/release/bin] [--seconds 8] [--load 0.7] [--workers 1]

momento_local delays 1 % of its calls by 200 ms. The proxy makes a call for each get, so that each has
its own luck, and has room for the calls that hang. First a closed loop says what it can do at most,
without delays; then gets of different keys come at `load` of that, whether answers keep up or not
(Poisson arrivals). Rows in one run: no delays, delays, delays and hedging. Processes run wherever the
kernel likes.
"""
import argparse
import json
import re
import urllib.request

from bench_proxy import free_port, run, start, wait_for

ANYWHERE = {0, 1}
COMMON = ("cache.0.batch=off", "cache.0.coalesce=false", "cache.0.connections=16",
          "cache.0.deadline=5s")
HEDGED = ("cache.0.hedge_percentile=95", "cache.0.hedge_after=2ms")


def sets(*settings):
    return [word for one in settings for word in ("--set", one)]


def launch(args, faults, settings):
    """A service and a proxy before it: (memcache port, admin port)."""
    local_port, port, http_port = free_port(), free_port(), free_port()
    start(ANYWHERE, f"{args.bin}/momento_local", "-p", str(local_port), *sets(
        "admin.enabled=false", "admin.http_enabled=false", "local.create_unknown=true", *faults))
    wait_for(local_port)
    start(ANYWHERE, f"{args.bin}/momento_proxy", "-p", str(port), "-t", str(args.workers), *sets(
        "admin.enabled=false", f"admin.http_port={http_port}", "cache.0.cache_name=c",
        f"momento.endpoint_override=127.0.0.1:{local_port}", *COMMON, *settings))
    wait_for(port)
    return port, http_port


def load(args, port, *shape):
    out = run(ANYWHERE, f"{args.bin}/load_gen", "-p", str(port), "-t", "1", "--mix", "get:1",
              "--keys", "100000", "--warmup", "2", "--duration", str(args.seconds), "--json", *shape)
    return json.loads(out)


def hedges(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    return [int(re.search(rf"^proxy_momento_hedge_{name}_total (\d+)$", text, re.M).group(1))
            for name in ("sent", "won")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--load", type=float, default=0.7)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    slow = ("local.fault_delay=200ms", "local.fault_delay_percent=1")
    rows = [(name, *launch(args, faults, settings)) for name, faults, settings in (
        ("no delays", (), ()), ("1 % delayed", slow, ()), ("1 % delayed, hedged", slow, HEDGED))]
    most = load(args, rows[0][1], "-c", "64")["rate"]
    rate = most * args.load
    print(f"closed loop, 64 connections: {most:.0f} gets a second; open loop at {rate:.0f}\n")
    print("| | p50 ms | p99 ms | p99.9 ms | hedges of 1000 gets | of them won |\n|---|---|---|---|---|---|")
    for name, port, http_port in rows:
        report = load(args, port, "-c", "64", "-r", f"{rate:.1f}")
        sent, won = hedges(http_port)
        gets = report["requests"]
        at = report["latency"]
        print(f"| {name} | {at['p50_us'] / 1000:.2f} | {at['p99_us'] / 1000:.2f} | "
              f"{at['p999_us'] / 1000:.2f} | {1000 * sent / gets:.1f} | {won} of {sent} |")


if __name__ == "__main__":
    main()
