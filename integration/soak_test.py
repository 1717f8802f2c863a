#!/usr/bin/env python3
"""Two momento_proxies of one service under random commands and faults, every reply held against a model.

    integration/soak_test.py [BIN_DIR] [--minutes 10] [--seed N]     without --minutes: 8 seconds

Connections of three dialects (dialects.py) use the same keys of the same caches through both proxies. One
thread drives all of them, so "sent before" and "answered before" are certain. Keys are given up for new
ones when much about them is unknown, or when the backend restarts, which loses its memory; then
history.py looks at what happened to them.
"""
import collections
import contextlib
import os
import random
import re
import selectors
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


if {"-h", "--help"} & set(sys.argv[1:]):
    print(__doc__)
    sys.exit(0)


def option(name, default):
    """Takes `name VALUE` off the command line, which harness.py reads as well."""
    if name not in sys.argv:
        return default
    at = sys.argv.index(name)
    value = type(default)(sys.argv[at + 1])
    del sys.argv[at:at + 2]
    return value


MINUTES = option("--minutes", 0.0)
SEED = option("--seed", random.randrange(1 << 30))

import binary  # noqa: E402
from backend import Backend, fronted, nothing_left_behind, recovery  # noqa: E402
from harness import main  # noqa: E402
from dialects import Answer, Binary, Command, Meta, Text  # noqa: E402
from history import (COUNTED, FAILED, UNKNOWN, UPDATES, Operation, TooAmbiguous,  # noqa: E402
                     Violation, check)

DEADLINE = 0.4
STALENESS = 0.4
SLACK = 0.25  # How much longer a busy machine may take to look at its clock.
SLOTS, MORTALS = 8, 3  # Of the keys of a cache, the last ones live for seconds.
MORTAL_SHARE = 0.12    # Of what is asked.
FLUSH_SHARE = 0.0005
LONG_LIFE = 3000       # Seconds; no key is in use for so long.
FORGOTTEN = 30         # Seconds after which no call that nobody has heard of is still under way.
OPERATIONS_MAX, UNKNOWN_MAX = 250, 4  # Of one key.
DEPTH = 5
PROXIES = 2
DIALECTS = (Text(), Meta(), Binary())

FLIGHT = DEADLINE / 2  # How old a call may be that a get joins.


class Cache:
    """A [[cache]]; `value` and `miss`: how old what a get shows may be, None where it may not."""

    def __init__(self, label, *settings, value=None, miss=None):
        self.label, self.settings = label, settings
        self.flushes = "flush_all=true" in settings
        self.has_nonce = "envelope=nonce" in settings
        self.staleness = None
        if value is not None:
            # An mg that tells the life is never answered from a copy, but shares calls.
            self.staleness = {"get": (value + SLACK, miss + SLACK),
                              "timed": (FLIGHT + SLACK, FLIGHT + SLACK)}


CACHES = (
    Cache("coalesced", "reads=balanced", "flush_all=true", value=FLIGHT, miss=FLIGHT),
    Cache("strict", "coalesce=false", "batch=off", "flush_all=true"),
    Cache("near", "near_size=4MB", f"near_staleness={int(STALENESS * 1000)}ms", "flush_all=true",
          value=STALENESS, miss=FLIGHT),
    Cache("nonce", "envelope=nonce", "coalesce=false"),
)
# Statuses of a service that may have done what was asked, and of one that looked and said no.
MAYBE_DONE = "unavailable internal unknown cancelled deadline-exceeded aborted data-loss".split()
REFUSED = ("resource-exhausted permission-denied unauthenticated not-found unimplemented "
           "invalid-argument failed-precondition").split()
CALLS = ("get", "get-batch", "get-with-hash", "set-if-hash", "set-if", "delete", "keys-exist",
         "update-ttl", "item-get-ttl", "flush-cache")


class Key:
    """`is_mortal`: it is given short lives, and asked for seldom, so that they come to an end."""

    def __init__(self, name, is_counter, is_mortal):
        self.name, self.is_counter, self.is_mortal = name, is_counter, is_mortal
        self.operations, self.unknown, self.in_flight = [], 0, 0
        self.tokens = {}  # cas token -> item
        self.is_there = False  # As far as the last answer told.
        self.asked_at = self.rests_until = 0.0  # A mortal one is let alone at times.


class Flush:
    """A flush_all, which is a write of every key: also of those made while nobody knows its end."""

    def __init__(self, operation_of):
        self.operation_of, self.command, self.unknown_since = operation_of, None, None


class Slots:
    """The keys of one cache that are in use, and those whose last answers are still to come."""

    def __init__(self, soak, cache, ports):
        self.soak, self.cache, self.label, self.ports = soak, cache, cache.label, ports
        self.made = 0
        self.flushes = []
        self.leaving = []
        self.keys = []
        self.keys = [self._key(slot) for slot in range(SLOTS)]

    def _key(self, slot):
        self.made += 1
        # Of both sorts some are counters.
        key = Key(f"{self.label}-{slot}-{self.made}".encode(), slot % 2 == 0, slot >= SLOTS - MORTALS)
        for flush in self.flushes:
            op = flush.operation_of(key)
            if flush.unknown_since is None:
                flush.command.operations.append(op)
            else:
                self.soak.end(op, UNKNOWN)
        return key

    def pick(self):
        rng, now = self.soak.random, time.monotonic()
        key = rng.choice(self.keys[-MORTALS:] if rng.random() < MORTAL_SHARE
                         else self.keys[:-MORTALS])
        if key.is_mortal and now - key.asked_at < 0.03:
            key = rng.choice(self.keys[:-MORTALS])
        key.asked_at = now
        return key

    def pick_some(self):
        count = self.soak.random.choice((2, 2, 3))
        return list({key.name: key for key in (self.pick() for _ in range(count))}.values())

    def tidy(self):
        now = time.monotonic()
        self.flushes = [one for one in self.flushes if one.unknown_since is None or
                        now - one.unknown_since < FORGOTTEN]
        for slot, key in enumerate(self.keys):
            if len(key.operations) >= self.soak.operations_max or key.unknown >= UNKNOWN_MAX:
                self.leaving.append(key)
                self.keys[slot] = self._key(slot)
        for key in [one for one in self.leaving if one.in_flight == 0]:
            self.leaving.remove(key)
            self.soak.judge(self, key)

    def lose_all(self):
        """The backend forgot everything: of what was not answered by then nobody knows."""
        for key in self.keys + self.leaving:
            self.soak.judge(self, key)
        self.leaving = []
        self.flushes = [one for one in self.flushes if one.unknown_since is None]
        self.keys = [self._key(slot) for slot in range(SLOTS)]


