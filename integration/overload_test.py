#!/usr/bin/env python3
"""A service that is slow, dead, or past its limits: momento_proxy as a process, momento_local behind
it. What must hold: one reply a request, in order; quick words instead of waiting; a recovery that
comes by itself."""
import contextlib
import os
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import Client, eventually, main, pause  # noqa: E402
from knobs import (client_of, config_file, local, metrics, page, port_of, proxy_to, run, shows,  # noqa: E402
                   total)

PROXY = ["momento_proxy"]
SERVICES = ("momento_proxy", "momento_local")
OPEN = b"SERVER_ERROR backend unavailable, circuit open"
BUSY = b"SERVER_ERROR busy"


def faults(backend, words=""):
    """Replaces the faults of a running momento_local."""
    port = int(backend.wait_log(r"admin: text on \S+:(\d+)").group(1))
    operator = Client(port)
    operator.say(b"faults %s\n" % words.encode())
    assert operator.hear_until(b"\n").strip() == b"OK"
    operator.close()


def stats(client, what):
    client.say(b"stats %s\r\n" % what)
    lines = client.hear_until(b"END\r\n").decode().splitlines()[:-1]
    return dict(line.split(" ", 2)[1:] for line in lines)


def changes(front):
    """The log's lines about the circuit, without their times."""
    return [line.split("cache c: ", 1)[1] for line in front.log().splitlines()
            if "cache c: circuit" in line]


def burst(client, count, line=b"set k%d 0 0 1\r\nv\r\n"):
    client.say(b"".join(line % i for i in range(count)))
    return [client.hear_line() for _ in range(count)]


# --- The circuit breaker.


@shows(PROXY, "cache[].breaker", "cache[].breaker_open", "cache[].breaker_probes")
def test_a_black_hole_opens_the_circuit_and_its_end_closes_it():
    with local() as backend, \
            proxy_to(port_of(backend), "cache[0].deadline=300ms", "cache[0].breaker_open=500ms",
                     "cache[0].breaker_probes=2", "cache[0].get_error=error") as front:
        client = client_of(front)
        assert client.set(b"k", b"v") == b"STORED"
        pause(backend)
        replies = burst(client, 40)
        assert len(replies) == 40 and all(one.startswith(b"SERVER_ERROR ") for one in replies)
        assert stats(client, b"breaker")["breaker_state"] == "open"
        # Everything is answered, in order, though nobody answers; most without waiting for it.
        began = time.monotonic()
        client.say(b"get a\r\nset b 0 0 1\r\nx\r\nincr c 1\r\ndelete d\r\ntouch e 5\r\n"
                   b"gets f g\r\nversion\r\n")
        heard = [client.hear_line() for _ in range(7)]
        took = time.monotonic() - began
        assert heard[-1].startswith(b"VERSION ") and set(heard[:-1]) == {OPEN}, heard
        state = stats(client, b"breaker")
        assert re.fullmatch(r"\d+ of \d+ calls failed, the last with deadline_exceeded",
                            state["breaker_reason"]), state
        assert total(front, "proxy_breaker_state") == 2
        operator = Client(int(front.wait_log(r"admin: text on \S+:(\d+)").group(1)))
        operator.say(b"breaker\n")
        assert b"STAT c:breaker_state open\r\n" in operator.hear_until(b"END\r\n")

        backend.process.send_signal(signal.SIGCONT)
        began = time.monotonic()
        eventually(lambda: client.set(b"k", b"w") == b"STORED", what="recovery")
        eventually(lambda: client.set(b"k", b"w") == b"STORED" and
                   stats(client, b"breaker")["breaker_state"] == "closed", what="a closed circuit")
        recovery = time.monotonic() - began
        assert client.get(b"k") == (0, b"w")
        print(f"     six commands on an open circuit: {took * 1000:.1f} ms; "
              f"closed {recovery:.2f} s after the service's return (breaker_open 0.5 s)")
        told = changes(front)
        samples = metrics(front)
        counted = sum(value for name, value in samples.items()
                      if name.startswith("proxy_breaker_change_total"))
        assert len(told) == counted >= 3, (told, counted)
        assert told[0].startswith("circuit open for 0.5s: ") and \
            told[-1].startswith("circuit closed after "), told
        assert any("2 calls are tried" in line for line in told), told

    # Off: every call is made.
    with local("local.fault_error_percent=100") as backend, \
            proxy_to(port_of(backend), "cache[0].breaker=false") as front:
        assert set(burst(client_of(front), 60)) == {
            b"SERVER_ERROR backend unavailable, outcome unknown"}
        assert changes(front) == []


