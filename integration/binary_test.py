#!/usr/bin/env python3
"""The binary protocol on stock memcached, which proves the conversations, on segcache and on momento_proxy.

    integration/binary_test.py [BIN_DIR]

A conversation is packets and the replies they get, lengths that lie included. Sent at once, byte by
byte, and in random pieces.
"""
import contextlib
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import binary as b  # noqa: E402
from binary import packet  # noqa: E402
from harness import Client, eventually, free_port, main, product, wait_port  # noqa: E402

TOKEN = "a token"  # In an expected reply: some number that is not 0.
CLOSED = "closed"


def reply(opcode, status=b.OK, extras=b"", key=b"", value=b"", cas=0, opaque=b"\0\0\0\0"):
    return b.Reply(opcode, status, extras, key, value, opaque, cas)


def error(opcode, status, opaque=b"\0\0\0\0"):
    text = {b.NOT_FOUND: b"Not found", b.EXISTS: b"Data exists for key.", b.TOO_LARGE: b"Too large.",
            b.INVALID: b"Invalid arguments", b.NOT_STORED: b"Not stored.",
            b.NON_NUMERIC: b"Non-numeric server-side value for incr or decr",
            b.AUTH_ERROR: b"Auth failure.", b.UNKNOWN_COMMAND: b"Unknown command"}[status]
    return reply(opcode, status, value=text, opaque=opaque)


def hit(opcode, value, key=b"", flags=0):
    return reply(opcode, extras=struct.pack(">I", flags), key=key, value=value, cas=TOKEN)


def number(opcode, n):
    return reply(opcode, value=struct.pack(">Q", n), cas=TOKEN)


def store(opcode, key, value, flags=0, expiry=0, **more):
    return packet(opcode, key, value, b.flags_and_expiry(flags, expiry), **more)


def touch(opcode, key, expiry=0):
    return packet(opcode, key, extras=b.expiry_only(expiry))


def count(opcode, key, delta, initial=0, expiry=b.NEVER_CREATE, **more):
    return packet(opcode, key, extras=b.counting(delta, initial, expiry), **more)


NOOP, DONE = packet(b.NOOP, opaque=b"done"), reply(b.NOOP, opaque=b"done")
MOST = (1 << 20) - 59  # Bytes of key and value.
WHEN_GONE = 2592001  # More than 30 days is a time since 1970: long past.


def refused(opcode, what):
    return [(what, [error(opcode, b.INVALID), CLOSED])]


