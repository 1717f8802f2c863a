#!/usr/bin/env python3
"""Searches the models in this folder exhaustively with spin: each must be right as it stands and found
wrong in each of the variants that its first comment lists after "mutants:"."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

DEPTH = 1_000_000  # Steps; a search that needs more says so, and fails.
MEMORY_MB = 1024


def search(model, define, folder):
    """What the verifier prints about `model`, with the macro `define` if any."""
    flags = [f"-D{define}"] if define else []
    subprocess.run(["spin", *flags, "-a", model], cwd=folder, check=True, capture_output=True)
    subprocess.run(["cc", "-O1", "-w", "-DSAFETY", f"-DMEMLIM={MEMORY_MB}", f"-DVECTORSZ=2048",
                    "-o", "pan", "pan.c"], cwd=folder, check=True)
    run = subprocess.run(["./pan", f"-m{DEPTH}"], cwd=folder, capture_output=True, text=True,
                         timeout=240)
    return run.stdout + run.stderr


def verdict(output):
    """(whether no error was found, in one line what was)"""
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"(\d+) states, stored", output)
    # What it stopped at: an assertion, a deadlock ("invalid end state"), or limits of the search.
    stopped = re.findall(r"^pan:\d+:.*|.*max search depth too small.*|"
                         r".*out of memory.*", output, re.MULTILINE)
    if errors is None or states is None:
        return False, "no result:\n" + output
    right = errors[1] == "0" and not stopped
    return right, f"{states[1]} states, {stopped[0] if stopped else 'no error'}"


def main():
    if shutil.which("spin") is None:
        sys.exit("spin is not installed; .ci/packages.sh test installs it")
    failed = False
    for model in sorted(pathlib.Path(__file__).resolve().parent.glob("*.pml")):
        mutants = re.search(r"mutants:([\w\s]+)\*/", model.read_text())[1].split()
        for define in [None, *mutants]:
            with tempfile.TemporaryDirectory() as folder:
                right, found = verdict(search(model, define, folder))
            # A mutant must fail for what it does, not because the search gave up.
            as_wanted = right if define is None else "violated" in found or "end state" in found
            print(f"{model.name} {define or 'as it stands'}: {found}"
                  f"{'' if as_wanted else '  <-- NOT AS IT SHOULD BE'}", flush=True)
            failed = failed or not as_wanted
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
