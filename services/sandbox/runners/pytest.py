"""What tests use of pytest, for a place where it is not installed: copied into the sandbox as pytest.py."""

import contextlib
import re


class Raised:
    value = None
    type = None

    def match(self, pattern):
        assert re.search(pattern, str(self.value)), f"{self.value!r} does not match {pattern!r}"
        return True


@contextlib.contextmanager
def _raises(expected, match=None):
    raised = Raised()
    try:
        yield raised
    except expected as error:
        raised.value, raised.type = error, type(error)
        if match is not None and not re.search(match, str(error)):
            raise AssertionError(f"{str(error)!r} does not match {match!r}") from error
        return
    names = getattr(expected, "__name__", expected)
    raise AssertionError(f"DID NOT RAISE {names}")


def raises(expected, *call, match=None, **named):
    if not call:
        return _raises(expected, match)
    with _raises(expected, match) as raised:
        call[0](*call[1:], **named)
    return raised


class approx:
    def __init__(self, expected, rel=1e-6, abs=1e-12, nan_ok=False):
        self.expected, self.rel, self.abs = expected, 1e-6 if rel is None else rel, 1e-12 if abs is None else abs

    def __eq__(self, got):
        expected = self.expected
        if isinstance(expected, dict):
            return got.keys() == expected.keys() and all(self._near(got[k], expected[k]) for k in expected)
        if isinstance(expected, list | tuple):
            return len(got) == len(expected) and all(map(self._near, got, expected))
        return self._near(got, expected)

    __hash__ = None

    def _near(self, got, expected):
        return got == expected or abs(got - expected) <= max(self.rel * abs(expected), self.abs)

    def __repr__(self):
        return f"approx({self.expected!r})"


class Skipped(Exception):
    pass


def fail(reason="", **_):
    raise AssertionError(reason)


def skip(reason="", **_):
    raise Skipped(reason)


def param(*values, id=None, marks=()):
    return Parameters(values, id)


class Parameters:
    def __init__(self, values, name):
        self.values, self.name = values, name


def fixture(function=None, **_):
    def mark(target):
        target._fixture = True
        return target

    return mark(function) if function else mark


class _Mark:
    def parametrize(self, names, values, ids=None, **_):
        names = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        rows = [_row(names, value) for value in values]

        def mark(function):
            function._parameters = [*getattr(function, "_parameters", []), rows]
            return function

        return mark

    def skip(self, *_, **__):
        return lambda target: setattr(target, "_skipped", True) or target

    def skipif(self, condition, **_):
        return lambda target: setattr(target, "_skipped", bool(condition)) or target

    def __getattr__(self, name):
        def mark(*arguments, **_):
            return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else lambda target: target

        return mark


def _row(names, value):
    if isinstance(value, Parameters):
        return dict(zip(names, value.values, strict=True))
    return {names[0]: value} if len(names) == 1 else dict(zip(names, value, strict=True))


mark = _Mark()


def main(*_, **__):
    return 0
