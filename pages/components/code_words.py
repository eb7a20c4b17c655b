"""The words of code help: tasks, languages, stages, and what came of running code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pages.components.context import _, language
from pages.components.text import escape
from services.code.answer import Stage, Task
from services.code.prompting import NAMES
from services.sandbox.jobs import Ended
from services.translation import N_, translate

if TYPE_CHECKING:
    from services.code.answer import Attempt, CodeAnswer
    from services.sandbox.jobs import Availability, SpeedComparison, TestRun, Toolchain

LANGUAGES = tuple(NAMES)
TASKS = {
    Task.GENERATE: N_("Generate"),
    Task.EXPLAIN: N_("Explain"),
    Task.IMPROVE: N_("Improve"),
    Task.TEST: N_("Write tests"),
}
ENDED = {
    Ended.TIME: N_("The program took too long and was ended."),
    Ended.MEMORY: N_("The program used too much memory and was ended."),
    Ended.OUTPUT: N_("The program wrote too much and was ended."),
    Ended.KILLED: N_("The program broke down."),
    Ended.CANCELLED: N_("The run was stopped."),
}
VERSION_PARTS = {"python": 2}  # of a version that is worth saying; else 1


def language_name(name: str) -> str:
    return NAMES.get(name, name) or "–"


def runnable(availability: Availability) -> str:
    """What code can be run here, and what is missing for the rest; escaped Markdown."""
    if not availability.isolation:
        why = escape(translate(availability.reason, language()))
        return _("Code is not run here: {why}", why=why)
    there = [_with_version(chain) for chain in availability.toolchains.values() if chain.there]
    lines = [_("Runs here: {languages}", languages=", ".join(there))] if there else []
    lines += [
        _(
            "{language} does not run here: {package} is to be installed.",
            language=NAMES[one.language],
            package=one.lacks,
        )
        for one in availability.toolchains.values()
        if not one.there
    ]
    return " · ".join(lines)


def stage(answer: CodeAnswer, *, waited_s: int) -> str:
    """What is being done right now. waited_s: since this stage began."""
    match answer.stage:
        case Stage.RUNNING:
            return _("Running the code and its tests… {n} s", n=waited_s)
        case Stage.REPAIRING:
            return _repairing(answer.attempts[0].run, waited_s)
    if answer.restarts and not answer.text:
        return _("The model was replaced; the new one begins the answer anew… {n} s", n=waited_s)
    return _("Writing… {n} s", n=waited_s)


def score(run: TestRun | None) -> str:
    if run is None or run.error:
        return _("the tests could not run")
    return _("{passed} of {all} tests passed", passed=run.passed, all=len(run.cases))


def verdict(attempt: Attempt) -> tuple[str, str]:
    """("passed", "failed" or "not_run", what came of running it); the second is "" where nothing was to be run."""
    run = attempt.run
    if run is None or (attempt.not_run and not run.cases):
        why = translate(attempt.not_run, language()).format(**attempt.not_run_params)
        return "not_run", _("Not run: {why}", why=escape(why)) if why else ""
    if run.ok:
        return "passed", _("All tests passed ({n})", n=len(run.cases))
    if run.failed:
        return "failed", _("{failed} of {all} tests failed", failed=run.failed, all=len(run.cases))
    return "failed", _(ENDED.get(run.execution.ended, N_("The tests could not run.")))


def speed(compared: SpeedComparison) -> str:
    if not compared.measurable:
        why = escape(translate(compared.reason, language()))
        return _("Speed not compared: {why}", why=why)
    if compared.ratio >= 1:
        return _("{n} times as fast as before", n=f"{compared.ratio:.1f}")
    return _("Slower: takes {n} times as long as before", n=f"{1 / compared.ratio:.1f}")


def _repairing(run: TestRun | None, waited_s: int) -> str:
    if run is None or run.error or not run.failed:
        return _("The code did not run: repairing… {n} s", n=waited_s)
    return _("{failed} of {all} tests failed: repairing… {n} s", failed=run.failed, all=len(run.cases), n=waited_s)


def _with_version(chain: Toolchain) -> str:
    parts = chain.version.split(".")[: VERSION_PARTS.get(chain.language, 1)]
    return f"{NAMES[chain.language]} {'.'.join(parts)}"
