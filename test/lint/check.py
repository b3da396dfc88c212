#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Checks what the compiler does not: one rule, one line of TAP, one line per problem.

usage: check.py [--root DIR] [--build DIR]

Without a build folder the rules that look at the built library and executable are skipped.
"""

import argparse
import sys
import traceback
from pathlib import Path

import rules_c  # noqa: F401  (registers its rules)
import rules_docs  # noqa: F401
import rules_docstrings  # noqa: F401
import rules_files  # noqa: F401
import rules_protocol  # noqa: F401
import rules_python  # noqa: F401
from tree import RULES, Entry, Tree


def report(number: int, entry: Entry, tree: Tree) -> bool:
    """Runs one rule and prints its line of TAP; True when nothing was found."""
    if entry.needs_build and tree.build is None:
        print(f"ok {number} - {entry.title} # SKIP no build folder given")
        return True
    try:
        problems = [str(problem) for problem in entry.check(tree)]
    except Exception:  # a rule that breaks down has not been kept
        problems = traceback.format_exc().splitlines()
    print(f"{'not ok' if problems else 'ok'} {number} - {entry.title}")
    for problem in problems:
        print(f"# {problem}")
        print(problem, file=sys.stderr)
    return not problems


def main() -> int:
    """Runs every rule; 0 when all are kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--build", type=Path, help="build folder, for the rules that need one")
    arguments = parser.parse_args()
    tree = Tree(arguments.root.resolve(), arguments.build and arguments.build.resolve())
    print(f"1..{len(RULES)}")
    return 0 if all([report(i, entry, tree) for i, entry in enumerate(RULES, 1)]) else 1


if __name__ == "__main__":
    sys.exit(main())