# name: [(bytes, replies)]. Each begins on a fresh connection and has keys of its own.
CONVERSATIONS = {
    "set and every get": [
        (store(b.SET, b"g", b"val", flags=7, opaque=b"1234"),
         [reply(b.SET, cas=TOKEN, opaque=b"1234")]),
        (packet(b.GET, b"g"), [hit(b.GET, b"val", flags=7)]),
        (packet(b.GETQ, b"g"), [hit(b.GETQ, b"val", flags=7)]),
        (packet(b.GETK, b"g"), [hit(b.GETK, b"val", b"g", 7)]),
        (packet(b.GETKQ, b"g"), [hit(b.GETKQ, b"val", b"g", 7)]),
        (touch(b.GAT, b"g"), [hit(b.GAT, b"val", flags=7)]),
        (touch(b.GATQ, b"g"), [hit(b.GATQ, b"val", flags=7)]),
        (touch(b.GATK, b"g"), [hit(b.GATK, b"val", b"g", 7)]),
        (touch(b.GATKQ, b"g", 100), [hit(b.GATKQ, b"val", b"g", 7)])],
    "every miss": [
        (packet(b.GET, b"m"), [error(b.GET, b.NOT_FOUND)]),
        (packet(b.GETK, b"m"), [reply(b.GETK, b.NOT_FOUND, key=b"m")]),
        (touch(b.GAT, b"m"), [error(b.GAT, b.NOT_FOUND)]),
        (touch(b.GATK, b"m"), [reply(b.GATK, b.NOT_FOUND, key=b"m")]),
        (touch(b.TOUCH, b"m"), [error(b.TOUCH, b.NOT_FOUND)]),
        (packet(b.GETQ, b"m") + packet(b.GETKQ, b"m") + touch(b.GATQ, b"m") + touch(b.GATKQ, b"m") +
         NOOP, [DONE])],
    "a value of nothing, and keys and values of any bytes": [
        (store(b.SET, b"e", b""), [reply(b.SET, cas=TOKEN)]),
        (packet(b.GET, b"e"), [hit(b.GET, b"")]),
        (store(b.SET, b"a b\r\n\0\xff", bytes(range(256))), [reply(b.SET, cas=TOKEN)]),
        (packet(b.GETK, b"a b\r\n\0\xff"), [hit(b.GETK, bytes(range(256)), b"a b\r\n\0\xff")]),
        (store(b.SET, b"k" * 250, b"long"), [reply(b.SET, cas=TOKEN)]),
        (packet(b.GET, b"k" * 250), [hit(b.GET, b"long")])],
    "add and replace": [
        (store(b.REPLACE, b"ar", b"1"), [error(b.REPLACE, b.NOT_FOUND)]),
        (store(b.ADD, b"ar", b"1"), [reply(b.ADD, cas=TOKEN)]),
        (store(b.ADD, b"ar", b"2"), [error(b.ADD, b.EXISTS)]),
        (store(b.REPLACE, b"ar", b"3"), [reply(b.REPLACE, cas=TOKEN)]),
        (packet(b.GET, b"ar"), [hit(b.GET, b"3")])],
    "append and prepend": [
        (packet(b.APPEND, b"ap", b"x"), [error(b.APPEND, b.NOT_STORED)]),
        (packet(b.PREPEND, b"ap", b"x", cas=5), [error(b.PREPEND, b.NOT_STORED)]),
        (store(b.SET, b"ap", b"-", flags=3), [reply(b.SET, cas=TOKEN)]),
        (packet(b.APPEND, b"ap", b"b"), [reply(b.APPEND, cas=TOKEN)]),
        (packet(b.PREPEND, b"ap", b"a"), [reply(b.PREPEND, cas=TOKEN)]),
        (packet(b.APPEND, b"ap", b"c", cas=5), [error(b.APPEND, b.EXISTS)]),
        (packet(b.APPENDQ, b"ap", b"") + packet(b.PREPENDQ, b"ap", b"") + packet(b.GET, b"ap"),
         [hit(b.GET, b"a-b", flags=3)])],
    "quiet stores say only what fails": [
        (store(b.SETQ, b"q", b"1") + store(b.ADDQ, b"q", b"2") + store(b.REPLACEQ, b"q", b"3") +
         store(b.REPLACEQ, b"q none", b"3") + packet(b.APPENDQ, b"q none", b"x") +
         packet(b.PREPENDQ, b"q", b"2") + packet(b.DELETEQ, b"q none") +
         store(b.SETQ, b"q", b"4", cas=2**62) + packet(b.GET, b"q") + packet(b.DELETEQ, b"q") +
         packet(b.GETQ, b"q") + NOOP,
         [error(b.ADDQ, b.EXISTS), error(b.REPLACEQ, b.NOT_FOUND), error(b.APPENDQ, b.NOT_STORED),
          error(b.DELETEQ, b.NOT_FOUND), error(b.SETQ, b.EXISTS), hit(b.GET, b"23"), DONE])],
    "a store with a token needs the item": [
        (store(b.SET, b"c", b"1", cas=77), [error(b.SET, b.NOT_FOUND)]),
        (store(b.ADD, b"c", b"1", cas=77), [error(b.ADD, b.NOT_FOUND)]),
        (store(b.REPLACE, b"c", b"1", cas=77), [error(b.REPLACE, b.NOT_FOUND)]),
        (store(b.SET, b"c", b"1"), [reply(b.SET, cas=TOKEN)]),
        (store(b.SET, b"c", b"2", cas=2**62), [error(b.SET, b.EXISTS)]),
        (packet(b.DELETE, b"c", cas=2**62), [error(b.DELETE, b.EXISTS)]),
        (packet(b.DELETE, b"c"), [reply(b.DELETE)]),
        (packet(b.DELETE, b"c"), [error(b.DELETE, b.NOT_FOUND)])],
    "counting": [
        (count(b.INCREMENT, b"n", 1), [error(b.INCREMENT, b.NOT_FOUND)]),
        (count(b.DECREMENTQ, b"n", 1), [error(b.DECREMENTQ, b.NOT_FOUND)]),
        (count(b.INCREMENT, b"n", 1, 100, 0), [number(b.INCREMENT, 100)]),
        (count(b.INCREMENT, b"n", 1, 100, 0), [number(b.INCREMENT, 101)]),
        (count(b.DECREMENT, b"n", 2, 100, 0), [number(b.DECREMENT, 99)]),
        (packet(b.GET, b"n"), [hit(b.GET, b"99 ")]),
        (count(b.DECREMENT, b"n", 1000), [number(b.DECREMENT, 0)]),
        (count(b.INCREMENTQ, b"n", 5) + count(b.DECREMENTQ, b"n", 2) + packet(b.GET, b"n"),
         [hit(b.GET, b"3  ")]),
        (count(b.INCREMENT, b"n", 1, cas=2**62), [error(b.INCREMENT, b.EXISTS)]),
        (count(b.DECREMENT, b"n max", 1, 2**64 - 1, 0), [number(b.DECREMENT, 2**64 - 1)]),
        (count(b.INCREMENT, b"n max", 1), [number(b.INCREMENT, 0)]),
        (count(b.INCREMENT, b"n with token", 1, 5, 0, cas=77), [number(b.INCREMENT, 5)]),
        (packet(b.GET, b"n with token"), [hit(b.GET, b"5")]),
        (store(b.SET, b"n word", b"word"), [reply(b.SET, cas=TOKEN)]),
        (count(b.INCREMENT, b"n word", 1, 5, 0), [error(b.INCREMENT, b.NON_NUMERIC)])],
    "lives": [
        (store(b.SETQ, b"l", b"v", expiry=WHEN_GONE) + packet(b.GET, b"l"),
         [error(b.GET, b.NOT_FOUND)]),
        (store(b.SETQ, b"l", b"v", expiry=0xffffffff) + packet(b.GET, b"l"), [hit(b.GET, b"v")]),
        (touch(b.GAT, b"l", WHEN_GONE) + packet(b.GET, b"l"),
         [hit(b.GAT, b"v"), error(b.GET, b.NOT_FOUND)]),
        (count(b.INCREMENTQ, b"l n", 1, 5, WHEN_GONE) + packet(b.GET, b"l n"),
         [error(b.GET, b.NOT_FOUND)])],
    "what has no key": [
        (packet(b.NOOP, opaque=b"noop"), [reply(b.NOOP, opaque=b"noop")]),
        (packet(b.STAT, b"reset", opaque=b"stat"), [reply(b.STAT, opaque=b"stat")]),
        (packet(b.STAT, b"sizes"), [reply(b.STAT, key=b"sizes_status", value=b"disabled"),
                                    reply(b.STAT)]),
        (packet(b.STAT, b"nonsense"), [error(b.STAT, b.NOT_FOUND)]),
        (packet(b.STAT, b"detail"), [error(b.STAT, b.NOT_FOUND)]),
        (packet(b.STAT, b"detail off"), [reply(b.STAT)])],
    "the first unknown opcode": [
        (packet(0x1f, opaque=b"what") + NOOP, [error(0x1f, b.UNKNOWN_COMMAND, b"what"), DONE])],
    "sasl without users": [
        (packet(b.SASL_LIST) + packet(b.SASL_AUTH, b"PLAIN", b"\0u\0p") +
         packet(b.SASL_STEP, b"PLAIN", b"x") + NOOP,
         [error(b.SASL_LIST, b.UNKNOWN_COMMAND), error(b.SASL_AUTH, b.UNKNOWN_COMMAND),
          error(b.SASL_STEP, b.UNKNOWN_COMMAND), DONE])],
    "quit": [(NOOP + packet(b.QUIT, opaque=b"quit"), [DONE, reply(b.QUIT, opaque=b"quit"), CLOSED])],
    "a quiet quit": [(NOOP + packet(b.QUITQ), [DONE, CLOSED])],
    "a value too large": [
        (store(b.SET, b"big", b"small"), [reply(b.SET, cas=TOKEN)]),
        (store(b.SET, b"big", b"v" * 1_100_000, opaque=b"big!"),
         [error(b.SET, b.TOO_LARGE, b"big!")]),
        (packet(b.GET, b"big"), [error(b.GET, b.NOT_FOUND)]),
        (store(b.ADDQ, b"big", b"v" * 1_100_000), [error(b.ADDQ, b.TOO_LARGE)]),
        (packet(b.APPEND, b"big", b"v" * 1_100_000), [error(b.APPEND, b.TOO_LARGE)]),
        (store(b.SET, b"big", b"v" * 900_000), [reply(b.SET, cas=TOKEN)]),
        (packet(b.GET, b"big"), [hit(b.GET, b"v" * 900_000)])],
    # 59 bytes beside key and value, 4 more for flags.
    "the largest value, and one that is a byte longer": [
        (store(b.SET, b"most", b"v" * (MOST - 4)), [reply(b.SET, cas=TOKEN)]),
        (packet(b.APPEND, b"most", b"w"), [error(b.APPEND, b.NOT_STORED)]),
        (packet(b.GET, b"most"), [hit(b.GET, b"v" * (MOST - 4))]),
        (store(b.SET, b"most", b"v" * (MOST - 3)), [error(b.SET, b.TOO_LARGE)]),
        (packet(b.GET, b"most"), [error(b.GET, b.NOT_FOUND)]),
        (store(b.ADD, b"most", b"v" * (MOST - 3)), [error(b.ADD, b.TOO_LARGE)]),
        (store(b.ADD, b"most", b"v" * (MOST - 8), flags=7), [reply(b.ADD, cas=TOKEN)]),
        (store(b.SET, b"most", b"v" * (MOST - 7), flags=7), [error(b.SET, b.TOO_LARGE)]),
        (packet(b.GET, b"most"), [error(b.GET, b.NOT_FOUND)])],
    "a key too long": refused(b.GET, packet(b.GET, b"k" * 251)),
    "a get without a key": refused(b.GET, packet(b.GET)),
    "a get with a value": refused(b.GETQ, packet(b.GETQ, b"k", b"v")),
    "a set without its extras": refused(b.SET, packet(b.SET, b"k", b"v")),
    "an append with extras": refused(b.APPENDQ, packet(b.APPENDQ, b"k", b"v", b"1234")),
    "a count with a value": refused(b.INCREMENT, packet(b.INCREMENT, b"k", b"v", b.counting(1))),
    "a delete with a value": refused(b.DELETE, packet(b.DELETE, b"k", b"v")),
    "a touch without its extras": refused(b.TOUCH, packet(b.TOUCH, b"k")),
    "a flush with odd extras": refused(b.FLUSH, packet(b.FLUSH, extras=b"12345678")),
    "a noop with a key": refused(b.NOOP, packet(b.NOOP, b"k")),
    "a version with a key": refused(b.VERSION, packet(b.VERSION, b"k")),
    "a quit with a key": refused(b.QUIT, packet(b.QUIT, b"k")),
    "stats with extras": refused(b.STAT, packet(b.STAT, extras=b"1234")),
    "sasl without a mechanism": refused(b.SASL_AUTH, packet(b.SASL_AUTH, b"", b"\0u\0p")),
    "a body shorter than its key": [
        (packet(b.GET, b"key", body_bytes=1),
         [error(b.GET, b.UNKNOWN_COMMAND), CLOSED])],
    "a packet that is none": [(NOOP + packet(b.GET, b"k", magic=0x81), [DONE, CLOSED])],
    "text after packets": [(NOOP + b"version\r\n" + b"x" * 30, [DONE, CLOSED])],
}
# memcached loses its place in the stream after an opcode that it does not know and that has a key or
# extras, and does not know VERBOSITY, which the specification has. When it hangs up on what is no
# packet, it drops the replies that it has not sent yet.
OURS = {
    "stats with a value, which is taken for a packet": [
        (packet(b.STAT, b"sizes", b"value" * 5),
         [reply(b.STAT, key=b"sizes_status", value=b"disabled"), reply(b.STAT), CLOSED])],
    "an unknown opcode with a body": [
        (packet(0x60, b"key", b"value", b"extras", opaque=b"what") + NOOP,
         [error(0x60, b.UNKNOWN_COMMAND, b"what"), DONE])],
    "verbosity": [(packet(b.VERBOSITY, extras=b"\0\0\0\1") + NOOP, [reply(b.VERBOSITY), DONE])],
}


