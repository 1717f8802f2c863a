"""server.*, listen.*, admin.* and log.*: what every product has, shown on each that has it."""
import contextlib
import ctypes
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from harness import BIN, Client, eventually, free_port, product, wait_port
from knobs import (ALL, FRONTS, MEMCACHES, client_of, complaint, metrics, page, pause, port_of, ready, run,
                   sets, shows, started, total, wait_workers)

LISTEN = {"momento_proxy": "cache[0]", "segcache": "listen", "pingserver": "listen",
          "momento_local": "local"}


def refuses(port, host="127.0.0.1"):
    with socket.socket() as s:
        return s.connect_ex((host, port)) != 0


@shows(FRONTS, "server.workers")
def test_workers_are_threads():
    for name in FRONTS:
        for count in (1, 3):
            with started(name, f"server.workers={count}") as running:
                ready(running)
                wait_workers(running, count)


def forbid_io_uring():
    """Between fork and exec: io_uring_setup fails with EPERM, as in a container."""
    libc = ctypes.CDLL(None, use_errno=True)
    setup = 425  # On every architecture.
    # Load the call's number; return EPERM if it is that one, else allow.
    program = b"".join(struct.pack("HBBI", *one) for one in (
        (0x20, 0, 0, 0), (0x15, 0, 1, setup), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)))
    code = ctypes.create_string_buffer(program, len(program))
    filter_ = struct.pack("HxxxxxxQ", 4, ctypes.addressof(code))
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    assert libc.prctl(22, 2, filter_, 0, 0) == 0  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


def has_io_uring():
    """Whether the kernel gives this process a ring as ours: Linux 6.1 or later, and nothing forbids it."""
    libc = ctypes.CDLL(None, use_errno=True)
    single_issuer, defer_taskrun = 1 << 12, 1 << 13  # struct io_uring_params: 120 bytes, flags third.
    params = ctypes.create_string_buffer(struct.pack("III", 0, 0, single_issuer | defer_taskrun), 120)
    ring = libc.syscall(425, 1, params)
    if ring >= 0:
        os.close(ring)
    return ring >= 0


def rings_of(running):
    folder = f"/proc/{running.process.pid}/fd"
    return sum(os.readlink(f"{folder}/{fd}") == "anon_inode:[io_uring]" for fd in os.listdir(folder))


@shows(FRONTS, "server.io")
def test_io_is_what_connections_are_served_by():
    has = has_io_uring()  # Where there is none, what can be shown is that and the way without.
    for name in FRONTS:
        answers = {}
        for io, preexec in (("epoll", None), ("auto", forbid_io_uring), ("auto", None),
                            *([("io_uring", None)] if has else [])):
            with started(name, f"server.io={io}", "server.workers=2", preexec=preexec) as running:
                said = running.wait_log(r"connections are served by (\w+)(.*)")
                client = client_of(running)
                client.say(ASK[name] * 1000)
                heard = [client.hear_line() for _ in range(1000)]
                answers[io, preexec] = set(heard)
                ring = said.group(1) == "io_uring"
                assert rings_of(running) == (2 if ring else 0), (name, io)
                assert total(running, "core_net_io_uring_workers") == (2 if ring else 0)
                # What is faster is epoll in the proxy.
                wanted = io == "io_uring" or (io == "auto" and name != "momento_proxy")
                assert ring == (has and wanted and preexec is None), (name, io, said.group(0))
                if preexec is not None and wanted:
                    assert said.group(2) == (", no io_uring: forbidden, by a seccomp filter as "
                                             "containers have it"), said.group(0)
        assert all(len(heard) == 1 for heard in answers.values()), answers
        assert len(set(map(frozenset, answers.values()))) == 1, answers
        first = ["--local"] if name == "momento_proxy" else []
        code, _, err = run(name, *first, "-p", "0", "--set", "server.io=io_uring",
                           preexec=forbid_io_uring)
        assert code == 69, (name, code, err)
        assert any("server.io: no io_uring: forbidden, by a seccomp filter" in line
                   for line in complaint(err)), err


