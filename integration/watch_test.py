#!/usr/bin/env python3
"""`watch`: lines of what others do, on segcache, momento_proxy and the stock memcached they are compared with."""
import contextlib
import os
import re
import signal
import socket
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import binary as b  # noqa: E402
from binary_test import memcached  # noqa: E402
from descriptors import open_descriptors  # noqa: E402
from handover_test import line_of  # noqa: E402
from harness import Client, eventually, main, product  # noqa: E402
from knobs import (MEMCACHES, client_of, local, port_of, ready, sets, shows, started,  # noqa: E402
                   total)
from tls_test import TlsClient, tls_product  # noqa: E402

KINDS = "fetchers mutations evictions connevents deletions"
TOO_MANY = b"WATCHER_TOO_MANY log watcher limit reached"
# What a drain would have to wait for; a product that waits for a watcher does not stop in time.
PATIENT = "server.drain_timeout=1h"


class Watch(Client):
    """A connection that watches."""

    def __init__(self, port, kinds=KINDS, client=None):
        if client is None:
            super().__init__(port, 20)
        else:
            self.socket, self.heard = client.socket, client.heard
        self.say(b"watch %s\r\n" % kinds.encode())
        assert self.hear_line() == b"OK"

    def line(self):
        while b"\n" not in self.heard:
            more = self.socket.recv(1 << 20)
            if not more:
                raise EOFError(self.heard)
            self.heard += more
        line, self.heard = self.heard.split(b"\n", 1)
        return line.decode()

    def until(self, pattern):
        """The lines up to the first that matches, without that one."""
        lines = []
        while True:
            line = self.line()
            if re.search(pattern, line):
                return lines
            lines.append(line)

    def rest(self):
        """The lines until the peer closes."""
        return self.hear_end().decode().splitlines()


def fields(line):
    """[(name, value)] of a line, its time and number proved to be some."""
    found = re.fullmatch(r"ts=\d{10}\.\d{1,6} gid=(\d+) (type=.*)", line)
    assert found, line
    return [tuple(one.split("=", 1)) for one in found.group(2).split(" ")]


def gid(line):
    return int(re.search(r" gid=(\d+) ", line).group(1))


def shape(line):
    return [name for name, _ in fields(line)]


def of_type(lines, kind):
    assert all(" type=" in line for line in lines), "skipped"
    return [line for line in lines if f" type={kind} " in line]


# --- The same as memcached's ---

DIALOGUE = [
    b"get a", b"get a b", b"set a 5 100 3\r\nabc", b"get a b a", b"gets a", b"gat 50 a", b"gats 50 b",
    b"touch a 50", b"touch no 50", b"add a 0 0 1\r\nx", b"add n 0 0 1\r\n1", b"replace no 0 0 1\r\nx",
    b"replace n 0 0 1\r\n5", b"append n 0 7 1\r\n5", b"append no 0 0 1\r\n5",
    b"prepend n 0 0 2\r\n12", b"cas n 0 0 1 1\r\n1", b"cas no 0 0 1 1\r\n1", b"incr n 1",
    b"decr n 1", b"incr no 1", b"incr a 1", b"delete a", b"delete a", b"set e 0 0 0\r\n",
    b"get e", b"set k%3d&\xc3\xa9\"\\ 0 60 1\r\nx", b"get k%3d&\xc3\xa9\"\\", b"bogus", b"version"]


def talk(port):
    client = Client(port)
    for said in DIALOGUE:
        client.say(said + b"\r\n")
        if said.startswith((b"get", b"gat")):
            client.hear_until(b"END\r\n")
        else:
            client.hear_line()
    # Somebody is told of this.
    assert client.set(b"the-end", b"") == b"STORED"
    client.ask(b"get the-end")
    client.close()


def seen(port):
    """What a watcher sees of the dialogue: lines of (name, value), but for what differs by nature."""
    watch = Watch(port, "fetchers mutations")
    talk(port)
    lines = watch.until(r"type=item_get key=the-end status=found")
    assert [gid(line) for line in lines] == sorted(gid(line) for line in lines)
    return [[one for one in fields(line) if one[0] not in ("cfd", "clsid")] for line in lines
            if "key=the-end" not in line], [shape(line) for line in lines]


