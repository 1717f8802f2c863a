#!/usr/bin/env python3
"""TLS on the listeners and who may connect to them: products as processes, clients as people use
them (Python's ssl, pymemcache), memcached built with TLS beside them."""
import concurrent.futures
import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pymemcache.client.base import Client as PyMemcache  # noqa: E402

from harness import Client, eventually, free_port, main, wait_port  # noqa: E402
from knobs import (FRONTS, MEMCACHES, config_file, port_of, run, sets, shows,  # noqa: E402
                   started, total)

LISTEN = {"momento_proxy": "cache[0]", "segcache": "listen", "pingserver": "listen"}


class Authority:
    """A certificate authority in a folder, for as long as this module is loaded."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        self.count = 0
        self.openssl("req", "-x509", *self.key("ca"), "-subj", "/CN=test authority", "-days", "2",
                     "-out", self.path("ca.crt"))
        self.file = self.path("ca.crt")

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def key(self, name):
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                self.path(f"{name}.key"))

    def openssl(self, *words, when=None):
        before = ["faketime", when] if when else []
        subprocess.run([*before, "openssl", *words], check=True, capture_output=True)

    def issue(self, name="localhost", when=None):
        """(certificate file, key file) for `name`, of two days from now or from `when`."""
        self.count += 1
        stem = f"{name}-{self.count}"
        crt, csr, key = (self.path(f"{stem}.{end}") for end in ("crt", "csr", "key"))
        self.openssl("req", *self.key(stem), "-subj", f"/CN={name}", "-out", csr, "-addext",
                     "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.openssl("x509", "-req", "-in", csr, "-CA", self.file, "-CAkey", self.path("ca.key"),
                     "-CAcreateserial", "-copy_extensions", "copy", "-days", "2", "-out", crt,
                     when=when)
        for file in (crt, key):
            os.chmod(file, 0o644)  # memcached reads them as nobody.
        return crt, key


AUTHORITY = Authority()
SERVER = AUTHORITY.issue()
CLIENT = AUTHORITY.issue("client")


def context(version=None, shows_certificate=None, trusts=None):
    made = ssl.create_default_context(cafile=trusts or AUTHORITY.file)
    if version is not None:
        made.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        made.set_ciphers("DEFAULT:@SECLEVEL=0")
        made.maximum_version = version
    if shows_certificate:
        made.load_cert_chain(*shows_certificate)
    return made


def tls_settings(section, *more, pair=SERVER):
    return (f"{section}.tls_certificate_file={pair[0]}", f"{section}.tls_key_file={pair[1]}", *more)


def tls_product(name, *more, section=None):
    """A product with TLS on its port; `more` is keys of the listener's section."""
    own = LISTEN[name]
    return started(name, *tls_settings(section or own), *(f"{own}.{one}" for one in more))


class TlsClient(Client):
    """Raw bytes over TLS."""

    def __init__(self, port, made=None, timeout=10):
        super().__init__(port, timeout)
        self.socket = (made or context()).wrap_socket(self.socket, server_hostname="localhost")


def works(port, made=None, word=b"version"):
    """Whether a request is answered over TLS; in TLS 1.3 a refusal may come with the answer."""
    try:
        client = TlsClient(port, made)
        try:
            return len(client.ask(word)) > 0
        finally:
            client.close()
    except (OSError, EOFError):
        return False


@contextlib.contextmanager
def memcached(*options):
    port = free_port()
    extended = ",".join((f"ssl_chain_cert={SERVER[0]}", f"ssl_key={SERVER[1]}", *options))
    running = subprocess.Popen(["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port),
                                "-Z", "-o", extended], stderr=subprocess.DEVNULL)
    try:
        wait_port(port)
        yield port
    finally:
        running.kill()
        running.wait()


def stats(client, what=b"stats"):
    client.say(what + b"\r\n")
    lines = client.hear_until(b"END\r\n").splitlines()[:-1]
    return {line.split()[1].decode(): line.split(None, 2)[2].decode() for line in lines}


