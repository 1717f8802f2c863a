#!/usr/bin/env python3
"""segcache, and pingserver, when clients, clocks, limits or operators misbehave.

What must always hold: a clear reply or error, no crash, nothing corrupted, other clients served, and
nothing left behind when the trouble is over.
"""
import contextlib
import os
import random
import re
import resource
import signal
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from binary_test import memcached  # noqa: E402
from harness import Client, eventually, main, product  # noqa: E402
from descriptors import exhaust_descriptors, open_descriptors  # noqa: E402
from knobs import client_of, complaint, port_of, run, sets, started, total  # noqa: E402

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


def rss_kb(running):
    status = open(f"/proc/{running.process.pid}/status").read()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))


def stats(client, argument=b""):
    client.say(b"stats" + argument + b"\r\n")
    lines = client.hear_until(b"END\r\n").decode().splitlines()[:-1]
    return dict(line.split(" ", 2)[1:] for line in lines)


def in_threads(work, arguments):
    """Runs work(argument) for each; raises the first AssertionError or other error of any."""
    faults = []

    def one(argument):
        try:
            work(argument)
        except Exception as error:  # noqa: BLE001 - raised below
            faults.append(error)
    threads = [threading.Thread(target=one, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


# --- what monitors read

# Settings that memcached has and that are not here. A plain "stats" is admin_test.py's.
ONLY_MEMCACHED = {b" items": set(), b" slabs": set(), b" settings": {
    "oldest", "growth_factor", "chunk_size", "num_threads_per_udp", "reqs_per_event",
    "hashpower_init", "slab_automove_ratio", "slab_automove_window", "slab_chunk_max",
    "lru_crawler_sleep", "lru_crawler_tocrawl", "tail_repair_time", "hot_lru_pct", "warm_lru_pct",
    "hot_max_factor", "warm_max_factor", "temporary_ttl", "watcher_logbuf_size",
    "worker_logbuf_size", "read_buf_mem_limit", "slab_automove_freeratio", "num_napi_ids",
    "memory_file"}}


def test_stats_of_items_slabs_and_settings_have_memcacheds_names():
    with memcached() as port, started("segcache") as running:
        theirs, ours = Client(port), client_of(running)
        for client in (theirs, ours):
            assert client.set(b"k", b"v") == b"STORED"
        for kind, left_out in ONLY_MEMCACHED.items():
            missing = set(stats(theirs, kind)) - set(stats(ours, kind))
            # Of flash and of certificates that there are none of.
            missing = {name for name in missing if not name.startswith(("ext_", "ssl_"))}
            assert missing <= left_out, (kind, missing - left_out)


def test_numbers_of_stats_that_the_runtime_counts():
    with started("segcache", "server.connections_max=2", "server.workers=3", "seg.heap_size=1MB",
                 "seg.eviction=none") as running:
        client = client_of(running)
        first = stats(client)
        client.say(b"stats\r\n")
        reply = client.hear_until(b"END\r\n")
        second = stats(client)
        grown = {name: int(second[name]) - int(first[name])
                 for name in ("bytes_read", "bytes_written")}
        size_of_first = sum(len(f"STAT {name} {value}\r\n") for name, value in first.items()) + 5
        assert grown == {"bytes_read": 14, "bytes_written": size_of_first + len(reply)}, grown
        assert second["max_connections"] == "2" and second["threads"] == "3"
        assert second["limit_maxbytes"] == "1048576" and second["accepting_conns"] == "1"
        assert second["read_buf_count"] == "3" and int(second["read_buf_bytes"]) >= 3 * 4096
        assert int(second["hash_bytes"]) > 0 and int(second["hash_power_level"]) > 0
        assert abs(int(second["time"]) - time.time()) < 60
        eventually(lambda: int(stats(client)["uptime"]) >= 1, what="a second")

        def connections():
            told = stats(client)
            return [told[name] for name in ("curr_connections", "connection_structures",
                                            "total_connections", "rejected_connections")]
        assert connections() == ["1", "1", "1", "0"]
        other = client_of(running)
        assert other.ask(b"mn") == b"MN"
        assert connections() == ["2", "2", "2", "0"]
        assert client_of(running).hear_end().startswith(b"ERROR Too many")
        eventually(lambda: connections() == ["2", "2", "2", "1"], what="the refusal is told")
        other.close()
        eventually(lambda: connections() == ["1", "1", "2", "1"], what="the end is told")

        assert client.ask(b"flush_all") == b"OK" and client.ask(b"me none") == b"EN"
        full = b"SERVER_ERROR out of memory storing object"
        replies = [client.set(b"k%d" % i, b"x" * 10_000) for i in range(150)]
        assert set(replies) == {b"STORED", full}
        told, items = stats(client), stats(client, b" items")
        assert told["cmd_flush"] == told["cmd_meta"] == "1"
        assert told["store_no_memory"] == items["items:1:outofmemory"] == str(replies.count(full))
        assert told["total_items"] == str(replies.count(b"STORED"))


# --- bad input

def test_malformed_lines_get_a_reply_and_the_connection_stays():
    with started("segcache") as running:
        client = client_of(running)
        for line, reply in (
                (b"", b"ERROR"), (b"get", b"ERROR"), (b"set", b"ERROR"), (b"set k", b"ERROR"),
                (b"incr k", b"ERROR"), (b"delete", b"ERROR"), (b"touch k", b"ERROR"),
                (b"\x00\xff\xfe", b"ERROR"), (b"GET k", b"ERROR"), (b"mg", b"ERROR"),
                (b"incr k x", b"CLIENT_ERROR invalid numeric delta argument"),
                (b"set k a 0 1", b"CLIENT_ERROR bad command line format"),
                (b"set k 0 0 -1", b"CLIENT_ERROR bad command line format"),
                (b"get " + b"k" * 251, b"CLIENT_ERROR bad command line format"),
                (b"touch k x", b"CLIENT_ERROR invalid exptime argument"),
                (b"flush_all x", b"CLIENT_ERROR invalid exptime argument")):
            assert client.ask(line) == reply, (line, reply)
        assert client.set(b"k", b"v") == b"STORED" and client.get(b"k") == (0, b"v")


def test_garbage_harms_only_its_sender():
    with started("segcache") as running:
        witness = client_of(running)
        for seed in range(200):
            rng = random.Random(seed)
            client = client_of(running)
            with contextlib.suppress(OSError):
                client.say(rng.randbytes(rng.randrange(1, 5000)) + b"\r\n")
            client.close()
        assert witness.set(b"k", b"v") == b"STORED"
        assert running.process.poll() is None


def test_oversized_values_and_wrong_lengths():
    with started("segcache") as running:
        client = client_of(running)
        assert client.set(b"k", b"old") == b"STORED"
        assert client.set(b"k", b"x" * 3_000_000) == b"SERVER_ERROR object too large for cache"
        assert client.get(b"k") is None, "the old item is not taken for the new one"
        for command in (b"add", b"replace", b"append", b"prepend", b"cas"):
            assert client.set(b"k", b"old") == b"STORED"
            client.say(b"%s k 0 0 3000000%s\r\n" % (command, b" 1" if command == b"cas" else b""))
            client.say(b"x" * 3_000_000 + b"\r\n")
            assert client.hear_line() == b"SERVER_ERROR object too large for cache", command
            assert client.get(b"k") == (0, b"old"), command
        client.say(b"set k 0 0 2\r\nxxx\r\n")  # Too long.
        assert client.hear_line() == b"CLIENT_ERROR bad data chunk"
        assert client.hear_line() == b"ERROR", "the rest is read as a command"
        client.say(b"set k 0 0 9\r\nxx\r\nget k\r\n")  # Too short: it eats the next line.
        assert client.hear_line() == b"STORED"
        assert client.get(b"k") == (0, b"xx\r\nget k")
        client.say(b"set k 0 0 1000000\r\nhalf of it")
        client.close()
        assert client_of(running).get(b"k") == (0, b"xx\r\nget k")


def test_items_larger_than_a_configured_segment_are_refused():
    with started("segcache", "seg.segment_size=64KB", "seg.heap_size=8MB") as running:
        client = client_of(running)
        assert client.set(b"k", b"x" * 65_000) == b"STORED"
        assert client.set(b"k", b"x" * 66_000) == b"SERVER_ERROR object too large for cache"
        assert client.get(b"k") is None
        assert client.set(b"k", b"old") == b"STORED"
        client.say(b"replace k 0 0 66000\r\n" + b"x" * 66_000 + b"\r\n")
        assert client.hear_line() == b"SERVER_ERROR object too large for cache"
        assert client.get(b"k") == (0, b"old")
        client.say(b"set k 0 0 66000 noreply\r\n" + b"x" * 66_000 + b"\r\nget k\r\n")
        assert client.hear_line() == b"END"


def test_half_closed_sockets_get_their_replies():
    with started("segcache") as running:
        client = client_of(running)
        value = os.urandom(500_000)
        assert client.set(b"k", value) == b"STORED"
        client.say(b"get k\r\n" * 10 + b"set last 0 0 1\r\nx\r\nget unfinis")
        client.socket.shutdown(socket.SHUT_WR)
        heard = client.hear_end()
        assert heard == (b"VALUE k 0 500000\r\n" + value + b"\r\nEND\r\n") * 10 + b"STORED\r\n"
        deaf = client_of(running)  # Takes nothing any more, and says so.
        deaf.socket.shutdown(socket.SHUT_RD)
        deaf.say(b"get k\r\n" * 10)
        deaf.close()
        eventually(lambda: stats(client_of(running))["curr_connections"] == "1", what="both gone")


def test_a_megabyte_in_small_pieces():
    with started("segcache") as running:
        client = client_of(running, timeout=60)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        rng = random.Random(7)
        for size, piece_max in ((1_040_000, 400), (20_000, 1)):
            value = rng.randbytes(size)
            command = memoryview(b"set slow 5 0 %d\r\n%s\r\n" % (size, value))
            while command:
                n = rng.randint(1, piece_max)
                client.say(command[:n])
                command = command[n:]
            assert client.hear_line() == b"STORED"
            assert client.get(b"slow") == (5, value)


def test_a_slow_reader_costs_its_limit_and_nobody_else():
    with started("segcache", "server.output_max=1MB") as running:
        client, other = client_of(running, timeout=60), client_of(running)
        value = os.urandom(1_000_000)
        assert client.set(b"k", value) == b"STORED"
        before = rss_kb(running)
        client.say(b"get k\r\n" * 100)  # 100 MB of replies, which it does not read for now.
        eventually(lambda: total(running, "core_net_read_pause_total") > 0, what="a pause")
        for i in range(100):
            assert other.set(b"o%d" % i, b"x" * 1000) == b"STORED"
        assert rss_kb(running) < before + 16 * 1024
        one = b"VALUE k 0 1000000\r\n" + value + b"\r\nEND\r\n"
        for _ in range(100):
            assert client.hear_until(b"END\r\n") == one


# --- many clients

def test_ten_thousand_connections():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 10_000
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 16_000), max(hard, 16_000)))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(wanted, hard - 1100)  # What the limit of this machine leaves, if it is that low.
    try:
        with started("segcache") as running:
            port = port_of(running)
            first = Client(port)
            assert first.set(b"k", b"v") == b"STORED"
            descriptors, kb = open_descriptors(running), rss_kb(running)
            clients = []
            for i in range(count - 1):
                one = socket.socket()
                # Several addresses, so that ports of earlier tests are not in the way.
                one.bind((f"127.0.0.{2 + i % 8}", 0))
                one.connect(("127.0.0.1", port))
                clients.append(one)
            for one in clients:
                one.sendall(b"get k\r\n")
            for one in clients:
                assert one.recv(100) == b"VALUE k 0 1\r\nv\r\nEND\r\n"
            told = stats(first)
            assert int(told["curr_connections"]) == count and told["rejected_connections"] == "0"
            per_connection = (rss_kb(running) - kb) / count
            assert per_connection < 8, f"{per_connection} KB a connection"
            if count == wanted:  # The limit is reached: one more is told so.
                extra = Client(port)
                assert extra.hear_end().startswith(b"ERROR Too many open connections")
            for one in clients:
                one.close()
            eventually(lambda: open_descriptors(running) <= descriptors, 20, "descriptors freed")
            assert rss_kb(running) < kb + 16 * 1024, (kb, rss_kb(running))
            assert first.get(b"k") == (0, b"v")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors_run_out_and_come_back():
    def works(client):
        assert client.ask(b"get nothing") == b"END"
    with started("segcache") as running:
        exhaust_descriptors(running, port_of(running), works)
        told = stats(client_of(running))
        assert int(told["listen_disabled_num"]) > 0
        assert int(told["time_in_listen_disabled_us"]) >= 50_000
        assert told["accepting_conns"] == "1"


