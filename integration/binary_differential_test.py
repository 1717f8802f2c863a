#!/usr/bin/env python3
"""The same random packets to stock memcached and to our products: the same replies.

    integration/binary_differential_test.py [BIN_DIR]    DIFFERENTIAL_SEED=N repeats a run
                                                         DIFFERENTIAL_SECONDS=S lasts longer

A conversation is rounds of packets, right and wrong, on few keys; each ends with a NOOP. Ours hear a
round at once, in random pieces. memcached hears it packet by packet: what it has not sent when it
hangs up it drops. Tokens agree as in differential_test.py: the same replies show the same token,
different ones different tokens, and a packet with a token sends each server its own. What is sent is
all there, but for a last packet of a round now and then: no length asks anybody to wait for more.
"""
import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import binary as b  # noqa: E402
from binary_test import memcached, proxy, segcache  # noqa: E402
from harness import main  # noqa: E402

SEED = int(os.environ.get("DIFFERENTIAL_SEED", random.randrange(1 << 30)))
SECONDS = float(os.environ.get("DIFFERENTIAL_SECONDS", 5))
NO_TOKEN = 2**63 + 12345
KEYS = [b"a", b"b", b"c", b"n", b"m", b"odd \r\n\0key"]
GETS = [b.GET, b.GETQ, b.GETK, b.GETKQ]
TOUCHES = [b.GAT, b.GATQ, b.GATK, b.GATKQ, b.TOUCH]
STORES = [b.SET, b.SET, b.SETQ, b.ADD, b.ADDQ, b.REPLACE, b.REPLACEQ]
EXTENDS = [b.APPEND, b.APPENDQ, b.PREPEND, b.PREPENDQ]
COUNTS = [b.INCREMENT, b.INCREMENTQ, b.DECREMENT, b.DECREMENTQ]
GONE = 2592001


class Packets:
    """Random packets, most of them right: (opcode, key, value, extras, token, lies)."""

    def __init__(self, rng):
        self.rng = rng

    def key(self):
        return b"k" * 250 if self.rng.random() < 0.02 else self.rng.choice(KEYS)

    def expiry(self):
        return self.rng.choice([0, 0, 0, 1000, 2592000, int(time.time()) + 5000, 0xffffffff, GONE])

    def value(self):
        rng = self.rng
        r = rng.random()
        if r < 0.4:
            # And no count comes past 2^63 (see differential_test.py).
            return b"%d" % rng.choice([0, 5, 9, 10, 99, 2**32, 2**62, rng.randrange(2**62)])
        if r < 0.95:
            # Never blank and without "-": see there.
            return b"v" + rng.randbytes(rng.randrange(40)).replace(b"-", b"_")
        if r < 0.998:
            return b"v" + rng.randbytes(rng.randrange(12_000)).replace(b"-", b"_")
        return b"z" * rng.randrange(1_048_350, 1_048_700)

    def one(self):
        rng = self.rng
        r = rng.random()
        token = rng.choice([None, None, None, "shown", "none"])
        if r < 0.25:
            made = [rng.choice(GETS), self.key(), b"", b"", None]
        elif r < 0.35:
            made = [rng.choice(TOUCHES), self.key(), b"", b.expiry_only(self.expiry()), None]
        elif r < 0.6:
            flags = rng.choice([0, 0, 7, 2**32 - 1])
            key, value = self.key(), self.value()
            made = [rng.choice(STORES), b"big" if len(value) > 100_000 else key, value,
                    b.flags_and_expiry(flags, self.expiry()), token]
        elif r < 0.7:
            made = [rng.choice(EXTENDS), self.key(), self.value()[:20_000], b"", token]
        elif r < 0.85:
            expiry = rng.choice([b.NEVER_CREATE, 0, 0, 1000, GONE])
            made = [rng.choice(COUNTS), self.key(), b"",
                    b.counting(rng.choice([0, 1, 7, 2**40]), rng.choice([0, 5, 2**62]), expiry),
                    token]
        elif r < 0.94:
            made = [rng.choice([b.DELETE, b.DELETEQ]), self.key(), b"", b"", token]
        else:
            made = rng.choice([[b.NOOP, b"", b"", b"", None], [b.FLUSH, b"", b"", b"", None],
                               [b.FLUSHQ, b"", b"", b.expiry_only(0), None],
                               [b.STAT, b"sizes", b"", b"", None],
                               [b.STAT, b"nonsense", b"", b"", None],
                               [b.SASL_LIST, b"", b"", b"", None],
                               [0x1f, b"", b"v", b"", None], [0x77, b"", b"", b"", None]])
        lies = {}
        if made[1] and rng.random() < 0.01:  # Ends the connection in both, with the same words.
            lies = rng.choice([{"magic": 0x81}, {"body_bytes": 0}, {"extras_bytes": 3},
                               {"key_bytes": 251}])
            made[2] = made[2][:100] + b"p" * 300  # So that what it says is there.
        return (*made, lies)


