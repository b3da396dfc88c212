# SPDX-License-Identifier: BSD-3-Clause
"""Rules about the docstrings of the Python package: there is one, and it says what a caller needs.

Sections have Google's form: Args, Returns (or Yields) and Raises. Names in them are those of the
signature and of the `raise` statements. What takes no arguments is described by its first sentence
alone; "See other()." stands for the sections of another one; a class of which users make no objects
says who does ("Made by ...").
"""

import ast
import re
from typing import Iterator, NamedTuple

from tree import Problem, Tree, rule

PACKAGE = "python/pcluster/"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef

TITLE = re.compile(r"(Args|Returns|Yields|Raises|Warns):$")
ENTRY = re.compile(r"    (\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): \S")
SEE_OTHER = re.compile(r"See [\w.]+\(\)\.$")


class Sections(NamedTuple):
    """What the sections of a docstring name."""

    arguments: list[str]
    errors: list[str]
    titles: set[str]


def sections(docstring: str) -> Sections:
    """Reads a docstring; a name in a section is indented by four columns."""
    names: dict[str, list[str]] = {"Args": [], "Raises": []}
    titles: set[str] = set()
    title = ""
    for line in docstring.splitlines():
        if found := TITLE.match(line):
            title = found[1]
            titles.add(title)
        elif line and not line.startswith(" "):
            title = ""
        elif title in names and (found := ENTRY.match(line)):
            names[title] += [name.strip("*") for name in found[1].split(", ")]
    return Sections(names["Args"], names["Raises"], titles)


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, but not in the functions and classes within it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            yield from own_nodes(child)


def decorators(node: Function | ast.ClassDef) -> list[str]:
    """The text of the decorators."""
    return [ast.unparse(decorator) for decorator in node.decorator_list]


def parameters(function: Function, is_method: bool) -> list[str]:
    """Names of what a caller gives."""
    given = function.args
    names = [one.arg for one in (*given.posonlyargs, *given.args)]
    if is_method and "staticmethod" not in decorators(function):
        names = names[1:]
    names += [one.arg for one in (given.vararg, *given.kwonlyargs, given.kwarg) if one]
    return [name for name in names if not name.startswith("_")]


def errors(function: Function) -> set[str]:
    """Names of the classes that a function itself raises."""
    found = set()
    for node in own_nodes(function):
        if isinstance(node, ast.Raise) and node.exc is not None:
            what = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(what).split(".")[-1]
            if name[:1].isupper():
                found.add(name)
    return found


def gives_something(function: Function) -> bool:
    """True when there is a value to describe."""
    for node in own_nodes(function):
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            return True
        if isinstance(node, ast.Return) and node.value is not None:
            if not (isinstance(node.value, ast.Constant) and node.value.value is None):
                return True
    return False


def unsaid(function: Function, docstring: str, is_method: bool) -> Iterator[str]:
    """What a docstring does not say of a function, or says of another one."""
    said, names = sections(docstring), parameters(function, is_method)
    for name in names:
        if name not in said.arguments:
            yield f"does not say what '{name}' is"
    for name in said.arguments:
        if name not in names:
            yield f"speaks of '{name}', which is no argument"
    if names and gives_something(function) and not said.titles & {"Returns", "Yields"}:
        yield "does not say what it returns"
    for name in sorted(errors(function) - set(said.errors)):
        yield f"does not say when it raises {name}"


def _check_function(function: Function, is_method: bool) -> Iterator[str]:
    docstring = ast.get_docstring(function)
    words = " ".join(decorators(function))
    if "overload" in words or ".setter" in words:
        return
    if not docstring:
        yield "is public and has no docstring"
    elif "property" not in words and not SEE_OTHER.match(docstring):
        yield from unsaid(function, docstring, is_method)


def _check_class(made: ast.ClassDef) -> Iterator[str]:
    docstring = ast.get_docstring(made)
    if not docstring:
        yield "is public and has no docstring"
        return
    for child in made.body:
        if isinstance(child, FUNCTIONS) and child.name == "__init__" and "Made " not in docstring:
            yield from unsaid(child, docstring + "\n" + (ast.get_docstring(child) or ""), True)


def missing(node: ast.AST, prefix: str = "") -> Iterator[tuple[int, str]]:
    """Line and text for what is public directly within `node`, and within its classes."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (*FUNCTIONS, ast.ClassDef)) or child.name.startswith("_"):
            continue
        name = prefix + child.name
        if isinstance(child, ast.ClassDef):
            texts = [*_check_class(child)]
        else:
            texts = [*_check_function(child, bool(prefix))]
        yield from ((child.lineno, f"{name} {text}") for text in texts)
        if isinstance(child, ast.ClassDef):
            yield from missing(child, name + ".")


@rule("docstrings of what is public say what it takes, returns and raises")
def docstrings(tree: Tree) -> Iterator[Problem]:
    for path in tree.files(".py", under=PACKAGE):
        module = ast.parse(tree.text(path), path)
        if not ast.get_docstring(module):
            yield Problem(path, 1, "the module has no docstring: what does it own?")
        for line, text in missing(module):
            yield Problem(path, line, text)
