"""Which knob is shown by which test, and the vocabulary of those tests.

    @shows(FRONTS, "server.idle_timeout")
    def test_...

says that the test fails when the knob of these products no longer changes what they do.
config_test.py compares what was said with what --describe-config prints.
"""
import contextlib
import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

from harness import BIN, Client, eventually, pause, product

FRONTS = ("momento_proxy", "segcache", "pingserver")
MEMCACHES = ("momento_proxy", "segcache")
ALL = ("momento_proxy", "segcache", "pingserver", "momento_local")
SHOWN = set()  # (product, knob)


def shows(products, *knobs):
    SHOWN.update((one, knob) for one in products for knob in knobs)
    return lambda test: test


def described(name):
    """The knobs that --describe-config prints."""
    out = subprocess.run([os.path.join(BIN, name), "--describe-config"], capture_output=True,
                         text=True, check=True).stdout
    return {line.split()[0] for line in out.splitlines() if line.strip()}


def sets(settings):
    return [word for setting in settings for word in ("--set", setting)]


def started(name, *settings, flags=(), env=None, preexec=None):
    """A product with knobs set, on a port that the kernel picks; the proxy with --local."""
    first = ["--local"] if name == "momento_proxy" else []
    return product(name, *first, *flags, "-p", "0", *sets(settings), env=env, preexec=preexec)


def proxy_to(port, *settings, flags=(), env=None):
    """A proxy of one cache whose backend is on `port`."""
    return product("momento_proxy", "-p", "0", "-t", "1", *flags, *sets((
        f"momento.endpoint_override=127.0.0.1:{port}", "cache[0].cache_name=c", *settings)),
        env=env)


def local(*settings, flags=()):
    return product("momento_local", "-p", "0", *flags,
                   *sets(("local.create_unknown=true", *settings)))


def port_of(running):
    """The data port, as the log tells it."""
    return int(running.wait_log(r"(?:memcache|ping|gRPC) on \S+:(\d+)\b").group(1))


def client_of(running, timeout=10):
    return Client(port_of(running), timeout)


def ready(running):
    """Waits until the product serves; returns it."""
    port_of(running)
    return running


def threads_of(running):
    folder = f"/proc/{running.process.pid}/task"
    return sorted(open(f"{folder}/{task}/comm").read().strip() for task in os.listdir(folder))


def wait_workers(running, count):
    """Until the threads of `count` workers, which name themselves, are there."""
    names = ["worker_%d" % i for i in range(count)]
    eventually(lambda: [t for t in threads_of(running) if t.startswith("worker_")] == names,
               what=f"{count} workers")


def page(running, path):
    """(status, body) of a page of the HTTP admin port."""
    port = int(running.wait_log(r"admin: HTTP on \S+:(\d+)").group(1))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def metrics(running):
    """Sample -> value, of one scrape."""
    samples = {}
    for line in page(running, "/metrics")[1].splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    return samples


def total(running, name, *labels):
    """The sum of a metric over the series that carry all of `labels`, such as 'rpc="get"'."""
    return sum(value for sample, value in metrics(running).items()
               if sample.split("{")[0] == name and all(label in sample for label in labels))


@contextlib.contextmanager
def config_file(text):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        yield file.name


def run(name, *flags, env=None, timeout=20, preexec=None):
    """A product that is to end by itself; (exit code, stdout, stderr)."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MOMENTO_")}
    done = subprocess.run([os.path.join(BIN, name), *flags], capture_output=True, text=True,
                          env={**clean, **(env or {})}, timeout=timeout, preexec_fn=preexec)
    return done.returncode, done.stdout, done.stderr


def complaint(err):
    """The lines of stderr that are no log lines."""
    return [line for line in err.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]