@shows(FRONTS, "server.connections_max")
def test_one_connection_too_many_gets_an_error_line():
    for name in FRONTS:
        with started(name, "server.connections_max=2") as running:
            port = port_of(running)
            first, second, third = Client(port), Client(port), Client(port)
            assert third.hear_end() == b"ERROR Too many open connections\r\n", name
            assert total(running, "core_net_connection_reject_total") == 1
            first.close()

            def admitted():
                one = Client(port)
                one.say(b"quit\r\n")
                return one.hear_end() == b""
            if name != "pingserver":  # It knows no quit.
                eventually(admitted, what="room after a client left")
            second.close()


@shows(FRONTS, "server.backlog")
def test_backlog_bounds_what_the_kernel_queues():
    def queued(name, backlog):
        with started(name, f"server.backlog={backlog}") as running:
            port = port_of(running)
            pause(running)
            with contextlib.ExitStack() as stack:
                sockets = [stack.enter_context(socket.socket()) for _ in range(30)]
                for one in sockets:
                    one.setblocking(False)
                    one.connect_ex(("127.0.0.1", port))
                time.sleep(0.3)
                connected = sum(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"
                                for one in sockets)
                running.process.send_signal(signal.SIGCONT)
                return connected

    for name in FRONTS:
        assert queued(name, 3) <= 5, name
        assert queued(name, 100) == 30, name


@shows(FRONTS, "server.idle_timeout")
def test_idle_connections_are_closed():
    for name in FRONTS:
        with started(name, "server.idle_timeout=200ms") as running:
            assert client_of(running).hear_end() == b"", name
            assert total(running, "core_net_connection_idle_close_total") == 1
        with started(name) as running:
            client = client_of(running, timeout=0.6)
            with contextlib.suppress(TimeoutError):
                raise AssertionError(f"{name} closed: {client.hear_end()}")


def stuff(client, request, seconds=3):
    """Sends `request` over and over, reading nothing, until the peer takes no more."""
    client.socket.setblocking(False)
    data, taken, end = request * 4096, time.monotonic(), time.monotonic() + seconds
    while time.monotonic() < end and time.monotonic() - taken < 0.3:
        try:
            client.socket.send(data)
            taken = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)


ASK = {"momento_proxy": b"version\r\n", "segcache": b"version\r\n", "pingserver": b"PING\r\n"}


@shows(FRONTS, "server.stall_timeout")
def test_peers_that_take_no_replies_are_closed():
    for name in FRONTS:
        with started(name, "server.stall_timeout=300ms", "server.output_max=64KB") as running:
            client = client_of(running)
            stuff(client, ASK[name])
            eventually(lambda: total(running, "core_net_connection_stall_close_total") == 1,
                       what=f"{name} closes a peer that reads nothing")


@shows(FRONTS, "server.drain_delay")
def test_drain_delay_serves_on_before_the_drain():
    for name in FRONTS:
        with started(name, "server.drain_delay=1500ms") as running:
            old = client_of(running)
            eventually(lambda: page(running, "/readyz")[0] == 200, what=f"{name} ready")
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            eventually(lambda: page(running, "/readyz") == (503, "draining\n"),
                       what=f"{name} not ready")
            assert "draining for" not in running.log()
            for client in (old, client_of(running)):
                client.say(ASK[name])
                assert client.hear_line(), name
            assert running.process.wait(15) == 0
            assert time.monotonic() - began >= 1.5, name
            assert old.hear_end() == b""
            assert "drained" in running.log()
        # One more signal ends the delay as well as the drain.
        with started(name, "server.drain_delay=1h") as running:
            eventually(lambda: page(running, "/readyz")[0] == 200, what=f"{name} ready")
            running.process.send_signal(signal.SIGTERM)
            running.wait_log("serving on for 1h")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(15) == 0


@shows(FRONTS, "server.drain_timeout")
def test_drain_timeout_bounds_the_drain():
    for name in FRONTS:
        for seconds in (0.2, 0.8):
            with started(name, f"server.drain_timeout={int(seconds * 1000)}ms") as running:
                client = client_of(running)
                stuff(client, ASK[name])  # Replies that are never read are in flight for ever.
                began = time.monotonic()
                running.process.send_signal(signal.SIGTERM)
                assert running.process.wait(15) == 0
                took = time.monotonic() - began
                assert seconds - 0.05 <= took < seconds + 5, (name, seconds, took)
                assert "drain_timeout passed" in running.log()


