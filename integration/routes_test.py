#!/usr/bin/env python3
"""One port for several caches: keys go where their prefix leads, and each cache lives its own life."""
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import binary  # noqa: E402
from backend import Backend  # noqa: E402
from handover_test import line_of  # noqa: E402
from harness import Client, eventually, main, product  # noqa: E402
from knobs import config_file, local, metrics, page, port_of, run, sets, shows, total  # noqa: E402

PROXY = ["momento_proxy"]

# Cache "main" listens; "users" is reached by its routes alone, "sess" has a port of its own too.
THREE = """
[momento]
endpoint_override = "127.0.0.1:{backend}"
[[cache]]
cache_name = "main"
port = {port}
{main}
[[cache.route]]
prefix = "user:"
cache = "users"
[[cache.route]]
prefix = "s:"
cache = "sess"
strip = true
[[cache]]
cache_name = "users"
tcp = false
{users}
[[cache]]
cache_name = "sess"
port = 0
{sess}
"""


@contextlib.contextmanager
def three(backend, main="", users="", sess="", flags=(), port=0):
    """The proxy; `main` and so on are further lines of the three."""
    with config_file(THREE.format(backend=backend, port=port, main=main, users=users,
                                  sess=sess)) as path:
        with product("momento_proxy", path, *flags) as proxy:
            proxy.path = path
            port_of_cache(proxy, "sess")
            yield proxy


def port_of_cache(proxy, cache):
    return int(proxy.wait_log(rf"memcache on \S+:(\d+) for cache {cache}\b").group(1))


def values(client, command, *keys):
    """Key and value of each hit, in the order they came."""
    client.say(b" ".join((command, *keys)) + b"\r\n")
    found = []
    while True:
        line = client.hear_line()
        if line == b"END":
            return found
        assert line.startswith(b"VALUE "), line
        _, key, _, size = line.split()[:4]
        while len(client.heard) < int(size) + 2:
            client.heard += client.socket.recv(1 << 20)
        found.append((key, client.heard[:int(size)]))
        client.heard = client.heard[int(size) + 2:]


def stats(client, *words):
    client.say(b" ".join((b"stats", *words)) + b"\r\n")
    lines = client.hear_until(b"END\r\n").decode().split("\r\n")[:-2]
    return dict(line.split(" ", 2)[1:] for line in lines)


def breaker(client, cache):
    return stats(client, b"cache", cache, b"breaker")["breaker_state"]


@shows(PROXY, "cache[].route[].prefix", "cache[].route[].cache", "cache[].route[].strip")
def test_keys_go_where_their_prefix_leads():
    with local() as server, three(port_of(server)) as proxy:
        client, sess = Client(port_of_cache(proxy, "main")), Client(port_of_cache(proxy, "sess"))
        for key in (b"1", b"user:1", b"user:", b"s:1", b"s:", b"us"):
            assert client.set(key, b"is " + key, flags=7) == b"STORED"
        for key in (b"1", b"user:1", b"user:", b"s:1", b"s:", b"us"):
            assert client.get(key) == (7, b"is " + key)
        # Behind the stripped prefix the key is what the other port calls it.
        assert sess.get(b"1") == (7, b"is s:1")
        assert sess.get(b"s:1") is None and sess.get(b"user:1") is None
        assert sess.set(b"2", b"two") == b"STORED"
        assert client.get(b"s:2") == (0, b"two")
        for cache, stored in (("main", 3), ("users", 2), ("sess", 2)):
            assert total(proxy, "proxy_store_total", f'cache="{cache}"') == stored, cache
        # What each of the other commands says is of that cache, too.
        assert client.ask(b"touch s:2 100") == b"TOUCHED"
        assert client.ask(b"delete s:2") == b"DELETED" and sess.get(b"2") is None
        assert client.set(b"user:n", b"41") == b"STORED"
        assert client.ask(b"incr user:n 1") == b"42"
        client.say(b"append s:1 0 0 1\r\n!\r\n")
        assert client.hear_line() == b"STORED" and sess.get(b"1") == (7, b"is s:1!")
        client.say(b"gets s:1\r\n")
        token = client.hear_until(b"END\r\n").split(b"\r\n")[0].split()[-1]
        client.say(b"cas s:1 0 0 1 %s\r\nx\r\n" % token)
        assert client.hear_line() == b"STORED" and sess.get(b"1") == (0, b"x")


