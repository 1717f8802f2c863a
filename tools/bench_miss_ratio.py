#!/usr/bin/env python3
"""Miss ratios of segcache and stock memcached at equal resident memory, over the network.

    tools/bench_miss_ratio.py TRACE.csv.zst --memory 16 32 --time-scale 180

Either server is started alone with one worker and gets the trace from trace_replay. The size it is
told (-m, heap_size) is corrected until its resident memory at the end of the replay is the one asked
for, or a little less. With TTLs, time matters: libfaketime (Debian package faketime) makes the
server's clocks run --time-scale times as fast and the trace is replayed at that pace, so an item
with a TTL of 60 lives for 60 seconds of the trace; memcached's clock cannot be told otherwise.
--time-scale 0 is for traces without TTLs.
"""
import argparse
import contextlib
import os
import re
import socket
import subprocess
import sys
import time

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
MB = 1 << 20


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def memcached(port, size, _):
    # Its default user is not there everywhere; -m counts whole megabytes.
    return ["memcached", "-p", str(port), "-l", "127.0.0.1", "-U", "0", "-t", "1", "-u", "root",
            "-m", str(max(size // MB, 1))]


def segcache(port, size, options):
    argv = [os.path.join(options.bin, "segcache"), "-p", str(port), "-l", "127.0.0.1", "-t", "1"]
    for setting in ["admin.port=0", "admin.http_port=0", f"seg.heap_size={size // 4096 * 4096}B",
                    *options.set]:
        argv += ["--set", setting]
    return argv


@contextlib.contextmanager
def running(argv, port, scale):
    env = dict(os.environ)
    if scale > 0:
        env.update(LD_PRELOAD=FAKETIME, FAKETIME=f"+0 x{scale}")
    process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        for _ in range(500):
            if process.poll() is not None:
                sys.exit(f"{argv[0]} ended: {process.returncode}")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.02)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def replay(command, size, options):
    port = free_port()
    with running(command(port, size, options), port, options.time_scale) as pid:
        out = subprocess.run(
            [os.path.join(options.bin, "trace_replay"), options.trace, "--port", str(port), "--pid",
             str(pid), "--time-scale", str(options.time_scale), "--depth", str(options.depth)],
            check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", out)}


def at_memory(name, command, memory, options):
    """The result with the most memory that is not above `memory`, within what a round can find."""
    best = None
    # What either takes beside its items, about: the program and its buffers, and segcache's index.
    size = max(memory - 5 * MB, 1 * MB)
    if command is segcache:
        size = int(size / 1.07)
    for _ in range(options.rounds):
        found = replay(command, size, options)
        found["size"] = size
        rss = found["server_rss_kb"] * 1024
        print(f"  {name}: size {size / MB:.2f} MB -> rss {rss / MB:.2f} MB, "
              f"misses {found['miss_ratio']:.4f}, refused {found['sets_refused']:.0f}, "
              f"{found['rate']:.0f}/s, late {found['late_s']:.2f} s", flush=True)
        if rss <= memory and (best is None or rss > best["server_rss_kb"] * 1024):
            best = found
        # Within 2 %, or so large that all of the trace fits.
        if best is found and (memory - rss < memory / 50 or size > 1.5 * memory):
            break
        step = memory - rss
        # A megabyte is memcached's grain.
        size = max(int(size + (step if step < 0 else step * 0.95)), 1 * MB)
        if command is memcached:
            size = size // MB * MB
            if best is not None and size <= best["size"]:
                break
    return best or found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trace")
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--memory", type=float, nargs="+", default=[16, 32], help="MB, all of it")
    parser.add_argument("--time-scale", type=int, default=60)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4, help="replays to find a size with")
    parser.add_argument("--set", action="append", default=[], help="of segcache: seg.eviction=fifo")
    parser.add_argument("--only", choices=["memcached", "segcache"])
    options = parser.parse_args()
    if options.time_scale > 0 and not os.path.exists(FAKETIME):
        sys.exit("faketime is not installed")
    print(f"{'server':<10} {'memory':>7} {'size':>7} {'rss':>7} {'misses':>8} {'refused':>8}")
    for memory in options.memory:
        for name, command in (("memcached", memcached), ("segcache", segcache)):
            if options.only not in (None, name):
                continue
            found = at_memory(name, command, int(memory * MB), options)
            print(f"{name:<10} {memory:>7.0f} {found['size'] / MB:>7.2f} "
                  f"{found['server_rss_kb'] / 1024:>7.2f} {found['miss_ratio']:>8.4f} "
                  f"{found['sets_refused']:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
