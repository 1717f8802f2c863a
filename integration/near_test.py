#!/usr/bin/env python3
"""What sharing calls and the near cache save, and what they may show: momento_proxy as a process,
momento_local behind it, whose own counts say what was spent."""
import contextlib
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Client, eventually, main, product  # noqa: E402
from knobs import client_of, local, metrics, pause, port_of, sets, total  # noqa: E402

CONNECTIONS = 100
ROUNDS = 20


def proxy(backend, *settings, workers=2):
    return product("momento_proxy", "-p", "0", "-t", str(workers), *sets((
        f"momento.endpoint_override=127.0.0.1:{port_of(backend)}", "cache[0].cache_name=c",
        "cache[0].deadline=20s",  # A busy machine is not what is tested.
        *settings)))


def operations(backend):
    return total(backend, "cache_local_operation_total")


def hot(*settings, warm=False):
    """Backend operations for each get of one key by 100 connections at once."""
    with local() as backend, proxy(backend, *settings) as front:
        port = port_of(front)
        clients = [Client(port) for _ in range(CONNECTIONS)]
        assert clients[0].set(b"hot", b"value") == b"STORED"
        if warm:
            assert clients[1].get(b"hot") == (0, b"value")
        before = operations(backend)
        for _ in range(ROUNDS):
            # Stopped while the commands arrive, so that they meet whatever the machine does.
            pause(front)
            for client in clients:
                client.say(b"get hot\r\n")
            front.process.send_signal(signal.SIGCONT)
            for client in clients:
                assert client.hear_line() == b"VALUE hot 0 5"
                assert client.hear_line() == b"value"
                assert client.hear_line() == b"END"
        spent = operations(backend) - before
        if "cache[0].coalesce=false" not in settings and not warm:
            assert total(front, "proxy_get_coalesced_total") > 0
        for client in clients:
            client.close()
        return spent / (CONNECTIONS * ROUNDS)


def test_a_hot_key_costs_a_call_a_burst_and_with_copies_next_to_none():
    alone = hot("cache[0].coalesce=false")
    shared = hot()
    near = hot("cache[0].near_size=1MB", "cache[0].near_staleness=1h", warm=True)
    print(f"     operations a get: {alone:.3f} alone, {shared:.3f} coalesced, {near:.3f} near")
    assert alone == 1
    # Two workers; a burst may take a worker a few turns to read.
    assert shared < 0.2, shared
    assert near == 0, near


def test_another_proxys_write_is_seen_within_the_staleness():
    staleness = 1.0
    settings = ("cache[0].near_size=1MB", "cache[0].near_staleness=1s")
    with local() as backend, proxy(backend, *settings) as a, proxy(backend, *settings) as b:
        writer, reader = client_of(a), client_of(b)
        seen_old = False
        for i in range(3):
            old, new = b"old%d" % i, b"new%d" % i
            assert writer.set(b"k", old) == b"STORED"
            eventually(lambda: reader.get(b"k") == (0, old), what="the first value")
            assert writer.set(b"k", new) == b"STORED"
            told = time.monotonic()
            while True:
                asked = time.monotonic()
                value = reader.get(b"k")
                if value == (0, new):
                    break
                assert value == (0, old)
                seen_old = True
                assert asked - told < staleness, "an old value past the staleness"
        assert seen_old, "no copy was ever used"


def test_everybody_on_one_proxy_reads_what_was_acknowledged():
    settings = ("cache[0].near_size=1MB", "cache[0].near_staleness=1h", "server.workers=2")
    with local("local.fault_delay=2ms", "local.fault_delay_jitter=5ms",
               "local.fault_delay_percent=50") as backend, proxy(backend, *settings) as front:
        port = port_of(front)
        acknowledged = [0]
        done = threading.Event()
        wrong = []

        def read():
            with contextlib.closing(Client(port)) as client:
                while not done.is_set():
                    least = acknowledged[0]
                    got = client.get(b"k")
                    if least > 0 and (got is None or int(got[1]) < least):
                        wrong.append((least, got))
                        return

        readers = [threading.Thread(target=read) for _ in range(6)]
        for reader in readers:
            reader.start()
        writers = [Client(port) for _ in range(4)]  # On both workers, one write at a time.
        for n in range(1, 200):
            writer = writers[n % len(writers)]
            assert writer.set(b"k", b"%d" % n) == b"STORED"
            acknowledged[0] = n
            assert writer.get(b"k") == (0, b"%d" % n)
        done.set()
        for reader in readers:
            reader.join()
        assert not wrong, wrong
        assert total(front, "proxy_near_hit_total") > 0


def test_the_meter_agrees_with_the_services_own_to_the_byte():
    for settings in ((), ("cache[0].writes=plain", "cache[0].delete=fast"),
                     ("cache[0].near_size=1MB", "cache[0].near_staleness=1h"),
                     ("cache[0].reads=consistent", "cache[0].envelope=nonce")):
        with local() as backend, proxy(backend, *settings) as front:
            client = client_of(front)
            for i, size in enumerate((0, 1, 900, 1023, 1024, 1025, 5000, 200_000)):
                key = b"key%d" % i
                assert client.set(key, b"x" * size, flags=i) == b"STORED"
                assert client.get(key) == (i, b"x" * size)
            client.say(b"get key1 key2 none key6\r\ngets key6\r\n")
            client.hear_until(b"END\r\n")
            client.hear_until(b"END\r\n")
            client.say(b"set a 0 0 1\r\n1\r\nset b 0 0 1024\r\n" + b"y" * 1024 + b"\r\n")
            assert client.hear_line() == client.hear_line() == b"STORED"
            for line, reply in ((b"incr a 5", b"6"), (b"touch b 10", b"TOUCHED"),
                                (b"touch none 10", b"NOT_FOUND"), (b"delete b", b"DELETED"),
                                (b"add a 0 0 1\r\nz", b"NOT_STORED"),
                                (b"append a 0 0 1\r\n7", b"STORED")):
                assert client.ask(line) == reply, line
            ours, theirs = metrics(front), metrics(backend)
            label = '{cache="c"}'

            def series(samples, name):
                return sum(v for k, v in samples.items() if k.split("{")[0] == name)
            for mine, its in (("proxy_meter_operation_total", "cache_local_operation_total"),
                              ("proxy_meter_sent_item_bytes_total",
                               "cache_local_received_item_bytes_total"),
                              ("proxy_meter_received_item_bytes_total",
                               "cache_local_sent_item_bytes_total")):
                assert series(ours, mine) == series(theirs, its) > 0, (settings, mine)
            assert ours["proxy_meter_doubtful_operation_total" + label] == 0
            consistent = ours['proxy_meter_operation_total{cache="c",kind="consistent_read"}']
            assert (consistent > 0) == ("cache[0].reads=consistent" in settings)


def test_stats_near():
    with local() as backend, proxy(backend, "cache[0].near_size=1MB") as front:
        client = client_of(front)
        client.set(b"k", b"v")
        assert client.get(b"k") == (0, b"v")
        client.say(b"stats near\r\n")
        lines = dict(line.split()[1:] for line in client.hear_until(b"END\r\n").splitlines()[:-1])
        assert lines[b"near_hits"] == b"1" and lines[b"near_items"] == b"1", lines
        assert lines[b"near_size"] == b"1048576"
        assert total(front, "proxy_near_items") == 1
    with local() as backend, proxy(backend) as front:
        assert client_of(front).ask(b"stats near") == b"END"


if __name__ == "__main__":
    main(globals())
