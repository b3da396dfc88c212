# SPDX-License-Identifier: BSD-3-Clause
"""Rules about Python sources: types, and warnings of the compiler."""

import re
import sys
from typing import Iterator

from tree import Problem, Tree, rule

PACKAGE = "python/pcluster/"


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
