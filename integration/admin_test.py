#!/usr/bin/env python3
"""What an operator sees: the admin ports, `stats` on the data port, the log."""
import contextlib
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Client, eventually, free_port, main, product, wait_port  # noqa: E402
from knobs import (  # noqa: E402
    ALL, MEMCACHES, client_of, local, metrics, page, port_of, proxy_to, ready, started, total)


def admin_client(running):
    return Client(int(running.wait_log(r"admin: text on \S+:(\d+)").group(1)))


def stats(client, argument=b""):
    """Name -> value, in the order in which they came; every line must have memcached's shape."""
    client.say(b"stats" + argument + b"\r\n")
    numbers = {}
    while (line := client.hear_line()) != b"END":
        found = re.fullmatch(rb"STAT (\S+) (.*)", line)
        assert found, line
        name = found.group(1).decode()
        assert name not in numbers, f"{name} twice"
        numbers[name] = found.group(2).decode()
    return numbers


# --- The text port.


def test_text_port():
    for name in ALL:
        with started(name) as running:
            client = admin_client(running)
            assert re.fullmatch(rb"VERSION \d+\.\d+\.\d+\S*", client.ask(b"version"))
            every = stats(client)
            assert "process_open_fds" in every, sorted(every)[:10]
            began = every["process_start_time_seconds"]
            assert re.fullmatch(r"\d{10}(\.\d+)?", began), began
            assert abs(float(began) - time.time()) < 3600, began
            some = stats(client, b" process_")
            assert some and all(key.startswith("process_") for key in some)
            assert stats(client, b" no_such") == {}
            client.say(b"help\r\n")
            helps = dict(line.split(b": ", 1)
                         for line in client.hear_until(b"END\r\n").splitlines()[:-1])
            assert {b"stats [prefix]", b"version", b"quit"} <= set(helps), helps
            assert not any(text.split()[0].strip(b":") == word for word, text in helps.items()), helps
            for junk in (b"", b"nonsense", b"get k", b"STATS", b"\xff\x00\x80", b"version 2"):
                assert client.ask(junk) == b"ERROR", junk
            assert client.ask(b"version").startswith(b"VERSION "), "junk costs no connection"
            client.say(b"quit\r\n")
            assert client.hear_end() == b""


def test_text_port_serves_several_and_survives_the_rude():
    with started("momento_proxy") as running:
        clients = [admin_client(running) for _ in range(20)]
        for client in clients:
            client.say(b"ver")
        for client in clients:
            client.say(b"sion\r\nstats process_\r\nversion\r\n")
        for client in clients:
            said = client.hear_until(b"END\r\nVERSION ")
            assert said.startswith(b"VERSION ") and b"STAT process_open_fds " in said
        for _ in range(30):
            rude = admin_client(running)
            with contextlib.suppress(OSError):
                rude.say(b"stats\r\n" * 50 + os.urandom(100_000))
            rude.close()
        endless = admin_client(running)
        with contextlib.suppress(OSError):
            endless.say(b"x" * 1_000_000)
        endless.close()
        clients[0].hear_line()  # The rest of the version.
        assert clients[0].ask(b"nonsense") == b"ERROR", "still served"
        assert client_of(running).set(b"k", b"v") == b"STORED"


# --- The HTTP port.

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
VALUE = r"[-+]?(?:\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|Inf|NaN)"
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)?\}})? ({VALUE})(?: \d+)?")


def parse(text):
    """{sample: value} and {family: type}, by the grammar of Prometheus' text format 0.0.4."""
    assert text.endswith("\n")
    samples, types, helps, family = {}, {}, set(), None
    for line in text.splitlines():
        comment = re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line)
        if comment:
            word, family, rest = comment.groups()
            seen = helps if word == "HELP" else types
            assert family not in seen, f"{word} {family} twice"
            if word == "HELP":
                helps.add(family)
            else:
                assert rest in ("counter", "gauge", "histogram"), line
                types[family] = rest
            continue
        found = SAMPLE.fullmatch(line)
        assert found, f"not a sample: {line!r}"
        name, labels, value = found.groups()
        allowed = {family}
        if types[family] == "histogram":
            allowed = {family + end for end in ("_bucket", "_sum", "_count")}
        assert name in allowed, f"{name} stands among the samples of {family}"
        key = f"{name}{{{labels or ''}}}"
        assert key not in samples, f"{key} twice"
        samples[key] = float(value.replace("Inf", "inf"))
    assert helps == set(types)
    return samples, types


def check_histograms(samples, types):
    series = {}
    for sample, value in samples.items():
        found = re.fullmatch(r'(\w+)_bucket\{(.*?),?le="([^"]+)"\}', sample)
        if found and types.get(found.group(1)) == "histogram":
            bound = math.inf if found.group(3) == "+Inf" else float(found.group(3))
            series.setdefault((found.group(1), found.group(2)), []).append((bound, value))
    for (name, labels), buckets in series.items():
        assert buckets == sorted(buckets), f"{name}: not cumulative"
        assert buckets[-1] == (math.inf, samples[f"{name}_count{{{labels}}}"]), name
    return len(series)


