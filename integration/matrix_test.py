#!/usr/bin/env python3
"""Client libraries as people have them, against stock memcached, segcache and momento_proxy.

A driver (integration/matrix/with_*) tries every feature of FEATURES through one library and says of
each whether it worked. What does not work on memcached the library cannot do; everything else has to
work on our products. Each server is asked by all drivers at once.

    matrix_test.py BIN_DIR               one test a library
    matrix_test.py BIN_DIR --markdown    the table of README.md, from what ran
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, ROOT, free_port, main, product, wait_port  # noqa: E402

FOLDER = os.path.join(ROOT, "integration", "matrix")
FEATURES = ["set_get", "multi", "add", "replace", "cas", "incr", "decr", "append", "prepend", "touch",
            "delete", "flags", "compressed", "large", "utf8_keys", "noreply", "pipeline", "expiry"]
# A driver sleeps three seconds and works less than one; the machine may be slow.
DRIVER_SECONDS_MAX = 60
# Drivers at once: the Java ones would otherwise starve the others on two cores.
AT_ONCE = 8
JAR = "/usr/share/java/spymemcached.jar"
PYTHON = "/usr/bin/python3"  # The one that Debian's client libraries are installed for.


def compile_drivers(into):
    """The two that have to be compiled."""
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", os.path.join(FOLDER, "with_libmemcached.c"),
                    "-lmemcached", "-o", os.path.join(into, "with_libmemcached")], check=True)
    subprocess.run(["javac", "-encoding", "UTF-8", "-cp", JAR, "-d", into,
                    os.path.join(FOLDER, "WithSpymemcached.java")], check=True)


def install_npm():
    """npm's clients, installed once; offline if they are there already."""
    if not os.path.isdir(os.path.join(FOLDER, "node_modules", "memjs")):
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=FOLDER,
                       check=True, timeout=300)


class Library:
    """One row: how a library in one dialect is driven. `source` names its version: a Debian package
    or npm's name."""

    def __init__(self, name, dialect, source, *argv, sasl_of=None):
        self.name, self.dialect, self.source, self.argv = name, dialect, source, argv
        # A row that logs in is held against this one on a memcached that asks for no login: Debian's
        # takes logins only with Cyrus SASL's own database of users.
        self.sasl_of = sasl_of

    def logging_in(self):
        return Library(self.name, "binary, SASL", self.source, *self.argv, "user", "pass", sasl_of=self)

    @property
    def slug(self):
        return re.sub(r"\W+", "_", f"{self.name}_{self.dialect}".lower())

    def version(self):
        if self.source.startswith("npm:"):
            with open(os.path.join(FOLDER, "package.json")) as f:
                return json.load(f)["dependencies"][self.source[4:]]
        said = subprocess.run(["dpkg-query", "-W", "-f=${Version}", self.source],
                              capture_output=True, text=True, check=True).stdout
        return re.match(r"(?:\d+:)?(\d[\d.]*\d)", said).group(1)

    def drive(self, port, built):
        """{feature: None if it worked, else why not}"""
        argv = [a.format(port=port, built=built, jar=JAR) for a in self.argv]
        try:
            run = subprocess.run(argv, cwd=FOLDER, capture_output=True, text=True,
                                 timeout=DRIVER_SECONDS_MAX, env={**os.environ, "LC_ALL": "C.UTF-8"})
        except subprocess.TimeoutExpired:
            return {feature: f"no end after {DRIVER_SECONDS_MAX} s" for feature in FEATURES}
        said = {}
        for line in run.stdout.splitlines():
            found = re.match(r"(ok|no) (\w+)(?:: (.*))?$", line)
            if found:
                said[found.group(2)] = None if found.group(1) == "ok" else found.group(3) or "no"
        silent = f"the driver said nothing of it: {run.stderr[-300:]}"
        return {feature: said.get(feature, silent) for feature in FEATURES}


