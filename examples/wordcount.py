#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts the words of a text, on the engines of a cluster.

The lines of the text are scattered: each engine gets as many as the others. Each counts the words
of its own lines, and the counts are added up here. They must be exactly those of the whole text.

usage: wordcount.py [--profile NAME] [--cluster-id ID] [--folder FOLDER] [--top N] [SIZE]
"""

from __future__ import annotations

import argparse
import collections
import os
import re
import sys
import time
from typing import Iterable, Iterator

import pcluster

# Where there is English text on most machines; what is missing is passed over.
SOURCES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("/usr/share/common-licenses", "/usr/share/doc", SOURCES)
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")


def read_texts(folders: Iterable[str]) -> Iterator[str]:
    """The texts of all files below some folders that are text."""
    for folder in folders:
        for path, inner, names in os.walk(folder):
            inner.sort()
            for name in sorted(names):
                full = os.path.join(path, name)
                if not os.path.isfile(full):
                    continue
                try:
                    with open(full, encoding="utf-8") as file:
                        text = file.read()
                except (OSError, UnicodeDecodeError):
                    continue
                if "\0" not in text:
                    yield text


def read_lines(folders: Iterable[str], size: int) -> list[str]:
    """Lines of those texts, until `size` characters are reached."""
    lines: list[str] = []
    for text in read_texts(folders):
        lines += text[:size].splitlines()
        size -= len(text)
        if size <= 0:
            break
    return lines


def count_words(lines: Iterable[str]) -> collections.Counter[str]:
    """How often each word occurs in some lines."""
    counts: collections.Counter[str] = collections.Counter()
    for line in lines:
        counts.update(WORD.findall(line.casefold()))
    return counts


def merge(counts: Iterable[collections.Counter[str]]) -> collections.Counter[str]:
    """The counts of a whole from those of its parts."""
    total: collections.Counter[str] = collections.Counter()
    for part in counts:
        total.update(part)
    return total


def count_on_engines(client: pcluster.Client, lines: list[str]) -> collections.Counter[str]:
    """The counts, made by the engines."""
    engines = client[:]
    engines.scatter("wordcount_lines", lines, block=True)
    try:
        return merge(engines.apply_sync(count_words, pcluster.Reference("wordcount_lines")))
    finally:
        engines.execute("del wordcount_lines", block=True)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Count the words of a text.")
    parser.add_argument("size", nargs="?", type=float, default=12,
                        help="millions of characters of text (%(default)s)")
    parser.add_argument("--folder", help="whose text files to count (licences and documents)")
    parser.add_argument("--profile", help="profile of the cluster")
    parser.add_argument("--cluster-id", help="which of the profile's clusters")
    parser.add_argument("--top", type=int, default=8, help="how many words to show (%(default)s)")
    return parser.parse_args()


def main() -> None:
    options = read_arguments()
    lines = read_lines([options.folder] if options.folder else FOLDERS, int(options.size * 1e6))
    if not lines:
        sys.exit("wordcount.py: there is no text to count")
    try:
        client = pcluster.Client(profile=options.profile, cluster_id=options.cluster_id)
    except (OSError, ValueError) as error:
        sys.exit(f"wordcount.py: {error}")

    with client:
        engines = len(client)
        if not engines:
            sys.exit("wordcount.py: the cluster has no engines")
        start = time.perf_counter()
        counts = count_on_engines(client, lines)
        parallel_s = time.perf_counter() - start

    start = time.perf_counter()
    expected = collections.Counter(WORD.findall("\n".join(lines).casefold()))
    serial_s = time.perf_counter() - start

    print(f"{len(lines):,} lines, {counts.total():,} words, {len(counts):,} different ones\n")
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:options.top]:
        print(f"{word:>12} {count:>9,}")
    print(f"\n{engines} engines: {parallel_s:.2f} s    one process: {serial_s:.2f} s")
    if counts != expected:
        sys.exit("wordcount.py: the engines' counts differ from those of one process")


if __name__ == "__main__":
    main()