@shows(PROXY, "cache[].breaker_failure_percent", "cache[].breaker_calls_min",
       "cache[].breaker_window")
def test_what_opens_the_circuit():
    def opened(*settings, percent=100, calls=30, rest=0.0):
        with local(f"local.fault_error_percent={percent}") as backend, \
                proxy_to(port_of(backend), "cache[0].breaker_open=1h", *settings) as front:
            client = client_of(front)
            for i in range(calls):
                client.set(b"k%d" % i, b"v")
                time.sleep(rest)
            return total(front, "proxy_breaker_state") == 2

    assert opened()
    assert not opened("cache[0].breaker_calls_min=1000")
    assert opened("cache[0].breaker_calls_min=5", calls=6)
    half = {"percent": 50, "calls": 60}
    assert opened("cache[0].breaker_failure_percent=20", **half)
    assert not opened("cache[0].breaker_failure_percent=95", **half)
    # Twenty calls within the window, or never more than about ten.
    assert not opened("cache[0].breaker_window=100ms", calls=25, rest=0.01)
    assert opened("cache[0].breaker_window=10s", calls=25, rest=0.01)


def test_stale_copies_are_served_on_an_open_circuit():
    with local() as backend, \
            proxy_to(port_of(backend), "cache[0].near_size=1MB", "cache[0].near_staleness=1ms",
                     "cache[0].near_stale=1h", "cache[0].breaker_open=1h") as front:
        client = client_of(front)
        assert client.set(b"kept", b"v") == b"STORED"
        faults(backend, "error_percent=100")
        eventually(lambda: client.set(b"other", b"v") == OPEN, what="an open circuit")
        for _ in range(5):
            assert client.get(b"kept") == (0, b"v")
        assert client.get(b"unknown") is None
        assert total(front, "proxy_near_stale_total") >= 5


# --- Limits of the service.


def test_resource_exhausted_by_its_trailer():
    said = {"operations_rate_limit_exceeded": b"SERVER_ERROR backend request rate limit exceeded",
            "throughput_rate_limit_exceeded": b"SERVER_ERROR backend bandwidth limit exceeded",
            "item_size_limit_exceeded": b"SERVER_ERROR object too large for cache",
            "request_size_limit_exceeded": b"SERVER_ERROR object too large for cache",
            "unheard_of": b"SERVER_ERROR backend limit exceeded"}
    with local() as backend, proxy_to(port_of(backend)) as front:
        client = client_of(front)
        for trailer, reply in said.items():
            faults(backend, "error_percent=100 error=resource-exhausted "
                            f"detail={trailer}")
            # Far more than would open the circuit: a limit is an answer.
            assert set(burst(client, 30)) == {reply}, trailer
        assert total(front, "proxy_breaker_state") == 0 and changes(front) == []
        samples = metrics(front)

        def count(limit):
            return samples['proxy_limit_total{cache="c",limit="%s"}' % limit]
        assert count("operations") == count("throughput") == count("other") == 30
        assert count("size") >= 60