@shows(["segcache", "pingserver"], "listen.tls_certificate_file", "listen.tls_key_file")
@shows(["momento_proxy"], "cache[].tls_certificate_file", "cache[].tls_key_file")
def test_every_product_speaks_tls():
    for name in FRONTS:
        with tls_product(name) as running:
            running.wait_log(r"(memcache|ping) on 127\.0\.0\.1:\d+ \(TLS\)")
            port = port_of(running)
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                client = TlsClient(port, context(version))
                assert client.socket.version() == version.name.replace("_", "."), version
                client.say(b"PING\r\n" * 1000)
                answers = client.hear_until(b"G\r\n" if name == "pingserver" else b"R\r\n")
                assert answers in (b"PONG\r\n", b"ERROR\r\n")
                client.socket.unwrap().close()
            plain = Client(port)
            plain.say(b"PING\r\n")
            assert b"PONG" not in plain.hear_end() and b"ERROR" not in plain.heard
            assert total(running, "core_net_tls_handshake_total", LABEL[name]) == 2
            assert total(running, "core_net_tls_handshake_fail_total", LABEL[name]) == 1
            assert total(running, "core_net_tls_certificate_expire_time_seconds") > time.time()
            running.wait_log(r"TLS handshake with 127\.0\.0\.1:\d+ failed: wrong version number")
            # A key file is not needed where the key stands with the certificate.
        both = AUTHORITY.path("both.pem")
        with open(both, "w") as out:
            out.write(open(SERVER[0]).read() + open(SERVER[1]).read())
        with started(name, f"{LISTEN[name]}.tls_certificate_file={both}") as running:
            assert works(port_of(running), word=b"PING")


LABEL = {"momento_proxy": 'server="default-cache"', "segcache": 'server="memcache"',
         "pingserver": 'server="ping"'}


def test_a_client_library_over_tls():
    large = os.urandom(1_000_000)
    for name in MEMCACHES:
        with tls_product(name) as running:
            client = PyMemcache(("localhost", port_of(running)), tls_context=context(),
                                timeout=20, connect_timeout=20, default_noreply=False)
            assert client.set("k", b"v") and client.get("k") == b"v"
            assert client.set("large", large) and client.get("large") == large
            assert client.set_many({f"k{i}": b"v%d" % i for i in range(200)}) == []
            assert client.get_many([f"k{i}" for i in range(200)]) == \
                {f"k{i}": b"v%d" % i for i in range(200)}
            assert client.delete("k") and client.get("k") is None
            client.close()
            raw = TlsClient(port_of(running))
            raw.say(b"set p 0 0 2\r\nhi\r\n" + b"get p\r\n" * 5000)  # Answers over many records.
            assert raw.hear_line() == b"STORED"
            for _ in range(5000):
                assert raw.hear_until(b"END\r\n") == b"VALUE p 0 2\r\nhi\r\nEND\r\n"
            raw.close()


@shows(["momento_proxy"], "server.tls_certificate_file", "server.tls_key_file", "cache[].server_tls")
def test_the_certificate_of_the_server_is_for_every_cache_that_names_none():
    own = AUTHORITY.issue("own")

    def subject(port):
        client = TlsClient(port)
        try:
            return dict(pair[0] for pair in client.socket.getpeercert()["subject"])["commonName"]
        finally:
            client.close()
    with started("momento_proxy", *tls_settings("server"), "cache[0].cache_name=a",
                 "cache[1].cache_name=b", "cache[1].port=0", *tls_settings("cache[1]", pair=own),
                 "cache[2].cache_name=c", "cache[2].port=0", "cache[2].server_tls=false") as running:
        ports = [int(running.wait_log(rf"127\.0\.0\.1:(\d+)\S*(?: \(TLS\))? for cache {name}")
                     .group(1)) for name in "abc"]
        assert subject(ports[0]) == "localhost"
        assert subject(ports[1]) == "own"
        assert Client(ports[2]).ask(b"version").startswith(b"VERSION")


@shows(["segcache", "pingserver"], "listen.tls_client_ca_file", "listen.tls_client_certificate")
@shows(["momento_proxy"], "cache[].tls_client_ca_file", "cache[].tls_client_certificate",
       "server.tls_client_ca_file", "server.tls_client_certificate")
