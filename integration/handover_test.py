#!/usr/bin/env python3
"""A new process takes over from a running one, under load, and no client notices."""
import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, Client, Product, eventually, free_port, main  # noqa: E402
from knobs import local, metrics, port_of, sets, shows  # noqa: E402

TAKEOVERS = 4


class Line:
    """Processes of one product that follow each other on the same ports."""

    def __init__(self, name, folder, *settings):
        self.name = name
        self.port = free_port()
        self.unix = os.path.join(folder, "data.sock")
        self.socket = os.path.join(folder, "handover.sock")
        self.pid_file = os.path.join(folder, "pid")
        where = "cache[0]" if name == "momento_proxy" else "listen"
        self.flags = sets((f"{where}.port={self.port}", f"{where}.unix_socket={self.unix}",
                           f"server.handover_socket={self.socket}",
                           f"server.pid_file={self.pid_file}", "server.workers=2",
                           f"admin.port={free_port()}", f"admin.http_port={free_port()}",
                           *settings))
        self.running = None

    def start(self):
        """Another process; the one before must end by itself, with code 0."""
        before, self.running = self.running, Product(self.name, *self.flags)
        self.running.wait_log(r"admin: HTTP on")
        if before is None:
            eventually(lambda: os.path.exists(self.socket), what="a handover socket")
            return
        assert before.process.wait(30) == 0, before.log()
        self.running.wait_log(r"handover: the process before is gone")
        assert "drain_timeout passed" not in before.log()

    def stop(self):
        if self.running is not None:
            with contextlib.suppress(AssertionError):
                self.running.stop(seconds=10)


@contextlib.contextmanager
def line_of(name, *settings):
    with tempfile.TemporaryDirectory() as folder:
        line = Line(name, folder, *settings)
        try:
            line.start()
            yield line
        except BaseException:
            sys.stderr.write(line.running.log()[-3000:])
            raise
        finally:
            line.stop()


class Load:
    """Clients that count what goes wrong."""

    def __init__(self):
        self.stop = threading.Event()
        self.wrong = []
        self.done = {}
        self.threads = []

    def add(self, name, work):
        def run():
            try:
                work(self)
            except Exception as e:  # Of a thread: kept for the test to see.
                self.wrong.append((name, repr(e)))
        self.done[name] = 0
        self.threads.append(threading.Thread(target=run))

    def count(self, name):
        self.done[name] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(30)

    def progress(self):
        """Returns when every client has got an answer since the call."""
        before = dict(self.done)
        eventually(lambda: self.wrong or all(self.done[n] > before[n] for n in before),
                   seconds=30, what="progress of every client")
        assert not self.wrong, self.wrong


def unix_client(path):
    client = Client.__new__(Client)
    client.socket = socket.socket(socket.AF_UNIX)
    client.socket.settimeout(10)
    client.socket.connect(path)
    client.heard = b""
    return client


def memcache_load(line, values_stay=True):
    load = Load()

    def steady(number, connect):
        name = f"steady {number}"

        def work(load):
            client, key, n = connect(), b"steady%d" % number, 0
            while not load.stop.is_set():
                n += 1
                value = b"%d" % n
                assert client.set(key, value) == b"STORED"
                got = client.get(key)
                assert got == (0, value) or (not values_stay and got is None), (got, value)
                load.count(name)
        load.add(name, work)

    def pipelined(load):
        client, n = Client(line.port), 0
        while not load.stop.is_set():
            n += 1
            big = b"x" * 20000
            client.say(b"".join(b"set p%d 0 0 20000\r\n%s\r\nget p%d\r\n" % (i, big, i)
                                for i in range(12)))
            for i in range(12):
                assert client.hear_line() == b"STORED"
                first = client.hear_line()
                if first != b"END":
                    assert first == b"VALUE p%d 0 20000" % i, first
                    assert client.hear_until(b"\r\nEND\r\n") == big + b"\r\nEND\r\n"
                else:
                    assert not values_stay
            load.count("pipelined")

    def in_pieces(load):
        """Requests that are cut wherever a takeover may find them."""
        client, n = Client(line.port), 0
        while not load.stop.is_set():
            n += 1
            text = b"set piece 0 0 10\r\n0123456789\r\n"
            at = n % len(text)
            client.say(text[:at])
            time.sleep(0.002)
            client.say(text[at:])
            assert client.hear_line() == b"STORED"
            load.count("in pieces")

    def reconnecting(load):
        while not load.stop.is_set():
            client = Client(line.port)
            assert client.set(b"again", b"v") == b"STORED"
            client.close()
            load.count("reconnecting")

    def silent(load):
        """Says nothing for whole lives of processes."""
        clients = [Client(line.port) for _ in range(20)]
        load.count("silent")
        while not load.stop.wait(0.02):
            load.count("silent")
        for client in clients:
            assert client.set(b"silent", b"v") == b"STORED"

    for number in range(3):
        steady(number, lambda: Client(line.port))
    steady(3, lambda: unix_client(line.unix))
    load.add("pipelined", pipelined)
    load.add("in pieces", in_pieces)
    load.add("reconnecting", reconnecting)
    load.add("silent", silent)
    return load