def without_lookups_of_stores(lines):
    """memcached looks up what it is going to store, and tells of it."""
    return [line for i, line in enumerate(lines)
            if not (line[0] == ("type", "item_get") and i + 1 < len(lines) and
                    lines[i + 1][0] == ("type", "item_store") and line[1] == lines[i + 1][1])]


def test_lines_are_memcacheds():
    with memcached("-t", "1") as port:
        stock, shapes = seen(port)
    wanted = without_lookups_of_stores(stock)
    assert len(wanted) > 30 and len(wanted) < len(stock)
    for name in MEMCACHES:
        with started(name) as running:
            ours, own_shapes = seen(port_of(running))
        for got, want in zip(ours, wanted):
            # Momento tells no size of what is touched or deleted; a count that failed has none.
            if name == "momento_proxy" and got[-1] == ("size", "0") and got[0][1] == "item_get":
                want = want[:-1] + [("size", "0")]
            assert got == want, (name, got, want)
        assert len(ours) == len(wanted), name
        assert {tuple(one) for one in own_shapes} == {tuple(one) for one in shapes}, name


def connection_events(port, path=None):
    """Shapes and words of the lines of a connection that says quit, one that errs, one that leaves."""
    watch = Watch(port, "connevents")
    shapes = []
    for said, reason in ((b"quit\r\n", "normal"), (b"x" * 3000, "error"), (b"", "normal")):
        client = Client(port)
        rport = client.socket.getsockname()[1]
        client.say(said)
        if said:
            client.hear_end()
        client.close()
        lines = [watch.line(), watch.line()]
        events = [dict(fields(line)) for line in lines]
        assert [one["type"] for one in events] == ["conn_new", "conn_close"], lines
        assert events[1]["reason"] == reason, lines
        for one in events:
            assert one["rip"] == "127.0.0.1" and one["rport"] == str(rport), lines
            assert one["transport"] == "tcp" and one["cfd"] == events[0]["cfd"], lines
        shapes += [shape(line) for line in lines]
    return shapes


def test_connection_events_are_memcacheds():
    with memcached("-t", "1") as port:
        wanted = connection_events(port)
    for name in MEMCACHES:
        with started(name, "server.workers=1") as running:
            assert connection_events(port_of(running)) == wanted, name


def test_connections_of_a_unix_socket_and_idle_ones():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "s")
        with started("segcache", f"listen.unix_socket={path}", "server.idle_timeout=1s") as running:
            watch = Watch(port_of(running), "connevents")
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
                client.connect(path)
                new, close = fields(watch.line()), fields(watch.line())
            assert new[:4] == [("type", "conn_new"), ("rip", "unix"), ("rport", "0"),
                               ("transport", "local")], new
            assert close[:5] == [("type", "conn_close"), *new[1:4], ("reason", "idle_timeout")]
            # The watcher has been silent for longer.
            time.sleep(1.5)
            client_of(running)
            assert dict(fields(watch.line()))["type"] == "conn_new"


def fill(port, count):
    client = Client(port)
    for i in range(count):
        client.say(b"set k%d 0 %d 1000\r\n%s\r\n" % (i, 0 if i % 2 else 100, b"x" * 1000))
        assert client.hear_line() == b"STORED"
    return client


def evictions(port):
    watch = Watch(port, "evictions mutations")
    client = fill(port, 3000)
    client.set(b"the-end", b"")
    lines = of_type(watch.until("key=the-end"), "eviction")
    assert lines
    for line in lines:
        told = dict(fields(line))
        assert re.fullmatch(r"k\d+", told["key"]) and told["fetch"] in ("yes", "no"), line
        eternal = int(told["key"][1:]) % 2 == 1
        assert told["ttl"] == "-1" if eternal else 90 <= int(told["ttl"]) <= 100, line
        assert told["size"] == "1000" and int(told["la"]) >= 0 and told["clsid"].isdigit(), line
    return client, lines


