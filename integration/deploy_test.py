#!/usr/bin/env python3
"""What must hold in deploy/: rendered, linted, laid out and, where possible, started.

A rule is a function that raises AssertionError on a bad file. Each rule over a text comes with
counterexamples, edits of the real file that must make it fail; a rule that a counterexample slips
through is reported like a broken file, so no rule can rot into one that always passes.
"""

import copy
import functools
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
PRODUCTS = ["momento_proxy", "segcache", "pingserver", "momento_local"]
NONROOT = 65532
EXPOSURE_MAX = 13  # Tenths; systemd 252 gives the unit 1.2. Unhardened units are at 9.6.

passed = 0
failed = 0


def check(name, test, *args):
    """Runs one test, counts it and says what was wrong."""
    global passed, failed
    try:
        test(*args)
    except (AssertionError, OSError, KeyError, IndexError, subprocess.SubprocessError,
            yaml.YAMLError) as error:
        failed += 1
        print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)
    else:
        passed += 1
        print(f"ok   {name}", flush=True)


def refuses(rule, broken):
    """Passes when `rule` raises on `broken`."""
    try:
        rule(broken)
    except (AssertionError, KeyError, IndexError):
        return
    raise AssertionError("the rule accepts this counterexample")


def edited(text, old, new):
    """`text` with `old` replaced; a counterexample that changes nothing proves nothing."""
    assert old in text, f"counterexample is out of date: no {old!r} in the file"
    return text.replace(old, new)


def check_rule(name, rule, text, counterexamples):
    """A rule over a text, then each (old, new) edit of it that the rule must refuse."""
    check(name, rule, text)
    for old, new in counterexamples:
        check(f"{name}, counterexample {old.strip()!r} -> {new.strip()!r}",
              lambda old=old, new=new: refuses(rule, edited(text, old, new)))


def run(*command, timeout=60, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)


def seconds(duration):
    """"500ms", "10s" or "2m" in seconds."""
    number, unit = re.fullmatch(r"([\d.]+)(ms|s|m|h)", duration).groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]


def config_value(key):
    """The value of a key that occurs once in the sample configuration."""
    found = re.findall(rf'^{key} = "?([^"\n]*)"?$', CONFIG, re.M)
    assert len(found) == 1, f"{key} occurs {len(found)} times in momento_proxy.toml"
    return found[0]


CONFIG = (DEPLOY / "momento_proxy.toml").read_text()


# --- Dockerfile ---------------------------------------------------------------------------------