def test_a_get_over_three_caches_is_answered_in_its_order():
    with local() as server, three(port_of(server), flags=("-t", "2")) as proxy:
        client = Client(port_of_cache(proxy, "main"))
        large = b"x" * 50_000
        for i in range(20):
            for prefix in (b"", b"user:", b"s:"):
                value = (large if i % 7 == 3 else b"") + prefix + b"%d" % i
                assert client.set(prefix + b"%d" % i, value) == b"STORED"
        gets = total(server, "cache_local_calls_total", 'rpc="get"')
        batches = total(server, "cache_local_calls_total", 'rpc="get-batch"')
        keys = [prefix + b"%d" % i for i in range(24) for prefix in (b"s:", b"", b"user:")]
        random.Random(1).shuffle(keys)
        keys += keys[:5]  # Some twice.
        found = values(client, b"get", *keys)
        assert [key for key, _ in found] == [key for key in keys if int(key.split(b":")[-1]) < 20]
        for key, value in found:
            assert value.endswith(key) and len(value) in (len(key), len(key) + 50_000), key
        # A call for each cache.
        assert total(server, "cache_local_calls_total", 'rpc="get"') == gets
        now = total(server, "cache_local_calls_total", 'rpc="get-batch"')
        assert now == batches + 3, (batches, now)
        assert total(proxy, "proxy_route_spread_total", 'cache="main"') == 1
        assert [key for key, _ in values(client, b"gat 100", b"s:1", b"1", b"no")] == [b"s:1", b"1"]


def test_packets_are_routed_too():
    with local() as server, three(port_of(server)) as proxy:
        c = binary.Connection(port_of_cache(proxy, "main"))
        for key in (b"k", b"user:k", b"s:k"):
            assert c.ask(binary.SET, key, b"is " + key,
                         extras=binary.flags_and_expiry(3, 0)).status == binary.OK
        hit = c.ask(binary.GETK, b"s:k")
        assert (hit.status, hit.key, hit.value) == (binary.OK, b"s:k", b"is s:k"), hit
        miss = c.ask(binary.GETK, b"s:none")
        assert (miss.status, miss.key) == (binary.NOT_FOUND, b"s:none"), miss
        assert c.ask(binary.GET, b"user:k").value == b"is user:k"
        asked = [b"s:k", b"none", b"k", b"user:none", b"user:k", b"s:none"]
        c.say(b"".join(binary.packet(binary.GETKQ, key) for key in asked) +
              binary.packet(binary.NOOP))
        heard = [c.hear() for _ in range(4)]
        assert [one.key for one in heard] == [b"s:k", b"k", b"user:k", b""], heard
        assert heard[3].opcode == binary.NOOP
        assert c.ask(binary.INCREMENT, b"s:n", extras=binary.counting(1, 10, 0)).status == binary.OK
        text = Client(port_of_cache(proxy, "sess"))
        assert text.get(b"n") == (0, b"10")
        assert c.ask(binary.DELETE, b"s:k").status == binary.OK
        assert text.get(b"k") is None


@shows(PROXY, "cache[].no_route")
def test_keys_without_a_route_may_be_refused():
    for own, first in (("no_route = 'own'", b"STORED"),
                       ("no_route = 'error'", b"SERVER_ERROR no route for this key")):
        with local() as server, three(port_of(server), main=own) as proxy:
            client = Client(port_of_cache(proxy, "main"))
            assert client.set(b"k", b"v") == first
            assert client.set(b"user:k", b"v") == b"STORED"
            client.say(b"get user:k k\r\n")
            if own.endswith("'own'"):
                assert client.hear_until(b"END\r\n").count(b"VALUE") == 2
                continue
            assert client.hear_line() == first
            assert client.ask(b"delete k") == first
            client.say(b"set k 0 0 1 noreply\r\nv\r\n")
            assert client.ask(b"version").startswith(b"VERSION")
            assert binary.Connection(port_of_cache(proxy, "main")).ask(
                binary.GET, b"k").value == b"no route for this key"
            assert total(proxy, "proxy_route_refused_total") == 5
            assert total(proxy, "proxy_get_total", 'cache="main"') == 0


