# SPDX-License-Identifier: BSD-3-Clause
"""Rules about the Python package: docstrings of what is public, and types."""

import ast
import re
import sys
from typing import Iterator

from tree import Problem, Tree, rule

PACKAGE = "python/pcluster/"
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _is_overload(node: ast.AST) -> bool:
    return any("overload" in ast.dump(d) or "setter" in ast.dump(d)
               for d in getattr(node, "decorator_list", []))


def undocumented(node: ast.AST, prefix: str = "") -> Iterator[tuple[int, str]]:
    """Public definitions directly within `node` that lack a docstring, and within its classes."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, DEFINITIONS) or child.name.startswith("_"):
            continue
        name = prefix + child.name
        if not ast.get_docstring(child) and not _is_overload(child):
            yield child.lineno, name
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child, name + ".")


@rule("everything public in the Python package has a docstring")
def docstrings(tree: Tree) -> Iterator[Problem]:
    for path in tree.files(".py", under=PACKAGE):
        module = ast.parse(tree.text(path), path)
        if not ast.get_docstring(module):
            yield Problem(path, 1, "the module has no docstring: what does it own?")
        for line, name in undocumented(module):
            yield Problem(path, line, f"{name} is public and has no docstring")


@rule("the Python package is well typed (mypy)")
def types(tree: Tree) -> Iterator[Problem]:
    if not tree.files(".py", under=PACKAGE):
        return
    done = tree.run(sys.executable, "-m", "mypy", "--no-error-summary", "--no-color-output",
                    "--ignore-missing-imports", "--cache-dir=/dev/null", PACKAGE)
    for line in done.stdout.splitlines():
        if found := re.match(r"(\S+?):(\d+): error: (.*)", line):
            yield Problem(found[1], int(found[2]), found[3])
    if done.returncode > 1 or (done.returncode and not done.stdout):
        yield Problem(PACKAGE, 0, done.stderr.strip() or done.stdout.strip())


@rule("Python sources compile without warnings")
def compiles(tree: Tree) -> Iterator[Problem]:
    import warnings

    for path in tree.files(".py"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                compile(tree.text(path), path, "exec", dont_inherit=True)
            except (SyntaxError, Warning) as error:
                yield Problem(path, getattr(error, "lineno", 0) or 0, str(error))