def instructions(text):
    """[(INSTRUCTION, arguments)], comments dropped and continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def stages(text):
    """One list of instructions per FROM."""
    result = []
    for name, arguments in instructions(text):
        if name == "FROM":
            result.append([])
        result[-1].append((name, arguments))
    return result


def of(stage, name):
    return [arguments for instruction, arguments in stage if instruction == name]


def base_images_are_pinned(text):
    names = {arguments.split()[2] for stage in stages(text) for arguments in of(stage, "FROM")
             if " AS " in arguments}
    for stage in stages(text):
        image = of(stage, "FROM")[0].split()[0]
        if image == "scratch" or image in names:
            continue
        assert ":" in image or "@" in image, f"{image} has no tag"
        assert not image.endswith(":latest"), f"{image} changes under us"


def final_stage_is_bare(text):
    final = stages(text)[-1]
    assert of(final, "FROM") == ["scratch"], "the final stage has a base image"
    assert not of(final, "RUN"), "RUN needs a shell in the final stage"
    assert not of(final, "ADD"), "ADD fetches and unpacks"
    assert not of(final, "CMD"), "no CMD"
    built = {arguments.split()[2] for arguments in of(stages(text)[0], "FROM")}
    copies = of(final, "COPY")
    assert copies, "nothing is copied"
    for arguments in copies:
        source = re.match(r"--from=(\S+) ", arguments)
        assert source and source.group(1) in built, f"COPY {arguments} is not from the build stage"


def user_is_nonroot(text):
    users = of(stages(text)[-1], "USER")
    assert users, "no USER: root"
    uid = users[-1].split(":")[0]
    assert uid.isdigit() and int(uid) == NONROOT, f"USER {users[-1]}"


def entrypoint_is_exec_form(text):
    [entry] = of(stages(text)[-1], "ENTRYPOINT")
    assert yaml.safe_load(entry) == ["/usr/bin/momento_proxy"], entry


def ports_match_config(text):
    [exposed] = of(stages(text)[-1], "EXPOSE")
    admin = config_value("http_port")
    # Anchored at the line: "port" alone is both the text admin's and the cache's.
    ports = set(re.findall(r"^(?:http_)?port = (\d+)$", CONFIG, re.M))
    assert admin in ports and set(exposed.split()) == ports, f"EXPOSE {exposed}, config {ports}"


def products_are_built_and_copied(text):
    runs = "; ".join(of(stages(text)[0], "RUN"))
    built = re.search(r"--target((?: \w+)+)", runs)
    copied = re.search(r"image_root\.sh \S+ /image((?: \w+)+)", runs)
    assert built and copied, "no --target or no image_root.sh"
    assert built.group(1).split() == PRODUCTS, f"builds {built.group(1)}"
    assert copied.group(1).split() == PRODUCTS, f"copies {copied.group(1)}"


def dockerfile():
    text = (DEPLOY / "Dockerfile").read_text()
    check_rule("Dockerfile: base images are pinned", base_images_are_pinned, text,
               [("debian:12 AS", "debian:latest AS"), ("debian:12 AS", "debian AS")])
    check_rule("Dockerfile: final stage is bare", final_stage_is_bare, text,
               [("FROM scratch", "FROM debian:12"), ("COPY --from=build", "COPY"),
                ("--from=build", "--from=other"), ("USER 65532", "RUN id\nUSER 65532"),
                ("EXPOSE", "CMD /usr/bin/momento_proxy\nEXPOSE")])
    check_rule("Dockerfile: USER is 65532", user_is_nonroot, text,
               [("USER 65532:65532", "USER root"), ("USER 65532:65532", "USER 0"),
                ("USER 65532:65532\n", "\n"), ("EXPOSE", "USER 0:0\nEXPOSE")])
    check_rule("Dockerfile: ENTRYPOINT is momento_proxy in exec form", entrypoint_is_exec_form,
               text, [('["/usr/bin/momento_proxy"]', "/usr/bin/momento_proxy"),
                      ('["/usr/bin/momento_proxy"]', '["/bin/sh", "-c", "momento_proxy"]')])
    check_rule("Dockerfile: EXPOSE names the ports of the sample configuration",
               ports_match_config, text, [("9998 9999", "9998"), ("11211", "11212")])
    check_rule("Dockerfile: all products are built and copied", products_are_built_and_copied,
               text, [("momento_proxy segcache", "momento_proxy"), ("pingserver", "pingservers")])
    if BIN:
        check("Dockerfile: every product is a CMake product", products_are_cmake_products)
    check(".dockerignore leaves out history and builds, keeps the sources", dockerignore)


def cmake_products():
    lists = [path for path in ROOT.glob("**/CMakeLists.txt")
             if "build" not in path.relative_to(ROOT).parts]
    return {name for path in lists
            for name in re.findall(r"^\s*mp_product\(\s*(\w+)", path.read_text(), re.M)}


def products_are_cmake_products():
    missing = set(PRODUCTS) - cmake_products()
    assert not missing, f"mp_product() knows no {sorted(missing)}"


def dockerignore():
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    for path in [".git", "build", "**/secret*.yaml", "**/*.env"]:
        assert path in ignored, f"{path} reaches the build context"
    for path in ["config", "core", "proto", "cache", "proxy", ".ci", "deploy",
                 "CMakeLists.txt", "CMakePresets.json", "deploy/image_root.sh"]:
        assert path not in ignored, f"the build stage needs {path}"


# --- The image's file system --------------------------------------------------------------------


def lay_out(root, bin_dir, *products):
    return run(str(DEPLOY / "image_root.sh"), str(bin_dir), str(root), *products)


def starts_in_empty_root(bin_dir, product, *arguments):
    """Lays the product out in an empty root, enters it as 65532 and runs it."""
    with tempfile.TemporaryDirectory() as root:
        os.chmod(root, 0o755)
        laid = lay_out(root, bin_dir, product)
        assert laid.returncode == 0, laid.stderr
        # A root user may chroot; anyone else borrows the right from a user namespace.
        enter = ["chroot", f"--userspec={NONROOT}:{NONROOT}"]
        if os.geteuid() != 0:
            enter = ["unshare", "--map-root-user", "chroot"]
        result = run(*enter, root, f"/usr/bin/{product}", *arguments,
                     env={"PATH": os.environ["PATH"] + ":/usr/sbin"})
        assert result.returncode == 0, f"{result.returncode}: {result.stderr}"
        assert result.stdout.strip(), "nothing printed"


def root_is_minimal():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        laid = lay_out(root, "/usr/bin", "openssl")
        assert laid.returncode == 0, laid.stderr
        shells = [path for name in ("sh", "bash", "dash", "busybox") for path in root.rglob(name)]
        assert not shells, f"shells: {shells}"
        programs = [path.name for path in (root / "usr/bin").iterdir()]
        assert programs == ["openssl"], programs
        roots = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
        assert roots.count("BEGIN CERTIFICATE") > 50, "hardly any trusted roots"
        assert f":{NONROOT}:{NONROOT}:" in (root / "etc/passwd").read_text()
        libraries = [path for path in root.rglob("*.so*")]
        assert libraries and all(path.is_file() and not path.is_symlink() for path in libraries)


def missing_library_stops_the_build():
    """A binary that links a library which then goes away must not become an image."""
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)
        (base / "bin").mkdir()
        for command in (["-shared", "-o", "libgone.so", "-Wl,-soname,libgone.so"],
                        ["-o", "bin/tool", "-Wl,--no-as-needed", "-L.", "-lgone"]):
            source = "int Gone();int Gone(){return 0;}" if "-shared" in command else "int main(){}"
            built = run("g++", "-x", "c++", "-", "-x", "none", "-fPIC", *command, input=source,
                        cwd=base)
            assert built.returncode == 0, built.stderr
        (base / "libgone.so").unlink()
        laid = lay_out(base / "root", base / "bin", "tool")
        assert laid.returncode != 0 and "libgone.so" in laid.stderr, laid.stderr


def image():
    check("image: minimal root with trusted roots and without a shell", root_is_minimal)
    check("image: a dynamic program runs in it as 65532", starts_in_empty_root, "/usr/bin",
          "openssl", "version")
    check("image: OpenSSL finds the trusted roots in it", openssl_finds_roots)
    check("image: a missing library stops the build", missing_library_stops_the_build)
    if BIN:
        for product in PRODUCTS:
            check(f"image: {product} runs in it as 65532", starts_in_empty_root, BIN, product,
                  "--version")


def openssl_finds_roots():
    """Verifies one of the trusted roots against the default store, inside the root."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        root = pathlib.Path(folder)
        laid = lay_out(root, "/usr/bin", "openssl")
        assert laid.returncode == 0, laid.stderr
        bundle = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
        first = re.search(r"-----BEGIN CERT.*?-----END CERTIFICATE-----\n", bundle, re.S).group()
        (root / "first.pem").write_text(first)
        enter = ["chroot"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "chroot"]
        verify = [*enter, folder, "/usr/bin/openssl", "verify", "-no_check_time", "/first.pem"]
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin"}
        result = run(*verify, env=environment)
        assert result.returncode == 0, result.stdout + result.stderr
        # And by that link only: without it the same certificate is not trusted.
        (root / "usr/lib/ssl/cert.pem").unlink()
        assert run(*verify, env=environment).returncode != 0, "trusted without roots"


