#!/usr/bin/env python3
"""What momento_proxy does so that a client does not notice: failed calls sent again, slow ones asked
twice, connections and addresses that are replaced. momento_local with faults behind it, or a scripted
service where momento_local keeps its promises too well."""
import os
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_service import FakeService, field  # noqa: E402
from harness import eventually, main  # noqa: E402
from knobs import client_of, local, port_of, proxy_to, total  # noqa: E402

HIT = b"\x08\x02" + field(2, b"v")
UNAVAILABLE, INTERNAL = 14, 13
# A busy machine is not what is tested; a call a key, so that calls can be counted.
CALM = ("cache[0].breaker=false", "cache[0].deadline=30s", "cache[0].get_error=error", "cache[0].batch=off",
        "cache[0].coalesce=false", "cache[0].retry_backoff=1ms")


def get_all(client, keys):
    """The answers to a get of each key, pipelined: True, False for a miss, or the error line."""
    client.say(b"".join(b"get %s\r\n" % key for key in keys))
    answers = []
    for key in keys:
        line = client.hear_line()
        if line.startswith(b"VALUE "):
            assert line.split()[1] == key, (line, key)
            client.hear_line()
            assert client.hear_line() == b"END"
            answers.append(True)
        else:
            answers.append(False if line == b"END" else line)
    return answers


def test_the_first_failures_are_not_noticed():
    for status in (UNAVAILABLE, INTERNAL):
        left = [2]

        def answer(_):
            if left[0] > 0:
                left[0] -= 1
                return status
            return HIT
        with FakeService(answer) as fake, proxy_to(fake.port, *CALM) as proxy:
            assert get_all(client_of(proxy), [b"k"]) == [True]
            assert len(fake.heard("Get")) == 3
            assert total(proxy, "proxy_momento_retry_sent_total") == 2
            assert total(proxy, "proxy_momento_retry_succeeded_total") == 1
            assert total(proxy, "proxy_rpc_error_total") == 0


def test_a_service_that_fails_now_and_then_is_not_noticed():
    with local("local.fault_error_percent=5") as backend, \
            proxy_to(port_of(backend), *CALM, "cache[0].retry_attempts=8",
                     "cache[0].retry_budget_percent=100") as proxy:
        client = client_of(proxy, timeout=60)
        for batch in range(20):
            answers = get_all(client, [b"k%d-%d" % (batch, i) for i in range(100)])
            assert answers == [False] * 100, set(answers)
        assert total(backend, "cache_local_fault_total", 'kind="error"') >= 50


def test_the_budget_bounds_the_extra_load_of_an_outage():
    with local("local.fault_error_percent=100") as backend, \
            proxy_to(port_of(backend), *CALM) as proxy:
        client = client_of(proxy, timeout=60)
        for batch in range(20):
            answers = get_all(client, [b"k%d-%d" % (batch, i) for i in range(100)])
            assert all(isinstance(one, bytes) for one in answers), answers
        arrived = total(backend, "cache_local_fault_total", 'kind="error"')
        sent = total(proxy, "proxy_momento_retry_sent_total")
        assert arrived == 2000 + sent, (arrived, sent)
        assert 100 <= sent <= 2000 * 0.1 + 100, sent
        assert total(proxy, "proxy_momento_retry_refused_total") > 0


def test_writes_are_carried_out_once():
    with local("local.fault_error_percent=100") as backend, \
            proxy_to(port_of(backend), *CALM) as proxy:
        client = client_of(proxy)
        assert client.set(b"k", b"v").startswith(b"SERVER_ERROR ")
        client.say(b"add k 0 60 1\r\nv\r\n")
        assert client.hear_line().startswith(b"SERVER_ERROR ")
        assert client.ask(b"touch k 9").startswith(b"SERVER_ERROR ")
        assert total(backend, "cache_local_fault_total", 'kind="error"') == 3
        assert total(proxy, "proxy_momento_retry_sent_total") == 0


def test_a_slow_connection_is_overtaken():
    slow, finished, stop = set(), [], threading.Event()

    def answer(call):
        me = threading.get_ident()  # Each connection has a thread.
        if learning.is_set():
            return HIT
        if not slow:
            slow.add(me)
        if me in slow:
            stop.wait(60)
            finished.append(call)
        return HIT
    learning = threading.Event()
    learning.set()
    with FakeService(answer) as fake, \
            proxy_to(fake.port, *CALM, "cache[0].connections=2",
                     "cache[0].hedge_percentile=90") as proxy:
        client = client_of(proxy, timeout=50)
        eventually(lambda: total(proxy, "proxy_momento_connections") == 2, what="connections")
        for _ in range(8):
            assert all(get_all(client, [b"k%d" % i for i in range(100)]))
        learning.clear()
        for i in range(10):
            assert get_all(client, [b"s%d" % i]) == [True]
        assert not finished, "an answer of the slow connection was waited for"
        assert total(proxy, "proxy_momento_hedge_won_total") >= 1
        assert total(proxy, "proxy_momento_hedge_sent_total") <= 8 + 10 + 100
        stop.set()


def test_connections_follow_the_name_of_the_service():
    """libnss-wrapper stands between the proxy and the name service and reads a file anew when it
    changes."""
    def answer(call):
        return HIT
    with tempfile.TemporaryDirectory() as folder, FakeService(answer) as old, \
            FakeService(answer, address="127.0.0.2", port=old.port) as new:
        hosts = os.path.join(folder, "hosts")

        def lead_to(address):
            with open(hosts + ".new", "w") as file:
                file.write(f"{address} service.test\n")
            os.replace(hosts + ".new", hosts)
        lead_to("127.0.0.1")
        with proxy_to(old.port, f"momento.endpoint_override=service.test:{old.port}", *CALM,
                      "cache[0].retry_attempts=0", "momento.resolve_interval=100ms",
                      env={"LD_PRELOAD": "libnss_wrapper.so", "NSS_WRAPPER_HOSTS": hosts}) as proxy:
            client = client_of(proxy)
            assert get_all(client, [b"k"]) == [True]
            # The first answers before the others are open.
            eventually(lambda: (old.open, new.open) == (4, 0), 5, "four connections")
            time.sleep(1.1)  # It compares modification times in seconds.
            lead_to("127.0.0.2")

            def moved():
                assert get_all(client, [b"k%d" % i for i in range(20)]) == [True] * 20
                return (old.open, new.open) == (0, 4)
            eventually(moved, 20, "connections to the new address")
            assert total(proxy, "proxy_momento_address_moved_total") == 4
            assert len(new.calls) > 0


if __name__ == "__main__":
    main(globals())
