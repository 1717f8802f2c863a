#!/usr/bin/env python3
"""Plays transcripts of raw bytes against a memcached server, whichever it is.

The same files run against stock memcached, which proves the transcripts, and against our products,
which they then prove. A transcript (integration/transcripts/*.mc) is lines:

    ## name             begins a case: a fresh connection, no names bound
    > text              sends text and \\r\\n
    >> text             sends text as it is
    < text              expects text and \\r\\n
    < ~regex            expects a line that the regular expression matches whole
    <* regex            expects any number of such lines, none included
    # pause 1.1         waits that many seconds
    # split, # whole    from here, sends byte by byte; or at once again
    # connection name   goes on with another connection, opened if it is new ("main" is the first)
    # new connection    closes this connection and opens another in its place
    # closed            expects that the server closes, with nothing more said
    # only a b          the lines up to "# everywhere" are only for the servers named (--server)
    # whole only        this case is not played byte by byte
    anything else       after "#": a remark

In text: \\r \\n \\t \\\\ \\xHH, \\(text*count) repeats, \\(time+N) is N seconds from now in unix time.
In an expected line $name stands for a number: bound where it first appears, the same from then on;
$!name must differ from the number bound, and binds the new one. "$$" is a dollar.

After each case the connection must have nothing more to say.

    integration/transcripts.py --memcached                      starts stock memcached and plays all
    integration/transcripts.py --port 11211 --server proxy      plays against what runs there
"""

import argparse
import pathlib
import re
import select
import socket
import subprocess
import sys
import time

FOLDER = pathlib.Path(__file__).parent / "transcripts"
REPLY_SECONDS_MAX = 10.0  # No reply in a transcript takes a second.
SPLIT_WHOLE_MAX = 4096    # Byte by byte; past this many bytes of one send, in larger pieces.
SPLIT_PIECE = 997
SHOWN_MAX = 300


class Mismatch(Exception):
    pass


def shown(data):
    text = repr(bytes(data))[2:-1]
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}... ({len(data)} bytes)"


def unescape(text):
    """The bytes that a transcript's text stands for."""

    def one(match):
        escape = match.group(0)
        if escape.startswith("\\("):
            if match.group("repeat") is not None:
                return unescape(match.group("repeat")).decode("latin-1") * int(match.group("count"))
            return str(int(time.time()) + int(match.group("offset")))
        if escape.startswith("\\x"):
            return chr(int(escape[2:], 16))
        return {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}[escape[1]]

    pattern = (r"\\(?:\((?:(?P<repeat>(?:[^\\*]|\\.)+)\*(?P<count>\d+)|time(?P<offset>[+-]\d+))\)"
               r"|x[0-9a-fA-F]{2}|[rnt\\])")
    return re.sub(pattern, one, text).encode("latin-1")


class Connection:
    """A socket that reads while it writes, so that neither side waits for the other for ever."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=REPLY_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.unread = bytearray()
        self.eof = False

    def send(self, data, piece):
        view = memoryview(data)
        while view:
            readable, writable, _ = select.select(
                [] if self.eof else [self.socket], [self.socket], [], REPLY_SECONDS_MAX)
            if readable:
                self._receive()
            if writable:
                try:
                    view = view[self.socket.send(view[:piece]):]
                except (ConnectionResetError, BrokenPipeError):
                    self.eof = True
                    return
            if not readable and not writable:
                raise Mismatch("the server takes no more input")

    def _receive(self):
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        self.unread += data
        self.eof = not data

    def fill(self, deadline):
        """Waits for more bytes or the end; false when the time is over."""
        left = deadline - time.monotonic()
        if self.eof or left <= 0 or not select.select([self.socket], [], [], left)[0]:
            return False
        self._receive()
        return True

    def take(self, count):
        deadline = time.monotonic() + REPLY_SECONDS_MAX
        while len(self.unread) < count and self.fill(deadline):
            pass
        data = bytes(self.unread[:count])
        del self.unread[:count]
        return data

    def peek_line(self):
        """The next line without its end, still unread; None if there is none."""
        deadline = time.monotonic() + REPLY_SECONDS_MAX
        while True:
            end = self.unread.find(b"\r\n")
            if end >= 0:
                return bytes(self.unread[:end])
            if not self.fill(deadline):
                return None

    def take_line(self):
        line = self.peek_line()
        if line is None:
            raise Mismatch(f"no line came, only: {shown(self.unread)}")
        del self.unread[:len(line) + 2]
        return line

    def expect_closed(self):
        deadline = time.monotonic() + REPLY_SECONDS_MAX
        while self.fill(deadline):
            pass
        if self.unread:
            raise Mismatch(f"expected the end, got: {shown(self.unread)}")
        if not self.eof:
            raise Mismatch("expected the server to close the connection")

    def finish(self):
        """Says goodbye; the server must answer with nothing but its own goodbye."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        try:
            self.expect_closed()
        finally:
            self.socket.close()


