#!/usr/bin/env python3
"""Client libraries we did not write, against momento_proxy --local, segcache and stock memcached."""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import ROOT, BIN, free_port, main, product, wait_port  # noqa: E402

import pylibmc  # noqa: E402
from pymemcache.client.base import Client as PymemcacheClient  # noqa: E402


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
    """What the matrix (matrix_test.py) cannot try while others use the same server."""
    c = PymemcacheClient(("127.0.0.1", port), default_noreply=False)
    assert c.set("gone", b"x") and c.get("gone") == b"x"
    assert c.version()[:1].isdigit()
    stats = c.stats()
    assert stats[b"cmd_get"] > 0 and stats[b"get_hits"] > 0, stats
    assert c.flush_all(noreply=False)
    assert c.get("gone") is None
    c.quit()


def capable(port):
    """The names of memccapable's tests that passed, text and binary."""
    run = subprocess.run(["memccapable", "-h", "127.0.0.1", "-p", str(port), "-t", "5"],
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
    assert len(wanted) > 50, wanted
    for on_product in (on_proxy, on_segcache):
        got = set()
        on_product(lambda port: got.update(capable(port)))
        assert wanted <= got, wanted - got


def pylibmc_in_packets(port, **login):
    """libmemcached, speaking the binary protocol."""
    c = pylibmc.Client([f"127.0.0.1:{port}"], binary=True, **login)
    c.behaviors = {"cas": True, "tcp_nodelay": True}
    assert c.set("k", {"a": [1, "\u00e9"]}, time=100) and c.get("k") == {"a": [1, "\u00e9"]}
    assert c.set_multi({f"m{i}": i for i in range(50)}) == []
    assert c.get_multi([f"m{i}" for i in range(60)]) == {f"m{i}": i for i in range(50)}
    assert c.add("k", 1) is False and c.add("n", 5) is True
    try:
        c.replace("none", 1)
        raise AssertionError("replaced what is not there")
    except pylibmc.NotFound:
        pass
    assert c.incr("n") == 6 and c.decr("n", 2) == 4
    value, token = c.gets("n")
    assert value == 4 and c.cas("n", 9, token) and not c.cas("n", 10, token) and c.get("n") == 9
    assert c.set("s", "ab") and c.append("s", "c") and c.prepend("s", "_") and c.get("s") == "_abc"
    assert c.delete("k") and c.get("k") is None and not c.delete("k")
    for value in ("x" * 900_000, os.urandom(900_000)):
        assert c.set("large", value, min_compress_len=1000) and c.get("large") == value
    assert c.touch("n", 100)


def test_pylibmc_in_packets():
    for on in (on_memcached, on_segcache, on_proxy):
        on(pylibmc_in_packets)


def test_pylibmc_logs_in():
    with tempfile.NamedTemporaryFile("w") as users:
        users.write("user:pass\n")
        users.flush()
        for name, flags in (("segcache", []), ("momento_proxy", ["--local"])):
            with product(name, *flags, "-p", "0", "-Y", users.name) as server:
                pylibmc_in_packets(proxy_port(server), username="user", password="pass")


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