def pieces_of(data, how, rng):
    if how == "whole" or len(data) > 20_000:
        return [data]
    if how == "bytes":
        return [data[i:i + 1] for i in range(len(data))]
    cuts = sorted(rng.randrange(1, len(data)) for _ in range(min(5, len(data) - 1)))
    return [data[x:y] for x, y in zip([0] + cuts, cuts + [len(data)]) if x < y]


def alike(got, wanted):
    token = wanted.cas is TOKEN
    return got == (wanted._replace(cas=got.cas) if token else wanted) and bool(got.cas) == token


def play(port, conversation, how, rng):
    c = b.Connection(port)
    for data, replies in conversation:
        for piece in pieces_of(data, how, rng):
            try:
                c.say(piece)
            except OSError:
                break  # Closed already; what was said before is there to be read.
        for wanted in replies:
            if wanted == CLOSED:
                assert c.closed()
                continue
            got = c.hear()
            assert alike(got, wanted), f"{got!r} instead of {wanted!r}"
    c.close()


def play_all(port, conversations):
    rng = random.Random(1)
    flush(port)
    for how in ("whole", "bytes", "random"):
        for name, conversation in conversations.items():
            try:
                play(port, conversation, how, rng)
            except (AssertionError, EOFError, OSError) as e:
                raise AssertionError(f"{name} ({how}): {e!r}"[:2000]) from None
        flush(port)


