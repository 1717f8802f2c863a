#!/usr/bin/env python3
"""momento_proxy when the backend, the clients or the operator misbehave.

What must always hold: every request gets one reply, in order; the client's connection stays; when
the trouble is over the proxy recovers by itself; nothing is left behind.
"""
import contextlib
import glob
import os
import random
import re
import signal
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from descriptors import exhaust_descriptors  # noqa: E402
from fake_service import FakeService, field  # noqa: E402
from harness import (Client, eventually, free_port, main, pause, product,  # noqa: E402
                     wait_port)


@contextlib.contextmanager
def proxy_on(backend_port, cache="c", extra="", flags=(), env=None):
    """A proxy of one cache, with its backend on `backend_port`; yields (product, memcache port)."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(f'[momento]\nendpoint_override = "127.0.0.1:{backend_port}"\n'
                     f'[[cache]]\nport = {port}\ncache_name = "{cache}"\n{extra}\n')
        config.flush()
        # Or only root could count the proxy's descriptors.
        with product("momento_proxy", config.name, "--set", "momento.core_dumps=true", *flags,
                     env=env) as proxy:
            wait_port(port)
            yield proxy, port


@contextlib.contextmanager
def local(*flags, port=None):
    port = port or free_port()
    with product("momento_local", "-p", str(port), "--set", "local.create_unknown=true",
                 *flags) as server:
        wait_port(port)
        yield server, port


def assert_server_error(line):
    assert line.startswith(b"SERVER_ERROR "), line
    assert len(line) > len(b"SERVER_ERROR "), line


def open_descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))


def test_backend_killed_and_restarted():
    backend = free_port()
    with contextlib.ExitStack() as stack:
        first = contextlib.ExitStack()
        server, _ = first.enter_context(local(port=backend))
        proxy, port = stack.enter_context(proxy_on(backend))
        client = Client(port)
        assert client.set(b"k", b"v") == b"STORED"
        server.process.kill()
        first.close()
        began = time.monotonic()
        assert_server_error(client.set(b"k", b"w"))
        assert client.get(b"k") is None
        assert_server_error(client.ask(b"delete k"))
        assert_server_error(client.ask(b"incr k 1"))
        assert time.monotonic() - began < 10, "a dead backend must be reported, not waited for"
        stack.enter_context(local(port=backend))
        eventually(lambda: client.set(b"k", b"x") == b"STORED", 15, "recovery on one connection")
        assert client.get(b"k") == (0, b"x")


def test_backend_absent_at_start():
    backend = free_port()
    with proxy_on(backend) as (proxy, port):
        client = Client(port)
        assert client.get(b"k") is None
        assert_server_error(client.set(b"k", b"v"))
        assert client.ask(b"version").startswith(b"VERSION ")
        with local(port=backend):
            eventually(lambda: client.set(b"k", b"v") == b"STORED", 15, "connection to the backend")


def test_get_error_as_configured():
    with proxy_on(free_port(), extra='get_error = "error"') as (_, port):
        client = Client(port)
        assert_server_error(client.ask(b"get k"))
        assert_server_error(client.ask(b"get a b c"))
        assert client.ask(b"version").startswith(b"VERSION ")


def test_backend_slower_than_the_deadline():
    with local("--set", "local.fault_delay=3s", "--set", "local.fault_delay_percent=100") as \
            (_, backend), proxy_on(backend, extra='deadline = "200ms"') as (_, port):
        client = Client(port)
        began = time.monotonic()
        client.say(b"set a 0 0 1\r\nx\r\nget a\r\nversion\r\nincr n 1\r\ntouch a 9\r\n")
        assert_server_error(client.hear_line())
        assert client.hear_line() == b"END"
        assert client.hear_line().startswith(b"VERSION ")
        assert_server_error(client.hear_line())
        assert_server_error(client.hear_line())
        assert time.monotonic() - began < 2.5


def test_a_frozen_backend_hangs_nobody():
    with local() as (server, backend), \
            proxy_on(backend, extra='deadline = "500ms"') as (_, port):
        client = Client(port)
        assert client.set(b"k", b"v") == b"STORED"
        pause(server)
        assert_server_error(client.set(b"k", b"w"))
        assert client.get(b"k") is None
        server.process.send_signal(signal.SIGCONT)
        eventually(lambda: client.set(b"k", b"x") == b"STORED", 15, "recovery after SIGCONT")


def test_every_status_is_a_reply_and_the_connection_stays():
    for status in ("invalid-argument unknown already-exists not-found internal permission-denied "
                   "unauthenticated cancelled unavailable deadline-exceeded resource-exhausted "
                   "failed-precondition").split():
        with local("--set", "local.fault_error_percent=100", "--set",
                   f"local.fault_error={status}") as (_, backend), \
                proxy_on(backend, extra="flush_all = true") as (_, port):
            client = Client(port)
            assert_server_error(client.set(b"k", b"v"))
            assert client.get(b"k") is None, status
            for command in (b"add k 0 0 1\r\nv", b"replace k 0 0 1\r\nv", b"append k 0 0 1\r\nv",
                            b"cas k 0 0 1 5\r\nv", b"incr k 1", b"decr k 1", b"touch k 10",
                            b"delete k", b"set k 0 -1 1\r\nv", b"flush_all"):
                assert_server_error(client.ask(command))
            assert client.ask(b"gets k") == b"END"
            assert client.ask(b"gat 10 k") == b"END"
            assert client.ask(b"version").startswith(b"VERSION ")


def test_too_large_for_the_service_is_told_apart_from_rate_limits():
    with local() as (_, backend), \
            proxy_on(backend, flags=("--set", "server.item_size_max=8MB")) as (_, port):
        client = Client(port, timeout=30)
        assert client.set(b"k", b"x" * 5_500_000) == b"SERVER_ERROR object too large for cache"
        assert client.set(b"k", b"x" * 4_900_000) == b"STORED"
        assert client.get(b"k") == (0, b"x" * 4_900_000)
    with local("--set", "local.fault_error_percent=100", "--set",
               "local.fault_error=resource-exhausted") as (_, backend), \
            proxy_on(backend) as (_, port):
        line = Client(port).set(b"k", b"v")
        assert_server_error(line)
        assert b"limit" in line, line


def test_many_large_values_in_one_batch():
    """More than one GetBatch reply may hold: the rest is asked for again."""
    with local("-m", "256") as (_, backend), \
            proxy_on(backend, extra='get_error = "error"\ndeadline = "20s"',
                     flags=("--set", "server.item_size_max=5MB")) as (_, port):
        client = Client(port, timeout=60)
        value = b"x" * 4_000_000
        keys = [b"large%d" % i for i in range(20)]
        for key in keys:
            assert client.set(key, value) == b"STORED"
        gets = keys[:10], keys[10:]  # One turn's, which share a batch; each is a bearable answer.
        client.say(b"".join(b"get " + b" ".join(one) + b"\r\n" for one in gets))
        for one in gets:
            for key in one:
                assert client.hear_line() == b"VALUE %s 0 %d" % (key, len(value))
                assert client.hear_bytes(len(value) + 2) == value + b"\r\n"
            assert client.hear_line() == b"END"
        client.say(b"get " + b" ".join(keys) + b"\r\n")
        assert client.hear_line() == b"SERVER_ERROR out of memory writing get response"
        assert client.get(keys[0]) == (0, value)


def test_wrong_credentials():
    with local("--set", "local.token=right") as (_, backend), proxy_on(backend) as (_, port):
        client = Client(port)
        line = client.set(b"k", b"v")
        assert_server_error(line)
        assert b"right" not in line
        assert client.ask(b"version").startswith(b"VERSION ")
    with local("--set", "local.token=right") as (_, backend), \
            proxy_on(backend, env={"MOMENTO_API_KEY": v1_key("right")}) as (_, port):
        assert Client(port).set(b"k", b"v") == b"STORED"


def v1_key(inner):
    import base64
    import json
    return base64.b64encode(json.dumps({"endpoint": "localhost", "api_key": inner}).encode()).decode()


def test_unknown_cache():
    backend = free_port()
    with product("momento_local", "-p", str(backend)):
        wait_port(backend)
        with proxy_on(backend, cache="nowhere") as (_, port):
            client = Client(port)
            line = client.set(b"k", b"v")
            assert_server_error(line)
            assert b"cache" in line, line
            assert client.get(b"k") is None


def test_random_faults_keep_count_and_order_of_replies():
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    with local("--set", "local.fault_error_percent=20", "--set", "local.fault_delay=20ms",
               "--set", "local.fault_delay_jitter=30ms", "--set", "local.fault_delay_percent=20",
               "--set", "local.fault_reset_percent=5", "--set",
               f"local.fault_seed={seed % 1000}") as (_, backend), proxy_on(backend) as (_, port):
        rng = random.Random(seed)

        def one_client(number, failures):
            try:
                client = Client(port, timeout=30)
                for round_number in range(10):
                    out, expected = [], []
                    for i in range(50):
                        key = b"c%dk%d" % (number, rng.randrange(5))
                        kind = rng.randrange(4)
                        if kind == 0:
                            out.append(b"set %s 0 60 4\r\n%04d\r\n" % (key, i))
                            expected.append(rb"STORED|SERVER_ERROR .+")
                        elif kind == 1:
                            out.append(b"get %s\r\n" % key)
                            expected.append(rb"get:" + key)
                        elif kind == 2:
                            out.append(b"incr n%d 1\r\n" % number)
                            expected.append(rb"NOT_FOUND|\d+|SERVER_ERROR .+")
                        else:
                            out.append(b"mark-%d-%d\r\n" % (round_number, i))
                            expected.append(rb"ERROR")
                    out.append(b"version\r\n")
                    expected.append(rb"VERSION .*")
                    client.say(b"".join(out))
                    for pattern in expected:
                        line = client.hear_line()
                        if pattern.startswith(b"get:"):
                            if line.startswith(b"VALUE "):
                                assert line.split()[1] == pattern[4:], (line, pattern)
                                client.hear_line()
                                line = client.hear_line()
                            assert line == b"END", line
                        else:
                            assert re.fullmatch(pattern, line), (pattern, line)
                client.close()
            except Exception as error:  # noqa: BLE001 - reported by the main thread
                failures.append(error)

        failures = []
        threads = [threading.Thread(target=one_client, args=(n, failures)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures


def test_clients_that_leave_in_the_middle():
    with local() as (_, backend), proxy_on(backend) as (proxy, port):
        warm = Client(port)
        assert warm.set(b"k", b"v") == b"STORED"
        before = open_descriptors(proxy.process.pid)
        for i in range(300):
            client = Client(port)
            client.say(b"set k 0 0 1000000\r\n" + b"x" * (i * 37))
            if i % 3 == 0:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                         b"\x01\0\0\0\0\0\0\0")
            client.close()
        for _ in range(300):
            client = Client(port)
            client.say(b"get k\r\n" * 50 + b"set j 0 0 1\r\nx\r\n")
            client.close()
        eventually(lambda: open_descriptors(proxy.process.pid) <= before, 10, "descriptors freed")
        assert warm.get(b"k") == (0, b"v")


def test_many_connections_leave_nothing_behind():
    with local() as (_, backend), proxy_on(backend) as (proxy, port):
        pid = proxy.process.pid

        def churn(n):
            for _ in range(n):
                client = Client(port)
                assert client.ask(b"get nothing") == b"END"
                client.close()

        churn(1000)
        time.sleep(0.5)
        fds, kb = open_descriptors(pid), rss_kb(pid)
        idle = [Client(port) for _ in range(1000)]
        for client in idle:
            assert client.ask(b"get nothing") == b"END"
        per_connection = (rss_kb(pid) - kb) / 1000
        assert per_connection < 20, f"{per_connection} KB a connection"
        for client in idle:
            client.close()
        churn(10_000)
        eventually(lambda: open_descriptors(pid) <= fds, 10, "descriptors freed")
        assert rss_kb(pid) < kb + 8 * 1024, (kb, rss_kb(pid))


def test_a_value_byte_by_byte_and_half_closed_sockets():
    with local() as (_, backend), proxy_on(backend) as (_, port):
        client = Client(port)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        value = os.urandom(30_000)
        for byte in b"set slow 5 0 %d\r\n" % len(value) + value + b"\r\n":
            client.say(bytes([byte]))
        assert client.hear_line() == b"STORED"
        assert client.get(b"slow") == (5, value)
        client.say(b"get slow\r\nset last 0 0 1\r\nx\r\nget unfinis")
        client.socket.shutdown(socket.SHUT_WR)
        heard = client.hear_end()
        assert heard.endswith(b"END\r\nSTORED\r\n"), heard[-50:]


def test_garbage_harms_only_its_sender():
    with local() as (_, backend), proxy_on(backend) as (proxy, port):
        witness = Client(port)
        for seed in range(200):
            rng = random.Random(seed)
            client = Client(port)
            with contextlib.suppress(OSError):
                client.say(rng.randbytes(rng.randrange(1, 5000)) + b"\r\n")
            client.close()
        assert witness.set(b"k", b"v") == b"STORED"
        assert proxy.process.poll() is None


def test_sigterm_answers_what_is_in_flight():
    with local("--set", "local.fault_delay=500ms", "--set", "local.fault_delay_percent=100") as \
            (_, backend), proxy_on(backend, extra='deadline = "5s"') as (proxy, port):
        idle, busy = Client(port), Client(port)
        assert idle.ask(b"version").startswith(b"VERSION")
        busy.say(b"".join(b"set k%d 0 60 1\r\nx\r\n" % i for i in range(20)))
        time.sleep(0.2)
        proxy.process.send_signal(signal.SIGTERM)
        assert busy.hear_end() == b"STORED\r\n" * 20
        assert idle.hear_end() == b""
        assert proxy.process.wait(10) == 0


def leave_everything_in_flight(port):
    """One of every kind of command, none of them answered yet."""
    client = Client(port)
    client.say(b"get a\r\nget a b c\r\ngets d\r\ngat 9 e\r\nset a 0 60 1\r\nx\r\n"
               b"append b 0 60 1\r\nx\r\ncas c 0 60 1 7\r\nx\r\nincr n 1\r\nincr n 1\r\n"
               b"touch f 9\r\ndelete g\r\nset h 0 60 1 noreply\r\nx\r\nflush_all\r\nget i\r\n")
    return client


def test_a_drain_waits_for_writes_whose_client_has_left():
    with local("--set", "local.fault_delay=200ms", "--set", "local.fault_delay_percent=100") as \
            (_, backend), proxy_on(backend, extra='deadline = "5s"') as (proxy, port):
        client = Client(port)
        client.say(b"".join(b"set k 0 60 1 noreply\r\n%d\r\n" % i for i in range(6)))
        client.close()
        time.sleep(0.1)
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(10) == 0
        with proxy_on(backend, extra='deadline = "5s"') as (_, other):
            assert Client(other).get(b"k") == (0, b"5")


def test_a_second_signal_stops_at_once():
    with local("--set", "local.fault_delay=60s", "--set", "local.fault_delay_percent=100") as \
            (server, backend), \
            proxy_on(backend, extra='deadline = "60s"\nflush_all = true') as (proxy, port):
        clients = [leave_everything_in_flight(port) for _ in range(8)]
        time.sleep(0.3)
        proxy.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert proxy.process.poll() is None, "it should wait for the request in flight"
        began = time.monotonic()
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(5) == 0, proxy.log()
        assert time.monotonic() - began < 3
        assert [client.hear_end() for client in clients] == [b""] * 8
        server.process.kill()


def test_the_drain_is_bounded():
    with local("--set", "local.fault_delay=60s", "--set", "local.fault_delay_percent=100") as \
            (server, backend), \
            proxy_on(backend, extra='deadline = "60s"\nflush_all = true',
                     flags=("--set", "server.drain_timeout=500ms")) as (proxy, port):
        clients = [leave_everything_in_flight(port) for _ in range(8)]
        time.sleep(0.3)
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(8) == 0, proxy.log()
        assert [client.hear_end() for client in clients] == [b""] * 8
        server.process.kill()


def test_sigterm_under_load_loses_no_acknowledged_reply():
    with local() as (_, backend), proxy_on(backend) as (proxy, port):
        stopped = threading.Event()
        faults = []

        def hammer(number):
            try:
                client = Client(port)
                i = 0
                while not stopped.is_set():
                    client.say(b"set h%d 0 60 5\r\n%05d\r\nget h%d\r\n" % (number, i, number))
                    assert client.hear_line() == b"STORED"
                    assert client.hear_until(b"END\r\n").endswith(b"\r\n%05d\r\nEND\r\n" % i)
                    i = (i + 1) % 100_000
            except (EOFError, OSError):
                pass
            except AssertionError as error:
                faults.append(error)

        threads = [threading.Thread(target=hammer, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(15) == 0
        stopped.set()
        for thread in threads:
            thread.join()
        assert not faults, faults


def test_same_key_effects_keep_their_order_on_one_connection():
    with local("--set", "local.fault_delay=1ms", "--set", "local.fault_delay_jitter=5ms", "--set",
               "local.fault_delay_percent=50") as (_, backend), proxy_on(backend) as (_, port):
        client = Client(port, timeout=60)
        out, expected = [], []
        for i in range(300):
            out.append(b"set k %d 60 3\r\n%03d\r\nget k\r\nappend k 0 0 1\r\nx\r\nget k\r\n" % (i, i))
            expected.append(b"STORED\r\nVALUE k %d 3\r\n%03d\r\nEND\r\nSTORED\r\n"
                            b"VALUE k %d 4\r\n%03dx\r\nEND\r\n" % (i, i, i, i))
        client.say(b"".join(out))
        for i, want in enumerate(expected):
            got = b""
            while len(got) < len(want):
                got += client.hear_line() + b"\r\n"
            assert got == want, (i, got, want)


def test_counters_are_exact_across_proxies():
    with local() as (_, backend), proxy_on(backend, extra="update_attempts = 1000") as (_, a), \
            proxy_on(backend, extra="update_attempts = 1000") as (_, b):
        assert Client(a).set(b"n", b"0") == b"STORED"

        def count(port):
            client = Client(port, timeout=60)
            for _ in range(100):
                assert re.fullmatch(rb"\d+", client.ask(b"incr n 1"))

        threads = [threading.Thread(target=count, args=(p,)) for p in (a, b) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert Client(a).get(b"n") == (0, b"800")


def test_goaway_in_the_middle_of_traffic_is_not_noticed():
    """Every call is answered, or sent again over another connection if it came too late."""
    def answer(call):
        return b"\x08\x02" + field(2, b"v") if call.path.endswith("/Get") else b"\x08\x01"
    with FakeService(answer, retires_after=200) as fake, \
            proxy_on(fake.port, extra='batch = "off"\nwrites = "plain"\nget_error = "error"\n'
                     'deadline = "10s"') as (proxy, port):
        faults = []

        def one_client(number):
            try:
                client = Client(port, timeout=30)
                for _ in range(20):
                    keys = [b"k%d" % (number * 100 + i) for i in range(20)]
                    client.say(b"".join(b"set %s 0 60 1\r\nv\r\nget %s\r\n" % (k, k) for k in keys))
                    for k in keys:
                        assert client.hear_line() == b"STORED"
                        assert client.hear_until(b"END\r\n") == b"VALUE %s 0 1\r\nv\r\nEND\r\n" % k
            except Exception as error:  # noqa: BLE001 - reported by the main thread
                faults.append(error)
        threads = [threading.Thread(target=one_client, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults, faults
        assert fake.retired >= 4, fake.retired
        assert len(fake.calls) == 4 * 20 * 20 * 2, "each call is carried out once"
        assert proxy.process.poll() is None


def test_descriptors_run_out_and_come_back():
    def works(client):
        assert client.set(b"k", b"v") == b"STORED"
        assert client.get(b"k") == (0, b"v")
    with local() as (_, backend), proxy_on(backend) as (proxy, port):
        exhaust_descriptors(proxy, port, works)


def test_a_drain_waits_for_the_rest_of_a_command():
    with local() as (_, backend), proxy_on(backend) as (proxy, port):
        value, line, idle = Client(port), Client(port), Client(port)
        assert idle.ask(b"version").startswith(b"VERSION")
        value.say(b"set k 0 60 5\r\nhel")
        line.say(b"get k\r\nget ")
        assert line.hear_line() == b"END"
        time.sleep(0.3)
        proxy.process.send_signal(signal.SIGTERM)
        assert idle.hear_end() == b""
        value.say(b"lo\r\n")
        assert value.hear_end() == b"STORED\r\n"
        line.say(b"k\r\n")
        assert line.hear_end() == b"VALUE k 0 5\r\nhello\r\nEND\r\n"
        assert proxy.process.wait(10) == 0


def test_a_drain_does_not_wait_for_ever_for_the_rest_of_a_command():
    with local() as (_, backend), \
            proxy_on(backend, flags=("--set", "server.drain_timeout=500ms")) as (proxy, port):
        clients = [Client(port) for _ in range(3)]
        clients[0].say(b"set k 0 60 5\r\nhel")
        clients[1].say(b"get ")
        clients[2].say(b"set k 0 60 1000000\r\n" + b"x" * 500_000)
        time.sleep(0.3)
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(8) == 0, proxy.log()
        assert [client.hear_end() for client in clients] == [b""] * 3
        with proxy_on(backend) as (_, other):
            assert Client(other).get(b"k") is None, "half a value is no value"


def test_no_product_left_a_core_behind():
    assert not glob.glob("core.*"), glob.glob("core.*")


if __name__ == "__main__":
    main(globals())