# --- Kubernetes ---------------------------------------------------------------------------------


@functools.lru_cache
def rendered():
    """The objects of the kustomization; shared, so a change needs a copy."""
    result = run("kubectl", "kustomize", str(DEPLOY / "kubernetes"))
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def kind(objects, name):
    [found] = [thing for thing in objects if thing["kind"] == name]
    return found


def pod(objects):
    return kind(objects, "Deployment")["spec"]["template"]["spec"]


def sidecar(objects):
    [found] = [c for c in pod(objects)["initContainers"] if c["name"] == "momento-proxy"]
    return found


def application(objects):
    [found] = pod(objects)["containers"]
    return found


def renders_two_objects(objects):
    kinds = sorted(thing["kind"] for thing in objects)
    assert kinds == ["ConfigMap", "Deployment"], f"{kinds}: a Secret is made by hand"


def proxy_is_native_sidecar(objects):
    assert sidecar(objects)["restartPolicy"] == "Always"
    assert all(c["name"] != "momento-proxy" for c in pod(objects)["containers"])
    assert re.fullmatch(r"(\S+/)?momento-proxy:\d+\.\d+\.\d+", sidecar(objects)["image"])


def images_are_tagged(objects):
    for container in pod(objects)["initContainers"] + pod(objects)["containers"]:
        assert re.search(r":[^:/]+$", container["image"]), f"{container['image']} has no tag"
        assert not container["image"].endswith(":latest")


