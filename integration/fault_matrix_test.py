#!/usr/bin/env python3
"""Every gRPC status on every call that a memcache command makes, and the other ways a service fails.

What a client sees is a table (SAYS, COMMANDS) put together from the intent of the call that failed.
Behind each failing command others are pipelined: their replies show that order and count hold and
that the connection works. How long it takes to be served again is printed, never asserted.
"""
import contextlib
import itertools
import os
import re
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from backend import Backend, fronted, nothing_left_behind, recovery  # noqa: E402
from fake_service import FakeService  # noqa: E402
from harness import Client, eventually, main  # noqa: E402
from knobs import total  # noqa: E402

# What proxy/translate/errors.h says of each status.
SAYS = {
    "cancelled": "backend request cancelled",
    "unknown": "backend error",
    "invalid-argument": "backend rejected the request",
    "deadline-exceeded": "backend timeout",
    "not-found": "cache not found",
    "already-exists": "backend error",
    "permission-denied": "backend denied permission",
    "resource-exhausted": "backend limit exceeded",
    "failed-precondition": "backend refused the operation on this item",
    "aborted": "backend error",
    "out-of-range": "backend rejected the request",
    "unimplemented": "backend does not support the operation",
    "internal": "backend error",
    "unavailable": "backend unavailable",
    "data-loss": "backend error",
    "unauthenticated": "backend rejected the credentials",
}
# After any other the service has looked at the request and said no.
MAYBE_DONE = {"cancelled", "unknown", "deadline-exceeded", "aborted", "internal", "unavailable",
              "data-loss"}

READ, WRITE = "read", "write"
# A command on the key "k", the call of it that fails, and what that call is for. The key is there and
# holds a number; {token} is its cas token, {fresh} a key that nobody has used.
COMMANDS = (
    ("get k", "get", READ),
    ("gets k", "get-with-hash", READ),
    ("get k j", "get-batch", READ),
    ("gets k j", "get-with-hash", READ),
    ("gat 100 k", "get", READ),
    ("gat 100 k", "update-ttl", READ),
    ("gat -1 k", "delete", READ),
    ("gat 100 k j", "get-batch", READ),
    ("gats 100 k", "get-with-hash", READ),
    ("gats 100 k", "update-ttl", READ),
    ("set k 0 60 1\r\n7", "set-if-hash", WRITE),
    ("set k 0 -1 1\r\n7", "delete", WRITE),
    ("add k 0 60 1\r\n7", "set-if", WRITE),
    ("replace k 0 60 1\r\n7", "set-if", WRITE),
    ("append k 0 60 1\r\n7", "get-with-hash", READ),
    ("append k 0 60 1\r\n7", "item-get-ttl", READ),
    ("append k 0 60 1\r\n7", "set-if-hash", WRITE),
    ("prepend k 0 60 1\r\n7", "get-with-hash", READ),
    ("prepend k 0 60 1\r\n7", "item-get-ttl", READ),
    ("prepend k 0 60 1\r\n7", "set-if-hash", WRITE),
    ("cas k 0 60 1 {token}\r\n7", "get-with-hash", READ),
    ("cas k 0 60 1 {token}\r\n7", "set-if-hash", WRITE),
    ("incr k 1", "get-with-hash", READ),
    ("incr k 1", "item-get-ttl", READ),
    ("incr k 1", "set-if-hash", WRITE),
    ("decr k 1", "get-with-hash", READ),
    ("decr k 1", "item-get-ttl", READ),
    ("decr k 1", "set-if-hash", WRITE),
    ("touch k 100", "update-ttl", WRITE),
    ("delete k", "keys-exist", READ),
    ("delete k", "delete", WRITE),
    ("flush_all", "flush-cache", WRITE),
    ("mg k v", "get", READ),
    ("mg k v c", "get-with-hash", READ),
    ("mg k v t", "get-with-hash", READ),
    ("mg k v t", "item-get-ttl", READ),
    ("mg k v T100", "update-ttl", READ),
    ("mg k v R3000", "get-with-hash", READ),
    ("mg k v R3000", "item-get-ttl", READ),
    ("mg k v R3000", "set-if-hash", READ),
    ("mg {fresh} v N100", "get", READ),
    ("mg {fresh} v N100", "set-if", READ),
    ("ms k 1 T60 E7\r\n7", "set-if-hash", WRITE),
    ("ms k 1 ME\r\n7", "set-if", WRITE),
    ("ms k 1 C{token}\r\n7", "get-with-hash", READ),
    ("ms k 1 C{token}\r\n7", "set-if-hash", WRITE),
    ("ms k 1 C1 I\r\n7", "get-with-hash", READ),
    ("ms k 1 C1 I\r\n7", "item-get-ttl", READ),
    ("ms k 1 C1 I\r\n7", "set-if-hash", WRITE),
    ("ms {fresh} 1 MA N60\r\n7", "set-if", WRITE),
    ("md k I", "get-with-hash", READ),
    ("md k I", "item-get-ttl", READ),
    ("md k I", "set-if-hash", WRITE),
    ("md k x", "set-if-hash", WRITE),
    ("md k C{token}", "delete", WRITE),
    ("md k q", "keys-exist", READ),
    ("md k q", "delete", WRITE),
    ("ma k v", "get-with-hash", READ),
    ("ma k v", "item-get-ttl", READ),
    ("ma k v T100", "set-if-hash", WRITE),
    ("ma {fresh} N60 q", "set-if", WRITE),
    ("me k", "get-with-hash", READ),
    ("me k", "item-get-ttl", READ),
)
RETRIEVALS = ("get", "gets", "gat", "gats", "mg")
BEHIND = b"version\r\nset k 0 60 2\r\n41\r\nget k\r\nincr k 1\r\n"


