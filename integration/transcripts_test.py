#!/usr/bin/env python3
"""The transcripts on stock memcached, which proves them, then on segcache and momento_proxy."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import ROOT, product  # noqa: E402

PLAYER = os.path.join(ROOT, "integration", "transcripts.py")


def play(*flags):
    run = subprocess.run([sys.executable, PLAYER, *flags], capture_output=True, text=True,
                         timeout=600)
    print(run.stdout, run.stderr, flush=True)
    found = re.findall(r"(\d+) passed, (\d+) failed", run.stdout)
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 1)


def memcache_port(running):
    return running.wait_log(r"memcache[^\n]* on 127\.0\.0\.1:(\d+)").group(1)


def main():
    results = [play("--memcached")]
    with product("segcache", "-p", "0", "--set", "seg.track_access=true") as server:
        results.append(play("--port", memcache_port(server), "--server", "segcache"))
    with product("momento_proxy", "--local", "-p", "0") as server:
        results.append(play("--port", memcache_port(server), "--server", "proxy"))
    # With a write nonce in every value, equal bytes stored again are a new item, as in memcached.
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write('[[cache]]\nport = 0\ncache_name = "nonce"\nenvelope = "nonce"\n'
                     'flush_all = true\nbatch = "off"\nreads = "consistent"\n')
        config.flush()
        with product("momento_proxy", "--local", config.name) as server:
            results.append(play("--port", memcache_port(server), "--server", "proxy-nonce"))
    print(f"{sum(p for p, _ in results)} passed, {sum(f for _, f in results)} failed")
    sys.exit(1 if any(f for _, f in results) else 0)


if __name__ == "__main__":
    main()
