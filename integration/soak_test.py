#!/usr/bin/env python3
"""momento_proxy under random commands and random faults, every reply held against a model.

    integration/soak_test.py [BIN_DIR] [--minutes 10] [--seed N]     without --minutes: 12 seconds

One thread drives all connections, so "sent before" and "answered before" are certain. Keys are given
up for new ones when much about them is unknown, or when the backend restarts, which loses its memory;
then history.py looks at what happened to them.
"""
import collections
import contextlib
import os
import random
import re
import selectors
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


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

from backend import Backend, fronted, nothing_left_behind, recovery  # noqa: E402
from harness import main  # noqa: E402
from history import (FAILED, UNKNOWN, Operation, TooAmbiguous, Violation, check)  # noqa: E402

DEADLINE = 0.4
STALENESS = 0.4
SLACK = 0.25  # How much longer a busy machine may take to look at its clock.
SLOTS = 5
COUNTERS = 2  # Of those slots.
OPERATIONS_MAX, UNKNOWN_MAX = 250, 4  # Of one key.
DEPTH = 5

# Label, settings of its [[cache]], staleness to allow. A flight may be joined for half its deadline.
CACHES = (
    ("coalesced", ("reads=balanced",), DEADLINE / 2),
    ("strict", ("coalesce=false", "batch=off"), None),
    ("near", ("near_size=4MB", f"near_staleness={int(STALENESS * 1000)}ms"), STALENESS),
    ("nonce", ("envelope=nonce", "coalesce=false"), None),
)
# Statuses of a service that may have done what was asked, and of one that looked and said no.
MAYBE_DONE = "unavailable internal unknown cancelled deadline-exceeded aborted data-loss".split()
REFUSED = ("resource-exhausted permission-denied unauthenticated not-found unimplemented "
           "invalid-argument failed-precondition").split()
CALLS = ("get", "get-batch", "get-with-hash", "set-if-hash", "set-if", "delete", "keys-exist",
         "update-ttl", "item-get-ttl")


class Key:
    def __init__(self, name, is_counter):
        self.name, self.is_counter = name, is_counter
        self.operations, self.unknown, self.in_flight = [], 0, 0
        self.tokens = {}  # cas token -> item


class Slots:
    """The keys of one cache that are in use, and those whose last answers are still to come."""

    def __init__(self, soak, label, port, staleness):
        self.soak, self.label, self.port, self.staleness = soak, label, port, staleness
        self.made = 0
        self.keys = [self._key(slot) for slot in range(SLOTS)]
        self.leaving = []

    def _key(self, slot):
        self.made += 1
        return Key(f"{self.label}-{slot}-{self.made}", slot < COUNTERS)

    def tidy(self):
        for slot, key in enumerate(self.keys):
            if len(key.operations) >= OPERATIONS_MAX or key.unknown >= UNKNOWN_MAX:
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
        self.keys = [self._key(slot) for slot in range(SLOTS)]


