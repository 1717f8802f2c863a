#!/usr/bin/env python3
"""Stampedes: fifty clients in several processes want one item that is missing, stale or about to end.
The meta commands let one of them make it, while the others wait or use what there is.

    integration/stampede_test.py [BIN_DIR]

A client does what doc/protocol.txt of memcached tells it to: who is told W makes the item, which takes
a while, and stores it; who is told Z waits, or uses the value that came with it. The item's making is
counted. Every scenario takes the ports of servers that share their data, and spreads its clients over
them.
"""
import contextlib
import multiprocessing
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backend import Backend, fronted  # noqa: E402
from harness import Client, main, product  # noqa: E402
from knobs import total  # noqa: E402

PROCESSES, CLIENTS_EACH = 5, 10
MAKING_SECONDS = 0.3   # Long beside the time in which all have asked.
PATIENCE_SECONDS = 20
POLL_SECONDS = 0.02


class Getter(Client):
    """A client of mg."""

    def get(self, key, flags):
        """(value or None, flags told) of a hit; (None, None) of a miss."""
        words = self.ask(b"mg %s %s" % (key, flags)).split()
        if words[0] == b"EN":
            return None, None
        assert words[0] == b"VA", words
        size = int(words[1])
        while len(self.heard) < size + 2:
            more = self.socket.recv(65536)
            assert more, "closed within a value"
            self.heard += more
        value, self.heard = self.heard[:size], self.heard[size + 2:]
        return value, words[2:]

    def put(self, key, value, flags=b""):
        self.say(b"ms %s %d %s\r\n%s\r\n" % (key, len(value), flags, value))
        answer = self.hear_line()
        assert answer == b"HD", answer


class Maker:
    """Makes values, in whatever process, and knows how many it made."""

    def __init__(self, context):
        self.count = context.Value("i", 0)

    def make(self):
        time.sleep(MAKING_SECONDS)
        with self.count.get_lock():
            self.count.value += 1
            return b"value-%d" % self.count.value


def ask_once(client, key, flags, maker):
    """One client's way to a value: (what it was told first, the value it first had, the value)."""
    value, told = client.get(key, flags)
    assert told is not None, "a miss, though N makes an item"
    first = tuple(sorted(flag.decode() for flag in told if flag in (b"W", b"X", b"Z")))
    first_value = value
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        if b"W" in told:
            value = maker.make()
            client.put(key, value, b"T100")
            return first, first_value, value
        if b"Z" not in told:
            return first, first_value, value
        if value:  # Out of date, but there: somebody else is at it.
            return first, first_value, value
        assert time.monotonic() < end, "nobody made it"
        time.sleep(POLL_SECONDS)
        value, told = client.get(key, flags)
        assert told is not None, "gone while it was being made"


