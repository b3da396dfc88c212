# SPDX-License-Identifier: BSD-3-Clause
"""Manual pages: one per subcommand, clean, and in agreement with what the program says."""

import os
import re
import subprocess
from pathlib import Path
from typing import Iterator

from rules_c import public_functions
from tree import Problem, Tree, rule

TABLE = "cmd/main.c"
SECTIONS = ("NAME", "DESCRIPTION", "EXAMPLES")
SECTIONS_OF_COMMANDS = ("SYNOPSIS", "EXIT STATUS")
# mandoc asks for pages that only exist where the package is installed.
IGNORED = re.compile(r"referenced manual not found|operating system explicitly specified")


def subcommands(tree: Tree) -> dict[str, int]:
    """Names in the table of cmd/main.c, with their lines."""
    found = {}
    for number, line in tree.lines(TABLE):
        if row := re.match(r'\s*\{\s*"([a-z-]+)"\s*,', line):
            found[row[1]] = number
    return found


def page(name: str) -> str:
    """Path of a subcommand's page."""
    return f"man/pcluster-{name}.1"


@rule("every subcommand has a manual page, and every page a subcommand")
def pages(tree: Tree) -> Iterator[Problem]:
    commands = subcommands(tree)
    if not commands:
        yield Problem(TABLE, 0, 'no rows {"name", ...} found')
    for name, line in commands.items():
        if not tree.has(page(name)):
            yield Problem(TABLE, line, f"no page {page(name)}")
        if f"Xr pcluster-{name} 1" not in tree.text("man/pcluster.1"):
            yield Problem("man/pcluster.1", 0, f"does not refer to pcluster-{name}(1)")
        word = name.replace("-", "_")
        if not re.search(rf"\bcmd_{word}\b", tree.text(f"cmd/{word}.c")):
            yield Problem(TABLE, line, f"cmd/{word}.c has no cmd_{word}")
    for path in tree.files(".1", under="man/pcluster-"):
        if path[len("man/pcluster-"):-len(".1")] not in commands:
            yield Problem(path, 0, f"is about a subcommand that {TABLE} does not have")
    installed = tree.text("man/meson.build")
    for path in written_pages(tree):
        if Path(path).name not in installed:
            yield Problem("man/meson.build", 0, f"does not install {path}")


def written_pages(tree: Tree) -> list[str]:
    """Pages of every section that stand in the tree; others are made of documents."""
    return [path for ending in (".1", ".3", ".5", ".7") for path in tree.files(ending, under="man/")]


def page_problems(tree: Tree, path: str, text: str) -> Iterator[Problem]:
    """What is wrong with a page; `path` may be one that was built."""
    for section in SECTIONS + (SECTIONS_OF_COMMANDS if path.endswith(".1") else ()):
        if not re.search(rf'^\.Sh "?(\d+\. )?{section}"?$', text, re.M):
            yield Problem(path, 0, f"no section {section}")
    done = tree.run("mandoc", "-Tlint", "-Wstyle", path)
    for line in (done.stdout + done.stderr).splitlines():
        found = re.match(r"mandoc: (\S+?):(\d+):\d+: (.*)", line)
        if found and not IGNORED.search(line):
            yield Problem(path, int(found[2]), found[3])


@rule("manual pages are clean (mandoc -Tlint) and have every section")
def mandoc(tree: Tree) -> Iterator[Problem]:
    for path in written_pages(tree):
        yield from page_problems(tree, path, tree.text(path))


@rule("pages that are made of documents are clean, too", needs_build=True)
def made_pages(tree: Tree) -> Iterator[Problem]:
    assert tree.build is not None
    pages_made = sorted((tree.build / "man").glob("*.7"))
    if not pages_made:
        yield Problem("man/meson.build", 0, "makes no pages")
    for path in pages_made:
        yield from page_problems(tree, str(path), path.read_text(encoding="utf-8"))


@rule("every function of the C library is in a manual page, and in the list of names that are exported")
def functions(tree: Tree) -> Iterator[Problem]:
    declared = public_functions(tree)
    symbols = tree.text("lib/libpcluster.syms")
    exported = set(re.findall(r"^ +(\w+\*?);$", symbols.split("local:")[0], re.M))
    described: dict[str, str] = {}
    for path in tree.files(".3", under="man/"):
        synopsis = tree.text(path).partition(".Sh SYNOPSIS")[2].partition(".Sh")[0]
        for name in re.findall(r"^\.F[no] (\w+)", synopsis, re.M):
            described[name] = path
    for name, line in declared.items():
        if name not in described:
            yield Problem("lib/pcluster.h", line, f"{name} is in no SYNOPSIS of man/*.3")
        if name not in exported:
            yield Problem("lib/pcluster.h", line, f"{name} is not in lib/libpcluster.syms")
    for name in sorted(exported - declared.keys()):
        yield Problem("lib/libpcluster.syms", 0, f"{name} is not in lib/pcluster.h")
    for name, path in described.items():
        if name not in declared:
            yield Problem(path, 0, f"{name} is not in lib/pcluster.h")


