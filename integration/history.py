"""Whether what clients saw of one key can be what one memcached would have shown them.

A history is a list of operations, each with the moments it was sent and answered. It is right if every
operation can be given an instant between the two (the promise's own instants where a command is two
calls), so that a plain model, told of the operations in that order, gives the same answers
(Herlihy and Wing, "Linearizability", TOPLAS 1990). Operations of one connection keep their order, but
for gets that follow each other without waiting: those go to the service side by side.

An operation whose outcome nobody told (UNKNOWN) may have its effect once, at any time after it was sent,
or never. One that failed for certain (FAILED) has none. The search keeps every configuration that
explains what was answered so far, and takes steps only when an answer demands one (G. Lowe, "Testing
for linearizability", 2017): a configuration is

    (the item, steps taken of operations not answered yet, unknown operations still to come)

`staleness`: where a proxy answers from copies or flights it may miss, for that long, what came from
elsewhere. A write of unknown outcome that happens late comes from elsewhere in that sense, so after
the first one plain gets are held only against what was possible within that time.
"""
import collections

UNKNOWN, FAILED = "unknown", "failed"
CONFIGURATIONS_MAX = 4000  # Past them a key is given up, and counted: nobody waits for ever.

ANY = object()
READS = ("get", "read", "gat", "touch", "present")
REFUSALS = ("NOT_STORED", "NOT_FOUND", "EXISTS")


class Violation(Exception):
    pass


class TooAmbiguous(Exception):
    pass


class Operation:
    """`result` is what was answered, UNKNOWN, or FAILED. `sent` and `answered` are positions in one
    order of events; `sent_at` and `answered_at` are seconds. `connection` tells whose order it keeps.
    """

    def __init__(self, kind, argument, connection, sent, sent_at=0.0):
        self.kind, self.argument, self.connection = kind, argument, connection
        self.sent, self.sent_at = sent, sent_at
        self.answered = self.answered_at = None
        self.result = UNKNOWN
        self.before = ()  # Operations of this connection and key that come first.

    def end(self, result, answered, answered_at=0.0):
        self.result, self.answered, self.answered_at = result, answered, answered_at
        return self

    def __repr__(self):
        return (f"[{self.sent}, {self.answered}] {self.connection}: {self.kind} {self.argument!r} "
                f"-> {self.result!r}")

    def steps(self):
        """(kind, argument, answer) for each instant at which the operation looks or changes."""
        if self.kind == "delete":  # Asks, then deletes whatever is there by then.
            return (("present", None, self.result == "DELETED"), ("clear", None, ANY))
        if self.kind == "gat":
            if self.result is None:
                return (("get", None, None),)
            return (("get", None, self.result), ("present", None, True))
        return ((self.kind, self.argument, self.result),)

    def effect(self):
        """What an unknown outcome may have done, or None."""
        if self.kind in READS:
            return None
        return ("clear", None) if self.kind == "delete" else (self.kind, self.argument)


def model(kind, argument, item):
    """(answer, item afterwards) of one step. An item is (flags, bytes), or None."""
    if kind in ("get", "read"):
        return item, item
    if kind == "present":
        return item is not None, item
    if kind == "touch":
        return "TOUCHED" if item else "NOT_FOUND", item
    if kind == "set":
        return "STORED", argument
    if kind == "clear":
        return "OK", None
    if kind in ("add", "replace"):
        stored = (item is None) == (kind == "add")
        return ("STORED", argument) if stored else ("NOT_STORED", item)
    if kind == "cas":
        expected, new = argument
        if item is None:
            return "NOT_FOUND", None
        return ("STORED", new) if item == expected else ("EXISTS", item)
    if kind in ("append", "prepend"):
        if item is None:
            return "NOT_STORED", None
        flags, old = item
        return "STORED", (flags, old + argument if kind == "append" else argument + old)
    if kind in ("incr", "decr"):
        if item is None:
            return "NOT_FOUND", None
        flags, old = item
        number = int(old)
        number = (number + argument) % 2 ** 64 if kind == "incr" else max(0, number - argument)
        return number, (flags, b"%d" % number if kind == "incr" and len(b"%d" % number) >= len(old)
                        else (b"%d" % number).ljust(len(old)))
    raise AssertionError(kind)


def accepts(kind, answer, modelled):
    if answer is ANY or answer == modelled:
        return True
    # Between the two calls of a cas another client's delete looks like another client's write.
    return kind == "cas" and answer == "EXISTS" and modelled == "NOT_FOUND"