class Player:
    """Plays one case."""

    def __init__(self, address, split):
        self.address = address
        self.always_split = split
        self.split = split
        self.names = {}
        self.connections = {"main": Connection(address)}
        self.current = "main"

    @property
    def connection(self):
        return self.connections[self.current]

    def play(self, kind, text):
        getattr(self, kind)(text)

    def send(self, data):
        piece = len(data)
        if self.split:
            piece = 1 if len(data) <= SPLIT_WHOLE_MAX else SPLIT_PIECE
        self.connection.send(data, max(piece, 1))

    def send_line(self, text):
        self.send(self.with_names(text) + b"\r\n")

    def send_raw(self, text):
        self.send(self.with_names(text))

    def with_names(self, text):
        def value(match):
            name = match.group(1)
            if name == "$":
                return "$"
            if name not in self.names:
                raise Mismatch(f"${name} is not bound yet")
            return str(self.names[name])

        return unescape(re.sub(r"\$(\$|\w+)", value, text))

    def expect(self, text):
        if text.startswith("~"):
            line = self.connection.take_line()
            if not re.fullmatch(text[1:].encode("latin-1"), line):
                raise Mismatch(f"expected a match of {text[1:]}, got: {shown(line)}")
        elif "$" in text:
            self.expect_names(text)
        else:
            wanted = unescape(text) + b"\r\n"
            got = self.connection.take(len(wanted))
            if got != wanted:
                raise Mismatch(f"expected {shown(wanted)}, got {shown(got + self.connection.unread)}")

    def expect_names(self, text):
        pattern, names = "", []
        for part in re.split(r"(\$\$|\$!?\w+)", text):
            if part == "$$":
                pattern += r"\$"
            elif part.startswith("$"):
                pattern += r"(\d+)"
                names.append(part[1:])
            else:
                pattern += re.escape(unescape(part).decode("latin-1"))
        line = self.connection.take_line()
        match = re.fullmatch(pattern.encode("latin-1"), line)
        if not match:
            raise Mismatch(f"expected {text}, got {shown(line)}")
        for name, digits in zip(names, match.groups()):
            self.bind(name, int(digits))

    def bind(self, name, number):
        differs = name.startswith("!")
        name = name.lstrip("!")
        old = self.names.get(name)
        if differs and (old is None or old == number):
            raise Mismatch(f"${name} should have changed from {old}, got {number}")
        if not differs and old not in (None, number):
            raise Mismatch(f"${name} should still be {old}, got {number}")
        self.names[name] = number

    def expect_many(self, text):
        pattern = text.encode("latin-1")
        while True:
            line = self.connection.peek_line()
            if line is None or not re.fullmatch(pattern, line):
                return
            self.connection.take_line()

    def direct(self, text):
        words = text.split()
        if words[:1] == ["pause"] and len(words) == 2:
            time.sleep(float(words[1]))
        elif words == ["split"] or words == ["whole"]:
            self.split = self.always_split or words == ["split"]
        elif words[:1] == ["connection"] and len(words) == 2:
            self.current = words[1]
            if self.current not in self.connections:
                self.connections[self.current] = Connection(self.address)
        elif words == ["new", "connection"]:
            self.connection.finish()
            self.connections[self.current] = Connection(self.address)
        elif words == ["closed"]:
            self.connection.expect_closed()

    def finish(self):
        for connection in self.connections.values():
            connection.finish()


