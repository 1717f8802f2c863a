#!/usr/bin/env python3
"""load_gen against segcache, stock memcached and pingserver:  load_test.py [BIN_DIR]

Every command with every reply checked, the open loop's arithmetic, and that the trouble it meets is
told. Says nothing about how fast anything is."""
import contextlib
import getpass
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, Client, eventually, free_port, main, wait_port  # noqa: E402
from knobs import port_of, started  # noqa: E402

READS = ["get", "gets", "gat", "gats", "get*7", "gats*3"]
WRITES = ["set", "add", "replace", "append", "prepend", "delete", "incr", "decr", "touch"]
# Values grow by append and prepend, so set must be among them; append must find no huge one.
EVERYTHING = ",".join([*READS, "cas", "set:10", *WRITES, *[w + "-noreply" for w in WRITES]])


def load_argv(port, *flags):
    return [os.path.join(BIN, "load_gen"), "-p", str(port), *flags]


def load(port, *flags, code=0):
    """The report of a load that ends with `code`."""
    done = subprocess.run(load_argv(port, "--json", *flags), capture_output=True, text=True, timeout=60)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return json.loads(done.stdout) if done.stdout else done.stderr


@contextlib.contextmanager
def memcached(*flags):
    user = ["-u", "root"] if getpass.getuser() == "root" else []
    process = subprocess.Popen(["memcached", "-U", "0", *user, *flags])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def either():
    """(name, port) of segcache and of memcached."""
    port = free_port()
    with started("segcache") as ours, memcached("-l", "127.0.0.1", "-p", str(port)):
        wait_port(port)
        yield [("segcache", port_of(ours)), ("memcached", port)]


def wait_for_load(port):
    """Until a load has begun."""
    with contextlib.closing(Client(port)) as client:
        def gets():
            client.say(b"stats\r\n")
            return int(client.hear_until(b"END\r\n").split(b"STAT cmd_get ")[1].split()[0])
        eventually(gets, what="a get")


def test_each_command_alone_is_answered_and_right():
    with either() as servers:
        for name, port in servers:
            load(port, "--preload", "-n", "1", "--keys", "50", "--value-bytes", "14-40", "--verify",
                 "--mix", "incr")
            for mix in [*READS, "cas", *WRITES, *[w + "-noreply" for w in WRITES]]:
                out = load(port, "--mix", mix, "-n", "300", "-c", "3", "-d", "5", "--keys", "50",
                           "--value-bytes", "14-40", "--ttl", "100-1000", "--verify")
                assert out["requests"] == 300 and not out["faults"], (name, mix, out)
                wanted = 0 if "noreply" in mix else 300
                assert out["latency"]["count"] == wanted, (name, mix, out)


def test_everything_at_once_on_threads():
    with either() as servers:
        for name, port in servers:
            out = load(port, "--preload", "--mix", EVERYTHING, "-n", "20000", "-t", "2", "-c", "7", "-d",
                       "9", "--keys", "500", "--key-order", "zipf:0.9", "--key-bytes", "12-60",
                       "--value-bytes", "20:5,300:3,4000:1", "--verify", "--flags", "77")
            assert out["requests"] == 20000 and not out["faults"], (name, out)
            assert out["hits"] > 0 and out["misses"] > 0 and out["declined"] > 0, (name, out)


def test_values_of_all_sizes_come_back():
    with either() as servers:
        for name, port in servers:
            for size in ("0", "1-20", "64:5,100000:1", "1000000"):
                out = load(port, "--preload", "--keys", "20", "--value-bytes", size, "--mix",
                           "get:5,set:1", "-n", "200", "-c", "2", "-d", "4", "--verify")
                assert out["hits"] + out["declined"] > 0 and not out["faults"], (name, size, out)
                assert out["misses"] == 0, (name, size, out)