def test_evictions_are_memcacheds():
    with memcached("-t", "1", "-m", "2") as port:
        wanted = shape(evictions(port)[1][0])
    with started("segcache", "server.workers=2", "seg.heap_size=1MB",
                 "seg.segment_size=64KB") as running:
        client, lines = evictions(port_of(running))
        assert {tuple(shape(line)) for line in lines} == {tuple(wanted)}
        assert len(lines) == total(running, "cache_seg_item_evict_total")
        gone = {dict(fields(line))["key"] for line in lines}
        assert len(gone) == len(lines)
        for i in range(0, 3000, 7):
            assert (client.get(b"k%d" % i) is None) == (f"k{i}" in gone), i
    with started("momento_proxy", "seg.heap_size=12MB") as running:
        watch = Watch(port_of(running), "evictions mutations")
        client = client_of(running)
        for i in range(30):
            assert client.set(b"k%d" % i, b"x" * 900_000) == b"STORED"
        client.set(b"the-end", b"")
        assert client.get(b"k0") is None, "nothing was evicted"
        lines = watch.until("key=the-end")
        assert len(of_type(lines, "item_store")) == len(lines) == 30, lines


def test_deletions():
    """As in memcached 1.6.45; 1.6.18 does not know the word."""
    for name in MEMCACHES:
        with started(name) as running:
            watch = Watch(port_of(running), "deletions")
            client = client_of(running)
            client.set(b"a", b"abc")
            assert client.ask(b"delete a") == b"DELETED" and client.ask(b"delete a") == b"NOT_FOUND"
            client.set(b"b", b"de")
            connection = b.Connection(port_of(running))
            assert connection.ask(b.DELETE, b"b").status == b.OK
            size = {"segcache": ("3", "2"), "momento_proxy": ("0", "0")}[name]
            for key, bytes_ in zip("ab", size):
                assert fields(watch.line()) == [
                    ("type", "deleted"), ("key", key), ("cmd", "delete"), ("clsid", "1"),
                    ("size", bytes_)], name


def test_sizes_of_what_is_counted():
    """The value's before it, as in memcached; in the proxy what was stored."""
    for name in MEMCACHES:
        with started(name) as running:
            watch = Watch(port_of(running), "fetchers")
            client = client_of(running)
            client.set(b"n", b"99")
            assert client.ask(b"incr n 1") == b"100" and client.ask(b"decr n 95") == b"5"
            assert client.ask(b"touch n 60") == b"TOUCHED" and client.ask(b"delete n") == b"DELETED"
            sizes = {"segcache": ["2", "3", "3", "3"], "momento_proxy": ["3", "3", "0", "0"]}[name]
            assert [dict(fields(watch.line()))["size"] for _ in sizes] == sizes, name


def test_packets_make_the_same_lines():
    for name in MEMCACHES:
        with started(name) as running:
            watch = Watch(port_of(running), "fetchers mutations")
            c = b.Connection(port_of(running))
            c.ask(b.SET, b"k", b"abc", extras=b.flags_and_expiry(1, 60))
            c.ask(b.GET, b"k")
            c.ask(b.GETK, b"no")
            c.ask(b.ADD, b"k", b"x", extras=b.flags_and_expiry())
            told = [dict(fields(watch.line())) for _ in range(4)]
            assert [(one["type"], one["key"], one["status"], one["size"]) for one in told] == [
                ("item_store", "k", "stored", "3"), ("item_get", "k", "found", "3"),
                ("item_get", "no", "not_found", "0"), ("item_store", "k", "not_stored", "1")], name
            assert (told[0]["ttl"], told[3]["cmd"]) == ("60", "add"), name


# --- The command ---

def test_words_and_refusals():
    for name in MEMCACHES:
        with started(name) as running:
            client = client_of(running)
            for said in (b"watch all", b"watch fetchers bogus", b"watch bogus fetchers", b"WATCH"):
                assert client.ask(said) == b"ERROR", said
            assert client.ask(b"watch noreply\r\nwatch fetchers noreply\r\nversion").startswith(
                b"VERSION "), name
            for kind in ("rawcmds", "sysevents", "proxyreqs", "proxyevents", "proxyuser"):
                Watch(port_of(running), kind).close()
            default = Watch(port_of(running), "")
            client.set(b"a", b"")
            client.get(b"b")
            assert "type=item_get key=b" in default.line(), name


