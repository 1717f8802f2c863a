"""Products as the tests start them: on free ports of 127.0.0.1, stopped whatever happens.

    with product("momento_proxy", "--local") as proxy:
        proxy.port ...

A test file defines functions named test_*; `main(globals())` runs them and prints
"N passed, N failed". The folder of the binaries is the first argument of the file.
"""
import contextlib
import os
import re
import signal
import socket
import resource
import subprocess
import sys
import tempfile
import time
import traceback

BIN = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/release/bin")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START_SECONDS = 30


class Product:
    """A running daemon; its log is in `log_path` while it runs."""

    def __init__(self, name, *flags, env=None, limits=None, preexec=None):
        self.name = name
        self.log_file = tempfile.NamedTemporaryFile(prefix=f"{name}.", suffix=".log")
        self.log_path = self.log_file.name
        argv = [os.path.join(BIN, name), *flags]
        # Ports a test did not choose are picked by the kernel and read from the log.
        joined = " ".join(flags)
        for key in ("admin.port", "admin.http_port"):
            if key not in joined:
                argv += ["--set", f"{key}=0"]
        if limits:
            preexec = lambda: [resource.setrlimit(*one) for one in limits.items()]  # noqa: E731
        self.process = subprocess.Popen(argv, stdout=self.log_file, stderr=subprocess.STDOUT,
                                        env={**os.environ, **(env or {})}, preexec_fn=preexec)

    def log(self):
        with open(self.log_path) as f:
            return f.read()

    def wait_log(self, pattern, seconds=START_SECONDS):
        """The match of `pattern` in the log, once it is there."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, self.log())
            if found:
                return found
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended ({self.process.returncode}):\n{self.log()}")
            time.sleep(0.02)
        raise AssertionError(f"{self.name} never logged {pattern!r}:\n{self.log()}")

    def stop(self, sig=signal.SIGTERM, seconds=20):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not stop:\n{self.log()}") from None


@contextlib.contextmanager
def product(name, *flags, **options):
    running = Product(name, *flags, **options)
    try:
        yield running
    except BaseException:
        sys.stderr.write(f"--- log of {name} ---\n{running.log()[-4000:]}\n")
        raise
    finally:
        running.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(AssertionError):
            running.stop(seconds=10)


PORTS_GIVEN = set()


def free_port():
    """One that is free now, and another at each call."""
    while True:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in PORTS_GIVEN:
            PORTS_GIVEN.add(port)
            return port


def wait_port(port, seconds=START_SECONDS):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")


class Client:
    """Raw bytes to a memcache port."""

    def __init__(self, port, timeout=10, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout)
        self.heard = b""

    def say(self, data):
        self.socket.sendall(data)

    def hear_line(self):
        while b"\r\n" not in self.heard:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(self.heard)
            self.heard += more
        line, self.heard = self.heard.split(b"\r\n", 1)
        return line

    def hear_bytes(self, size):
        while len(self.heard) < size:
            more = self.socket.recv(1 << 20)
            if not more:
                raise EOFError(self.heard[-100:])
            self.heard += more
        data, self.heard = self.heard[:size], self.heard[size:]
        return data

    def hear_until(self, end):
        while end not in self.heard:
            more = self.socket.recv(1 << 20)
            if not more:
                raise EOFError(self.heard[-100:])
            self.heard += more
        at = self.heard.index(end) + len(end)
        out, self.heard = self.heard[:at], self.heard[at:]
        return out

    def hear_end(self):
        """Everything until the peer closes."""
        while True:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return self.heard
            self.heard += more

    def ask(self, line):
        """One line out, one line back."""
        self.say(line + b"\r\n")
        return self.hear_line()

    def set(self, key, value, flags=0, exptime=0):
        self.say(b"set %s %d %d %d\r\n%s\r\n" % (key, flags, exptime, len(value), value))
        return self.hear_line()

    def get(self, key):
        """(flags, value), or None on a miss; anything else is an AssertionError."""
        first = self.ask(b"get " + key)
        if first == b"END":
            return None
        assert first.startswith(b"VALUE "), first
        _, _, flags, size = first.split()
        while len(self.heard) < int(size) + 7:
            self.heard += self.socket.recv(1 << 20)
        value, self.heard = self.heard[:int(size)], self.heard[int(size) + 2:]
        assert self.hear_line() == b"END"
        return int(flags), value

    def close(self):
        self.socket.close()


def eventually(condition, seconds=10, what="condition"):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


def pause(running):
    """Stops the process; returns when every thread stands still. SIGCONT ends it."""
    folder = f"/proc/{running.process.pid}/task"

    def states():
        return {open(f"{folder}/{task}/stat").read().rsplit(") ", 1)[1][0]
                for task in os.listdir(folder)}
    running.process.send_signal(signal.SIGSTOP)
    eventually(lambda: states() == {"T"}, what="a stopped process")


def main(names):
    passed = failed = 0
    chosen = sys.argv[2:]
    for name, test in list(names.items()):
        if not name.startswith("test_") or (chosen and name not in chosen):
            continue
        start = time.monotonic()
        try:
            test()
            passed += 1
            print(f"ok   {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)
