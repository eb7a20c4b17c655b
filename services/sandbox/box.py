"""Runs programs that nobody has read, cut off from everything, within limits: the only way to start one.

Two isolations, the same promises: bubblewrap where it is installed, else namespaces of our own (jail_child.py).
"""

from __future__ import annotations

import logging
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from services.errors import SandboxUnavailable
from services.sandbox import seccomp, toolchains
from services.sandbox.isolation import ISOLATIONS, prepare
from services.sandbox.jobs import Availability, Ended, Execution, Language, Limits, Program
from services.sandbox.running import CannotIsolate, Run
from services.settings import Settings
from services.translation import N_

PATIENCE_S = 0.1  # between two looks at whether a waiting caller has given up
PROBE = Program(Language.PYTHON, {}, ["true"], Limits(wall_s=10, cpu_s=5, memory_mib=256))

log = logging.getLogger(__name__)


class Sandbox:
    """isolations: names to try, best first; tests choose one."""

    def __init__(self, settings: Settings, isolations: Sequence[str] = ISOLATIONS) -> None:
        self._settings, self._isolations = settings, isolations
        self._availability: Availability | None = None
        self._probing = threading.Lock()
        self._slots = list(range(settings.sandbox_jobs))
        self._free = threading.Condition()

    def availability(self) -> Availability:
        """Tried once, by running something: takes a second or two then."""
        with self._probing:
            if self._availability is None:
                self._availability = self._probe()
            return self._availability

    def limits(self) -> Limits:
        """Of one program, by the settings."""
        seconds = self._settings.sandbox_timeout_s
        return Limits(wall_s=seconds, cpu_s=seconds, memory_mib=self._settings.sandbox_memory_mib)

    def run(
        self, program: Program, *, wanted: Sequence[str] = (), cancelled: Callable[[], bool] = lambda: False
    ) -> Execution:
        """Blocks until the program has ended and nothing of it is left; waits in line while others run.

        wanted: names of files in the working folder to bring back in `left`; those that are no plain files, or too
        large, stay there. Raises SandboxUnavailable when it cannot be run safely here, or not at all.
        """
        self._must_be_able(program.language)
        with self._slot(cancelled) as slot:
            if slot is None:
                return Execution(Ended.CANCELLED, None, "", 0, 0, 0)
            return self._run(program, self.availability().isolation, slot, wanted, cancelled)

    def _run(self, program: Program, isolation: str, slot: int, wanted, cancelled) -> Execution:
        try:
            return Run(program, prepare(program, isolation, slot), wanted, cancelled).result()
        except CannotIsolate as error:
            log.error("the sandbox did not come up: %s", error)
            raise SandboxUnavailable(
                N_("The program was not run: it could not be isolated."),
                hint=N_("Ask an administrator to look at the portal's log."),
            ) from error

    def _must_be_able(self, language: Language) -> None:
        if not self._settings.run_code:
            raise SandboxUnavailable(
                N_("Running code is switched off."), hint=N_("An administrator can set PORTAL_RUN_CODE.")
            )
        availability = self.availability()
        if not availability.isolation:
            raise SandboxUnavailable(
                N_("Code is not run here: this machine offers no way to isolate it."),
                hint=N_("An administrator can install bubblewrap, or allow user namespaces."),
            )
        toolchain = availability.toolchains[language]
        if not toolchain.there:
            raise SandboxUnavailable(
                N_("What runs this language is not installed here: {package}."),
                hint=N_("Ask an administrator to install it."),
                package=toolchain.lacks,
            )

    @contextmanager
    def _slot(self, cancelled: Callable[[], bool]) -> Iterator[int | None]:
        """None when the caller gave up while waiting."""
        with self._free:
            while not self._slots and not cancelled():
                self._free.wait(PATIENCE_S)
            slot = self._slots.pop() if self._slots else None
        try:
            yield slot
        finally:
            if slot is not None:
                with self._free:
                    self._slots.append(slot)
                    self._free.notify()

    def _probe(self) -> Availability:
        found = {language: toolchains.find(language) for language in Language}
        if (folder := toolchains.showing(self._settings.home)) is not None:
            return Availability("", f"programs would see PORTAL_HOME: it lies in {folder}", found)
        reasons = [] if seccomp.program(platform.machine()) else ["no system-call filter for this kind of machine"]
        for isolation in self._isolations:
            started = time.monotonic()
            try:
                run = Run(PROBE, prepare(PROBE, isolation, slot=0), (), lambda: False).result()
            except CannotIsolate as error:
                reasons.append(f"{isolation}: {error}")
                continue
            if run.ok:
                log.info("sandbox: %s, %.0f ms", isolation, 1000 * (time.monotonic() - started))
                return Availability(isolation, "; ".join(reasons), found)
            reasons.append(f"{isolation}: {run.output.strip() or run.ended}")
        return Availability("", "; ".join(reasons), found)
