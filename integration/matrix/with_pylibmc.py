"""pylibmc, which is libmemcached: with_pylibmc.py PORT text|binary [USER PASSWORD]"""
import sys

import pylibmc
from feature_report import equal
from memcache_api import MemcacheApi

port, dialect = sys.argv[1:3]
names = {"username": sys.argv[3], "password": sys.argv[4]} if len(sys.argv) > 3 else {}


def connect(**behaviors):
    return pylibmc.Client([f"127.0.0.1:{port}"], binary=dialect == "binary", behaviors=behaviors, **names)


class Pylibmc(MemcacheApi):
    def quiet(self, call, *args):
        try:
            return call(*args)
        except pylibmc.NotFound:
            return None

    def cas(self):
        c, p = self.c, self.p
        c.set(p + "c", "1")
        value, token = c.gets(p + "c")
        equal((value, c.cas(p + "c", "2", token), c.cas(p + "c", "3", token)), ("1", True, False))
        equal(c.get(p + "c"), "2")

    def delete(self):
        c, p = self.c, self.p
        c.set(p + "x", "1")
        equal((c.delete(p + "x"), c.delete(p + "x"), c.get(p + "x")), (True, False, None))

    def noreply(self):
        silent = connect(_noreply=True)
        for i in range(1000):
            silent.set(f"{self.p}q{i % 10}", i)
        equal(silent.get(self.p + "q9"), 999)


Pylibmc(connect(cas=True), f"pylibmc-{dialect}-{'sasl' if names else ''}:",
        things=("text", b"bytes", 42, True, {"a": [1, 2, None]})).report()