def probe_path(objects, probe):
    get = sidecar(objects)[probe]["httpGet"]
    [port] = [p for p in sidecar(objects)["ports"] if p["name"] == get["port"]]
    assert str(port["containerPort"]) == config_value("http_port"), f"{probe} asks {port}"
    return get["path"]


def probes_ask_admin_http(objects):
    assert probe_path(objects, "startupProbe") == "/readyz"
    assert probe_path(objects, "readinessProbe") == "/readyz"
    assert probe_path(objects, "livenessProbe") == "/healthz"
    assert "admin.http_host=0.0.0.0" in settings(objects), "the kubelet cannot reach loopback"


def settings(objects):
    arguments = sidecar(objects)["args"]
    return [value for flag, value in zip(arguments, arguments[1:]) if flag == "--set"]


def containers_are_confined(objects):
    outer = pod(objects)["securityContext"]
    assert outer["runAsNonRoot"] is True and outer["runAsUser"] == NONROOT
    assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(objects)["automountServiceAccountToken"] is False
    for container in pod(objects)["initContainers"] + pod(objects)["containers"]:
        inner = container["securityContext"]
        assert inner["readOnlyRootFilesystem"] is True
        assert inner["allowPrivilegeEscalation"] is False
        assert inner["capabilities"] == {"drop": ["ALL"]}
        assert not {"privileged", "runAsUser", "runAsNonRoot", "seccompProfile"} & inner.keys()


def resources_are_bounded(objects):
    for container in pod(objects)["initContainers"] + pod(objects)["containers"]:
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


def volume(objects, name):
    [found] = [v for v in pod(objects)["volumes"] if v["name"] == name]
    return found


def mount(objects, name):
    [found] = [m for m in sidecar(objects)["volumeMounts"] if m["name"] == name]
    return found


def example_secret():
    return yaml.safe_load((DEPLOY / "kubernetes/secret.example.yaml").read_text())


def endpoint_comes_from_secret(objects):
    variables = sidecar(objects)["env"]
    assert [v["name"] for v in variables] == ["MOMENTO_ENDPOINT"], variables
    variable = variables[0]
    assert "value" not in variable, variable
    reference = variable["valueFrom"]["secretKeyRef"]
    assert reference["name"] == example_secret()["metadata"]["name"], reference
    assert reference["key"] in example_secret()["stringData"], reference
    assert not reference.get("optional")


def key_is_a_file_of_the_secret(objects):
    """In a file that follows the Secret, which only the proxy's own group can read."""
    secret = volume(objects, "key")["secret"]
    assert secret["secretName"] == example_secret()["metadata"]["name"], secret
    assert not secret.get("optional")
    [item] = secret["items"]
    assert item["key"] in example_secret()["stringData"], item
    assert secret["defaultMode"] == 0o440, "others may read it"
    assert pod(objects)["securityContext"]["fsGroup"] == NONROOT, "the proxy may not"
    there = mount(objects, "key")
    assert there["readOnly"] is True and "subPath" not in there, "a subPath is never updated"
    file = f"momento.api_key_file={there['mountPath']}/{item['path']}"
    assert file in settings(objects), f"not told {file}"
    assert all("key" not in {m["name"] for m in c.get("volumeMounts", [])}
               for c in pod(objects)["containers"]), "the application sees the key"