def test_client_certificates():
    stranger = Authority()
    strangers = stranger.issue("client")
    # (mode, memcached's number of it, with none, with a good one, with a stranger's)
    table = (("optional", 1, True, True, False), ("required", 2, False, True, False))

    def outcome(port):
        return tuple(works(port, context(shows_certificate=shown), word=b"PING")
                     for shown in (None, CLIENT, strangers))
    for mode, number, *expected in table:
        for name in FRONTS:
            sections = ("cache[0]", "server") if name == "momento_proxy" else ("listen",)
            for section in sections:
                with started(name, *tls_settings(
                        section, f"{section}.tls_client_ca_file={AUTHORITY.file}",
                        f"{section}.tls_client_certificate={mode}")) as running:
                    assert outcome(port_of(running)) == tuple(expected), (name, mode)
                    failed = total(running, "core_net_tls_handshake_fail_total", LABEL[name])
                    assert failed == expected.count(False), (name, mode)
        with memcached(f"ssl_verify_mode={number}", f"ssl_ca_cert={AUTHORITY.file}") as port:
            assert outcome(port) == tuple(expected), ("memcached", mode)


@shows(["segcache", "pingserver"], "listen.tls_min_version")
@shows(["momento_proxy"], "cache[].tls_min_version", "server.tls_min_version")
def test_old_versions_are_refused():
    old, v12, v13 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

    def outcome(port):
        return tuple(works(port, context(version), word=b"PING") for version in (old, v12, v13))
    for name in FRONTS:
        for section in ("cache[0]", "server") if name == "momento_proxy" else ("listen",):
            with started(name, *tls_settings(section)) as running:
                assert outcome(port_of(running)) == (False, True, True), name
            with started(name, *tls_settings(section, f"{section}.tls_min_version=1.3")) as running:
                assert outcome(port_of(running)) == (False, False, True), name
    with memcached() as port:
        assert outcome(port) == (False, True, True)


@shows(["segcache", "pingserver"], "listen.tls_handshake_timeout")
@shows(["momento_proxy"], "cache[].tls_handshake_timeout", "server.tls_handshake_timeout")
def test_a_handshake_has_a_time_limit():
    for name in FRONTS:
        for section in ("cache[0]", "server") if name == "momento_proxy" else ("listen",):
            with started(name, *tls_settings(
                    section, f"{section}.tls_handshake_timeout=50ms")) as running:
                with socket.create_connection(("127.0.0.1", port_of(running)), 10) as silent:
                    assert silent.recv(1) == b""  # The default would let it wait for ten seconds.
                eventually(lambda: total(running, "core_net_tls_handshake_fail_total",
                                         LABEL[name]) == 1, what="a counted handshake")
                running.wait_log("it took longer than tls_handshake_timeout")


def test_sessions_are_resumed():
    with tls_product("segcache") as running:
        port = port_of(running)
        made = context()
        with made.wrap_socket(socket.create_connection(("127.0.0.1", port), 10),
                              server_hostname="localhost") as first:
            first.sendall(b"version\r\n")
            assert first.recv(100)  # The ticket comes with it.
            session = first.session
        with made.wrap_socket(socket.create_connection(("127.0.0.1", port), 10),
                              server_hostname="localhost", session=session) as second:
            assert second.session_reused
            second.sendall(b"version\r\n")
            assert second.recv(100).startswith(b"VERSION")
        assert total(running, "core_net_tls_resume_total") == 1