def parse_line(line):
    """(kind, text), or None for a blank line."""
    for prefix, kind in (("## ", "case"), (">> ", "send_raw"), ("> ", "send_line"),
                         ("<* ", "expect_many"), ("< ", "expect"), ("#", "direct")):
        if line.startswith(prefix):
            return kind, line[len(prefix):]
    if line in (">", "<"):
        return ("send_line" if line == ">" else "expect"), ""
    if line.strip():
        raise ValueError(f"not a transcript line: {line!r}")
    return None


def load(path, server):
    """The cases of a file: (name, whole_only, [(line number, kind, text)])."""
    cases = []
    here = True
    for number, line in enumerate(path.read_text("latin-1").splitlines(), 1):
        try:
            parsed = parse_line(line)
        except ValueError as error:
            raise SystemExit(f"{path}:{number}: {error}")
        if parsed is None:
            continue
        kind, text = parsed
        words = text.split()
        if kind == "direct" and words[:1] == ["only"]:
            here = server in words[1:]
        elif kind == "direct" and words == ["everywhere"]:
            here = True
        elif kind == "case":
            here = True
            cases.append([text, False, []])
        elif kind == "direct" and words == ["whole", "only"]:
            cases[-1][1] = True
        elif here and cases:
            cases[-1][2].append((number, kind, text))
    return cases


def play_case(path, steps, address, split):
    """None, or where and how it failed."""
    number = steps[0][0] if steps else 0
    try:
        player = Player(address, split)
        for number, kind, text in steps:
            player.play(kind, text)
        player.finish()
    except (Mismatch, OSError) as error:
        return f"{path}:{number}: {error}"
    return None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Our products have no slab classes, no crawler and no LRU to maintain.
LIKE_US = ["-o", "no_slab_reassign,no_lru_crawler,no_lru_maintainer"]


def start_memcached(program):
    """Stock memcached on a free port; returns (process, address) once it answers."""
    address = ("127.0.0.1", free_port())
    process = subprocess.Popen([program, "-u", "nobody", "-l", address[0], "-p", str(address[1]),
                                "-U", "0", *LIKE_US])
    deadline = time.monotonic() + REPLY_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(address, timeout=1).close()
            return process, address
        except OSError:
            time.sleep(0.02)
    process.kill()
    raise SystemExit(f"{program} did not start")


def play_all(paths, address, server, modes):
    passed = failed = 0
    for path in paths:
        for name, whole_only, steps in load(path, server):
            for mode in modes:
                if mode == "split" and whole_only:
                    continue
                failure = play_case(path, steps, address, mode == "split")
                if failure is None:
                    passed += 1
                    continue
                failed += 1
                print(f"FAILED {path.name}: {name} ({mode})\n  {failure}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed == 0 and passed > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int)
    parser.add_argument("--memcached", action="store_true",
                        help="start stock memcached on a free port and play against it")
    parser.add_argument("--program", default="memcached", help="the memcached to start")
    parser.add_argument("--server", default="memcached",
                        help="what is played against, for '# only' lines (default: memcached)")
    parser.add_argument("--mode", choices=["whole", "split", "both"], default="whole",
                        help="send lines at once, byte by byte, or play everything both ways")
    parser.add_argument("files", nargs="*", type=pathlib.Path,
                        help="transcripts (default: all beside this program)")
    args = parser.parse_args()
    if (args.port is None) != args.memcached:
        parser.error("give either --port or --memcached")
    paths = args.files or sorted(FOLDER.glob("*.mc"))
    modes = ["whole", "split"] if args.mode == "both" else [args.mode]
    if not args.memcached:
        return 0 if play_all(paths, (args.host, args.port), args.server, modes) else 1
    process, address = start_memcached(args.program)
    try:
        return 0 if play_all(paths, address, args.server, modes) else 1
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