@shows(PROXY, "cache[].route_flag")
def test_a_meta_command_may_name_its_cache():
    for own, heard in (("", True), ("route_flag = false", False)):
        with local() as server, three(port_of(server), main=own) as proxy:
            client = Client(port_of_cache(proxy, "main"))
            sess = Client(port_of_cache(proxy, "sess"))
            client.say(b"ms s:k 5 Lusers\r\nnamed\r\n")
            assert client.hear_line() == b"HD"
            assert total(proxy, "proxy_store_total", 'cache="users"') == heard
            assert sess.get(b"k") == (None if heard else (0, b"named"))
            assert client.ask(b"mg s:k k Lusers Oab") == b"HD ks:k Oab"
            found = client.ask(b"mg s:k k Lnobody")
            assert found == (b"EN ks:k" if heard else b"HD ks:k"), found
            # By prefix, stripped, with all that the command asks.
            made = client.ask(b"mg s:new k N30 t")
            assert made == b"HD ks:new t30 W", made
            assert client.ask(b"me s:new").startswith(b"ME s:new ")
            assert sess.get(b"new") == (0, b"")
            client.say(b"md s:new q\r\nmn\r\n")
            assert client.hear_line() == b"MN" and sess.get(b"new") is None


def test_commands_on_a_key_keep_their_order_through_routes():
    """Pipelines of sets and gets of few keys over three caches, with slow and quick answers."""
    with Backend("local.fault_delay=0ms", "local.fault_delay_jitter=5ms",
                 "local.fault_delay_percent=50") as backend, \
            three(backend.port, users="writes = 'plain'", flags=("-t", "2")) as proxy:
        wrong = []

        def work(number):
            dice = random.Random(number)
            client, model = Client(port_of_cache(proxy, "main"), timeout=30), {}
            keys = [b"%s%d-%d" % (prefix, number, i) for prefix in (b"", b"user:", b"s:")
                    for i in range(3)]
            for n in range(60):
                say, expect = [], []
                for m in range(20):
                    if dice.random() < 0.4:
                        key = dice.choice(keys)
                        model[key] = b"%d.%d" % (n, m)
                        say.append(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(model[key]), model[key]))
                        expect.append(b"STORED\r\n")
                    else:
                        asked = [dice.choice(keys) for _ in range(dice.randint(1, 6))]
                        say.append(b"get %s\r\n" % b" ".join(asked))
                        expect += [b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(model[key]), model[key])
                                   for key in asked if key in model] + [b"END\r\n"]
                client.say(b"".join(say))
                whole = b"".join(expect)
                while len(client.heard) < len(whole):
                    client.heard += client.socket.recv(65536)
                if client.heard != whole:
                    wrong.append((number, n, whole, client.heard))
                    return
                client.heard = b""

        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not wrong, wrong[0]


def test_a_cache_that_fails_fails_alone():
    """Faults hit calls by name: a single get and a plain set are the users' alone here."""
    with Backend() as backend, three(
            backend.port, users="writes = 'plain'\nretry_attempts = 0\nbreaker_open = '200ms'",
            main="deadline = '10s'", sess="deadline = '10s'") as proxy:
        client = Client(port_of_cache(proxy, "main"))
        keys = (b"a", b"user:1", b"s:1", b"b", b"s:2")
        for key in keys:
            assert client.set(key, b"v") == b"STORED"
        others = [(b"a", b"v"), (b"s:1", b"v"), (b"b", b"v"), (b"s:2", b"v")]
        backend.faults(error="unavailable", error_percent=100, rpcs="get,set")
        for _ in range(30):
            assert values(client, b"get", *keys) == others
            assert client.set(b"user:1", b"w").startswith(b"SERVER_ERROR ")
            assert client.set(b"s:1", b"v") == b"STORED"
        assert breaker(client, b"users") == "open"
        assert breaker(client, b"main") == "closed" and breaker(client, b"sess") == "closed"
        assert total(proxy, "proxy_breaker_state", 'cache="main"') == 0
        backend.calm()
        eventually(lambda: len(values(client, b"get", *keys)) == 5, what="users being back")
        # A cache that says nothing keeps the others' part of the answer for its own deadline only.
        backend.faults(delay="60s", delay_percent=100, rpcs="get,set")
        began = time.monotonic()
        assert values(client, b"get", *keys) == others
        assert time.monotonic() - began < 9
        assert values(client, b"get", b"a", b"b") == [(b"a", b"v"), (b"b", b"v")]


