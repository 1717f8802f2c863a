#!/usr/bin/env python3
"""The same random conversations with stock memcached and with our products: the same bytes back.

    integration/differential_test.py [BIN_DIR]           DIFFERENTIAL_SEED=N repeats a run
                                                         DIFFERENTIAL_SECONDS=S lasts longer

A conversation is rounds of commands, right and wrong, on few keys. Ours hear a round at once, in
random pieces; it ends with a get that no other round has, so its replies are known to be complete.
memcached hears it command by command, with a "version" between: an error in a get makes it drop the
replies before it that it has not sent yet, which is not a behaviour to copy. CAS tokens are
numbers of each server's own: two servers agree when the same replies show the same token and
different ones different tokens, and a "cas" sends back to each server what that server showed.
Two commands in five are meta commands (meta_commands.py).

Expiries are far away or past, since memcached's clock has a grain of a second. momento_proxy is
compared with a nonce in every value: its default envelope keeps the token when equal bytes are
stored again, as Momento derives it from them. The default is compared with tokens left out.
"""
import base64
import contextlib
import os
import random
import re
import select
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backend import Backend, fronted  # noqa: E402
from harness import free_port, main, product, wait_port  # noqa: E402
from meta_commands import CODES, MetaCommands, normal  # noqa: E402

SEED = int(os.environ.get("DIFFERENTIAL_SEED", random.randrange(1 << 30)))
SECONDS = float(os.environ.get("DIFFERENTIAL_SECONDS", 6))
REPLY_SECONDS_MAX = 20
NO_TOKEN = 2**63 + 12345  # memcached counts tokens from 1 and never comes here.
VALUE_OF_BAD_LINE_MAX = 1000  # Taken for a command line, it is one not too long for memcached.
META_SHARE = 0.4
SHORTFALL_MAX = 60  # Bytes that a value may lack; what follows it becomes part of it.
# What has a body.
STORES = (b"set", b"add", b"replace", b"append", b"prepend", b"cas", b"ms", b" ")
VERSION_NEXT = b"VERSION "  # Instead of an end: the reply to "version".
TOKEN = re.compile(rb"@(\w+)@")  # In a command: the token last shown for the key.


