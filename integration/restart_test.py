"""seg.restart_file: a cache that outlives its process, and files that must not be believed."""
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pymemcache

from harness import BIN, Client, free_port, main, product
from knobs import client_of, port_of, sets, started

SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@contextlib.contextmanager
def keeping(*settings, folder=SHM):
    """A file to keep a cache in, and how to start segcache with it."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = os.path.join(place, "segcache")
        mine = (f"seg.restart_file={path}", "seg.heap_size=16MB", "server.workers=2", *settings)
        yield path, lambda *more: started("segcache", *mine, *more)


def stop(running, sig=signal.SIGTERM):
    assert running.stop(sig) == 0, running.log()


def refuses_to_start(path, *settings):
    """The one line with which segcache ends, and its exit code."""
    done = subprocess.run(
        [os.path.join(BIN, "segcache"), "-p", "0",
         *sets((f"seg.restart_file={path}", "seg.heap_size=16MB", "admin.enabled=false",
                "admin.http_enabled=false", "log.level=error", *settings))],
        capture_output=True, text=True, timeout=20)
    assert done.stderr.startswith(f"segcache: seg.restart_file: {path}: "), done
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr, done.returncode


def starts_empty(start, path, why, key=b"k"):
    with start() as running:
        client = client_of(running)
        assert client.get(key) is None
        assert "curr_items 0" in client_stats(client)
        lines = [line for line in running.log().splitlines() if "is not used" in line]
        assert len(lines) == 1 and path in lines[0] and why in lines[0], (why, running.log())
        assert " warn " in lines[0]
        assert client.set(key, b"new") == b"STORED"
        stop(running)


def client_stats(client):
    client.say(b"stats\r\n")
    return client.hear_until(b"END\r\n").decode()


def fill(start, key=b"k", value=b"v"):
    with start() as running:
        assert client_of(running).set(key, value) == b"STORED"
        stop(running)


def test_what_a_client_stored_is_there_after_sigterm():
    values = {f"key{i}": bytes([i % 256]) * (i * 7 % 3000) for i in range(2000)}
    values |= {f"large{i}": os.urandom(400_000 + i) for i in range(4)}
    with keeping() as (_, start):
        with start() as running:
            client = pymemcache.Client(("127.0.0.1", port_of(running)), timeout=10,
                                       default_noreply=False)
            for i, (key, value) in enumerate(values.items()):
                assert client.set(key, value, expire=100 * (i % 3), flags=i % 5)
            assert client.delete("key7")
            tokens = {key: client.gets(key)[1] for key in ("key1", "key2", "large1")}
            assert client.set("key2", b"newer", flags=2)
            client.close()
            stop(running)
            assert "2003 items saved" in running.log(), running.log()
        with start() as running:
            running.wait_log("2003 items are back")
            client = pymemcache.Client(("127.0.0.1", port_of(running)), timeout=10,
                                       default_noreply=False)
            del values["key7"]
            values["key2"] = b"newer"
            names = list(values)
            found = {}
            for i in range(0, len(names), 50):
                found |= client.get_many(names[i:i + 50])
            assert found == values
            assert client.get("key7") is None
            raw = client_of(running)
            assert raw.get(b"key4")[0] == 4, "flags"
            # A token that was told before still counts, until its item is written again.
            assert client.gets("key1")[1] == tokens["key1"]
            assert client.cas("key2", b"too late", tokens["key2"]) is False
            assert client.cas("key1", b"in time", tokens["key1"]) is True
            assert client.cas("key1", b"twice", tokens["key1"]) is False
            assert client.cas("large1", b"small", tokens["large1"]) is True
            fresh = {client.set(f"new{i}", b"n") and client.gets(f"new{i}")[1]
                     for i in range(100)}
            assert len(fresh) == 100 and not fresh & set(tokens.values())
            client.close()


def test_lives_go_on_while_the_process_is_away():
    with keeping() as (_, start):
        with start() as running:
            client = client_of(running)
            began = time.monotonic()
            assert client.set(b"short", b"v", exptime=2) == b"STORED"
            assert client.set(b"middle", b"v", exptime=4) == b"STORED"
            assert client.set(b"long", b"v", exptime=1000) == b"STORED"
            client.say(b"flush_all 6\r\n")
            assert client.hear_line() == b"OK"
            stop(running)
        time.sleep(max(0.0, began + 2.2 - time.monotonic()))
        with start() as running:
            client = client_of(running)
            in_time = time.monotonic() < began + 4
            middle = client.get(b"middle")
            assert client.get(b"short") is None
            assert middle is not None or not in_time or time.monotonic() > began + 4
            assert client.get(b"long") is not None or time.monotonic() > began + 6
            while time.monotonic() < began + 4.2:
                time.sleep(0.1)
            assert client.get(b"middle") is None
            while time.monotonic() < began + 6.3:
                time.sleep(0.1)
            assert client.get(b"long") is None, "the flush that was pending"
            assert client.set(b"long", b"v") == b"STORED"
            assert client.get(b"long") is not None
            stop(running)


def test_every_way_to_stop_keeps_the_cache():
    def admin_save(running):
        port = int(running.wait_log(r"admin: text on \S+:(\d+)").group(1))
        client = Client(port)
        assert client.ask(b"help") and client.hear_until(b"save").endswith(b"save")
        client.say(b"save\r\n")
        client.hear_until(b"OK")
        assert running.process.wait(20) == 0

    def by(sig):
        return lambda running: stop(running, sig)
    with keeping() as (_, start):
        for n, way in enumerate((by(signal.SIGTERM), by(signal.SIGINT), by(signal.SIGUSR1),
                                 by(signal.SIGUSR2), admin_save)):
            with start() as running:
                client = client_of(running)
                for before in range(n):
                    assert client.get(b"k%d" % before) == (0, b"v"), (n, running.log())
                assert client.set(b"k%d" % n, b"v") == b"STORED"
                client.close()
                way(running)
                assert " saved in " in running.log()
    with started("segcache") as running:
        port = int(running.wait_log(r"admin: text on \S+:(\d+)").group(1))
        assert Client(port).ask(b"save").startswith(b"CLIENT_ERROR"), "nothing to save to"
        assert running.process.poll() is None


def test_kill_loses_the_cache_and_serves_nothing_stale():
    with keeping() as (path, start):
        fill(start)
        with start() as running:
            client = client_of(running)
            assert client.get(b"k") == (0, b"v")
            assert client.set(b"k", b"newer") == b"STORED"
            running.process.kill()
            running.process.wait()
        starts_empty(start, path, "did not come to its end")
        with start() as running:  # And the next one is whole again.
            assert client_of(running).get(b"k") == (0, b"new")


def test_told_twice_to_stop_saves_nothing():
    with keeping() as (path, start):
        fill(start)
        with start("server.output_max=64KB") as running:
            client = client_of(running)
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:  # Replies that nobody reads keep the drain waiting.
                    client.socket.send(b"version\r\n" * 4096)
            time.sleep(0.3)
            running.process.send_signal(signal.SIGTERM)
            running.wait_log("draining")
            stop(running)
            assert "saving was cut short" in running.log(), running.log()
        starts_empty(start, path, "did not come to its end")


def patch(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def test_files_that_are_damaged_are_not_used():
    def flip(at):
        def damage(path):
            with open(path, "r+b") as file:
                file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
        return damage

    def byte_of_a_value(path):
        with open(path, "rb") as file:
            at = file.read().index(b"the value")
        patch(path, at, b"The")

    with keeping() as (path, start):
        fill(start, value=b"the value")
        size = os.path.getsize(path)
        for damage, why in (
                (lambda p: patch(p, 8, b"\x63"), "of version 99, and this is 4"),
                (lambda p: patch(p, 12, b"\x01\x02\x03\x04"), "a machine of another kind"),
                (flip(17), "header is damaged"),
                (flip(40), "header is damaged"),
                (lambda p: os.truncate(p, size - 1), f"of {size - 1} bytes instead of {size}"),
                (lambda p: os.truncate(p, 20), "ends after 20 bytes"),
                (lambda p: os.truncate(p, size + 1), f"of {size + 1} bytes instead of {size}"),
                (flip(5000), "content is damaged"),
                (flip(-1), "segment records are damaged"),
                (byte_of_a_value, "content is damaged")):
            fill(start, value=b"the value")
            damage(path)
            starts_empty(start, path, why)
        # Another layout, and back.
        for layout, why in (("seg.heap_size=8MB", "was laid out for"),
                            ("seg.segment_size=32KB", "was laid out for"),
                            ("seg.hash_power=12", "was laid out for")):
            fill(start)
            starts_empty(lambda setting=layout: start(setting), path, why)
        # What the engine decides anew does not matter.
        fill(start)
        with start("seg.eviction=fifo", "server.workers=1") as running:
            assert client_of(running).get(b"k") == (0, b"v")


def test_files_of_others_are_left_alone():
    with keeping() as (path, start):
        for content in (b"dear diary", b"x", os.urandom(100_000)):
            with open(path, "wb") as file:
                file.write(content)
            line, code = refuses_to_start(path)
            assert "holds something else" in line and code == 78, (line, code)
            assert open(path, "rb").read() == content
        os.truncate(path, 0)  # What mktemp leaves is anybody's.
        fill(start)
        folder = os.path.dirname(path)
        assert refuses_to_start(folder)[0].endswith("Is a directory\n")
        assert refuses_to_start(folder + "/none/such")[0].endswith("No such file or directory\n")
        os.mkfifo(path + ".fifo")
        assert refuses_to_start(path + ".fifo")[0].endswith("not a regular file\n")


@contextlib.contextmanager
def tmpfs(options):
    """A small tmpfs, or None where this process may not mount one."""
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder],
                                 capture_output=True)
        if mounted.returncode != 0:
            print(f"     not tried, no right to mount: {mounted.stderr.decode().strip()}")
            yield None
            return
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)


def test_a_full_or_read_only_place_is_an_error_at_the_start():
    with tmpfs("size=8m") as folder:
        if folder is not None:
            path = folder + "/segcache"
            line, code = refuses_to_start(path)
            assert "no room for" in line and "No space left on device" in line, line
            assert code == 71, code
            assert os.path.getsize(path) == 0, "what could not be had is given back"
            # The half that fits serves to its last byte, and so does the next process.
            with keeping("seg.heap_size=6MB", folder=folder) as (_, start):
                os.unlink(path)
                for _ in range(2):
                    with start() as running:
                        client = client_of(running)
                        for i in range(100):
                            assert client.set(b"k%d" % i, os.urandom(100_000)) == b"STORED"
                        stop(running)
                assert " items are back" in running.log()
    with tmpfs("size=32m,ro") as folder:
        if folder is not None:
            line, code = refuses_to_start(folder + "/segcache")
            assert line.endswith("Read-only file system\n") and code == 77, (line, code)


def test_one_process_a_file():
    with keeping() as (path, start):
        with start() as running:
            client = client_of(running)
            assert client.set(b"k", b"v") == b"STORED"
            line, code = refuses_to_start(path)
            assert line.endswith("in use by another process\n") and code == 69, (line, code)
            assert client.get(b"k") == (0, b"v")
            stop(running)
        with start() as running:
            assert client_of(running).get(b"k") == (0, b"v")


def test_a_start_that_fails_later_keeps_the_cache():
    with keeping() as (path, start):
        fill(start)
        with started("segcache") as other:
            port = port_of(other)
            taken = subprocess.run(
                [os.path.join(BIN, "segcache"), "-p", str(port),
                 *sets((f"seg.restart_file={path}", "seg.heap_size=16MB", "server.workers=2",
                        "admin.enabled=false", "admin.http_enabled=false"))],
                capture_output=True, text=True, timeout=20)
            assert taken.returncode == 69, taken
        with start() as running:
            assert client_of(running).get(b"k") == (0, b"v")


def test_restarts_under_load_lose_nothing_that_was_acknowledged():
    port = free_port()
    done = threading.Event()
    stored = [{} for _ in range(3)]  # Of each writer: number of a key -> its last acknowledged value
    wrong = []

    def write(mine, n):
        sent = 0
        while not done.is_set():
            try:
                client = Client(port, timeout=5)
                while not done.is_set():
                    key, value = sent % 500, b"%d.%d" % (n, sent)
                    sent += 1
                    # In doubt until it is acknowledged.
                    before = mine.pop(key, None)
                    if client.set(b"w%d.%d" % (n, key), value) != b"STORED":
                        wrong.append("not stored")
                    mine[key] = value
                    look = (key * 7 + 1) % 500
                    if look in mine:
                        found = client.get(b"w%d.%d" % (n, look))
                        if found != (0, mine[look]):
                            wrong.append((n, look, mine[look], found))
                    del before
            except (OSError, EOFError, ValueError, AssertionError):
                time.sleep(0.02)  # Between two processes.

    def run(path):
        return product("segcache", "-p", str(port), *sets((
            f"seg.restart_file={path}", "seg.heap_size=16MB", "server.workers=2")))

    with keeping() as (path, _):
        writers = [threading.Thread(target=write, args=(stored[n], n)) for n in range(3)]
        try:
            for round_ in range(4):
                with run(path) as running:
                    port_of(running)
                    if round_ == 0:
                        for writer in writers:
                            writer.start()
                    else:
                        assert " items are back" in running.log(), running.log()
                    time.sleep(0.5)
                    stop(running)
        finally:
            done.set()
            for writer in writers:
                writer.join()
        assert not wrong, wrong[:3]
        with run(path) as running:
            port_of(running)
            client = Client(port)
            for n, mine in enumerate(stored):
                assert len(mine) > 100
                for key, value in mine.items():
                    assert client.get(b"w%d.%d" % (n, key)) == (0, value)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    main(globals())