def test_sigterm_under_load_loses_no_acknowledged_reply():
    with started("segcache") as running:
        port = port_of(running)

        def hammer(number):
            client = Client(port)
            with contextlib.suppress(EOFError, OSError):
                for i in range(1_000_000):
                    client.say(b"set h%d 0 60 7\r\n%07d\r\nget h%d\r\n" % (number, i, number))
                    assert client.hear_line() == b"STORED"
                    assert client.hear_until(b"END\r\n").endswith(b"\r\n%07d\r\nEND\r\n" % i)

        def stop(_):
            time.sleep(0.7)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(15) == 0
        in_threads(lambda n: stop(n) if n == 8 else hammer(n), range(9))


def test_flush_all_under_readers():
    """No reader sees an item from before a flush after it; nobody is stopped or disconnected."""
    with started("segcache") as running:
        port = port_of(running)
        done = threading.Event()
        generation = [0]

        def read(_):
            client = Client(port)
            while not done.is_set():
                before = generation[0]
                client.say(b"get " + b" ".join(b"k%d" % i for i in range(50)) + b"\r\n")
                for number in re.findall(rb"\r\n(\d+)\r\n", client.hear_until(b"END\r\n")):
                    assert int(number) >= before, "an item that was flushed before the get"

        def flush(_):
            client = Client(port)
            try:
                for number in range(1, 60):
                    client.say(b"".join(b"set k%d 0 0 3 noreply\r\n%03d\r\n" % (i, number)
                                        for i in range(50)))
                    assert client.ask(b"flush_all") == b"OK"
                    # What was set as `number` has gone.
                    generation[0] = number + 1
                assert client.set(b"k1", b"999") == b"STORED"
                assert client.ask(b"flush_all 1") == b"OK"
                assert client.get(b"k1") == (0, b"999"), "not yet"
                eventually(lambda: client.get(b"k1") is None, what="the delayed flush")
                assert client.set(b"k1", b"999") == b"STORED"
                time.sleep(1.1)
                assert client.get(b"k1") == (0, b"999"), "a flush takes effect once"
            finally:
                done.set()
        in_threads(lambda n: flush(n) if n == 0 else read(n), range(4))


