"""A momento_local whose faults, caches and life a test commands, and the watch over what is left behind.

    with Backend() as backend, fronted(backend, "cache[0].deadline=1s") as front:
        backend.faults(error="internal", error_percent=100, rpcs="get")
        backend.calm()
"""
import contextlib
import os
import re
import signal
import socket
import struct
import time

import h2.config
import h2.connection
import h2.events

from fake_service import field
from harness import Client, eventually, free_port, pause, product, wait_port
from knobs import described, metrics, sets, total

# What answers in the service's place or asks it again, so that a fault is not seen as it is.
HELPERS_OFF = {"breaker": "false", "retry_attempts": "0"}


class Backend:
    """Keeps its port over restarts. Data ends with the process, as in any memory."""

    def __init__(self, *settings, start=True):
        self.settings = settings
        self.port = free_port()
        self.stack = contextlib.ExitStack()
        self.running = None
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return self.stack.__exit__(*exc)

    def start(self):
        self.running = self.stack.enter_context(product(
            "momento_local", "-p", str(self.port),
            *sets(("local.create_unknown=true", *self.settings))))
        wait_port(self.port)
        at = int(self.running.wait_log(r"admin: text on \S+:(\d+)").group(1))
        self.admin = Client(at)

    def stop(self, sig=signal.SIGTERM):
        self.admin.close()
        self.running.stop(sig)

    def restart(self, sig=signal.SIGKILL):
        self.stop(sig)
        self.start()

    def freeze(self):
        pause(self.running)

    def thaw(self):
        self.running.process.send_signal(signal.SIGCONT)

    def faults(self, **settings):
        """The fault_* knobs from the next call on, as in faults(delay="20ms", delay_percent=100)."""
        words = " ".join(f"{key}={value}" for key, value in settings.items())
        self.admin.say(f"faults {words}\n".encode())
        while b"\n" not in self.admin.heard:
            self.admin.heard += self.admin.socket.recv(4096)
        line, self.admin.heard = self.admin.heard.split(b"\n", 1)
        assert line.strip() == b"OK", (words, line)

    def calm(self):
        self.faults()

    def create(self, name):
        call(self.port, "/control_client.ScsControl/CreateCache", field(1, name))

    def delete(self, name):
        call(self.port, "/control_client.ScsControl/DeleteCache", field(1, name))


def call(port, path, message):
    """One unary gRPC call that must work."""
    talk = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        talk.initiate_connection()
        talk.send_headers(1, [(":method", "POST"), (":scheme", "http"), (":path", path),
                              (":authority", "localhost"), ("te", "trailers"),
                              ("content-type", "application/grpc")])
        talk.send_data(1, b"\0" + struct.pack(">I", len(message)) + message, end_stream=True)
        status = None
        while status is None:
            peer.sendall(talk.data_to_send())
            data = peer.recv(65536)
            assert data, "the service closed"
            for event in talk.receive_data(data):
                if isinstance(event, (h2.events.TrailersReceived, h2.events.ResponseReceived)):
                    status = dict(event.headers).get("grpc-status", status)
        assert status == "0", (path, status)


def fronted(backend, *settings, workers=1, helpers=False):
    """A proxy of cache "c" on the backend; without `helpers` it shows every fault as it is."""
    caches = {0, *(int(at) for at in re.findall(r"cache\[(\d+)\]", " ".join(settings)))}
    known = described("momento_proxy")
    off = [] if helpers else [f"cache[{at}].{knob}={value}" for at in caches
                              for knob, value in HELPERS_OFF.items() if f"cache[].{knob}" in known]
    return product("momento_proxy", "-p", "0", "-t", str(workers), *sets((
        f"momento.endpoint_override=127.0.0.1:{backend.port}", "cache[0].cache_name=c",
        "momento.core_dumps=true",  # Or only root could count descriptors.
        *off, *settings)))


def open_descriptors(running):
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


def resident_kb(running):
    with open(f"/proc/{running.process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))


@contextlib.contextmanager
def nothing_left_behind(front, grown_kb=16 * 1024):
    """What is open, under way and resident after the block is what was there before it."""
    metrics(front)  # The first page makes the admin port take what it keeps.
    descriptors, memory = open_descriptors(front), resident_kb(front)
    yield
    for gauge in ("proxy_in_flight", "proxy_momento_waiting"):
        eventually(lambda: total(front, gauge) == 0, what=f"{gauge} at 0")
    # Connections to the service that were there in part before may all be there now.
    spare = 40
    eventually(lambda: open_descriptors(front) <= descriptors + spare, what="descriptors freed")
    now = resident_kb(front)
    assert now <= memory + grown_kb, f"resident: {memory} KB before, {now} KB after"


def recovery(port, since=None, key=b"recovery", seconds=20):
    """Seconds from `since` (or now) until a client that keeps trying is served again."""
    since = time.monotonic() if since is None else since
    client = Client(port, timeout=30)
    while client.set(key, b"up") != b"STORED" or client.get(key) != (0, b"up"):
        assert time.monotonic() - since < seconds, "it never recovered"
        time.sleep(0.005)
    client.close()
    return time.monotonic() - since