def flush(port):
    c = b.Connection(port)
    assert c.ask(b.FLUSH).status == b.OK
    c.close()


@contextlib.contextmanager
def memcached(*flags):
    port = free_port()
    server = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-U",
                               "0", *flags], stderr=subprocess.DEVNULL)
    try:
        wait_port(port)
        yield port
    finally:
        server.kill()
        server.wait()


def memcache_port(running):
    return int(running.wait_log(r"memcache[^\n]* on 127\.0\.0\.1:(\d+)").group(1))


@contextlib.contextmanager
def segcache(*flags):
    with product("segcache", "-p", "0", *flags) as running:
        yield memcache_port(running)


@contextlib.contextmanager
def proxy(*lines):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write('[[cache]]\nport = 0\ncache_name = "c"\nflush_all = true\n' +
                     "".join(line + "\n" for line in lines))
        config.flush()
        with product("momento_proxy", "--local", config.name) as running:
            yield memcache_port(running)


def test_memcached_says_so():
    with memcached() as port:
        play_all(port, CONVERSATIONS)


def test_segcache():
    with segcache() as port:
        play_all(port, {**CONVERSATIONS, **OURS})


def test_proxy():
    for lines in ([], ['writes = "plain"'], ['envelope = "nonce"']):
        with proxy(*lines) as port:
            play_all(port, {**CONVERSATIONS, **OURS})


