"""Which mutants there are in some files, and a random draw of them. What is changed comes from Cosmic Ray's operators.

A comparison (`<` to `<=`), an operator (`+` to `-`), a condition (`if x` to `if not x`, `and` to `or`), a number (± 1).
Not drawn: annotations, and what no interpreter would run (a type checker's imports, code that no longer compiles).
"""

from __future__ import annotations

import ast
import random
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

# Operators of one family replace each other; across families the result is a TypeError, which any test notices.
FAMILIES = (
    "Add Sub Mul Div FloorDiv Mod Pow",
    "BitOr BitAnd BitXor",
    "RShift LShift",
    "Eq NotEq Lt LtE Gt GtE",
    "Is IsNot",
)
OTHERS = {
    "AddNot", "ReplaceAndWithOr", "ReplaceOrWithAnd", "NumberReplacer",
    "ReplaceUnaryOperator_USub_UAdd", "ReplaceUnaryOperator_Delete_Not",
}  # fmt: skip
# The types of syntax nodes that these operators look at.
TOUCHED = {
    "comparison",
    "number",
    "operator",
    "keyword",
    "if_stmt",
    "while_stmt",
    "assert_stmt",
    "test",
    "factor",
    "not_test",
}
# A star among parameters or in a display is no arithmetic.
NO_ARITHMETIC = {"parameters", "lambdef", "dictorsetmaker", "atom", "arglist", "testlist_star_expr"}


@dataclass(frozen=True)
class Mutant:
    """One changed place of one file; `path` is relative to the root, `before` and `after` are the line, stripped."""

    path: Path
    line: int
    before: str
    after: str
    code: str = field(repr=False)


def operators() -> list[Any]:
    """Cosmic Ray's operators that change one of the four things."""
    provider = OperatorProvider()
    pairs = {f"_{a}_{b}" for family in FAMILIES for a in family.split() for b in family.split()}
    chosen = [name for name in provider if name in OTHERS or any(name.endswith(pair) for pair in pairs)]
    chosen = [name for name in chosen if name in OTHERS or re.match("Replace(Binary|Comparison)Operator", name)]
    return [provider[name]() for name in chosen]


def draw(root: Path, files: Iterable[Path], seed: int) -> Iterator[Mutant]:
    """All mutants in a random order, at most one of each place; the same ones for the same seed."""
    generator = random.Random(seed)
    known = operators()
    drawn = [(path, place) for path in sorted(files) for place in places(root / path, known)]
    generator.shuffle(drawn)
    for path, choices in drawn:
        operator, occurrence = generator.choice(choices)
        mutant = changed(root, path, operator, occurrence)
        if mutant is not None:
            yield mutant


def places(path: Path, known: list[Any]) -> list[list[tuple[Any, int]]]:
    """For each place in a file, the operators that change it, with the how-manieth of its kind in the file it is."""
    source = path.read_text(encoding="utf-8")
    left_out = list(not_run(ast.parse(source)))
    counts: Counter[Any] = Counter()
    found: dict[Any, list[tuple[Any, int]]] = {}
    for node in ast_nodes(get_ast(source)):
        if node.type not in TOUCHED:
            continue
        for operator in known:
            for start, end in operator.mutation_positions(node):
                occurrence, counts[operator] = counts[operator], counts[operator] + 1
                if makes_sense(operator, node) and not any(first <= start < last for first, last in left_out):
                    found.setdefault((start, end), []).append((operator, occurrence))
    return list(found.values())


def makes_sense(operator: Any, node: Any) -> bool:
    """Neither a star that is no arithmetic nor a text that is compared by the alphabet."""
    if node.type == "comparison" and any(child.type == "string" for child in node.children):
        return type(operator).__name__.endswith(("_Eq_NotEq", "_NotEq_Eq"))
    return node.type != "operator" or node.parent.type not in NO_ARITHMETIC


def not_run(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations, and what only a type checker sees, begin and end."""
    for node in ast.walk(tree):
        inner: list[ast.AST | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            inner = [node.annotation]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = [node.returns]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            inner = [node]
        for each in inner:
            if isinstance(each, ast.expr | ast.stmt):
                yield (each.lineno, each.col_offset), (each.end_lineno or 0, each.end_col_offset or 0)


def changed(root: Path, path: Path, operator: Any, occurrence: int) -> Mutant | None:
    """The mutant, or nothing where it does not compile without a warning or says the same."""
    source = (root / path).read_text(encoding="utf-8")
    code = mutate_code(source, operator, occurrence)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            if ast.dump(ast.parse(code)) == ast.dump(ast.parse(source)):
                return None
            compile(code, str(path), "exec")
    except (SyntaxError, Warning):
        return None
    lines = zip(source.splitlines(), code.splitlines(), strict=False)
    number, before, after = next((i, a, b) for i, (a, b) in enumerate(lines, 1) if a != b)
    return Mutant(path, number, before.strip(), after.strip(), code)
