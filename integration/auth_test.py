#!/usr/bin/env python3
"""Logging in, as text (memcached -Y) and with SASL: on stock memcached, segcache and momento_proxy."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import binary as b  # noqa: E402
from binary_test import error, memcache_port, memcached, reply  # noqa: E402
from harness import BIN, Client, eventually, main, product  # noqa: E402

PRODUCTS = {"segcache": [], "momento_proxy": ["--local"]}
REFUSED = b"CLIENT_ERROR unauthenticated"
FAILED = b"CLIENT_ERROR authentication failure"
GOOD, BAD = b"\0user\0pass", b"\0user\0SECRET"


@contextlib.contextmanager
def users(text="user:pass\nother:p:w\n"):
    with tempfile.NamedTemporaryFile("w") as file:
        os.chmod(file.name, 0o644)
        write(file, text)
        yield file


def write(file, text):
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


@contextlib.contextmanager
def running(name, file, *flags):
    with product(name, *PRODUCTS[name], "-p", "0", "-Y", file.name, *flags) as one:
        yield one, memcache_port(one)


def text_login(port):
    c = Client(port)
    for line in (b"get a", b"version", b"quit", b"mn", b"", b"stats", b"set k 0 0 x"):
        assert c.ask(line) == REFUSED, line
    # Lines of it are lines like others.
    c.say(b"add k 0 0 9\r\n")
    assert c.hear_line() == REFUSED
    c.say(b"user pass\r\n")
    assert c.hear_line() == REFUSED
    assert c.set(b"k", b"user wrong") == FAILED
    assert c.set(b"k", b"other pass") == FAILED
    assert c.set(b"k", b"userpass") == b"CLIENT_ERROR bad authentication token format"
    c.say(b"set k 0 0 4\r\nuserxx")
    assert c.hear_line() == b"CLIENT_ERROR bad command line termination"
    assert c.ask(b"get a") == REFUSED
    c.say(b"set any x y 9 noreply\r\nuser pass\r\n")
    assert c.hear_line() == b"STORED"
    assert c.set(b"k", b"user pass") == b"STORED" and c.get(b"k") == (0, b"user pass")
    assert Client(port).set(b"k", b"other p:w") == b"STORED"
    long = Client(port)
    long.say(b"x" * 2100)
    assert long.hear_end() == b""


def test_text_on_memcached():
    with users() as file, memcached("-Y", file.name) as port:
        text_login(port)


def test_text():
    for name in PRODUCTS:
        with users() as file, running(name, file) as (_, port):
            text_login(port)


def test_sasl():
    """The replies are those of memcached 1.6.18 -S with Cyrus SASL's PLAIN."""
    for name in PRODUCTS:
        with users() as file, running(name, file) as (_, port):
            for packet in (b.packet(b.NOOP), b.packet(b.GET, b"k"), b.packet(b.QUIT)):
                c = b.Connection(port)
                c.say(packet)
                assert c.hear() == error(packet[1], b.AUTH_ERROR) and c.closed()
            c = b.Connection(port)
            assert c.ask(b.VERSION).status == b.OK
            assert c.ask(b.SASL_LIST) == reply(b.SASL_LIST, value=b"PLAIN")
            assert c.ask(b.SASL_AUTH, b"PLAIN", BAD) == error(b.SASL_AUTH, b.AUTH_ERROR)
            assert c.ask(b.SASL_AUTH, b"CRAM-MD5", b"x") == error(b.SASL_AUTH, b.AUTH_ERROR)
            assert c.ask(b.SASL_STEP, b"PLAIN", GOOD) == error(b.SASL_STEP, b.AUTH_ERROR)
            assert c.ask(b.SASL_AUTH, b"PLAIN", GOOD) == reply(b.SASL_AUTH, value=b"Authenticated")
            assert c.ask(b.SET, b"k", b"v", b.flags_and_expiry(5)).status == b.OK
            assert c.ask(b.SASL_AUTH, b"PLAIN", BAD).status == b.AUTH_ERROR
            assert c.ask(b.GET, b"k") == error(b.GET, b.AUTH_ERROR) and c.closed()
            c = b.Connection(port)
            assert c.ask(b.SASL_AUTH, b"PLAIN") == reply(b.SASL_AUTH, 0x21)
            assert c.ask(b.SASL_STEP, b"PLAIN", b"\0other\0p:w").value == b"Authenticated"
            assert c.ask(b.GET, b"k").value == b"v"


