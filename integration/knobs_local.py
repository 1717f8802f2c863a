"""local.* and seg.*: the service kept on this machine, by itself and in the proxy, and segcache.

The proxy's [local] and [seg] are those of --local; each is shown through its memcache port.
"""
import contextlib
import os
import re
import subprocess
import tempfile
import time

from harness import BIN, eventually
from knobs import (MEMCACHES, client_of, local, port_of, proxy_to, run, shows, started, total)
from knobs_cache import failed

SERVICES = ("momento_proxy", "momento_local")


@contextlib.contextmanager
def service(where, *settings, proxy=(), env=None):
    """A memcache port over a service with `settings`, embedded or on its own: (proxy, service)."""
    if where == "momento_proxy":
        with started("momento_proxy", "server.workers=1", *settings, *proxy, env=env) as both:
            yield both, both
    else:
        with local(*settings) as backend, \
                proxy_to(port_of(backend), *proxy, env=env) as front:
            yield front, backend


@shows(SERVICES, "local.token")
def test_token_is_asked_for():
    for where in SERVICES:
        for key, let in (("right", True), ("wrong", False)):
            with service(where, "local.token=right", env={"MOMENTO_API_KEY": key}) as (front, _):
                line = client_of(front).set(b"k", b"v")
                assert line == b"STORED" if let else failed(line), (where, line)


@shows(SERVICES, "local.token_file")
def test_tokens_of_a_file_are_read_again():
    for where in SERVICES:
        with tempfile.NamedTemporaryFile("w") as tokens:
            tokens.write("one\ntwo\n")
            tokens.flush()
            with service(where, f"local.token_file={tokens.name}",
                         env={"MOMENTO_API_KEY": "two"}) as (front, _):
                client = client_of(front)
                assert client.set(b"k", b"v") == b"STORED", where
                tokens.truncate(4)
                eventually(lambda: failed(client.set(b"k", b"v")), what=f"{where} reads it again")


@shows(SERVICES, "local.create_unknown")
def test_unknown_caches_are_created_or_refused():
    for create in ("true", "false"):
        with local(f"local.create_unknown={create}") as backend, \
                proxy_to(port_of(backend)) as proxy:
            line = client_of(proxy).set(b"k", b"v")
            assert line == b"STORED" if create == "true" else failed(line), line
            assert total(backend, "cache_local_caches") == (create == "true")


@shows(SERVICES, "local.item_size_max")
def test_item_size_max_of_the_service():
    for where in SERVICES:
        with service(where, "local.item_size_max=1KB") as (front, _):
            client = client_of(front)
            assert client.set(b"k", b"x" * 1000) == b"STORED"
            assert client.set(b"k", b"x" * 1100) == b"SERVER_ERROR object too large for cache"


@shows(SERVICES, "local.ttl_max")
def test_ttl_max_of_the_service():
    for where in SERVICES:
        with service(where, "local.ttl_max=10s", proxy=("cache[0].default_ttl=1s",)) as (front, _):
            client = client_of(front)
            assert client.set(b"k", b"v", exptime=9) == b"STORED"
            line = client.set(b"j", b"v", exptime=11)
            # Refused or shortened, but never kept for longer.
            assert failed(line), line


@shows(SERVICES, "local.caches_max")
def test_caches_max_of_the_service():
    with local("local.caches_max=1") as backend:
        with proxy_to(port_of(backend)) as first, \
                proxy_to(port_of(backend), "cache[0].cache_name=another") as second:
            assert client_of(first).set(b"k", b"v") == b"STORED"
            assert failed(client_of(second).set(b"k", b"v"))
    two = ("cache[0].cache_name=a", "cache[1].cache_name=b", "cache[1].port=0")
    code, _, err = run("momento_proxy", "--local", "-p", "0", "--set", "local.caches_max=1",
                       *[w for s in two for w in ("--set", s)], "--set", "admin.port=0", "--set",
                       "admin.http_port=0")
    assert code != 0 and "caches" in err, (code, err)


@shows(SERVICES, "local.fault_error_percent", "local.fault_error", "local.fault_seed")
def test_injected_errors():
    def failures(where, percent, seed, status="unavailable"):
        with service(where, f"local.fault_error_percent={percent}", f"local.fault_seed={seed}",
                     f"local.fault_error={status}") as (front, backend):
            client = client_of(front)
            got = [failed(client.set(b"k", b"v")) for _ in range(20)]
            assert total(backend, "cache_local_fault_total", 'kind="error"') >= sum(got)
            code = status.replace("-", "_")
            assert total(front, "proxy_rpc_error_total", f'code="{code}"') == sum(got)
            return got

    for where in SERVICES:
        assert failures(where, 0, 1) == [False] * 20
        assert failures(where, 100, 1, "permission-denied") == [True] * 20
        half = [failures(where, 50, seed, "internal") for seed in (1, 2, 1)]
        assert half[0] == half[2] != half[1], half


