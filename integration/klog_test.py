"""The command log and the rotation of both logs:  klog_test.py [BIN_DIR]"""
import os
import re
import signal
import tempfile
import time

from harness import eventually, main
from knobs import MEMCACHES, ALL, client_of, config_file, metrics, product, shows, started

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
DIALOGUE = [  # What is said, the reply, the lines.
    (b"get k", b"END\r\n", ['"get k" 0 0']),
    (b"set k 7 100 3\r\nabc", b"STORED\r\n", ['"set k 7 100 3" 5 8']),
    (b"get no k", b"END\r\n", ['"get no" 0 0', '"get k" 4 3']),
    (b"add k 0 0 1\r\nx", b"NOT_STORED\r\n", ['"add k 0 0 1" 9 12']),
    (b"replace no 0 0 1\r\nx", b"NOT_STORED\r\n", ['"replace no 0 0 1" 9 12']),
    (b"append k 0 0 1\r\nd", b"STORED\r\n", ['"append k 0 0 1" 5 8']),
    (b"prepend k 0 0 1\r\nz", b"STORED\r\n", ['"prepend k 0 0 1" 5 8']),
    (b"gets k", b"END\r\n", ['"gets k" 4 5']),
    (b"gat 100 k", b"END\r\n", ['"gat k 100" 4 5']),
    (b"cas no 0 0 1 5\r\nx", b"NOT_FOUND\r\n", ['"cas no 0 0 1 5" 8 11']),
    (b"cas k 0 0 1 5\r\nx", b"EXISTS\r\n", ['"cas k 0 0 1 5" 6 8']),
    (b"touch k 50", b"TOUCHED\r\n", ['"touch k 50" 4 9']),
    (b"incr k 1", b"value\r\n", ['"incr k 1" 10 62']),
    (b"set n 0 0 1\r\n9", b"STORED\r\n", ['"set n 0 0 1" 5 8']),
    (b"incr n 2", b"11\r\n", ['"incr n 2" 5 4']),
    (b"decr no 1", b"NOT_FOUND\r\n", ['"decr no 1" 8 11']),
    (b"delete n noreply\r\ndelete n", b"NOT_FOUND\r\n", ['"delete n" 7 0', '"delete n" 8 11']),
    (b"set \xff\" 0 0 1\r\nx", b"STORED\r\n", ['"set \\xff\\" 0 0 1" 5 8']),
    (b"version", b"\r\n", []),
]


def read(path):
    return open(path).read() if os.path.exists(path) else ""


def lines(path):
    for line in read(path).splitlines():
        assert re.match(STAMP + '"', line), line
    return [re.sub(STAMP, "", line) for line in read(path).splitlines()]


@shows(MEMCACHES, "klog.file")
def test_every_verb_has_its_line():
    for name in MEMCACHES:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "k")
            with started(name, f"klog.file={path}", "klog.sample=1") as running:
                client = client_of(running)
                for said, reply, _ in DIALOGUE:
                    client.say(said + b"\r\n")
                    client.hear_until(reply)
                running.stop()
            wanted = [line for *_, some in DIALOGUE for line in some]
            assert lines(path) == wanted, (name, list(zip(lines(path), wanted)))


@shows(MEMCACHES, "klog.sample")
def test_sample_and_off():
    for name in MEMCACHES:
        for sample, wanted in ((10, 10), (0, 0)):
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "k")
                with started(name, f"klog.file={path}", f"klog.sample={sample}",
                             "server.workers=1") as running:
                    client = client_of(running)
                    for i in range(100):
                        client.get(b"key%d" % i)
                    running.stop()
                assert len(lines(path)) == wanted, (name, sample)


@shows(MEMCACHES, "klog.max_size", "klog.backup")
def test_rotation_loses_no_line():
    for name in MEMCACHES:
        with tempfile.TemporaryDirectory() as folder:
            path, old = os.path.join(folder, "k"), os.path.join(folder, "k.1")
            with started(name, f"klog.file={path}", f"klog.backup={old}", "klog.sample=1",
                         "klog.max_size=32KB", "klog.interval=5ms") as running:
                client = client_of(running)
                for i in range(1000):  # About 44 bytes each: one rotation.
                    client.get(b"key%09d" % i)
                running.stop()
            assert 0 < os.path.getsize(path) <= 32768 and os.path.getsize(old) <= 32768
            assert lines(old) + lines(path) == ['"get key%09d" 0 0' % i for i in range(1000)], name


def test_sighup_reopens():
    for name in MEMCACHES:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "k")
            with started(name, f"klog.file={path}", "klog.sample=1") as running:
                client = client_of(running)
                client.get(b"before")
                eventually(lambda: lines(path))
                os.rename(path, path + ".moved")
                running.process.send_signal(signal.SIGHUP)
                eventually(lambda: os.path.exists(path))
                client.get(b"after")
                eventually(lambda: lines(path) == ['"get after" 0 0'])
                assert metrics(running)["core_klog_line_total"] == 2
                assert lines(path + ".moved") == ['"get before" 0 0']


@shows(ALL, "log.max_size", "log.backup")
def test_log_rotates():
    for name in ALL:
        with tempfile.TemporaryDirectory() as folder:
            path, old = os.path.join(folder, "l"), os.path.join(folder, "l.1")
            with started(name, f"log.file={path}", f"log.backup={old}", "log.max_size=200") as running:
                eventually(lambda: os.path.exists(old))
                running.stop()
            assert 0 < os.path.getsize(path), name


@shows(MEMCACHES, "klog.interval")
def test_interval_is_when_lines_are_written():
    for name in MEMCACHES:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "k")
            with started(name, f"klog.file={path}", "klog.sample=1",
                         "klog.interval=10s") as running:
                client_of(running).get(b"k")
                time.sleep(0.5)
                assert lines(path) == [], name
                running.stop()
            assert lines(path) == ['"get k" 0 0']


@shows(MEMCACHES, "klog.queue_lines")
def test_queue_lines_bound_what_waits():
    """A get of 2000 keys is more lines at once than a queue of 16 holds."""
    for name in MEMCACHES:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "k")
            with started(name, f"klog.file={path}", "klog.sample=1", "klog.queue_lines=16",
                         "klog.interval=10s") as running:
                client = client_of(running)
                for _ in range(20):
                    client.say(b"get " + b"k " * 2000 + b"\r\n")
                    client.hear_until(b"END\r\n")
                assert metrics(running)["core_klog_drop_total"] > 0, name


def test_predecessor_file():
    with tempfile.TemporaryDirectory() as folder:
        klog, log = os.path.join(folder, "k"), os.path.join(folder, "l")
        with config_file(f'[server]\nport = "0"\n[debug]\nlog_file = "{log}"\n'
                         f'log_max_size = 100\nlog_backup = "{log}.1"\n'
                         f'[klog]\nfile = "{klog}"\nbackup = "{klog}.1"\ninterval = 5\n'
                         'max_size = 1000\nqueue_depth = 64\nsample = 1\n') as file:
            with product("segcache", file) as running:
                eventually(lambda: os.path.exists(f"{log}.1"))
                running.stop()
            assert os.path.exists(klog)


if __name__ == "__main__":
    main(globals())