def each(check):
    """On memcached, segcache and the proxy, with and without a near cache."""
    with memcached() as port:
        check(port, "memcached")
    with segcache() as port:
        check(port, "segcache")
    with proxy() as port:
        check(port, "proxy")
    with proxy('near_size = "8MB"', 'near_staleness = "10s"') as port:
        check(port, "proxy")


def test_a_touch_tells_flags_and_token():
    def check(port, name):
        c = b.Connection(port)
        cas = c.ask(b.SET, b"k", b"v", b.flags_and_expiry(7)).cas
        got = c.ask(b.TOUCH, b"k", extras=b.expiry_only(100))
        assert got.status == b.OK and got.value == b""
        # The proxy does not pay for a read to know them.
        wanted = (struct.pack(">I", 7), cas) if name != "proxy" else (b"\0\0\0\0", 0)
        assert (got.extras, got.cas) == wanted, got
    each(check)


def test_tokens_are_told_and_taken():
    def check(port, _):
        c = b.Connection(port)
        first = c.ask(b.SET, b"k", b"1", b.flags_and_expiry(7)).cas
        assert first == c.ask(b.GET, b"k").cas == c.ask(b.GATK, b"k", extras=b.expiry_only(0)).cas
        second = c.ask(b.SET, b"k", b"2", b.flags_and_expiry(7), cas=first)
        assert second.status == b.OK and second.cas not in (0, first)
        assert c.ask(b.GET, b"k")[2:] == (b"\0\0\0\7", b"", b"2", b"\0\0\0\0", second.cas)
        assert c.ask(b.SET, b"k", b"3", b.flags_and_expiry(7), cas=first).status == b.EXISTS
        third = c.ask(b.APPEND, b"k", b"+", cas=second.cas)
        assert third.status == b.OK
        assert c.ask(b.DELETE, b"k", cas=second.cas).status == b.EXISTS
        assert c.ask(b.DELETE, b"k", cas=third.cas).status == b.OK
        made = c.ask(b.INCREMENT, b"n", extras=b.counting(1, 9, 0))
        counted = c.ask(b.INCREMENT, b"n", extras=b.counting(1), cas=made.cas)
        assert counted.value == struct.pack(">Q", 10), counted
        assert counted.cas == c.ask(b.GET, b"n").cas != made.cas
    each(check)