def test_errors_of_a_cache_that_tells_them_are_the_answer():
    with Backend() as backend, three(backend.port, users="get_error = 'error'\nretry_attempts = 0"
                                     ) as proxy:
        client = Client(port_of_cache(proxy, "main"))
        for key in (b"a", b"b", b"user:1"):
            assert client.set(key, b"v") == b"STORED"
        backend.faults(error="internal", error_percent=100, rpcs="get")
        client.say(b"get a b user:1\r\nget a b\r\n")
        assert client.hear_line().startswith(b"SERVER_ERROR ")
        assert client.hear_until(b"END\r\n").count(b"VALUE") == 2


def test_flush_all_is_of_every_cache_that_allows_it():
    with local() as server, three(port_of(server)) as proxy:
        assert Client(port_of_cache(proxy, "main")).ask(b"flush_all") == \
            b"CLIENT_ERROR flush_all not allowed"
    with local() as server, three(port_of(server), main="flush_all = true",
                                  sess="flush_all = true") as proxy:
        client = Client(port_of_cache(proxy, "main"))
        for key in (b"k", b"user:k", b"s:k"):
            assert client.set(key, b"v") == b"STORED"
        client.say(b"flush_all\r\nget k user:k s:k\r\n")
        assert client.hear_line() == b"OK"
        assert client.hear_until(b"END\r\n") == b"VALUE user:k 0 1\r\nv\r\nEND\r\n"


def test_statistics_are_of_the_port_and_of_each_cache():
    with local() as server, three(port_of(server)) as proxy:
        client, sess = Client(port_of_cache(proxy, "main")), Client(port_of_cache(proxy, "sess"))
        for key in (b"k", b"user:k", b"s:k"):
            assert client.set(key, b"v") == b"STORED"
        assert len(values(client, b"get", b"k", b"user:k", b"s:k", b"s:none", b"none")) == 3
        assert sess.get(b"k") == (0, b"v")
        counted = {name: stats(client, *words) for name, words in (
            ("port", ()), ("main", (b"cache", b"main")), ("users", (b"cache", b"users")),
            ("sess", (b"cache", b"sess")))}
        hits = {name: int(one["get_hits"]) for name, one in counted.items()}
        assert hits == {"port": 4, "main": 4, "users": 1, "sess": 2}, hits
        assert int(counted["port"]["cmd_get"]) == 6 and int(counted["sess"]["get_misses"]) == 1
        assert int(counted["port"]["cmd_set"]) == 3 and int(counted["users"]["cmd_set"]) == 1
        client.say(b"stats reset\r\n")
        assert client.hear_line() == b"RESET"
        assert stats(client)["get_hits"] == "0"
        assert stats(sess)["get_hits"] == "2"
        table = stats(client, b"routes")
        assert table == {"0:prefix": "s:", "0:cache": "sess", "0:strip": "yes",
                         "1:prefix": "user:", "1:cache": "users", "1:strip": "no",
                         "no_route": "main"}, table
        assert client.ask(b"stats cache nowhere") == b"CLIENT_ERROR no such cache here"
        assert total(proxy, "proxy_get_hit_total", 'cache="users"') == 1
        assert total(proxy, "proxy_meter_operation_total", 'cache="users"') > 0


