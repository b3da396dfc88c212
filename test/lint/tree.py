# SPDX-License-Identifier: BSD-3-Clause
"""What the rules look at: the files of a checkout, and a list of rules that register themselves."""

import functools
import re
import subprocess
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

SKIPPED = re.compile(r"^(build.*|__pycache__|\..*cache|\.git|.*\.egg-info)$")


class Problem(NamedTuple):
    """One finding. `line` is 0 when the file as a whole is meant."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class Tree:
    """A source tree, and the build folder that belongs to it (None: not built)."""

    def __init__(self, root: Path, build: Path | None = None):
        self.root = root
        self.build = build

    @functools.cached_property
    def _all(self) -> list[str]:
        return sorted(self._walk(self.root))

    def _walk(self, folder: Path) -> Iterator[str]:
        for entry in folder.iterdir():
            if SKIPPED.match(entry.name):
                continue
            if entry.is_dir():
                yield from self._walk(entry)
            else:
                yield entry.relative_to(self.root).as_posix()

    def files(self, *suffixes: str, under: str = "") -> list[str]:
        """Paths, relative to the root, that start with `under` and end in one of `suffixes`."""
        return [p for p in self._all if p.startswith(under) and p.endswith(suffixes or ("",))]

    def has(self, path: str) -> bool:
        """True when there is such a file."""
        return (self.root / path).is_file()

    def text(self, path: str) -> str:
        """The file's text; empty when there is no such file, so that a rule can say so."""
        return (self.root / path).read_text("utf-8") if self.has(path) else ""

    def lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Numbered lines."""
        return enumerate(self.text(path).splitlines(), 1)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Runs a program in the root; a missing program is an error of the rule, not a pass."""
        return subprocess.run(
            [str(word) for word in command], cwd=self.root, text=True, errors="replace",
            stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False,
        )


Rule = Callable[[Tree], Iterator[Problem]]


class Entry(NamedTuple):
    """A registered rule."""

    title: str
    needs_build: bool
    check: Rule


RULES: list[Entry] = []


def rule(title: str, needs_build: bool = False) -> Callable[[Rule], Rule]:
    """Registers a rule under the sentence that holds when it finds nothing."""

    def register(check: Rule) -> Rule:
        RULES.append(Entry(title, needs_build, check))
        return check

    return register
