"""Inside the sandbox: runs each test of a Python text by itself and writes what came of it, a line of JSON each.

Copied into the working folder beside solution.py, tests.py, test_tree.py and pytest.py. What is written:
{"planned": name}, {"begun": name}, {"case": name, "passed": …, "output": …, "seconds": …},
{"error": text}, {"done": true}.
"""

import asyncio
import contextlib
import doctest
import inspect
import io
import itertools
import json
import os
import pathlib
import sys
import tempfile
import time
import traceback
import types
import unittest

import pytest
import test_tree

OUTPUT_MAX = 2000
THEIRS = ("solution.py", "tests.py")


class Report:
    """One line of JSON for each fact; the file's name is a secret of the portal."""

    def __init__(self, path):
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, **fact):
        os.write(self._file, json.dumps(fact).encode() + b"\n")

    def run(self, name, call):
        """call() as one case: it passes when it returns."""
        self.say(begun=name)
        started = time.perf_counter()
        try:
            call()
        except (pytest.Skipped, unittest.SkipTest):
            self.say(skipped=name)
        except BaseException as error:  # noqa: BLE001 — it is the tests' own, whatever it is
            self.say(case=name, passed=False, output=explain(error), seconds=time.perf_counter() - started)
        else:
            self.say(case=name, passed=True, output="", seconds=time.perf_counter() - started)


def explain(error):
    """As Python says it, with the frames of the solution and its tests only."""
    if isinstance(error, SystemExit):
        return f"SystemExit: {error.code}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if os.path.basename(f.filename) in THEIRS]
    lines = traceback.format_list(frames[-4:]) + traceback.format_exception_only(error)
    return "".join(lines).replace(os.getcwd() + os.sep, "").strip()[-OUTPUT_MAX:]


def load(name, text, namespace):
    exec(compile(text, f"{name}.py", "exec"), namespace)


class Tests:
    def __init__(self, report, solution):
        self.report = report
        self.names = {k: v for k, v in vars(solution).items() if not k.startswith("__")}
        self.names |= {"__name__": "tests", "__builtins__": __builtins__, test_tree.SHOW: test_tree.show}
        self.fixtures = {}

    def run(self, text):
        steps = test_tree.steps(text, self.names)
        for step in steps:
            for name in step.planned:
                self.report.say(planned=name)
        for step in steps:
            if step.kind == "case":
                self.report.run(step.name, lambda step=step: self.execute(step))
            else:
                self._set_up(step)
        for step in steps:
            for name in step.defines:
                self._defined(name, self.names.get(name))

    def execute(self, step):
        exec(step.code, self.names)

    def _set_up(self, step):
        """Silent when it works; what fails is a failed case, for what follows depends on it."""
        try:
            self.execute(step)
        except (Exception, SystemExit) as error:  # noqa: BLE001
            self.report.say(case=step.name, passed=False, output=explain(error), seconds=None)

    def _defined(self, name, thing):
        if getattr(thing, "_fixture", False):
            self.fixtures[name] = thing
        elif inspect.isclass(thing) and issubclass(thing, unittest.TestCase):
            unittest.defaultTestLoader.loadTestsFromTestCase(thing).run(UnitResults(self.report, self.execute_async))
        elif inspect.isclass(thing) and name.startswith("Test"):
            self._class(name, thing)
        elif inspect.isfunction(thing) and name.startswith("test"):
            self._function(name, thing)

    def execute_async(self, result):
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    def _class(self, name, kind):
        for method in [m for m in vars(kind) if m.startswith("test") and callable(getattr(kind, m))]:

            def call(method=method, **arguments):
                instance = kind()
                getattr(instance, "setup_method", lambda *_: None)(*_one_if_wanted(instance, "setup_method"))
                try:
                    return self.execute_async(getattr(instance, method)(**arguments))
                finally:
                    getattr(instance, "teardown_method", lambda *_: None)(*_one_if_wanted(instance, "teardown_method"))

            self._function(f"{name}.{method}", getattr(kind, method), call)

    def _function(self, name, function, call=None):
        if getattr(function, "_skipped", False):
            return
        for row in itertools.product(*getattr(function, "_parameters", [[{}]])):
            given = {k: v for part in row for k, v in part.items()}
            shown = f"{name}[{', '.join(map(repr, given.values()))[:80]}]" if given else name
            self.report.run(shown, lambda given=given: self._call(call or function, function, given))

    def _call(self, call, function, given):
        with contextlib.ExitStack() as ending:
            known = [*given, "self"]
            for name in [n for n, p in inspect.signature(function).parameters.items() if p.default is p.empty]:
                if name not in known:
                    given = given | {name: self._fixture(name, ending)}
            self.execute_async(call(**given))

    def _fixture(self, name, ending):
        if name in BUILT_IN:
            return ending.enter_context(BUILT_IN[name]())
        if name not in self.fixtures:
            raise LookupError(f"there is no fixture {name}")
        function = self.fixtures[name]
        made = function(**{need: self._fixture(need, ending) for need in inspect.signature(function).parameters})
        if inspect.isgenerator(made):
            ending.callback(next, made, None)
            return next(made)
        return made


