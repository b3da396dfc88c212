# SPDX-License-Identifier: BSD-3-Clause
"""One message type: one row in proto.h, one in the document, a handler, a fuzz seed."""

import re
from pathlib import PurePath
from typing import Iterator, NamedTuple

from tree import Problem, Tree, rule

HEADER = "lib/proto.h"
DOCUMENT = "doc/PROTOCOL.md"
SEEDS = "test/fuzz/seeds/frame/"
UNITS = {"PC_KIB": 1024, "PC_MIB": 1024 * 1024}

# A row of a handler table, or a test of the type in the code of a peer that has no table because
# it waits for exactly one message.
HANDLES = r"(?:\{{\s*|\.type\s*=\s*|\bcase\s+|[!=]=\s*)PC_MSG_{name}\b"


class Message(NamedTuple):
    """One X() row of proto.h."""

    number: int
    name: str
    senders: frozenset[str]
    body_max: int
    line: int


def messages(tree: Tree) -> list[Message]:
    """The rows of proto.h, in their order."""
    text = tree.text(HEADER)
    found = []
    pattern = r"\bX\(\s*(\d+)\s*,\s*(\w+)\s*,([^,]+),([^,]+),[^)]*\)"
    for row in re.finditer(pattern, text.replace("\\\n", " \n")):
        body = 1
        for factor in row[4].split("*"):
            factor = factor.strip()
            body *= UNITS[factor] if factor in UNITS else int(factor.rstrip("uU"))
        senders = frozenset(re.findall(r"PC_FROM_(\w+)", row[3]))
        found.append(Message(int(row[1]), row[2], senders, body,
                             text.count("\n", 0, row.start()) + 1))
    return found


def _size(text: str) -> int | None:
    """'64 KiB', '16', '1 MiB' in bytes; None when it is no size."""
    found = re.fullmatch(r"(\d+)(?:\s*(B|KiB|MiB))?", text.strip())
    if not found:
        return None
    return int(found[1]) * {"KiB": 1024, "MiB": 1 << 20}.get(found[2], 1)


class Row(NamedTuple):
    """One row of the document's table."""

    number: int
    name: str
    senders: frozenset[str]
    body_max: int | None
    line: int


def rows(tree: Tree) -> list[Row]:
    """Rows `| number | NAME | senders | body | state | largest body |` of the document."""
    found = []
    for number, line in tree.lines(DOCUMENT):
        cells = [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
        if len(cells) >= 6 and cells[0].isdigit():
            senders = frozenset(re.findall(r"[a-z]+", cells[2]))
            found.append(Row(int(cells[0]), cells[1], senders, _size(cells[5]), number))
    return found


# The document's words for enum pc_sender.
SENDERS = {"NEW": "new", "CLIENT": "client", "CONTROL": "control", "WORK": "work", "HOST": "host",
           "SCHED": "scheduler", "HUB": "hub", "PARENT": "parent", "NURSERY": "nursery"}


@rule("PROTOCOL.md lists the messages of proto.h, in the same order")
def document(tree: Tree) -> Iterator[Problem]:
    wanted, written = messages(tree), rows(tree)
    if not wanted:
        yield Problem(HEADER, 0, "no X() rows found")
    for message, row in zip(wanted, written):
        name = f"{message.number} {message.name}"
        if (message.number, message.name) != (row.number, row.name):
            there = f"{row.number} {row.name}"
            yield Problem(DOCUMENT, row.line, f"has {there} where proto.h has {name}")
            return  # everything after it would be reported as well
        if {SENDERS[s] for s in message.senders} != row.senders:
            yield Problem(DOCUMENT, row.line, f"{name}: proto.h has the senders "
                          + ", ".join(sorted(SENDERS[s] for s in message.senders)))
        if message.body_max != row.body_max:
            yield Problem(DOCUMENT, row.line, f"{name}: proto.h allows {message.body_max} bytes")
    for message in wanted[len(written):]:
        yield Problem(DOCUMENT, 0, f"has no row for {message.number} {message.name}")
    for row in written[len(wanted):]:
        yield Problem(DOCUMENT, row.line, f"{row.number} {row.name} is not in proto.h")


@rule("every message type is handled somewhere")
def handlers(tree: Tree) -> Iterator[Problem]:
    code = "\n".join(
        tree.text(path)
        for room in ("hub", "sched", "engine", "parent", "lib")
        for path in tree.files(".c", under=room + "/")
        if not path.startswith("lib/proto"))
    for message in messages(tree):
        if not re.search(HANDLES.format(name=message.name), code):
            yield Problem(HEADER, message.line, f"nobody handles {message.name}")


@rule("every message type has a fuzz seed")
def seeds(tree: Tree) -> Iterator[Problem]:
    have = {PurePath(path).stem.lower() for path in tree.files(under=SEEDS)}
    for message in messages(tree):
        if message.name.lower() not in have:
            yield Problem(HEADER, message.line, f"no seed {SEEDS}{message.name.lower()}")


@rule("every message type is named by a test")
def tested(tree: Tree) -> Iterator[Problem]:
    code = "\n".join(tree.text(path) for path in tree.files(".c", ".h", under="test/"))
    for message in messages(tree):
        if not re.search(rf"\bPC_MSG_{message.name}\b", code):
            yield Problem(HEADER, message.line, f"no C test mentions PC_MSG_{message.name}")
