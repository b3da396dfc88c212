# SPDX-License-Identifier: BSD-3-Clause
"""Rules about C: who includes whom, what the library exports, formatting."""

import re
from fnmatch import fnmatch
from typing import Iterator

from tree import Problem, Tree, rule

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)')

# Rooms whose headers each folder may include. Folders that are not named may include any.
EDGES = {
    "lib": {"lib"},
    "hub": {"hub", "lib"},
    "sched": {"sched", "lib"},
    "engine": {"engine", "lib"},
    "parent": {"parent", "lib"},
    "cmd": {"cmd", "lib", "hub", "sched", "engine", "parent"},
}
PUBLIC_HEADER = "pcluster.h"

# System headers that only these files may include. `uv.h` is in lib/conn.h, through which the
# roles' main files see it; whoever has no loop must not grow one.
OWNERS = {
    "Python.h": ["engine/*", "python/ext/*"],
    "structmember.h": ["engine/*", "python/ext/*"],
    "sodium.h": ["lib/noise.c", "lib/key.c"],
    "cjson/cJSON.h": ["lib/json.c"],
    "cJSON.h": ["lib/json.c"],
    "uv.h": ["lib/conn.[ch]", "hub/hub.[ch]", "hub/state.h", "sched/sched.[ch]", "sched/state.h",
             "parent/parent.[ch]", "parent/state.h", "engine/control.[ch]", "cmd/version.c"],
}
# Tests may look behind the curtain of what they test.
ANYTHING = ("test/",)


def includes(tree: Tree, path: str) -> Iterator[tuple[int, str | None, str | None]]:
    """Every #include of a file: line, "quoted" name, <system> name."""
    for number, line in tree.lines(path):
        if found := INCLUDE.match(line):
            yield number, found[1], found[2]


def _edge_problem(path: str, quoted: str) -> str | None:
    """What is wrong with `path` including "quoted", if anything."""
    room = path.split("/")[0]
    target, slash, _ = quoted.partition("/")
    if path.startswith(("python/", "examples/")):
        is_public = quoted in (PUBLIC_HEADER, "lib/" + PUBLIC_HEADER)
        own = not slash and path.startswith("python/")
        sees = f'includes "{quoted}": {room}/ sees {PUBLIC_HEADER} only'
        return None if is_public or own else sees
    if room not in EDGES:
        return None
    if not slash:
        return f'includes "{quoted}": include paths start with the room, "{room}/{quoted}"'
    if target in EDGES and target not in EDGES[room]:
        return f'includes "{quoted}": {room}/ may include {", ".join(sorted(EDGES[room]))} only'
    return None


@rule("rooms include only what they may")
def rooms(tree: Tree) -> Iterator[Problem]:
    for path in tree.files(".c", ".h"):
        for number, quoted, _ in includes(tree, path):
            if quoted and (text := _edge_problem(path, quoted)):
                yield Problem(path, number, text)


@rule("system headers have owners")
def owners(tree: Tree) -> Iterator[Problem]:
    for path in tree.files(".c", ".h"):
        if path.startswith(ANYTHING):
            continue
        for number, quoted, system in includes(tree, path):
            name = system or quoted or ""
            allowed = OWNERS.get(name)
            if allowed is not None and not any(fnmatch(path, pattern) for pattern in allowed):
                yield Problem(path, number, f"includes {name}: only {', '.join(allowed)} may")


@rule("assertions stay on in releases")
def asserts(tree: Tree) -> Iterator[Problem]:
    for path in tree.files(".c", ".h", "meson.build"):
        for number, line in tree.lines(path):
            if re.search(r"\bNDEBUG\b|b_ndebug\s*=\s*(true|if-release)", line):
                yield Problem(path, number, "our own invariants are checked in releases, too")


def public_functions(tree: Tree) -> dict[str, int]:
    """Names of the functions that pcluster.h declares PC_PUBLIC, with their lines."""
    path = "lib/" + PUBLIC_HEADER
    text = tree.text(path)
    found = {}
    for match in re.finditer(r"^PC_PUBLIC\s[^;]*?\b(\w+)\s*\(", text, re.M):
        found[match[1]] = text.count("\n", 0, match.start()) + 1
    return found


@rule("libpcluster.so exports exactly the PC_PUBLIC functions of pcluster.h", needs_build=True)
def exports(tree: Tree) -> Iterator[Problem]:
    assert tree.build is not None
    library = tree.build / "lib" / "libpcluster.so"
    names = tree.run("nm", "-D", "--defined-only", "--format=posix", library)
    if names.returncode != 0:
        yield Problem(str(library), 0, names.stderr.strip())
        return
    exported = set()
    for line in names.stdout.splitlines():
        name, kind = line.split()[:2]
        if kind != "A":  # the name of the symbol version itself
            exported.add(name.split("@")[0])
    declared = public_functions(tree)
    header = "lib/" + PUBLIC_HEADER
    for name in sorted(exported):
        if not name.startswith("pc_"):
            yield Problem("lib/libpcluster.syms", 0, f"exports {name}, which is not a pc_ name")
        elif name not in declared:
            yield Problem(header, 0, f"{name} is exported but not declared PC_PUBLIC")
    for name in sorted(declared.keys() - exported):
        yield Problem(header, declared[name], f"{name} is declared PC_PUBLIC but not exported")


NEEDED = {"libsodium", "libcjson", "libc"}


@rule("libpcluster.so has a soname and symbol versions, and needs libsodium, cJSON and libc only", needs_build=True)
def library(tree: Tree) -> Iterator[Problem]:
    assert tree.build is not None
    path = tree.build / "lib" / "libpcluster.so"
    names = tree.run("nm", "-D", "--defined-only", "--with-symbol-versions", "--format=posix", path)
    for line in names.stdout.splitlines():
        name, kind = line.split()[:2]
        if kind != "A" and "@@PCLUSTER_" not in name:
            yield Problem("lib/libpcluster.syms", 0, f"{name} has no version")
    dynamic = tree.run("readelf", "-dW", path).stdout
    if not re.search(r"\(SONAME\).*\[libpcluster\.so\.\d+\]", dynamic):
        yield Problem("lib/meson.build", 0, f"{path} has no soname libpcluster.so.N")
    for needed in re.findall(r"\(NEEDED\).*\[(\w+)\.so", dynamic):
        if needed not in NEEDED:
            yield Problem("lib/meson.build", 0, f"libpcluster.so needs {needed}, which programs may not have")


@rule("C sources are formatted (clang-format)")
def formatting(tree: Tree) -> Iterator[Problem]:
    paths = tree.files(".c", ".h")
    if not paths:
        return
    done = tree.run("clang-format", "--dry-run", "-Werror", *paths)
    seen = set()
    for line in done.stderr.splitlines():
        if found := re.match(r"(\S+?):(\d+):\d+: error: ", line):
            if found[1] not in seen:  # one line per file: clang-format -i mends them all
                seen.add(found[1])
                yield Problem(found[1], int(found[2]), "not formatted: run clang-format -i on it")
    if done.returncode != 0 and not seen:
        yield Problem(".clang-format", 0, done.stderr.strip() or "clang-format failed")
