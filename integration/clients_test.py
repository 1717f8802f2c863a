#!/usr/bin/env python3
"""Client libraries we did not write, against momento_proxy --local, segcache and stock memcached."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import ROOT, BIN, free_port, main, product, wait_port  # noqa: E402

from pymemcache.client.base import Client as PymemcacheClient  # noqa: E402
from pymemcache.serde import pickle_serde  # noqa: E402


class Stock:
    """Debian's memcached on a free port."""

    def __enter__(self):
        self.port = free_port()
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(["memcached", *user, "-l", "127.0.0.1", "-p",
                                         str(self.port), "-U", "0"])
        wait_port(self.port)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def proxy_port(proxy):
    return int(proxy.wait_log(r"memcache[^\n]* on 127\.0\.0\.1:(\d+)").group(1))


def on_proxy(check):
    with product("momento_proxy", "--local", "-p", "0") as proxy:
        check(proxy_port(proxy))


def on_segcache(check):
    with product("segcache", "-p", "0") as server:
        check(proxy_port(server))


def on_memcached(check):
    with Stock() as stock:
        check(stock.port)


def pymemcache(port):
    c = PymemcacheClient(("127.0.0.1", port), default_noreply=False)
    assert c.set("k", b"value", flags=7)
    assert c.get("k") == b"value"
    typed = PymemcacheClient(("127.0.0.1", port), serde=pickle_serde, default_noreply=False)
    for thing in ("text", b"bytes", 42, {"a": [1, 2]}):  # Told apart by their flags.
        assert typed.set("typed", thing) and typed.get("typed") == thing
    assert c.add("k", b"x") is False and c.add("fresh", b"x") is True
    assert c.replace("k", b"y") is True and c.replace("none", b"y") is False
    assert c.append("k", b"z") and c.prepend("k", b"x") and c.get("k") == b"xyz"
    value, token = c.gets("k")
    assert value == b"xyz"
    assert c.cas("k", b"new", token) is True
    assert c.cas("k", b"newer", token) is False
    assert c.cas("absent", b"x", token) is None
    assert c.set("n", b"10") and c.incr("n", 5) == 15 and c.decr("n", 20) == 0
    assert c.incr("absent", 1) is None
    assert c.touch("k", 100) is True and c.touch("absent", 100) is False
    assert c.delete("k") is True and c.delete("k") is False
    assert c.set_many({f"m{i}": b"v%d" % i for i in range(500)}) == []
    assert c.get_many([f"m{i}" for i in range(600)]) == {f"m{i}": b"v%d" % i for i in range(500)}
    for i in range(1000):
        c.set(f"q{i % 10}", b"%d" % i, noreply=True)
    assert c.get("q9") == b"999"
    big = os.urandom(900_000)
    assert c.set("big", big) and c.get("big") == big
    utf8 = PymemcacheClient(("127.0.0.1", port), allow_unicode_keys=True)
    assert utf8.set("schlüssel", b"wert", noreply=False) and utf8.get("schlüssel") == b"wert"
    assert c.set("brief", b"x", expire=2)
    assert c.get("brief") == b"x"
    time.sleep(3.1)
    assert c.get("brief") is None
    assert c.version()[:1].isdigit()
    stats = c.stats()
    assert stats[b"cmd_get"] > 0 and stats[b"get_hits"] > 0, stats
    c.verbosity(1) if hasattr(c, "verbosity") else None
    assert c.set("gone", b"x") and c.flush_all(noreply=False)
    assert c.get("gone") is None
    c.quit()


def capable(port):
    """The names of memccapable's ascii tests that passed."""
    run = subprocess.run(["memccapable", "-a", "-h", "127.0.0.1", "-p", str(port), "-t", "5"],
                         capture_output=True, text=True, timeout=120)
    return {line.split("[")[0].strip() for line in (run.stdout + run.stderr).splitlines()
            if line.endswith("[pass]")}


def test_pymemcache_on_memcached():
    on_memcached(pymemcache)


def test_pymemcache_on_momento_proxy():
    on_proxy(pymemcache)


def test_pymemcache_on_segcache():
    on_segcache(pymemcache)


def test_memccapable_fails_nothing_that_memcached_passes():
    with Stock() as stock:
        wanted = capable(stock.port)
    assert len(wanted) > 20, wanted
    for on_product in (on_proxy, on_segcache):
        got = set()
        on_product(lambda port: got.update(capable(port)))
        assert wanted <= got, wanted - got


def npm_install():
    """The npm clients, installed once; offline if they are there already."""
    folder = os.path.join(ROOT, "integration", "sdk")
    if not os.path.isdir(os.path.join(folder, "node_modules", "@gomomento", "sdk")):
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder,
                       check=True, timeout=300)
    assert shutil.which("node")
    return folder


def node(script, *arguments):
    folder = npm_install()
    run = subprocess.run(["node", script, *map(str, arguments)], cwd=folder, capture_output=True,
                         text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_npm_memcached_on_momento_proxy():
    on_proxy(lambda port: node("memcached_client_test.js", port))


def test_npm_memcached_on_segcache():
    on_segcache(lambda port: node("memcached_client_test.js", port))


def test_momento_sdk_on_momento_local():
    with product("momento_local", "-p", "0") as local:
        port = int(local.wait_log(r"gRPC[^\n]* on 127\.0\.0\.1:(\d+)").group(1))
        out = node("sdk_test.js", f"127.0.0.1:{port}")
        assert ", 0 failed" in out, out


def test_momento_sdk_and_proxy_read_each_other():
    with product("momento_local", "-p", "0") as local:
        grpc = int(local.wait_log(r"gRPC[^\n]* on 127\.0\.0\.1:(\d+)").group(1))
        node("create_cache.js", f"127.0.0.1:{grpc}", "shared")
        port = free_port()
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
            config.write(f'[momento]\nendpoint_override = "127.0.0.1:{grpc}"\n'
                         f'[[cache]]\nport = {port}\ncache_name = "shared"\n')
            config.flush()
            with product("momento_proxy", config.name):
                wait_port(port)
                node("interop_test.js", f"127.0.0.1:{grpc}", "shared", port)


if __name__ == "__main__":
    assert BIN
    main(globals())