def test_cas_tokens_are_new_with_every_write():
    with started("segcache") as running:
        port = port_of(running)
        seen = [set() for _ in range(4)]

        def write(number):
            client = Client(port)

            def token(key):
                client.say(b"gets " + key + b"\r\n")
                return int(re.search(rb"VALUE \S+ \d+ \d+ (\d+)", client.hear_until(b"END\r\n"))[1])
            for i in range(150):
                key = b"t%d-%d" % (number, i % 7)
                for command in (b"set %s 0 0 1\r\n1" % key, b"set %s 0 0 1\r\n1" % key,
                                b"append %s 0 0 1\r\n1" % key, b"replace %s 0 0 1\r\n1" % key,
                                b"incr %s 1" % key, b"delete %s" % key, b"add %s 0 0 1\r\n1" % key):
                    assert client.ask(command) in (b"STORED", b"2", b"DELETED")
                    if not command.startswith(b"delete"):
                        new = token(key)
                        assert new not in seen[number], (command, new)
                        seen[number].add(new)
                        assert token(key) == new, "reading does not change it"
                if i % 50 == 0:
                    client.ask(b"flush_all 1000000")  # Pending, and replaced: never carried out.
        in_threads(write, range(4))
        assert len(set.union(*seen)) == sum(len(one) for one in seen) == 4 * 150 * 6


