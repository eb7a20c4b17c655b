"""One program in the sandbox, from start to nothing left."""

from __future__ import annotations

import os
import re
import select
import signal
import stat
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from services.sandbox import watching
from services.sandbox.isolation import Request
from services.sandbox.jobs import Ended, Execution, Limits, Program

CHILD = Path(__file__).with_name("jail_child.py")
SAMPLE_S = 0.02
SET_UP_TIMEOUT_S = 10
DRAIN_S = 2  # after all writers are dead
BLOCK = 65_536
KIB, MIB = 1 << 10, 1 << 20
HARD_TO_COUNT_TASKS = 4  # the isolation's own
TERMINAL = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
DANGEROUS = {"Cc", "Cf", "Cs", "Co"}  # control, format (bidi overrides among them), surrogates, private use


class CannotIsolate(Exception):
    """The sandbox did not come up; nothing was run."""


class Run:
    """result() does everything; an object is used once."""

    def __init__(
        self, program: Program, request: Request, wanted: Sequence[str], cancelled: Callable[[], bool]
    ) -> None:
        self._limits, self._request, self._wanted, self._cancelled = program.limits, request, wanted, cancelled
        self._output = bytearray()
        self._why: Ended | None = None
        self._peak_mib = self._cpu_s = 0.0

    def result(self) -> Execution:
        self._start()
        try:
            self._enter()
            began = time.monotonic()
            os.write(self._gate, b"\n")
            self._watch(began + self._limits.wall_s)
            self._bury()
            wall_s = time.monotonic() - began
            return self._execution(wall_s)
        finally:
            self._bury()
            self._close()

    def _start(self) -> None:
        self._folder = self._first = None
        output, output_end = os.pipe()
        gate_end, self._gate = os.pipe()
        request = os.memfd_create("request")
        try:
            with os.fdopen(os.dup(request), "w") as stream:
                stream.write(self._request.text)
            os.lseek(request, 0, os.SEEK_SET)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(CHILD), str(request)],
                stdin=gate_end,
                stdout=output_end,
                stderr=output_end,
                pass_fds=(request,),
                env={},
                cwd="/",
                start_new_session=True,
            )
        finally:
            for descriptor in (output_end, gate_end, request):
                os.close(descriptor)
        self._pipe = output
        os.set_blocking(output, False)

    def _enter(self) -> None:
        """Waits until the program stands at the gate, and takes hold of its folder and its first process."""
        deadline = time.monotonic() + SET_UP_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            firsts = watching.children(self._process.pid)
            programs = watching.children(firsts[0]) if firsts else []
            if programs:
                with suppress(OSError):
                    self._folder = os.open(f"/proc/{programs[0]}/root{self._request.box}", os.O_PATH | os.O_DIRECTORY)
                    self._first_pid = firsts[0]
                    self._first = os.pidfd_open(firsts[0])
                    return
            time.sleep(0.001)
        self._kill()
        self._read_rest()
        raise CannotIsolate(safe_text(bytes(self._output)).strip() or "it did not start in time")

    def _watch(self, deadline: float) -> None:
        """Returns when the program has ended or must end."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        poll.register(self._first, select.POLLIN)
        next_sample = 0.0
        while self._why is None:
            ready = dict(poll.poll(1000 * SAMPLE_S))
            if self._first in ready:
                return
            if self._pipe in ready and not self._read():
                poll.unregister(self._pipe)  # all its writers closed it, and still it runs
            now = time.monotonic()
            if now >= next_sample:
                next_sample = now + SAMPLE_S
                self._why = self._why or self._over_limit(now, deadline)

    def _read(self) -> bool:
        """False at the end of the output."""
        with suppress(BlockingIOError):
            block = os.read(self._pipe, BLOCK)
            self._output += block
            if len(self._output) > self._limits.output_kib * KIB:
                del self._output[self._limits.output_kib * KIB :]
                self._why = self._why or Ended.OUTPUT
            return bool(block)
        return True

    def _over_limit(self, now: float, deadline: float) -> Ended | None:
        use, disk = watching.use(self._first_pid), os.statvfs(self._folder)
        disk_mib = (disk.f_blocks - disk.f_bfree) * disk.f_frsize / MIB
        memory_mib = use.memory_mib + disk_mib
        if memory_mib > self._limits.memory_mib:
            memory_mib = watching.exact_memory_mib(use.pids) + disk_mib
        self._peak_mib, self._cpu_s = max(self._peak_mib, memory_mib), max(self._cpu_s, use.cpu_s)
        if self._cancelled():
            return Ended.CANCELLED
        if memory_mib > self._limits.memory_mib or disk.f_files - disk.f_ffree > self._request.files_max:
            return Ended.MEMORY
        if now > deadline or use.cpu_s > self._limits.cpu_s:
            return Ended.TIME
        return Ended.KILLED if use.tasks > self._limits.processes + HARD_TO_COUNT_TASKS else None

    def _kill(self) -> None:
        """The first process, and with it all others; its parent then ends by itself, having buried it."""
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            self._wait(self._process)
        self._process.kill()

    def _bury(self) -> None:
        """Kills what is left, and returns when the kernel has removed all of it."""
        if self._process.returncode is not None:
            return
        if self._why is None and self._first is not None:
            self._wait(self._process)
        self._kill()
        if self._first is not None:
            _readable(self._first)
        self._process.wait()
        self._read_rest()

    @staticmethod
    def _wait(process: subprocess.Popen) -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(DRAIN_S)

    def _read_rest(self) -> None:
        deadline = time.monotonic() + DRAIN_S
        while time.monotonic() < deadline and _readable(self._pipe, DRAIN_S) and self._read():
            if self._why is Ended.OUTPUT:
                return

    def _execution(self, wall_s: float) -> Execution:
        status = self._process.returncode
        ended = self._why or _by_status(status)
        return Execution(
            ended=ended,
            exit_status=status if ended is Ended.EXITED else None,
            output=safe_text(bytes(self._output)),
            wall_s=wall_s,
            cpu_s=self._cpu_s,
            memory_mib=self._peak_mib,
            left=self._left(),
        )

    def _left(self) -> dict[str, str]:
        """Everything of the program is dead: the folder no longer changes. Only plain files, by no path."""
        found = {}
        for name in self._wanted:
            with suppress(OSError):
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                with os.fdopen(os.open(os.path.basename(name), flags, dir_fd=self._folder), "rb") as file:
                    about = os.fstat(file.fileno())
                    if stat.S_ISREG(about.st_mode) and about.st_size <= _left_max(self._limits):
                        found[name] = file.read(_left_max(self._limits)).decode("utf-8", "replace")
        return found

    def _close(self) -> None:
        for descriptor in (self._pipe, self._gate, self._folder, self._first):
            if descriptor is not None:
                os.close(descriptor)


def _left_max(limits: Limits) -> int:
    return 4 * limits.output_kib * KIB


def _readable(descriptor: int, timeout_s: float | None = None) -> bool:
    """Whether it can be read within that time. By poll: select takes no descriptor over 1,023."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(None if timeout_s is None else timeout_s * 1000))


def _by_status(status: int) -> Ended:
    """A program that a signal ended has 128 and the signal, as in a shell."""
    if status in (128 + signal.SIGXCPU, -signal.SIGXCPU):
        return Ended.TIME
    by_signal = status < 0 or (status > 128 and status - 128 in set(signal.Signals))
    return Ended.KILLED if by_signal else Ended.EXITED


def safe_text(output: bytes) -> str:
    """Without what moves a cursor, colours, hides or turns text around."""
    text = TERMINAL.sub("", output.decode("utf-8", "replace").replace("\r\n", "\n"))
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in DANGEROUS)