def test_metrics_page_is_prometheus_text_and_counts_up():
    for name in ALL:
        with started(name) as running:
            ready(running)
            before, types = parse(page(running, "/metrics")[1])
            assert all(family.endswith("_total") == (kind == "counter")
                       for family, kind in types.items()), "counters are called _total, no other"
            if name in MEMCACHES:
                client = client_of(running)
                for i in range(20):
                    assert client.set(b"k%d" % i, b"v") == b"STORED"
                    assert client.get(b"k%d" % i)
                    assert client.get(b"none") is None
            after, _ = parse(page(running, "/metrics")[1])
            kinds = {s: types.get(re.sub(r"_(bucket|sum|count)$", "", s.split("{")[0]),
                                  types.get(s.split("{")[0])) for s in before}
            for sample, value in before.items():
                if kinds[sample] in ("counter", "histogram"):
                    assert after[sample] >= value, (sample, value, after[sample])
            if name in MEMCACHES:
                moved = [s for s in after if "_get_hit_total" in s and
                         after[s] - before.get(s, 0) == 20]
                assert moved, "hits"
            if name == "momento_proxy":
                assert check_histograms(after, types) >= 10
                assert after['proxy_get_total{cache="default-cache"}'] == 40
                assert after['proxy_get_hit_total{cache="default-cache"}'] == 20
                assert after['proxy_get_miss_total{cache="default-cache"}'] == 20
            told = [value for sample, value in after.items()
                    if sample.startswith(f'build_info{{product="{name}",version="')]
            assert told == [1]
            http = int(running.wait_log(r"admin: HTTP on \S+:(\d+)").group(1))
            with socket.create_connection(("127.0.0.1", http), 5) as s:
                s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                head = s.recv(4096).split(b"\r\n\r\n")[0].lower()
            assert b"content-type: text/plain; version=0.0.4" in head, head


def test_other_pages_and_methods():
    with started("segcache") as running:
        assert page(running, "/healthz") == (200, "ok\n")
        eventually(lambda: page(running, "/readyz") == (200, "ok\n"), what="the end of the start")
        assert page(running, "/nothing")[0] == 404
        http = int(running.wait_log(r"admin: HTTP on \S+:(\d+)").group(1))
        for request, status in (
                (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"405"),
                (b"nonsense\r\n\r\n", b"400"),
                (b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"200")):
            with socket.create_connection(("127.0.0.1", http), 10) as s:
                s.sendall(request)
                answer = s.recv(4096)
                assert answer.split()[1] == status, (request, answer)
        slow = socket.create_connection(("127.0.0.1", http))
        slow.sendall(b"GET /met")
        assert page(running, "/healthz")[0] == 200, "a slow reader holds nobody up"
        slow.close()


def test_ready_only_with_a_backend():
    backend = free_port()
    with proxy_to(backend) as proxy:
        ready(proxy)
        # The port is named a moment before the start is over.
        eventually(lambda: page(proxy, "/readyz")[1] != "starting\n", what="the end of the start")
        status, why = page(proxy, "/readyz")
        assert status == 503 and "cache c" in why, (status, why)
        assert page(proxy, "/healthz")[0] == 200
        with product("momento_local", "-p", str(backend), "--set", "local.create_unknown=true"):
            eventually(lambda: page(proxy, "/readyz")[0] == 200, 15, "readiness")
            assert client_of(proxy).set(b"k", b"v") == b"STORED"
        eventually(lambda: page(proxy, "/readyz")[0] == 503, 15, "the loss being noticed")
        assert page(proxy, "/healthz")[0] == 200


def test_not_ready_while_draining():
    with started("momento_proxy", "local.fault_delay=2s", "local.fault_delay_percent=100",
                 "cache[0].deadline=10s") as proxy:
        client = client_of(proxy)
        eventually(lambda: page(proxy, "/readyz")[0] == 200)
        client.say(b"set k 0 60 1\r\nv\r\n")
        time.sleep(0.3)
        proxy.process.send_signal(signal.SIGTERM)
        eventually(lambda: page(proxy, "/readyz") == (503, "draining\n"), 1.5, "503 while draining")
        assert page(proxy, "/healthz")[0] == 200
        with contextlib.suppress(ConnectionRefusedError):
            assert Client(port_of(proxy)).hear_end() == b"", "nobody new is served"
        assert client.hear_line() == b"STORED"
        assert proxy.process.wait(10) == 0


# --- The log.