def test_stats_have_memcacheds_names():
    with memcached("ssl_session_cache") as port:
        theirs = stats(TlsClient(port))
        their_settings = stats(TlsClient(port), b"stats settings")
    for name in MEMCACHES:
        with tls_product(name) as running:
            for _ in range(3):
                assert works(port_of(running))
            plain = Client(port_of(running))
            plain.say(b"get k\r\n")
            plain.hear_end()
            client = TlsClient(port_of(running))
            ours = stats(client)
            for key in theirs:
                assert not key.startswith(("ssl_", "time_since_server")) or key in ours, key
            assert ours["ssl_handshake_errors"] == "1", ours
            assert int(ours["ssl_new_sessions"]) >= 4
            assert int(ours["time_since_server_cert_refresh"]) < 3600
            settings = stats(client, b"stats settings")
            for key in ("ssl_enabled", "ssl_chain_cert", "ssl_key", "ssl_verify_mode",
                        "ssl_ca_cert", "ssl_min_version"):
                assert settings[key] == their_settings[key], key
        with started(name) as running:
            assert not [key for key in stats(Client(port_of(running))) if "ssl" in key]
            assert stats(Client(port_of(running)), b"stats settings")["ssl_enabled"] == "no"


def put(pair, place):
    """What a renewal does: both files, each in one step."""
    for new, old in zip(pair, place):
        shutil.copy(new, old + ".new")
        os.rename(old + ".new", old)


def test_certificates_rotate_under_load_and_no_client_notices():
    pairs = [AUTHORITY.issue(f"pair{i}") for i in range(4)]
    for name in MEMCACHES:
        place = AUTHORITY.path(f"{name}.crt"), AUTHORITY.path(f"{name}.key")
        put(pairs[0], place)
        with started(name, *tls_settings(LISTEN[name], pair=place), flags=("-t", "2")) as running:
            port = port_of(running)
            stop = threading.Event()
            seen, kept = set(), TlsClient(port)
            counts = [0, 0]

            def reconnects():
                while not stop.is_set():
                    client = TlsClient(port, timeout=30)
                    subject = dict(one[0] for one in client.socket.getpeercert()["subject"])
                    seen.add(subject["commonName"])
                    assert client.set(b"k", b"v") == b"STORED" and client.get(b"k") == (0, b"v")
                    client.close()
                    counts[0] += 1

            def stays():
                client = TlsClient(port, timeout=30)
                while not stop.is_set():
                    assert client.set(b"s", b"v" * 5000) == b"STORED"
                    assert client.get(b"s") == (0, b"v" * 5000)
                    counts[1] += 1
            with concurrent.futures.ThreadPoolExecutor(4) as threads:
                work = [threads.submit(one) for one in (reconnects, reconnects, stays, stays)]
                try:
                    for i, pair in enumerate(pairs[1:], 1):
                        eventually(lambda: f"pair{i - 1}" in seen, what=f"pair{i - 1}")
                        put(pair, place)
                        running.process.send_signal(signal.SIGHUP)
                        running.wait_log(f"new TLS certificate: CN = pair{i},")
                    eventually(lambda: "pair3" in seen, what="pair3")
                    # A key that does not match, and a file cut short: the last pair stays.
                    put((pairs[0][0], pairs[1][1]), place)
                    running.process.send_signal(signal.SIGHUP)
                    running.wait_log("certificate in use is kept: tls_key_file: .* is not the key")
                    with open(place[0], "w") as out:
                        out.write(open(pairs[3][0]).read()[:300])
                    running.process.send_signal(signal.SIGHUP)
                    running.wait_log("certificate in use is kept: tls_certificate_file: ")
                    seen.clear()
                    eventually(lambda: seen, what="a connection")
                    assert seen == {"pair3"}, seen
                finally:
                    stop.set()
                for one in work:
                    one.result()  # An error of any client is an error here.
            assert kept.ask(b"version").startswith(b"VERSION")  # Since before the first signal.
            assert min(counts) > 0
            assert total(running, "core_net_tls_reload_total") == 3
            assert total(running, "core_net_tls_reload_fail_total") == 2
            assert total(running, "core_net_tls_handshake_fail_total") == 0