@shows(MEMCACHES, "server.watch")
def test_watching_can_be_forbidden():
    for name in MEMCACHES:
        for forbids in (dict(flags=("-W",)), {}):
            with started(name, *([] if forbids else ["server.watch=false"]), **forbids) as running:
                client = client_of(running)
                for said in (b"watch", b"watch bogus"):
                    assert client.ask(said) == b"CLIENT_ERROR watch commands not allowed", name
                assert client.ask(b"watch noreply\r\nversion").startswith(b"VERSION "), name
        with started(name, "server.watch=true") as running:
            Watch(port_of(running))


def test_before_and_after_the_command():
    """What was asked before is answered first; what comes after is dropped."""
    for name in MEMCACHES:
        with started(name) as running:
            c = client_of(running)
            c.say(b"set a 0 0 1\r\nx\r\nget a\r\nwatch fetchers\r\nget a\r\nversion\r\nquit\r\n")
            assert c.hear_until(b"OK\r\n") == b"STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nOK\r\n"
            c.say(b"quit\r\nget a\r\n" + b"x" * 100_000)
            other = client_of(running)
            assert other.get(b"b") is None
            assert b"type=item_get key=b" in c.hear_until(b"\n"), name
            c.say(b"version\r\n")
            other.get(b"d")
            assert b"type=item_get key=d" in c.hear_until(b"\n"), name


# --- Many watchers ---

def test_each_gets_what_it_asked_for():
    kinds = ("fetchers", "mutations", "deletions", "connevents", "evictions", "fetchers deletions")
    for name in MEMCACHES:
        with started(name, "server.workers=3") as running:
            watches = {kind: Watch(port_of(running), kind) for kind in kinds}
            clients = [client_of(running) for _ in range(4)]
            for i, client in enumerate(clients):
                client.set(b"k%d" % i, b"x")
                client.get(b"k%d" % i)
                client.ask(b"delete k%d" % i)
                client.close()
            eventually(lambda: total(running, "core_net_connection_open") <= len(kinds) + 1)
            # fetchers 8, mutations 4, deletions 4, connevents 8 and the two who watch after it; and
            # once more for the one of two kinds.
            eventually(lambda: total(running, "core_watch_line_send_total") == 8 + 4 + 4 + 10 + 12)
            assert total(running, "core_watch_line_write_total") == 8 + 4 + 4 + 10
            assert running.stop() == 0
            got = {kind: [dict(fields(line))["type"] for line in watch.rest()]
                   for kind, watch in watches.items()}
            assert sorted(got["fetchers"]) == ["item_get"] * 8, got
            assert got["mutations"] == ["item_store"] * 4 and got["deletions"] == ["deleted"] * 4, got
            assert got["evictions"] == [], got
            assert sorted(got["fetchers deletions"]) == ["deleted"] * 4 + ["item_get"] * 8, got
            news = [one for one in got["connevents"] if one == "conn_new"]
            # Those that watch came after it, and are closed with it.
            assert len(news) == 4 + 2, got


def test_the_twenty_first_is_refused():
    for name in MEMCACHES:
        with started(name, "server.workers=2") as running:
            watches = [Watch(port_of(running)) for _ in range(20)]
            client = client_of(running)
            assert client.ask(b"watch") == TOO_MANY, name
            assert client.ask(b"version").startswith(b"VERSION "), name
            client.say(b"stats\r\n")
            stats = dict(line.split()[1:3] for line in
                         client.hear_until(b"END\r\n").decode().splitlines() if " " in line)
            assert stats["log_watchers"] == "20", stats
            watches[5].close()
            assert eventually(lambda: client.ask(b"watch") == b"OK"), name