def test_sighup_reopens_the_log():
    for name in ALL:
        with tempfile.TemporaryDirectory() as folder:
            path, http = os.path.join(folder, "log"), free_port()
            with started(name, f"log.file={path}", f"admin.http_port={http}") as running:
                wait_port(http)
                eventually(lambda: "admin: HTTP" in open(path).read())
                os.rename(path, path + ".1")
                running.process.send_signal(signal.SIGHUP)
                eventually(lambda: os.path.exists(path) and "SIGHUP" in open(path).read(),
                           what=f"{name}: a new log")
                old = open(path + ".1").read()
                running.stop()
                assert "stops" in open(path).read()
                assert open(path + ".1").read() == old


def test_peers_do_not_write_the_log():
    for name in ("momento_proxy", "segcache", "pingserver"):
        with started(name, "log.level=debug") as running:
            port = port_of(running)
            client = Client(port)
            client.say(b"nonsense\r\n")
            client.hear_line()
            lines = running.log().count("\n")
            for _ in range(300):
                client.say(b"nonsense\r\nget \xff\x80\r\nincr\r\n")
            for _ in range(100):
                rude = Client(port)
                with contextlib.suppress(OSError):
                    rude.say(os.urandom(2000) + b"\r\n")
                rude.close()
            time.sleep(0.3)
            assert running.process.poll() is None
            more = running.log().count("\n") - lines
            assert more < 20, f"{name}: {more} lines for 1000 bad requests"
            assert total(running, "core_net_request_invalid_total") >= 300
    with local("local.fault_error_percent=100") as backend, proxy_to(port_of(backend)) as proxy:
        client = client_of(proxy)
        client.ask(b"get k")
        lines = proxy.log().count("\n")
        for _ in range(300):
            client.ask(b"get k")
        assert proxy.log().count("\n") - lines < 20, "one line a failed call"


# --- stats on the data port.

# What monitors read of a plain "stats": memcached_exporter, telegraf, collectd, munin.
MONITORED = set("""
accepting_conns bytes bytes_read bytes_written cas_badval cas_hits cas_misses cmd_flush cmd_get
cmd_set cmd_touch conn_yields connection_structures crawler_items_checked crawler_reclaimed
curr_connections curr_items decr_hits decr_misses delete_hits delete_misses direct_reclaims
evictions get_hits get_misses incr_hits incr_misses limit_maxbytes listen_disabled_num
lru_crawler_starts max_connections moves_to_cold moves_to_warm moves_within_lru pid pointer_size
reclaimed rejected_connections rusage_system rusage_user store_no_memory store_too_large threads
time total_connections total_items touch_hits touch_misses uptime version
""".split())
# What there is nothing to count of in our products: always 0.
NOTHING_HERE = set("""
auth_cmds auth_errors conn_yields crawler_items_checked crawler_reclaimed hash_is_expanding
log_watcher_sent log_watcher_skipped log_watchers lru_bumps_dropped lru_crawler_running
lru_crawler_starts lru_maintainer_juggles lrutail_reflocked malloc_fails moves_to_cold moves_to_warm
moves_within_lru read_buf_bytes_free read_buf_oom response_obj_bytes response_obj_count
response_obj_oom round_robin_fallback slab_reassign_busy_deletes slab_reassign_busy_items
slab_reassign_chunk_rescues slab_reassign_evictions_nomem slab_reassign_inline_reclaim
slab_reassign_rescues slab_reassign_running slabs_moved unexpected_napi_ids
""".split())
COUNTS = ("cmd_get cmd_set cmd_touch cmd_flush get_hits get_misses delete_hits delete_misses "
          "incr_hits incr_misses decr_hits decr_misses cas_hits cas_misses cas_badval touch_hits "
          "touch_misses").split()
WORK = (b"set a 0 0 1\r\nx\r\nget a\r\nget b\r\nget a b\r\ngets a b\r\ngat 100 a\r\ngat 100 b\r\n"
        b"gats 100 a\r\ntouch a 500\r\ntouch b 5\r\nset n 0 0 1\r\n5\r\nincr n 1\r\nincr b 1\r\n"
        b"decr n 1\r\ndecr b 1\r\ndelete a\r\ndelete a\r\ncas n 0 0 1 999999\r\n1\r\n"
        b"cas z 0 0 1 1\r\n1\r\nadd n 0 0 1\r\n1\r\nadd m 0 0 1\r\n1\r\nappend n 0 0 1\r\n1\r\n"
        b"replace q 0 0 1\r\n1\r\nflush_all\r\nverbosity 1\r\n")


@contextlib.contextmanager
def stock():
    port = free_port()
    user = ["-u", "root"] if os.geteuid() == 0 else []
    process = subprocess.Popen(["memcached", "-p", str(port), "-U", "0", "-l", "127.0.0.1", *user])
    try:
        wait_port(port)
        yield port
    finally:
        process.kill()
        process.wait()