def take_over_under(load, line):
    with load:
        load.progress()
        for _ in range(TAKEOVERS):
            line.start()
            load.progress()
        assert int(open(line.pid_file).read()) == line.running.process.pid
        inherited = sum(v for k, v in metrics(line.running).items()
                        if k.startswith("core_net_connection_inherit_total"))
        assert inherited >= 25, inherited
    assert not load.wrong, load.wrong


@shows(("momento_proxy",), "server.handover_socket")
def test_momento_proxy_is_replaced_under_load():
    with local() as backend, line_of(
            "momento_proxy", f"momento.endpoint_override=127.0.0.1:{port_of(backend)}",
            "cache[0].cache_name=c", "momento.startup_check=ping", "cache[0].near_size=4MB",
            "cache[0].near_staleness=1h", "cache[0].deadline=20s") as line:
        take_over_under(memcache_load(line), line)


@shows(("segcache",), "server.handover_socket")
def test_segcache_is_replaced_under_load_and_keeps_its_items():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, line_of(
            "segcache", f"seg.restart_file={folder}/cache", "seg.heap_size=16MB") as line:
        client = Client(line.port)
        assert client.set(b"kept", b"value") == b"STORED"
        take_over_under(memcache_load(line), line)
        assert client.get(b"kept") == (0, b"value")


@shows(("pingserver",), "server.handover_socket")
def test_pingserver_is_replaced_under_load():
    with line_of("pingserver") as line:
        load = Load()

        def steady(load):
            client = Client(line.port)
            while not load.stop.is_set():
                assert client.ask(b"PING") == b"PONG"
                load.count("steady")

        def reconnecting(load):
            while not load.stop.is_set():
                client = Client(line.port)
                assert client.ask(b"PING") == b"PONG"
                client.close()
                load.count("reconnecting")

        def silent(load):
            clients = [Client(line.port) for _ in range(30)]
            while not load.stop.wait(0.02):
                load.count("silent")
            assert all(client.ask(b"PING") == b"PONG" for client in clients)
        load.add("steady", steady)
        load.add("reconnecting", reconnecting)
        load.add("silent", silent)
        take_over_under(load, line)


def test_a_next_process_that_fails_changes_nothing():
    with line_of("pingserver") as line:
        client = Client(line.port)
        for _ in range(3):
            # The port of the operator is somebody else's.
            with socket.create_server(("127.0.0.1", 0)) as taken:
                bad = Product("pingserver", *line.flags, "--set",
                              f"admin.port={taken.getsockname()[1]}")
                assert bad.process.wait(30) == 69, bad.log()
                assert open(line.pid_file).read() == f"{line.running.process.pid}\n"
                assert os.path.exists(line.unix) and os.path.exists(line.socket)
        assert client.ask(b"PING") == b"PONG"
        assert Client(line.port).ask(b"PING") == b"PONG"
        assert line.running.process.poll() is None
        line.start()
        assert client.ask(b"PING") == b"PONG"