def expected(status, intent):
    text = SAYS[status]
    if intent == WRITE and status in MAYBE_DONE:
        text += ", outcome unknown"
    return b"SERVER_ERROR " + text.encode()


def hear_behind(client, case):
    """The replies to BEHIND, each in its place."""
    assert client.hear_line().startswith(b"VERSION "), case
    stored = client.hear_line()
    assert stored == b"STORED", (case, stored)
    assert client.hear_until(b"END\r\n") == b"VALUE k 0 2\r\n41\r\nEND\r\n", case
    assert client.hear_line() == b"42", case


def token_of(client):
    client.say(b"gets k\r\n")
    return client.hear_until(b"END\r\n").split()[4].decode()


FRESH = itertools.count()


def spelled(command, token):
    return command.format(token=token, fresh=f"fresh{next(FRESH)}").encode()


def one_case(backend, client, command, call, status, reply):
    """The command with one failing call, and four behind it in the same packet."""
    case = (command.split("\r\n")[0], call, status)
    token = token_of(client)
    backend.faults(error=status, error_percent=100, rpcs=call, calls_max=1)
    client.say(spelled(command, token) + b"\r\n" + BEHIND)
    line = client.hear_line()
    assert line == reply, (case, line, reply)
    hear_behind(client, case)


FRONT = {}


@contextlib.contextmanager
def shared_front():
    """One backend and one proxy for all that leaves them as they were.

    32 connections, as one that was lost soon after it opened is not replaced at once."""
    if not FRONT:
        stack = contextlib.ExitStack()
        backend = stack.enter_context(Backend())
        front = stack.enter_context(fronted(
            backend, "cache[0].get_error=error", "cache[0].flush_all=true",
            "cache[0].deadline=10s", "cache[0].connections=32", "cache[1].port=0", "cache[1].cache_name=plain",
            "cache[1].writes=plain", "cache[1].delete=fast", "cache[1].deadline=10s",
            "cache[2].port=0", "cache[2].cache_name=hasty", "cache[2].get_error=error",
            "cache[2].deadline=400ms"))
        front.wait_log(r"(?s)(memcache on .*){3}")
        ports = [int(port) for port in re.findall(r"memcache on \S+:(\d+)\b", front.log())]
        FRONT.update(stack=stack, backend=backend, front=front, exact=ports[0], plain=ports[1],
                     hasty=ports[2])
        for port in ports:
            recovery(port)
    with nothing_left_behind(FRONT["front"]):
        yield FRONT["backend"], FRONT["front"]
        FRONT["backend"].calm()


def test_every_status_on_every_call_of_every_command():
    with shared_front() as (backend, _):
        client = Client(FRONT["exact"])
        for status in SAYS:
            assert client.set(b"k", b"41") == b"STORED"
            for command, call, intent in COMMANDS:
                one_case(backend, client, command, call, status, expected(status, intent))
        print(f"{len(SAYS) * len(COMMANDS)} cases")
        client.close()


