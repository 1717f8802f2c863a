"""A gRPC service that says what it saw: every header, body, connection and PING of the proxy.

It is what momento_local cannot be: a witness of what travels, and a server that breaks promises.
"""
import contextlib
import socket
import ssl
import struct
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions

UNIMPLEMENTED = 12


def field(number, payload):
    """A length-delimited protobuf field shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload


class Call:
    def __init__(self, headers):
        self.headers = headers
        self.path = headers[":path"]
        self.body = b""


class FakeService:
    """`answer(call)` returns a message's bytes, or a gRPC status as an int.

    `mute`: nothing more is sent, PINGs stay unanswered.
    `silent`: connections are accepted and never read.
    `retires_after`: calls of one connection until it says GOAWAY; what was sent too late for that is
    counted in `refused` and not looked at.
    """

    def __init__(self, answer=lambda call: UNIMPLEMENTED, tls=None, silent=False,
                 retires_after=None, address="127.0.0.1", port=0):
        self.retires_after, self.retired, self.refused = retires_after, 0, 0
        self.answer, self.tls, self.silent, self.mute = answer, tls, silent, False
        self.calls, self.ping_times, self.connections, self.open = [], [], 0, 0
        self.handshake_faults, self.server_names = [], []
        self.lock = threading.Lock()
        self.sockets = []
        self.listening = socket.create_server((address, port), backlog=64)
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # shutdown() first: it is what wakes a thread that is inside accept() or recv().
        for one in [self.listening, *self.sockets]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def _accept(self):
        while True:
            try:
                peer, _ = self.listening.accept()
            except OSError:
                return
            with self.lock:
                self.connections += 1
                self.sockets.append(peer)
            if not self.silent:
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer):
        try:
            if self.tls is not None:
                peer = self.tls.wrap_socket(peer, server_side=True)
                with self.lock:
                    self.sockets.append(peer)
        except (ssl.SSLError, OSError) as error:
            self.handshake_faults.append(str(error))
            return
        with self.lock:
            self.open += 1
        try:
            self._converse(peer)
        except (OSError, h2.exceptions.ProtocolError):
            pass
        finally:
            with self.lock:
                self.open -= 1
            peer.close()

    def _converse(self, peer):
        talk = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        talk.initiate_connection()
        peer.sendall(talk.data_to_send())
        calls = {}
        served, last = 0, None  # `last`: the stream that a GOAWAY named.
        while data := peer.recv(65536):
            goaway = b""
            for event in talk.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    calls[event.stream_id] = Call(dict(event.headers))
                elif isinstance(event, h2.events.DataReceived):
                    calls[event.stream_id].body += event.data
                    talk.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    if last is not None and event.stream_id > last:
                        self.refused += 1
                        continue
                    # A client may give a call up before it is answered.
                    with contextlib.suppress(h2.exceptions.StreamClosedError):
                        self._reply(talk, event.stream_id, calls.pop(event.stream_id))
                    served += 1
                    if served == self.retires_after:
                        last = event.stream_id
                        self.retired += 1
                        # RFC 9113, section 6.8.
                        goaway = struct.pack(">BHBBIII", 0, 8, 7, 0, 0, last, 0)
                elif isinstance(event, h2.events.PingReceived):
                    self.ping_times.append(time.monotonic())
            out = talk.data_to_send()
            if not self.mute:
                peer.sendall(out + goaway)

    def _reply(self, talk, stream, call):
        self.calls.append(call)
        answer = self.answer(call)
        start = [(":status", "200"), ("content-type", "application/grpc")]
        if isinstance(answer, int):
            return talk.send_headers(stream, start + [("grpc-status", str(answer))],
                                     end_stream=True)
        talk.send_headers(stream, start)
        talk.send_data(stream, b"\0" + struct.pack(">I", len(answer)) + answer)
        talk.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    def heard(self, method):
        """The calls of one method, such as "Get"."""
        return [call for call in self.calls if call.path.endswith("/" + method)]
