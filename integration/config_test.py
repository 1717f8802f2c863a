#!/usr/bin/env python3
"""Every knob changes what a product does, and what is wrong is said before anything starts."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import main  # noqa: E402
from knobs import ALL, SHOWN, described  # noqa: E402
from knobs_runtime import *  # noqa: E402,F401,F403
from knobs_cache import *  # noqa: E402,F401,F403
from knobs_local import *  # noqa: E402,F401,F403
from startup import *  # noqa: E402,F401,F403
import credentials_test  # noqa: E402,F401  Shows its knobs; run_all.sh runs it by itself.
import handover_test  # noqa: E402,F401  Shows its knob; run_all.sh runs it by itself.
import klog_test  # noqa: E402,F401  Shows its knobs; run_all.sh runs it by itself.
import tls_test  # noqa: E402,F401  Shows its knobs; run_all.sh runs it by itself.
import watch_test  # noqa: E402,F401  Shows its knob; run_all.sh runs it by itself.
import overload_test  # noqa: E402,F401  Likewise.
import routes_test  # noqa: E402,F401  Likewise.


def test_every_knob_is_shown_and_no_other():
    exist = {(name, knob) for name in ALL for knob in described(name)}
    assert len(exist) > 100, "--describe-config printed next to nothing"
    assert not exist - SHOWN, f"no test shows what these do: {sorted(exist - SHOWN)}"
    assert not SHOWN - exist, f"tests of knobs that are gone: {sorted(SHOWN - exist)}"


if __name__ == "__main__":
    main(globals())
