#!/usr/bin/env python3
"""What TLS costs a server, beside plaintext and beside memcached, in one run.

    tools/bench_tls.py [--bin build/release/bin] [--rounds 5] [--seconds 0.5]

segcache and memcached, each plain and with TLS 1.3 (one certificate of ECDSA P-256), one worker each.
The client is Python's ssl, which is slower than any of them, so rates say nothing: every figure is
the server process's own CPU (schedstat of its threads) for a request or for a handshake, a median
over interleaved rounds, and every ratio the median of the ratios within a round.
"""
import argparse
import contextlib
import glob
import os
import socket
import ssl
import statistics
import subprocess
import tempfile
import time

# name, connections, requests in a burst, request, bytes of its answer.
VALUE = {"k64": 64, "k4096": 4096, "k1m": 1_000_000}


def get(key):
    return b"get %s\r\n" % key.encode(), len(f"VALUE {key} 0 {VALUE[key]}\r\n") + VALUE[key] + 7


WORKLOADS = [
    ("get of 64 bytes, 8 connections x 32", 8, 32, *get("k64")),
    ("get of 64 bytes, 8 x 1", 8, 1, *get("k64")),
    ("get of 4 KB, 8 x 8", 8, 8, *get("k4096")),
    ("get of 1 MB, 1 x 1", 1, 1, *get("k1m")),
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    def __init__(self, name, argv, port, context):
        self.name, self.port, self.context = name, port, context
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(500):
            with contextlib.suppress(OSError):
                self.connect().close()
                break
            time.sleep(0.02)
        one = self.connect()
        for key, size in VALUE.items():
            one.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key.encode(), size, b"v" * size))
            assert one.recv(100) == b"STORED\r\n", self.name
        one.close()

    def connect(self, session=None):
        plain = socket.create_connection(("127.0.0.1", self.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is None:
            return plain
        return self.context.wrap_socket(plain, server_hostname="localhost", session=session)

    def cpu_ns(self):
        return sum(int(open(path).read().split()[0])
                   for path in glob.glob(f"/proc/{self.process.pid}/task/*/schedstat"))

    def per_request_us(self, seconds, connections, burst, request, size):
        sockets = [self.connect() for _ in range(connections)]
        room = bytearray(1 << 20)
        asked, before = 0, self.cpu_ns()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for one in sockets:
                one.sendall(request * burst)
            for one in sockets:
                left = size * burst
                while left > 0:
                    left -= one.recv_into(room, min(left, len(room)))
            asked += connections * burst
        spent = self.cpu_ns() - before
        for one in sockets:
            one.close()
        return spent / asked / 1000

    def per_handshake_us(self, seconds, resumed):
        session = None
        if resumed:
            one = self.connect()
            one.sendall(b"version\r\n")
            one.recv(100)
            session = one.session
            one.close()
        made, before = 0, self.cpu_ns()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            one = self.connect(session)
            one.sendall(b"version\r\n")
            one.recv(100)
            assert self.context is None or one.session_reused == resumed
            one.close()
            made += 1
        return (self.cpu_ns() - before) / made / 1000


def servers(binaries, folder):
    crt, key = os.path.join(folder, "crt"), os.path.join(folder, "key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", crt, "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)
    os.chmod(folder, 0o755)
    os.chmod(key, 0o644)
    for tls in (False, True):
        port = free_port()
        more = ("--set", f"listen.tls_certificate_file={crt}", "--set", f"listen.tls_key_file={key}")
        yield Server("segcache", [os.path.join(binaries, "segcache"), "-p", str(port), "-t", "1",
                                  "--set", "admin.port=0", "--set", "admin.http_port=0",
                                  "-I", "2m", *(more if tls else ())],
                     port, ssl.create_default_context(cafile=crt) if tls else None)
    for tls in (False, True):
        port = free_port()
        more = ("-Z", "-o", f"ssl_chain_cert={crt},ssl_key={key},ssl_session_cache")
        yield Server("memcached", ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port),
                                   "-t", "1", "-I", "2m", *(more if tls else ())],
                     port, ssl.create_default_context(cafile=crt) if tls else None)


def row(name, measure, all_servers, rounds):
    """Prints the medians of `measure` for every server, and of TLS the ratio to plaintext."""
    figures = [[] for _ in all_servers]
    for _ in range(rounds):
        for server, series in zip(all_servers, figures):
            series.append(measure(server))
    ours, ours_tls, theirs, theirs_tls = figures
    added = [(b - a) / (d - c) if d > c else 0
             for a, b, c, d in zip(ours, ours_tls, theirs, theirs_tls)]
    cells = [f"{statistics.median(series):.2f}" for series in figures]
    print(f"| {name} | {' | '.join(cells)} | "
          f"{statistics.median(b / a for a, b in zip(ours, ours_tls)):.2f} | "
          f"{statistics.median(d / c for c, d in zip(theirs, theirs_tls)):.2f} | "
          f"{statistics.median(b / d for b, d in zip(ours_tls, theirs_tls)):.2f} | "
          f"{statistics.median(added):.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        running = list(servers(options.bin, folder))
        try:
            print("us of server CPU | segcache | with TLS | memcached | with TLS | segcache TLS / "
                  "plain | memcached TLS / plain | segcache TLS / memcached TLS | what TLS adds, "
                  "segcache / memcached")
            for name, *workload in WORKLOADS:
                row(name, lambda server: server.per_request_us(options.seconds, *workload), running,
                    options.rounds)
            row("connection, full handshake",
                lambda server: server.per_handshake_us(options.seconds, False), running,
                options.rounds)
            row("connection, resumed",
                lambda server: server.per_handshake_us(options.seconds, server.context is not None),
                running, options.rounds)
        finally:
            for server in running:
                server.process.terminate()
                server.process.wait()


if __name__ == "__main__":
    main()