def test_a_next_segcache_that_cannot_start_changes_nothing():
    """What can be known before is: the cache is taken over last."""
    with line_of("segcache") as line:
        client = Client(line.port)
        assert client.set(b"k", b"v") == b"STORED"
        with (tempfile.NamedTemporaryFile() as foreign,
              socket.create_server(("127.0.0.1", 0)) as taken):
            foreign.write(b"somebody's")
            foreign.flush()
            for wrong, code in (("server.auth_file=/nonexistent/users", 66),
                                ("klog.file=/nonexistent/klog", 66),
                                (f"listen.port={taken.getsockname()[1]}", 69),
                                ("listen.unix_socket=/nonexistent/socket", 69),
                                ("seg.restart_file=/nonexistent/file", 77),
                                ("seg.restart_file=/dev/null", 78),
                                (f"seg.restart_file={foreign.name}", 78)):
                bad = Product("segcache", *line.flags, "--set", wrong)
                assert bad.process.wait(30) == code, (wrong, bad.log())
                assert client.get(b"k") == (0, b"v") and line.running.process.poll() is None


def hear_sockets(next_process):
    """As a next process: hello, and all that comes of it."""
    next_process.send(b"hello")
    while (heard := next_process.recv(1 << 17)) != b"end":
        assert heard == b"listen", heard


def test_a_segcache_that_waits_for_the_one_before_can_be_told_to_stop():
    with (tempfile.TemporaryDirectory() as folder,
          socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as before):
        path = os.path.join(folder, "handover.sock")
        before.bind(path)
        before.listen()
        waits = Product("segcache", "-p", "0", *sets((f"server.handover_socket={path}",
                                                      "admin.port=0", "admin.http_port=0")))
        with before.accept()[0] as other:
            assert other.recv(100) == b"hello"
            other.send(b"end")
            assert other.recv(100) == b"take"
            waits.process.send_signal(signal.SIGTERM)
            assert waits.process.wait(30) == 0, waits.log()
        waits.wait_log("told to before it was ready")


def test_who_says_nothing_holds_nobody_up():
    with line_of("pingserver") as line, \
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(line.socket)
        before = line.running
        line.start()
        before.wait_log(f"handover: process {os.getpid()} says nothing")
        assert Client(line.port).ask(b"PING") == b"PONG"


def test_a_third_process_is_told_who_was_first():
    with line_of("pingserver") as line:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as second:
            second.connect(line.socket)
            hear_sockets(second)
            third = Product("pingserver", *line.flags)
            assert third.process.wait(30) == 69, third.log()
            third.wait_log(f"process {os.getpid()} is about to take over there")
            assert Client(line.port).ask(b"PING") == b"PONG"
        line.start()
        assert Client(line.port).ask(b"PING") == b"PONG"


def test_a_unix_socket_that_the_next_process_has_not_is_removed():
    for name in ("pingserver", "segcache"):
        with line_of(name) as line:
            assert os.path.exists(line.unix)
            line.flags = [*line.flags, "--set", "listen.unix_socket="]
            line.start()
            eventually(lambda: not os.path.exists(line.unix), what="no file")
            assert os.path.exists(line.socket) and Client(line.port)


def take_over(line):
    """Starts the next process and returns (the one before, a client of the next); does not wait until
    the one before has ended."""
    before, line.running = line.running, Product(line.name, *line.flags)
    line.running.wait_log(r"admin: HTTP on")
    before.wait_log("draining for at most")
    return before, Client(line.port)


def begin_long_get(client):
    """More than may move with a connection, so that it stays where it is."""
    client.say(b"get " + b" ".join(b"%0240d" % i for i in range(400)))
    time.sleep(0.2)


def test_what_the_next_process_has_acknowledged_no_copy_hides():
    with local() as backend, line_of(
            "momento_proxy", f"momento.endpoint_override=127.0.0.1:{port_of(backend)}",
            "cache[0].cache_name=c", "cache[0].near_size=4MB",
            "cache[0].near_staleness=60s") as line:
        stays = Client(line.port)
        assert stays.set(b"k", b"old") == b"STORED"
        assert stays.get(b"k") == stays.get(b"k") == (0, b"old")
        assert metrics(line.running)['proxy_near_hit_total{cache="c"}'] > 0
        begin_long_get(stays)
        before, other = take_over(line)
        assert other.set(b"k", b"new") == b"STORED"
        stays.say(b"\r\nget k\r\n")
        assert stays.hear_line() == b"END"
        assert stays.hear_until(b"END\r\n") == b"VALUE k 0 3\r\nnew\r\nEND\r\n"
        assert before.process.wait(30) == 0, before.log()