def test_every_status_where_a_failing_get_is_a_miss_and_sets_share_calls():
    with shared_front() as (backend, front):
        client = Client(FRONT["plain"])
        failed = total(front, "proxy_get_failed_total")
        for status in SAYS:
            assert client.set(b"k", b"41") == b"STORED"
            for command, call, _ in COMMANDS:
                # Of a gets of two keys one fails, and only that is a miss.
                if command.split()[0] in RETRIEVALS and command != "gets k j":
                    miss = b"EN" if command.startswith("mg") else b"END"
                    one_case(backend, client, command, call, status, miss)
            said = expected(status, WRITE)
            one_case(backend, client, "set k 0 60 1\r\n7", "set", status, said)
            one_case(backend, client, "delete k", "delete", status, said)
            # Of a SetBatch both fail, and a noreply is not heard of.
            backend.faults(error=status, error_percent=100, rpcs="set-batch")
            client.say(b"set k 0 60 1\r\n7\r\nset j 0 60 1 noreply\r\n7\r\nset i 0 60 1\r\n7\r\n")
            assert [client.hear_line() for _ in range(2)] == [said, said], status
            client.say(BEHIND)
            hear_behind(client, status)
        assert total(front, "proxy_get_failed_total") > failed, "misses that are failures are told apart"
        client.close()


def test_limits_are_told_apart_by_their_trailer():
    details = {
        "operations_rate_limit_exceeded": b"SERVER_ERROR backend request rate limit exceeded",
        "throughput_rate_limit_exceeded": b"SERVER_ERROR backend bandwidth limit exceeded",
        "request_size_limit_exceeded": b"SERVER_ERROR object too large for cache",
        "item_size_limit_exceeded": b"SERVER_ERROR object too large for cache",
        "element_size_limit_exceeded": b"SERVER_ERROR object too large for cache",
        "a_limit_of_next_year": b"SERVER_ERROR backend limit exceeded",
    }
    with shared_front() as (backend, _):
        client = Client(FRONT["exact"])
        for detail, reply in details.items():
            for command, call in (("set k 0 60 1\r\n7", "set-if-hash"),
                                  ("add k 0 60 1\r\n7", "set-if"), ("get k", "get"),
                                  ("touch k 100", "update-ttl")):
                assert client.set(b"k", b"41") == b"STORED"
                backend.faults(error="resource-exhausted", error_percent=100, rpcs=call,
                               calls_max=1, detail=detail)
                client.say(command.encode() + b"\r\n" + BEHIND)
                line = client.hear_line()
                assert line == reply, (detail, command, line)
                hear_behind(client, detail)
        # As long as the quota is used up every command says so, and nothing piles up.
        backend.faults(error="resource-exhausted", error_percent=100,
                       detail="operations_rate_limit_exceeded")
        client.say(b"incr k 1\r\nget k\r\n" * 200)
        heard = {client.hear_line() for _ in range(400)}
        assert heard == {details["operations_rate_limit_exceeded"]}, heard
        began = time.monotonic()
        backend.calm()
        print(f"served again {recovery(FRONT['exact'], began) * 1000:.0f} ms after the quota")
        client.close()


def test_the_first_n_calls_fail():
    with shared_front() as (backend, _):
        client = Client(FRONT["exact"])
        for first in (1, 2, 3, 7):
            for status, said in (("unavailable", "backend unavailable, outcome unknown"),
                                 ("internal", "backend error, outcome unknown")):
                backend.faults(error=status, error_percent=100, calls_max=first, rpcs="set-if-hash")
                client.say(b"set k 0 60 1\r\n1\r\n" * 10)
                heard = [client.hear_line().decode() for _ in range(10)]
                assert heard == [f"SERVER_ERROR {said}"] * first + ["STORED"] * (10 - first), heard
        client.close()


def test_delays_on_both_sides_of_the_deadline():
    # Far enough from it on both sides for a busy machine.
    with shared_front() as (backend, _):
        client = Client(FRONT["hasty"])
        assert client.set(b"k", b"41") == b"STORED"
        asked = (b"get k\r\nget a b\r\ntouch k 60\r\nset k 0 60 2\r\n41\r\nincr k 1\r\n"
                 b"set k 0 60 2\r\n41\r\n")
        backend.faults(delay="40ms", delay_percent=100)
        client.say(asked)
        assert client.hear_until(b"END\r\n") == b"VALUE k 0 2\r\n41\r\nEND\r\n"
        assert [client.hear_line() for _ in range(5)] == [b"END", b"TOUCHED", b"STORED", b"42",
                                                          b"STORED"]
        backend.faults(delay="700ms", delay_percent=100)
        began = time.monotonic()
        client.say(asked + b"version\r\n")
        heard = [client.hear_line() for _ in range(6)]
        assert all(line.startswith(b"SERVER_ERROR backend timeout") for line in heard), heard
        assert client.hear_line().startswith(b"VERSION ")
        waited = time.monotonic() - began
        began = time.monotonic()
        backend.calm()
        again = recovery(FRONT["hasty"], began)
        print(f"six commands failed in {waited:.2f} s; served again {again * 1000:.0f} ms after")
        # A late answer of the service reaches nobody: what is heard is the reply to what was asked.
        time.sleep(0.7)
        assert client.set(b"k", b"9") == b"STORED"
        assert client.get(b"k") == (0, b"9")
        client.close()


