"""Command line and files: what is accepted, what is refused and how, and what stays afterwards.

The numbers are those of sysexits.h: 64 usage, 66 no such file, 69 unavailable, 78 configuration.
"""
import os
import re
import socket
import tempfile
import time

from harness import Client, ROOT, eventually, free_port, product
from knobs import (ALL, FRONTS, client_of, complaint, config_file, local, metrics, page, port_of,
                   proxy_to, run, sets, started, wait_workers)
from knobs_cache import V2_KEY

QUIET = ("--set", "admin.port=0", "--set", "admin.http_port=0")


def refused(name, *flags, code, says, env=None):
    """The product ends at once with `code`; its one line holds all of `says`."""
    got, out, err = run(name, *flags, env=env)
    lines = complaint(err)
    if code == 64:  # Usage errors point at --help in a second line.
        assert lines.pop() == f"Try '{name} --help'.", err
    assert got == code and len(lines) == 1 and out == "", (name, flags, got, out, err)
    for part in says:
        assert part in lines[0], (name, flags, part, lines)
    return err


def test_files_that_are_wrong_name_the_line_and_the_key():
    cases = [
        ("momento_proxy", '[server]\nworkrs = 2\n', ":2:", "workrs", '"workers"'),
        ("momento_proxy", '[servr]\nworkers = 2\n', ":1:", "servr", '"server"'),
        ("momento_proxy", '[[cache]]\ncache_name = "c"\n\n[[cache]]\ncachename = "d"\n', ":5:",
         "cachename", '"cache_name"'),
        ("segcache", '[server]\n\nworkers = "two"\n', ":3:", "server.workers", "integer"),
        ("segcache", '[seg]\nheap_size = true\n', ":2:", "seg.heap_size", "size"),
        ("pingserver", '[listen]\nport = 70000\n', ":2:", "listen.port", "65535"),
        ("pingserver", '[log]\nlevel = "loud"\n', ":2:", "log.level", "warning"),
        ("momento_local", '[local]\nttl_max = "0s"\n', ":2:", "local.ttl_max", "1ms"),
        ("momento_proxy", '[[cache]]\nport = 1\n', "cache_name", "required"),
        ("segcache", '[server\n', ":1:"),
    ]
    for name, text, *says in cases:
        with config_file(text) as path:
            refused(name, path, code=78, says=[path, *says])
            refused(name, "--config", path, "--check", code=78, says=says)


def test_configurations_that_cannot_work():
    """By --check and at the start, with the line, the key and the reason."""
    two = "[[cache]]\ncache_name = 'a'\nport = 4000\n[[cache]]\ncache_name = 'b'\n"
    with tempfile.TemporaryDirectory() as folder:
        secret = os.path.join(folder, "no", "key")
        cases = [
            ("momento_proxy", two + "port = 4000\n", ":6:", "cache[1].port",
             "127.0.0.1:4000 is already taken by cache[0].port"),
            ("momento_proxy", two + "port = 4000\nhost = '0.0.0.0'\n", ":6:", "already taken"),
            ("momento_proxy", two + "port = 4001\n[admin]\nport = 4001\n", ":8:", "admin.port",
             "already taken by cache[1].port"),
            ("pingserver", "[admin]\nport = 7\nhttp_port = 7\n", ":3:", "admin.http_port",
             "already taken by admin.port"),
            ("momento_proxy", "[[cache]]\ncache_name = 'a'\nport = 0\nunix_socket = '/tmp/s'\n"
             "[[cache]]\ncache_name = 'b'\nport = 0\nunix_socket = '/tmp/s'\n", ":8:",
             "cache[1].unix_socket", '"/tmp/s" is already taken'),
            ("momento_proxy", "[[cache]]\nport = 0\ncache_name = 'a'\n[[cache]]\nport = 0\n"
             "cache_name = 'a'\n", ":6:", "cache[1].cache_name", "already that of cache[0]"),
            ("momento_proxy", "[[cache]]\ncache_name = 'a'\nnear_size = '1000GB'\n", ":3:",
             "cache[0].near_size", "more than the memory this process may have"),
            ("momento_proxy", "[[cache]]\ncache_name = 'a'\ndeadline = '0s'\n", ":3:",
             "cache[0].deadline", "1ms"),
            ("momento_proxy", f"[[cache]]\ncache_name = 'a'\napi_key_file = '{secret}'\n", ":3:",
             "cache[0].api_key_file", secret, "No such file"),
            ("momento_proxy", f"[momento]\nca_file = '{secret}'\n[[cache]]\ncache_name = 'a'\n",
             ":2:", "momento.ca_file", secret, "No such file"),
        ]
        for name, text, *says in cases:
            with config_file(text) as path:
                refused(name, path, code=78, says=[path, *says])
                refused(name, path, "--check", code=78, says=[path, *says])


