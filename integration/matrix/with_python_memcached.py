"""python-memcached: with_python_memcached.py PORT"""
import sys

import memcache
from feature_report import LARGE, TEXT, Report, equal

c = memcache.Client([f"127.0.0.1:{sys.argv[1]}"], cache_cas=True)
p = "python-memcached:"
r = Report()


def set_get():
    equal(c.set(p + "k", "value"), True)
    equal((c.get(p + "k"), c.get(p + "absent")), ("value", None))


def multi():
    equal(c.set_multi({f"m{i}": i for i in range(200)}, key_prefix=p), [])
    equal(c.get_multi([f"m{i}" for i in range(250)], key_prefix=p), {f"m{i}": i for i in range(200)})


def add():
    c.delete(p + "a")
    equal((c.add(p + "a", "1"), c.add(p + "a", "2"), c.get(p + "a")), (True, False, "1"))


def replace():
    c.set(p + "r", "1")
    equal((c.replace(p + "r", "2"), c.replace(p + "none", "2"), c.get(p + "r")), (True, False, "2"))


def cas():
    c.set(p + "c", "1")
    equal(c.gets(p + "c"), "1")
    equal(c.cas(p + "c", "2"), True)
    equal(c.cas(p + "c", "3"), False)
    equal(c.get(p + "c"), "2")


def incr():
    c.set(p + "n", 10)
    equal((c.incr(p + "n", 5), c.incr(p + "absent"), c.get(p + "n")), (15, None, 15))


def decr():
    c.set(p + "d", 10)
    equal((c.decr(p + "d", 3), c.decr(p + "d", 20), c.decr(p + "absent")), (7, 0, None))


def append():
    c.set(p + "ap", "a")
    equal((c.append(p + "ap", "b"), c.append(p + "absent", "b"), c.get(p + "ap")), (True, False, "ab"))


def prepend():
    c.set(p + "pr", "a")
    equal((c.prepend(p + "pr", "b"), c.get(p + "pr")), (True, "ba"))


def touch():
    c.set(p + "t", "1")
    equal((c.touch(p + "t", 100), c.touch(p + "absent", 100)), (1, 0))


def delete():
    c.set(p + "x", "1")
    equal((c.delete(p + "x"), c.get(p + "x")), (1, None))


def flags():
    for thing in ("text", b"bytes", 42, 2 ** 70, {"a": [1, 2, None]}):
        equal(c.set(p + "typed", thing), True)
        equal(c.get(p + "typed"), thing)


def compressed():
    equal(c.set(p + "packed", TEXT, min_compress_len=100), True)
    equal(c.get(p + "packed"), TEXT)


def large():
    equal(c.set(p + "large", LARGE), True)
    equal(c.get(p + "large"), LARGE)


def utf8_keys():
    equal(c.set(p + "schlüssel-鍵", "1"), True)
    equal(c.get(p + "schlüssel-鍵"), "1")


def noreply():
    for i in range(1000):
        c.set(f"{p}q{i % 10}", i, noreply=True)
    equal(c.get(p + "q9"), 999)


def expiry_begins():
    equal(c.set(p + "brief", "1", time=2), True)
    equal(c.get(p + "brief"), "1")


r.expires(expiry_begins, lambda: equal(c.get(p + "brief"), None))
for check in (set_get, multi, add, replace, cas, incr, decr, append, prepend, touch, delete, flags,
              compressed, large, utf8_keys, noreply):
    r.check(check.__name__, check)
r.check("pipeline", multi)  # set_multi writes all commands, then reads all replies.
r.end()