def test_what_the_next_process_has_acknowledged_no_shared_call_hides():
    slow = ("local.fault_delay=600ms", "local.fault_delay_percent=100",
            "local.fault_rpcs=get,get-batch", "local.fault_applied=true")
    with local(*slow) as backend, tempfile.NamedTemporaryFile("w") as users:
        users.write("user:password\n")
        users.flush()
        with line_of("momento_proxy", f"momento.endpoint_override=127.0.0.1:{port_of(backend)}",
                     "server.workers=1", "cache[0].cache_name=c", "cache[0].deadline=5s",
                     f"cache[0].auth_file={users.name}") as line:

            def logged_in():
                client = Client(line.port)
                assert client.set(b"x", b"user password") == b"STORED"
                return client
            first, second = logged_in(), logged_in()
            assert first.set(b"k", b"old") == b"STORED"
            for client in (first, second):
                client.say(b"version\r")  # Half a line: these do not end with the drain yet.
            time.sleep(0.2)
            before, _ = take_over(line)

            def at_the_next():
                """The one before may still accept a connection, which it closes after an answer."""
                try:
                    client = logged_in()
                    return client.ask(b"version").startswith(b"VERSION") and client
                except (EOFError, ConnectionError):
                    return None
            other = eventually(at_the_next, 5, "a login at the next process")
            first.say(b"\nget k\r\n")
            time.sleep(0.1)
            assert other.set(b"k", b"new") == b"STORED"
            second.say(b"\nget k\r\n")
            assert second.hear_line().startswith(b"VERSION")
            assert second.hear_until(b"END\r\n") == b"VALUE k 0 3\r\nnew\r\nEND\r\n"
            assert before.process.wait(30) == 0, before.log()


def test_nobody_waits_for_who_is_in_the_middle_of_a_request():
    """While segcache is handed over nobody serves."""
    with line_of("segcache", "server.drain_timeout=60s") as line:
        slow, other = Client(line.port), Client(line.port)
        slow.say(b"set big 0 0 200000\r\n" + b"x" * 100_000)
        before, _ = take_over(line)
        assert other.set(b"k", b"v") == b"STORED"  # Within the client's ten seconds.
        assert before.process.wait(30) == 0, before.log()


def test_a_next_process_that_hangs_is_not_waited_for():
    """It takes over and then nothing more: 600 connections are not lost one by one, ten seconds each."""
    with line_of("pingserver", "server.drain_timeout=1s") as line:
        clients = [Client(line.port) for _ in range(600)]
        assert clients[-1].ask(b"PING") == b"PONG"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as successor:
            successor.connect(line.socket)
            hear_sockets(successor)
            successor.send(b"take")
            assert line.running.process.wait(40) == 0
        assert re.search(r"handover: \d+ connections are lost", line.running.log())


def test_connections_that_cannot_be_taken_are_told_of():
    with line_of("pingserver") as line:
        clients = [Client(line.port) for _ in range(150)]
        assert clients[-1].ask(b"PING") == b"PONG"
        few = Product("pingserver", *line.flags, limits={resource.RLIMIT_NOFILE: (100, 100)})
        before, line.running = line.running, few
        assert before.process.wait(30) == 0, before.log()
        few.wait_log(r"handover: \d+ connections are lost: this process may not open as many files")


def test_nobody_else_may_take_over():
    with line_of("pingserver") as line:
        assert os.stat(line.socket).st_mode & 0o777 == 0o600


def test_a_socket_of_a_process_that_died_is_no_hindrance():
    with line_of("pingserver") as line:
        line.running.process.kill()
        line.running.process.wait()
        assert os.path.exists(line.socket)
        line.running = None
        line.start()
        assert Client(line.port).ask(b"PING") == b"PONG"
        assert line.running.stop() == 0
        assert not os.path.exists(line.socket) and not os.path.exists(line.pid_file)