# --- clocks

def test_the_wall_clock_may_step():
    """Lives count on the monotonic clock; an absolute exptime is read by the wall clock of its time."""
    if not os.path.exists(FAKETIME):
        raise AssertionError("libfaketime is missing, see .ci/packages.sh")
    with tempfile.NamedTemporaryFile("w", suffix=".time") as offset:
        def step(seconds):
            offset.seek(0)
            offset.write(f"{seconds:+d}s\n")
            offset.truncate()
            offset.flush()
        step(0)
        env = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": offset.name, "FAKETIME_NO_CACHE": "1",
               "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
        with started("segcache", env=env) as running:
            client = client_of(running)

            def told():
                return int(stats(client)["time"])
            assert abs(told() - time.time()) < 5
            assert client.set(b"for-ever", b"v") == b"STORED"
            assert client.set(b"relative", b"v", exptime=1000) == b"STORED"
            assert client.set(b"absolute", b"v", exptime=int(time.time()) + 1000) == b"STORED"
            assert client.set(b"short", b"v", exptime=4) == b"STORED"
            ends = time.monotonic() + 4
            for seconds in (-86_400, 86_400, -3600):
                step(seconds)
                eventually(lambda: abs(told() - time.time() - seconds) < 5, what="the step")
                for key in (b"for-ever", b"relative", b"absolute"):
                    assert client.get(key) == (0, b"v"), (key, seconds)
                assert (client.get(b"short") is None) == (time.monotonic() >= ends) or \
                    abs(time.monotonic() - ends) < 0.5
                now = told()
                assert client.set(b"past", b"v", exptime=now - 10) == b"STORED"
                assert client.get(b"past") is None
                assert client.set(b"soon", b"v", exptime=now + 30) == b"STORED"
                assert client.get(b"soon") == (0, b"v")
                assert int(stats(client)["uptime"]) < 60
            eventually(lambda: client.get(b"short") is None, what="the end of four seconds")


