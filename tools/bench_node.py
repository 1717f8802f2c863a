#!/usr/bin/env python3
"""A Node application behind momento_proxy beside one that calls Momento itself, in one run.

    tools/bench_node.py [--bin build/release/bin] [--rounds 3] [--operations 30000] [--in-flight 1 32 128]

The npm client `memcached` -> momento_proxy -> momento_local, and the official `@gomomento/sdk` ->
momento_local, both unmodified, in interleaved rounds. The application has the first CPU to itself, the
servers share the second. Prints medians over rounds: operations a second, p50 and p99, CPU of the
application for each operation, and of the proxy, which is the price of the first.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

from bench_proxy import MEASURED, OTHERS, free_port, run, start, wait_for

SDK = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration", "sdk")


def cpu_us(process):
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


def launch(args):
    quiet = ["--set", "admin.enabled=false", "--set", "admin.http_enabled=false"]
    local_port, proxy_port = free_port(), free_port()
    start(OTHERS, f"{args.bin}/momento_local", "-p", str(local_port), *quiet, "--set",
          "local.create_unknown=true")
    wait_for(local_port)
    proxy = start(OTHERS, f"{args.bin}/momento_proxy", "-p", str(proxy_port), "-t", "1", *quiet,
                  "--set", f"momento.endpoint_override=127.0.0.1:{local_port}", "--set",
                  "cache.0.cache_name=application")
    wait_for(proxy_port)
    return local_port, proxy_port, proxy


def application(how, port, in_flight, operations):
    return json.loads(run(MEASURED, "node", os.path.join(SDK, "application.js"), how,
                          f"127.0.0.1:{port}", "application", str(in_flight), str(operations)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--operations", type=int, default=30_000)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 32, 128])
    args = parser.parse_args()
    for folder in (SDK, os.path.join(SDK, "..", "matrix")):  # The SDK's, and memcached's clients.
        if not os.path.isdir(os.path.join(folder, "node_modules")):
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True)
    local_port, proxy_port, proxy = launch(args)
    print(f"{'':34}{'ops/s':>9}{'p50 us':>9}{'p99 us':>9}{'app us/op':>11}{'proxy us/op':>13}")
    for in_flight in args.in_flight:
        operations = max(2000, args.operations // (10 if in_flight == 1 else 1))
        rounds = {"memcached": [], "sdk": []}
        for _ in range(args.rounds):
            before = cpu_us(proxy)
            through = application("memcached", proxy_port, in_flight, operations)
            through["proxy_us"] = (cpu_us(proxy) - before) / (operations + 1000)
            rounds["memcached"].append(through)
            rounds["sdk"].append(application("sdk", local_port, in_flight, operations))
        medians = {}
        for how, some in rounds.items():
            assert not any(one["wrong"] for one in some), (how, some)
            medians[how] = {key: statistics.median(one[key] for one in some) for key in some[0]}
        names = {"memcached": "memcached -> momento_proxy", "sdk": "@gomomento/sdk"}
        for how, one in medians.items():
            print(f"{in_flight:4} in flight, {names[how]:27}"[:34].ljust(34) +
                  f"{one['rate']:9.0f}{one['p50_us']:9.0f}{one['p99_us']:9.0f}{one['cpu_us']:11.1f}"
                  f"{one.get('proxy_us', 0):13.1f}")
        ours, theirs = medians["memcached"], medians["sdk"]
        print(f"     ratio: throughput {ours['rate'] / theirs['rate']:.2f}, p99 "
              f"{ours['p99_us'] / theirs['p99_us']:.2f}, CPU of the application "
              f"{ours['cpu_us'] / theirs['cpu_us']:.2f}, with the proxy's "
              f"{(ours['cpu_us'] + ours['proxy_us']) / theirs['cpu_us']:.2f}")


if __name__ == "__main__":
    sys.exit(main())