@shows(["momento_proxy"], "server.in_flight_max")
def test_in_flight_max_pauses_reading():
    for limit, paused in ((2, True), (1024, False)):
        with started("momento_proxy", f"server.in_flight_max={limit}", "local.fault_delay=50ms",
                     "local.fault_delay_percent=100", "cache[0].batch=off") as running:
            client = client_of(running)
            client.say(b"".join(b"get k%d\r\n" % i for i in range(20)))
            for _ in range(20):
                assert client.hear_line() == b"END"
            pauses = total(running, "core_net_read_pause_total")
            assert (pauses > 0) == paused, (limit, pauses)


@shows(FRONTS, "server.output_max")
def test_output_max_pauses_reading():
    for name in FRONTS:
        for limit, paused in (("16KB", True), ("1GB", False)):
            with started(name, f"server.output_max={limit}") as running:
                client = client_of(running)
                stuff(client, ASK[name], seconds=0.5)
                count = lambda: total(running, "core_net_read_pause_total")  # noqa: E731
                if paused:
                    eventually(count, what="a pause of reading")
                else:
                    assert count() == 0, name
                client.close()


@shows(MEMCACHES, "server.auth_file")
def test_auth_file():
    for name in MEMCACHES:
        with tempfile.NamedTemporaryFile("w") as users:
            users.write("user:pass\n")
            users.flush()
            for file, before in (("", b"NOT_FOUND"), (users.name, b"CLIENT_ERROR unauthenticated")):
                with started(name, f"server.auth_file={file}") as running:
                    client = client_of(running)
                    assert client.ask(b"delete k") == before, name
                    assert client.set(b"any", b"user pass") == b"STORED"
                    assert client.ask(b"delete k") == b"NOT_FOUND"


@shows(MEMCACHES, "server.item_size_max")
def test_item_size_max():
    for name in MEMCACHES:
        with started(name, "server.item_size_max=1KB") as running:
            client = client_of(running)
            assert client.set(b"k", b"x" * 900) == b"STORED"
            client.say(b"append k 0 0 100\r\n" + b"x" * 100 + b"\r\n")
            assert client.hear_line() == b"NOT_STORED", name
            assert client.set(b"k", b"x" * 1000) == b"SERVER_ERROR object too large for cache"
            assert client.ask(b"version").startswith(b"VERSION"), "the body is swallowed"
        with started(name, "server.item_size_max=1MB") as running:
            assert client_of(running).set(b"k", b"x" * 1000) == b"STORED"


@shows(["momento_proxy"], "cache[].host", "cache[].port")
@shows(["segcache", "pingserver"], "listen.host", "listen.port")
@shows(["momento_local"], "local.host", "local.port")
def test_listening_where_told():
    for name in ALL:
        port = free_port()
        flags = ["--local"] if name == "momento_proxy" else []
        section = LISTEN[name]
        with product(name, *flags, *sets((f"{section}.host=127.0.0.2", f"{section}.port={port}"))) \
                as running:
            assert port_of(running) == port
            assert not refuses(port, "127.0.0.2")
            assert refuses(port), f"{name} listens beyond its host"


@shows(["momento_proxy"], "cache[].tcp", "cache[].unix_socket", "cache[].unix_mask")
@shows(["segcache", "pingserver"], "listen.tcp", "listen.unix_socket", "listen.unix_mask")
def test_a_unix_socket_beside_tcp_or_in_its_place():
    def answers(path):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(10)
            one.connect(path)
            one.sendall(b"PING\r\n")  # "ERROR" from those that do not know the word.
            return one.recv(100).endswith(b"\r\n")
    for name in FRONTS:
        section = LISTEN[name]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            with started(name, f"{section}.unix_socket={path}") as running:
                port = port_of(running)
                running.wait_log(f" and unix:{path}")
                assert answers(path) and not refuses(port), name
                assert os.stat(path).st_mode & 0o777 == 0o700
            local = ("--local",) if name == "momento_proxy" else ()
            with product(name, *local, *sets((
                    f"{section}.unix_socket={path}", f"{section}.unix_mask=0662",
                    f"{section}.tcp=false", f"{section}.port={port}"))) as running:
                running.wait_log(f" on unix:{path}")
                assert answers(path) and refuses(port), name
                assert os.stat(path).st_mode & 0o777 == 0o662
            assert not os.path.exists(path)