def test_users_are_read_again_on_sighup():
    for name in PRODUCTS:
        with users() as file, running(name, file) as (one, port):
            old = Client(port)
            assert old.set(b"any", b"user pass") == b"STORED"

            def now(word):
                return Client(port).set(b"any", word) == b"STORED"

            write(file, "new:word\n")
            assert now(b"user pass") and not now(b"new word")
            one.process.send_signal(signal.SIGHUP)
            eventually(lambda: now(b"new word"), what="the new user")
            assert not now(b"user pass")
            assert old.ask(b"version").startswith(b"VERSION"), "who is in stays"
            write(file, "SECRET\n")
            one.process.send_signal(signal.SIGHUP)
            one.wait_log(r"line 1: expected user:password")
            assert now(b"new word")


def test_guessing_is_slow_and_counted():
    for name in PRODUCTS:
        with users() as file, running(name, file) as (one, port):
            def attempt():
                c = Client(port)
                said = c.set(b"any", b"user SECRET")
                with contextlib.suppress(OSError):
                    c.socket.settimeout(0.2)
                    with contextlib.suppress(socket.timeout):
                        return said == FAILED and c.socket.recv(1) == b""
                return False

            assert not attempt()  # The first is answered, and may try again.
            eventually(attempt, seconds=30, what="a refusal that hangs up")
            eventually(lambda: Client(port).set(b"any", b"user pass") == b"STORED",
                       what="the end of the penalty")
            c = Client(port)
            eventually(lambda: c.set(b"any", b"user pass") == b"STORED", what="another attempt")
            c.say(b"stats\r\n")
            stats = dict(line.split()[1:3] for line in c.hear_until(b"END\r\n").splitlines()[:-1]
                         if len(line.split()) == 3)
            assert int(stats[b"auth_errors"]) >= 11, stats[b"auth_errors"]
            assert int(stats[b"auth_cmds"]) >= int(stats[b"auth_errors"]) + 2
            http = one.wait_log(r"HTTP on 127\.0\.0\.1:(\d+)").group(1)
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=10) as page:
                text = page.read().decode()
            assert re.search(r'core_auth_failure_total\{[^}]*\} 1\d\n', text)
            assert re.search(r'core_auth_limit_total\{[^}]*\} [1-9]', text)


def test_nothing_secret_is_said():
    for name in PRODUCTS:
        with users("user:SECRET\n") as file, running(name, file, "-vv") as (one, port):
            assert Client(port).set(b"any", b"user WRONGONE") == FAILED
            assert Client(port).set(b"any", b"user SECRET") == b"STORED"
            c = b.Connection(port)
            assert c.ask(b.SASL_AUTH, b"PLAIN", b"\0user\0SECRET").status == b.OK
            http = one.wait_log(r"HTTP on 127\.0\.0\.1:(\d+)").group(1)
            with urllib.request.urlopen(f"http://127.0.0.1:{http}/metrics", timeout=10) as page:
                said = page.read().decode() + one.log()
            assert "SECRET" not in said and "WRONGONE" not in said


def test_a_file_that_cannot_be_used_ends_the_start():
    for name, flags in PRODUCTS.items():
        for file, code, why in (("/no/such/file", 66, "No such file"), ("/tmp", 78, "is no file")):
            run = subprocess.run([os.path.join(BIN, name), *flags, "-p", "0", "-Y", file, "--set",
                                  "admin.port=0", "--set", "admin.http_port=0"],
                                 capture_output=True, text=True, timeout=30)
            assert run.returncode == code and why in run.stdout + run.stderr, (run, code)
            assert "server.auth_file" in run.stdout + run.stderr


if __name__ == "__main__":
    main(globals())
