"""trace_gen and trace_replay: against a server, through the engine, and on odd input:
trace_test.py [BIN_DIR]"""
import os
import re
import subprocess
import tempfile

from harness import BIN, Client, main, product

MB = 1 << 20


def run(name, *flags, stdin=None, code=0):
    done = subprocess.run([os.path.join(BIN, name), *flags], input=stdin, capture_output=True,
                          timeout=120)
    assert done.returncode == code, (name, flags, done.returncode, done.stderr.decode())
    return done.stdout


def port_of(server):
    return int(server.wait_log(r"memcache on [\d.]+:(\d+)").group(1))


def numbers(text):
    return {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", text.decode())}


def trace(*flags, requests=100000):
    return run("trace_gen", "--preset", "lasting", "--keys", "20000", "--requests", str(requests),
               *flags)


def segcache(heap):
    return product("segcache", "--set", "listen.port=0", "--set", f"seg.heap_size={heap}B",
                   "--set", "server.workers=1")


def test_live_and_engine_agree():
    made = trace("--seed", "5", "--set-share", "0.1")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.csv")
        with open(path, "wb") as f:
            f.write(made)
        # A third of the keys' bytes, index and all; the server is given the same heap.
        run("trace_replay", path, "--engine", "--memory", "2MB", "--baselines", "clock",
            "--csv", path + ".out", "--svg", path + ".svg")
        rows = {line.split(",")[1]: line.split(",") for line in open(path + ".out")}
        engine = float(rows["segcache s3fifo"][6])
        floor = float(rows["infinite"][6])
        assert floor < engine < 1, rows
        assert "</svg>" in open(path + ".svg").read()
        heap = int(1.85 * MB)
        with segcache(heap) as server:
            live = numbers(run("trace_replay", path, "--port", str(port_of(server))))
            assert live["requests"] == 100000, live
            assert live["gets"] == float(rows["segcache s3fifo"][4]), live
            assert live["sets_refused"] == 0, live
            assert live["server_rss_kb"] > 1000, live
            # Other shards, another hash seed and a slightly other heap; not another cache.
            assert abs(live["miss_ratio"] - engine) < 0.02, (live, engine)


def test_what_was_asked_is_what_the_server_counts():
    made = trace("--seed", "6", "--delete-share", "0.1", requests=20000)
    with segcache(64 * MB) as server:
        port = port_of(server)
        live = numbers(run("trace_replay", "-", "--port", str(port), "--connections", "3",
                           "--depth", "50", stdin=made))
        client = Client(port)
        client.say(b"stats\r\n")
        stats = dict(re.findall(rb"STAT (\S+) (\S+)", client.hear_until(b"END\r\n")))
        assert int(stats[b"get_misses"]) == live["misses"], (stats, live)
        assert int(stats[b"get_hits"]) == live["hits"], (stats, live)
        assert int(stats[b"cmd_set"]) == live["sets"], (stats, live)


def test_a_pace_is_kept():
    lines = b"".join(b"%d,k%d,8,10,0,get,0\n" % (i // 10, i) for i in range(50))
    with segcache(4 * MB) as server:
        live = numbers(run("trace_replay", "-", "--port", str(port_of(server)), "--time-scale", "10",
                           stdin=lines))
        # The last of them is due in the fifth second of ten in one.
        assert live["seconds"] >= 0.4, live
        assert live["misses"] == 50, live


def test_a_command_log_is_a_trace():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "klog")
        with product("segcache", "--set", "listen.port=0", "--set", f"klog.file={path}",
                     "--set", "klog.sample=1") as server:
            client = Client(port_of(server))
            for i in range(10):
                assert client.set(b"key%d" % i, b"v" * i) == b"STORED"
                assert client.get(b"key%d" % i) is not None
            assert client.get(b"no") is None
            server.stop()
        with segcache(4 * MB) as server:
            live = numbers(run("trace_replay", path, "--port", str(port_of(server))))
        assert live["requests"] == 21, live
        assert (live["hits"], live["misses"], live["sets"]) == (10, 1, 10), live


def test_errors_are_said():
    run("trace_replay", "/nowhere", "--engine", code=1)
    run("trace_replay", "-", "--engine", "--policy", "clever", stdin=b"", code=64)
    run("trace_replay", "-", "--engine", "--memory", "much", stdin=b"", code=64)
    run("trace_replay", "-", "--port", "1", stdin=b"0,k,1,1,0,get,0\n", code=1)
    run("trace_gen", "--preset", "nothing", code=64)
    run("trace_gen", "--ttl", "soon", code=64)
    run("trace_gen", "--alpha", "steep", code=64)


def test_help_tells_every_flag():
    for name in ("load_gen", "codec_bench", "engine_bench", "trace_gen", "trace_replay", "grpc_load",
                 "floor_server"):
        text = run(name, "--help").decode()
        assert name in text, (name, text)
        lines = text.splitlines() + [""]
        for line, after in zip(lines, lines[1:]):  # Of a long flag the text is on the next line.
            told = line[30:].strip() or after.startswith(" " * 30)
            assert told or not line.startswith("  -"), (name, line)


main(globals())
