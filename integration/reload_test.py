#!/usr/bin/env python3
"""SIGHUP: what a running product takes over from its file, what it leaves for a restart, what it
refuses."""
import contextlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Client, eventually, main, pause, product  # noqa: E402
from knobs import ALL, local, metrics, port_of  # noqa: E402


class Reloadable:
    """A product that was started from a file, and the file."""

    def __init__(self, running, path):
        self.running = running
        self.path = path
        self.port = port_of(running) if running.name != "momento_local" else None

    def write(self, text):
        with open(self.path + ".new", "w") as f:
            f.write(text)
        os.rename(self.path + ".new", self.path)

    def reload(self, text=None):
        """Returns what the log says of it."""
        if text is not None:
            self.write(text)
        before = len(self.running.log())
        count = self.count("done") + self.count("refuse")
        self.running.process.send_signal(signal.SIGHUP)
        eventually(lambda: self.count("done") + self.count("refuse") > count, what="a reload")
        time.sleep(0.05)  # The log has a thread of its own.
        return self.running.log()[before:]

    def count(self, what):
        return metrics(self.running)[f"core_reload_{what}_total"]


@contextlib.contextmanager
def started_from(name, text, *flags):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "product.toml")
        with open(path, "w") as f:
            f.write(text)
        first = ["--local"] if name == "momento_proxy" else []
        with product(name, *first, path, *flags) as running:
            yield Reloadable(running, path)


PROXY = """
[server]
workers = 2
%s
[[cache]]
cache_name = "c"
port = 0
flush_all = true
%s
"""


def test_nothing_changed():
    for name in ALL:
        port = "[[cache]]\ncache_name='c'\nport=0\n" if name == "momento_proxy" else \
            "[local]\nport=0\n" if name == "momento_local" else "[listen]\nport=0\n"
        with started_from(name, port) as it:
            said = it.reload()
            assert "nothing changed" in said, said
            assert metrics(it.running)["core_reload_last_time_seconds"] > time.time() - 60


def test_live_knobs_change_what_clients_see():
    with started_from("momento_proxy", PROXY % ("", "")) as it:
        client = Client(it.port)
        assert client.set(b"k", b"v") == b"STORED"
        assert client.ask(b"flush_all") == b"OK"
        said = it.reload((PROXY % ("idle_timeout = '2h'", "max_ttl = '30s'\ndefault_ttl = '30s'"))
                         .replace("flush_all = true", "flush_all = false"))
        for line in ('server.idle_timeout: "0s" -> "2h"', 'cache[c].max_ttl: "24h" -> "30s"',
                     "cache[c].flush_all: true -> false"):
            assert line in said, said
        assert "needs a restart" not in said, said
        # The same connection, and on both workers a new one.
        for one in (client, Client(it.port), Client(it.port)):
            assert one.ask(b"flush_all") == b"CLIENT_ERROR flush_all not allowed"
        assert metrics(it.running)["core_reload_change_total"] == 4
        client.say(b"stats settings\r\n")
        settings = client.hear_until(b"END\r\n")
        assert b"STAT idle_timeout 7200\r\n" in settings, settings
        assert client.set(b"k2", b"v", exptime=3600) == b"STORED"
        counted = metrics(it.running)
        assert sum(v for k, v in counted.items() if k.startswith("proxy_ttl_clamped_total")) == 1


def test_a_silent_connection_meets_the_new_idle_timeout():
    for name in ("pingserver", "segcache"):
        with started_from(name, "[listen]\nport = 0\n") as it:
            silent = Client(it.port)
            it.reload("[listen]\nport = 0\n[server]\nidle_timeout = '100ms'\n")
            assert silent.hear_end() == b""
            counted = metrics(it.running)
            assert sum(v for k, v in counted.items()
                       if k.startswith("core_net_connection_idle_close_total")) == 1, name


def test_connections_max_moves():
    with started_from("segcache", "[listen]\nport = 0\n[server]\nconnections_max = 1\n") as it:
        first = Client(it.port)
        assert first.ask(b"mn") in (b"MN", b"ERROR")
        assert b"ERROR" in Client(it.port).hear_end()
        it.reload("[listen]\nport = 0\n[server]\nconnections_max = 2\nflush_all = false\n")
        second = Client(it.port)
        assert second.set(b"k", b"v") == b"STORED"
        assert first.ask(b"flush_all") == b"CLIENT_ERROR flush_all not allowed"


def test_what_needs_a_restart_is_named_and_left():
    with started_from("momento_proxy", PROXY % ("", "")) as it:
        changed = (PROXY % ("backlog = 7\nidle_timeout = '3s'", "envelope = 'raw'")).replace(
            "workers = 2", "workers = 3")
        said = it.reload(changed + "[[cache]]\ncache_name = 'other'\nport = 0\n"
                         "[momento]\napi_key = 'sesame'\n")
        assert "needs a restart: " in said, said
        for name in ("server.workers", "server.backlog", "cache[c].envelope", "momento.api_key",
                     "cache[other] (new)"):
            assert name in said, (name, said)
        assert "sesame" not in it.running.log()
        assert 'server.idle_timeout: "0s" -> "3s"' in said
        assert metrics(it.running)["core_reload_restart_knobs"] == 5
        assert Client(it.port).set(b"k", b"v") == b"STORED"
        # Said again as long as it waits, and not once it was taken back.
        assert "needs a restart" in it.reload()
        assert "needs a restart" not in it.reload(PROXY % ("", ""))


