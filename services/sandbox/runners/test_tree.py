"""Inside the sandbox: takes a text of Python tests apart into steps that can be run one by one."""

import ast
import importlib.util
import sys

SHOW = "__show__"
NAME_MAX = 120
SHOWN_MAX = 300
REAL_PACKAGES = {"numpy", "pandas", "scipy", "sklearn", "matplotlib", "requests", "hypothesis", "torch", "sympy"}
REAL_PACKAGES |= set(sys.stdlib_module_names) | {
    "pytest",
    "flask",
    "django",
    "aiohttp",
    "yaml",
    "attr",
    "pydantic",
    "fastapi",
}
BLOCKS = ast.For | ast.While | ast.With | ast.Try | ast.If


class Step:
    """kind: "case" or "setup". planned: names of the cases that it should give. defines: tests to run afterwards."""

    def __init__(self, kind, name, node, planned=(), defines=()):
        self.kind, self.name, self.planned, self.defines = kind, name, list(planned), list(defines)
        module = ast.Module([node], [])
        self.code = compile(ast.fix_missing_locations(module), "tests.py", "exec")


def show(left, operator, right):
    return f"{_short(left)} {operator} {_short(right)} is false"


def _short(value):
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"


def examples(text):
    """The text itself when it is a session at the prompt; else the strings with such sessions in it."""
    if ">>>" not in text:
        return []
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return text
    strings = [n.value.value for n in tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    return [string for string in strings if isinstance(string, str) and ">>>" in string]


def steps(text, solution):
    """Raises SyntaxError. solution: its names."""
    tree = ast.parse(text, "tests.py")
    lines = text.splitlines()
    body = [part for node in tree.body for part in _opened(node)]
    defined = {n.name: n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    found = []
    for node in body:
        if _is_copy(node, solution):
            continue
        name = lines[node.lineno - 1].strip()[:NAME_MAX]
        kind = "case" if _is_case(node, defined) else "setup"
        if kind == "setup" and _calls_test(node, defined):
            continue
        told = _Told().visit(_ToSolution(solution).visit(node))
        found.append(Step(kind, name, told, [name] if kind == "case" else _tests_in(told), _defines(told)))
    return found


def _opened(node):
    """The body of `if __name__ == "__main__"`, without the call that would run everything."""
    if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
        return [n for n in node.body if not (isinstance(n, ast.Expr) and ".main(" in ast.unparse(n))]
    runs_all = isinstance(node, ast.Expr) and ast.unparse(node).startswith(("unittest.main", "pytest.main"))
    return [] if runs_all else [node]


def _is_copy(node, solution):
    """Tests that bring the solution's functions along would test the copy."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return isinstance(node, kinds) and node.name in solution and not node.name.lower().startswith("test")


def _asserts(node):
    return any(isinstance(part, ast.Assert) for part in ast.walk(node))


def _called(node):
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
        return node.value.func.id
    return None


def _is_case(node, defined):
    if isinstance(node, ast.Assert):
        return True
    if isinstance(node, BLOCKS):
        return _asserts(node)
    called = _called(node)
    return called in defined and _asserts(defined[called]) and not _calls_test(node, defined)


def _calls_test(node, defined):
    """`test_add()`: it is run anyway."""
    called = _called(node)
    return called in defined and called.startswith("test") and not (node.value.args or node.value.keywords)


def _tests_in(node):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _runs_by_name(node):
        return [node.name]
    if isinstance(node, ast.ClassDef):
        methods = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        return [f"{node.name}.{n.name}" for n in methods if n.name.startswith("test")]
    return []


def _runs_by_name(node):
    return node.name.startswith("test")


def _defines(node):
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node.name] if isinstance(node, kinds) else []


class _ToSolution(ast.NodeTransformer):
    """Imports of modules that do not exist mean the solution, whose file name the tests could not know."""

    def __init__(self, solution):
        self._solution = solution

    def visit_ImportFrom(self, node):
        names = {alias.name for alias in node.names}
        ours = names == {"*"} or names & set(self._solution)
        if node.level or (ours and _is_missing(node.module)):
            node.module, node.level = "solution", 0
        return node

    def visit_Import(self, node):
        for alias in node.names:
            if _is_missing(alias.name):
                alias.asname = alias.asname or alias.name.split(".")[0]
                alias.name = "solution"
        return node


def _is_missing(module):
    top = module.split(".")[0]
    if top in REAL_PACKAGES or top in sys.modules:
        return False
    return importlib.util.find_spec(top) is None


class _Told(ast.NodeTransformer):
    """`assert a == b` says both values when it fails."""

    def visit_Assert(self, node):
        test = node.test
        if node.msg is None and isinstance(test, ast.Compare) and len(test.ops) == 1:
            left, right = ast.Name("_left", ast.Load()), ast.Name("_right", ast.Load())
            sign = ast.unparse(ast.Compare(ast.Name("a"), test.ops, [ast.Name("b")]))[1:-1].strip()
            test.left = ast.NamedExpr(ast.Name("_left", ast.Store()), test.left)
            test.comparators = [ast.NamedExpr(ast.Name("_right", ast.Store()), test.comparators[0])]
            node.msg = ast.Call(ast.Name(SHOW, ast.Load()), [left, ast.Constant(sign), right], [])
            ast.copy_location(node.msg, node)
        return ast.fix_missing_locations(node)