class Checker:
    def __init__(self, operations, staleness=None, name=""):
        self.name, self.staleness, self.all = name, staleness, operations
        self.operations = [op for op in operations if op.result != FAILED
                           and not (op.result == UNKNOWN and op.effect() is None)]
        first_unknown = min((op.sent for op in self.operations if op.result == UNKNOWN),
                            default=None)
        self.weak = set()
        if staleness is not None and first_unknown is not None:
            self.weak = {op for op in self.operations if op.kind == "get" and
                         op.result != UNKNOWN and op.answered > first_unknown}
        self.pending = []
        self.configurations = {(None, frozenset(), ())}
        self.recent = collections.deque()  # (when, items possible until then, those left after it)

    def check(self):
        """Raises Violation, or TooAmbiguous. Returns the number of answers that were explained."""
        events = []
        for op in self.operations:
            events.append((op.sent, 0, op))
            if op.result != UNKNOWN:
                events.append((op.answered, 1, op))
        explained = 0
        for _, answer, op in sorted(events, key=lambda event: event[:2]):
            if op.result == UNKNOWN:
                self._may_happen(op)
            elif op in self.weak:
                if answer:
                    self._check_weak(op)
                    explained += 1
            elif answer:
                self._explain(op)
                explained += 1
            else:
                self.pending.append(op)
                self.configurations = {self._look(c) for c in self.configurations}
        return explained

    def _may_happen(self, op):
        effect = op.effect()
        self.configurations = {(item, taken, tuple(sorted((*maybe, effect), key=repr)))
                               for item, taken, maybe in self.configurations}

    @staticmethod
    def _taken(taken, op):
        return next((n for one, n in taken if one is op), 0)

    def _next_step(self, configuration, op):
        """The step that `op` takes next, or None: it is through, or another comes first."""
        _, taken, _ = configuration
        steps = op.steps()
        done = self._taken(taken, op)
        if done == len(steps):
            return None
        for one in op.before:
            if one in self.pending and self._taken(taken, one) < len(one.steps()):
                return None
        return steps[done]

    def _step(self, configuration, op, item):
        _, taken, maybe = configuration
        done = self._taken(taken, op)
        return item, (taken - {(op, done)}) | {(op, done + 1)}, maybe

    def _look(self, configuration):
        """Takes every step that only looks and likes what it sees: the sooner the better."""
        again = True
        while again:
            again = False
            for op in self.pending:
                step = self._next_step(configuration, op)
                if step is None:
                    continue
                kind, argument, answer = step
                if kind not in READS and answer not in REFUSALS:
                    continue
                modelled, _ = model(kind, argument, configuration[0])
                if accepts(kind, answer, modelled):
                    configuration = self._step(configuration, op, configuration[0])
                    again = True
        return configuration

    def _onward(self, configuration):
        """Every configuration that one step of somebody leads to."""
        item, taken, maybe = configuration
        for op in self.pending:
            step = self._next_step(configuration, op)
            if step is None:
                continue
            kind, argument, answer = step
            modelled, after = model(kind, argument, item)
            if accepts(kind, answer, modelled):
                yield self._look(self._step(configuration, op, after))
        for at, (kind, argument) in enumerate(maybe):
            if at > 0 and maybe[at - 1] == maybe[at]:
                continue
            _, after = model(kind, argument, item)
            if after != item:
                yield self._look((after, taken, maybe[:at] + maybe[at + 1:]))

    def _search(self, until):
        """The first configurations of every path for which until() holds."""
        found, seen = set(), set(self.configurations)
        ahead = list(seen)
        while ahead:
            configuration = ahead.pop()
            if until(configuration):
                found.add(configuration)
                continue
            for onward in self._onward(configuration):
                if onward not in seen:
                    seen.add(onward)
                    ahead.append(onward)
            if len(seen) > CONFIGURATIONS_MAX:
                raise TooAmbiguous(self.name)
        return found, {configuration[0] for configuration in seen}

    def _explain(self, op):
        through = len(op.steps())
        # Everything possible by now, for the reads that may be late; else what leads to the answer.
        possible = self._search(lambda c: False)[1] if self.weak else set()
        found, items = self._search(lambda c: self._taken(c[1], op) == through)
        if not found:
            raise self._violation(op, items)
        self.pending.remove(op)
        self.configurations = _without_dominated(
            {(item, taken - {(op, through)}, maybe) for item, taken, maybe in found})
        if self.weak:
            self._remember(op, possible)

    def _check_weak(self, op):
        _, items = self._search(lambda c: False)
        self._remember(op, items)
        since = op.sent_at - self.staleness
        possible, newest_older = set(), set()
        for when, until, left in self.recent:
            if when < since:
                newest_older = left
            else:
                possible |= until
        if op.result not in possible | newest_older:
            raise self._violation(op, possible | newest_older)

    def _remember(self, op, items):
        left = {configuration[0] for configuration in self.configurations}
        self.recent.append((op.answered_at, items, left))
        # What was possible before a window that any later read can have.
        while len(self.recent) > 400:
            self.recent.popleft()

    def _violation(self, op, items):
        near = [one for one in self.all if one.sent <= op.answered and
                (one.answered is None or one.answered >= op.sent - 30)]
        return Violation(f"{self.name}: {op}\n  possible: {sorted(map(repr, items))[:8]}\n  " +
                         "\n  ".join(map(repr, sorted(near, key=lambda o: o.sent)[-40:])))


def _without_dominated(configurations):
    """Of two that differ in what may still happen, the one of which more may explains more."""
    if len(configurations) < 8:
        return configurations
    groups = collections.defaultdict(list)
    for item, taken, maybe in configurations:
        groups[item, taken].append(collections.Counter(maybe))
    kept = set()
    for (item, taken), some in groups.items():
        some.sort(key=lambda maybe: -sum(maybe.values()))
        largest = []
        for maybe in some:
            if not any(not maybe - other for other in largest):
                largest.append(maybe)
        for maybe in largest:
            kept.add((item, taken, tuple(sorted(maybe.elements(), key=repr))))
    return kept


def check(operations, staleness=None, name=""):
    """Raises Violation if they cannot be explained; returns how many answers were."""
    last = collections.defaultdict(list)  # Connection -> a write and the reads sent since.
    for op in sorted(operations, key=lambda one: one.sent):
        sent = last[op.connection]
        if op.kind in ("get", "read"):
            op.before = tuple(one for one in sent[:1] if one.kind not in ("get", "read"))
            sent.append(op)
        else:
            op.before = tuple(sent)
            last[op.connection] = [op]
    return Checker(operations, staleness, name).check()