def test_check_looks_at_what_a_start_needs_of_the_machine():
    """In the words of the start, and with its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        missing = os.path.join(folder, "users")
        empty = os.path.join(folder, "nobody")
        open(empty, "w").close()
        cache = ("--set", "cache[0].cache_name=a", "--set", "cache[0].port=0",
                 "--set", "momento.api_key=" + V2_KEY, "--set", "momento.endpoint=example.invalid")
        unix_only = ("--set", f"listen.unix_socket={folder}/s", "--set", "listen.tcp=false")
        cases = [
            ("segcache", ["-p", "0", "-Y", missing], 66, "server.auth_file", missing),
            ("segcache", ["-p", "0", "-Y", empty], 78, "server.auth_file", "no user in it"),
            ("segcache", ["-p", str(free_port()), "-l", "127.0.0.1,no-such-host.invalid"], 78,
             "no-such-host.invalid:"),
            ("pingserver", ["-p", "0", "-l", "no-such-host.invalid"], 78, "no-such-host.invalid:0: "),
            ("momento_proxy", [*cache, "-Y", missing], 66, "server.auth_file", missing),
            ("momento_proxy", [*cache, "--set", f"cache[0].auth_file={missing}"], 66,
             "cache.auth_file", missing),
            ("momento_proxy", [*cache, "-l", "no-such-host.invalid"], 78,
             "no-such-host.invalid:0: "),
        ]
        if os.geteuid() == 0:  # Else nobody else is to be become.
            cases += [(name, [*(cache if name == "momento_proxy" else ("-p", "0")),
                              "-u", "nobody-of-that-name"], 78, "server.user",
                       "nobody-of-that-name") for name in FRONTS]
        for name, flags, code, *says in cases:
            at_check = run(name, *QUIET, *flags, "--check")
            assert at_check[0] == code and at_check[1] == "", (name, flags, at_check)
            for part in says:
                assert part in complaint(at_check[2])[0], (name, flags, part, at_check)
            at_start = run(name, *QUIET, *flags)
            assert (at_start[0], complaint(at_start[2])) == (at_check[0], complaint(at_check[2])), (
                name, flags, at_start, at_check)
        # What is not opened is not looked at.
        code, _, err = run("segcache", *QUIET, *unix_only, "-l", "no-such-host.invalid", "--check")
        assert code == 0, err


def test_sigterm_during_the_start_up_check_acts_at_once():
    """Nothing answers, and the check would wait for a minute."""
    with socket.create_server(("127.0.0.1", 0)) as silent, product(
            "momento_proxy", *QUIET, *sets((
                f"momento.endpoint_override=127.0.0.1:{silent.getsockname()[1]}",
                "momento.startup_check=ping", "momento.startup_timeout=60s",
                "momento.connect_timeout=60s", "cache[0].cache_name=c", "cache[0].port=0"))) as proxy:
        proxy.wait_log("configuration: ")
        silent.accept()[0].close()
        begin = time.monotonic()
        assert proxy.stop(seconds=30) == 0
        # Sooner than the check by itself, on however busy a machine.
        assert time.monotonic() - begin < 30
        assert "told to before it was ready" in proxy.log()


def test_switches_that_are_wrong():
    for name in ALL:
        refused(name, "/nowhere/x.toml", code=66, says=["/nowhere/x.toml", "No such file"])
        refused(name, "-p", "70000", code=64, says=["-p", "65535"])
        refused(name, "--no-such-switch", code=64, says=["--no-such-switch"])
        refused(name, "-U", "11211", code=64, says=["-U", "UDP"])
        refused(name, "--set", "log.levle=info", *(["--local"] if name == "momento_proxy" else []),
                code=78, says=["--set", "log.levle", '"level"'])
    refused("momento_proxy", code=64, says=["--config", "--local"])
    refused("segcache", "--local", code=64, says=["--local"])


def test_ports_in_use_are_one_line_and_69():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for name in ALL:
            first = ["--local"] if name == "momento_proxy" else []
            other = free_port()
            refused(name, *first, *QUIET, "-p", port, code=69, says=[port])
            refused(name, *first, "-p", str(other), *sets((f"admin.port={port}",
                    "admin.http_port=0")), code=69, says=["admin.port", port])
            refused(name, *first, "-p", str(other), *sets((f"admin.http_port={port}",
                    "admin.port=0")), code=69, says=["admin.http_port", port])
            with socket.socket() as s:
                assert s.connect_ex(("127.0.0.1", other)) != 0, "something was left listening"


def test_credentials_that_are_missing_or_wrong():
    cache = [*sets(("cache[0].cache_name=c",)), "-p", "0", *QUIET]
    refused("momento_proxy", *cache, code=78, says=["MOMENTO_API_KEY", "MOMENTO_ENDPOINT"])
    refused("momento_proxy", *cache, code=78, says=["MOMENTO_ENDPOINT"],
            env={"MOMENTO_API_KEY": V2_KEY})
    for key in ("not-a-key-at-all", V2_KEY[:-20] + "!!", "YWJjZGVmZ2hpamts"):
        err = refused("momento_proxy", *cache, code=78, says=["malformed"],
                      env={"MOMENTO_API_KEY": key, "MOMENTO_ENDPOINT": "e"})
        assert key not in err and key[:12] not in err
        err = refused("momento_proxy", *cache, *sets((f"momento.api_key={key}",)), code=78,
                      says=["malformed"])
        assert key not in err
    refused("momento_proxy", *cache, *sets((f"momento.api_key={V2_KEY}", "momento.endpoint=e",
            "momento.tls=off")), code=78, says=["momento.tls"])


def test_check_and_print_config_round_trip():
    for name in ALL:
        first = ["--local"] if name == "momento_proxy" else []
        assert run(name, *first, "--check")[0] == 0
        odd = sets(("admin.port=4321", "log.level=warning", "log.queue_lines=77"))
        if name == "momento_proxy":
            odd += sets(("cache[1].cache_name=b", "cache[1].port=77", "cache[1].max_ttl=90m"))
        code, printed, err = run(name, *first, *odd, "--print-config")
        assert code == 0 and "4321" in printed, err
        with config_file(printed) as path:
            code, again, err = run(name, "--config", path, "--print-config")
            assert (code, again) == (0, printed), err


def test_secrets_are_never_printed():
    for knob in ("momento.api_key", "local.token"):
        code, printed, _ = run("momento_proxy", "--local", "--set", f"{knob}={V2_KEY}",
                               "--print-config")
        assert code == 0 and V2_KEY not in printed
        with config_file(printed) as path:  # It must not be mistaken for the secret either.
            refused("momento_proxy", path, code=78, says=[path, knob, "secret"])


def test_a_switch_wins_over_set_over_the_file():
    with config_file("[server]\nworkers = 3\nbacklog = 7\n[log]\nlevel = \"error\"\n") as path:
        flags = [path, "--set", "server.workers=4", "-t", "5", "-v", "-c", "99"]
        _, printed, _ = run("segcache", *flags, "--print-config")
        for line in ("workers = 5", "backlog = 7", 'level = "debug"', "connections_max = 99"):
            assert line in printed.splitlines(), (line, printed)
        _, printed, _ = run("segcache", path, "--set", "server.workers=4", "--print-config")
        assert "workers = 4" in printed.splitlines()


def test_memcacheds_letters():
    for name in FRONTS:
        port = free_port()
        first = ["--local"] if name == "momento_proxy" else []
        memory = ["-m", "32"] if name == "segcache" else []
        with product(name, *first, "-p", str(port), "-l", "127.0.0.2", "-t", "3", "-c", "17", "-v",
                     "-U", "0", *memory) as running:
            assert port_of(running) == port
            wait_workers(running, 3)
            socket.create_connection(("127.0.0.2", port), 5).close()
            if name != "pingserver":
                client = Client(port, host="127.0.0.2")
                client.say(b"stats settings\r\n")
                told = client.hear_until(b"END\r\n")
                assert b"STAT maxconns 17\r\n" in told and b"STAT num_threads 3\r\n" in told, told
                assert not memory or b"STAT maxbytes 33554432\r\n" in told, told
    code, printed, _ = run("momento_local", "-m", "32", "-p", "5", "-l", "::1", "--print-config")
    assert code == 0 and 'heap_size = "32MB"' in printed and 'host = "::1"' in printed, printed


def test_version_and_help():
    for name in ALL:
        code, out, _ = run(name, "--version")
        assert code == 0 and re.fullmatch(name + r" \d+\.\d+\.\d+\n", out), out
        assert run(name, "-V")[1] == out
        code, text, _ = run(name, "--help")
        assert code == 0 and all(flag in text for flag in (
            "--config", "--set", "--check", "--print-config", "--describe-config",
            "--describe-metrics", "-p", "-l", "-t", "-c", "-v")), text
    assert "data stays in this process" in run("momento_proxy", "--help")[1]


def test_described_metrics_are_those_on_the_page():
    users = tempfile.NamedTemporaryFile("w")
    users.write("user:password\n")
    users.flush()
    for name in ALL:
        code, out, err = run(name, "--describe-metrics")
        assert code == 0, err
        described = {line.split("  ")[0]: line.split("  ")[1] for line in out.splitlines()}
        assert all(len(line.split("  ", 2)) == 3 for line in out.splitlines())
        everything_on = ("cache[0].near_size=256KB", "cache[0].no_route=error",
                         "cache[0].route[0].prefix=k", "cache[0].route[0].cache=default-cache"
                         ) if name == "momento_proxy" else ()
        if name in ("momento_proxy", "segcache"):
            everything_on += (f"server.auth_file={users.name}",)
        with started(name, *everything_on) as running:
            shown = set()
            for sample in metrics(running):
                base = re.sub(r',?le="[^"]*"', "", sample).replace("{}", "")
                for suffix in ("_bucket", "_sum", "_count"):
                    family = base.split("{")[0]
                    cut = family.removesuffix(suffix) + base[len(family):]
                    if described.get(cut) == "histogram":
                        base = cut
                shown.add(base)
        extra = shown - set(described)
        assert not extra, (name, extra)
        assert not set(described) - shown, (name, set(described) - shown)


def test_predecessor_file_of_the_repository():
    sample = open(os.path.join(ROOT, "config/samples/predecessor.toml")).read()
    first, second = free_port(), free_port()
    text = (sample.replace('"11211"', f'"{first}"').replace('"11212"', f'"{second}"')
            .replace('log_file = "momento_proxy.log"\n', "")
            .replace("momento_proxy.cmd", f"/tmp/predecessor.{first}.cmd")
            .replace("sample = 100", "sample = 1"))
    with local() as backend, config_file(text) as path, \
            product("momento_proxy", path, "-v", *sets((
                f"momento.endpoint_override=127.0.0.1:{port_of(backend)}",))) as proxy:
        proxy.wait_log(f"memcache on 127.0.0.1:{second} for cache pages")
        wait_workers(proxy, 2)
        sessions, pages = Client(first), Client(second)
        assert sessions.set(b"k", b"v", flags=7) == b"STORED"
        assert pages.set(b"k", b"v", flags=7) == b"STORED"
        assert sessions.get(b"k") == (7, b"v") and pages.get(b"k") == (0, b"v")
        pages.say(b"stats near\r\n")
        near = pages.hear_until(b"END\r\n")
        assert b"near_size 1048576" in near and b"near_hits 1" in near, near
        assert sessions.ask(b"stats near") == b"END"
        commands = f"/tmp/predecessor.{first}.cmd"
        eventually(lambda: '"get k" 4 1' in open(commands).read(), what="the command log")
        assert '"set k 7 0 1" 5 8' in open(commands).read()
        os.unlink(commands)


def test_predecessor_file_keeps_its_meaning():
    port = free_port()
    text = f"""[admin]
host = "127.0.0.1"
port = "{free_port()}"
[[cache]]
host = "127.0.0.1"
port = "{port}"
cache_name = "old"
default_ttl = 1
connection_count = 3
flags = true
[proxy]
threads = 1
[debug]
log_level = "info"
"""
    with local() as backend, config_file(text) as path:
        override = f"momento.endpoint_override=127.0.0.1:{port_of(backend)}"
        with product("momento_proxy", path, *sets((override,))) as proxy, \
                proxy_to(port_of(backend), "cache[0].cache_name=old",
                         "cache[0].envelope=raw") as witness:
            assert port_of(proxy) == port
            client = Client(port)
            assert client.set(b"k", b"v", flags=0x01020304, exptime=100) == b"STORED"
            assert client_of(witness).get(b"k") == (0, b"\x01\x02\x03\x04v")
            assert metrics(proxy)["proxy_momento_connections"] == 3
            assert client.set(b"short", b"v") == b"STORED"
            assert client.get(b"short") == (0, b"v")
            time.sleep(1.2)
            assert client.get(b"short") is None, "default_ttl counts in seconds"
        code, printed, err = run("momento_proxy", path, "--print-config")
        assert code == 0 and 'envelope = "flags4"' in printed and "connections = 3" in printed, err