@shows(SERVICES, "local.operations_per_second")
@shows(PROXY, "cache[].operations_per_second")
def test_a_burst_fails_at_the_quota_or_waits_before_it():
    plain = ("cache[0].writes=plain", "cache[0].batch=off", "cache[0].deadline=5s")
    with local("local.operations_per_second=100") as backend, \
            proxy_to(port_of(backend), *plain) as front:
        client = client_of(front)
        # Even if a second's end falls into it.
        refused = [one for one in burst(client, 300) if one != b"STORED"]
        assert len(refused) >= 50 and set(refused) == {
            b"SERVER_ERROR backend request rate limit exceeded"}, len(refused)
    with local("local.operations_per_second=100") as backend, \
            proxy_to(port_of(backend), "cache[0].operations_per_second=80", *plain) as front:
        client = client_of(front)
        began = time.monotonic()
        assert set(burst(client, 160)) == {b"STORED"}
        took = time.monotonic() - began
        print(f"     160 sets at 80 a second under a quota of 100: all stored, {took:.2f} s")
        assert took > 1.5  # Nothing faster would be within the limit.
        assert total(front, "proxy_quota_wait_total") > 100
        assert total(front, "proxy_limit_total") == total(front, "proxy_busy_total") == 0
        # Those that would wait past their deadline are told so at once; the others are stored.
        began = time.monotonic()
        replies = burst(client, 1000)
        assert set(replies) == {b"STORED", BUSY}
        assert 300 <= replies.count(b"STORED") <= 500, replies.count(b"STORED")
        assert total(front, "proxy_busy_total", 'reason="quota"') == replies.count(BUSY)
        assert client.get(b"k0") == (0, b"v")


def test_retries_are_within_the_limit():
    """Of a service that fails no more is asked than the limit says."""
    rate, gets = 50, 100
    fault = ("local.fault_error_percent=100", "local.fault_rpcs=get")
    helpers = ("cache[0].retry_attempts=5", "cache[0].retry_budget_percent=100",
               "cache[0].batch=off", "cache[0].breaker=false", "cache[0].deadline=10s")
    for limit in (rate, 0):
        with local(*fault) as backend, proxy_to(
                port_of(backend), f"cache[0].operations_per_second={limit}", *helpers) as front:
            client = client_of(front)
            began = time.monotonic()
            client.say(b"".join(b"get k%d\r\n" % i for i in range(gets)))
            for _ in range(gets):
                assert client.hear_line() == b"END"
            took = time.monotonic() - began
            asked = total(backend, "cache_local_calls_total", 'rpc="get"')
            not_made = total(front, "proxy_momento_retry_limited_total")
            print(f"     {gets} gets, limit {limit}: {asked:.0f} calls in {took:.2f} s")
            if limit == 0:
                assert asked >= 2 * gets and not_made == 0
            else:
                # A tenth of a second's burst, and what rounding makes of it.
                assert gets <= asked <= rate * (took + 0.1) + 2 and not_made > 0


@shows(PROXY, "cache[].bytes_per_second")
def test_bytes_per_second_makes_values_wait():
    def seconds(limit):
        with local() as backend, \
                proxy_to(port_of(backend), f"cache[0].bytes_per_second={limit}",
                         "cache[0].deadline=10s") as front:
            client = client_of(front)
            began = time.monotonic()
            for i in range(4):
                assert client.set(b"k%d" % i, b"x" * 50_000) == b"STORED"
            return time.monotonic() - began

    assert seconds("100KB") > 1.2
    assert seconds("1GB") < 1.2


# --- Too much at once.


@shows(PROXY, "cache[].calls_max", "cache[].waiting_max")
def test_calls_wait_or_are_busy():
    slow = ("local.fault_delay=200ms", "local.fault_delay_percent=100")

    def replies(*settings, count=6):
        with local(*slow) as backend, \
                proxy_to(port_of(backend), "cache[0].writes=plain", "cache[0].batch=off",
                         "cache[0].deadline=5s", *settings) as front:
            began = time.monotonic()
            heard = burst(client_of(front), count)
            return heard, time.monotonic() - began

    heard, took = replies("cache[0].calls_max=2")
    assert set(heard) == {b"STORED"} and took > 0.55, took
    heard, took = replies("cache[0].calls_max=2", "cache[0].waiting_max=1")
    assert heard == [b"STORED"] * 3 + [BUSY] * 3, heard
    heard, _ = replies("cache[0].calls_max=6", "cache[0].waiting_max=0")
    assert set(heard) == {b"STORED"}, heard