@rule("every member of a connection file is in its manual page")
def connection(tree: Tree) -> Iterator[Problem]:
    text = tree.text("man/pcluster-connection.5")
    names = re.findall(r'pc_json_put\w*\(json, "(\w+)"', tree.text("lib/connfile.c"))
    if not names:
        yield Problem("lib/connfile.c", 0, "no members found")
    for name in names:
        if f".It Va {name}\n" not in text:
            yield Problem("man/pcluster-connection.5", 0, f"{name} is missing")


# "--json" and "-n" as words of their own; "pcluster-start" and "-f-x" are none.
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*[a-z]|-[A-Za-z])(?![\w-])")


def help_options(text: str) -> set[str]:
    """Options that a help text names."""
    return set(OPTION.findall(text))


def page_options(text: str) -> set[str]:
    """Options that the .Fl macros of a page name."""
    found = set()
    for line in text.splitlines():
        for word in re.findall(r"\bFl ((?:-?-?[A-Za-z][\w-]*)(?: ,)?)", line):
            word = word.removesuffix(" ,")
            found.add("-" + word)
    return {option for option in found if OPTION.fullmatch(option)}


def _ask_help(tree: Tree, name: str) -> subprocess.CompletedProcess[str]:
    assert tree.build is not None
    program = tree.build / "cmd" / "pcluster"
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run([program, name, "-h"], text=True, capture_output=True, timeout=60,
                          stdin=subprocess.DEVNULL, env=environment, check=False)


@rule("what '-h' says and what the manual page says is the same", needs_build=True)
def options(tree: Tree) -> Iterator[Problem]:
    for name in subcommands(tree):
        done = _ask_help(tree, name)
        if done.returncode != 0:
            yield Problem(f"cmd/{name}.c", 0, f"'pcluster {name} -h' exits {done.returncode}")
            continue
        said, written = help_options(done.stdout), page_options(tree.text(page(name)))
        for option in sorted(said - written):
            yield Problem(page(name), 0, f"{option} of 'pcluster {name} -h' is missing")
        for option in sorted(written - said):
            yield Problem(f"cmd/{name}.c", 0, f"{option} of {page(name)} is missing in '-h'")


@rule("links in the documents lead somewhere")
def links(tree: Tree) -> Iterator[Problem]:
    for path in tree.files(".md"):
        for number, line in tree.lines(path):
            for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
                if "://" in target:
                    continue
                where = (tree.root / path).parent / target
                if not where.exists():
                    yield Problem(path, number, f"link to {target}, which is not there")


@rule("the README's first screen has the two commands")
def readme(tree: Tree) -> Iterator[Problem]:
    first = "\n".join(tree.text("README.md").splitlines()[:30])
    for command in ("tools/demo", "tools/check"):
        if command not in first:
            yield Problem("README.md", 1, f"{command} is not in the first 30 lines")


TASK_SOURCE, TASK_PAGE = "sched/task.c", "doc/TASKS.md"


def legal_steps(text: str) -> dict[str, set[str]]:
    """The rows of `legal` in task.c."""
    over = set(re.findall(r"TASK_(\w+)", "".join(re.findall(r"#define OVER (.*)", text))))
    table = re.search(r"legal\[\] = \{(.*?)\};", text, re.DOTALL)
    rows = re.findall(r"\[TASK_(\w+)\] =(.*?),\n", table[1] if table else "", re.DOTALL)
    return {name: set(re.findall(r"TASK_(\w+)", to)) | (over if re.search(r"\bOVER\b", to) else set())
            for name, to in rows}


def written_steps(text: str) -> dict[str, set[str]]:
    """The rows of the table in TASKS.md."""
    steps: dict[str, set[str]] = {}
    for names, to in re.findall(r"^\| ([A-Z, ]+) \|([A-Z, ]*)\|$", text, re.MULTILINE):
        for name in names.split(", "):
            steps[name] = {other for other in to.strip().split(", ") if other}
    return steps


@rule("TASKS.md has the steps that task.c allows")
def task_steps(tree: Tree) -> Iterator[Problem]:
    legal, written = legal_steps(tree.text(TASK_SOURCE)), written_steps(tree.text(TASK_PAGE))
    if not legal:
        yield Problem(TASK_SOURCE, 0, "no table of legal steps found")
    for name in sorted(legal.keys() | written.keys()):
        if legal.get(name) != written.get(name):
            there = ", ".join(sorted(legal.get(name) or ())) or "no step"
            yield Problem(TASK_PAGE, 0, f"{name}: task.c allows {there}")