class Connection:
    """Sends a few commands at a time and reads their replies, one after the other."""

    def __init__(self, soak, slots, number):
        self.soak, self.slots, self.number = soak, slots, number
        self.heard = b""
        self.expected = collections.deque()  # (what kind of reply, operations)
        self.socket = socket.create_connection(("127.0.0.1", slots.port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.asked_at = 0.0

    def ask(self):
        out = [self._command() for _ in range(self.soak.random.randint(1, DEPTH))]
        self.asked_at = time.monotonic()
        self.socket.send(b"".join(out))

    def _operation(self, key, kind, argument=None):
        op = Operation(kind, argument, self.number, self.soak.tick(), time.monotonic())
        op.key = key
        key.operations.append(op)
        key.in_flight += 1
        return op

    def _value(self):
        self.soak.values += 1
        return b"v%d." % self.soak.values

    def _command(self):
        rng = self.soak.random
        key = rng.choice(self.slots.keys)
        name = key.name.encode()
        shape = "line"
        chance = rng.random()
        if chance < 0.30:
            keys = rng.sample(self.slots.keys, rng.choice((1, 1, 1, 2, 3)))
            verb = "gets" if rng.random() < 0.4 else "get"
            # gets goes past copies and flights: it is no plain get.
            kind = "get" if verb == "get" else "read"
            ops = [self._operation(one, kind) for one in keys]
            self.expected.append((verb, ops))
            return f"{verb} {' '.join(one.name for one in keys)}\r\n".encode()
        if chance < 0.35:
            op = self._operation(key, "gat")
            line, shape = b"gat 300 %s\r\n" % name, "get"
        elif chance < 0.39:
            op = self._operation(key, "touch")
            line = b"touch %s 300\r\n" % name
        elif chance < 0.47:
            op = self._operation(key, "delete")
            line = b"delete %s\r\n" % name
        elif key.is_counter and chance < 0.80:
            kind, delta = rng.choice((("incr", 1), ("incr", 1), ("incr", 7), ("decr", 1)))
            op = self._operation(key, kind, delta)
            line, shape = b"%s %s %d\r\n" % (kind.encode(), name, delta), "number"
        elif key.tokens and not key.is_counter and chance < 0.60:
            # Most tokens are out of date by now, and some of the latest are not.
            token, item = rng.choice(list(key.tokens.items())[-3:])
            new = (rng.choice((0, 5)), self._value())
            op = self._operation(key, "cas", (item, new))
            line = b"cas %s %d 300 %d %d\r\n%s\r\n" % (name, new[0], len(new[1]), token, new[1])
        elif not key.is_counter and chance < 0.70:
            kind, value = rng.choice(("append", "prepend")), self._value()
            op = self._operation(key, kind, value)
            line = b"%s %s 0 300 %d\r\n%s\r\n" % (kind.encode(), name, len(value), value)
        else:
            kind = rng.choice(("set", "set", "add", "replace"))
            value = b"%d" % rng.randrange(1000) if key.is_counter else self._value()
            item = (rng.choice((0, 0, 7)), value)
            op = self._operation(key, kind, item)
            quiet = kind == "set" and rng.random() < 0.05
            line = b"%s %s %d 300 %d%s\r\n%s\r\n" % (kind.encode(), name, item[0], len(value),
                                                    b" noreply" if quiet else b"", value)
            if quiet:
                self.end(op, UNKNOWN)
                return line
        self.expected.append((shape, [op]))
        return line

    def end(self, op, result):
        op.end(result, self.soak.tick(), time.monotonic())
        op.key.in_flight -= 1
        if result == UNKNOWN and op.effect() is not None:
            op.key.unknown += 1
        self.soak.outcomes["unknown" if result == UNKNOWN else
                           "failed" if result == FAILED else "answered"] += 1

    def on_readable(self):
        data = self.socket.recv(65536)
        if not data:
            raise Violation(f"{self.slots.label}: the proxy closed a connection")
        self.heard += data
        while self.expected and self._take():
            pass
        if not self.expected and self.heard:
            raise Violation(f"{self.slots.label}: a reply to nothing: {self.heard[:80]}")

    def _line(self):
        line, found, rest = self.heard.partition(b"\r\n")
        if not found:
            return None
        self.heard = rest
        return line

    def _take(self):
        """The reply to the oldest command, if all of it is there."""
        shape, ops = self.expected[0]
        if shape in ("get", "gets"):
            return self._take_values(shape, ops)
        line = self._line()
        if line is None:
            return False
        self.expected.popleft()
        op = ops[0]
        if line.startswith(b"SERVER_ERROR "):
            # What is not said to be unknown has not happened.
            self.end(op, UNKNOWN if line.endswith(b"outcome unknown") else FAILED)
        elif shape == "number" and line.strip().isdigit():
            self.end(op, int(line))
        elif line.decode() in ANSWERS[op.kind]:
            self.end(op, line.decode())
        else:
            raise Violation(f"{op.key.name}: {op.kind} was answered {line}")
        return True

    def _take_values(self, verb, ops):
        at, found = 0, {}
        while True:
            end = self.heard.find(b"\r\n", at)
            if end < 0:
                return False
            words = self.heard[at:end].split()
            at = end + 2
            if words[0] != b"VALUE":
                break
            size = int(words[3])
            if len(self.heard) < at + size + 2:
                return False
            token = int(words[4]) if verb == "gets" else None
            found[words[1].decode()] = ((int(words[2]), self.heard[at:at + size]), token)
            at += size + 2
        self.expected.popleft()
        last, self.heard = self.heard[:at - 2], self.heard[at:]
        if words[0] == b"SERVER_ERROR":
            for op in ops:
                self.end(op, FAILED)
            return True
        if words != [b"END"] or not set(found) <= {op.key.name for op in ops}:
            raise Violation(f"{[op.key.name for op in ops]} were answered {last[-200:]}")
        for op in ops:
            item, token = found.get(op.key.name, (None, None))
            if token is not None:
                self._check_token(op.key, token, item)
            self.end(op, item)
        return True

    def _check_token(self, key, token, item):
        if key.tokens.setdefault(token, item) != item:
            raise Violation(f"{key.name}: token {token} was of {key.tokens[token]}, now of {item}")
        key.tokens[token] = key.tokens.pop(token)  # The latest is last.

    def leave(self):
        """Closes with commands under way."""
        for _, ops in self.expected:
            for op in ops:
                self.end(op, UNKNOWN)
        self.socket.close()


ANSWERS = {
    "set": ("STORED",), "add": ("STORED", "NOT_STORED"), "replace": ("STORED", "NOT_STORED"),
    "append": ("STORED", "NOT_STORED"), "prepend": ("STORED", "NOT_STORED"),
    "cas": ("STORED", "EXISTS", "NOT_FOUND"), "delete": ("DELETED", "NOT_FOUND"),
    "touch": ("TOUCHED", "NOT_FOUND"), "incr": ("NOT_FOUND",), "decr": ("NOT_FOUND",),
}


class Soak:
    def __init__(self, seed, seconds, pause=0.004, connections=3):
        self.random, self.seconds, self.pause = random.Random(seed), seconds, pause
        self.per_cache = connections
        self.moment = self.values = self.explained = self.keys = self.ambiguous = 0
        self.outcomes, self.faults = collections.Counter(), collections.Counter()
        self.recoveries = []

    def tick(self):
        self.moment += 1
        return self.moment

    def judge(self, slots, key):
        allowed = None if slots.staleness is None else slots.staleness + SLACK
        self.keys += 1
        try:
            self.explained += check(key.operations, allowed, key.name)
        except TooAmbiguous:
            self.ambiguous += 1

    def run(self, backend, ports, sabotage=None):
        self.backend = backend
        self.caches = [Slots(self, label, port, staleness)
                       for (label, _, staleness), port in zip(CACHES, ports)]
        self.selector = selectors.DefaultSelector()
        self.connections = 0
        for slots in self.caches:
            for _ in range(self.per_cache):
                self._connect(slots)
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

    def _connect(self, slots):
        self.connections += 1
        one = Connection(self, slots, self.connections)
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
            self.recoveries.append(recovery(self.caches[0].port))
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
        self._connect(one.slots)

    def _change(self):
        """Another fault, or none."""
        if self.thaw_at is not None or self.start_at is not None:
            return
        rng = self.random
        kind = rng.choices(("calm", "status", "delay", "reset", "mixed", "freeze", "restart"),
                           (6, 5, 4, 3, 3, 1.5, 0.7))[0]
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
        self.recoveries.append(recovery(self.caches[0].port))
        quiet = time.monotonic() + 1
        while time.monotonic() < quiet or any(entry.data.expected for entry in
                                              self.selector.get_map().values()):
            self._turn(asking=False)
        for entry in list(self.selector.get_map().values()):
            one = entry.data
            for key in one.slots.keys:
                op = one._operation(key, "read")
                one.expected.append(("gets", [op]))
                one.socket.send(b"gets %s\r\n" % key.name.encode())
            one.asked_at = time.monotonic()
        while any(entry.data.expected for entry in self.selector.get_map().values()):
            self._turn(asking=False)
        for entry in list(self.selector.get_map().values()):
            self.selector.unregister(entry.data.socket)
            entry.data.leave()
        for slots in self.caches:
            for key in slots.keys + slots.leaving:
                self.judge(slots, key)

    def report(self):
        print(f"{dict(self.outcomes)}, {self.explained} answers explained, {self.keys} keys, "
              f"{self.ambiguous} too ambiguous; faults {dict(self.faults)}; slowest recovery "
              f"{max(self.recoveries) * 1000:.0f} ms")


@contextlib.contextmanager
def soaked(workers=2):
    with Backend() as backend:
        settings = []
        for at, (label, some, _) in enumerate(CACHES):
            settings += [f"cache[{at}].port=0", f"cache[{at}].cache_name={label}",
                         f"cache[{at}].get_error=error", f"cache[{at}].deadline={DEADLINE}s",
                         *(f"cache[{at}].{one}" for one in some)]
        with fronted(backend, *settings, workers=workers, helpers=True) as front:
            front.wait_log(r"(?s)(memcache on .*){%d}" % len(CACHES))
            yield backend, front, [int(port) for port in
                                  re.findall(r"memcache on \S+:(\d+)\b", front.log())]


def test_every_reply_is_explained():
    seconds = MINUTES * 60 or 12
    print(f"seed {SEED}, {seconds:.0f} s")
    with soaked() as (backend, front, ports):
        recovery(ports[0])
        soak = Soak(SEED, seconds)
        with nothing_left_behind(front, grown_kb=32 * 1024):
            soak.run(backend, ports)
        soak.report()
        assert soak.explained > 20 * seconds, soak.explained
        assert soak.ambiguous * 20 <= soak.keys, "too much was left unchecked"


def test_a_foreign_write_is_found():
    """The checker fails: somebody whom the model does not know overwrites what was acknowledged."""
    with soaked() as (backend, _, ports):
        recovery(ports[0])
        soak = Soak(1, 4)
        soak._change = lambda: None
        stranger = socket.create_connection(("127.0.0.1", ports[1]), 10)
        overwritten = set()

        def sabotage(running):
            key = running.caches[1].keys[-1]
            if len(key.operations) > 50:
                overwritten.add(key.name)
                stranger.sendall(b"set %s 0 300 7\r\nstrange\r\n" % key.name.encode())
        try:
            soak.run(backend, ports, sabotage)
        except Violation as found:
            # By the value, or by whatever else follows from it: something known to be deleted is
            # there to be deleted again, appended to or added in vain.
            assert str(found).split(":")[0] in overwritten, (overwritten, found)
        else:
            raise AssertionError("nobody noticed")


# --- The checker by itself.

def history(*lines):
    """(connection, kind, argument, result, sent, answered[, seconds])"""
    ops = []
    for connection, kind, argument, result, sent, answered, *at in lines:
        op = Operation(kind, argument, connection, sent, at[0] if at else sent)
        ops.append(op.end(result, answered, at[0] if at else answered))
    return ops


def right(*lines, **how):
    check(history(*lines), **how)


def wrong(*lines, **how):
    try:
        check(history(*lines), **how)
    except Violation:
        return
    raise AssertionError(f"accepted: {lines}")


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
    right(zero, (1, "incr", 1, UNKNOWN, 3, 4), (1, "incr", 1, 12, 5, 6))
    right(zero, (1, "incr", 1, UNKNOWN, 3, 4), (1, "incr", 1, 11, 5, 6))
    wrong(zero, (1, "incr", 1, UNKNOWN, 3, 4), (1, "incr", 1, 13, 5, 6))
    wrong(zero, (1, "incr", 1, 11, 3, 6), (2, "incr", 1, 11, 4, 5))
    right(zero, (1, "decr", 1, 9, 3, 4), (1, "get", None, (0, b"9 "), 5, 6))


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
    right(*late, (2, "get", None, A, 7, 8, 0.5), staleness=0.4)
    wrong(*late, (2, "get", None, A, 7, 8, 0.9), staleness=0.4)
    wrong(*late, (2, "get", None, A, 7, 8, 0.5))
    known = (late[0], (1, "set", B, "STORED", 3, 4, 0.1))
    wrong(*known, (2, "get", None, A, 5, 6, 0.2), staleness=0.4)


if __name__ == "__main__":
    main(globals())