class Side:
    """One server's end of the conversation."""

    def __init__(self, name, port, touch):
        self.name, self.port, self.touch = name, port, touch  # Whether TOUCH shows tokens.
        self.seen, self.latest = {}, {}
        self.connect()

    def connect(self):
        self.connection = b.Connection(self.port, timeout=20)
        assert self.connection.ask(b.NOOP).status == b.OK  # Binary from here, whatever comes.

    def bytes_of(self, number, opcode, key, value, extras, token, lies):
        cas = {None: 0, "none": NO_TOKEN, "shown": self.latest.get(key, NO_TOKEN)}[token]
        return b.packet(opcode, key, value, extras, cas=cas, opaque=struct.pack(">I", number),
                        **lies)

    def hear(self, until, replies):
        """Adds replies up to that of the NOOP `until`; whether the connection stands."""
        while True:
            try:
                got = self.connection.hear()
            except (EOFError, ConnectionError):
                return False
            if got.opcode == b.NOOP and got.opaque == until:
                return True
            replies.append(got)

    def tokens_as_order(self, replies, packets):
        """Replies with each token as the order in which it was first shown."""
        result = []
        for got in replies:
            number = struct.unpack(">I", got.opaque)[0]
            opcode, key, _, extras, _, _ = packets[number]
            cas = got.cas
            gone = got.status == b.OK and extras[-4:] == struct.pack(">I", GONE)
            # What is gone at once has a token that nothing will ever have again; the proxy's TOUCH
            # tells nothing of the item.
            made_gone = gone and opcode in STORES + COUNTS or opcode == b.TOUCH and not self.touch
            if cas != 0 and not made_gone:
                self.latest[key] = cas
                cas = self.seen.setdefault(cas, len(self.seen) + 1)
            result.append(got._replace(cas=0 if made_gone else cas))
        return result


def pieces_of(data, rng):
    cuts = sorted(rng.randrange(len(data)) for _ in range(rng.choice([0, 1, 20])))
    return [data[x:y] for x, y in zip([0] + cuts, cuts + [len(data)]) if x < y]


def brief(thing):
    text = repr(thing)
    return text if len(text) < 300 else text[:200] + " ... " + text[-60:]


def compare(port, name, tokens):
    print(f"DIFFERENTIAL_SEED={SEED}", flush=True)
    rng = random.Random(f"{SEED} binary {name}")
    packets = Packets(rng)
    with memcached("-t", "1", "-o", "no_lru_maintainer,no_lru_crawler") as oracle:
        touch = not name.startswith("proxy")
        sides = [Side("memcached", oracle, touch), Side(name, port, touch)]
        for side in sides:
            assert side.connection.ask(b.FLUSH).status == b.OK
        rounds, history = 0, []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            rounds += 1
            sent = [packets.one() for _ in range(rng.choice([1, 3, 10, 60]))]
            if not tokens:
                sent = [(*one[:4], None if one[4] == "shown" else one[4], one[5]) for one in sent]
            heard, stands = [[], []], [True, True]
            done = struct.pack(">I", 2**32 - 1)
            noop = b.packet(b.NOOP, opaque=done)
            # memcached one by one; its tokens are known for the next.
            said = []
            for number, one in enumerate(sent):
                sides[0].connection.say(sides[0].bytes_of(number, *one) + noop)
                fresh = []
                try:
                    stands[0] = sides[0].hear(done, fresh)
                except TimeoutError:
                    raise AssertionError(f"memcached fell silent after {brief(one)}") from None
                said += sides[0].tokens_as_order(fresh, sent)
                if not stands[0]:
                    break
            heard[0] = said
            # Ours at once, but a packet with a token waits for the token.
            said, batch = [], b""

            def flush(batch):
                for piece in pieces_of(batch + noop, rng):
                    try:
                        sides[1].connection.say(piece)
                    except OSError:
                        break
                fresh = []
                stood = sides[1].hear(done, fresh)
                return stood, sides[1].tokens_as_order(fresh, sent)

            for number, one in enumerate(sent[:]):
                if one[4] == "shown" and batch:
                    stands[1], fresh = flush(batch)
                    said, batch = said + fresh, b""
                    if not stands[1]:
                        break
                batch += sides[1].bytes_of(number, *one)
            if stands[1]:
                stands[1], fresh = flush(batch)
                said += fresh
            heard[1] = said
            if not tokens:
                heard = [[got._replace(cas=bool(got.cas)) for got in one] for one in heard]
            if not touch:
                heard = [[got._replace(extras=b"") if got.opcode == b.TOUCH and
                          got.status == b.OK else got for got in one] for one in heard]
            history = (history + [f"{number}: {brief(one)}" for number, one in enumerate(sent)])[-80:]
            if heard[0] != heard[1] or stands[0] != stands[1]:
                at = next((i for i, (x, y) in enumerate(zip(*heard)) if x != y),
                          min(map(len, heard)))
                lines = [f"DIFFERENTIAL_SEED={SEED} round {rounds}"] + history[-len(sent) - 5:]
                for side, one, stood in zip(sides, heard, stands):
                    lines.append(f"{side.name} (stands: {stood}): {brief(one[at:at + 3])}")
                raise AssertionError("\n".join(lines))
            if not stands[0]:
                for side in sides:
                    side.connection.close()
                    side.connect()
    print(f"{name}: {rounds} rounds alike")
    assert rounds >= 5, rounds


def test_segcache():
    with segcache() as port:
        compare(port, "segcache", tokens=True)


def test_proxy_with_a_nonce():
    with proxy('envelope = "nonce"', 'reads = "consistent"', 'deadline = "10s"') as port:
        compare(port, "proxy-nonce", tokens=True)


def test_proxy_as_it_comes():
    with proxy('reads = "consistent"', 'deadline = "10s"') as port:
        compare(port, "proxy", tokens=False)


if __name__ == "__main__":
    main(globals())
