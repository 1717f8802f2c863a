"""pymemcache: with_pymemcache.py PORT"""
import sys
import zlib

from feature_report import LARGE, TEXT, Report, equal
from pymemcache.client.base import Client
from pymemcache.serde import pickle_serde

server = ("127.0.0.1", int(sys.argv[1]))
c = Client(server, default_noreply=False, key_prefix=b"pymemcache:")
r = Report()


def set_get():
    equal(c.set("k", b"value"), True)
    equal(c.get("k"), b"value")
    equal(c.get("absent"), None)


def multi():
    equal(c.set_many({f"m{i}": b"v%d" % i for i in range(200)}), [])
    equal(c.get_many([f"m{i}" for i in range(250)]), {f"m{i}": b"v%d" % i for i in range(200)})


def add():
    c.delete("a")
    equal((c.add("a", b"1"), c.add("a", b"2"), c.get("a")), (True, False, b"1"))


def replace():
    c.delete("none")
    c.set("r", b"1")
    equal((c.replace("r", b"2"), c.replace("none", b"2"), c.get("r")), (True, False, b"2"))


def cas():
    c.set("c", b"1")
    value, token = c.gets("c")
    equal((value, c.cas("c", b"2", token), c.cas("c", b"3", token)), (b"1", True, False))
    equal((c.get("c"), c.cas("absent", b"1", token)), (b"2", None))


def incr():
    c.set("n", b"10")
    equal((c.incr("n", 5), c.incr("absent", 1)), (15, None))


def decr():
    c.set("d", b"10")
    equal((c.decr("d", 3), c.decr("d", 20), c.decr("absent", 1)), (7, 0, None))


def append():
    c.set("ap", b"a")
    equal((c.append("ap", b"b"), c.append("absent", b"b"), c.get("ap")), (True, False, b"ab"))


def prepend():
    c.set("pr", b"a")
    equal((c.prepend("pr", b"b"), c.get("pr")), (True, b"ba"))


def touch():
    c.set("t", b"1")
    equal((c.touch("t", 100), c.touch("absent", 100)), (True, False))


def delete():
    c.set("x", b"1")
    equal((c.delete("x"), c.delete("x"), c.get("x")), (True, False, None))


def flags():
    typed = Client(server, serde=pickle_serde, default_noreply=False, key_prefix=b"pymemcache:")
    for thing in ("text", b"bytes", 42, {"a": [1, 2, None]}):
        equal(typed.set("typed", thing), True)
        equal(typed.get("typed"), thing)


class Compressing:
    """Debian's pymemcache brings none: values are packed on the way in, told by a flag."""

    def serialize(self, _, value):
        return zlib.compress(value.encode()), 1 << 3

    def deserialize(self, _, value, flags):
        return zlib.decompress(value).decode() if flags == 1 << 3 else value


def compressed():
    serde = Compressing()
    packed = Client(server, serde=serde, default_noreply=False, key_prefix=b"pymemcache:")
    equal(packed.set("packed", TEXT), True)
    equal(packed.get("packed"), TEXT)
    assert len(c.get("packed")) < len(TEXT) / 10


def large():
    equal(c.set("large", LARGE), True)
    equal(c.get("large"), LARGE)


def utf8_keys():
    utf8 = Client(server, allow_unicode_keys=True, default_noreply=False, key_prefix=b"pymemcache:")
    equal(utf8.set("schlüssel-鍵", b"1"), True)
    equal(utf8.get("schlüssel-鍵"), b"1")


def noreply():
    for i in range(1000):
        c.set(f"q{i % 10}", b"%d" % i, noreply=True)
    equal(c.get("q9"), b"999")


def expiry_begins():
    equal(c.set("brief", b"1", expire=2), True)
    equal(c.get("brief"), b"1")


r.expires(expiry_begins, lambda: equal(c.get("brief"), None))
for check in (set_get, multi, add, replace, cas, incr, decr, append, prepend, touch, delete, flags,
              compressed, large, utf8_keys, noreply):
    r.check(check.__name__, check)
r.check("pipeline", multi)  # set_many writes all commands, then reads all replies.
r.end()