JAVA = ("java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", "{jar}:{built}", "WithSpymemcached", "{port}")
LIBRARIES = [
    Library("pymemcache", "text", "python3-pymemcache", PYTHON, "with_pymemcache.py", "{port}"),
    Library("python-memcached", "text", "python3-memcache", PYTHON, "with_python_memcached.py", "{port}"),
    Library("pylibmc", "text", "python3-pylibmc", PYTHON, "with_pylibmc.py", "{port}", "text"),
    Library("pylibmc", "binary", "python3-pylibmc", PYTHON, "with_pylibmc.py", "{port}", "binary"),
    Library("libmemcached", "text", "libmemcached11", "{built}/with_libmemcached", "{port}", "text"),
    Library("libmemcached", "binary", "libmemcached11", "{built}/with_libmemcached", "{port}", "binary"),
    Library("php-memcached", "text", "php-memcached", "php", "with_php_memcached.php", "{port}", "text"),
    Library("php-memcached", "binary", "php-memcached", "php", "with_php_memcached.php", "{port}", "binary"),
    Library("dalli", "binary", "ruby-dalli", "ruby", "with_dalli.rb", "{port}"),
    Library("Cache::Memcached::Fast", "text", "libcache-memcached-fast-perl", "perl", "with_fast.pl", "{port}"),
    Library("spymemcached", "text", "libspymemcached-java", *JAVA, "text"),
    Library("spymemcached", "binary", "libspymemcached-java", *JAVA, "binary"),
    Library("npm memcached", "text", "npm:memcached", "node", "with_memcached.js", "{port}"),
    Library("npm memcache-client", "text", "npm:memcache-client", "node", "with_memcache_client.js", "{port}"),
    Library("npm memjs", "binary", "npm:memjs", "node", "with_memjs.js", "{port}"),
]
LIBRARIES += [one.logging_in() for one in LIBRARIES
              if one.dialect == "binary" and one.name != "libmemcached"]


def drive_all(port, built, sasl):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        runs = {library: pool.submit(library.drive, port, built) for library in LIBRARIES
                if (library.sasl_of is not None) == sasl}
        return {library: run.result() for library, run in runs.items()}


def on_memcached(built):
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    stock = subprocess.Popen(["memcached", *user, "-l", "127.0.0.1", "-p", str(port), "-U", "0"])
    try:
        wait_port(port)
        return drive_all(port, built, sasl=False)
    finally:
        stock.terminate()
        stock.wait()


def on_product(name, flags, built):
    """Without logins, then with a server that lets nobody in without."""
    said = {}
    with tempfile.NamedTemporaryFile("w") as users:
        os.chmod(users.name, 0o644)
        users.write("user:pass\n")
        users.flush()
        for sasl in (False, True):
            with product(name, "-p", "0", *flags, *(["-Y", users.name] if sasl else [])) as server:
                port = int(server.wait_log(r"memcache[^\n]* on 127\.0\.0\.1:(\d+)").group(1))
                said.update(drive_all(port, built, sasl))
    return said


class Matrix:
    """What every library said of every server; run when it is first asked for."""
    said = None

    @classmethod
    def get(cls):
        if cls.said is None:
            install_npm()
            with tempfile.TemporaryDirectory() as built:
                compile_drivers(built)
                cls.said = {"memcached": on_memcached(built),
                            "segcache": on_product("segcache", [], built),
                            "momento_proxy": on_product("momento_proxy", ["--local"], built)}
        return cls.said


def judge(library):
    """(features that work on memcached, those that do not, {product: {feature: failure}})"""
    said = Matrix.get()
    oracle = said["memcached"][library.sasl_of or library]
    can = [f for f in FEATURES if oracle[f] is None]
    cannot = [f for f in FEATURES if f not in can]
    failures = {name: {f: said[name][library][f] for f in can if said[name][library][f] is not None}
                for name in ("segcache", "momento_proxy")}
    return can, cannot, failures


def row(library):
    can, cannot, failures = judge(library)
    cells = []
    for name in ("segcache", "momento_proxy"):
        failed = failures[name]
        cells.append(f"{len(can)} of {len(can)}" if not failed
                     else f"{len(can) - len(failed)} of {len(can)}; not {', '.join(failed)}")
    return f"| {library.name} {library.version()} | {library.dialect} | {cells[0]} | {cells[1]} | " \
           f"{', '.join(cannot)} |"


def table():
    return "\n".join(["| library | dialect | segcache | momento_proxy | what it does not do on memcached either |",
                      "|---|---|---|---|---|", *map(row, LIBRARIES)])


def check(library):
    can, cannot, failures = judge(library)
    assert len(can) >= 12, f"on memcached: {cannot}"
    assert failures == {"segcache": {}, "momento_proxy": {}}, failures


for one in LIBRARIES:
    globals()[f"test_{one.slug}"] = lambda library=one: check(library)


def test_readme_has_the_table():
    def bare(text):  # Versions move with Debian's updates.
        return [re.sub(r"^\| ([\w:. -]*?) \d[\d.]* \|", r"| \1 |", line) for line in text.splitlines()]
    with open(os.path.join(ROOT, "README.md")) as f:
        readme = bare(f.read())
    missing = [line for line in bare(table()) if line not in readme]
    assert not missing, "README.md lacks (see --markdown):\n" + "\n".join(missing)


if __name__ == "__main__":
    assert BIN
    if "--markdown" in sys.argv:
        print(table())
        sys.exit(0)
    main(globals())
