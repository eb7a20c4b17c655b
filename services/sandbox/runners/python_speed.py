"""Inside the sandbox: times the tests that pass with both of two solutions, in turns; writes one line of JSON."""

import contextlib
import io
import json
import os
import pathlib
import statistics
import sys
import time
import types
import unittest

import python_runner

ENOUGH_S, MOST_S, ROUND_S = 0.4, 4.0, 0.01  # of each side together, of both at most, of one measurement


class Passing:
    """Takes the place of a report: keeps what can be called again and passes."""

    def __init__(self):
        self.calls = {}

    def say(self, **_):
        pass

    def run(self, name, call):
        with contextlib.suppress(BaseException):
            call()
            self.calls[name] = call


class Collected(python_runner.Tests):
    def _defined(self, name, thing):
        if isinstance(thing, type) and issubclass(thing, unittest.TestCase):
            for method in unittest.defaultTestLoader.getTestCaseNames(thing):
                self.report.run(f"{name}.{method}", lambda method=method: thing(method).debug())
        else:
            super()._defined(name, thing)


def calls(file, tests):
    solution = types.ModuleType("solution")
    sys.modules["solution"] = solution
    python_runner.load("solution", pathlib.Path(file).read_text(), vars(solution))
    passing = Passing()
    Collected(passing, solution).run(tests)
    return passing.calls


def seconds(run, times):
    started = time.perf_counter()
    for _ in range(times):
        for call in run:
            call()
    return (time.perf_counter() - started) / times


def compare(order):
    tests = pathlib.Path("tests.py").read_text()
    before, after = calls("solution.py", tests), calls("after.py", tests)
    common = [name for name in before if name in after]
    if not common:
        return {"common": 0}
    sides = [[one[name] for name in common] for one in (before, after)]
    times = [max(1, int(ROUND_S / max(seconds(side, 1), 1e-9))) for side in sides]
    rounds, began = [[], []], time.perf_counter()
    while time.perf_counter() - began < MOST_S and (time.perf_counter() - began < 2 * ENOUGH_S or len(rounds[0]) < 5):
        for side in (0, 1):
            rounds[side].append(seconds(sides[side], times[side]))
    return {"common": len(common), "rounds": rounds, "medians": [statistics.median(one) for one in rounds]}


def main():
    order = json.loads(pathlib.Path(sys.argv[1]).read_text())
    os.unlink(sys.argv[1])
    with contextlib.redirect_stdout(io.StringIO()):
        found = compare(order)
    pathlib.Path(order["results"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
