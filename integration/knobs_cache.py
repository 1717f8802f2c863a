"""momento.* and cache[].*: how the proxy reaches its service, and what each cache promises."""
import base64
import json
import os
import re
import signal
import ssl
import subprocess
import tempfile
import time

from fake_service import UNIMPLEMENTED, FakeService, field
from harness import eventually, product
from knobs import (client_of, config_file, local, page, pause, port_of, proxy_to, ready, run, sets,
                   shows, total)

PROXY = ["momento_proxy"]


def jwt(**claims):
    def part(thing):
        return base64.urlsafe_b64encode(json.dumps(thing).encode()).decode().rstrip("=")
    return f"{part({'alg': 'none'})}.{part(claims)}.c2lnbmF0dXJl"


V2_KEY = jwt(t="g", jti="x")


def calls(server, rpc):
    """Calls of one name that momento_local answered."""
    return total(server, "cache_local_calls_total", f'rpc="{rpc}"')


def failed(line):
    return line.startswith(b"SERVER_ERROR ")


# --- momento.*


@shows(PROXY, "momento.endpoint_override", "cache[].cache_name")
def test_requests_go_where_the_override_says_under_the_caches_name():
    with FakeService() as fake, proxy_to(fake.port, "cache[0].cache_name=sessions") as proxy:
        assert failed(client_of(proxy).set(b"k", b"v"))
        assert {call.headers["cache"] for call in fake.calls} == {"sessions"}


@shows(PROXY, "momento.api_key")
def test_api_key_is_the_authorization_and_wins_over_the_environment():
    def sent(*settings, env=None):
        with FakeService() as fake, proxy_to(fake.port, *settings, env=env) as proxy:
            assert failed(client_of(proxy).set(b"k", b"v"))
            assert V2_KEY not in proxy.log()
            return fake.calls[0].headers.get("authorization")

    environment = {"MOMENTO_API_KEY": "other"}
    assert sent(f"momento.api_key={V2_KEY}", env=environment) == V2_KEY
    assert sent(env=environment) == "other"
    inner = base64.b64encode(json.dumps({"endpoint": "e", "api_key": "inner"}).encode()).decode()
    assert sent(f"momento.api_key={inner}") == "inner"


@shows(PROXY, "momento.endpoint")
def test_endpoint_names_the_service():
    # Nothing is asked of a name server: "localhost" below it is this machine by definition, and
    # nothing listens on its port 443.
    with product("momento_proxy", "-p", "0", "-t", "1", *sets((
            f"momento.api_key={V2_KEY}", "momento.endpoint=cell-1.localhost",
            "cache[0].cache_name=c"))) as proxy:
        proxy.wait_log(r"momento: cache\.cell-1\.localhost[^\n]*trying again")
        assert page(proxy, "/readyz")[0] == 503
    code, _, err = run("momento_proxy", "-p", "0", *sets((
        f"momento.api_key={V2_KEY}", "cache[0].cache_name=c", "admin.port=0",
        "admin.http_port=0")))
    assert code == 78 and "MOMENTO_ENDPOINT" in err and V2_KEY not in err, err