def process(ports, key, flags, maker, start, results):
    """Ten clients, a thread each, that ask all at once."""
    told, lock = [], threading.Lock()

    def one(number):
        client = Getter(ports[number % len(ports)], timeout=PATIENCE_SECONDS)
        start.wait(PATIENCE_SECONDS)
        try:
            outcome = ask_once(client, key, flags, maker)
        except (AssertionError, OSError, EOFError) as error:
            outcome = error
        with lock:
            told.append(outcome)
        client.close()

    threads = [threading.Thread(target=one, args=(i,)) for i in range(CLIENTS_EACH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(told)


def stampede(ports, key, flags):
    """All clients ask for `key` at once. Returns (what each came to, how many values were made)."""
    context = multiprocessing.get_context("fork")
    maker, results = Maker(context), context.Queue()
    start = context.Barrier(PROCESSES * CLIENTS_EACH)
    processes = [context.Process(target=process, args=(ports, key, flags, maker, start, results))
                 for _ in range(PROCESSES)]
    for each in processes:
        each.start()
    outcomes = [outcome for _ in processes for outcome in results.get(timeout=3 * PATIENCE_SECONDS)]
    for each in processes:
        each.join(PATIENCE_SECONDS)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert not failures, failures
    assert len(outcomes) == PROCESSES * CLIENTS_EACH, len(outcomes)
    return outcomes, maker.count.value


def wins(outcomes):
    return sum("W" in first for first, _, _ in outcomes)


# --- Scenarios, each over servers that share their data. ---

def missing(ports):
    """One makes it; the others are told so, wait, and have its value."""
    for turn in range(3):
        outcomes, made = stampede(ports, b"missing:%d" % turn, b"s v N30")
        assert made == 1, made
        assert wins(outcomes) == 1, outcomes
        assert {first for first, _, _ in outcomes} <= {("W",), ("Z",), ()}, outcomes
        assert {value for _, _, value in outcomes} == {b"value-1"}, outcomes


def stale(ports):
    """One renews what was marked stale; the others have the old value at once."""
    client = Getter(ports[0])
    for turn in range(3):
        key = b"stale:%d" % turn
        client.put(key, b"old", b"T100")
        assert client.ask(b"md %s I T60" % key) == b"HD"
        outcomes, made = stampede(ports, key, b"s v N30")
        assert (made, wins(outcomes)) == (1, 1), outcomes
        for first, first_value, value in outcomes:
            if "W" in first:
                assert (first, first_value, value) == (("W", "X"), b"old", b"value-1"), outcomes
            elif "Z" in first:
                assert (first, value) == (("X", "Z"), b"old"), outcomes
            else:  # Came when all was over.
                assert (first, value) == ((), b"value-1"), outcomes
        assert client.get(key, b"v") == (b"value-1", [])


def ending(ports):
    """One renews what has not long to live; the others use it as it is."""
    client = Getter(ports[0])
    for turn in range(3):
        key = b"ending:%d" % turn
        client.put(key, b"old", b"T20")
        outcomes, made = stampede(ports, key, b"s v R60")
        assert (made, wins(outcomes)) == (1, 1), outcomes
        for first, first_value, value in outcomes:
            assert first in (("W",), ("Z",), ()), outcomes
            assert value == (b"value-1" if first != ("Z",) else b"old"), outcomes
        assert client.get(key, b"v R60") == (b"value-1", [])


def failing(ports):
    """Who won and never stores leaves it to another once the placeholder has ended."""
    client = Getter(ports[0])
    assert client.get(b"failing", b"v N2") == (b"", [b"W"])
    client.close()
    outcomes, made = stampede(ports, b"failing", b"s v N30")
    assert (made, {value for _, _, value in outcomes}) == (1, {b"value-1"}), outcomes


def play(ports):
    for scenario in (missing, stale, ending, failing):
        scenario(ports)
        print(f"  {scenario.__name__}", flush=True)


def memcache_port(running):
    return int(running.wait_log(r"memcache[^\n]* on 127\.0\.0\.1:(\d+)").group(1))


@contextlib.contextmanager
def segcache():
    with product("segcache", "-p", "0", "-t", "2") as server:
        yield [memcache_port(server)]


def test_segcache():
    with segcache() as ports:
        play(ports)


@contextlib.contextmanager
def proxies(count):
    """So many momento_proxies before one momento_local. A poll of Z follows a write of another proxy:
    consistent reads."""
    with Backend() as backend, contextlib.ExitStack() as stack:
        fronts = [stack.enter_context(fronted(backend, "cache[0].reads=consistent", workers=2))
                  for _ in range(count)]
        yield [memcache_port(front) for front in fronts], fronts


def won(fronts):
    """What the proxies count, by the kind of item that was to be made."""
    return {kind: sum(total(front, "proxy_win_total", f'item="{kind}"') for front in fronts)
            for kind in ("absent", "stale", "short_lived")}


# Three turns each, and of the item that nobody stores the first and the second making.
WON = {"absent": 5, "stale": 3, "short_lived": 3}


def test_momento_proxy():
    with proxies(1) as (ports, fronts):
        play(ports)
        assert won(fronts) == WON, won(fronts)


def test_two_proxies():
    """They know nothing of each other: who wins is decided at Momento."""
    with proxies(2) as (ports, fronts):
        play(ports)
        assert won(fronts) == WON, won(fronts)


if __name__ == "__main__":
    main(globals())