def test_listening_sockets_of_a_service_manager_are_used():
    """As systemd passes them (sd_listen_fds(3)): the queue outlives the process."""
    with socket.create_server(("127.0.0.1", 0)) as passed:
        port = passed.getsockname()[1]
        first = passed.fileno()

        def start():
            code = (f"import os; os.dup2({first}, 3, inheritable=True);"
                    "os.environ['LISTEN_PID'] = str(os.getpid()); os.environ['LISTEN_FDS'] = '1';"
                    "import sys; os.execv(sys.argv[1], sys.argv[1:])")
            return subprocess.Popen(
                [sys.executable, "-c", code, os.path.join(BIN, "pingserver"),
                 *sets((f"listen.port={port}", "admin.enabled=false", "admin.http_enabled=false"))],
                pass_fds=[first], stderr=subprocess.DEVNULL)
        process = start()
        try:
            assert Client(port, timeout=30).ask(b"PING") == b"PONG"
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            waiting = Client(port)  # Nobody accepts, and nobody refuses.
            waiting.say(b"PING\r\n")
            process = start()
            assert waiting.hear_line() == b"PONG"
        finally:
            process.kill()
            process.wait()


def test_a_takeover_does_not_wait_for_the_drain_delay():
    """Nor when the one before was told to go first, and is serving on."""
    for name in ("momento_proxy", "segcache", "pingserver"):
        with contextlib.ExitStack() as stack:
            settings = ["server.drain_delay=1h"]
            if name == "momento_proxy":
                backend = stack.enter_context(local())
                settings += [f"momento.endpoint_override=127.0.0.1:{port_of(backend)}",
                             "cache[0].cache_name=c"]
            line = stack.enter_context(line_of(name, *settings))
            client = Client(line.port)
            line.start()
            line.running.process.send_signal(signal.SIGTERM)
            line.running.wait_log("serving on for 1h")
            line.start()
            ask, answer = ((b"PING", b"PONG") if name == "pingserver" else
                           (b"get k", b"END"))
            assert client.ask(ask) == answer
            # As many as follow: this one is in nobody's way.
            line.running.process.send_signal(signal.SIGTERM)
            line.running.wait_log("serving on for 1h")
            line.running.process.send_signal(signal.SIGTERM)
            assert line.running.process.wait(15) == 0


def test_what_cannot_move_is_closed():
    """Watchers, and who is at a port with logins or at a cache that is no more; others stay."""
    with tempfile.NamedTemporaryFile("w") as users, local() as backend:
        users.write("user:password\n")
        users.flush()
        guarded, gone = free_port(), free_port()
        of_the_gone = sets(("cache[2].cache_name=gone", f"cache[2].port={gone}"))
        with line_of("momento_proxy", f"momento.endpoint_override=127.0.0.1:{port_of(backend)}",
                     "cache[0].cache_name=c", "cache[1].cache_name=guarded",
                     f"cache[1].port={guarded}", f"cache[1].auth_file={users.name}",
                     "cache[2].cache_name=gone", f"cache[2].port={gone}") as line:
            stays, watcher, leaves = Client(line.port), Client(line.port), Client(gone)
            logged_in, stranger = Client(guarded), Client(guarded)
            assert stays.ask(b"get k") == b"END" and leaves.ask(b"get k") == b"END"
            assert watcher.ask(b"watch mutations") == b"OK"
            assert logged_in.ask(b"set a 0 0 13\r\nuser password") == b"STORED"
            assert stranger.ask(b"get k") == b"CLIENT_ERROR unauthenticated"
            assert list(line.flags[-len(of_the_gone):]) == list(of_the_gone)
            line.flags = line.flags[:-len(of_the_gone)]
            line.start()
            assert stays.ask(b"get k") == b"END"
            for closed in (watcher, leaves, logged_in, stranger):
                assert closed.hear_end() == b""
            assert Client(guarded).ask(b"get k") == b"CLIENT_ERROR unauthenticated"


if __name__ == "__main__":
    main(globals())
