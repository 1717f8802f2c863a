#!/usr/bin/env python3
"""API keys while requests run: followed in their file, checked before use, never shown.

momento_local plays the service; `local.token_file` is the list of keys that it takes.
"""
import base64
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_service import FakeService  # noqa: E402
from harness import BIN, Client, eventually, free_port, main, product  # noqa: E402
from knobs import (client_of, complaint, local, metrics, page, port_of, proxy_to, run,  # noqa: E402
                   sets, shows, total)
from knobs_cache import PROXY, calls, failed, jwt  # noqa: E402

POLL = "momento.key_poll_interval=50ms"
UNAUTHENTICATED = 16
NOBODY = 65534


def key(name, expires_in=None):
    """A v2 key; `expires_in` seconds from now."""
    claims = {} if expires_in is None else {"exp": int(time.time() + expires_in)}
    return jwt(t="g", jti=name, **claims)


class Mount:
    """A Secret as a kubelet mounts it: key -> ..data/key, and ..data -> the folder of a time."""

    def __init__(self, folder):
        self.folder, self.version = folder, 0
        self.path = os.path.join(folder, "key")

    def put(self, text):
        """Swaps the link, so that a reader finds the old file or the new one, whole."""
        self.version += 1
        there = os.path.join(self.folder, f"..{self.version}")
        os.mkdir(there)
        if text is not None:
            with open(os.path.join(there, "key"), "w") as f:
                f.write(text)
        link = os.path.join(self.folder, "..tmp")
        os.symlink(os.path.basename(there), link)
        os.rename(link, os.path.join(self.folder, "..data"))
        if not os.path.islink(self.path):
            os.symlink("..data/key", self.path)


@contextlib.contextmanager
def mounted(text):
    with tempfile.TemporaryDirectory() as folder:
        mount = Mount(folder)
        mount.put(text)
        yield mount