def test_a_reset_in_the_middle_of_calls():
    """With the answer lost after the call was carried out, and with the call lost."""
    with shared_front() as (backend, front):
        lost = total(front, "proxy_momento_connection_lost_total")
        client, bystander = Client(FRONT["exact"]), Client(FRONT["plain"])
        for applied in ("true", "false"):
            for command, call, intent in COMMANDS:
                client.say(b"set k 0 60 2\r\n41\r\nset j 0 60 2\r\n41\r\n")
                assert client.hear_line() == client.hear_line() == b"STORED"
                token = token_of(client)
                backend.faults(reset_percent=100, rpcs=call, calls_max=1, applied=applied)
                client.say(spelled(command, token) + b"\r\nversion\r\n")
                line = client.hear_line()
                want = expected("unavailable", intent)
                assert line == want, (command, call, applied, line)
                assert client.hear_line().startswith(b"VERSION ")
                recovery(FRONT["exact"])
                if applied == "true" and command.startswith("incr") and intent == WRITE:
                    assert client.get(b"k") == (0, b"42"), "the answer was lost, not the call"
        assert total(front, "proxy_momento_connection_lost_total") > lost
        assert bystander.ask(b"version").startswith(b"VERSION ")
        backend.faults(reset_percent=100)
        client.say(b"get k\r\nset k 0 60 1\r\n1\r\n" * 50)
        for _ in range(100):
            line = client.hear_line()
            assert line.startswith(b"SERVER_ERROR backend unavailable"), line
        began = time.monotonic()
        backend.calm()
        print(f"served again {recovery(FRONT['exact'], began) * 1000:.0f} ms after the last reset")
        client.close()
        bystander.close()


