"""Is the improved solution faster: the same tests with both, in turns."""

from __future__ import annotations

import json
import secrets
import statistics
from collections.abc import Callable

from services.sandbox.box import Sandbox
from services.sandbox.jobs import Language, Program, SpeedComparison
from services.sandbox.layout import speed_layout
from services.translation import N_

SHORTEST_S = 20e-6  # of a case: below, the call itself is what is measured
NOISE = 2.0  # the difference of the medians, in spreads of the rounds


def measure(
    sandbox: Sandbox,
    language: Language,
    before: str,
    after: str,
    tests: str,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> SpeedComparison:
    """Takes up to about five seconds. Raises what the sandbox raises."""
    if language is not Language.PYTHON:
        return SpeedComparison(False, N_("Speed is measured for Python only."))
    results = f".results-{secrets.token_hex(8)}"
    placed = speed_layout(before, after, tests, results)
    program = Program(language, placed.files, placed.command, sandbox.limits())
    execution = sandbox.run(program, wanted=[results], cancelled=cancelled)
    return _judged(execution.left.get(results, ""))


def _judged(results: str) -> SpeedComparison:
    try:
        found = json.loads(results)
        if not found["common"]:
            return SpeedComparison(False, N_("No test passes with both versions."))
        before, after = (float(seconds) for seconds in found["medians"])
        spread = max(_spread(rounds) for rounds in found["rounds"])
    except (ValueError, KeyError, TypeError):
        return SpeedComparison(False, N_("The tests did not come to an end."))
    if max(before, after) < SHORTEST_S * found["common"]:
        return SpeedComparison(False, N_("The tests are too short to measure."), before, after)
    if abs(before - after) < NOISE * spread:
        return SpeedComparison(False, N_("The two versions are equally fast."), before, after)
    return SpeedComparison(True, "", before, after)


def _spread(rounds: list[float]) -> float:
    """Half of the middle half's width: a pause of the machine does not count."""
    low, _, high = statistics.quantiles(rounds, n=4)
    return (high - low) / 2
