# SPDX-License-Identifier: BSD-3-Clause
"""Compares the package with contract.txt: the names, the arguments and their defaults.

    contract.py SOURCE_FOLDER

The package is the one that PYTHONPATH has. Prints what is missing or differs, and then fails.
"""

import ast
import concurrent.futures
import importlib
import inspect
import re
import sys
from pathlib import Path

BLOCKS = ("present", "refused", "later", "untested")


def read_rows(path):
    """The rows of each block."""
    blocks = {name: [] for name in BLOCKS}
    rows = None
    for line in path.read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            rows = blocks[line.strip("[]")]
        elif line and not line.startswith("#"):
            rows.append(line)
    return blocks


def is_set_by_instances(owner, name):
    """Whether objects of the class get this attribute from their own methods."""
    setting = re.compile(rf"^\s+self\.{re.escape(name)}\b[^=(\n]*=[^=]", re.M)
    package = owner.__module__.partition(".")[0]
    own = [one for one in owner.__mro__ if one.__module__.partition(".")[0] == package]
    return any(setting.search(inspect.getsource(one)) for one in own)


def find(name):
    """What has this dotted name in the package; True for an attribute of instances; or None."""
    found = importlib.import_module("pcluster")
    for part in name.split("."):
        if hasattr(found, part):
            found = getattr(found, part)
        elif inspect.ismodule(found) and hasattr(found, "__path__"):
            try:
                found = importlib.import_module(f"{found.__name__}.{part}")
            except ModuleNotFoundError:
                return None
        elif inspect.isclass(found) and is_set_by_instances(found, part):
            return True
        else:
            return None
    return True if found is None else found


def stated_arguments(row):
    """(argument, default) of the row; the default is Ellipsis for any, `inspect.Parameter.empty` for none."""
    arguments = ast.parse(f"def f({row}): pass").body[0].args
    plain = arguments.args
    values = [None] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    for argument, value in [*zip(plain, values), *zip(arguments.kwonlyargs, arguments.kw_defaults)]:
        if value is None:
            yield argument.arg, inspect.Parameter.empty
        else:
            yield argument.arg, eval(ast.unparse(value), vars(concurrent.futures).copy())


def same_default(stated, actual):
    """Whether a caller can't tell the two defaults apart."""
    if stated is inspect.Parameter.empty:
        return True
    if stated is ...:
        return actual is not inspect.Parameter.empty
    is_empty = stated in ([], {}) and (actual is None or type(actual) in (list, tuple, dict))
    return stated == actual or (is_empty and not actual)


def differences(name, found, arguments):
    """What the signature lacks."""
    parameters = inspect.signature(found).parameters
    for argument, default in stated_arguments(arguments):
        if argument not in parameters:
            yield f"{name}: has no argument {argument!r}"
        elif not same_default(default, parameters[argument].default):
            yield f"{name}: the default of {argument!r} is {parameters[argument].default!r}, not {default!r}"


def compare(row):
    """What is wrong with one row of [present]."""
    name, has_arguments, arguments = row.partition("(")
    found = find(name)
    if found is None:
        return [f"{name}: is missing"]
    return list(differences(name, found, arguments.rsplit(")", 1)[0])) if has_arguments else []


def is_there(name):
    """Whether the package has the name, or the name's argument where it is written as f(argument)."""
    name, _, argument = name.rstrip(")").partition("(")
    found = find(name)
    return found is not None and (not argument or argument in inspect.signature(found).parameters)


def appeared(row):
    """What is wrong with one row of [later]."""
    name, _, reason = row.partition(": ")
    if not reason:
        return [f"{name}: needs its reason, or `maybe`"]
    if reason == "maybe" or not is_there(name):
        return []
    return [f"{name}: is there now, so its row belongs into [present]"]


def refused(row):
    """What is wrong with one row of [refused]."""
    name, _, reason = row.partition(": ")
    found = find(name.partition("(")[0])
    if not reason or found is None or "NotImplementedError" not in inspect.getsource(found):
        return [f"{name}: is not what [refused] says"]
    return []


def doubled(rows):
    """What is wrong with rows that are there twice."""
    names = [row.partition("(")[0].partition(":")[0] for block in ("present", "later") for row in rows[block]]
    return [f"{name}: is listed twice" for name in sorted({one for one in names if names.count(one) > 1})]


def is_special(name):
    return name.rsplit(".", 1)[-1].startswith("__") and name != "__version__"


def untested(names, source):
    """The names that no test has; special methods have no name of their own in a test."""
    files = [*source.glob("python/tests/*.py"), *source.glob("test/cluster/*.py")]
    words = set(re.findall(r"\w+", "\n".join(file.read_text() for file in files)))
    return {name for name in names if name.rsplit(".", 1)[-1] not in words and not is_special(name)}


def check(rows, source):
    """Everything that is wrong, one text each."""
    problems = [problem for row in rows["present"] for problem in compare(row)]
    problems += [problem for row in rows["later"] for problem in appeared(row)]
    problems += doubled(rows)
    problems += [problem for row in rows["refused"] for problem in refused(row)]
    now = untested([row.partition("(")[0] for row in rows["present"]], source)
    problems += [f"{name}: is in no test" for name in sorted(now - set(rows["untested"]))]
    problems += [f"{name}: its row in [untested] can go" for name in sorted(set(rows["untested"]) - now)]
    return problems


def main():
    source = Path(sys.argv[1])
    rows = read_rows(source / "test/lint/contract.txt")
    problems = check(rows, source)
    print(*problems, sep="\n")
    missing = len(rows["later"]) + len(rows["refused"])
    print(f"{len(rows['present'])} names compared, {missing} not there yet, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