def test_the_near_copies_of_a_cache_know_the_writes_of_every_port():
    with local() as server, three(port_of(server), sess="near_size = '1MB'\nnear_staleness = '1h'",
                                  flags=("-t", "2")) as proxy:
        routed, own = Client(port_of_cache(proxy, "main")), Client(port_of_cache(proxy, "sess"))
        for n in range(50):
            assert routed.set(b"s:k", b"r%d" % n) == b"STORED"
            assert own.get(b"k") == (0, b"r%d" % n)
            assert own.set(b"k", b"o%d" % n) == b"STORED"
            assert routed.get(b"s:k") == (0, b"o%d" % n)
        assert total(proxy, "proxy_near_hit_total", 'cache="sess"') == 100


def test_the_command_log_has_whole_keys_once():
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "klog")
        with local() as server, three(port_of(server), flags=sets((
                f"klog.file={log}", "klog.sample=1"))) as proxy:
            client = Client(port_of_cache(proxy, "main"))
            assert client.set(b"s:k", b"12345") == b"STORED"
            assert len(values(client, b"get", b"s:k", b"k", b"user:k")) == 1
        lines = [line.split(" ", 1)[1] for line in open(log).read().splitlines()]
        lines = [line[line.index('"'):] for line in lines]
        assert lines == ['"set s:k 0 0 5" 5 8', '"get s:k" 4 5', '"get k" 0 0',
                         '"get user:k" 0 0'], lines


def test_who_may_use_a_cache_is_the_matter_of_the_listener():
    with tempfile.NamedTemporaryFile("w") as users:
        users.write("app:secret\n")
        users.flush()
        with local() as server, three(port_of(server), main=f"auth_file = '{users.name}'") as proxy:
            client = Client(port_of_cache(proxy, "main"))
            assert client.ask(b"get user:k").startswith(b"CLIENT_ERROR")
            client = Client(port_of_cache(proxy, "main"))
            assert client.set(b"login", b"app secret") == b"STORED"
            assert client.set(b"user:k", b"v") == b"STORED"
            assert client.get(b"user:k") == (0, b"v")
            assert total(proxy, "proxy_store_total") == 1


def test_a_reload_reaches_routed_caches_and_new_routes_wait():
    with local() as server, three(port_of(server), flags=("-t", "2")) as proxy:
        client = Client(port_of_cache(proxy, "main"))
        assert client.set(b"user:k", b"v") == b"STORED"
        assert client.ask(b"flush_all").startswith(b"CLIENT_ERROR")
        text = open(proxy.path).read()
        with open(proxy.path, "w") as file:
            file.write(text.replace('cache_name = "users"', 'cache_name = "users"\nflush_all = true')
                       .replace('prefix = "s:"', 'prefix = "t:"'))
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_log(r"cache\[users\]\.flush_all")
        proxy.wait_log(r"restart.*cache\[main\]\.route\[t:\]|cache\[main\]\.route\[t:\].*restart")
        eventually(lambda: client.ask(b"flush_all") == b"OK", what="the flush being allowed")
        assert client.get(b"user:k") is None
        assert client.set(b"s:k", b"v") == b"STORED"
        assert Client(port_of_cache(proxy, "sess")).get(b"k") == (0, b"v"), "the old route holds"


def test_a_drain_answers_what_routed_caches_still_owe():
    with Backend() as backend, three(backend.port, users="deadline = '10s'") as proxy:
        client = Client(port_of_cache(proxy, "main"))
        assert client.set(b"k", b"v") == b"STORED"
        backend.faults(delay="700ms", delay_percent=100)
        client.say(b"get user:none k s:none\r\nset user:k 0 0 1\r\nv\r\n")
        time.sleep(0.2)
        proxy.process.send_signal(signal.SIGTERM)
        assert client.hear_end() == b"VALUE k 0 1\r\nv\r\nEND\r\nSTORED\r\n"
        assert proxy.process.wait(10) == 0
        assert "drain_timeout passed" not in proxy.log()