@contextlib.contextmanager
def service(*tokens, settings=()):
    """momento_local that takes these keys: (product, function that changes them)."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokens")

        def accept(*now):
            with open(path + ".new", "w") as f:
                f.write("\n".join(now) + "\n")
            os.rename(path + ".new", path)
        accept(*tokens)
        with local(f"local.token_file={path}", *settings) as backend:
            yield backend, accept


def wait_accepted(backend, token, accepted):
    """Until the service takes `token`, or no longer does, as a client of its own sees it."""
    with proxy_to(port_of(backend), f"momento.api_key={token}") as witness:
        client = client_of(witness)
        eventually(lambda: (client.set(b"witness", b"v") == b"STORED") == accepted,
                   what=f"the service {'takes' if accepted else 'refuses'} a key")


class Load:
    """Threads that set and get without a pause; every reply that is not the right one is kept."""

    def __init__(self, port, threads=4):
        self.stopped, self.wrong, self.done = False, [], [0] * threads
        self.threads = [threading.Thread(target=self.work, args=(port, i)) for i in range(threads)]

    def work(self, port, i):
        client = Client(port)
        while not self.stopped:
            name, value = b"k%d" % i, b"%d" % self.done[i]
            stored, got = client.set(name, value), client.get(name)
            if (stored, got) != (b"STORED", (0, value)):
                self.wrong.append((stored, got))
            self.done[i] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped = True
        for thread in self.threads:
            thread.join()

    def wait_more(self):
        before = list(self.done)
        eventually(lambda: all(now > then + 20 for now, then in zip(self.done, before)), 30,
                   "requests of every thread")


def key_metric(proxy, name, account="momento", **labels):
    want = "".join(f',{label}="{value}"' for label, value in labels.items())
    return metrics(proxy)[f'proxy_key_{name}{{account="{account}"{want}}}']


def changes(proxy, outcome):
    return key_metric(proxy, "change_total", outcome=outcome)


@shows(PROXY, "momento.api_key_file")
def test_rotation_under_load_fails_no_request():
    first, second, third = key("first"), key("second"), key("third")
    with service(first, second) as (backend, accept), mounted(first + "\n") as mount, \
            proxy_to(port_of(backend), POLL, f"momento.api_key_file={mount.path}",
                     "cache[0].get_error=error", "cache[0].deadline=20s") as proxy, \
            Load(port_of(proxy)) as load:
        load.wait_more()
        connected = metrics(proxy)["proxy_momento_connect_total"]
        # What an account's owner does: the service learns the new key, the Secret follows, and when
        # that is in use the old key is taken away.
        for i, (old, new, after) in enumerate(((first, second, third), (second, third, first)), 1):
            accept(old, new)
            wait_accepted(backend, new, True)
            mount.put(new + "\n")
            eventually(lambda: changes(proxy, "accepted") == i, what="the new key in use")
            load.wait_more()
            accept(new, after)
            wait_accepted(backend, old, False)
            load.wait_more()
        assert not load.wrong, load.wrong[:3]
        assert changes(proxy, "refused") == 0
        assert key_metric(proxy, "rejected_call_total") == 0
        # The connections stayed; two more are those the new keys were checked over.
        assert metrics(proxy)["proxy_momento_connect_total"] == connected + 2
        assert proxy.log().count("is in use") == 2


def test_bad_keys_are_kept_out_told_once_and_harm_nobody():
    good = key("good")
    bad = {"malformed": "SECRETSECRETSECRET", "expired": key("late", -60),
           "unauthenticated": key("unknown"), "JWT of an unknown kind": jwt(t="SECRET")}
    with service(good) as (backend, _), mounted(good) as mount, \
            proxy_to(port_of(backend), POLL, f"momento.api_key_file={mount.path}") as proxy, \
            Load(port_of(proxy)) as load:
        # With an override any text may be a key, so what no server here can tell is the service's
        # to refuse.
        for i, (why, text) in enumerate(bad.items(), 1):
            load.wait_more()
            mount.put(text)
            eventually(lambda: changes(proxy, "refused") == i, what=f"refusal: {why}")
            assert key_metric(proxy, "pending") == 1
        time.sleep(0.3)
        load.wait_more()
        assert proxy.log().count("is refused") == len(bad), "a line each"
        assert "expired on" in proxy.log() and "unauthenticated" in proxy.log()
        mount.put(good)
        eventually(lambda: key_metric(proxy, "pending") == 0, what="the old key is back")
        assert changes(proxy, "accepted") == 0
        assert not load.wrong, load.wrong[:3]
        for text in bad.values():
            assert text not in proxy.log()


def test_a_key_of_the_real_service_that_is_malformed_says_so():
    with mounted(key("a")) as mount, product("momento_proxy", "-p", "0", "-t", "1", *sets((
            f"momento.api_key_file={mount.path}", "momento.endpoint=cell-1.localhost", POLL,
            "cache[0].cache_name=c"))) as proxy:
        port_of(proxy)
        for text in ("SECRETSECRET", jwt(t="x")):
            mount.put(text)
            proxy.wait_log(r"is refused, the one in use stays: [^\n]*"
                           + ("malformed" if text == "SECRETSECRET" else "unknown kind"))
            assert text not in proxy.log()


def test_a_file_that_is_gone_or_empty_changes_nothing():
    good, new = key("good"), key("new")
    with service(good, new) as (backend, _), mounted(good) as mount, \
            proxy_to(port_of(backend), POLL, f"momento.api_key_file={mount.path}") as proxy:
        client = client_of(proxy)
        for i, text in enumerate((None, "", " \n\n"), 1):
            mount.put(text)
            eventually(lambda: key_metric(proxy, "file_unreadable_total") == i,
                       what="the loss of the key is noticed")
            assert client.set(b"k", b"v") == b"STORED"
            mount.put(good)
            eventually(lambda: proxy.log().count("again") == i, what="the key is back")
        mount.put(new)
        eventually(lambda: changes(proxy, "accepted") == 1, what="the new key in use")
        assert client.set(b"k", b"w") == b"STORED"
        assert proxy.log().count("the API key in use stays") == 3


def test_a_key_waits_for_a_service_that_is_down():
    old, new = key("old"), key("new")
    port = free_port()
    with mounted(old) as mount, \
            proxy_to(port, POLL, f"momento.api_key_file={mount.path}") as proxy:
        port_of(proxy)
        mount.put(new)
        proxy.wait_log("waits to be checked")
        assert changes(proxy, "refused") == 0 and key_metric(proxy, "pending") == 1
        with product("momento_local", "-p", str(port), *sets((
                "local.create_unknown=true", f"local.token={new}"))):
            eventually(lambda: changes(proxy, "accepted") == 1, 30, "the key in use")
            eventually(lambda: client_of(proxy).set(b"k", b"v") == b"STORED", 15, "service")


@shows(PROXY, "momento.key_poll_interval")
def test_the_file_is_looked_at_now_and_then_and_on_sighup():
    old, new, newer = key("old"), key("new"), key("newer")
    for interval in ("50ms", "1h"):
        with service(old, new, newer) as (backend, _), mounted(old) as mount, \
                proxy_to(port_of(backend), f"momento.key_poll_interval={interval}",
                         f"momento.api_key_file={mount.path}") as proxy:
            client_of(proxy)
            mount.put(new)
            if interval == "1h":
                # The look at the start may come before the new key or after it.
                proxy.process.send_signal(signal.SIGHUP)
                eventually(lambda: changes(proxy, "accepted") == 1, what="the new key in use")
                time.sleep(0.5)  # The other of the two looks is over.
                mount.put(newer)
                time.sleep(0.5)
                assert changes(proxy, "accepted") == 1
                proxy.process.send_signal(signal.SIGHUP)
                eventually(lambda: changes(proxy, "accepted") == 2, what="the newer key in use")
            else:
                eventually(lambda: changes(proxy, "accepted") == 1, what="the new key in use")


@shows(PROXY, "cache[].api_key", "cache[].api_key_file")
def test_caches_with_keys_of_their_own():
    common, own, own_new = key("common"), key("own"), key("own-new")
    seen = {}

    def answer(call):
        seen.setdefault(call.headers.get("cache"), set()).add(call.headers["authorization"])
        return b"\x08\x03"  # A miss; of a write, an error.
    with FakeService(answer) as fake, mounted(own) as mount, tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "common")
        with open(path, "w") as f:
            f.write(common)
        with proxy_to(fake.port, POLL, f"momento.api_key_file={path}", "cache[0].cache_name=a",
                      "cache[1].cache_name=b", "cache[1].port=0",
                      f"cache[1].api_key_file={mount.path}", "cache[2].cache_name=d",
                      "cache[2].port=0", f"cache[2].api_key={key('inline')}") as proxy:
            proxy.wait_log("for cache d")
            ports = [int(p) for p in re.findall(r"memcache on \S+:(\d+) for", proxy.log())]
            clients = [Client(port) for port in ports]
            for client in clients:
                assert client.get(b"k") is None
            assert seen == {"a": {common}, "b": {own}, "d": {key("inline")}}
            mount.put(own_new)
            eventually(lambda: key_metric(proxy, "change_total", "cache:b",
                                          outcome="accepted") == 1, what="the cache's own new key")
            assert clients[0].get(b"k") is None and clients[1].get(b"k") is None
            assert seen["b"] == {own, own_new} and seen["a"] == {common}
            assert changes(proxy, "accepted") == 0


@shows(PROXY, "cache[].endpoint")
def test_a_cache_with_an_endpoint_of_its_own():
    with product("momento_proxy", "-p", "0", "-t", "1", *sets((
            f"momento.api_key={key('a')}", "momento.endpoint=cell-1.localhost",
            "cache[0].cache_name=a", "cache[1].cache_name=b", "cache[1].port=0",
            "cache[1].endpoint=cell-2.localhost"))) as proxy:
        proxy.wait_log(r"momento: cache\.cell-1\.localhost:443: ")
        proxy.wait_log(r"momento: cache\.cell-2\.localhost:443: ")


# --- The check at start.

QUIET = ("admin.port=0", "admin.http_port=0")


def refused(port, *settings, code, says):
    """The proxy ends at once, with one line that holds all of `says`."""
    got, _, err = run("momento_proxy", "-p", "0", "-t", "1", *sets((
        f"momento.endpoint_override=127.0.0.1:{port}", "cache[0].cache_name=c", *QUIET,
        *settings)), timeout=60)
    lines = complaint(err)
    assert got == code and len(lines) == 1, (settings, got, err)
    for part in says:
        assert part in lines[0], (settings, part, lines)
    return err


def test_start_up_check_of_a_service_that_is_not_there():
    port = free_port()
    for check in ("ping", "key", "caches"):
        began = time.monotonic()
        refused(port, f"momento.startup_check={check}", "momento.startup_timeout=500ms", code=69,
                says=["momento.startup_timeout (500ms)", "refused"])
        assert time.monotonic() - began >= 0.3, "it waits for a service that may come"
    with FakeService(silent=True) as fake:
        refused(fake.port, "momento.startup_check=ping", "momento.startup_timeout=500ms", code=69,
                says=["momento.startup_timeout"])
    with proxy_to(port) as proxy:  # By default a proxy starts without its service.
        assert client_of(proxy).get(b"k") is None


@shows(PROXY, "momento.startup_timeout")
def test_start_up_check_waits_for_a_service_that_starts_later():
    port = free_port()
    with proxy_to(port, "momento.startup_check=ping", "momento.startup_timeout=1m") as proxy:
        time.sleep(1)  # Longer than the timeout that was too short above.
        assert proxy.process.poll() is None and "memcache on" not in proxy.log()
        with product("momento_local", "-p", str(port), "--set", "local.create_unknown=true"):
            assert client_of(proxy).set(b"k", b"v") == b"STORED", "connected when it serves"


def test_start_up_check_of_a_key_that_is_refused():
    wrong = key("wrong")
    with service(key("right"), settings=("local.create_unknown=false",)) as (backend, _):
        for check in ("ping", "key", "caches"):
            err = refused(port_of(backend), f"momento.startup_check={check}",
                          f"momento.api_key={wrong}", code=77, says=["refuses the API key"])
            assert wrong not in err


@shows(PROXY, "momento.startup_check", "momento.create_missing_caches")
def test_start_up_check_of_caches_that_are_missing():
    with local("local.create_unknown=false") as backend:
        port = port_of(backend)
        refused(port, "momento.startup_check=key", code=78, says=['cache "c"', "not_found"])
        refused(port, "momento.startup_check=caches", code=78,
                says=['cache "c"', "no such cache", "momento.create_missing_caches"])
        with proxy_to(port, "momento.startup_check=ping") as proxy:
            assert failed(client_of(proxy).set(b"k", b"v")), "ping does not look for caches"
        with proxy_to(port, "momento.create_missing_caches=true") as proxy:
            assert client_of(proxy).set(b"k", b"v") == b"STORED"
        assert calls(backend, "create-cache") == 1
        with proxy_to(port, "momento.startup_check=caches") as proxy:
            assert client_of(proxy).get(b"k") == (0, b"v")


def test_limits_of_the_service_are_kept_to():
    with local("local.ttl_max=10s", "local.item_size_max=2KB") as backend:
        port = port_of(backend)
        with proxy_to(port, "momento.create_missing_caches=true") as proxy:
            client = client_of(proxy)
            proxy.wait_log(r"cache c: max_ttl is 24h, the service allows 10s")
            proxy.wait_log(r"cache c: item_size_max is 1MB, the service allows 2KB")
            assert client.set(b"k", b"v", exptime=3600) == b"STORED"
            assert total(proxy, "proxy_ttl_clamped_total") == 1
            assert client.set(b"forever", b"v") == b"STORED", "default_ttl is shortened too"
            writes = calls(backend, "set-if-hash")
            assert client.set(b"k", b"x" * 2100) == b"SERVER_ERROR object too large for cache"
            assert calls(backend, "set-if-hash") == writes == 2, "nobody had to be asked"
        with proxy_to(port) as proxy:
            assert failed(client_of(proxy).set(b"k", b"v", exptime=3600)), "unasked, unknown"


def test_start_up_check_with_keys_of_their_own():
    with service(key("right")) as (backend, _):
        refused(port_of(backend), "momento.startup_check=key", f"momento.api_key={key('right')}",
                "cache[1].cache_name=d", "cache[1].port=0", f"cache[1].api_key={key('wrong')}",
                code=77, says=['cache "d"'])


def test_key_files_that_are_wrong_at_start():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "key")
        refused(1, f"momento.api_key_file={path}", code=78, says=[path, "No such file"])
        for text, code, says in (("", 78, "is empty"), (key("late", -60), 77, "expired on")):
            with open(path, "w") as f:
                f.write(text)
            err = refused(1, f"momento.api_key_file={path}", code=code, says=[says])
            assert not text or text not in err
        refused(1, f"momento.api_key_file={path}", "momento.api_key=x", code=78,
                says=["momento.api_key_file", "momento.api_key is set too"])
        refused(1, f"cache[0].api_key_file={path}", "cache[0].api_key=x", code=78,
                says=["cache[0].api_key_file", "cache[0].api_key is set too"])


# --- Expiry, and what is never shown.

def admin_says(proxy, line):
    port = int(proxy.wait_log(r"admin: text on \S+:(\d+)").group(1))
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.sendall(line + b"\r\nquit\r\n")
        heard = b""
        while more := s.recv(65536):
            heard += more
    return heard.decode()


def test_expiry_is_a_metric_and_a_warning():
    soon, later = key("soon", 1800), key("later", 40 * 86400)
    with service(soon, later) as (backend, _), mounted(soon) as mount, \
            proxy_to(port_of(backend), POLL, f"momento.api_key_file={mount.path}") as proxy:
        proxy.wait_log(r"warn +momento: the API key in use expires in (29|30) minutes, on \d{4}-")
        assert 1500 < key_metric(proxy, "expiry_seconds") <= 1800
        stat = re.search(r"STAT proxy_key_expiry_seconds:account=momento (\d+)\r",
                         admin_says(proxy, b"stats proxy_key"))
        assert 1500 < int(stat.group(1)) <= 1800
        time.sleep(0.3)
        assert proxy.log().count("expires in") == 1, "once"
        mount.put(later)
        eventually(lambda: key_metric(proxy, "expiry_seconds") > 39 * 86400, what="a later end")
        assert proxy.log().count("expires in") == 1
    ends = key("ends", 4)
    with service(ends) as (backend, _), proxy_to(port_of(backend), POLL,
                                                 f"momento.api_key={ends}") as proxy:
        proxy.wait_log("momento: the API key in use expires in 0 minutes")
        proxy.wait_log("momento: the API key in use expired on")
        assert key_metric(proxy, "expiry_seconds") <= 0
    with local() as backend, proxy_to(port_of(backend), f"momento.api_key={key('x')}") as proxy:
        assert key_metric(proxy, "expiry_seconds") == float("inf")


def test_the_key_is_never_shown():
    """Neither the text that was given nor what is sent of it, anywhere a person or a tool reads."""
    inner = jwt(sub="INNERSECRET", exp=int(time.time()) + 86400 * 30)
    v1 = base64.b64encode(json.dumps({"endpoint": "e", "api_key": inner}).encode()).decode()
    own, new, bad = key("own"), key("new"), key("bad")
    secrets = (v1, inner, own, new, bad, inner.split(".")[1], bad.split(".")[1])

    def answer(call):
        if call.headers["authorization"] == bad:
            return UNAUTHENTICATED
        return b"\x08\x03"
    with FakeService(answer) as fake, mounted(v1) as mount:
        settings = (f"momento.api_key_file={mount.path}", "log.level=debug", POLL,
                    "cache[0].cache_name=a", "cache[1].cache_name=b", "cache[1].port=0",
                    f"cache[1].api_key={own}", "momento.startup_check=key")
        with proxy_to(fake.port, *settings) as proxy:
            proxy.wait_log("for cache b")
            ports = [int(p) for p in re.findall(r"memcache on \S+:(\d+) for", proxy.log())]
            clients = [Client(port) for port in ports]
            mount.put(bad)
            eventually(lambda: changes(proxy, "refused") == 1, what="refusal")
            mount.put(new)
            eventually(lambda: changes(proxy, "accepted") == 1, what="the new key in use")
            heard = []
            for client in clients:
                heard.append(client.ask(b"get k"))
                heard.append(client.set(b"k", b"v"))
                for what in (b"stats", b"stats settings"):
                    client.say(what + b"\r\n")
                    heard.append(client.hear_until(b"END\r\n"))
            shown = [repr(heard), admin_says(proxy, b"stats"), admin_says(proxy, b"help")]
            shown += [page(proxy, path)[1] for path in ("/", "/metrics", "/readyz", "/version")]
            proxy.stop()
            shown.append(proxy.log())
            assert {call.headers["authorization"] for call in fake.calls} == {inner, own, new, bad}
        _, printed, err = run("momento_proxy", "-p", "0", *sets((
            f"momento.endpoint_override=127.0.0.1:{fake.port}", *settings)), "--print-config")
        assert 'api_key = "***"' in printed and mount.path in printed, err
        shown += [printed, err]
    for text in shown:
        for secret in secrets:
            assert secret not in text, text[:2000]


@shows(PROXY, "momento.core_dumps")
def test_no_core_file_and_no_look_into_the_process():
    """The kernel gives /proc/PID of a process that may not be dumped to root (proc(5))."""
    me = NOBODY if os.geteuid() == 0 else os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        binary = shutil.copy(os.path.join(BIN, "momento_proxy"), folder)
        for dumps, owner in (("false", 0), ("true", me)):
            flags = ["--local", "-p", "0", *sets((*QUIET, f"momento.core_dumps={dumps}"))]
            running = subprocess.Popen([binary, *flags], stderr=subprocess.PIPE, cwd="/",
                                       user=me if os.geteuid() == 0 else None)
            try:
                while b"memcache on" not in running.stderr.readline():
                    assert running.poll() is None
                assert os.stat(f"/proc/{running.pid}/mem").st_uid == owner, dumps
            finally:
                running.kill()
                running.wait()
                running.stderr.close()


if __name__ == "__main__":
    main(globals())