def test_what_one_dialect_writes_the_other_reads():
    def check(port, _):
        text, c = Client(port), b.Connection(port)
        value = bytes(range(256)) * 20
        assert text.set(b"t", value, flags=2**32 - 1, exptime=100) == b"STORED"
        got = c.ask(b.GETK, b"t")
        assert (got.extras, got.key, got.value) == (b"\xff" * 4, b"t", value)
        assert c.ask(b.SET, b"b", value, b.flags_and_expiry(77, 100)).status == b.OK
        assert text.get(b"b") == (77, value)
        # Tokens of either are good in the other.
        cas = c.ask(b.SET, b"c", b"1", b.flags_and_expiry(5)).cas
        text.say(b"gets c\r\n")
        assert text.hear_until(b"END\r\n").split(b"\r\n")[0] == b"VALUE c 5 1 %d" % cas
        text.say(b"cas c 6 0 1 %d\r\n2\r\n" % cas)
        assert text.hear_line() == b"STORED"
        assert c.ask(b.SET, b"c", b"3", b.flags_and_expiry(), cas=cas).status == b.EXISTS
        text.say(b"gets c\r\n")
        cas = int(text.hear_until(b"END\r\n").split()[4])
        assert c.ask(b.SET, b"c", b"3", b.flags_and_expiry(), cas=cas).status == b.OK
        assert text.get(b"c") == (0, b"3")
        # Counters, and what is joined.
        assert c.ask(b.INCREMENT, b"n", extras=b.counting(1, 41, 0)).value[-1] == 41
        assert text.ask(b"incr n 1") == b"42"
        assert c.ask(b.DECREMENT, b"n", extras=b.counting(2)).value[-1] == 40
        assert text.set(b"j", b"b", flags=3) == b"STORED"
        assert c.ask(b.PREPEND, b"j", b"a").status == b.OK
        assert text.get(b"j") == (3, b"ab")
        # Lives.
        assert c.ask(b.SET, b"l", b"v", b.flags_and_expiry(0, 1)).status == b.OK
        assert text.set(b"l2", b"v", exptime=1) == b"STORED"
        assert text.set(b"l3", b"v", exptime=1) == b"STORED"
        assert c.ask(b.TOUCH, b"l3", extras=b.expiry_only(1000)).status == b.OK
        eventually(lambda: text.get(b"l") is None, what="the end of a life from a packet")
        eventually(lambda: c.ask(b.GET, b"l2").status == b.NOT_FOUND, what="the end of a text's")
        assert text.get(b"l3") == (0, b"v")
    each(check)


