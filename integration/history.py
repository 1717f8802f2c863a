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

Lives. What was stored for N seconds ends N seconds after some instant of the store: that is a window,
as wide as the store was slow, and TOLERANCE on both sides. Before it the item is there, after it is
gone, within it may end, which is a step of nobody's. What is only changed (incr, append) lives on as
the life was read, and ends later by as much as the change took; a touch that falls in between is undone.

Staleness. Where a proxy answers from copies or flights, a get may miss, for that long, what came from
elsewhere: from another proxy, or from a write of unknown outcome that happens late. It never misses
what its own proxy acknowledged before the get was sent. So such a get is held against what was
possible within that time, and since the last acknowledged write of its proxy.
"""
import collections
import math

UNKNOWN, FAILED = "unknown", "failed"
CONFIGURATIONS_MAX = 4000  # Past them a key is given up, and counted: nobody waits for ever.
# Seconds. Lives are counted by the service, in milliseconds of a clock that it looks at between our
# sending and our hearing; how slow anybody is does not come into it.
TOLERANCE = 0.1
FOREVER = (math.inf, math.inf)
LONG = 100  # Seconds that are for ever, in a test.

ANY = object()
LOOKS = ("get", "timed", "read", "present", "match", "life")
GETS = ("get", "timed", "read", "life")  # Of one connection, these run side by side.
UPDATES = ("incr", "decr", "append", "prepend")  # Read, changed and stored.
REFUSALS = ("NOT_STORED", "NOT_FOUND", "EXISTS")
COUNTED = "COUNTED"  # To a number that was not told.

# Lasts from somewhere in `life` (not before, not after), in seconds. `former`: lives that an update
# under way may have read before they were changed, and may bring back.
Item = collections.namedtuple("Item", "flags value life former")
# `since`, when it can have begun; `span`, how much later than it read it may store.
Step = collections.namedtuple("Step", "kind argument answer life since span")


class Violation(Exception):
    pass


class TooAmbiguous(Exception):
    pass


class Operation:
    """`result` is what was answered, UNKNOWN, or FAILED. `sent` and `answered` are positions in one
    order of events; `sent_at` and `answered_at` are seconds. `connection` tells whose order it keeps,
    `proxy` whose writes it may not miss. `ttl`: the seconds that the item is given; None is for ever.
    """

    def __init__(self, kind, argument, connection, sent, sent_at=0.0, ttl=None, proxy=0):
        self.kind, self.argument, self.connection = kind, argument, connection
        self.sent, self.sent_at = sent, sent_at
        self.ttl, self.proxy = ttl, proxy
        self.answered = self.answered_at = None
        self.result = UNKNOWN
        self.before = ()  # Operations of this connection and key that come first.

    def end(self, result, answered, answered_at=0.0):
        self.result, self.answered, self.answered_at = result, answered, answered_at
        return self

    def __repr__(self):
        life = "" if self.ttl is None else f" for {self.ttl:.3f} s"
        return (f"[{self.sent}, {self.answered}] [{self.sent_at:.3f}, {self.answered_at or 0:.3f}] "
                f"{self.connection}/{self.proxy}: {self.kind} {self.argument!r}{life} "
                f"-> {self.result!r}")

    def steps(self, mortal=False):
        """A Step for each instant at which the operation looks or changes. Times are told of keys
        that have ends alone: elsewhere they would only tell apart what is the same."""
        life, since, span = FOREVER, -math.inf, 0.0
        if mortal:
            known = self.result != UNKNOWN
            since, span = self.sent_at, (self.answered_at - self.sent_at if known else math.inf)
            if self.ttl is not None:
                life = (self.sent_at + self.ttl - TOLERANCE,
                        self.answered_at + self.ttl + TOLERANCE if known else math.inf)
        return tuple(Step(*one, life, since, span) for one in self._instants())

    def _instants(self):
        if self.kind == "delete":  # Asks, then deletes whatever is there by then.
            return (("present", None, self.result == "DELETED"), ("clear", None, ANY))
        if self.kind == "delete-if":
            if self.result == "DELETED":
                return (("match", self.argument, "MATCHES"), ("clear", None, ANY))
            return (("match", self.argument, self.result),)
        if self.kind == "flush":
            return (("clear", None, ANY),)
        if self.kind == "gat":
            if self.result is None:
                return (("get", None, None),)
            return (("get", None, self.result), ("touch", None, "TOUCHED"))
        return ((self.kind, self.argument, self.result),)

    def effect(self, mortal=False):
        """What an unknown outcome may have done, as a Step, or None."""
        if self.kind in LOOKS or (self.kind in ("touch", "gat") and not mortal):
            return None
        step = self.steps(mortal)[-1]
        if self.kind in ("delete", "delete-if", "flush"):
            return Step("clear", None, ANY, FOREVER, -math.inf, 0.0)
        return step._replace(kind="touch" if self.kind == "gat" else self.kind, answer=ANY)


def seen(item):
    """An item as clients see it: (flags, bytes), or None."""
    return None if item is None else item[:2]


def union(one, other):
    return one if other is None else (min(one[0], other[0]), max(one[1], other[1]))


def stored(step, new, old):
    """What a store leaves. An update under way that has read the same bytes takes them for its own."""
    former = None
    if old is not None and new[1].strip().isdigit():
        former = union(old.life, old.former)
    return Item(*new, step.life, former)


def changed(step, value, old):
    first, last = union(old.life, old.former)
    life = FOREVER if (first, last) == FOREVER else (first - 0.001, last + step.span)
    return Item(old.flags, value, life, old.former)


def model(step, item):
    """(answer, item afterwards) of one step."""
    kind, argument = step.kind, step.argument
    if item is not None and item.life[1] < step.since:
        item = None
    if kind in ("get", "timed", "read"):
        return seen(item), item
    if kind == "present":
        return item is not None, item
    if kind == "match":
        if item is None:
            return "NOT_FOUND", None
        return "MATCHES" if seen(item) == argument else "EXISTS", item
    if kind == "touch":
        if item is None:
            return "NOT_FOUND", None
        return "TOUCHED", item._replace(life=step.life, former=union(item.life, item.former))
    if kind == "set":
        return "STORED", stored(step, argument, item)
    if kind == "clear":
        return "OK", None
    if kind in ("add", "replace"):
        stores = (item is None) == (kind == "add")
        return ("STORED", stored(step, argument, item)) if stores else ("NOT_STORED", item)
    if kind == "cas":
        expected, new = argument
        if item is None:
            return "NOT_FOUND", None
        return ("STORED", stored(step, new, item)) if seen(item) == expected else ("EXISTS", item)
    if kind in ("append", "prepend"):
        if item is None:
            return "NOT_STORED", None
        old = item.value
        return "STORED", changed(step, old + argument if kind == "append" else argument + old, item)
    if kind in ("incr", "decr"):
        return count(step, item)
    raise AssertionError(kind)


def count(step, item):
    delta, initial, expected = step.argument
    if item is None:
        return ("NOT_FOUND", None) if initial is None else (
            initial, Item(0, b"%d" % initial, step.life, None))
    if expected is not None and seen(item) != expected:
        return "EXISTS", item
    old = item.value
    number = int(old)
    number = (number + delta) % 2 ** 64 if step.kind == "incr" else max(0, number - delta)
    text = b"%d" % number
    longer = step.kind == "incr" and len(text) >= len(old)
    return number, changed(step, text if longer else text.ljust(len(old)), item)


def accepts(step, modelled):
    if step.answer is ANY or step.answer == modelled:
        return True
    if step.answer == COUNTED:
        return isinstance(modelled, int)
    # Between the two calls of a cas another client's delete looks like another client's write.
    return step.kind == "cas" and step.answer == "EXISTS" and modelled == "NOT_FOUND"


def acknowledges(op):
    """Whether the answer says that something has changed, which its proxy may not miss from then on."""
    return op.kind not in LOOKS and op.result is not None and op.result not in (
        UNKNOWN, FAILED, *REFUSALS)


class Checker:
    """`staleness`: None, or of each kind of get that may be stale (the age of a value, of a miss)."""

    def __init__(self, operations, staleness=None, name=""):
        self.name, self.staleness, self.all = name, staleness or {}, operations
        self.mortal = any(op.ttl is not None for op in operations)
        self.operations = [op for op in operations if op.result != FAILED
                           and not (op.result == UNKNOWN and op.effect(self.mortal) is None)]
        self.steps = {op: op.steps(self.mortal) for op in self.operations}
        self.looks = LOOKS if self.mortal else (*LOOKS, "touch")
        self.weak = any(op.kind in self.staleness for op in self.operations)
        self.pending = []
        self.now = -math.inf
        self.ends = 0  # Items that are gone and that nobody can have removed.
        self.configurations = {(None, frozenset(), ())}
        # (when, position, what was possible until then, what was left after it): configurations
        # without what may still happen.
        self.recent = [(-math.inf, -1, set(), {(None, frozenset())})]

    def check(self):
        """Raises Violation, or TooAmbiguous. Returns the number of answers that were explained."""
        events = []
        for op in self.operations:
            events.append((op.sent, 0, op))
            if op.result != UNKNOWN:
                events.append((op.answered, 1, op))
        explained = 0
        for _, answer, op in sorted(events, key=lambda event: event[:2]):
            self.now = op.answered_at if answer else op.sent_at
            was_there = self.mortal and self._is_there()
            if op.result == UNKNOWN:
                self._may_happen(op)
            elif op.kind in self.staleness:
                if answer:
                    self._check_weak(op)
                    explained += 1
            elif answer:
                self._explain(op)
                explained += 1
            else:
                self.pending.append(op)
                self.configurations = {self._look(c) for c in self.configurations}
            if was_there and all(item is None for item, _, _ in self.configurations):
                self.ends += 1
        return explained

    def _is_there(self):
        """Whether there is an item for certain, and nobody to remove it but time."""
        return all(item is not None and not maybe for item, _, maybe in self.configurations) and all(
            op.kind in (*LOOKS, "touch", "gat") for op in self.pending)

    def _may_happen(self, op):
        effect = op.effect(self.mortal)
        self.configurations = {(item, taken, tuple(sorted((*maybe, effect), key=repr)))
                               for item, taken, maybe in self.configurations}

    @staticmethod
    def _taken(taken, op):
        return next((n for one, n in taken if one is op), 0)

    def _next_step(self, configuration, op):
        """The step that `op` takes next, or None: it is through, or another comes first."""
        _, taken, _ = configuration
        steps = self.steps[op]
        done = self._taken(taken, op)
        if done == len(steps):
            return None
        for one in op.before:
            if one in self.pending and self._taken(taken, one) < len(self.steps[one]):
                return None
        return steps[done]

    def _step(self, configuration, op, item):
        _, taken, maybe = configuration
        done = self._taken(taken, op)
        return self._settled(item, (taken - {(op, done)}) | {(op, done + 1)}, maybe)

    def _settled(self, item, taken, maybe):
        """The configuration, without former lives if nobody is left to bring them back."""
        if item is not None and item.former is not None and not (self.mortal and (
                any(step.kind in UPDATES for step in maybe) or
                any(op.kind in UPDATES and self._taken(taken, op) == 0 for op in self.pending))):
            item = item._replace(former=None)
        return item, taken, maybe

    def _fits_life(self, step, item):
        """Whether the seconds that were told can have been left at the time."""
        if item is None or item.life[1] < step.since:
            return False
        first, last = item.life[0] - self.now, item.life[1] - step.since
        if last == math.inf:
            return step.answer >= min(first, LONG) - 1
        return first <= step.answer and last > step.answer - 1

    def _modelled(self, step, item):
        """(whether the step can be, item afterwards)"""
        if step.kind == "life":
            return self._fits_life(step, item), item
        answer, after = model(step, item)
        return accepts(step, answer), after

    def _look(self, configuration):
        """Takes every step that only looks and likes what it sees: the sooner the better."""
        again = True
        while again:
            again = False
            for op in self.pending:
                step = self._next_step(configuration, op)
                if step is None:
                    continue
                if step.kind not in self.looks and step.answer not in REFUSALS:
                    continue
                fits, after = self._modelled(step, configuration[0])
                if fits:
                    configuration = self._step(configuration, op, after)
                    again = True
        return configuration

    def _onward(self, configuration):
        """Every configuration that one step of somebody leads to."""
        item, taken, maybe = configuration
        for op in self.pending:
            step = self._next_step(configuration, op)
            if step is None:
                continue
            fits, after = self._modelled(step, item)
            if fits:
                yield self._look(self._step(configuration, op, after))
        for at, step in enumerate(maybe):
            if at > 0 and maybe[at - 1] == maybe[at]:
                continue
            _, after = model(step, item)
            if after != item:
                yield self._look(self._settled(after, taken, maybe[:at] + maybe[at + 1:]))
        if item is not None and item.life[0] <= self.now:
            yield self._look((None, taken, maybe))

    def _search(self, until):
        """The first configurations of every path for which until() holds."""
        found, seen_so_far = set(), set(self.configurations)
        ahead = list(seen_so_far)
        while ahead:
            configuration = ahead.pop()
            if until(configuration):
                found.add(configuration)
                continue
            for onward in self._onward(configuration):
                if onward not in seen_so_far:
                    seen_so_far.add(onward)
                    ahead.append(onward)
            if len(seen_so_far) > CONFIGURATIONS_MAX:
                raise TooAmbiguous(self.name)
        return found, seen_so_far

    def _explain(self, op):
        through = len(self.steps[op])
        # Everything possible by now, for the reads that may be late; else what leads to the answer.
        possible = self._search(lambda c: False)[1] if self.weak else set()
        found, tried = self._search(lambda c: self._taken(c[1], op) == through)
        if not found:
            raise self._violation(op, {seen(configuration[0]) for configuration in tried})
        self.pending.remove(op)
        self.configurations = _without_dominated(
            {self._settled(item, taken - {(op, through)}, maybe) for item, taken, maybe in found})
        if self.weak:
            self._remember(op, possible)

    def _check_weak(self, op):
        self._remember(op, self._search(lambda c: False)[1])
        of_value, of_miss = self.staleness[op.kind]
        since = op.sent_at - (of_miss if op.result is None else of_value)
        own = [(one, len(self.steps[one])) for one in self.operations
               if one.proxy == op.proxy and acknowledges(one) and
               (one.answered < op.sent or one in op.before)]
        own.sort(key=lambda one: one[0].answered)
        possible, due = set(), set()
        for when, position, until, left in reversed(self.recent):
            # After all that was acknowledged by `position`, and of the rest what has happened.
            over = when < since
            for items, at in ((left, position + 1), (until, position)):
                while own and own[-1][0].answered >= at:
                    due.add(own.pop())
                possible.update(item for item, taken in items if due <= taken)
                if over:
                    break
            if over:
                break
        possible = {seen(item) for item in possible if item is None or item.life[1] >= since}
        if op.result not in possible:
            raise self._violation(op, possible)

    def _remember(self, op, possible):
        left = {configuration[:2] for configuration in self.configurations}
        self.recent.append((op.answered_at, op.answered,
                            {configuration[:2] for configuration in possible}, left))

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
    """Raises Violation if they cannot be explained; returns (how many answers were, how many lives
    were seen to end). `staleness` as Checker's."""
    last = collections.defaultdict(list)  # Connection -> a write and the reads sent since.
    for op in sorted(operations, key=lambda one: one.sent):
        sent = last[op.connection]
        if op.kind in GETS:
            op.before = tuple(one for one in sent[:1] if one.kind not in GETS)
            sent.append(op)
        else:
            op.before = tuple(sent)
            last[op.connection] = [op]
    checker = Checker(operations, staleness, name)
    return checker.check(), checker.ends
