"""python-memcached: with_python_memcached.py PORT"""
import sys

import memcache
from feature_report import equal
from memcache_api import MemcacheApi


class PythonMemcached(MemcacheApi):
    def cas(self):
        c, p = self.c, self.p  # The client keeps the tokens.
        c.set(p + "c", "1")
        equal(c.gets(p + "c"), "1")
        equal((c.cas(p + "c", "2"), c.cas(p + "c", "3"), c.get(p + "c")), (True, False, "2"))

    def delete(self):
        c, p = self.c, self.p  # Of an absent key it says the same.
        c.set(p + "x", "1")
        equal((c.delete(p + "x"), c.get(p + "x")), (1, None))

    def noreply(self):
        for i in range(1000):
            self.c.set(f"{self.p}q{i % 10}", i, noreply=True)
        equal(self.c.get(self.p + "q9"), 999)


PythonMemcached(memcache.Client([f"127.0.0.1:{sys.argv[1]}"], cache_cas=True), "python-memcached:",
                things=("text", b"bytes", 42, 2 ** 70, {"a": [1, 2, None]})).report()
