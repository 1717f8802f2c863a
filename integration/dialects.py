"""The commands of soak_test.py in each dialect, and what their replies say.

A dialect is `spell(commands)`, the bytes of a pipeline, and `read(heard, command)`: None while the
reply is not all there, else (bytes of it, an Answer). A quiet command that succeeded is known by the
reply of the next one, which its own would have come before.
"""
import struct
from collections import namedtuple

import binary
from history import COUNTED, FAILED, UNKNOWN, Violation

# results: of each key, in order, as history.py has them; None of a whole command: it failed, as
# `failure` says. tokens: of each key or None. life: seconds told.
Answer = namedtuple("Answer", "results tokens life failure", defaults=(None, None, None, None))


class Command:
    """`kind` is the operation's; a get may be of several `keys`. What is not asked for is None."""

    def __init__(self, kind, keys, opaque, exptime=None, flags=0, value=None, delta=None, initial=None,
                 token=None, tells_token=False, tells_life=False, quiet=False):
        self.kind, self.keys, self.opaque = kind, keys, opaque
        self.exptime, self.flags, self.value = exptime, flags, value
        self.delta, self.initial, self.token = delta, initial, token
        self.tells_token, self.tells_life, self.quiet = tells_token, tells_life, quiet

    def __repr__(self):
        return f"{self.kind} {self.keys}"


GETS = ("get", "timed", "read", "gat")
# What a quiet command has done that says nothing.
SILENT = {"get": None, "timed": None, "read": None, "gat": None, "delete": "DELETED",
          "delete-if": "DELETED", "incr": COUNTED, "decr": COUNTED}
POSSIBLE = {
    "set": ("STORED",), "add": ("STORED", "NOT_STORED"), "replace": ("STORED", "NOT_STORED"),
    "append": ("STORED", "NOT_STORED"), "prepend": ("STORED", "NOT_STORED"),
    "cas": ("STORED", "EXISTS", "NOT_FOUND"), "delete": ("DELETED", "NOT_FOUND"),
    "delete-if": ("DELETED", "EXISTS", "NOT_FOUND"), "touch": ("TOUCHED", "NOT_FOUND"),
    "incr": ("NOT_FOUND", "EXISTS"), "decr": ("NOT_FOUND", "EXISTS"), "flush": ("OK",), "end": ("OK",),
}


def failure(text):
    # What is not said to be unknown has not happened.
    return Answer(failure=UNKNOWN if text.endswith(b"outcome unknown") else FAILED)


def one(command, result, said, **more):
    """The answer of a command of one key that must be one of those there are."""
    if result not in POSSIBLE[command.kind] and not isinstance(result, int):
        raise Violation(f"{command} was answered {said}")
    return Answer([result], **more)


def silent(command):
    return Answer([SILENT.get(command.kind, "STORED")])


class Text:
    name = "text"

    def spell(self, commands):
        return b"".join(map(self._spell, commands))

    def _spell(self, command):
        c, name = command, command.keys[0] if command.keys else b""
        if c.kind in ("get", "read"):
            return b"%s %s\r\n" % (b"gets" if c.tells_token else b"get", b" ".join(c.keys))
        if c.kind == "gat":
            return b"%s %d %s\r\n" % (b"gats" if c.tells_token else b"gat", c.exptime, name)
        if c.kind == "touch":
            return b"touch %s %d\r\n" % (name, c.exptime)
        if c.kind in ("incr", "decr"):
            return b"%s %s %d\r\n" % (c.kind.encode(), name, c.delta)
        if c.kind == "delete":
            return b"delete %s\r\n" % name
        if c.kind == "flush":
            return b"flush_all\r\n"
        token = b" %d" % c.token if c.kind == "cas" else b""
        return b"%s %s %d %d %d%s%s\r\n%s\r\n" % (
            c.kind.encode(), name, c.flags, c.exptime or 0, len(c.value), token,
            b" noreply" if c.quiet else b"", c.value)

    def read(self, heard, command):
        if command.kind in GETS:
            return self._read_items(heard, command)
        line, found, _ = heard.partition(b"\r\n")
        if not found:
            return None
        if line.startswith(b"SERVER_ERROR "):
            return len(line) + 2, failure(line)
        counted = command.kind in ("incr", "decr") and line.isdigit()
        return len(line) + 2, one(command, int(line) if counted else line.decode(), line)

    def _read_items(self, heard, command):
        at, found = 0, {}
        while True:
            end = heard.find(b"\r\n", at)
            if end < 0:
                return None
            words = heard[at:end].split()
            at = end + 2
            if words[0] != b"VALUE":
                break
            size = int(words[3])
            if len(heard) < at + size + 2:
                return None
            token = int(words[4]) if command.tells_token else None
            found[words[1]] = ((int(words[2]), heard[at:at + size]), token)
            at += size + 2
        if words[0] == b"SERVER_ERROR":
            return at, Answer(failure=FAILED)
        if words != [b"END"] or not set(found) <= set(command.keys):
            raise Violation(f"{command} was answered {heard[:at][-200:]}")
        return at, Answer([found.get(key, (None, None))[0] for key in command.keys],
                          [found.get(key, (None, None))[1] for key in command.keys])