def config_is_the_sample(objects):
    made = kind(objects, "ConfigMap")
    assert made["data"] == {"momento_proxy.toml": CONFIG}, "not deploy/momento_proxy.toml"
    assert volume(objects, "config")["configMap"]["name"] == made["metadata"]["name"], "mounts another ConfigMap"
    assert made["metadata"]["name"] != "momento-proxy", "no hash: a new file would not roll pods"
    there = mount(objects, "config")
    assert there["readOnly"] is True
    arguments = sidecar(objects)["args"]
    path = arguments[arguments.index("--config") + 1]
    assert path == f"{there['mountPath']}/momento_proxy.toml", path


def grace_exceeds_drain(objects):
    drain = seconds(config_value("drain_delay")) + seconds(config_value("drain_timeout"))
    assert pod(objects)["terminationGracePeriodSeconds"] > drain


def application_asks_the_cache_port(objects):
    variables = {v["name"]: v["value"] for v in application(objects)["env"]}
    cache = CONFIG.split("[[cache]]")[1]
    assert f'\nhost = "{variables["MEMCACHED_HOST"]}"\n' in cache
    assert f'\nport = {variables["MEMCACHED_PORT"]}\n' in cache


def broken_by(change):
    """A copy of the rendered objects after change(objects)."""
    objects = copy.deepcopy(rendered())
    change(objects)
    return objects


def kubernetes():
    def drop(get, key):
        return lambda objects: get(objects).pop(key)

    def put(get, **values):
        return lambda objects: get(objects).update(values)

    def inner(objects):
        return sidecar(objects)["securityContext"]

    def config_map(objects):
        return kind(objects, "ConfigMap")

    def drop_set(objects):
        arguments = sidecar(objects)["args"]
        arguments[arguments.index("admin.http_host=0.0.0.0")] = "admin.http_host=127.0.0.1"

    def variable(objects):
        return sidecar(objects)["env"][0]

    def reference(objects):
        return variable(objects)["valueFrom"]["secretKeyRef"]

    def secret(objects):
        return volume(objects, "key")["secret"]

    def startup_get(objects):
        return sidecar(objects)["startupProbe"]["httpGet"]

    table = [
        ("only a ConfigMap and a Deployment", renders_two_objects,
         [lambda objects: objects.append({"kind": "Secret"})]),
        ("the proxy is a native sidecar", proxy_is_native_sidecar,
         [drop(sidecar, "restartPolicy"), put(sidecar, image="momento-proxy"),
          lambda objects: pod(objects)["containers"].append(sidecar(objects))]),
        ("images are tagged", images_are_tagged,
         [put(application, image="debian"), put(application, image="debian:latest")]),
        ("probes ask the HTTP admin port", probes_ask_admin_http,
         [drop(sidecar, "livenessProbe"), put(startup_get, path="/"),
          put(lambda o: sidecar(o)["ports"][0], containerPort=9999), drop_set]),
        ("containers are confined", containers_are_confined,
         [drop(pod, "securityContext"), put(inner, readOnlyRootFilesystem=False),
          put(inner, capabilities={"drop": []}), put(inner, runAsUser=0),
          put(inner, allowPrivilegeEscalation=True), put(inner, privileged=True),
          drop(pod, "automountServiceAccountToken"), drop(application, "securityContext")]),
        ("resources are bounded", resources_are_bounded,
         [drop(lambda o: sidecar(o)["resources"], "limits"), drop(application, "resources")]),
        ("the endpoint comes from the Secret", endpoint_comes_from_secret,
         [put(variable, value="e"), put(reference, name="other"), put(reference, key="other"),
          put(reference, optional=True),
          lambda o: sidecar(o)["env"].append({"name": "MOMENTO_API_KEY", "value": "k"})]),
        ("the key is a file of the Secret", key_is_a_file_of_the_secret,
         [put(secret, secretName="other"), put(secret, optional=True),
          put(secret, defaultMode=0o444), put(lambda o: secret(o)["items"][0], key="other"),
          put(lambda o: secret(o)["items"][0], path="other"), drop(
              lambda o: pod(o)["securityContext"], "fsGroup"),
          put(lambda o: mount(o, "key"), subPath="api-key"),
          put(lambda o: mount(o, "key"), mountPath="/other"),
          put(application, volumeMounts=[{"name": "key", "mountPath": "/key"}])]),
        ("the ConfigMap is deploy/momento_proxy.toml", config_is_the_sample,
         [put(config_map, data={"momento_proxy.toml": CONFIG + "\n"}),
          put(lambda o: config_map(o)["metadata"], name="momento-proxy-other"),
          put(lambda o: mount(o, "config"), mountPath="/etc")]),
        ("the grace period exceeds the drain", grace_exceeds_drain,
         [put(pod, terminationGracePeriodSeconds=10),
          drop(pod, "terminationGracePeriodSeconds")]),
        ("the application asks the proxy's cache port", application_asks_the_cache_port,
         [put(lambda o: application(o)["env"][1], value="11212")]),
    ]
    for name, rule, counterexamples in table:
        check(f"kubernetes: {name}", lambda rule=rule: rule(rendered()))
        for number, change in enumerate(counterexamples, 1):
            check(f"kubernetes: {name}, counterexample {number}",
                  lambda rule=rule, change=change: refuses(rule, broken_by(change)))
    check("kubernetes: the example Secret holds examples", example_secret_is_an_example)
    check("kubernetes: the sample application speaks memcache", sample_application_works)