@shows(SERVICES, "local.fault_delay", "local.fault_delay_jitter", "local.fault_delay_percent")
def test_injected_delays():
    def seconds(where, *settings):
        with service(where, *settings, proxy=("cache[0].deadline=10s",)) as (front, _):
            client = client_of(front)
            client.get(b"warm")
            took = []
            for _ in range(5):
                began = time.monotonic()
                client.get(b"k")
                took.append(time.monotonic() - began)
            return took

    for where in SERVICES:
        all_delayed = "local.fault_delay_percent=100"
        assert min(seconds(where, "local.fault_delay=150ms", all_delayed)) >= 0.15
        assert min(seconds(where, "local.fault_delay=150ms")) < 0.15, "0 of a hundred"
        jittery = seconds(where, "local.fault_delay_jitter=200ms", all_delayed)
        assert max(jittery) - min(jittery) > 0.005, jittery


@shows(SERVICES, "local.fault_reset_percent")
def test_injected_resets():
    for where in SERVICES:
        with service(where, "local.fault_reset_percent=100") as (front, backend):
            assert failed(client_of(front).set(b"k", b"v"))
            assert total(backend, "cache_local_fault_total", 'kind="reset"') >= 1
            eventually(lambda: total(front, "proxy_momento_connection_lost_total") >= 1,
                       what="a lost connection")


@shows(SERVICES, "local.fault_rpcs", "local.fault_calls_max", "local.fault_detail",
       "local.fault_applied")
def test_which_calls_are_hit_and_how():
    def outcomes(where, *settings):
        """Three sets, and what is there afterwards."""
        with service(where, "local.fault_error_percent=100", *settings,
                     proxy=("cache[0].get_error=error",)) as (front, _):
            client = client_of(front)
            return [client.set(b"k", b"%d" % i) for i in range(3)], client.ask(b"get k")

    for where in SERVICES:
        sets_only = "local.fault_rpcs=set-if-hash,set"
        told, found = outcomes(where, sets_only, "local.fault_error=unimplemented")
        assert all(map(failed, told)) and found == b"END", (where, told, found)
        told, found = outcomes(where, sets_only, "local.fault_error=unimplemented",
                               "local.fault_calls_max=2")
        assert [failed(line) for line in told] == [True, True, False], (where, told)
        told, _ = outcomes(where, "local.fault_error=resource-exhausted",
                           "local.fault_detail=throughput_rate_limit_exceeded")
        assert b"bandwidth" in told[0], (where, told)
        told, found = outcomes(where, sets_only, "local.fault_error=unimplemented",
                               "local.fault_applied=true")
        assert all(map(failed, told)) and found == b"VALUE k 0 1", (where, told, found)


# --- seg.*, on its own and behind gRPC.

ENGINES = ("momento_proxy", "momento_local", "segcache")
SMALL = ("seg.segment_size=64KB",)


@contextlib.contextmanager
def engine(where, *settings):
    """A memcache port over an engine with `settings`: (memcache product, product of the engine)."""
    if where == "segcache":
        with started("segcache", *settings) as running:
            yield running, running
    else:
        # What the proxy gave up waiting for would be kept, and not counted as stored.
        with service(where, "local.item_size_max=8KB", *settings,
                     proxy=("cache[0].deadline=1m",)) as both:
            yield both


def fill(client, count, size=1000):
    """How many of `count` items were stored, and how many of them are still there."""
    client.say(b"".join(b"set k%d 0 0 %d\r\n%s\r\n" % (i, size, b"x" * size) for i in range(count)))
    stored = sum(client.hear_line() == b"STORED" for _ in range(count))
    kept = 0
    for i in range(0, count, 100):
        keys = b" ".join(b"k%d" % n for n in range(i, min(i + 100, count)))
        client.say(b"get " + keys + b"\r\n")
        kept += client.hear_until(b"END\r\n").count(b"VALUE k")
    return stored, kept


@shows(ENGINES, "seg.heap_size", "seg.eviction")
def test_heap_size_and_eviction():
    for where in ENGINES:
        with engine(where, *SMALL, "seg.heap_size=256KB") as (front, _):
            stored, kept = fill(client_of(front), 500)
            assert stored == 500 and 50 < kept < 260, (where, stored, kept)
        with engine(where, *SMALL, "seg.heap_size=256KB", "seg.eviction=none") as (front, _):
            stored, kept = fill(client_of(front), 500)
            assert 50 < stored < 260 and kept == stored, (where, stored, kept)
        with engine(where, *SMALL, "seg.heap_size=4MB") as (front, _):
            assert fill(client_of(front), 500) == (500, 500), where


@shows(ENGINES, "seg.segment_size")
def test_segment_size_caps_an_item():
    with started("segcache", "seg.segment_size=16KB", "seg.heap_size=1MB") as running:
        client = client_of(running)
        assert client.set(b"k", b"x" * 15_000) == b"STORED"
        assert client.set(b"k", b"x" * 17_000).startswith(b"SERVER_ERROR object too large")
    with started("segcache", "seg.segment_size=1MB") as running:
        assert client_of(running).set(b"k", b"x" * 17_000) == b"STORED"
    # Behind gRPC an item of the promised size must fit, so the segment follows; what shows is how
    # much goes at once when the heap is full.
    for where in SERVICES:
        kept = {}
        for size in ("64KB", "1MB"):
            with engine(where, f"seg.segment_size={size}", "seg.heap_size=2MB") as (front, _):
                kept[size] = fill(client_of(front), 2100)[1]
        assert kept["64KB"] > kept["1MB"] + 300, (where, kept)