def test_what_cannot_work_is_refused_before_anything_starts():
    other = AUTHORITY.issue()
    garbage = AUTHORITY.path("garbage")
    with open(garbage, "w") as out:
        out.write("not a certificate\n")
    cases = (
        (f'tls_certificate_file = "{SERVER[0]}"\ntls_key_file = "{other[1]}"\n', 3,
         "tls_key_file", "is not the key of the certificate"),
        (f'tls_certificate_file = "{SERVER[0]}"\ntls_key_file = "/nonexistent"\n', 3,
         "tls_key_file", 'cannot read "/nonexistent": No such file or directory'),
        (f'tls_certificate_file = "{garbage}"\n', 2,
         "tls_certificate_file", "holds no certificate in PEM form"),
        (f'tls_certificate_file = "{SERVER[0]}"\n', 2,
         "tls_certificate_file", "holds no private key in PEM form"),
        (f'tls_certificate_file = "{SERVER[0]}"\ntls_key_file = "{SERVER[1]}"\n'
         f'tls_client_certificate = "required"\ntls_client_ca_file = "{garbage}"\n', 5,
         "tls_client_ca_file", "holds no certificate in PEM form"),
        ('allow = ["10.0.0.0/33"]\n', 2, "allow", "expected 0 to 32 after the slash"),
    )
    for name in FRONTS:
        section, tail = "listen", ""
        if name == "momento_proxy":
            section, tail = "cache[0]", 'cache_name = "c"\n'
        head = "[[cache]]\n" if name == "momento_proxy" else "[listen]\n"
        for text, line, key, reason in cases:
            with config_file(head + text + tail) as file:
                for flags in ((file, "--check"), (file,)):
                    code, _, err = run(name, *flags)
                    assert code == 78, (code, err)
                    assert f"{file}:{line}: {section}.{key}: " in err and reason in err, err
    with config_file(f'[server]\ntls_certificate_file = "{SERVER[0]}"\ntls_key_file = "{other[1]}"\n'
                     '[[cache]]\ncache_name = "c"\n') as file:
        code, _, err = run("momento_proxy", file, "--check")
        assert code == 78 and f"{file}:3: server.tls_key_file: " in err, err


def test_an_expired_certificate_is_served_with_a_warning():
    expired = AUTHORITY.issue(when="2020-01-01 00:00:00")
    flags = sets(tls_settings("listen", pair=expired))
    code, out, err = run("segcache", "--check", *flags)
    assert code == 0 and "OK" in out and "expired at 2020-01-03T" in err, (code, out, err)
    with started("segcache", *tls_settings("listen", pair=expired)) as running:
        running.wait_log("expired at 2020-01-03T.*clients will refuse it")
        assert not works(port_of(running))
        careless = context()
        careless.check_hostname = False
        careless.verify_mode = ssl.CERT_NONE
        assert works(port_of(running), careless)


@shows(["segcache", "pingserver"], "listen.allow")
@shows(["momento_proxy"], "cache[].allow")
def test_only_those_allowed_get_in():
    def answers(port, host="127.0.0.1"):
        with socket.create_connection((host, port), 10) as one:
            try:
                one.sendall(b"PING\r\n")
                return one.recv(100) != b""
            except ConnectionError:
                return False
    for name in FRONTS:
        section = LISTEN[name]
        for blocks, admitted in (("10.0.0.0/8", False), ("10.0.0.0/8,127.0.0.0/30", True)):
            with started(name, f"{section}.allow={blocks}") as running:
                assert answers(port_of(running)) == admitted, (name, blocks)
                assert total(running, "core_net_connection_forbid_total") == (not admitted)
                if not admitted:
                    running.wait_log(r"127\.0\.0\.1:\d+ refused, its address is not in allow")
        # A stack of both families hands IPv4 on as IPv6.
        with started(name, f"{section}.allow=127.0.0.1", f"{section}.host=::") as running:
            port = int(running.wait_log(r"(?:memcache|ping) on :::(\d+)").group(1))
            assert answers(port) and not answers(port, "::1"), name


def test_a_drain_ends_tls_connections_cleanly():
    with tls_product("segcache") as running:
        client = TlsClient(port_of(running))
        client.set(b"k", b"v")
        client.say(b"get k\r\n")
        assert client.hear_until(b"END\r\n")
        running.process.send_signal(signal.SIGTERM)
        # suppress_ragged_eofs is off here: an end without close_notify would raise.
        client.socket.suppress_ragged_eofs = False
        assert client.socket.recv(1) == b""
        assert running.process.wait(10) == 0


if __name__ == "__main__":
    main(globals())