def reset(client):
    """Leaves without a word."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def settled(look):
    """What `look` says once it says the same for half a second: connections to a backend have come up."""
    seen, since = look(), time.monotonic()
    while time.monotonic() < since + 0.5:
        time.sleep(0.02)
        now = look()
        if now != seen:
            seen, since = now, time.monotonic()
    return seen


def test_leavers_leave_nothing_behind():
    for name in MEMCACHES:
        with started(name, "server.workers=2") as running:
            client = client_of(running)
            client.get(b"warm")
            before = settled(lambda: open_descriptors(running))
            for leave in (Client.close, reset, lambda c: c.socket.shutdown(socket.SHUT_WR)) * 10:
                watch = Watch(port_of(running))
                client.get(b"k")
                leave(watch)
            eventually(lambda: total(running, "core_watch_watcher") == 0, what=name)
            eventually(lambda: open_descriptors(running) == before, what=name)
            lines = total(running, "core_watch_line_write_total")
            client.get(b"k")
            assert total(running, "core_watch_line_write_total") == lines > 0, name
            assert total(running, "core_net_reply_abandon_total") == 0, name


def memory_kb(running):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{running.process.pid}/status").read())[1])


def flood(client, key, rounds, depth):
    for _ in range(rounds):
        client.say((b"get " + key + b"\r\n") * depth)
        for _ in range(depth):
            assert client.hear_line() == b"END"


@contextlib.contextmanager
def alone(name):
    """A product whose memory is its own: its service is another process."""
    if name != "momento_proxy":
        with started(name, "server.workers=2") as running:
            yield running
        return
    with local() as backend, product(name, "-p", "0", "-t", "2", *sets((
            f"momento.endpoint_override=127.0.0.1:{port_of(backend)}",
            "cache[0].cache_name=c"))) as running:
        yield running


def test_a_slow_watcher_holds_nobody_up_and_is_told_what_it_missed():
    rounds, depth = 250, 200
    for name in MEMCACHES:
        with alone(name) as running:
            client = client_of(running)
            key = b"\xff" * 240  # Three times as long on the line.
            flood(client, key, rounds, depth)  # What the traffic itself takes.
            before = memory_kb(running)
            slow = Watch(port_of(running), "fetchers")
            flood(client, key, rounds, depth)
            lines = rounds * depth
            skipped = total(running, "core_watch_line_skip_total")
            assert skipped > 0, f"{name}: the kernel took all of it"
            grown = memory_kb(running) - before
            assert grown < 4 * 1024, f"{name}: {grown} KB more for one slow watcher"
            got = told = last = 0
            while got + skipped < lines:
                line = slow.line()
                if line.startswith("skipped="):  # The kernel had made room meanwhile.
                    told += int(line.removeprefix("skipped="))
                    continue
                assert gid(line) > last, line
                last = gid(line)
                got += 1
            assert told < skipped, name
            client.get(b"next")  # What is missing is told with the next line.
            assert slow.line() == f"skipped={int(skipped) - told}", name
            assert "key=next " in slow.line(), name
            client.say(b"stats\r\n")
            stats = dict(one.split()[1:3] for one in
                         client.hear_until(b"END\r\n").decode().splitlines() if " " in one)
            assert int(stats["log_watcher_skipped"]) == skipped, name
            assert int(stats["log_watcher_sent"]) == got + 1, name
            assert int(stats["log_worker_written"]) == lines + 1, name


def test_a_watcher_that_takes_nothing_is_closed():
    with started("segcache", "server.stall_timeout=1s", "server.workers=2") as running:
        deaf = Client(port_of(running), 20)
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        Watch(port_of(running), "fetchers", client=deaf)
        quiet = Watch(port_of(running), "mutations")
        client = client_of(running)

        def stalled():
            flood(client, b"\xff" * 240, 1, 500)
            return total(running, "core_net_connection_stall_close_total")
        assert eventually(stalled, 30) == 1
        eventually(lambda: total(running, "core_watch_watcher") == 1)
        client.set(b"k", b"")
        assert "key=k" in quiet.line()


# --- Where else ---

def test_over_tls():
    for name in MEMCACHES:
        with tls_product(name) as running:
            port = port_of(running)
            watch = Watch(port, client=TlsClient(port))
            client = TlsClient(port)
            assert "type=conn_new rip=127.0.0.1" in watch.line()
            client.set(b"k", b"abc")
            assert "type=item_store key=k status=stored cmd=set" in watch.line()
            for i in range(300):
                client.ask(b"get " + b"%" * 200)
            assert len(watch.until("gid=302 ")) == 299
            watch.say(b"quit\r\n" * 100)
            watch.close()
            eventually(lambda: total(running, "core_watch_watcher") == 0, what=name)


def test_only_who_is_logged_in_watches_and_no_password_is_seen():
    with tempfile.NamedTemporaryFile("w") as users:
        os.chmod(users.name, 0o644)
        users.write("user:SECRET\n")
        users.flush()
        for name in MEMCACHES:
            with started(name, f"server.auth_file={users.name}") as running:
                stranger, member = client_of(running), client_of(running)
                assert stranger.ask(b"watch") == b"CLIENT_ERROR unauthenticated"
                assert member.set(b"k", b"user SECRET") == b"STORED"
                watch = Watch(port_of(running), client=member)
                assert stranger.set(b"login-key", b"user WRONG").startswith(b"CLIENT_ERROR")
                assert stranger.set(b"login-key", b"user SECRET") == b"STORED"
                c = b.Connection(port_of(running))
                assert c.ask(b.SASL_AUTH, b"PLAIN", b"\0user\0SECRET").status == b.OK
                assert c.ask(b.GET, b"packet").status == b.NOT_FOUND
                stranger.get(b"the-end")
                lines = watch.until("key=the-end")
                assert [shape(line)[0] for line in lines] == ["type"] * 2, lines  # conn_new, a get.
                assert not re.search("SECRET|WRONG|user|login-key", "".join(lines)), lines


def test_a_cache_is_watched_by_its_own_clients_alone():
    with started("momento_proxy", "cache[1].cache_name=other", "cache[1].port=0") as running:
        ports = [int(running.wait_log(rf"memcache on \S+:(\d+) for cache {name},").group(1))
                 for name in ("default-cache", "other")]
        watches = [Watch(port) for port in ports]
        for port, key in zip(ports, (b"first", b"second")):
            client = Client(port)
            client.get(key)
        assert "rip" in watches[0].line() and "key=first " in watches[0].line()
        assert "rip" in watches[1].line() and "key=second " in watches[1].line()


def test_a_failing_backend_is_told_as_the_client_sees_it():
    with started("momento_proxy", "cache[0].get_error=error", "local.fault_error_percent=100",
                 "cache[0].retry_attempts=1", "cache[0].breaker=false") as running:
        watch = Watch(port_of(running), "fetchers mutations")
        client = client_of(running)
        assert client.ask(b"get k").startswith(b"SERVER_ERROR")
        assert client.set(b"k", b"x").startswith(b"SERVER_ERROR")
        assert "type=item_get key=k status=error " in watch.line()
        assert "type=item_store key=k status=error cmd=set " in watch.line()


# --- The end ---

def test_sigterm_waits_for_no_watcher():
    for name in MEMCACHES:
        with started(name, PATIENT, "server.workers=2") as running:
            watches = [Watch(port_of(running)) for _ in range(5)]
            client = client_of(running)
            client.get(b"last")
            assert running.stop() == 0, name
            for watch in watches:
                assert any("key=last " in line for line in watch.rest()), name
            assert "drained" in running.log(), name


def test_a_process_that_takes_over_waits_for_no_watcher():
    for name in ("segcache", "momento_proxy"):
        more = ("cache[0].cache_name=c", "momento.endpoint_override=127.0.0.1:1") \
            if name == "momento_proxy" else ()
        with line_of(name, PATIENT, *more) as line:
            watch = Watch(line.port)
            client = Client(line.port)
            assert "conn_new" in watch.line()
            line.start()
            watch.rest()
            assert client.ask(b"version").startswith(b"VERSION "), name
            again = Watch(line.port, "connevents")
            Client(line.port)
            assert "conn_new" in again.line(), name


if __name__ == "__main__":
    main(globals())
