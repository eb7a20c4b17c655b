"""What a program tries in order to get out of the sandbox: each attempt in each language and isolation is contained."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.sandbox import watching
from services.sandbox.box import Sandbox
from services.sandbox.isolation import ISOLATIONS
from services.sandbox.jobs import Ended, Language, Limits, Program
from services.settings import Settings
from tests.escape_programs import CASES, MARK, Escape

SECRET = "the-portals-secret-4711"
OWN_GROWTH_MIB, OVERSHOOT_MIB = 40, 250


@pytest.fixture(scope="module", params=ISOLATIONS)
def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    made = Sandbox(Settings(home=tmp_path_factory.mktemp("home")), [request.param])
    assert made.availability().isolation == request.param, made.availability().reason
    return made


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    """What a program might reach: a file, an environment variable, a port and an abstract socket."""
    folder = tmp_path_factory.mktemp("portal")
    (folder / "portal.sqlite3").write_text(SECRET)
    os.environ["PORTAL_TEST_SECRET"] = SECRET
    abstract = f"zhiku-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0" + abstract)
        unix.listen()
        yield {
            "secret": folder / "portal.sqlite3",
            "folder": folder,
            "port": tcp.getsockname()[1],
            "abstract": abstract,
        }
    del os.environ["PORTAL_TEST_SECRET"]


@pytest.fixture
def others() -> set[int]:
    """Our children that have nothing to do with this test: the browser's driver, for one."""
    return set(watching.children(os.getpid()))


def _living(others: set[int]) -> list[str]:
    """Processes that came out of a sandbox of this test: our new children, and whatever sees the file named MARK."""
    inside = [entry for entry in Path("/proc").glob("[0-9]*") if _sees_mark(entry)]
    new = set(watching.children(os.getpid())) - others
    return [str(entry) for entry in inside] + [str(pid) for pid in sorted(new)]


def _sees_mark(entry: Path) -> bool:
    try:
        return (entry / "root" / "box" / MARK).exists()
    except OSError:
        return False


def _own_peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize(("escape", "language"), CASES, ids=[f"{e.name}-{language}" for e, language in CASES])
def test_an_escape_is_contained(
    sandbox: Sandbox, places: dict, others: set[int], escape: Escape, language: Language
) -> None:
    before, started = _own_peak_mib(), time.monotonic()
    execution = sandbox.run(escape.program(language, **places), wanted=escape.wanted)
    assert "ESCAPED" not in execution.output
    assert SECRET not in execution.output
    assert "daemon:" not in execution.output  # a line of /etc/shadow or /etc/passwd
    assert execution.ended in escape.ended, execution
    assert execution.left == {}
    assert execution.memory_mib < escape.limits.memory_mib + OVERSHOOT_MIB
    assert time.monotonic() - started < escape.limits.wall_s + 3
    assert _living(others) == []
    assert _own_peak_mib() - before < OWN_GROWTH_MIB
    assert len(execution.output) <= escape.limits.output_kib * 1024
    assert not {"\x1b", "\x9b", "\u202e", "\u2066", "\x08", "\r"} & set(execution.output)


def test_a_process_outside_survives_a_program_that_kills_everything(sandbox: Sandbox) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        sandbox.run(Program(Language.PYTHON, {}, ["python3", "-c", "import os; os.kill(-1, 9)"]))
        assert bystander.poll() is None
        bystander.kill()


def test_only_plain_files_that_were_asked_for_come_back(sandbox: Sandbox) -> None:
    source = "open('a.txt','w').write('kept'); open('b.txt','w').write('not asked for')"
    execution = sandbox.run(Program(Language.PYTHON, {}, ["python3", "-c", source]), wanted=["a.txt", "../etc/passwd"])
    assert execution.left == {"a.txt": "kept"}


def test_a_program_inherits_no_descriptor_and_no_environment(sandbox: Sandbox) -> None:
    source = "import os; print(sorted(os.environ), os.listdir('/proc/self/fd'))"
    execution = sandbox.run(Program(Language.PYTHON, {}, ["python3", "-c", source]))
    # PWD is the shell's; 3 is the listing itself
    assert execution.output.strip() == "['HOME', 'LANG', 'PATH', 'PWD', 'TMPDIR'] ['0', '1', '2', '3']"


def test_a_program_has_no_capability_and_can_gain_none(sandbox: Sandbox) -> None:
    execution = sandbox.run(Program(Language.PYTHON, {}, ["cat", "/proc/self/status"]))
    status = dict(line.split(":", 1) for line in execution.output.splitlines() if ":" in line)
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {status[name].strip() for name in sets} == {"0" * 16}
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"


def test_cancelling_ends_a_program_at_once(sandbox: Sandbox, others: set[int]) -> None:
    asked_at = time.monotonic() + 0.5
    program = Program(Language.PYTHON, {MARK: ""}, ["sleep", "60"], Limits())
    execution = sandbox.run(program, cancelled=lambda: time.monotonic() > asked_at)
    assert execution.ended is Ended.CANCELLED
    assert time.monotonic() - asked_at < 0.3
    assert _living(others) == []


def test_a_killed_portal_leaves_nothing_running(sandbox: Sandbox, others: set[int]) -> None:
    isolation = sandbox.availability().isolation
    code = (
        "from services.sandbox.isolation import prepare; from services.sandbox.running import Run\n"
        "from services.sandbox.jobs import Language, Program\n"
        f"p = Program(Language.PYTHON, {{{MARK!r}: ''}}, ['sh', '-c', 'sleep 60; true'])\n"
        f"Run(p, prepare(p, {isolation!r}, 40), (), lambda: False).result()"
    )
    with subprocess.Popen([os.sys.executable, "-c", code]) as portal:
        deadline = time.monotonic() + 10
        while len(_living(others)) < 4 and time.monotonic() < deadline:  # the portal, and three in the sandbox
            time.sleep(0.02)
        assert len(_living(others)) >= 4
        portal.kill()
    time.sleep(0.3)
    assert _living(others) == []


def test_it_holds_for_a_portal_without_root(sandbox: Sandbox, others: set[int]) -> None:
    """The system's own interpreter as nobody: it may be the only one that nobody can reach."""
    isolation = sandbox.availability().isolation
    code = (
        "import os; from services.sandbox.isolation import prepare; from services.sandbox.running import Run\n"
        "from services.sandbox.jobs import Language, Limits, Program\n"
        "def run(*command):\n"
        "    p = Program(Language.PYTHON, {}, list(command), Limits(wall_s=2, memory_mib=200))\n"
        f"    return Run(p, prepare(p, {isolation!r}, 0), (), lambda: False).result()\n"
        "e = run('python3', '-c', 'import os\\nwhile True:\\n    try: os.fork()\\n    except OSError: pass')\n"
        "f = run('python3', '-c', 'import os; print(os.getuid(), os.path.exists(\"/home\"))')\n"
        "print(os.getuid(), e.ended, f.ended, f.output)"
    )
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    root = Path(__file__).resolve().parent.parent.parent
    words = [*become, "/usr/bin/python3", "-c", code]
    said = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert "time exited 1000 False" in said.stdout or "killed exited 1000 False" in said.stdout, said
    assert _living(others) == []