class Meta:
    """Every command asks for its key and an opaque, and both must come back. Errors have neither, so a
    quiet command is the last but an mn, and what comes before MN is its own."""
    name = "meta"
    MODES = {"set": b"", "cas": b"", "add": b" ME", "replace": b" MR", "append": b" MA", "prepend": b" MP"}

    def spell(self, commands):
        return b"".join(map(self._spell, commands))

    def _spell(self, command):
        c = command
        if c.kind == "end":
            return b"mn\r\n"
        name = c.keys[0]
        flags = b" k O%d" % c.opaque
        if c.quiet:
            flags += b" q"
        if c.token is not None:
            flags += b" C%d" % c.token
        if c.tells_token:
            flags += b" c"
        if c.kind in GETS:
            if c.tells_life:
                flags += b" t"
            if c.exptime is not None:
                flags += b" T%d" % c.exptime
            return b"mg %s v f%s\r\n" % (name, flags)
        if c.kind in ("delete", "delete-if"):
            return b"md %s%s\r\n" % (name, flags)
        if c.kind in ("incr", "decr"):
            if c.initial is not None:
                flags += b" N%d J%d" % (c.exptime, c.initial)
            return b"ma %s v D%d%s%s\r\n" % (name, c.delta, b" MD" if c.kind == "decr" else b"", flags)
        if c.exptime is not None:
            flags += b" T%d" % c.exptime
        return b"ms %s %d F%d%s%s\r\n%s\r\n" % (name, len(c.value), c.flags, self.MODES[c.kind], flags,
                                               c.value)

    CODES = {b"NS": "NOT_STORED", b"EX": "EXISTS", b"NF": "NOT_FOUND"}

    def read(self, heard, command):
        line, found, rest = heard.partition(b"\r\n")
        if not found:
            return None
        size = len(line) + 2
        if line.startswith(b"SERVER_ERROR "):
            return size, failure(line)
        if line == b"MN":
            if command.kind == "end":
                return size, Answer(["OK"])
            if command.quiet:
                return 0, silent(command)
        words = line.split()
        code, value = words[0], None
        if code == b"VA":
            length = int(words.pop(1))
            if len(rest) < length + 2:
                return None
            value = rest[:length]
            size += length + 2
        told = {word[:1]: word[1:] for word in words[1:]}
        if told.pop(b"k", None) != command.keys[0] or told.pop(b"O", None) != b"%d" % command.opaque:
            raise Violation(f"{command} of opaque {command.opaque} was answered {line}")
        return size, self._answer(command, code, told, value, line)

    def _answer(self, command, code, told, value, line):
        tokens = [int(told[b"c"])] if b"c" in told else [None]
        if code in self.CODES:
            return one(command, self.CODES[code], line)
        if code == b"EN" and command.kind in GETS:
            return Answer([None], [None])
        if command.kind in GETS and code == b"VA" and set(told) <= set((b"f", b"c", b"t")):
            life = int(told[b"t"]) if b"t" in told else None
            return Answer([(int(told[b"f"]), value)], tokens, life)
        if command.kind in ("incr", "decr") and code == b"VA":
            return one(command, int(value), line)
        if code == b"HD" and command.kind in ("delete", "delete-if"):
            return one(command, "DELETED", line)
        if code == b"HD" and command.kind in self.MODES:
            return one(command, "STORED", line, tokens=tokens)
        raise Violation(f"{command} was answered {line} {value}")