def test_a_cache_is_known_by_its_name():
    two = "[[cache]]\ncache_name = '%s'\nport = 0\nflush_all = %s\n" * 2
    with started_from("momento_proxy", two % ("a", "true", "b", "false")) as it:
        ports = {name: int(port) for port, name in
                 __import__("re").findall(r"memcache on \S+:(\d+) for cache (\w)",
                                          it.running.log())}
        said = it.reload(two % ("b", "true", "a", "false"))
        assert "restart" not in said, said
        assert Client(ports["a"]).ask(b"flush_all") == b"CLIENT_ERROR flush_all not allowed"
        assert Client(ports["b"]).ask(b"flush_all") == b"OK"


def test_a_bad_file_is_refused_with_its_line():
    with started_from("segcache", "[listen]\nport = 0\n") as it:
        for text, complaint in (
                ("[listen]\nport = 0\n[server]\nidle_timeout = 'soon'\n", ":4: server.idle_timeout: "),
                ("[listen]\nport = 0\n[server]\nidle_timeuot = '1s'\n", ":4: server.idle_timeuot: "),
                ("[listen\n", "not TOML")):
            said = it.reload(text)
            assert "configuration refused, the one in force is kept: " in said, said
            assert complaint in said, said
        os.remove(it.path)
        assert "No such file" in it.reload()
        assert it.count("refuse") == 4 and it.count("done") == 0
        assert Client(it.port).set(b"k", b"v") == b"STORED"
        it.reload("[listen]\nport = 0\n")
        assert it.count("done") == 1


def test_switches_still_win():
    with started_from("segcache", "[listen]\nport = 0\n", "--set", "server.flush_all=true") as it:
        it.reload("[listen]\nport = 0\n[server]\nflush_all = false\n")
        assert Client(it.port).ask(b"flush_all") == b"OK"


def test_log_level_and_file():
    with tempfile.TemporaryDirectory() as folder, started_from(
            "pingserver", "[listen]\nport = 0\n") as it:
        path = os.path.join(folder, "log")
        said = it.reload(f"[listen]\nport = 0\n[log]\nfile = '{path}'\n")
        assert f'log.file: "" -> "{path}"' in said + open(path).read()
        it.reload()
        assert "nothing changed" in open(path).read()
        it.reload(f"[listen]\nport = 0\n[log]\nfile = '{path}'\nlevel = 'error'\n")
        before = open(path).read()
        it.reload()
        assert open(path).read() == before
        # A file that cannot be had refuses the reload as a whole.
        it.reload(f"[listen]\nport = 0\n[log]\nfile = '{folder}/no/log'\n[server]\n"
                  "idle_timeout = '100ms'\n")
        assert it.count("refuse") == 1
        assert "refused" in open(path).read()


def test_deadlines_and_rates_move():
    with local() as backend, tempfile.TemporaryDirectory() as folder:
        backend_port = port_of(backend)
        path = os.path.join(folder, "product.toml")
        text = (f"[momento]\nendpoint_override = '127.0.0.1:{backend_port}'\n"
                "[[cache]]\ncache_name = 'c'\nport = 0\nget_error = 'error'\n"
                "retry_attempts = 0\nbreaker = false\nbatch = 'off'\ndeadline = '20s'\n")
        with open(path, "w") as f:
            f.write(text)
        with product("momento_proxy", path) as running:
            it = Reloadable(running, path)
            client = Client(it.port)
            assert client.set(b"k", b"v") == b"STORED"
            it.reload(text.replace("'20s'", "'50ms'"))
            pause(backend)
            try:
                assert client.ask(b"get k") == b"SERVER_ERROR backend timeout"
                said = it.reload(text + "read_deadline = '20s'\n")
                assert 'cache[c].read_deadline: "" -> "20s"' in said, said
                client.say(b"get k\r\n")
            finally:
                backend.process.send_signal(signal.SIGCONT)
            assert client.hear_until(b"END\r\n") == b"VALUE k 0 1\r\nv\r\nEND\r\n"
            # At one operation a second a burst cannot all be in time.
            said = it.reload(text.replace("'20s'", "'1s'") + "operations_per_second = 1\n")
            assert "operations_per_second: 0 -> 1" in said, said
            client.say(b"".join(b"get k%d\r\n" % n for n in range(20)))
            answers = [client.hear_line() for _ in range(20)]
            assert any(a.startswith(b"SERVER_ERROR") for a in answers), answers
            it.reload(text)
            assert client.get(b"k") == (0, b"v")


def test_under_load_no_request_fails():
    with started_from("momento_proxy", PROXY % ("", "")) as it:
        stop = threading.Event()
        wrong = []
        asked = [0]

        def ask(number):
            client = Client(it.port)
            key = b"k%d" % number
            while not stop.is_set():
                if client.set(key, b"v") != b"STORED" or client.get(key) != (0, b"v"):
                    wrong.append(key)
                asked[0] += 1
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for n in range(20):
            it.reload(PROXY % (f"in_flight_max = {100 + n}\noutput_max = '{64 + n}KB'",
                               f"batch_keys_max = {2 + n}\ncoalesce = {'true' if n % 2 else 'false'}\n"
                               f"batch = '{('off', 'connection', 'worker')[n % 3]}'\n"
                               f"near_staleness = '{n + 1}s'"))
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong and asked[0] > 0, (wrong, asked)
        assert it.count("done") == 20


if __name__ == "__main__":
    main(globals())