@shows(FRONTS, "server.user", "server.pid_file")
def test_user_and_pid_file():
    for name in FRONTS:
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o777)
            path = os.path.join(folder, "pid")
            with started(name, f"server.pid_file={path}", "server.user=nobody") as running:
                ready(running)
                assert open(path).read() == f"{running.process.pid}\n"
                status = open(f"/proc/{running.process.pid}/status").read()
                user = int(re.search(r"Uid:\s+(\d+)", status).group(1))
                # Who is not root stays who it is, as with memcached.
                assert user == (65534 if os.geteuid() == 0 else os.geteuid()), name
                assert os.stat(path).st_uid == user
            assert not os.path.exists(path)
            with started(name) as running:
                ready(running)
                assert os.stat(f"/proc/{running.process.pid}").st_uid == os.geteuid()


@shows(["segcache"], "server.flush_all")
def test_flush_all_can_be_forbidden():
    for allowed, reply in (("true", b"OK"), ("false", b"CLIENT_ERROR flush_all not allowed")):
        with started("segcache", f"server.flush_all={allowed}") as running:
            client = client_of(running)
            assert client.set(b"k", b"v") == b"STORED"
            assert client.ask(b"flush_all") == reply
            assert (client.get(b"k") is None) == (allowed == "true")


@shows(ALL, "admin.enabled", "admin.host", "admin.port", "admin.http_enabled", "admin.http_host",
       "admin.http_port")
def test_admin_ports_where_told():
    for name in ALL:
        text, http = free_port(), free_port()
        where = (f"admin.port={text}", f"admin.http_port={http}")
        with started(name, *where, "admin.host=127.0.0.2", "admin.http_host=127.0.0.3") as running:
            ready(running)
            assert not refuses(text, "127.0.0.2") and not refuses(http, "127.0.0.3"), name
            assert refuses(text) and refuses(http), name
        with started(name, *where, "admin.enabled=false") as running:
            wait_port(http)
            assert refuses(text), name
        with started(name, *where, "admin.http_enabled=false") as running:
            wait_port(text)
            assert refuses(http), name


@shows(ALL, "log.level", "log.file")
def test_log_level_and_file():
    for name in ALL:
        with tempfile.TemporaryDirectory() as folder:
            for level, told in (("info", True), ("error", False)):
                path = os.path.join(folder, level)
                http = free_port()
                with started(name, f"log.level={level}", f"log.file={path}",
                             f"admin.http_port={http}") as running:
                    wait_port(http)
                    running.stop()
                    assert running.log() == "", "with a file, stderr stays empty"
                assert ("starts, pid" in open(path).read()) == told, (name, level)


@shows(ALL, "log.queue_lines")
def test_log_queue_lines():
    """A log that is read slowly costs the lines that the queue cannot hold."""
    for name in ALL:
        for lines, lost in ((16, True), (4096, False)):
            text, http = free_port(), free_port()
            flags = ["--local"] if name == "momento_proxy" else []
            unread, writing = os.pipe()
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
            process = subprocess.Popen(
                [os.path.join(BIN, name), *flags, "-p", "0",
                 *sets((f"log.queue_lines={lines}", f"admin.port={text}",
                        f"admin.http_port={http}"))], stderr=writing)
            done = threading.Event()

            def read_slowly():
                while not done.wait(0.05):
                    os.read(unread, 4096)
            slow = threading.Thread(target=read_slowly)
            try:
                wait_port(http)
                # Each read makes room for one write in a pipe of one page: 20 lines a second.
                slow.start()
                for _ in range(200):
                    process.send_signal(signal.SIGHUP)
                    time.sleep(0.003)
                dropped = Dropped(http).count()
                assert dropped > 30 if lost else dropped < 20, (name, lines, dropped)
            finally:
                done.set()
                process.kill()
                process.wait()
                os.close(writing)  # Ends a read that waits.
                if slow.ident is not None:
                    slow.join()
                os.close(unread)


class Dropped:
    """core_log_drop_total of a product whose log cannot be read."""

    def __init__(self, http_port):
        self.http_port = http_port

    def wait_log(self, _):
        return re.match(r"(\d+)", str(self.http_port))

    def count(self):
        return metrics(self)["core_log_drop_total"]