@shows(PROXY, "cache[].request_bytes_max")
def test_values_beyond_the_budget_are_busy():
    slow = ("local.fault_delay=300ms", "local.fault_delay_percent=100")
    for budget, busy in (("1MB", True), ("64MB", False)):
        with local(*slow) as backend, \
                proxy_to(port_of(backend), f"cache[0].request_bytes_max={budget}",
                         "cache[0].deadline=5s") as front:
            client = client_of(front)
            value = b"x" * 400_000
            client.say(b"".join(b"set k%d 0 0 %d\r\n%s\r\n" % (i, len(value), value)
                                for i in range(6)))
            heard = [client.hear_line() for _ in range(6)]
            assert (BUSY in heard) == busy, heard
            assert heard[:2] == [b"STORED"] * 2 and set(heard) <= {b"STORED", BUSY}, heard
            assert client.set(b"k", value) == b"STORED"
            assert stats(client, b"overload")["request_bytes"] == "0"


def test_shedding_keeps_order_and_count():
    """An overloaded service, many clients: each hears one reply a request, in its order, and none
    waits much longer than the deadline."""
    with local("local.fault_delay=200ms", "local.fault_delay_percent=100") as backend, \
            proxy_to(port_of(backend), "cache[0].calls_max=10", "cache[0].deadline=500ms",
                     "cache[0].writes=plain", "cache[0].batch=off",
                     "cache[0].get_error=error") as front:
        port = port_of(front)
        wrong, longest, busy, stored = [], [], [], []

        def client_loop(which):
            client = Client(port, timeout=30)
            for turn in range(4):
                began = time.monotonic()
                client.say(b"".join(b"set c%d-%d 0 0 1\r\nv\r\nincr none%d-%d 1\r\nversion\r\n"
                                    % (which, i, which, i) for i in range(20)))
                for i in range(20):
                    first, second, third = (client.hear_line() for _ in range(3))
                    if first not in (b"STORED", BUSY) and not first.startswith(
                            b"SERVER_ERROR backend timeout"):
                        wrong.append(first)
                    if second != b"NOT_FOUND" and not second.startswith(b"SERVER_ERROR "):
                        wrong.append(second)
                    if not third.startswith(b"VERSION "):
                        wrong.append(third)
                    busy.append(first == BUSY)
                    stored.append(first == b"STORED")
                longest.append(time.monotonic() - began)
            client.close()

        clients = [threading.Thread(target=client_loop, args=(n,)) for n in range(8)]
        for one in clients:
            one.start()
        for one in clients:
            one.join()
        assert not wrong, wrong[:5]
        assert len(busy) == 8 * 4 * 20 and sum(busy) > 0 and sum(stored) > 0, sum(busy)
        print(f"     of {len(busy)} sets {sum(stored)} stored, {sum(busy)} busy; "
              f"longest burst {max(longest):.2f} s at a deadline of 0.5 s")
        client = Client(port)
        eventually(lambda: total(front, "proxy_in_flight") == 0 and
                   total(front, "proxy_calls") == total(front, "proxy_waiting") == 0,
                   what="nothing left behind")
        assert client.set(b"after", b"v") == b"STORED"


def test_limits_that_cannot_work_are_refused_with_their_line():
    for line, key, why in (('deadline = "0s"', "deadline", "expected"),
                           ("operations_per_second = 1\ndeadline = \"10ms\"",
                            "operations_per_second", "nothing that waits would be in time"),
                           ('bytes_per_second = "100B"', "bytes_per_second", "within the deadline"),
                           ("breaker_probes = 0", "breaker_probes", "expected"),
                           ("breaker_failure_percent = 101", "breaker_failure_percent", "expected"),
                           ('breaker_window = "0s"', "breaker_window", "expected"),
                           ('request_bytes_max = 0', "request_bytes_max", "expected")):
        with config_file(f'[[cache]]\ncache_name = "c"\nport = 0\n{line}\n') as path:
            code, out, err = run("momento_proxy", "--check", path)
            assert code == 78 and f"{path}:4: cache[0].{key}:" in out + err and why in out + err, \
                (out, err)


if __name__ == "__main__":
    main(globals())