# --- starting

def test_too_little_memory_is_an_error_that_states_the_minimum():
    assert run("segcache", "-m", "0")[0] == 64
    for flags, says in ((("-m", "1"), ("seg.memory", "is less than")),
                        (sets(("seg.heap_size=100KB",)), ("seg.heap_size", "256KB")),
                        (sets(("seg.heap_size=1MB", "seg.segment_size=1MB")),
                         ("seg.heap_size", "two segments", "2MB")),
                        (sets(("seg.heap_size=15MB", "seg.segment_size=8MB")),
                         ("seg.heap_size", "two segments", "16MB"))):
        code, out, err = run("segcache", *flags, *sets(("admin.port=0", "admin.http_port=0")))
        lines = complaint(err)
        assert code == 78 and out == "" and len(lines) == 1, (flags, code, err)
        assert all(part in lines[0] for part in says), lines
    with started("segcache", "seg.heap_size=256KB") as running:  # The least works.
        client = client_of(running)
        for i in range(2000):
            assert client.set(b"k%d" % i, b"x" * 100, exptime=i % 50 + 1) == b"STORED"


@contextlib.contextmanager
def socket_path():
    with tempfile.TemporaryDirectory() as folder:
        yield os.path.join(folder, "socket")


def over_unix(path, line):
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(10)
        one.connect(path)
        one.sendall(line)
        return one.recv(65536)


PRODUCTS = (("segcache", b"version\r\n", b"VERSION "), ("pingserver", b"PING\r\n", b"PONG\r\n"),
            ("momento_proxy", b"version\r\n", b"VERSION "))


def test_a_unix_socket_in_place_of_tcp():
    for name, line, reply in PRODUCTS:
        local = ("--local",) if name == "momento_proxy" else ()
        with socket_path() as path:
            flags = (*local, "-s", path, "-a", "0770", "-p", "11299")
            with product(name, *flags) as running:
                running.wait_log(r"(?:memcache|ping) on unix:")
                assert over_unix(path, line).startswith(reply)
                assert os.stat(path).st_mode & 0o777 == 0o770
                with socket.socket() as tcp:
                    assert tcp.connect_ex(("127.0.0.1", 11299)) != 0, "as memcached: no TCP"
                code, _, err = run(name, *flags, *sets(("admin.port=0", "admin.http_port=0")))
                assert code == 69 and f"{path}: Address already in use" in err, (code, err)
                assert over_unix(path, line).startswith(reply), "it is still the first one's"
                running.process.kill()
                running.process.wait()
            assert os.path.exists(path), "what a killed process leaves"
            with product(name, *flags) as running:
                running.wait_log(r"(?:memcache|ping) on unix:")
                assert over_unix(path, line).startswith(reply)
                assert running.stop() == 0
            assert not os.path.exists(path)


def test_a_unix_socket_takes_no_other_files_place():
    with socket_path() as path:
        with open(path, "w") as file:
            file.write("precious")
        code, _, err = run("segcache", "-s", path, *sets(("admin.port=0", "admin.http_port=0")))
        assert code == 69 and "no socket" in err and path in err, (code, err)
        assert open(path).read() == "precious"


def test_stats_settings_tell_of_the_unix_socket():
    with socket_path() as path:
        with started("segcache", f"listen.unix_socket={path}", "listen.unix_mask=660") as running:
            both = stats(client_of(running), b" settings")
            assert (both["domain_socket"], both["umask"]) == (path, "660")
            assert both["tcpport"] == str(port_of(running))
            assert over_unix(path, b"version\r\n").startswith(b"VERSION ")
    with started("segcache") as running:
        none = stats(client_of(running), b" settings")
        assert (none["domain_socket"], none["umask"]) == ("NULL", "700")