def example_secret_is_an_example():
    example = yaml.safe_load((DEPLOY / "kubernetes/secret.example.yaml").read_text())
    for key, value in example["stringData"].items():
        assert value.startswith("EXAMPLE-"), f"{key} looks like a real one"


def sample_application_works():
    """Runs the application's own command against stock memcached until it has read its value."""
    app = application(rendered())
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # Started by root, memcached writes there as nobody.
        port_file = pathlib.Path(folder) / "port"
        server = subprocess.Popen(
            ["memcached", "-p", "-1", "-U", "0", "-l", "127.0.0.1", "-u", "nobody"],
            env={**os.environ, "MEMCACHED_PORT_FILENAME": str(port_file)})
        client = None
        try:
            port = wait_for_port(port_file, server)
            client = subprocess.Popen(
                app["command"] + app["args"], stdout=subprocess.PIPE, text=True,
                env={"PATH": os.environ["PATH"], "MEMCACHED_HOST": "127.0.0.1",
                     "MEMCACHED_PORT": port})
            lines = [client.stdout.readline() for _ in range(4)]
            want = ["STORED", "VALUE greeting 0 5", "hello", "END"]
            assert [line.strip() for line in lines] == want, lines
            client.terminate()
            # bash leaves its `sleep` behind with the pipe; only the shell itself is waited for.
            client.wait(timeout=5)
        finally:
            if client is not None and client.poll() is None:
                client.kill()
            server.terminate()
            server.wait(timeout=10)


def wait_for_port(port_file, server):
    """The port that memcached chose; it renames the file into place when it is complete."""
    for _ in range(200):
        if port_file.exists():
            return re.search(r"TCP INET: (\d+)", port_file.read_text()).group(1)
        assert server.poll() is None, "memcached ended"
        time.sleep(0.05)
    raise AssertionError("memcached opens no port")


# --- systemd ------------------------------------------------------------------------------------


def unit_values(text, key):
    return re.findall(rf"^{key}=(.*)$", text, re.M)


def unit_file(text, folder):
    """The unit as it would be installed, its program replaced by one that exists here."""
    program = BIN / "momento_proxy" if BIN else pathlib.Path("/bin/true")
    path = pathlib.Path(folder) / "momento-proxy.service"
    path.write_text(edited(text, "ExecStart=/usr/bin/momento_proxy ", f"ExecStart={program} "))
    return str(path)


def unit_verifies(text):
    with tempfile.TemporaryDirectory() as folder:
        result = run("systemd-analyze", "verify", unit_file(text, folder))
        # An unknown key is only a warning; the exit code stays 0.
        complaints = [line for line in result.stderr.splitlines() if "momento-proxy" in line]
        assert result.returncode == 0 and not complaints, result.stderr


def unit_is_confined(text):
    with tempfile.TemporaryDirectory() as folder:
        result = run("systemd-analyze", "security", "--no-pager", "--offline=true",
                     f"--threshold={EXPOSURE_MAX}", unit_file(text, folder))
        assert result.returncode == 0, result.stdout.splitlines()[-1:] + [result.stderr]


