"""Traps for floats: each expression of the modules that a training's values come from looks at what it evaluates to.

Syntax trees are rewritten when modules are imported, so that temporary values are seen as well: of ``x / 2 // 1`` it is
``x / 2`` that is caught. What all other Python code of the package and of NumPy returns, and has in its variables then,
is seen by a profiler. What happens inside NumPy's compiled code, and inside ours, is not; for ours see `test_no_float`.

As a program this file runs all short trainings so. With arguments it runs that of a name, or with an empty one all;
``MODULE OLD NEW`` change the text of a module first.
"""

import ast
import builtins
import sys
from fractions import Fraction
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType
from typing import Any

import numpy as np

PLACES = ("zahlen.integer", "zahlen.cells", "zahlen.grids", "zahlen.generator", "zahlen.windows")
"""Modules, with those inside, that the values of a training come from."""

REPORTS = {
    "zahlen.integer.epochs": ("Record.epoch", "means"),
    "zahlen.integer.losses": ("worth: ClassVar[float] = 2 ** (-16)", "worth = math.log(2) / 2 ** 16"),
    "zahlen.integer.run": (
        "seen = means(loss, right, done)",
        "report(seen[0] * self.source.worth, seen[1])",
        "self.history.epochs.append(self.records[-1].epoch(self.source.worth))",
    ),
    "zahlen.integer.streams": ("BITS = 2 ** (-16)", "worth = CrossEntropy.worth", "_Stream.course", "stream_loss"),
    "zahlen.integer.training": ("self.worth = loss.worth", "_Batches.course", "evaluate"),
}
"""Functions and statements that make figures for people: floats are at home here, and nowhere else."""


PLAIN = {int, bool, str, type(None), FunctionType, MethodType, BuiltinFunctionType, Fraction}


class FloatError(Exception):
    """There is a float where there is to be none."""


def is_float(value: Any) -> bool:
    """Whether a value is a floating-point number, an array or a type of such, or has one of these in it."""
    if type(value) in PLAIN:
        return False
    if isinstance(value, (tuple, list)):
        return any(map(is_float, value))
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return any(map(is_float, value.flat))
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in "fc"
    if isinstance(value, np.dtype):
        return value.kind in "fc"
    if isinstance(value, type):
        return issubclass(value, (float, complex, np.inexact))
    return isinstance(value, (float, complex))


def reports(module: str, tree: ast.Module) -> dict[str, ast.stmt]:
    """The statements of `REPORTS` in a module, by what stands there."""
    found, wanted = {}, REPORTS.get(module, ())

    def look(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = f"{name}.{child.name}".strip(".") if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else name
            if isinstance(child, ast.stmt):
                found.update({key: child for key in (inner if inner != name else ast.unparse(child),) if key in wanted})
            look(child, inner)

    look(tree, "")
    return found


class Instrument(ast.NodeTransformer):
    """Sends expressions through a function ``trap``, with the place where they stand."""

    def __init__(self, module: str, tree: ast.Module) -> None:
        self.module, self.spared = module, set(map(id, reports(module, tree).values()))
        self.divisions: set[str] = set()

    def visit(self, node: ast.AST) -> Any:
        if id(node) in self.spared or isinstance(node, ast.arg):  # annotations are not evaluated
            return node
        if isinstance(node, ast.AnnAssign):
            node.value = node.value and self.visit(node.value)
            return node
        division = isinstance(getattr(node, "op", None), ast.Div)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.AugAssign):  # what stands there afterwards
            after = ast.Expr(self.trapped(ast.parse(ast.unparse(node.target), mode="eval").body, node, division))
            return [self.generic_visit(node), self.like(after, node)]
        node = self.generic_visit(node)
        if isinstance(node, ast.expr) and self.evaluates(node):
            return self.like(self.trapped(node, node, division), node)
        return node

    @staticmethod
    def evaluates(node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return isinstance(node.value, (float, complex))
        parts = (ast.Starred, ast.Slice, ast.JoinedStr, ast.FormattedValue)
        return not isinstance(node, parts) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)

    def trapped(self, value: ast.expr, at: Any, division: bool) -> ast.Call:
        place = f"{self.module}:{at.lineno}:{at.col_offset}"
        if division:
            self.divisions.add(place)
        return ast.Call(ast.Name("trap", ast.Load()), [value, ast.Constant(place)], [])

    @staticmethod
    def like(node: Any, other: ast.AST) -> Any:
        return ast.copy_location(node, other)


class Traps:
    """Imports modules with traps, and remembers where values were seen."""

    def __init__(self, changes: dict[str, tuple[str, str]] | None = None) -> None:
        self.changes = changes or {}
        self.divisions: set[str] = set()
        self.seen: set[str] = set()

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """As importers have it."""
        if not any(name == place or name.startswith(f"{place}.") for place in PLACES):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and spec.origin is not None:
            spec.loader = Loader(name, spec.origin)
            spec.loader.traps = self
        return spec

    def code(self, module: str, source: str, path: str) -> Any:
        if module in self.changes:
            old, new = self.changes[module]
            if source.count(old) != 1:
                raise ValueError(f"{module} has {source.count(old)} times {old!r}")
            source = source.replace(old, new)
        tree = ast.parse(source)
        instrument = Instrument(module, tree)
        ast.fix_missing_locations(instrument.visit(tree))
        self.divisions |= instrument.divisions
        return compile(tree, path, "exec")

    def trap(self, value: Any, place: str) -> Any:
        if is_float(value):
            sys.setprofile(None)
            raise FloatError(f"{place}: {type(value).__name__}")
        self.seen.add(place)
        return value

    def returned(self, frame: FrameType, event: str, value: Any) -> None:
        """A profiler's function."""
        if event != "return":
            return
        module = frame.f_globals["__name__"]
        if not module.startswith(("zahlen.", "numpy")) or module.startswith((*PLACES, "zahlen.history")):
            return
        for name, held in (*frame.f_locals.items(), ("what is returned", value)):
            if is_float(held):
                raise FloatError(f"{module}.{frame.f_code.co_qualname}: {name}")

    def run(self, only: str) -> None:
        """Short trainings, in NumPy and with kernels."""
        sys.meta_path.insert(0, self)
        builtins.trap = self.trap  # type: ignore[attr-defined]
        import trainings

        for path in sorted({trainings.paths()[0], trainings.paths()[-1]}):
            with trainings.on(path):
                for name, training in trainings.SMALL.items():
                    if not only or name == only:
                        sys.setprofile(self.returned if path == "numpy" else None)
                        training()
                        sys.setprofile(None)


class Loader(SourceFileLoader):
    """Compiles a module with traps, and keeps nothing of it on disk."""

    traps: Traps

    def path_stats(self, path: Any) -> Any:
        raise OSError("not to be cached")

    def source_to_code(self, data: Any, path: Any, **options: Any) -> Any:  # type: ignore[override]
        return self.traps.code(self.name, data.decode(), str(path))


if __name__ == "__main__":
    only, *change = sys.argv[1:]
    traps = Traps({change[0]: (change[1], change[2])} if change else {})
    traps.run(only)
    print(len(traps.seen), *sorted(traps.divisions - traps.seen))