def certificate(folder):
    """A key and a certificate of its own making for localhost: (certificate, server context)."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key,
                    "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    return cert, context


@shows(PROXY, "momento.tls", "momento.ca_file")
def test_tls_to_a_service_whose_authority_is_trusted():
    with tempfile.TemporaryDirectory() as folder:
        cert, context = certificate(folder)
        with FakeService(tls=context) as fake:
            names = []
            context.sni_callback = lambda sock, name, ctx: names.append(name)
            place = f"momento.endpoint_override=localhost:{fake.port}"
            with proxy_to(fake.port, place, "momento.tls=on", f"momento.ca_file={cert}") as proxy:
                proxy.wait_log("momento: connected to localhost")
                assert failed(client_of(proxy).set(b"k", b"v"))
                assert len(fake.heard("SetIf") + fake.heard("Set") + fake.heard("SetIfHash")) >= 1
                assert names[0] == "localhost"
            seen = len(fake.calls)
            for settings in (("momento.tls=on",), ("momento.tls=off",), ()):
                with proxy_to(fake.port, place, *settings) as proxy:
                    assert failed(client_of(proxy).set(b"k", b"v")), settings
                    assert page(proxy, "/readyz")[0] == 503
            assert len(fake.calls) == seen, "a request went out over a connection not to be trusted"


@shows(PROXY, "momento.connect_timeout")
def test_connect_timeout_gives_up_and_tries_again():
    for timeout, gives_up in (("100ms", True), ("1m", False)):
        with FakeService(silent=True) as fake, \
                proxy_to(fake.port, f"momento.connect_timeout={timeout}",
                         "cache[0].connections=1") as proxy:
            ready(proxy)
            if gives_up:
                eventually(lambda: total(proxy, "proxy_momento_connect_failed_total") >= 2,
                           what="a second attempt")
                assert fake.connections >= 2
            else:
                time.sleep(0.5)
                assert total(proxy, "proxy_momento_connect_failed_total") == 0
                assert fake.connections == 1


@shows(PROXY, "momento.keepalive_interval", "momento.keepalive_timeout")
def test_keepalive_pings_and_replaces_what_does_not_answer():
    def pinged(*settings, mute=False, seconds=0.8):
        with FakeService() as fake, proxy_to(fake.port, "cache[0].connections=1",
                                             *settings) as proxy:
            proxy.wait_log("momento: connected")
            fake.mute = mute
            time.sleep(seconds)
            return len(fake.ping_times), total(proxy, "proxy_momento_connection_lost_total")

    often, lost = pinged("momento.keepalive_interval=100ms")
    assert often >= 3 and lost == 0, (often, lost)
    seldom, _ = pinged("momento.keepalive_interval=1h")
    assert seldom <= 1, seldom
    _, lost = pinged("momento.keepalive_interval=100ms", "momento.keepalive_timeout=100ms",
                     mute=True, seconds=1.2)
    assert lost >= 1
    _, lost = pinged("momento.keepalive_interval=100ms", "momento.keepalive_timeout=1m", mute=True)
    assert lost == 0


@shows(PROXY, "momento.resolve_interval")
def test_names_are_looked_up_again():
    for interval, often in (("100ms", True), ("1h", False)):
        with FakeService() as fake, proxy_to(
                fake.port, f"momento.endpoint_override=localhost:{fake.port}",
                f"momento.resolve_interval={interval}") as proxy:
            proxy.wait_log("momento: connected")
            if often:
                eventually(lambda: total(proxy, "proxy_momento_resolve_total") >= 3, what="look-ups")
            else:
                time.sleep(0.5)
                assert total(proxy, "proxy_momento_resolve_total") == 0


# --- cache[].*


@shows(PROXY, "cache[].default_ttl", "cache[].max_ttl")
def test_lives_of_items():
    with local() as backend:
        port = port_of(backend)
        with proxy_to(port, "cache[0].default_ttl=500ms", "cache[0].max_ttl=2s") as proxy:
            client = client_of(proxy)
            assert client.set(b"default", b"v") == b"STORED"
            assert total(proxy, "proxy_ttl_clamped_total") == 0
            assert client.set(b"clamped", b"v", exptime=3600) == b"STORED"
            assert total(proxy, "proxy_ttl_clamped_total") == 1
            assert client.get(b"clamped") == (0, b"v")
            eventually(lambda: client.get(b"default") is None, 3, "the end of default_ttl")
            eventually(lambda: client.get(b"clamped") is None, 5, "the end of max_ttl")
        with proxy_to(port) as proxy:
            client = client_of(proxy)
            client.set(b"default", b"v")
            client.set(b"long", b"v", exptime=3600)
            time.sleep(2.2)
            assert client.get(b"default") and client.get(b"long")
            assert total(proxy, "proxy_ttl_clamped_total") == 0


@shows(PROXY, "cache[].connections")
def test_connections_are_as_many_as_told():
    for count in (1, 5):
        with FakeService() as fake, proxy_to(fake.port, f"cache[0].connections={count}") as proxy:
            eventually(lambda: total(proxy, "proxy_momento_connections") == count,
                       what="connections")
            time.sleep(0.1)
            assert fake.open == count


@shows(PROXY, "cache[].envelope")
def test_envelope_forms_as_stored():
    with local() as backend:
        port = port_of(backend)
        with proxy_to(port, "cache[0].envelope=raw") as raw:
            witness = client_of(raw)
            stored = {}
            for form in ("transparent", "flags4", "raw", "nonce"):
                with proxy_to(port, f"cache[0].envelope={form}") as proxy:
                    client = client_of(proxy)
                    assert client.set(b"k", b"value", flags=258) == b"STORED"
                    stored[form] = witness.get(b"k")[1]
                    assert client.get(b"k") == (0 if form == "raw" else 258, b"value")
                    assert client.set(b"k", b"value") == b"STORED"
                    stored[form, 0] = witness.get(b"k")[1]
                    assert client.get(b"k") == (0, b"value")
    assert stored["raw"] == stored["raw", 0] == stored["transparent", 0] == b"value"
    assert stored["flags4"] == b"\0\0\x01\x02value"
    assert stored["flags4", 0] == b"\0\0\0\0value"
    assert stored["transparent"] == b"\xf5MP\x01\0\0\x01\x02value"
    assert re.fullmatch(rb"\xf5MP\x02.{8}\0\0\x01\x02value", stored["nonce"], re.S)
    assert re.fullmatch(rb"\xf5MP\x02.{8}\0\0\0\0value", stored["nonce", 0], re.S)


@shows(PROXY, "cache[].reads")
def test_reads_ask_for_the_read_concern():
    for reads in ("balanced", "consistent"):
        with FakeService() as fake, proxy_to(fake.port, f"cache[0].reads={reads}") as proxy:
            client_of(proxy).get(b"k")
            concern = fake.heard("Get")[0].headers.get("read-concern")
            assert concern == "consistent" if reads == "consistent" else concern in (
                None, "balanced"), (reads, concern)


@shows(PROXY, "cache[].writes")
def test_writes_exact_or_plain():
    for writes, plain in (("exact", False), ("plain", True)):
        with local() as backend, proxy_to(port_of(backend), f"cache[0].writes={writes}") as proxy:
            assert client_of(proxy).set(b"k", b"v") == b"STORED"
            conditional = calls(backend, "set-if") + calls(backend, "set-if-hash")
            assert (calls(backend, "set"), conditional) == ((1, 0) if plain else (0, 1)), writes


@shows(PROXY, "cache[].get_error")
def test_get_error_is_a_miss_or_an_error():
    for answer in ("miss", "error"):
        with FakeService() as fake, proxy_to(fake.port, f"cache[0].get_error={answer}") as proxy:
            line = client_of(proxy).ask(b"get k")
            assert failed(line) if answer == "error" else line == b"END", (answer, line)


@shows(PROXY, "cache[].delete")
def test_delete_exact_or_fast():
    for form, of_nothing in (("exact", b"NOT_FOUND"), ("fast", b"DELETED")):
        with local() as backend, proxy_to(port_of(backend), f"cache[0].delete={form}") as proxy:
            client = client_of(proxy)
            client.set(b"k", b"v")
            assert client.ask(b"delete k") == b"DELETED"
            assert client.get(b"k") is None
            assert client.ask(b"delete nothing") == of_nothing


@shows(PROXY, "cache[].flush_all")
def test_flush_all_only_when_let():
    for let in (True, False):
        with local() as backend, \
                proxy_to(port_of(backend), f"cache[0].flush_all={str(let).lower()}") as proxy:
            client = client_of(proxy)
            client.set(b"k", b"v")
            line = client.ask(b"flush_all")
            assert (line == b"OK") == let, line
            assert (client.get(b"k") is None) == let
            assert calls(backend, "flush-cache") == let


@shows(PROXY, "cache[].auth_file")
def test_a_cache_may_have_users_of_its_own():
    with local() as backend, tempfile.NamedTemporaryFile("w") as all_, \
            tempfile.NamedTemporaryFile("w") as own:
        for file, text in ((all_, "user:pass\n"), (own, "its:own\n")):
            file.write(text)
            file.flush()
        for cache, word in (("", b"user pass"), (own.name, b"its own")):
            with proxy_to(port_of(backend), f"server.auth_file={all_.name}",
                          f"cache[0].auth_file={cache}") as proxy:
                for one in (b"user pass", b"its own"):
                    said = client_of(proxy).set(b"any", one)
                    assert (said == b"STORED") == (one == word), (cache, one, said)


@shows(PROXY, "cache[].deadline")
def test_deadline_bounds_a_command():
    with local("local.fault_delay=1500ms", "local.fault_delay_percent=100") as backend:
        for deadline, stored in (("200ms", False), ("10s", True)):
            with proxy_to(port_of(backend), f"cache[0].deadline={deadline}") as proxy:
                client = client_of(proxy)
                began = time.monotonic()
                assert (client.set(b"k", b"v") == b"STORED") == stored
                assert stored or 0.15 < time.monotonic() - began < 1.5


@shows(PROXY, "cache[].read_deadline", "cache[].write_deadline", "cache[].update_deadline",
       "cache[].control_deadline")
def test_kinds_of_calls_have_deadlines_of_their_own():
    commands = {"read": b"get k", "write": b"touch k 9", "update": b"replace k 0 60 1\r\nv",
                "control": b"flush_all"}
    with local("local.fault_delay=700ms", "local.fault_delay_percent=100") as backend:
        with proxy_to(port_of(backend), "cache[0].deadline=30s") as proxy:
            client_of(proxy, timeout=40).ask(b"get k")  # Makes the cache; flush_all does not.
        for short in commands:
            with proxy_to(port_of(backend), "cache[0].deadline=30s", "cache[0].get_error=error",
                          "cache[0].flush_all=true", f"cache[0].{short}_deadline=100ms") as proxy:
                clients = {kind: client_of(proxy, timeout=40) for kind in commands}
                for kind, client in clients.items():
                    client.say(commands[kind] + b"\r\n")
                lines = {kind: client.hear_line() for kind, client in clients.items()}
                assert {kind for kind, line in lines.items() if failed(line)} == {short}, lines


def failing_first(count, status=14):
    """A service whose first calls fail and whose others are a hit, or stored."""
    left = [count]

    def answer(call):
        if left[0] > 0:
            left[0] -= 1
            return status
        if call.path.endswith("/Get"):
            return b"\x08\x02" + field(2, b"v")
        return b"\x08\x01"
    return answer


@shows(PROXY, "cache[].retry_attempts", "cache[].retry_budget_percent")
def test_reads_that_fail_are_tried_again_as_often_as_told():
    for failures, settings, answered in (
            (2, (), True), (3, (), False), (3, ("cache[0].retry_attempts=3",), True),
            (1, ("cache[0].retry_attempts=0",), False),
            (1, ("cache[0].retry_budget_percent=0",), False)):
        with FakeService(failing_first(failures)) as fake, \
                proxy_to(fake.port, "cache[0].deadline=30s", *settings) as proxy:
            assert (client_of(proxy).get(b"k") == (0, b"v")) == answered, (failures, settings)


@shows(PROXY, "cache[].retry_backoff")
def test_retries_come_after_a_pause():
    def retried_within(pause):
        with FakeService(failing_first(20)) as fake, \
                proxy_to(fake.port, "cache[0].deadline=2s", "cache[0].retry_attempts=10",
                         "cache[0].batch=off", f"cache[0].retry_backoff={pause}") as proxy:
            client = client_of(proxy)
            client.say(b"".join(b"get k%d\r\n" % i for i in range(20)))
            return sum(client.hear_until(b"END\r\n").startswith(b"VALUE") for _ in range(20))
    # A pause that does not fit into the deadline is not begun: 2 s of a minute is one in thirty.
    assert retried_within("1ms") == 20
    assert retried_within("1m") < 10


@shows(PROXY, "cache[].retry_writes")
def test_writes_are_tried_again_if_told():
    for told in (False, True):
        with FakeService(failing_first(1)) as fake, \
                proxy_to(fake.port, "cache[0].writes=plain", "cache[0].deadline=30s",
                         f"cache[0].retry_writes={str(told).lower()}") as proxy:
            assert (client_of(proxy).set(b"k", b"v") == b"STORED") == told


@shows(PROXY, "cache[].hedge_percentile", "cache[].hedge_after", "cache[].hedge_budget_percent")
def test_slow_reads_are_hedged_when_told():
    def hedged(*settings, slow=150, rounds=1, seconds=0.3):
        """Second questions for `slow` gets at once that the service is slow to answer, each round."""
        quick = [True]

        def answer(call):
            if not quick[0]:
                time.sleep(seconds)
                quick[0] = True  # Only the first of them: the rest wait behind it.
            return b"\x08\x02" + field(2, b"v")
        with FakeService(answer) as fake, \
                proxy_to(fake.port, "cache[0].deadline=30s", "cache[0].batch=off",
                         "cache[0].connections=4", *settings) as proxy:
            client = client_of(proxy, timeout=40)
            eventually(lambda: total(proxy, "proxy_momento_connections") == 4, what="connections")

            def ask(count):
                client.say(b"".join(b"get k%d\r\n" % i for i in range(count)))
                for _ in range(count):
                    assert client.hear_until(b"END\r\n").startswith(b"VALUE")
            for _ in range(12):
                ask(50)
            before = total(proxy, "proxy_momento_hedge_sent_total")
            for _ in range(rounds):
                quick[0] = False
                ask(slow)
            return total(proxy, "proxy_momento_hedge_sent_total") - before

    assert hedged(slow=1) == 0
    assert hedged("cache[0].hedge_percentile=50", "cache[0].hedge_after=20ms", slow=1) == 1
    assert hedged("cache[0].hedge_percentile=50", "cache[0].hedge_after=20s", slow=1) == 0
    on = ("cache[0].hedge_percentile=50", "cache[0].hedge_after=20ms")
    # A full budget is a hundred; then come 1 or 100 of a hundred gets.
    few = hedged(*on, "cache[0].hedge_budget_percent=1", rounds=2)
    assert few <= 110, few
    many = hedged(*on, "cache[0].hedge_budget_percent=100", rounds=2)
    assert many > 110, many


def racing(call):
    """A counter that somebody else always changes between the read and the write."""
    if call.path.endswith("/GetWithHash"):
        return field(1, field(1, b"1") + field(2, b"h" * 16))
    if call.path.endswith("/SetIfHash"):
        return field(2, b"")
    if call.path.endswith("/ItemGetTtl"):
        return field(1, b"\x08\x90\x4e")  # 10,000 ms.
    return UNIMPLEMENTED


@shows(PROXY, "cache[].update_attempts")
def test_update_attempts_bound_the_loop():
    for attempts in (1, 7):
        with FakeService(racing) as fake, \
                proxy_to(fake.port, f"cache[0].update_attempts={attempts}") as proxy:
            assert failed(client_of(proxy).ask(b"incr n 1"))
            assert len(fake.heard("SetIfHash")) == attempts
            assert total(proxy, "proxy_update_exhausted_total") == 1


@shows(PROXY, "cache[].batch", "cache[].batch_keys_max")
def test_batches():
    def sent(*settings, clients=1, command=b"get a b c d e f g h i j\r\n"):
        with local() as backend, proxy_to(port_of(backend), "cache[0].coalesce=false",
                                          *settings) as proxy:
            # Stopped while the commands arrive, so that one turn finds them all.
            connected = [client_of(proxy) for _ in range(clients)]
            for client in connected:
                assert client.ask(b"version").startswith(b"VERSION")
            pause(proxy)
            for client in connected:
                client.say(command)
            proxy.process.send_signal(signal.SIGCONT)
            for client in connected:
                assert client.hear_line() == b"END"
            return calls(backend, "get"), calls(backend, "get-batch")

    assert sent("cache[0].batch=off") == (10, 0)
    assert sent("cache[0].batch=connection") == (0, 1)
    assert sent("cache[0].batch=worker") == (0, 1)
    assert sent("cache[0].batch=worker", "cache[0].batch_keys_max=4") == (0, 3)
    assert sent("cache[0].batch=worker", clients=2) == (0, 1)
    assert sent("cache[0].batch=connection", clients=2) == (0, 2)


def test_sets_share_calls_as_gets_do():
    def sent(*settings):
        with local() as backend, proxy_to(port_of(backend), "cache[0].writes=plain",
                                          *settings) as proxy:
            client = client_of(proxy)
            client.say(b"".join(b"set k%d 0 0 1\r\nv\r\n" % i for i in range(10)))
            for _ in range(10):
                assert client.hear_line() == b"STORED"
            return calls(backend, "set"), calls(backend, "set-batch")

    assert sent("cache[0].batch=off") == (10, 0)
    assert sent("cache[0].batch=worker") == (0, 1)
    assert sent("cache[0].batch=connection", "cache[0].batch_keys_max=4") == (0, 3)


@shows(PROXY, "cache[].coalesce")
def test_coalesce_makes_one_call_of_gets_of_one_key():
    for coalesce, made in (("true", 1), ("false", 5)):
        with local() as backend, proxy_to(port_of(backend), f"cache[0].coalesce={coalesce}",
                                          "cache[0].batch=off") as proxy:
            client = client_of(proxy)
            client.say(b"get k\r\n" * 5)
            for _ in range(5):
                assert client.hear_line() == b"END"
            assert calls(backend, "get") == made, coalesce


def reading(backend, client, key, wanted):
    """Backend calls of one get."""
    before = calls(backend, "get")
    assert client.get(key) == wanted, wanted
    return calls(backend, "get") - before


@shows(PROXY, "cache[].near_size", "cache[].near_staleness", "cache[].near_value_max")
def test_near_cache_answers_for_its_staleness():
    with local() as backend:
        port = port_of(backend)
        for near, asks in (("near_size=0", True), ("near_size=256KB", False)):
            with proxy_to(port, f"cache[0].{near}", "cache[0].near_staleness=1h",
                          "cache[0].near_value_max=10") as proxy:
                client = client_of(proxy)
                client.set(b"k", b"v" * 10)
                client.set(b"long", b"v" * 11)
                assert reading(backend, client, b"k", (0, b"v" * 10)) == asks
                assert reading(backend, client, b"long", (0, b"v" * 11)) == 1
        with proxy_to(port, "cache[0].near_size=256KB", "cache[0].near_staleness=300ms") as proxy:
            client = client_of(proxy)
            client.set(b"k", b"v")
            eventually(lambda: reading(backend, client, b"k", (0, b"v")) == 1, 5,
                       "the end of the staleness")
        # Room for so many copies and no more.
        with proxy_to(port, "cache[0].near_size=256KB", "cache[0].near_staleness=1h") as proxy:
            client = client_of(proxy)
            for i in range(100):
                client.set(b"key%d" % i, b"v" * 10_000)
            assert total(proxy, "proxy_near_item_bytes") <= 256 * 1024


@shows(PROXY, "cache[].near_negative")
def test_near_negative_keeps_misses():
    for negative, asks in (("0s", 1), ("1h", 0)):
        with local() as backend, proxy_to(port_of(backend), "cache[0].near_size=256KB",
                                          f"cache[0].near_negative={negative}") as proxy:
            client = client_of(proxy)
            assert client.get(b"k") is None
            assert reading(backend, client, b"k", None) == asks
            client.set(b"k", b"v")
            assert client.get(b"k") == (0, b"v")


@shows(PROXY, "cache[].near_stale")
def test_near_stale_answers_while_the_service_is_gone():
    for stale, answer in (("0s", None), ("1h", (0, b"v"))):
        with local() as backend, proxy_to(port_of(backend), "cache[0].near_size=256KB",
                                          "cache[0].near_staleness=1ms",
                                          f"cache[0].near_stale={stale}") as proxy:
            client = client_of(proxy)
            client.set(b"k", b"v")
            backend.process.kill()
            backend.process.wait()
            assert client.get(b"k") == answer
            assert total(proxy, "proxy_near_stale_total") == (answer is not None)


def test_near_cache_that_cannot_work_is_refused():
    for size, said in (("100KB", "less than 256KB"), ("1TB", "memory this process may have")):
        with config_file("[momento]\napi_key = \"x\"\n[[cache]]\nport = 0\ncache_name = \"c\"\n"
                         f"near_size = \"{size}\"\n") as path:
            code, _, err = run("momento_proxy", "--check", path)
            assert code == 78 and f"{path}:6: cache[0].near_size:" in err and said in err, err