class Traffic:
    """Connections that ask all the time; every reply must be one of those a command may get."""

    ASK = b"set t%d 0 60 2\r\n%02d\r\nget t%d\r\nincr n%d 1\r\nversion\r\n"

    def __init__(self, port, connections=4):
        self.port, self.failed, self.answered, self.faults = port, 0, 0, []
        self.going = True
        self.threads = [threading.Thread(target=self._one, args=(n,)) for n in range(connections)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.going = False
        for thread in self.threads:
            thread.join()
        assert not self.faults, self.faults

    def _one(self, number):
        try:
            client = Client(self.port, timeout=30)
            turn = 0
            while self.going:
                turn = (turn + 1) % 90
                client.say(self.ASK % (number, 10 + turn, number, number))
                stored = client.hear_line()
                found = client.hear_line()
                if found.startswith(b"VALUE t%d 0 2" % number):
                    value = client.hear_line()
                    assert stored != b"STORED" or value == b"%02d" % (10 + turn), (value, turn)
                    found = client.hear_line()
                assert stored == b"STORED" or stored.startswith(b"SERVER_ERROR "), stored
                assert found == b"END" or found.startswith(b"SERVER_ERROR "), found
                counted = client.hear_line()
                assert re.fullmatch(rb"\d+|NOT_FOUND|SERVER_ERROR .+", counted), counted
                assert client.hear_line().startswith(b"VERSION ")
                self.answered += 4
                self.failed += stored != b"STORED"
                time.sleep(0.002)
            client.close()
        except Exception as error:  # noqa: BLE001 - reported by the main thread
            self.faults.append(error)


def test_the_service_goes_away_and_comes_back_under_traffic():
    """SIGTERM, which is a GOAWAY first; SIGKILL; SIGSTOP, whose connections stay and say nothing."""
    with Backend() as backend, fronted(backend, "cache[0].deadline=400ms",
                                       "momento.keepalive_interval=500ms",
                                       "momento.keepalive_timeout=300ms", helpers=True) as front:
        port = int(front.wait_log(r"memcache on \S+:(\d+)\b").group(1))
        recovery(port)
        with nothing_left_behind(front), Traffic(port) as traffic:
            for how in (signal.SIGTERM, signal.SIGKILL):
                backend.stop(how)
                time.sleep(0.3)
                backend.start()
                print(f"served again {recovery(port) * 1000:.0f} ms after {how.name} and a restart")
            backend.freeze()
            eventually(lambda: total(front, "proxy_rpc_error_total", 'code="deadline_exceeded"'),
                       what="calls that time out")
            time.sleep(1)  # Long enough for the connections to be given up as well.
            backend.thaw()
            print(f"served again {recovery(port) * 1000:.0f} ms after SIGCONT")
            before = traffic.answered
            eventually(lambda: traffic.answered > before + 100, what="traffic")
        assert traffic.failed > 0


def test_slow_start():
    with Backend(start=False) as backend:
        with fronted(backend, "cache[0].deadline=400ms", helpers=True) as front:
            port = int(front.wait_log(r"memcache on \S+:(\d+)\b").group(1))
            with nothing_left_behind(front), Traffic(port) as traffic:
                time.sleep(1)
                assert traffic.failed > 0 and traffic.answered > 0
                backend.start()
                print(f"served {recovery(port) * 1000:.0f} ms after the service was there")


@contextlib.contextmanager
def unaccepting(port):
    """A port whose SYNs are dropped: its queue is full and nobody takes from it."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen(0)
        for _ in range(8):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield


@contextlib.contextmanager
def mute(port):
    """A service that takes connections and calls, and says nothing but its first SETTINGS."""
    with FakeService(port=port) as fake:
        fake.mute = True
        yield


def black_hole(hole):
    """`hole(port)` stands where the service should be; afterwards the service is there."""
    with contextlib.ExitStack() as stack:
        backend = stack.enter_context(Backend(start=False))
        filling = stack.enter_context(contextlib.ExitStack())
        filling.enter_context(hole(backend.port))
        front = stack.enter_context(fronted(
            backend, "cache[0].deadline=300ms", "momento.connect_timeout=500ms",
            "momento.keepalive_interval=200ms", "momento.keepalive_timeout=200ms", helpers=True))
        port = int(front.wait_log(r"memcache on \S+:(\d+)\b").group(1))
        client = Client(port, timeout=30)
        with nothing_left_behind(front):
            began = time.monotonic()
            client.say(b"get a\r\nset k 0 60 1\r\nv\r\nincr n 1\r\nget a b c\r\nversion\r\n")
            assert client.hear_line() == b"END"
            assert client.hear_line().startswith(b"SERVER_ERROR ")
            assert client.hear_line().startswith(b"SERVER_ERROR ")
            assert client.hear_line() == b"END"
            assert client.hear_line().startswith(b"VERSION ")
            print(f"answered after {time.monotonic() - began:.2f} s")
            with Traffic(port) as traffic:
                eventually(lambda: traffic.failed >= 8, what="failing traffic")
                filling.close()
                backend.start()
                print(f"served {recovery(port) * 1000:.0f} ms after the service was there")
        client.close()


def test_a_black_hole_that_accepts_and_never_reads():
    black_hole(lambda port: FakeService(silent=True, port=port))


def test_a_black_hole_that_takes_calls_and_never_answers():
    black_hole(mute)


def test_a_black_hole_that_drops_packets():
    black_hole(unaccepting)


def test_a_cache_deleted_under_traffic_and_created_again():
    with Backend("local.create_unknown=false") as backend:
        backend.create(b"c")
        with fronted(backend, "cache[0].get_error=error", "cache[0].deadline=5s") as front:
            port = int(front.wait_log(r"memcache on \S+:(\d+)\b").group(1))
            client = Client(port)
            with nothing_left_behind(front):
                for _ in range(3):
                    with Traffic(port) as traffic:
                        recovery(port)
                        assert client.set(b"k", b"v") == b"STORED"
                        backend.delete(b"c")
                        client.say(b"get k\r\nset k 0 60 1\r\nv\r\nget k j\r\nincr k 1\r\nversion\r\n")
                        heard = [client.hear_line() for _ in range(4)]
                        assert heard == [b"SERVER_ERROR cache not found"] * 4, heard
                        assert client.hear_line().startswith(b"VERSION ")
                        eventually(lambda: traffic.failed, what="traffic that fails")  # noqa: B023
                        began = time.monotonic()
                        backend.create(b"c")
                        took = recovery(port, began)
                        assert client.get(b"k") is None, "a new cache is empty"
                        answered = traffic.answered
                        eventually(lambda: traffic.answered > answered + 50,  # noqa: B023
                                   what="traffic")
                    print(f"served {took * 1000:.0f} ms after the cache was created")
            client.close()


def test_no_product_left_a_core_behind():
    assert not [name for name in os.listdir(".") if name.startswith("core.")]


if __name__ == "__main__":
    try:
        main(globals())
    finally:
        if FRONT:
            FRONT["stack"].close()
