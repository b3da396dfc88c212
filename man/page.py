# SPDX-License-Identifier: BSD-3-Clause
"""Makes a manual page of a document, so that the two can't disagree.

usage: page.py NAME SECTION ABOUT DATE document.md > page

Understands what doc/ is written in: headings, paragraphs, lists, tables, blocks of code, and within a line `code`,
**bold**, *emphasis* and [links](target), of which the text stays unless all of it is in parentheses. The first
heading is the title and is left out.
"""

import re
import sys
import textwrap
from typing import Iterator

WIDTH = 78
# A table narrower than this stays one; of a wider one each row is an item of a list.
COLUMNS = 76


def inline(text: str) -> str:
    """Text of a line, with fonts for what is marked."""
    text = text.replace("\\|", "|").replace("\\", "\\e")
    text = re.sub(r" ?\(\[[^]]+\]\([^)]*\)\)", "", text)
    text = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", text)
    pieces = re.split(r"(`[^`]*`)", text)
    for i, piece in enumerate(pieces):
        if piece.startswith("`") and len(piece) > 1:
            # A blank that must not be where the line ends.
            pieces[i] = rf"\fB{piece[1:-1].replace('-', chr(92) + '-').replace(' ', chr(92) + ' ')}\fR"
        else:
            piece = re.sub(r"\*\*(.+?)\*\*", r"\\fB\1\\fR", piece)
            pieces[i] = re.sub(r"(?<![\w*])\*([^*]+)\*(?![\w*])", r"\\fI\1\\fR", piece)
    return "".join(pieces)


def plain(text: str) -> str:
    """Text without marks, for headings and to measure."""
    return re.sub(r"\\f[BIR]", "", inline(text)).replace("\\-", "-").replace("\\ ", " ")


def lines_of(text: str) -> Iterator[str]:
    """Lines of a page: each sentence begins a new one, none is too long or taken for a request."""
    for sentence in re.split(r"(?<=[.!?:;)])\s+(?=[A-Z\\(])|\s*\n\s*\n", inline(" ".join(text.split()))):
        for line in textwrap.wrap(sentence, WIDTH, break_long_words=False, break_on_hyphens=False):
            yield "\\&" + line if line[:1] in ".'" else line


def cells_of(row: str) -> list[str]:
    """Of a row of a table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))]


def row_text(head: list[str], row: list[str]) -> Iterator[str]:
    """What a row says behind its tag. The last of many columns says it, the others are about it."""
    if len(row) == 1:
        yield from lines_of(row[0])
        return
    said = [f"{title}: {cell}" for title, cell in zip(head, row) if cell]
    if len(row) < 4:
        for i, text in enumerate(said):
            yield from [".br"] * (i > 0)
            yield from lines_of(text)
    else:
        yield from lines_of("; ".join(said[:-1]) + ".")
        yield ".br"
        yield from lines_of(row[-1])


def table(rows: list[str]) -> Iterator[str]:
    """A table: columns when it is narrow, else a list."""
    head, *body = [cells_of(row) for row in rows if not re.fullmatch(r"\|[\s|:-]+\|", row.strip())]
    widths = [max(len(plain(row[i])) for row in [head, *body]) for i in range(len(head))]
    if sum(widths) + 2 * len(widths) <= COLUMNS:
        yield ".Bl -column " + " ".join(f'"{"x" * width}"' for width in widths)
        for row in ([head] if any(head) else []) + body:
            yield ".It " + " Ta ".join(f'"{inline(cell)}"' if cell else '""' for cell in row)
    else:
        tags = 2 if all(row[0].isdigit() for row in body) else 1
        yield ".Bl -tag -width Ds"
        for row in body:
            yield ".It " + " ".join(f'"{inline(cell)}"' for cell in row[:tags])
            yield from row_text(head[tags:], row[tags:])
    yield ".El"


def items(block: list[str]) -> Iterator[str]:
    """A list. Lines that begin with blanks go on with the item before."""
    yield ".Bl -enum" if block[0][0].isdigit() else ".Bl -bullet"
    for item in re.split(r"\n(?=- |\d+\. )", "\n".join(block)):
        yield ".It"
        yield from lines_of(re.sub(r"^(?:- |\d+\. )", "", item))
    yield ".El"


def blocks_of(text: str) -> Iterator[list[str]]:
    """Blocks of lines that belong together."""
    is_item = re.compile(r"- |\d+\. ")
    block: list[str] = []
    in_code = False
    for line in [*text.splitlines(), ""]:
        if line.startswith("```"):
            in_code = not in_code
            block.append(line)
            if not in_code:
                yield block
                block = []
        elif in_code:
            block.append(line)
        elif line and not (is_item.match(line) and block and not is_item.match(block[0])):
            block.append(line)
        elif block:
            yield block
            block = [line] if line else []


def merged(blocks: Iterator[list[str]]) -> Iterator[list[str]]:
    """A list goes on behind an empty line when its numbers do."""
    last: list[str] = []
    for block in blocks:
        if last and last[0].startswith("1. ") and re.match(r"(?!1\. )\d+\. ", block[0]):
            last += block
            continue
        if last:
            yield last
        last = block
    if last:
        yield last


def body(text: str) -> Iterator[str]:
    """The page below its title."""
    follows_heading = True
    for block in merged(blocks_of(text)):
        first = block[0]
        if first.startswith("# "):
            continue
        if first.startswith("#"):
            title = plain(first.lstrip("#").strip())
            yield f".Ss {title}" if first.startswith("###") else f".Sh {title.upper()}"
            follows_heading = True
            continue
        if first.startswith("```"):
            yield ".Bd -literal -offset indent"
            yield from (("\\&" if line[:1] in ".'" and line else "") + line.replace("\\", "\\e")
                        for line in block[1:-1])
            yield ".Ed"
        elif first.startswith("|"):
            yield from table(block)
        elif re.match(r"- |\d+\. ", first):
            yield from items(block)
        elif not first.startswith("<!--"):
            if not follows_heading:
                yield ".Pp"
            yield from lines_of("\n".join(block))
        follows_heading = False


def main() -> None:
    name, section, about, date, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        text = file.read()
    source = path[path.rindex("doc/"):] if "doc/" in path else path
    print(f'.\\" Made of {source} by man/page.py: change it there.')
    print(f".Dd {date}\n.Dt {name.upper()} {section}\n.Os\n.Sh NAME\n.Nm {name}\n.Nd {about}\n.Sh DESCRIPTION")
    print("\n".join(body(text)))


if __name__ == "__main__":
    main()