def test_letters_of_a_memcached_unit():
    """What Debian's unit and memcached.conf say, word for word but for the paths and ports."""
    with socket_path() as path:
        user = "nobody"
        os.chmod(os.path.dirname(path), 0o777)
        with product("segcache", "-m", "64", "-p", "0", "-u", user, "-l", "127.0.0.1", "-l",
                     "127.0.0.2", "-P", path, "-c", "1024") as running:
            port = port_of(running)
            assert open(path).read() == f"{running.process.pid}\n"
            uid = re.search(r"Uid:\s+(\d+)", open(f"/proc/{running.process.pid}/status").read())[1]
            assert os.geteuid() != 0 or uid == "65534"
            for host in ("127.0.0.1", "127.0.0.2"):
                told = stats(Client(port, host=host), b" settings")
                assert told["maxbytes"] == "67108864" and told["inter"] == "127.0.0.1,127.0.0.2"
            assert running.stop() == 0
        assert not os.path.exists(path)
    with product("segcache", "-p", "0", "-M", "-F", "-I", "512k", "-f", "1.25", "-o", "modern",
                 *sets(("seg.heap_size=1MB",))) as running:
        client = client_of(running)
        running.wait_log("-f: ignored")
        running.wait_log("-o: modern: ignored")
        assert client.ask(b"flush_all") == b"CLIENT_ERROR flush_all not allowed"
        assert client.set(b"k", b"x" * 600_000) == b"SERVER_ERROR object too large for cache"
        replies = {client.set(b"k%d" % i, b"x" * 10_000) for i in range(200)}
        assert replies == {b"STORED", b"SERVER_ERROR out of memory storing object"}, replies
        assert client.get(b"k1") == (0, b"x" * 10_000), "nothing was evicted"


def test_default_ports_are_memcacheds_by_flag_and_pelikans_by_file():
    """Printed rather than bound: somebody may be using them."""
    code, printed, _ = run("segcache", "--print-config")
    assert code == 0 and "\nport = 11211\n" in printed.split("[listen]")[1].split("[admin]")[0]
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        code, printed, _ = run("segcache", file.name, "--print-config")
        assert code == 0 and "\nport = 12321\n" in printed.split("[listen]")[1].split("[admin]")[0]


def test_sizes_on_the_admin_port():
    with started("segcache") as running:
        client = client_of(running)
        for i in range(100):
            assert client.set(b"k%02d" % i, b"x" * (20 if i < 60 else 980)) == b"STORED"
        admin = Client(int(running.wait_log(r"admin: text on \S+:(\d+)").group(1)))
        admin.say(b"sizes\r\n")
        assert admin.hear_until(b"END\r\n") == b"STAT 32 60\r\nSTAT 992 40\r\nEND\r\n"
        admin.say(b"help\r\n")
        assert b"\r\nsizes: " in admin.hear_until(b"END\r\n")


# --- pingserver

def test_pingserver_under_attack():
    def works(client):
        assert client.ask(b"PING") == b"PONG"
    with started("pingserver") as running:
        port = port_of(running)
        witness = Client(port)
        works(witness)
        descriptors, kb = open_descriptors(running), rss_kb(running)
        for seed in range(100):
            client = Client(port)
            with contextlib.suppress(OSError):
                client.say(random.Random(seed).randbytes(3000))
            client.close()
        endless = Client(port)
        with contextlib.suppress(OSError):  # It is told off, or cut off while it goes on.
            endless.say(b"x" * 1_000_000)
        with contextlib.suppress(OSError):
            assert len(endless.hear_end()) < 100
        half = Client(port)
        half.say(b"PING\r\nPING\r\nPI")
        half.socket.shutdown(socket.SHUT_WR)
        assert half.hear_end() == b"PONG\r\nPONG\r\n"
        slow = Client(port)
        for byte in b"PING\r\n":
            slow.say(bytes([byte]))
        assert slow.hear_line() == b"PONG"
        crowd = [Client(port) for _ in range(1000)]
        for client in crowd:
            client.say(b"PING\r\n" * 10)
        for client in crowd:
            for _ in range(10):
                assert client.hear_line() == b"PONG"
            client.close()
        for one in (endless, half, slow):
            one.close()
        works(witness)
        eventually(lambda: open_descriptors(running) <= descriptors, 10, "descriptors freed")
        assert rss_kb(running) < kb + 8 * 1024
    with started("pingserver") as running:
        exhaust_descriptors(running, port_of(running), works)


if __name__ == "__main__":
    main(globals())