class Binary:
    """Opaques tell which command a packet answers, so that any may be quiet."""
    name = "binary"
    OPCODES = {"get": (binary.GETK, binary.GETKQ), "gat": (binary.GATK, binary.GATKQ),
               "set": (binary.SET, binary.SETQ), "cas": (binary.SET, binary.SETQ),
               "add": (binary.ADD, binary.ADDQ), "replace": (binary.REPLACE, binary.REPLACEQ),
               "append": (binary.APPEND, binary.APPENDQ), "prepend": (binary.PREPEND, binary.PREPENDQ),
               "delete": (binary.DELETE, binary.DELETEQ),
               "delete-if": (binary.DELETE, binary.DELETEQ), "touch": (binary.TOUCH, None),
               "incr": (binary.INCREMENT, binary.INCREMENTQ),
               "decr": (binary.DECREMENT, binary.DECREMENTQ),
               "flush": (binary.FLUSH, binary.FLUSHQ), "end": (binary.NOOP, None)}
    STATUSES = {binary.NOT_FOUND: "NOT_FOUND", binary.EXISTS: "EXISTS",
                binary.NOT_STORED: "NOT_STORED"}
    DONE = {"delete": "DELETED", "delete-if": "DELETED", "touch": "TOUCHED", "flush": "OK", "end": "OK"}

    def spell(self, commands):
        return b"".join(map(self._spell, commands))

    def _spell(self, command):
        c, extras = command, b""
        if c.kind in ("set", "cas", "add", "replace"):
            extras = binary.flags_and_expiry(c.flags, c.exptime or 0)
        elif c.kind in ("touch", "gat"):
            extras = binary.expiry_only(c.exptime)
        elif c.kind in ("incr", "decr"):
            extras = (binary.counting(c.delta) if c.initial is None else
                      binary.counting(c.delta, c.initial, c.exptime))
        return binary.packet(self.OPCODES[c.kind][c.quiet], c.keys[0] if c.keys else b"",
                             c.value or b"", extras, c.token or 0, struct.pack(">I", c.opaque))

    def read(self, heard, command):
        if len(heard) < binary.HEADER.size:
            return None
        magic, opcode, keys, extras, _, status, body, opaque, token = binary.HEADER.unpack(
            heard[:binary.HEADER.size])
        if command.quiet and struct.unpack(">I", opaque)[0] != command.opaque:
            return 0, silent(command)
        size = binary.HEADER.size + body
        if len(heard) < size:
            return None
        said = heard[:size]
        if (magic, opcode, struct.unpack(">I", opaque)[0]) != (
                0x81, self.OPCODES[command.kind][command.quiet], command.opaque):
            raise Violation(f"{command} of opaque {command.opaque} was answered {said}")
        at = binary.HEADER.size
        flags, key, value = said[at:at + extras], said[at + extras:at + extras + keys], said[
            at + extras + keys:]
        if command.kind in GETS and status in (binary.OK, binary.NOT_FOUND) and key != command.keys[0]:
            raise Violation(f"{command} was answered of {key}")
        return size, self._answer(command, status, flags, value, token, said)

    def _answer(self, command, status, flags, value, token, said):
        if status >= binary.NO_MEMORY:
            return failure(value)
        if command.kind in GETS:
            if status == binary.NOT_FOUND:
                return Answer([None], [None])
            return Answer([(struct.unpack(">I", flags)[0], value)], [token])
        if status == binary.OK:
            if command.kind in ("incr", "decr"):
                return one(command, struct.unpack(">Q", value)[0], said)
            if command.kind in self.DONE:
                return one(command, self.DONE[command.kind], said)
            return one(command, "STORED", said, tokens=[token])
        result = self.STATUSES.get(status, status)
        # Two opcodes have memcached's own words for what was not stored.
        if (command.kind, result) in (("add", "EXISTS"), ("replace", "NOT_FOUND")):
            result = "NOT_STORED"
        if type(result) is not str:
            raise Violation(f"{command} was answered {said}")
        return one(command, result, said)