def memory_of(running, name):
    """A line of /proc/PID/status or of all its mappings together, in KB."""
    text = open(f"/proc/{running.process.pid}/status").read()
    text += open(f"/proc/{running.process.pid}/smaps_rollup").read()
    return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M).group(1))


@shows(["segcache"], "seg.memory")
def test_memory_is_for_everything():
    for size, flags in ((24, ("--set", "seg.memory=24MB")), (64, ("-m", "64"))):
        with started("segcache", "server.workers=1", flags=flags) as running:
            client = client_of(running)
            # Of small items, for they need most of the index: more than there is room for.
            for base in range(0, size * 11_000, 10_000):
                client.say(b"".join(b"set %d 0 0 60 noreply\r\n%060d\r\n" % (i, i)
                                    for i in range(base, base + 10_000)))
            assert client.ask(b"version").startswith(b"VERSION")
            rss = memory_of(running, "VmRSS") / 1024
            assert size * 0.8 < rss < size * 1.05, (flags, rss)
    small = [os.path.join(BIN, "segcache"), "-p", "0", "-m", "4"]
    done = subprocess.run([*small, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, "what a process takes is not known before it starts"
    done = subprocess.run(small, capture_output=True, text=True, timeout=10)
    assert done.returncode == 78 and "KB, of which" in done.stderr, done
    assert "seg.memory: 4194304 bytes is less than" in done.stderr


def advised_huge(running):
    """How much memory is to come in huge pages, in MB."""
    smaps = open(f"/proc/{running.process.pid}/smaps").read()
    sizes = re.findall(r"^Size:\s+(\d+) kB(?:\n(?!Size:).*)*?\nVmFlags:.* hg", smaps, re.M)
    return sum(map(int, sizes)) >> 10


@shows(ENGINES, "seg.huge_pages", "seg.prefault")
def test_huge_pages_and_prefault():
    huge = open("/sys/kernel/mm/transparent_hugepage/enabled").read()
    for where in ENGINES:
        advised = {}
        resident = {}
        for settings in ((), ("seg.huge_pages=true",), ("seg.prefault=true",)):
            with engine(where, "seg.heap_size=96MB", *settings) as (front, backend):
                client_of(front).set(b"k", b"v")
                advised[settings] = advised_huge(backend)
                resident[settings] = memory_of(backend, "VmRSS") >> 10
        plain, pages, prefaulted = advised
        # The index always, the items only if it is asked for.
        assert advised[pages] >= 96 and 4 <= advised[plain] <= 24 or "[never]" in huge, (
            where, advised)
        assert resident[prefaulted] > 96 and resident[plain] < 90, (where, resident)


@shows(ENGINES, "seg.track_access")
def test_track_access_takes_four_bytes_an_item():
    for where in ENGINES:
        taken = {}
        for tracks in ("false", "true"):
            with engine(where, f"seg.track_access={tracks}") as (front, backend):
                client = client_of(front)
                # Of eight lengths in a row, so that padding to eight bytes evens out.
                for i in range(8):
                    assert client.set(b"k%d" % i, b"v" * (20 + i)) == b"STORED", where
                if where == "segcache":
                    client.say(b"stats\r\n")
                    stats = client.hear_until(b"END\r\n")
                    taken[tracks] = int(re.search(rb"STAT bytes (\d+)", stats).group(1))
                else:
                    taken[tracks] = total(backend, "cache_local_item_bytes")
        assert taken["true"] - taken["false"] == 8 * 4, (where, taken)


@shows(["segcache"], "seg.restart_file")
def test_restart_file_keeps_the_cache():
    """Everything else about it is in restart_test.py."""
    with tempfile.TemporaryDirectory() as folder:
        for setting, kept in (("seg.restart_file=" + os.path.join(folder, "cache"), (0, b"v")),
                              ("seg.restart_file=", None)):
            with started("segcache", setting) as running:
                assert client_of(running).set(b"k", b"v") == b"STORED"
                running.stop()
            with started("segcache", setting) as running:
                assert client_of(running).get(b"k") == kept


@shows(ENGINES, "seg.hash_power")
def test_hash_power_sizes_the_table():
    for where in ENGINES:
        memory = {}
        for power in (10, 27):
            with engine(where, f"seg.hash_power={power}") as (front, backend):
                client = client_of(front)
                assert client.set(b"k", b"v") == b"STORED"
                assert client.get(b"k") == (0, b"v")
                memory[power] = total(backend, "process_virtual_memory_bytes")
        # 2^27 slots of 8 bytes; what malloc's arenas reserve differs by less.
        assert memory[27] - memory[10] > 512 << 20, (where, memory)
