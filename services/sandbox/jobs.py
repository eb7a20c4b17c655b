"""What runs in the sandbox, and what came of it: the words that the sandbox and its users share."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Language(StrEnum):
    """A programming language that can be proved here."""

    PYTHON = "python"
    JAVA = "java"
    JAVASCRIPT = "javascript"


class Ended(StrEnum):
    """How a program came to its end."""

    EXITED = "exited"  # by itself, whatever its exit status
    TIME = "time"  # wall clock or processor time was used up
    MEMORY = "memory"
    OUTPUT = "output"  # said more than is kept
    KILLED = "killed"  # by a signal that is none of the limits
    CANCELLED = "cancelled"  # by the caller


@dataclass(frozen=True)
class Limits:
    """Of one program with all its children. disk_mib: everything that it may write, together."""

    wall_s: float = 20
    cpu_s: float = 20
    memory_mib: int = 512
    processes: int = 64  # tasks: processes and threads
    file_mib: int = 16
    disk_mib: int = 64
    output_kib: int = 256


@dataclass(frozen=True)
class Program:
    """files: name (no folder) → text, placed in the working folder, which is also the empty home. command: argv inside
    the sandbox; language: whose toolchain is to be visible there.
    """

    language: Language
    files: dict[str, str]
    command: list[str]
    limits: Limits = Limits()


@dataclass(frozen=True)
class Execution:
    """What came of a program. output: standard output and error in the order written, cut to the limit, safe text.

    left: files in the working folder that the program wrote and its caller asked for.
    """

    ended: Ended
    exit_status: int | None  # None unless ended is EXITED
    output: str
    wall_s: float
    cpu_s: float
    memory_mib: float  # highest of all its processes together, as seen while it ran
    left: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.ended is Ended.EXITED and self.exit_status == 0


@dataclass(frozen=True)
class Toolchain:
    """version: "" when it is not installed; lacks: what is to be installed then, as Debian calls it."""

    language: Language
    version: str
    lacks: str = ""

    @property
    def there(self) -> bool:
        return bool(self.version)


@dataclass(frozen=True)
class Availability:
    """isolation: "bubblewrap", "namespaces", or "" when nothing can be isolated here and so nothing runs.

    reason: why not, or what is missing of it, in English, for the administrator.
    """

    isolation: str
    reason: str
    toolchains: dict[Language, Toolchain]


@dataclass(frozen=True)
class TestCase:
    """One test. name: the test function's name, or the line that asserts. output: why it failed; "" when passed.

    seconds: of the test alone; None where that is not known.
    """

    __test__ = False  # for pytest

    name: str
    passed: bool
    output: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class TestRun:
    """A solution with its tests, run once. error: why no test could run (a syntax error, a compiler's words); "" else.

    ok: there were tests, and all passed.
    """

    __test__ = False  # for pytest

    language: Language
    cases: list[TestCase]
    error: str
    execution: Execution

    @property
    def passed(self) -> int:
        return sum(case.passed for case in self.cases)

    @property
    def failed(self) -> int:
        return len(self.cases) - self.passed

    @property
    def ok(self) -> bool:
        return bool(self.cases) and not self.failed and not self.error and self.execution.ok


@dataclass(frozen=True)
class SpeedComparison:
    """The same passing tests, run with both solutions in turns. before_s, after_s: medians of one round of them all.

    reason: why nothing can be said; "" when measurable. ratio: how many times faster after is; 1 when not measurable.
    """

    measurable: bool
    reason: str = ""
    before_s: float = 0.0
    after_s: float = 0.0

    @property
    def ratio(self) -> float:
        return self.before_s / self.after_s if self.measurable and self.after_s else 1.0


@dataclass(frozen=True)
class CheckHint:
    """What a static check says of a line. code: the rule's name; "" where the checker has none."""

    line: int
    code: str
    message: str