def test_what_meta_commands_write_everybody_reads():
    def check(port, name):
        text, c, meta = Client(port), b.Connection(port), Client(port)

        def got(line):
            meta.say(line + b"\r\n")
            header = meta.hear_line()
            if not header.startswith(b"VA "):
                return header, None
            value = meta.hear_bytes(int(header.split()[1]) + 2)[:-2]
            return header.split(b" ", 2)[2], value

        value = bytes(range(256)) * 20
        meta.say(b"ms m %d F4294967295 T100 c\r\n%s\r\n" % (len(value), value))
        token = int(meta.hear_line().removeprefix(b"HD c"))
        assert text.get(b"m") == (2**32 - 1, value)
        packet = c.ask(b.GET, b"m")
        assert (packet.extras, packet.value, packet.cas) == (b"\xff" * 4, value, token)
        # And what they wrote, it reads.
        assert text.set(b"t", b"text", flags=7, exptime=100) == b"STORED"
        cas = c.ask(b.SET, b"p", b"packet", b.flags_and_expiry(9, 100)).cas
        assert got(b"mg t f v") == (b"f7", b"text")
        assert got(b"mg p f c v") == (b"f9 c%d" % cas, b"packet")
        # A token of either is good in each.
        meta.say(b"ms p 2 C%d c\r\nm1\r\n" % cas)
        cas = int(meta.hear_line().removeprefix(b"HD c"))
        text.say(b"cas p 3 0 2 %d\r\nt1\r\n" % cas)
        assert text.hear_line() == b"STORED"
        assert c.ask(b.SET, b"p", b"x", b.flags_and_expiry(), cas=cas).status == b.EXISTS
        # An item with more to it than its bytes is the same item to all: made for a winner, stale.
        assert got(b"mg n f v N100 s")[0] == b"f0 s0 W"
        assert text.get(b"n") == (0, b"") and c.ask(b.GET, b"n").value == b""
        assert text.set(b"n", b"5", flags=3) == b"STORED"
        assert meta.ask(b"md n I T100") == b"HD"
        assert text.get(b"n") == (3, b"5")
        packet = c.ask(b.GET, b"n")
        assert (packet.extras, packet.value) == (b"\0\0\0\3", b"5")
        text.say(b"gets n\r\n")
        assert int(text.hear_until(b"END\r\n").split()[4]) == packet.cas
        assert got(b"mg n c f v") == (b"c%d f3 X W" % packet.cas, b"5")
        assert text.ask(b"incr n 1") == b"6" and got(b"mg n v f")[1] == b"6"
        assert c.ask(b.DELETE, b"n").status == b.OK and meta.ask(b"mg n v") == b"EN"
    each(check)