def _one_if_wanted(instance, name):
    return [None] if len(inspect.signature(getattr(instance, name, lambda: 0)).parameters) else []


class Captured:
    def __init__(self):
        self.out, self.err = io.StringIO(), io.StringIO()

    def readouterr(self):
        said = types.SimpleNamespace(out=self.out.getvalue(), err=self.err.getvalue())
        for stream in (self.out, self.err):
            stream.seek(0)
            stream.truncate()
        return said


@contextlib.contextmanager
def capsys():
    captured = Captured()
    with contextlib.redirect_stdout(captured.out), contextlib.redirect_stderr(captured.err):
        yield captured


@contextlib.contextmanager
def tmp_path():
    yield pathlib.Path(tempfile.mkdtemp())


BUILT_IN = {"capsys": capsys, "tmp_path": tmp_path}


class UnitResults(unittest.TestResult):
    """A case for each test method, told as it happens."""

    def __init__(self, report, _):
        super().__init__()
        self._report, self._why = report, []

    def startTest(self, test):
        super().startTest(test)
        self._why, self._skipped, self._started = [], False, time.perf_counter()
        self._report.say(begun=self._name(test))

    def stopTest(self, test):
        seconds, name = time.perf_counter() - self._started, self._name(test)
        if self._skipped:
            self._report.say(skipped=name)
        else:
            self._report.say(case=name, passed=not self._why, output="\n".join(self._why)[:OUTPUT_MAX], seconds=seconds)

    def addFailure(self, test, err):
        self._why.append(explain(err[1]))
        if not hasattr(test, "_testMethodName"):  # setUpClass
            self._report.say(case=str(test), passed=False, output=self._why[-1], seconds=None)

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err:
            self._why.append(f"{subtest._subDescription()}: {explain(err[1])}")

    def addSkip(self, test, reason):
        self._skipped = True

    def addUnexpectedSuccess(self, test):
        self._why.append("passed, but was expected to fail")

    @staticmethod
    def _name(test):
        return f"{type(test).__name__}.{getattr(test, '_testMethodName', test)}"


def run_doctests(report, text, names):
    """Each example with an expected value is a case."""
    for example in doctest.DocTestParser().get_examples(text):
        name = example.source.strip().splitlines()[0]
        if example.want:
            report.run(name, lambda example=example: _example(example, names))
        else:
            with contextlib.suppress(Exception):
                exec(compile(example.source, "tests.py", "single"), names)


def _example(example, names):
    said = io.StringIO()
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(example.source, "tests.py", "single"), names)
    except Exception as error:
        if not example.exc_msg or not doctest.OutputChecker().check_output(
            example.exc_msg, traceback.format_exception_only(error)[-1], options | doctest.IGNORE_EXCEPTION_DETAIL
        ):
            raise
        return
    got = said.getvalue()
    if not doctest.OutputChecker().check_output(example.want, got, options):
        raise AssertionError(f"got {got.strip() or 'nothing'}, expected {example.want.strip()}")


def main():
    order = json.loads(pathlib.Path(sys.argv[1]).read_text())
    os.unlink(sys.argv[1])
    del sys.argv[1:]
    report = Report(order["results"])
    solution = types.ModuleType("solution")
    solution.__file__ = os.path.abspath("solution.py")
    sys.modules["solution"] = solution
    try:
        load("solution", pathlib.Path("solution.py").read_text(), vars(solution))
    except BaseException as error:  # noqa: BLE001
        report.say(error=explain(error))
        return
    report.say(loaded=True)
    text = pathlib.Path("tests.py").read_text()
    tests = Tests(report, solution)
    try:
        examples = test_tree.examples(text)
        tests.run("" if examples is text else text)
        for part in examples if isinstance(examples, list) else [examples]:
            run_doctests(report, part, tests.names)
    except SyntaxError as error:
        report.say(error=explain(error))
        return
    report.say(done=True)


if __name__ == "__main__":
    main()