def test_open_loop_sends_what_is_due_whatever_comes_back():
    with started("segcache") as server:
        port = port_of(server)
        out = load(port, "--preload", "-r", "2000", "--arrivals", "even", "--duration", "1.5", "-t", "2",
                   "-c", "4", "--mix", "get:90,set:10", "--keys", "1000", "--verify")
        # A thousand a second and thread, the first one a millisecond after the start.
        assert out["requests"] + out["unsent"] == 2 * 1499, out
        assert out["loop"] == "open" and not out["faults"], out
        at_random = load(port, "-r", "2000", "--duration", "1.5", "--seed", "3")
        assert 2700 < at_random["requests"] + at_random["unsent"] < 3300, at_random


# While the server stands still, the open loop's clock runs: what was due is late by seconds.
def test_a_stall_shows_in_the_open_loop():
    with started("segcache") as server:
        process = subprocess.Popen(
            load_argv(port_of(server), "--json", "-r", "500", "--duration", "3"),
            stdout=subprocess.PIPE, text=True)
        wait_for_load(port_of(server))
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        server.process.send_signal(signal.SIGCONT)
        out = json.loads(process.communicate(timeout=60)[0])
        assert out["latency"]["p9999_us"] > 900_000, out
        assert out["latency"]["p90_us"] > 200_000, out


def test_wrong_values_are_found():
    with either() as servers:
        for name, port in servers:
            load(port, "--preload", "-n", "1", "--keys", "10")
            client = Client(port)
            assert client.set(b"key:0000000000000003", b"x" * 64) == b"STORED"
            out = load(port, "--keys", "10", "--key-order", "sequential", "-n", "100", "--verify", code=1)
            assert out["faults"] == {"wrong_value": 10}, (name, out)
            assert "key:0000000000000003" in out["first_fault"], out
            out = load(port, "--keys", "10", "-n", "100")
            assert not out["faults"], "nobody asked to verify"


def test_errors_are_counted_by_kind():
    with started("segcache") as server:
        out = load(port_of(server), "--mix", "set", "--value-bytes", "2000000", "-n", "3", "-c", "1", code=1)
        assert out["faults"] == {"server_error": 3}, out
        assert "too large" in out["first_fault"], out
    with started("pingserver") as server:
        out = load(port_of(server), "--mix", "ping", "-n", "1000", "-c", "4", "-d", "8")
        assert out["requests"] == 1000 and not out["faults"], out


def test_a_killed_server_ends_the_run():
    with started("segcache") as server:
        process = subprocess.Popen(
            load_argv(port_of(server), "--json", "--duration", "60", "-c", "5", "-d", "3", "--pid",
                      str(server.process.pid)), stdout=subprocess.PIPE, text=True)
        wait_for_load(port_of(server))
        server.process.kill()
        out = json.loads(process.communicate(timeout=30)[0])
        assert process.returncode == 1, out
        assert out["faults"]["closed"] == 5 and out["requests"] > 0, out


def test_figures_of_the_server():
    with started("segcache") as server:
        out = load(port_of(server), "-n", "20000", "-d", "16", "--pid", str(server.process.pid))
        assert out["server_cpu_us"] > 0 and out["client_cpu_us"] > 0, out
        assert out["server_resident_bytes"] > 1 << 20, out


def test_unix_socket():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m")
        with memcached("-s", path):
            eventually(lambda: os.path.exists(path))
            out = load(0, "--socket", path, "--preload", "--keys", "100", "-n", "1000", "--verify")
            assert out["hits"] == 1000 and not out["faults"], out


def test_text_progress_and_exit_codes():
    with started("segcache") as server:
        port = port_of(server)
        done = subprocess.run(load_argv(port, "--mix", "get,set", "--duration", "1.3", "--progress"),
                              capture_output=True, text=True, timeout=60, check=True)
        for word in ("closed loop", "hit ratio", "p99.9", "faults    none"):
            assert word in done.stdout, done.stdout
        assert "measure    1 s" in done.stderr, done.stderr
        quiet = subprocess.run(load_argv(port, "-n", "10"), capture_output=True, text=True, timeout=60)
        assert quiet.stderr == "", "progress is for terminals"
        assert "no process" in load(port, "-n", "10", "--pid", "999999999", code=66)
    assert "refused" in load(free_port(), "-n", "10", code=69)
    assert "--mix" in load(free_port(), "--mix", "got", code=64)


main(globals())