def test_what_is_under_way_at_the_end_is_dropped():
    """Three caches owe an answer to one another's port when time is up."""
    with Backend() as backend, three(
            backend.port, main="deadline = '1m'", users="deadline = '1m'", sess="deadline = '1m'",
            flags=sets(("server.drain_timeout=100ms", "server.workers=2"))) as proxy:
        clients = [Client(port_of_cache(proxy, "main")) for _ in range(8)]
        backend.faults(delay="60s", delay_percent=100)
        for client in clients:
            client.say(b"get user:a b s:c\r\nset s:d 0 0 1\r\nv\r\nget s:e\r\nget user:a user:b\r\n")
        eventually(lambda: total(proxy, "proxy_in_flight") == 8 * 7, what="commands under way")
        proxy.process.send_signal(signal.SIGTERM)
        assert proxy.process.wait(10) == 0
        for client in clients:
            assert client.hear_end() == b""


def test_a_takeover_moves_connections_of_a_routed_port():
    with local() as server, line_of("momento_proxy", *sets_of_three(port_of(server))) as line:
        clients = [Client(line.port) for _ in range(4)]
        for n in range(3):
            for client in clients:
                for key in (b"k", b"user:k", b"s:k"):
                    assert client.set(key, b"%d" % n) == b"STORED"
                assert values(client, b"get", b"s:k", b"k", b"user:k") == [
                    (key, b"%d" % n) for key in (b"s:k", b"k", b"user:k")]
            line.start()
        assert metrics(line.running)


def sets_of_three(backend):
    return (f"momento.endpoint_override=127.0.0.1:{backend}", "cache[0].cache_name=main",
            "cache[0].route[0].prefix=user:", "cache[0].route[0].cache=users",
            "cache[0].route[1].prefix=s:", "cache[0].route[1].cache=sess",
            "cache[0].route[1].strip=true", "cache[1].cache_name=users", "cache[1].tcp=false",
            "cache[2].cache_name=sess", "cache[2].tcp=false")


def test_a_cache_without_a_listener_counts_for_readiness():
    with Backend(start=False) as backend, three(backend.port) as proxy:
        eventually(lambda: page(proxy, "/readyz")[0] == 503 and "cache " in page(proxy, "/readyz")[1],
                   what="the reason why it is not ready")
        backend.start()
        eventually(lambda: page(proxy, "/readyz")[0] == 200, 15, "readiness")


def test_routes_that_cannot_be_are_refused_with_their_line():
    head = "[[cache]]\ncache_name = 'a'\nport = 0\n[[cache]]\ncache_name = 'bc'\nport = 0\n"
    cases = (
        ("[[cache.route]]\nprefix = 'x:'\ncache = 'a'\n[[cache.route]]\nprefix = 'x:'\ncache = 'a'\n",
         ":11:", "cache[1].route[1].prefix", "already that of route[0]"),
        ("[[cache.route]]\nprefix = 'x:'\ncache = 'nobody'\n", ":9:", "cache[1].route[0].cache",
         "no [[cache]]"),
        ("[[cache.route]]\nprefix = ''\ncache = 'a'\n", ":8:", "cache[1].route[0].prefix", "empty"),
        ("[[cache.route]]\ncache = 'a'\n", "cache[1].route[0].prefix", "empty"),
        ("[[cache.route]]\nprefix = 'a b'\ncache = 'a'\n", ":8:", "space or a control character"),
        (f"[[cache.route]]\nprefix = '{'p' * 251}'\ncache = 'a'\n", ":8:", "of 251 bytes"),
        ("[[cache.route]]\nprefix = 'x:'\ncache = 'bc'\n", ":9:", "this listener's own"),
        ("[[cache.route]]\nprefix = 'x:'\ncache = 'a'\n[[cache.route]]\nprefix = 'y:'\ncache = 'a'\n"
         "strip = true\n", ":12:", "two keys would be one item"),
        ("[[cache.route]]\nprefix = 'x:'\ncahce = 'a'\n", ":9:", 'did you mean "cache"?'),
        ("no_route = 'error'\n", ":7:", "there is no route"),
        ("tcp = false\n", ":7:", "cache[1].tcp"),
    )
    for text, *says in cases:
        with config_file(head + text) as path:
            for flags in ((path, "--check"), (path,)):
                code, _, err = run("momento_proxy", *flags)
                assert code == 78, (text, code, err)
                assert all(one in err for one in (path, *says)), (text, err)


if __name__ == "__main__":
    main(globals())
