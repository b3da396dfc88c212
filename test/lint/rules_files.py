# SPDX-License-Identifier: BSD-3-Clause
"""Rules about files of every kind: licence line, length, unfinished work, registered tests."""

import re
from typing import Iterator

from tree import Problem, Tree, rule

SPDX = "SPDX-License-Identifier: BSD-3-Clause"
LONGEST = 800
WIDEST = {".c": 100, ".h": 100}
WIDEST_OTHER = 120
SOURCES = (".c", ".h", ".py", ".sh", "meson.build", ".1", ".supp")
# Written so that this file keeps its own rule.
WORDS = ["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]
UNFINISHED = re.compile(r"\b(" + "|".join(WORDS) + r")\b")


def scripts(tree: Tree) -> list[str]:
    """Files without a suffix that start with #!."""
    found = [p for p in tree.files() if "." not in p.rsplit("/", 1)[-1] and _is_text(tree, p)]
    return [p for p in found if tree.text(p).startswith("#!")]


def _is_text(tree: Tree, path: str) -> bool:
    if path.startswith("test/fuzz/seeds/"):
        return False
    return b"\0" not in (tree.root / path).read_bytes()[:4096]


def sources(tree: Tree) -> list[str]:
    """Everything that people write in a programming language."""
    return tree.files(*SOURCES) + scripts(tree)


@rule("each source file names its licence")
def spdx(tree: Tree) -> Iterator[Problem]:
    for path in sources(tree):
        if SPDX not in "\n".join(tree.text(path).splitlines()[:3]):
            yield Problem(path, 1, f"no line '{SPDX}' at the top")


@rule(f"no source file is longer than {LONGEST} lines, and no line is too wide")
def size(tree: Tree) -> Iterator[Problem]:
    for path in sources(tree):
        count = len(tree.text(path).splitlines())
        widest = WIDEST.get(path[-2:], WIDEST_OTHER)
        if count > LONGEST:
            yield Problem(path, count, f"{count} lines: is this still one topic?")
        for number, line in tree.lines(path):
            if len(line) > widest:
                yield Problem(path, number, f"{len(line)} columns, {widest} are allowed")


@rule("nothing is left unfinished in the sources")
def unfinished(tree: Tree) -> Iterator[Problem]:
    for path in sources(tree) + tree.files(".md"):
        for number, line in tree.lines(path):
            if found := UNFINISHED.search(line):
                yield Problem(path, number, f"{found[0]}: finish it, or write an issue")


@rule("white space: no tabs, none at the end of a line, one newline at the end of the file")
def whitespace(tree: Tree) -> Iterator[Problem]:
    for path in sources(tree) + tree.files(".md"):
        text = tree.text(path)
        for number, line in tree.lines(path):
            if line != line.rstrip():
                yield Problem(path, number, "white space at the end of the line")
            if "\t" in line and not path.endswith(".1"):
                yield Problem(path, number, "a tab: indent with spaces")
        if not text.endswith("\n") or text.endswith("\n\n"):
            yield Problem(path, text.count("\n") + 1, "the file ends with exactly one newline")


# How a program is named in meson.build: whole, or by what follows "test_" or "fuzz_".
@rule("every test program is registered with meson")
def registered(tree: Tree) -> Iterator[Problem]:
    for path in tree.files(".c", ".py"):
        folder, _, name = path.rpartition("/")
        found = re.match(r"(test|fuzz|bench)_(\w+)\.(c|py)$", name)
        if not found or not folder.startswith(("test", "python/tests")):
            continue
        build = folder + "/meson.build"
        text = tree.text(build)
        words = set(re.findall(r"[\w.]+", text))
        by_name = {name, name.rsplit(".", 1)[0], found[2]} & words
        # pytest collects a folder by itself; then the folder is what must be registered.
        by_folder = found[3] == "py" and "pytest" in words
        if not by_name and not by_folder:
            yield Problem(path, 1, f"is not mentioned in {build}: it never runs")


@rule("scripts are clean (shellcheck) and executable")
def shell(tree: Tree) -> Iterator[Problem]:
    paths = [p for p in scripts(tree) if re.match(r"#!.*\bsh\b|#!.*bash", tree.text(p))]
    for path in paths:
        if not (tree.root / path).stat().st_mode & 0o111:
            yield Problem(path, 1, "is a script but not executable")
        if "set -euo pipefail" not in tree.text(path):
            yield Problem(path, 1, "no 'set -euo pipefail'")
    if paths:
        done = tree.run("shellcheck", "--format=gcc", "--external-sources", *paths)
        for line in done.stdout.splitlines():
            if found := re.match(r"(.+?):(\d+):\d+: (.*)", line):
                yield Problem(found[1], int(found[2]), found[3])