class Stream:
    """One server's side of a conversation."""

    def __init__(self, name, port, tokens, whole):
        self.name, self.port, self.tokens, self.whole = name, port, tokens, whole
        self.socket = None
        self.seen = {}     # Token -> the order in which it was first shown.
        self.latest = {}   # Key -> token.
        self.connect()

    def connect(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = socket.create_connection(("127.0.0.1", self.port), REPLY_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, pieces, end):
        """Sends the pieces; everything said up to `end`, or up to a close (second result)."""
        out = [TOKEN.sub(lambda m: b"%d" % self.latest.get(m.group(1), NO_TOKEN), p) for p in pieces]
        heard = bytearray()
        deadline = time.monotonic() + REPLY_SECONDS_MAX
        while not self.complete(heard, end):
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{self.name} fell silent after {bytes(heard[-200:])!r}")
            readable, writable, _ = select.select([self.socket], [self.socket] if out else [], [],
                                                  left)
            try:
                if readable:
                    more = self.socket.recv(1 << 20)
                    if not more:
                        return bytes(heard), True
                    heard += more
                if writable:
                    sent = self.socket.send(out[0], socket.MSG_DONTWAIT)
                    out[0] = out[0][sent:]
                    if not out[0]:
                        out.pop(0)
            except BlockingIOError:
                pass
            except OSError:
                return bytes(heard), True
        return bytes(heard), False

    @staticmethod
    def complete(heard, end):
        if end == VERSION_NEXT:
            at = heard.rfind(b"VERSION ")
            return at >= 0 and heard.find(b"\r\n", at) == len(heard) - 2
        return heard.endswith(end)

    def step_by_step(self, units, end):
        """As exchange(), but waiting for each unit's reply before the next is sent."""
        heard = b""
        for unit in units[:-1]:
            try:
                more, closed = self.exchange([unit], VERSION_NEXT)
            except AssertionError as error:
                raise AssertionError(f"{error} to {brief(unit)}") from None
            heard += more
            if closed:
                return heard, True
        more, closed = self.exchange(units[-1:], end)
        return heard + more, closed

    def replies(self, heard):
        """The replies one by one, tokens as the order in which they were first shown."""
        result, at = [], 0
        while at < len(heard):
            end = heard.find(b"\r\n", at)
            if end < 0:
                result.append(heard[at:])
                break
            line, at = heard[at:end], end + 2
            fields = line.split(b" ")
            if fields[0] == b"VALUE" and len(fields) in (4, 5) and fields[3].isdigit():
                size = int(fields[3])
                if len(fields) == 5:
                    token = int(fields[4])
                    self.latest[fields[1]] = token
                    order = self.seen.setdefault(token, len(self.seen))
                    line = b" ".join(fields[:4]) + (b" #%d" % order if self.tokens else b"")
                line += b"\n" + heard[at:at + size + 2]
                at += size + 2
            elif fields[0] in CODES:
                size = int(fields[1]) if fields[0] == b"VA" else None
                line, shown = normal(line, lambda t: self.seen.setdefault(t, len(self.seen)),
                                     Commands.KEYS + Commands.ODD_KEYS, self.whole)
                if shown is not None:
                    self.latest[shown[0]] = shown[1]
                if size is not None:
                    line += b"\n" + heard[at:at + size + 2]
                    at += size + 2
            result.append(b"VERSION" if line.startswith(b"VERSION ") else line)
        return result


class Commands:
    """Random commands, most of them right."""

    KEYS = [b"a", b"b", b"c", b"n", b"m"]
    ODD_KEYS = [b"k" * 250, b"k" * 251, b"\xff\x01\x7f", b"noreply", b"0", b"k" * 300]
    NUMBERS = [b"-1", b"00", b"+5000", b"1x", b"x", b"4294967295", b"4294967296", b"65536",
               b"2147483647", b"2147483648", b"-2147483648",
               b"18446744073709551616", b"99999999999999999999", b"1.5",
               b"0x10", b"-0"]

    LONG, SHORTFALL = VALUE_OF_BAD_LINE_MAX, SHORTFALL_MAX

    def __init__(self, rng, tokens, meta, whole):
        self.rng, self.tokens, self.meta = rng, tokens, meta
        self.meta_commands = MetaCommands(self, whole)

    def key(self):
        return self.rng.choice(self.ODD_KEYS if self.rng.random() < 0.03 else self.KEYS)

    def number(self, usual):
        return self.rng.choice(self.NUMBERS) if self.rng.random() < 0.05 else usual()

    def exptime(self):
        r = self.rng.random()
        if r < 0.7:
            return b"0"
        if r < 0.9:
            return self.rng.choice([b"1000", b"2592000", b"%d" % (int(time.time()) + 5000)])
        return self.rng.choice([b"-1", b"2592001", b"-100", b"1600000000"])

    def value(self):
        """Never blank, and no number past 2^63: memcached's incr of a blank value looks for digits,
        and of so large a number for a "-", in what lies in memory behind it."""
        value = self.any_value().replace(b"-", b"_").replace(b"@", b"_")
        return value if value.strip(b" \t\r\n\v\f") else b"blank"

    def any_value(self):
        r = self.rng.random()
        if r < 0.4:
            return b"%d" % self.rng.choice([0, 5, 9, 10, 99, 1000, 2**32, 2**64,
                                            self.rng.randrange(2**62)])
        if r < 0.45:
            return self.rng.choice([b" 5", b"5 ", b"007", b"+5", b"5x", b"5 x", b"\r\n5",
                                    b"\t5", b"0" * 25 + b"1"])
        if r < 0.9:
            return self.rng.randbytes(self.rng.randrange(40))
        if r < 0.998:
            return self.rng.randbytes(self.rng.randrange(12_000))
        return b"z" * self.rng.randrange(1_048_350, 1_048_700)

    def line(self, words):
        rng = self.rng
        if rng.random() < 0.03:  # A word too many, or one too few.
            store = words[0] in STORES
            if store or rng.random() < 0.5:
                # The count of bytes may be taken by an exptime of 0 that was before it, not by another
                # word: memcached would wait for that many bytes.
                first = 0 if not store else 1 if words[3:4] == [b"0"] else min(5, len(words))
                words.insert(rng.randrange(first, len(words) + 1), rng.choice([b"x", b"noreply"]))
            else:
                words.pop(rng.randrange(len(words)))
        text = b" ".join(words)
        if rng.random() < 0.03:
            text = text.replace(b" ", b" " * rng.randrange(1, 4))
        if rng.random() < 0.02:
            text = rng.choice([b" ", b"  "]) + text
        if rng.random() < 0.03:
            text += b" " * rng.randrange(1, 3)
        return text + (b"\n" if rng.random() < 0.03 else b"\r\n")

    def noreply(self):
        r = self.rng.random()
        return [b"noreply"] if r < 0.1 else [b"norepl"] if r < 0.105 else []

    def store(self):
        rng = self.rng
        verbs = [b"set", b"set", b"add", b"replace", b"append", b"prepend"]
        verb = rng.choice(verbs + ([b"cas"] * 2 if self.tokens else []))
        key, value = self.key(), self.value()
        odd = len(value) <= VALUE_OF_BAD_LINE_MAX
        number = self.number if odd else lambda usual: usual()
        if not odd:
            key = rng.choice(self.KEYS)
        words = [verb, key, number(lambda: rng.choice([b"0", b"0", b"7", b"4294967295"])),
                 number(self.exptime)]
        count = len(value)
        if odd and rng.random() < 0.02:
            count = rng.choice([count + rng.randrange(SHORTFALL_MAX), rng.randrange(count + 1), -1])
        words.append(b"%d" % count)
        if verb == b"cas":
            shown = key if key in self.KEYS else b"a"
            words.append(number(lambda: b"@" + shown + b"@" if rng.random() < 0.8
                                     else b"%d" % NO_TOKEN))
        body = value + (b"\r\n" if rng.random() < 0.98 else rng.choice([b"\n", b"", b"\r", b"xx"]))
        if not odd:
            return b" ".join(words) + b"\r\n" + body
        return self.line(words + self.noreply()) + body

    def one(self):
        rng = self.rng
        if rng.random() < self.meta:
            return self.meta_commands.one()
        r = rng.random()
        if r < 0.4:
            return self.store()
        if r < 0.6:
            keys = [self.key() for _ in range(rng.choice([1, 1, 1, 2, 3, 12]))]
            # Before a key too long memcached notes that the others were read, and then says nothing of it.
            keys.sort(key=lambda key: len(key) <= 250)
            return self.line([rng.choice([b"get", b"gets"])] + keys)
        if r < 0.66:
            # Only usual keys: before a key too long memcached touches, and then says nothing of it.
            keys = [rng.choice(self.KEYS) for _ in range(rng.choice([1, 1, 2]))]
            return self.line([rng.choice([b"gat", b"gats"]), self.number(self.exptime)] + keys)
        if r < 0.8:
            delta = self.number(lambda: b"%d" % rng.choice([0, 1, 7, 2**40]))
            return self.line([rng.choice([b"incr", b"decr"]), self.key(), delta] + self.noreply())
        if r < 0.87:
            zero = [b"0"] if rng.random() < 0.1 else []
            return self.line([b"delete", self.key()] + zero + self.noreply())
        if r < 0.94:
            return self.line([b"touch", self.key(), self.number(self.exptime)] + self.noreply())
        if r < 0.95:
            return self.line([b"flush_all"] + rng.choice([[], [b"0"], [b"-1"], [b"x"]]) +
                             self.noreply())
        return self.line([rng.choice([b"verbosity 0", b"verbosity", b"nonsense", b"GET a", b"",
                                      b"get", b"set", b"incr a", b"cas a 0 0 1", b"touch a",
                                      b"gat", b"delete", b"gets", b"get a\x00b"])])

    def round(self, number):
        """One round's commands, each with a "version" behind it, and how the last reply ends."""
        # Whatever value is still short of bytes gets them.
        pad = b"\r\n" + b"pad\r\n" * (SHORTFALL_MAX // 5 + 1)
        units = []
        for _ in range(self.rng.choice([1, 3, 10, 60])):
            command = self.one()
            units.append(command + (pad if command.startswith(STORES) else b"") + b"version\r\n")
        mark = b"mark%d" % number
        units.append(b"set mark 0 0 %d\r\n%s\r\nget mark\r\n" % (len(mark), mark))
        return units, b"\r\n" + mark + b"\r\nEND\r\n"

    def cut(self, text):
        """`text` in random pieces; none ends inside a token's place."""
        cuts = sorted(self.rng.randrange(1, len(text)) for _ in range(self.rng.choice([0, 1, 20])))
        bounds = [0] + [c for c in cuts if text.rfind(b"@", max(0, c - 12), c + 12) < 0] + [len(text)]
        return [text[a:b] for a, b in zip(bounds, bounds[1:]) if a < b]


@contextlib.contextmanager
def memcached():
    port = free_port()
    server = subprocess.Popen(["memcached", "-u", "nobody", "-p", str(port), "-l", "127.0.0.1",
                               "-U", "0", "-t", "1",
                               # Its background threads hold items for moments, and an incr of a
                               # held item makes a new one instead of padding the old.
                               "-o", "no_lru_maintainer,no_lru_crawler"], stderr=subprocess.DEVNULL)
    try:
        wait_port(port)
        yield port
    finally:
        server.kill()
        server.wait()


def first_difference(ours, theirs):
    for i, (a, b) in enumerate(zip(ours, theirs)):
        if a != b:
            return i
    return min(len(ours), len(theirs))


def explain(history, at, names, replies):
    """The command whose replies differ, and what was last said about its key."""
    sent = [text for text in history[-1]]
    failing = min(replies[0][:at].count(b"VERSION"), len(sent) - 1)
    words = sent[failing].split()
    key = words[1] if len(words) > 1 else b""
    before = [u for units in history[:-1] for u in units] + sent[:failing]
    lines = [f"DIFFERENTIAL_SEED={SEED}", f"differs: {brief(sent[failing])}"]
    names_of = {key, base64.b64encode(key)}
    if b"b" in words:
        with contextlib.suppress(ValueError):
            names_of.add(base64.b64decode(key))
    lines += [f"before it: {brief(u)}" for u in before
              if names_of & set(u.split(b"\r\n")[0].split()) or u.startswith(b"flush_all")][-14:]
    for name, one in zip(names, replies):
        lines.append(f"{name}: {brief(b' | '.join(one[at:at + 3]))}")
    return "\n".join(lines)


def brief(text):
    text = repr(text.split(b"\r\npad")[0].removesuffix(b"version\r\n"))
    return text if len(text) < 400 else f"{text[:300]} ... {text[-60:]} ({len(text)})"


def compare(port, name, tokens=True, whole=True):
    """Without `tokens` or `whole`: what meta_commands.py says of it is left out."""
    print(f"DIFFERENTIAL_SEED={SEED}", flush=True)
    rng = random.Random(f"{SEED} {name}")
    commands = Commands(rng, tokens, META_SHARE, whole)
    rounds, history = 0, []
    with memcached() as oracle_port:
        sides = [Stream("memcached", oracle_port, tokens, whole),
                 Stream(name, port, tokens, whole)]
        for side in sides:
            side.exchange([b"flush_all\r\n"], b"OK\r\n")
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            rounds += 1
            units, mark = commands.round(rounds)
            history = history[-50:] + [units]
            pieces = commands.cut(b"".join(units))
            heard = [sides[0].step_by_step(units, mark), sides[1].exchange(pieces, mark)]
            replies = [side.replies(h) for side, (h, _) in zip(sides, heard)]
            if replies[0] != replies[1] or heard[0][1] != heard[1][1]:
                at = first_difference(*replies)
                raise AssertionError(explain(history, at, [s.name for s in sides], replies))
            if heard[0][1]:
                for side in sides:
                    side.connect()
    print(f"{name}: {rounds} rounds alike")
    assert rounds >= 5, rounds


def memcache_port(running):
    return int(running.wait_log(r"memcache[^\n]* on 127\.0\.0\.1:(\d+)").group(1))


@contextlib.contextmanager
def proxy(envelope):
    # The longest life there is by default: what meta_commands.py takes for ever.
    with Backend("local.ttl_max=8760h") as backend, fronted(
            backend, f"cache[0].envelope={envelope}", "cache[0].flush_all=true",
            "cache[0].reads=consistent", "cache[0].deadline=10s", "cache[0].max_ttl=8760h",
            "cache[0].default_ttl=4294967s", workers=2) as running:
        backend.create(b"c")
        yield memcache_port(running)


def test_segcache():
    with product("segcache", "-p", "0", "--set", "seg.track_access=true") as server:
        compare(memcache_port(server), "segcache")


def test_proxy_with_a_nonce():
    with proxy("nonce") as port:
        compare(port, "proxy-nonce", whole=False)


def test_proxy_as_it_comes():
    with proxy("transparent") as port:
        compare(port, "proxy", tokens=False, whole=False)


if __name__ == "__main__":
    main(globals())