class Connection:
    """Sends a few commands at a time and reads their replies, one after the other."""

    def __init__(self, soak, slots, number, dialect, proxy):
        self.soak, self.slots, self.number = soak, slots, number
        self.dialect, self.proxy = dialect, proxy
        self.heard = b""
        self.expected = collections.deque()  # Commands.
        self.socket = socket.create_connection(("127.0.0.1", slots.ports[proxy]), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.asked_at = 0.0

    def ask(self):
        commands = []
        for _ in range(self.soak.random.randint(1, DEPTH)):
            commands += self._some()
            if commands[-1].quiet and self.dialect.name == "meta":
                break
        if commands[-1].quiet and self.dialect.name != "text":
            commands.append(self._command("end", []))
        self._send(commands)

    def _send(self, commands):
        self.asked_at = time.monotonic()
        self.socket.send(self.dialect.spell(commands))
        for command in commands:
            if command.quiet and self.dialect.name == "text":
                self.soak.end(command.operations[0], UNKNOWN)  # Nobody will be told.
            else:
                self.expected.append(command)

    def read_all(self):
        """Asks for every key with its token, which goes past copies."""
        self._send([self._command("read" if self.dialect.name != "binary" else "get", [key],
                                  tells_token=True) for key in self.slots.keys])

    def store_for_a_second(self, key):
        value = self._value()
        self._send([self._command("set", [key], (0, value), 1, exptime=1, value=value)])

    def _operation(self, key, kind, argument=None, ttl=None):
        op = Operation(kind, argument, self.number, self.soak.tick(), time.monotonic(), ttl,
                       self.proxy)
        op.key = key
        key.operations.append(op)
        key.in_flight += 1
        return op

    def _command(self, kind, keys, argument=None, ttl=None, **told):
        self.soak.opaques += 1
        command = Command(kind, [key.name for key in keys], self.soak.opaques, **told)
        command.operations = [self._operation(key, kind, argument, ttl) for key in keys]
        command.life = self._operation(keys[0], "life") if command.tells_life else None
        return command

    def _value(self):
        self.soak.values += 1
        return b"v%d." % self.soak.values

    def _life(self, key, may_be_absolute=False):
        """An exptime, and the seconds that it is; None of those that no test sees the end of."""
        rng = self.soak.random
        if not key.is_mortal or rng.random() < 0.15:
            return rng.choice((LONG_LIFE, 0) if may_be_absolute else (LONG_LIFE,)), None
        if may_be_absolute and rng.random() < 0.2:
            now = time.time()
            return int(now) + 3, int(now) + 3 - now
        seconds = rng.choice((1, 1, 2, 3))
        return seconds, seconds

    def _some(self):
        """One command, or what a binary client sends to read several keys."""
        rng, key = self.soak.random, self.slots.pick()
        name = self.dialect.name
        if self.slots.cache.flushes and name != "meta" and rng.random() < FLUSH_SHARE:
            return [self._flush()]
        if key.is_mortal:
            now = time.monotonic()
            if now < key.rests_until:
                return [self._read(key)]
            key.rests_until = now + rng.choice((0, 0.5, 1.3, 2.5, 3.5))
            return [self._change(key) if key.is_there else self._store(key, "set")]
        if rng.random() < 0.30:
            if rng.random() < 0.4 and name != "meta":
                keys = self.slots.pick_some()
                if name == "text":
                    tells = rng.random() < 0.4
                    return [self._command("read" if tells else "get", keys, tells_token=tells)]
                return [self._command("get", [one], quiet=True) for one in keys]
            return [self._read(key)]
        return [self._change(key)]

    def _read(self, key):
        rng, name = self.soak.random, self.dialect.name
        quiet = name != "text" and rng.random() < 0.1
        chance = rng.random()
        if name == "binary" or chance < 0.5:
            return self._command("get", [key], quiet=quiet)
        if name == "meta" and chance < 0.6:
            # Shares a call with others of its sort; what it tells of the life may be as old.
            return self._command("timed", [key], tells_life=True, quiet=quiet)
        # With a token it goes past copies and flights: it is no plain get.
        return self._command("read", [key], tells_token=True, quiet=quiet,
                             tells_life=name == "meta" and chance < 0.8)

    def _change(self, key):
        rng, name = self.soak.random, self.dialect.name
        quiet = name != "text" and rng.random() < 0.05
        chance = rng.random()
        # Tokens of a value that carries a nonce say more than the value.
        compares = key.tokens and not (key.is_counter and self.slots.cache.has_nonce)
        if chance < 0.07:
            exptime, ttl = self._life(key)
            return self._command("gat", [key], ttl=ttl, exptime=exptime, quiet=quiet)
        if chance < 0.13 and name != "meta":
            exptime, ttl = self._life(key)
            return self._command("touch", [key], ttl=ttl, exptime=exptime)
        if chance < 0.24:
            if compares and name != "text" and rng.random() < 0.5:
                token, item = self._token(key)
                return self._command("delete-if", [key], item, token=token, quiet=quiet)
            return self._command("delete", [key], quiet=quiet)
        if key.is_counter and chance < 0.72:
            return self._count(key, compares, quiet)
        if compares and not key.is_counter and chance < 0.45:
            token, item = self._token(key)
            return self._store(key, "cas", token, item)
        if not key.is_counter and chance < 0.60:
            value = self._value()
            return self._command(rng.choice(("append", "prepend")), [key], value, value=value,
                                 quiet=quiet)
        return self._store(key, rng.choice(("set", "set", "add", "replace")))

    def _token(self, key):
        # Most tokens are out of date by now, and some of the latest are not.
        return self.soak.random.choice(list(key.tokens.items())[-3:])

    def _count(self, key, compares, quiet):
        rng, name = self.soak.random, self.dialect.name
        kind, delta = rng.choice((("incr", 1), ("incr", 1), ("incr", 7), ("decr", 1)))
        initial = token = item = exptime = ttl = None
        if name != "text" and rng.random() < 0.2:
            initial, (exptime, ttl) = rng.randrange(100), self._life(key)
        if name == "meta" and compares and rng.random() < 0.2:
            token, item = self._token(key)
        return self._command(kind, [key], (delta, initial, item), ttl, delta=delta, initial=initial,
                             token=token, exptime=exptime, quiet=quiet)

    def _store(self, key, kind, token=None, expected=None):
        rng, name = self.soak.random, self.dialect.name
        # Where a life may come back with equal bytes (history.py) they shall seldom be equal.
        most = 1000000 if key.is_mortal else 1000
        value = b"%d" % rng.randrange(most) if key.is_counter else self._value()
        item = (rng.choice((0, 0, 7)), value)
        exptime, ttl = self._life(key, may_be_absolute=kind == "set")
        quiet = rng.random() < 0.05 and (name != "text" or kind == "set")
        return self._command(kind, [key], item if expected is None else (expected, item), ttl,
                             exptime=exptime, flags=item[0], value=value, token=token, quiet=quiet,
                             tells_token=name == "meta" and rng.random() < 0.3)

    def _flush(self):
        sent, sent_at = self.soak.tick(), time.monotonic()

        def operation_of(key):
            op = Operation("flush", None, self.number, sent, sent_at, None, self.proxy)
            op.key = key
            key.operations.append(op)
            key.in_flight += 1
            return op
        flush = Flush(operation_of)
        flush.command = command = self._command("flush", [])
        command.flush = flush
        command.operations = [operation_of(key) for key in self.slots.keys + self.slots.leaving]
        self.slots.flushes.append(flush)
        self.soak.flushes += 1
        return command

    def on_readable(self):
        data = self.socket.recv(65536)
        if not data:
            raise Violation(f"{self.slots.label}: the proxy closed a connection")
        self.heard += data
        while self.expected and self._take():
            pass
        if not self.expected and self.heard:
            raise Violation(f"{self.slots.label}: a reply to nothing: {self.heard[:80]}")

    def _take(self):
        """The reply to the oldest command, if all of it is there."""
        command = self.expected[0]
        if not self.heard:
            return False
        read = self.dialect.read(self.heard, command)
        if read is None:
            return False
        size, answer = read
        self.heard = self.heard[size:]
        self.expected.popleft()
        self._end(command, answer)
        return True

    def _end(self, command, answer):
        if command.kind == "flush":
            self._end_flush(command, answer.failure or "OK")
            return
        for at, op in enumerate(command.operations):
            if answer.failure is not None:
                # A gat is a get that failed, and says no more; it may have touched.
                self.soak.end(op, UNKNOWN if op.kind == "gat" else answer.failure)
                continue
            result = answer.results[at]
            if answer.tokens and answer.tokens[at] is not None:
                stored = op.argument[1] if op.kind == "cas" else op.argument
                told = {"get": result, "read": result, "gat": result}.get(op.kind, stored)
                if op.kind not in UPDATES:
                    self._check_token(op.key, answer.tokens[at], told)
            op.key.is_there = result not in (None, "NOT_FOUND", "DELETED")
            self.soak.end(op, result)
        if command.life is not None:
            told = answer.life if command.kind == "read" and answer.failure is None else None
            self.soak.end(command.life, FAILED if told is None else told)

    def _end_flush(self, command, result):
        flush = command.flush
        if result == UNKNOWN:
            flush.unknown_since = time.monotonic()
        else:
            self.slots.flushes.remove(flush)
        for op in command.operations:
            self.soak.end(op, result)

    def _check_token(self, key, token, item):
        if key.tokens.setdefault(token, item) != item:
            raise Violation(f"{key.name}: token {token} was of {key.tokens[token]}, now of {item}")
        key.tokens[token] = key.tokens.pop(token)  # The latest is last.

    def leave(self):
        """Closes with commands under way."""
        for command in self.expected:
            self._end(command, Answer(failure=UNKNOWN))
        self.socket.close()


class Soak:
    def __init__(self, seed, seconds, pause=0.004, operations_max=OPERATIONS_MAX):
        self.random, self.seconds, self.pause = random.Random(seed), seconds, pause
        self.operations_max = operations_max
        self.moment = self.values = self.opaques = self.flushes = 0
        self.explained = self.ends = self.keys = self.ambiguous = 0
        self.outcomes, self.faults = collections.Counter(), collections.Counter()
        self.recoveries = []

    def tick(self):
        self.moment += 1
        return self.moment

    def end(self, op, result):
        op.end(result, self.tick(), time.monotonic())
        op.key.in_flight -= 1
        if result == UNKNOWN and op.effect(op.key.is_mortal) is not None:
            op.key.unknown += 1
        self.outcomes["unknown" if result == UNKNOWN else
                      "failed" if result == FAILED else "answered"] += 1

    def judge(self, slots, key):
        self.keys += 1
        try:
            explained, ends = check(key.operations, slots.cache.staleness, key.name.decode())
        except TooAmbiguous:
            self.ambiguous += 1
        else:
            self.explained += explained
            self.ends += ends

    def run(self, backend, ports, sabotage=None):
        """`ports` of each cache, of each proxy."""
        self.backend = backend
        self.caches = [Slots(self, cache, some) for cache, some in zip(CACHES, ports)]
        self.selector = selectors.DefaultSelector()
        self.connections = 0
        for slots in self.caches:
            for proxy in range(PROXIES):
                for dialect in DIALECTS:
                    self._connect(slots, dialect, proxy)
        self.thaw_at = self.start_at = None
        end, change_at = time.monotonic() + self.seconds, 0
        while (now := time.monotonic()) < end:
            if now >= change_at:
                self._change()
                change_at = now + self.random.uniform(0.2, 1.5)
            self._turn()
            if sabotage is not None:
                sabotage(self)
            for slots in self.caches:
                slots.tidy()
        self._settle()

    def _recover(self):
        since = time.monotonic()
        self.recoveries += [recovery(port, since) for port in self.caches[0].ports]

    def _connect(self, slots, dialect, proxy):
        self.connections += 1
        one = Connection(self, slots, self.connections, dialect, proxy)
        self.selector.register(one.socket, selectors.EVENT_READ, one)

    def _turn(self, asking=True):
        for ready, _ in self.selector.select(self.pause):
            ready.data.on_readable()
        now = time.monotonic()
        if self.thaw_at is not None and now >= self.thaw_at:
            self.backend.thaw()
            self.thaw_at = None
        if self.start_at is not None and now >= self.start_at:
            self.start_at = None
            self.backend.start()
            self._recover()
        for entry in list(self.selector.get_map().values()):
            one = entry.data
            if one.expected:
                if now - one.asked_at > 40 * DEADLINE:
                    raise Violation(f"{one.slots.label}: no reply to {one.expected[0]}")
                if self.random.random() < 0.0003:
                    self._replace(one)
            elif asking and self.random.random() < 0.5:
                one.ask()
        time.sleep(self.pause / 2)

    def _replace(self, one):
        self.selector.unregister(one.socket)
        one.leave()
        self._connect(one.slots, one.dialect, one.proxy)

    def _change(self):
        """Another fault, or none."""
        if self.thaw_at is not None or self.start_at is not None:
            return
        rng = self.random
        kind = rng.choices(("calm", "status", "delay", "late", "reset", "mixed", "freeze", "restart"),
                           (5, 5, 3, 4, 3, 3, 1.5, 0.7))[0]
        self.faults[kind] += 1
        words = {"seed": rng.randrange(1 << 30), "applied": rng.choice(("true", "false"))}
        if rng.random() < 0.5:
            words["rpcs"] = ",".join(rng.sample(CALLS, rng.randint(1, 4)))
        if kind in ("status", "mixed"):
            statuses = MAYBE_DONE + (REFUSED if words["applied"] == "false" else [])
            words.update(error=rng.choice(statuses), error_percent=rng.choice((2, 10, 40, 100)))
        if kind in ("delay", "mixed"):
            words.update(delay=f"{rng.choice((1, 20, 100, 300, 450))}ms", delay_jitter="100ms",
                         delay_percent=rng.choice((2, 10, 50)))
        if kind == "late":
            # Reads whose answers come after later writes: what copies and flights must not be made of.
            words.update(delay=f"{rng.choice((20, 80, 180))}ms", delay_jitter="50ms", applied="true",
                         delay_percent=rng.choice((10, 50)), rpcs="get,get-batch,get-with-hash")
        if kind in ("reset", "mixed"):
            words.update(reset_percent=rng.choice((1, 3, 10)))
        if kind == "freeze":
            self.backend.freeze()
            self.thaw_at = time.monotonic() + rng.uniform(0.1, 1.2)
        elif kind == "restart":
            self.backend.stop(signal.SIGKILL)
            for slots in self.caches:
                slots.lose_all()
            self.start_at = time.monotonic() + rng.uniform(0, 0.5)
        elif kind == "calm":
            self.backend.calm()
        else:
            self.backend.faults(**words)

    def _settle(self):
        """The faults end, every answer is heard, and what was acknowledged is read once more."""
        if self.start_at is not None:
            self.start_at = 0
        if self.thaw_at is not None:
            self.thaw_at = 0
        self._turn(asking=False)
        self.backend.calm()
        self._recover()
        self._let_some_end()
        while any(entry.data.expected for entry in self.selector.get_map().values()):
            self._turn(asking=False)
        for entry in list(self.selector.get_map().values()):
            entry.data.read_all()
        while any(entry.data.expected for entry in self.selector.get_map().values()):
            self._turn(asking=False)
        for entry in list(self.selector.get_map().values()):
            self.selector.unregister(entry.data.socket)
            entry.data.leave()
        for slots in self.caches:
            for key in slots.keys + slots.leaving:
                self.judge(slots, key)

    def _let_some_end(self):
        """However little of it the faults have let happen: in every cache an item that ends."""
        connections = [entry.data for entry in self.selector.get_map().values()]
        for slots in self.caches:
            slots.leaving.append(slots.keys[-1])
            slots.keys[-1] = slots._key(SLOTS - 1)
            next(one for one in connections if one.slots is slots).store_for_a_second(slots.keys[-1])
        over = time.monotonic() + 1.3
        while time.monotonic() < over:
            self._turn(asking=False)

    def report(self):
        print(f"{dict(self.outcomes)}, {self.explained} answers explained, {self.ends} ends of lives "
              f"seen, {self.keys} keys, {self.ambiguous} too ambiguous, {self.flushes} flushes; faults "
              f"{dict(self.faults)}; slowest recovery {max(self.recoveries) * 1000:.0f} ms")


@contextlib.contextmanager
def soaked(*changes, workers=2):
    """A backend, the proxies before it, and the ports of each cache. `changes` come last."""
    with Backend() as backend, contextlib.ExitStack() as stack:
        settings = []
        for at, cache in enumerate(CACHES):
            settings += [f"cache[{at}].port=0", f"cache[{at}].cache_name={cache.label}",
                         f"cache[{at}].get_error=error", f"cache[{at}].deadline={DEADLINE}s",
                         *(f"cache[{at}].{one}" for one in cache.settings)]
        fronts, ports = [], []
        for _ in range(PROXIES):
            front = stack.enter_context(fronted(backend, *settings, *changes, workers=workers,
                                                helpers=True))
            front.wait_log(r"(?s)(memcache on .*){%d}" % len(CACHES))
            fronts.append(front)
            ports.append([int(port) for port in
                          re.findall(r"memcache on \S+:(\d+)\b", front.log())])
        yield backend, fronts, list(zip(*ports))


def test_every_reply_is_explained():
    seconds = MINUTES * 60 or 8
    print(f"seed {SEED}, {seconds:.0f} s")
    with soaked() as (backend, fronts, ports), contextlib.ExitStack() as stack:
        for port in ports[0]:
            recovery(port)
        soak = Soak(SEED, seconds)
        with stack:
            for front in fronts:
                stack.enter_context(nothing_left_behind(front, grown_kb=32 * 1024))
            soak.run(backend, ports)
        soak.report()
        assert soak.explained > 20 * seconds, soak.explained
        assert soak.ends > 0, "no life was seen to end"
        assert soak.ambiguous * 20 <= soak.keys, "too much was left unchecked"


def test_a_foreign_write_is_found():
    """The checker fails: somebody whom the model does not know overwrites what was acknowledged."""
    with soaked() as (backend, _, ports):
        recovery(ports[0][0])
        soak = Soak(1, 4, operations_max=80)
        soak._change = lambda: None
        stranger = socket.create_connection(("127.0.0.1", ports[1][0]), 10)
        overwritten = set()

        def sabotage(running):
            key = running.caches[1].keys[1]
            if len(key.operations) > 50:
                overwritten.add(key.name.decode())
                stranger.sendall(b"set %s 0 300 7\r\nstrange\r\n" % key.name)
        try:
            soak.run(backend, ports, sabotage)
        except Violation as found:
            # By the value, or by whatever else follows from it: something known to be deleted is
            # there to be deleted again, appended to or added in vain.
            assert str(found).split(":")[0] in overwritten, (overwritten, found)
        else:
            raise AssertionError("nobody noticed")


def test_a_broken_promise_is_found():
    """Proxies whose copies last longer than the model allows, and one whose items end too soon."""
    for cache, *changes in ((2, "near_staleness=5s"), (1, "default_ttl=600ms", "max_ttl=600ms")):
        with soaked(*(f"cache[{cache}].{change}" for change in changes)) as (backend, _, ports):
            recovery(ports[0][0])
            soak = Soak(1, 20, operations_max=40)
            soak._change = lambda: None
            try:
                soak.run(backend, ports)
            except Violation as found:
                assert str(found).startswith(CACHES[cache].label), found
            else:
                raise AssertionError(f"nobody noticed {changes}")


# --- The checker by itself.

def history(*lines):
    """(connection, kind, argument, result, sent, answered[, seconds[, proxy[, ttl]]]); without
    seconds, the positions are seconds."""
    ops = []
    for connection, kind, argument, result, sent, answered, *more in lines:
        at, proxy, ttl = (*more, *(None, 0, None)[len(more):])
        op = Operation(kind, argument, connection, sent, sent if at is None else at, ttl, proxy)
        ops.append(op.end(result, answered, answered if at is None else at))
    return ops


def right(*lines, **how):
    check(history(*lines), **how)


def wrong(*lines, **how):
    try:
        check(history(*lines), **how)
    except Violation:
        return
    raise AssertionError(f"accepted: {lines}")


ONE = (1, None, None)  # More, to what there is, whatever it is.
A, B, C = (0, b"a"), (0, b"b"), (0, b"c")


def test_lost_and_stale_values_are_wrong():
    right((1, "set", A, "STORED", 1, 2), (2, "get", None, A, 3, 4))
    wrong((1, "set", A, "STORED", 1, 2), (2, "get", None, None, 3, 4))
    wrong((1, "set", A, "STORED", 1, 2), (1, "set", B, "STORED", 3, 4), (2, "get", None, A, 5, 6))
    right((1, "set", A, "STORED", 1, 2), (1, "set", B, "STORED", 3, 6), (2, "get", None, A, 4, 5))
    # Two writers at once may end either way, but not one way and then the other.
    two = ((1, "set", A, "STORED", 1, 4), (2, "set", B, "STORED", 2, 3))
    right(*two, (3, "get", None, A, 5, 6), (3, "get", None, A, 7, 8))
    right(*two, (3, "get", None, B, 5, 6), (3, "get", None, B, 7, 8))
    wrong(*two, (3, "get", None, A, 5, 6), (3, "get", None, B, 7, 8))
    wrong((1, "delete", None, "DELETED", 1, 2))
    wrong((1, "set", A, "STORED", 1, 2), (1, "add", B, "STORED", 3, 4))


def test_unknown_outcomes_happen_once_or_never():
    unknown = (1, "set", B, UNKNOWN, 3, 4)
    first = (1, "set", A, "STORED", 1, 2)
    right(first, unknown, (2, "get", None, A, 5, 6), (2, "get", None, B, 7, 8))
    right(first, unknown, (2, "get", None, A, 5, 6))
    wrong(first, unknown, (2, "get", None, B, 5, 6), (2, "get", None, A, 7, 8))
    wrong(first, (1, "set", B, FAILED, 3, 4), (2, "get", None, B, 5, 6))
    wrong((2, "get", None, B, 1, 2), unknown)


def test_counts_are_exact():
    zero = (1, "set", (0, b"10"), "STORED", 1, 2)
    right(zero, (1, "incr", ONE, UNKNOWN, 3, 4), (1, "incr", ONE, 12, 5, 6))
    right(zero, (1, "incr", ONE, UNKNOWN, 3, 4), (1, "incr", ONE, 11, 5, 6))
    wrong(zero, (1, "incr", ONE, UNKNOWN, 3, 4), (1, "incr", ONE, 13, 5, 6))
    wrong(zero, (1, "incr", ONE, 11, 3, 6), (2, "incr", ONE, 11, 4, 5))
    right(zero, (1, "decr", ONE, 9, 3, 4), (1, "get", None, (0, b"9 "), 5, 6))


def test_cas_and_the_order_of_a_connection():
    first = (1, "set", A, "STORED", 1, 2)
    right(first, (2, "cas", (A, B), "STORED", 3, 4), (3, "cas", (A, C), "EXISTS", 5, 6))
    wrong(first, (2, "cas", (A, B), "STORED", 3, 6), (3, "cas", (A, C), "STORED", 4, 5))
    # Sent together: the second may not overtake the first.
    wrong((1, "set", A, "STORED", 1, 9), (1, "get", None, None, 2, 10))
    right((1, "set", A, "STORED", 1, 9), (2, "get", None, None, 2, 10))


def test_staleness_is_bounded():
    late = ((1, "set", A, "STORED", 1, 2, 0.0), (1, "set", B, UNKNOWN, 3, 4, 0.1),
            (2, "read", None, B, 5, 6, 0.2))
    right(*late, (2, "get", None, A, 7, 8, 0.5), staleness={"get": (0.4, 0.2)})
    wrong(*late, (2, "get", None, A, 7, 8, 0.9), staleness={"get": (0.4, 0.2)})
    wrong(*late, (2, "get", None, A, 7, 8, 0.5))
    known = (late[0], (1, "set", B, "STORED", 3, 4, 0.1))
    wrong(*known, (2, "get", None, A, 5, 6, 0.2), staleness={"get": (0.4, 0.2)})


SHOWS_COPIES = {"staleness": {"get": (0.4, 0.2), "timed": (0.2, 0.2)}}


def test_another_proxys_writes_are_missed_for_a_while_only():
    # Connection 9 is at proxy 1, the others are at proxy 0.
    first = (1, "set", A, "STORED", 1, 2, 0.0, 0)
    foreign = (9, "set", B, "STORED", 3, 4, 1.0, 1)
    copied = (first, foreign)
    right(*copied, (2, "get", None, A, 5, 6, 1.3), **SHOWS_COPIES)
    right(*copied, (2, "get", None, B, 5, 6, 1.3), (2, "get", None, A, 7, 8, 1.35), **SHOWS_COPIES)
    wrong(*copied, (2, "get", None, A, 5, 6, 1.5), **SHOWS_COPIES)
    wrong(*copied, (2, "get", None, A, 5, 6, 1.3))
    # Neither gets, cas and counts, nor another sort of get, show copies.
    wrong(*copied, (2, "read", None, A, 5, 6, 1.3), **SHOWS_COPIES)
    wrong(*copied, (2, "cas", (A, C), "STORED", 5, 6, 1.3), **SHOWS_COPIES)
    wrong(*copied, (2, "timed", None, A, 5, 6, 1.3), **SHOWS_COPIES)
    # A miss is missed for as long as a flight takes, not for as long as a copy lasts.
    made = (9, "set", A, "STORED", 1, 2, 1.0, 1)
    right(made, (2, "get", None, None, 3, 4, 1.1), **SHOWS_COPIES)
    wrong(made, (2, "get", None, None, 3, 4, 1.3), **SHOWS_COPIES)


def test_a_proxy_never_misses_its_own_writes():
    first = (9, "set", A, "STORED", 1, 2, 0.0, 1)
    own = (1, "set", B, "STORED", 3, 4, 1.0, 0)
    wrong(first, own, (2, "get", None, A, 5, 6, 1.1), **SHOWS_COPIES)
    right(first, own, (9, "get", None, A, 5, 6, 1.1, 1), **SHOWS_COPIES)
    right(first, own, (9, "set", C, "STORED", 5, 6, 1.1, 1), (2, "get", None, B, 7, 8, 1.2),
          **SHOWS_COPIES)
    wrong(first, own, (9, "set", C, "STORED", 5, 6, 1.1, 1), (2, "get", None, A, 7, 8, 1.2),
          **SHOWS_COPIES)
    for kind, argument, result in (("delete", None, "DELETED"), ("flush", None, "OK"),
                                   ("append", b"b", "STORED"), ("cas", (A, B), "STORED")):
        wrong(first, (1, kind, argument, result, 3, 4, 1.0, 0), (2, "get", None, A, 5, 6, 1.1),
              **SHOWS_COPIES)
    # Sent together with its write, before that was answered.
    wrong(first, (1, "set", B, "STORED", 3, 5, 1.0, 0), (1, "get", None, A, 4, 6, 1.0), **SHOWS_COPIES)
    right(first, (1, "set", B, "STORED", 3, 5, 1.0, 0), (2, "get", None, A, 4, 6, 1.0), **SHOWS_COPIES)
    # Overwritten from elsewhere before it was acknowledged, it may be copied all the same.
    beside = (first, (1, "set", B, "STORED", 3, 8, 1.0, 0), (9, "set", C, "STORED", 4, 5, 1.0, 1),
              (9, "read", None, C, 6, 7, 1.0, 1))
    right(*beside, (2, "get", None, B, 9, 10, 1.1), **SHOWS_COPIES)
    wrong(*beside, (2, "get", None, A, 9, 10, 1.1), **SHOWS_COPIES)


def test_lives_end_in_their_time():
    brief = (1, "set", A, "STORED", 1, 2, 10.0, 0, 2)
    right(brief, (2, "read", None, A, 3, 4, 11.8))
    wrong(brief, (2, "read", None, None, 3, 4, 11.8))
    right(brief, (2, "read", None, None, 3, 4, 12.05))
    right(brief, (2, "read", None, A, 3, 4, 12.05))
    wrong(brief, (2, "read", None, A, 3, 4, 12.2))
    wrong(brief, (2, "read", None, None, 3, 4, 12.05), (2, "read", None, A, 5, 6, 12.06))
    wrong(brief, (2, "delete", None, "DELETED", 3, 4, 12.2))
    right(brief, (2, "add", B, "STORED", 3, 4, 12.2))
    wrong(brief, (2, "add", B, "STORED", 3, 4, 11.8))
    assert check(history(brief, (2, "read", None, None, 3, 4, 12.05))) == (2, 1)
    assert check(history(brief, (2, "read", None, None, 3, 4, 12.2))) == (2, 1)
    assert check(history(brief, (2, "delete", None, "DELETED", 3, 4, 11.0))) == (2, 0)
    # Copies end as late as they may be old.
    right(brief, (2, "get", None, A, 3, 4, 12.4), **SHOWS_COPIES)
    wrong(brief, (2, "get", None, A, 3, 4, 12.6), **SHOWS_COPIES)
    wrong(brief, (2, "get", None, None, 3, 4, 11.8), **SHOWS_COPIES)


def test_lives_are_changed_and_told():
    brief = (1, "set", A, "STORED", 1, 2, 10.0, 0, 2)
    touched = (2, "touch", None, "TOUCHED", 3, 4, 11.0, 0, 3)
    right(brief, touched, (3, "read", None, A, 5, 6, 13.8))
    wrong(brief, touched, (3, "read", None, None, 5, 6, 13.8))
    wrong(brief, touched, (3, "read", None, A, 5, 6, 14.2))
    wrong(brief, (2, "touch", None, "TOUCHED", 3, 4, 12.2, 0, 3))
    wrong(brief, (2, "gat", None, None, 3, 4, 11.0, 0, 3))
    right(brief, (2, "gat", None, A, 3, 4, 11.0, 0, 3), (3, "read", None, A, 5, 6, 13.8))
    right(brief, (2, "gat", None, UNKNOWN, 3, 4, 11.0, 0, 3), (3, "read", None, A, 5, 6, 13.8))
    right(brief, (2, "gat", None, UNKNOWN, 3, 4, 11.0, 0, 3), (3, "read", None, None, 5, 6, 12.2))
    # What changes an item leaves its life, and undoes a touch that it overlaps, but no other.
    more = (4, "append", b"+", "STORED", 5, 6, 11.1)
    right(brief, touched, more, (3, "read", None, (0, b"a+"), 7, 8, 13.8))
    wrong(brief, touched, more, (3, "read", None, None, 7, 8, 13.8))
    slow = (4, "append", b"+", "STORED", 2.5, 6, 11.0)
    right(brief, touched, slow, (3, "read", None, None, 7, 8, 13.8))
    wrong(brief, touched, slow, (3, "read", None, None, 7, 8, 11.8))
    # The seconds that are left, begun ones included.
    right(brief, (2, "life", None, 1, 3, 4, 11.5))
    wrong(brief, (2, "life", None, 2, 3, 4, 11.5))
    right(brief, touched, (2, "life", None, 3, 5, 6, 11.5))
    wrong(brief, touched, (2, "life", None, 1, 5, 6, 11.5))
    right((1, "set", A, "STORED", 1, 2), (2, "life", None, 3000, 3, 4))
    wrong((1, "set", A, "STORED", 1, 2), (2, "life", None, 3, 3, 4))


def test_what_was_flushed_stays_away():
    first, flush = (1, "set", A, "STORED", 1, 2), (2, "flush", None, "OK", 3, 4)
    right(first, flush, (3, "get", None, None, 5, 6))
    wrong(first, flush, (3, "get", None, A, 5, 6))
    wrong(first, flush, (3, "add", B, "NOT_STORED", 5, 6))
    wrong(first, (2, "flush", None, FAILED, 3, 4), (3, "get", None, None, 5, 6))
    late = (first, (2, "flush", None, UNKNOWN, 3, 4), (3, "get", None, A, 5, 6),
            (3, "get", None, None, 7, 8))
    right(*late)
    wrong(*late, (3, "get", None, A, 9, 10))
    # On the other proxy a copy of it may last.
    right(first, (2, "flush", None, "OK", 3, 4, 4.0, 1), (3, "get", None, A, 5, 6, 4.2), **SHOWS_COPIES)
    wrong(first, (2, "flush", None, "OK", 3, 4, 4.0, 1), (3, "get", None, A, 5, 6, 4.6), **SHOWS_COPIES)


def test_tokens_of_deletes_and_counts_match_or_not():
    first = (1, "set", A, "STORED", 1, 2)
    right(first, (2, "delete-if", A, "DELETED", 3, 4), (3, "get", None, None, 5, 6))
    wrong(first, (2, "delete-if", B, "DELETED", 3, 4))
    wrong(first, (2, "delete-if", A, "EXISTS", 3, 4))
    wrong(first, (2, "delete-if", B, "EXISTS", 3, 4), (3, "get", None, None, 5, 6))
    wrong(first, (2, "delete-if", A, "NOT_FOUND", 3, 4))
    # What was written between its two calls goes with it.
    right(first, (2, "delete-if", A, "DELETED", 3, 6), (3, "set", B, "STORED", 4, 5),
          (3, "get", None, None, 7, 8))
    ten = (1, "set", (0, b"10"), "STORED", 1, 2)
    right(ten, (2, "incr", (1, None, (0, b"10")), 11, 3, 4))
    wrong(ten, (2, "incr", (1, None, (0, b"9")), 11, 3, 4))
    wrong(ten, (2, "incr", (1, None, (0, b"10")), "EXISTS", 3, 4))
    right(ten, (2, "incr", ONE, COUNTED, 3, 4), (3, "get", None, (0, b"11"), 5, 6))
    wrong(ten, (2, "incr", ONE, COUNTED, 3, 4), (3, "get", None, (0, b"10"), 5, 6))
    wrong((2, "incr", ONE, COUNTED, 3, 4))
    right((2, "incr", (1, 5, None), 5, 3, 4), (3, "get", None, (0, b"5"), 5, 6))
    wrong((2, "incr", (1, 5, None), 6, 3, 4))
    wrong(ten, (2, "incr", (1, 5, None), 5, 3, 4))


def test_a_dialect_takes_no_wrong_reply():
    """A token that stood for another item, another command's key or opaque, a word out of place."""
    soak = Soak(1, 0)
    key = Key(b"k", False, False)
    one = Connection.__new__(Connection)
    one.soak, one.number, one.proxy = soak, 1, 0
    get = dict(tells_token=True)

    def says(dialect, kind, reply, token=None, **told):
        one.dialect, one.heard, one.expected = dialect, reply, collections.deque()
        argument = (A, B) if kind == "cas" else None
        one.expected.append(one._command(kind, [key], argument, token=token, **told))
        one._take()

    def refuses(*args, **told):
        try:
            says(*args, **told)
        except Violation:
            return
        raise AssertionError(f"accepted: {args}")
    text, meta, packets = DIALECTS

    def next_opaque():
        return soak.opaques + 1
    says(meta, "read", b"VA 1 kk O%d c7 f0\r\na\r\n" % next_opaque(), **get)
    says(text, "read", b"VALUE k 0 1 7\r\na\r\nEND\r\n", **get)
    refuses(meta, "read", b"VA 1 kk O%d c7 f0\r\nb\r\n" % next_opaque(), **get)
    refuses(text, "read", b"VALUE k 0 1 7\r\nb\r\nEND\r\n", **get)
    refuses(packets, "get", packet_of(next_opaque(), b"k", b"b", 7))
    says(packets, "get", packet_of(next_opaque(), b"k", b"a", 7))
    refuses(packets, "get", packet_of(next_opaque(), b"j", b"a", 7))
    refuses(packets, "get", packet_of(next_opaque() + 1, b"k", b"a", 7))
    refuses(meta, "read", b"VA 1 kj O%d c7 f0\r\na\r\n" % next_opaque(), **get)
    refuses(meta, "read", b"VA 1 kk O%d c7 f0\r\na\r\n" % (next_opaque() + 1), **get)
    refuses(meta, "read", b"VA 1 kk O%d c7 f0 W\r\na\r\n" % next_opaque(), **get)
    refuses(meta, "set", b"NF kk O%d\r\n" % next_opaque(), value=b"a")
    refuses(text, "set", b"EXISTS\r\n", value=b"a")
    # The model knows the item of each token, so a cas that should not have matched is found there.
    wrong((1, "set", A, "STORED", 1, 2), (1, "set", B, "STORED", 3, 4), (2, "cas", (A, C), "STORED", 5, 6))


def test_help_is_told_and_nothing_runs():
    told = subprocess.run([sys.executable, os.path.abspath(__file__), "--help"], capture_output=True,
                          text=True, timeout=60)
    assert told.returncode == 0 and "--minutes" in told.stdout, told
    assert " passed, " not in told.stdout, told


def packet_of(opaque, key, value, token):
    return binary.packet(binary.GETK, key, value, b"\0\0\0\0", token, opaque.to_bytes(4, "big"), magic=0x81)


if __name__ == "__main__":
    main(globals())
