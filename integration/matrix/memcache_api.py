"""The features of an API that two libraries have: python-memcached, and pylibmc, which took it over."""
from feature_report import LARGE, TEXT, Report, equal


class MemcacheApi:
    """`client` asks for keys that begin with `prefix`. A library's own driver adds cas(), noreply() and
    delete(), which differ, and the `things` its types of values are."""

    def __init__(self, client, prefix, things):
        self.c, self.p, self.things = client, prefix, things

    def quiet(self, call, *args):
        """The answer; of what is not there None or False, however the library tells it."""
        return call(*args)

    def set_get(self):
        c, p = self.c, self.p
        equal(c.set(p + "k", "value"), True)
        equal((c.get(p + "k"), c.get(p + "absent")), ("value", None))

    def multi(self):
        c, p = self.c, self.p
        equal(c.set_multi({f"m{i}": i for i in range(200)}, key_prefix=p), [])
        equal(c.get_multi([f"m{i}" for i in range(250)], key_prefix=p),
              {f"m{i}": i for i in range(200)})

    def add(self):
        c, p = self.c, self.p
        c.delete(p + "a")
        equal((c.add(p + "a", "1"), c.add(p + "a", "2"), c.get(p + "a")), (True, False, "1"))

    def replace(self):
        c, p = self.c, self.p
        c.set(p + "r", "1")
        equal((c.replace(p + "r", "2"), self.quiet(c.replace, p + "none", "2") or False, c.get(p + "r")),
              (True, False, "2"))

    def incr(self):
        c, p = self.c, self.p
        c.set(p + "n", 10)
        equal((c.incr(p + "n", 5), self.quiet(c.incr, p + "absent"), c.get(p + "n")), (15, None, 15))

    def decr(self):
        c, p = self.c, self.p
        c.set(p + "d", 10)
        equal((c.decr(p + "d", 3), c.decr(p + "d", 20), self.quiet(c.decr, p + "absent")), (7, 0, None))

    def append(self):
        c, p = self.c, self.p
        c.set(p + "ap", "a")
        equal((c.append(p + "ap", "b"), c.append(p + "absent", "b"), c.get(p + "ap")), (True, False, "ab"))

    def prepend(self):
        c, p = self.c, self.p
        c.set(p + "pr", "a")
        equal((c.prepend(p + "pr", "b"), c.get(p + "pr")), (True, "ba"))

    def touch(self):
        c, p = self.c, self.p
        c.set(p + "t", "1")
        equal((c.touch(p + "t", 100), self.quiet(c.touch, p + "absent", 100)), (True, False))

    def flags(self):
        for thing in self.things:
            equal(self.c.set(self.p + "typed", thing), True)
            equal(self.c.get(self.p + "typed"), thing)

    def compressed(self):
        equal(self.c.set(self.p + "packed", TEXT, min_compress_len=100), True)
        equal(self.c.get(self.p + "packed"), TEXT)

    def large(self):
        equal(self.c.set(self.p + "large", LARGE), True)
        equal(self.c.get(self.p + "large"), LARGE)

    def utf8_keys(self):
        equal(self.c.set(self.p + "schlüssel-鍵", "1"), True)
        equal(self.c.get(self.p + "schlüssel-鍵"), "1")

    def expiry_begins(self):
        equal(self.c.set(self.p + "brief", "1", time=2), True)
        equal(self.c.get(self.p + "brief"), "1")

    def report(self):
        r = Report()
        r.expires(self.expiry_begins, lambda: equal(self.c.get(self.p + "brief"), None))
        for name in ("set_get", "multi", "add", "replace", "cas", "incr", "decr", "append", "prepend",
                     "touch", "delete", "flags", "compressed", "large", "utf8_keys", "noreply"):
            r.check(name, getattr(self, name))
        # Writes all its commands, then reads all replies: set_multi of python-memcached, get_multi of
        # pylibmc, quiet gets in binary.
        r.check("pipeline", self.multi)
        r.end()
