"""What each of the Python drivers tells: a line a feature, "ok NAME", "no NAME: why"."""
import os
import sys
import time
import traceback

EXPIRY_SECONDS = 3.1    # After this an exptime of two seconds has passed everywhere.
LARGE = os.urandom(900 * 1024)
TEXT = "compressible " * 5000


class Report:
    """Runs checks. `brief` is said to have expired once at the end, after one wait."""

    def __init__(self):
        self.started = time.monotonic()
        self.expiry = None

    def check(self, name, run):
        try:
            run()
            print(f"ok {name}", flush=True)
        except Exception as error:  # Whatever a client throws is its answer.
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(f"no {name}: {type(error).__name__} {error} (line {where.lineno})".replace("\n", " "),
                  flush=True)

    def lacks(self, name):
        """The library has no such call."""
        print(f"no {name}: no such call", flush=True)

    def expires(self, store, gone):
        """`store` writes an item of two seconds that is there; `gone` finds that it is not, later."""
        failure = []

        def first():
            try:
                store()
            except Exception as error:
                failure.append(error)
        first()
        self.started = time.monotonic()

        def later():
            if failure:
                raise failure[0]
            time.sleep(max(0.0, self.started + EXPIRY_SECONDS - time.monotonic()))
            gone()
        self.expiry = later

    def end(self):
        self.check("expiry", self.expiry)
        sys.stdout.flush()


def equal(got, wanted):
    if got != wanted:
        shown = [repr(x) if len(repr(x)) < 80 else repr(x)[:80] + "..." for x in (got, wanted)]
        raise AssertionError(f"got {shown[0]}, wanted {shown[1]}")