def shape(value):
    for pattern in (r"\d+", r"\d+\.\d{6}"):
        if re.fullmatch(pattern, value):
            return pattern
    return "text"


def worked(port):
    client = Client(port)
    client.say(WORK)
    client.hear_until(b"OK\r\nOK\r\n")
    return client


def test_stats_names_shapes_and_sums_are_memcacheds():
    with stock() as port:
        client = worked(port)
        theirs, their_settings = stats(client), stats(client, b" settings")
    for name in MEMCACHES:
        with started(name) as running:
            client = worked(port_of(running))
            ours = stats(client)
            assert set(theirs) - set(ours) == {"libevent", "reserved_fds"}
            assert not MONITORED - set(ours), (name, MONITORED - set(ours))
            assert not set(ours) - set(theirs), "names that memcached does not have"
            assert {ours[k] for k in NOTHING_HERE} == {"0"}
            assert {k: shape(v) for k, v in ours.items()} == {k: shape(theirs[k]) for k in ours}
            assert {k: ours[k] for k in COUNTS} == {k: theirs[k] for k in COUNTS}, name
            assert int(ours["cmd_get"]) == int(ours["get_hits"]) + int(ours["get_misses"])
            assert re.match(r"1\.[6-9]\.\d+", ours["version"]), "libmemcached parses it"
            assert ours["pid"] == str(running.process.pid)
            settings = stats(client, b" settings")
            assert not set(settings) - set(their_settings)
            for key, value in {"maxconns": "10000", "tcpport": str(port_of(running)),
                               "inter": "127.0.0.1", "item_size_max": "1048576"}.items():
                assert settings[key] == value, (name, key, settings[key])
            assert {k: shape(v) for k, v in settings.items() if k not in ("verbosity",)} == {
                k: shape(their_settings[k]) for k in settings if k not in ("verbosity",)}


def test_stats_fit_collectds_buffer_when_numbers_are_large():
    for name in MEMCACHES:
        with started(name) as running:
            numbers = stats(client_of(running))
            # As if every number had grown to the twenty digits of 64 bits.
            size = sum(len(f"STAT {key} \r\n") + (
                20 if shape(value) != "text" and key not in NOTHING_HERE else len(value))
                for key, value in numbers.items()) + len("END\r\n")
            assert size <= 4096, (name, size)


def test_stats_words():
    for name in MEMCACHES:
        with started(name) as running:
            client = client_of(running)
            assert stats(client, b" items") == {}
            slabs = stats(client, b" slabs")
            assert slabs["active_slabs"] == "0" and "total_malloced" in slabs
            for i in range(10):
                client.set(b"k%d" % i, b"v")
            if name == "segcache":
                assert stats(client, b" items")["items:1:number"] == "10"
                assert stats(client)["curr_items"] == "10"
            assert client.get(b"k1") and client.get(b"none") is None
            assert stats(client, b" sizes") == {"sizes_status": "disabled"}
            stats(client, b" conns")
            before = stats(client)
            assert before["get_hits"] == "1" and before["cmd_set"] == "10"
            assert client.ask(b"stats reset") == b"RESET"
            after = stats(client)
            assert after["get_hits"] == after["get_misses"] == after["cmd_set"] == "0"
            for kept in ("curr_items", "pid", "curr_connections", "threads"):
                assert after[kept] == before[kept]
            room = {"momento_proxy": "proxy", "segcache": "cache_memcache"}[name]
            assert total(running, f"{room}_get_hit_total") == 1, "Prometheus' never go down"
            assert client.ask(b"stats nonsense") == b"ERROR"
            assert client.ask(b"version").startswith(b"VERSION ")


# --- pingserver.


def test_ping():
    with started("pingserver") as running:
        client = client_of(running)
        assert client.ask(b"PING") == b"PONG"
        client.say(b"PI")
        time.sleep(0.05)
        client.say(b"NG\r\nPING\r\n" + b"PING\r\n" * 998)
        for _ in range(1000):
            assert client.hear_line() == b"PONG"
        for junk in (b"PONG", b"", b"PING PING", b"\xff\x00"):
            said = client.ask(junk)
            assert said.startswith(b"ERROR"), (junk, said)
        assert client.ask(b"PING") == b"PONG", "junk costs nobody the connection"
        assert total(running, "core_net_request_total", 'server="ping"') == 1006
        endless = client_of(running)
        with contextlib.suppress(OSError):
            endless.say(b"P" * 1_000_000)
        endless.close()
        assert client.ask(b"PING") == b"PONG"
        threads = [threading.Thread(target=lambda: client_of(running).ask(b"PING"))
                   for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eventually(lambda: metrics(running)['core_net_connection_open{server="ping"}'] <= 21)


if __name__ == "__main__":
    main(globals())