def test_a_flush_may_wait():
    def check(port, _):
        c = b.Connection(port)
        assert c.ask(b.SET, b"k", b"v", b.flags_and_expiry()).status == b.OK
        assert c.ask(b.FLUSH, extras=b.expiry_only(1)).status == b.OK
        eventually(lambda: c.ask(b.GET, b"k").status == b.NOT_FOUND, what="the flush")
        assert c.ask(b.SET, b"k", b"v", b.flags_and_expiry()).status == b.OK
        c.say(packet(b.FLUSHQ) + packet(b.GET, b"k"))
        assert c.hear() == error(b.GET, b.NOT_FOUND)
    for server in (segcache, proxy):
        with server() as port:
            check(port, "")


def test_a_flush_that_is_not_allowed():
    with segcache("-F") as port:
        c = b.Connection(port)
        assert c.ask(b.FLUSH) == error(b.FLUSH, b.AUTH_ERROR)
        assert c.ask(b.FLUSHQ) == error(b.FLUSHQ, b.AUTH_ERROR)
    with memcached("-F") as port:
        assert b.Connection(port).ask(b.FLUSH) == error(b.FLUSH, b.AUTH_ERROR)


def test_stats_are_those_of_the_text():
    for server in (segcache, proxy):
        with server() as port:
            text, c = Client(port), b.Connection(port)
            for argument in (b"", b"settings", b"items"):
                text.say(b"stats " + argument + b"\r\n")
                names = [line.split()[1] for line in text.hear_until(b"END\r\n").splitlines()[:-1]]
                heard = []
                c.say(packet(b.STAT, argument, opaque=b"stat"))
                while (got := c.hear()).key:
                    assert (got.status, got.opaque) == (b.OK, b"stat")
                    heard.append(got.key)
                assert heard == names and got.value == b""
            assert c.ask(b.VERSION).value == text.ask(b"version").split()[1]


def metrics(running):
    port = running.wait_log(r"HTTP on 127\.0\.0\.1:(\d+)").group(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        return page.read().decode()


def test_quiet_gets_share_a_call_in_order():
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write('[[cache]]\nport = 0\ncache_name = "c"\n')
        config.flush()
        with product("momento_proxy", "--local", config.name) as running:
            c = b.Connection(memcache_port(running))
            for i in range(0, 50, 2):
                assert c.ask(b.SET, b"k%d" % i, b"v%d" % i, b.flags_and_expiry(i)).status == b.OK
            c.say(b"".join(packet(b.GETKQ, b"k%d" % i, opaque=struct.pack(">I", i))
                           for i in range(50)) + NOOP)
            for i in range(0, 50, 2):
                got = c.hear()
                assert (got.opcode, got.key, got.value) == (b.GETKQ, b"k%d" % i, b"v%d" % i)
                assert got.opaque == got.extras == struct.pack(">I", i) and got.cas != 0
            assert c.hear() == DONE
            text = metrics(running)
            assert 'proxy_batch_total{cache="c"} 1\n' in text, text
            assert 'proxy_batch_key_total{cache="c"} 50\n' in text


def test_pipelines_of_everything():
    rng = random.Random(2)
    for server in (segcache, proxy):
        with server() as port:
            c = b.Connection(port)
            sent, wanted = b"", []
            for i in range(3000):
                key = b"p%d" % rng.randrange(20)
                kind = rng.randrange(4)
                opaque = struct.pack(">I", i)
                if kind == 0:
                    sent += store(b.SET, key, b"1", opaque=opaque)
                elif kind == 1:
                    sent += packet(b.GETK, key, opaque=opaque)
                elif kind == 2:
                    sent += count(b.INCREMENT, key, 1, 5, 0, opaque=opaque)
                else:
                    sent += store(b.SETQ, key, b"2", opaque=opaque)
                    continue
                wanted.append((i, kind, key))
            c.socket.settimeout(30)
            sender = threading.Thread(target=c.say, args=(sent + NOOP,))
            sender.start()
            for i, kind, key in wanted:
                got = c.hear()
                assert got.opaque == struct.pack(">I", i), (i, got)
                assert kind != 1 or got.key == key
            assert c.hear() == DONE
            sender.join()


if __name__ == "__main__":
    main(globals())