def unit_start_and_stop(text):
    assert unit_values(text, "Type") == ["notify"]
    assert unit_values(text, "KillSignal") == ["SIGTERM"]
    [stop] = unit_values(text, "TimeoutStopSec")
    drain = seconds(config_value("drain_delay")) + seconds(config_value("drain_timeout"))
    assert float(stop) > drain, f"{stop} cuts the drain short"
    assert unit_values(text, "Restart") == ["on-failure"]
    [final] = unit_values(text, "RestartPreventExitStatus")
    assert {"64", "66", "77", "78"} <= set(final.split()), final
    assert unit_values(text, "ExecReload") == ["/bin/kill -HUP $MAINPID"]
    [files] = unit_values(text, "LimitNOFILE")
    assert int(files) > 2 * 10_000, "below server.connections_max and its connections to Momento"


def unit_hides_the_key(text):
    assert unit_values(text, "EnvironmentFile") == ["-/etc/momento-proxy/environment"]
    assert not unit_values(text, "Environment"), "readable by every user"
    assert unit_values(text, "LimitCORE") == ["0"], "a core file holds the key"


def systemd():
    text = (DEPLOY / "systemd/momento-proxy.service").read_text()
    check_rule("systemd: the unit verifies", unit_verifies, text,
               [("DynamicUser=yes", "DynamicUsers=yes"), ("Type=notify", "Type=notified"),
                ("ExecReload=/bin/kill", "ExecReload=/bin/no-such-program")])
    check_rule(f"systemd: exposure is at most {EXPOSURE_MAX / 10}", unit_is_confined, text,
               [("SystemCallFilter=@system-service\n", ""), ("RestrictAddressFamilies=", "# "),
                ("CapabilityBoundingSet=\n", "")])
    check_rule("systemd: starts, reloads and stops as the product does", unit_start_and_stop, text,
               [("Type=notify", "Type=simple"), ("TimeoutStopSec=20", "TimeoutStopSec=10"),
                ("64 66 77 78", "64"), ("LimitNOFILE=65536", "LimitNOFILE=1024")])
    check_rule("systemd: the key stays out of sight", unit_hides_the_key, text,
               [("EnvironmentFile=-", "Environment=MOMENTO_API_KEY=k\nEnvironmentFile=-"),
                ("LimitCORE=0\n", "")])


# --- The sample configuration -------------------------------------------------------------------


def proxy_check(*arguments):
    return run(str(BIN / "momento_proxy"), "--check", *arguments,
               env={"PATH": os.environ["PATH"], "MOMENTO_API_KEY": "example",
                    "MOMENTO_ENDPOINT": "cache.example.invalid"})


def config_is_accepted(*extra):
    result = proxy_check("--config", str(DEPLOY / "momento_proxy.toml"), *extra)
    assert result.returncode == 0, f"{result.returncode}: {result.stderr}"


def misspelt_config_is_refused():
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as broken:
        broken.write(edited(CONFIG, "drain_timeout", "drain_timeuot"))
        broken.flush()
        result = proxy_check("--config", broken.name)
        assert result.returncode == 78 and "drain_timeuot" in result.stderr, result.stderr


def config():
    check("config: loopback only, no key", config_is_private)
    if not BIN:
        print("--   left out without BIN_DIR: momento_proxy --check, the products and their image")
        return
    check("config: momento_proxy --check accepts it", config_is_accepted)
    for setting in settings(rendered()):
        # The pod's mount is not here: a file that is stands in for it.
        here = re.sub(r"^(momento.api_key_file)=.*", rf"\1={os.devnull}", setting)
        check(f"config: momento_proxy --check accepts it with {setting}", config_is_accepted,
              "--set", here)
    check("config: momento_proxy --check refuses a misspelt copy", misspelt_config_is_refused)


def config_is_private():
    hosts = re.findall(r'^\w*host = "(.*)"$', CONFIG, re.M)
    assert len(hosts) == 3 and set(hosts) == {"127.0.0.1"}, hosts
    assert not re.search(r"^api_key", CONFIG, re.M), "a key in a file that many may read"


def main():
    for part in (dockerfile, image, kubernetes, systemd, config):
        try:
            part()
        except Exception as error:  # A part that cannot even begin counts as one failure.
            check(part.__name__, lambda error=error: (_ for _ in ()).throw(AssertionError(error)))
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
