"""memcached's binary protocol in Python: packets out, packets back.

    c = Connection(port)
    c.ask(SET, b"key", b"value", extras=flags_and_expiry(7, 0)).cas
"""
import socket
import struct
from collections import namedtuple

(GET, SET, ADD, REPLACE, DELETE, INCREMENT, DECREMENT, QUIT, FLUSH, GETQ, NOOP, VERSION, GETK, GETKQ,
 APPEND, PREPEND, STAT, SETQ, ADDQ, REPLACEQ, DELETEQ, INCREMENTQ, DECREMENTQ, QUITQ, FLUSHQ,
 APPENDQ, PREPENDQ, VERBOSITY, TOUCH, GAT, GATQ) = range(0x1f)
SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ = 0x20, 0x21, 0x22, 0x23, 0x24

OK, NOT_FOUND, EXISTS, TOO_LARGE, INVALID, NOT_STORED, NON_NUMERIC = range(7)
AUTH_ERROR, UNKNOWN_COMMAND, NO_MEMORY, INTERNAL, TEMPORARY = 0x20, 0x81, 0x82, 0x84, 0x86

HEADER = struct.Struct(">BBHBBHI4sQ")
NEVER_CREATE = 0xffffffff

Reply = namedtuple("Reply", "opcode status extras key value opaque cas")


def packet(opcode, key=b"", value=b"", extras=b"", cas=0, opaque=b"\0\0\0\0", magic=0x80,
           key_bytes=None, extras_bytes=None, body_bytes=None):
    """A request; the lengths are the true ones unless told otherwise."""
    pick = lambda told, true: true if told is None else told  # noqa: E731
    return HEADER.pack(magic, opcode, pick(key_bytes, len(key)), pick(extras_bytes, len(extras)), 0,
                       0, pick(body_bytes, len(extras) + len(key) + len(value)), opaque,
                       cas) + extras + key + value


def flags_and_expiry(flags=0, expiry=0):
    return struct.pack(">II", flags, expiry)


def expiry_only(expiry):
    return struct.pack(">I", expiry)


def counting(delta, initial=0, expiry=NEVER_CREATE):
    return struct.pack(">QQI", delta, initial, expiry)


class Connection:
    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard = b""

    def say(self, data):
        self.socket.sendall(data)

    def _fill(self, size):
        while len(self.heard) < size:
            more = self.socket.recv(1 << 20)
            if not more:
                raise EOFError(self.heard)
            self.heard += more

    def hear(self):
        """The next reply; EOFError once the peer has closed."""
        self._fill(HEADER.size)
        magic, opcode, keys, extras, kind, status, body, opaque, cas = HEADER.unpack(
            self.heard[:HEADER.size])
        assert magic == 0x81 and kind == 0, self.heard[:HEADER.size]
        self._fill(HEADER.size + body)
        rest = self.heard[HEADER.size:HEADER.size + body]
        self.heard = self.heard[HEADER.size + body:]
        return Reply(opcode, status, rest[:extras], rest[extras:extras + keys],
                     rest[extras + keys:], opaque, cas)

    def ask(self, opcode, *args, **kwargs):
        """One packet out, one reply back."""
        self.say(packet(opcode, *args, **kwargs))
        return self.hear()

    def closed(self):
        """Whether the peer closes now, with nothing more said."""
        try:
            return self.heard == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.socket.close()
