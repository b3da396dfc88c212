#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts what a folder of Python sources is made of, on the engines of a cluster.

Every .py file is parsed by some engine: functions, classes, imports and the most frequent names
are counted. Then the same is done in this process alone, to see that the counts are equal and what
the engines were worth.

usage: census.py [--profile NAME] [--cluster-id ID] [--top N] [FOLDER]
"""

import argparse
import ast
import collections
import os
import sys
import sysconfig
import time
import warnings

import pcluster


def count_file(path):
    """Counts of one file: (Counter of kinds of statements, Counter of names)."""
    kinds = collections.Counter(files=1)
    names = collections.Counter()
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(file.read(), path)
    except (SyntaxError, ValueError, RecursionError):  # meant for another Python, or a test of one
        kinds["not parsed"] += 1
        return kinds, names
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            kinds["functions"] += 1
        elif isinstance(node, ast.ClassDef):
            kinds["classes"] += 1
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            kinds["imports"] += 1
        elif isinstance(node, ast.Name):
            names[node.id] += 1
    return kinds, names


def find_sources(folder):
    """The .py files below a folder, largest first, so that no engine gets a large one last."""
    found = []
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("site-packages", "dist-packages")]
        for name in names:
            full = os.path.join(path, name)
            if name.endswith(".py") and os.path.isfile(full):
                found.append(full)
    return sorted(found, key=lambda path: (-os.path.getsize(path), path))


def add_up(counts):
    """The sum of what count_file() gave for each file."""
    kinds, names = collections.Counter(), collections.Counter()
    for some_kinds, some_names in counts:
        kinds.update(some_kinds)
        names.update(some_names)
    return kinds, names


def count_on_engines(client, sources):
    """The counts, made by the engines."""
    result = client.load_balanced_view().map_async(count_file, sources)
    if sys.stderr.isatty():
        result.wait_interactive()
    return add_up(result)


def print_table(kinds, names, top):
    """What was counted."""
    for kind in ("files", "functions", "classes", "imports", "not parsed"):
        print(f"{kind:>12} {kinds[kind]:>9,}")
    frequent = sorted(names.items(), key=lambda item: (-item[1], item[0]))[:top]
    width = max((len(name) for name, _ in frequent), default=0)
    print("\nmost frequent names")
    for name, count in frequent:
        print(f"{name:>{max(width, 12)}} {count:>9,}")


def read_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description="Count what Python sources are made of.")
    parser.add_argument(
        "folder", nargs="?", default=sysconfig.get_path("stdlib"),
        help="default: the standard library, %(default)s")
    parser.add_argument("--profile", help="profile of the cluster")
    parser.add_argument("--cluster-id", help="which of the profile's clusters")
    parser.add_argument("--top", type=int, default=8, help="how many names to show (%(default)s)")
    return parser.parse_args()


def main():
    options = read_arguments()
    sources = find_sources(options.folder)
    if not sources:
        sys.exit(f"census.py: no .py files in {options.folder}")
    try:
        client = pcluster.Client(profile=options.profile, cluster_id=options.cluster_id)
    except (OSError, ValueError) as error:
        sys.exit(f"census.py: {error}")

    with client:
        engines = len(client)
        if not engines:
            sys.exit("census.py: the cluster has no engines")
        start = time.perf_counter()
        kinds, names = count_on_engines(client, sources)
        parallel_s = time.perf_counter() - start

    start = time.perf_counter()
    expected = add_up(map(count_file, sources))
    serial_s = time.perf_counter() - start

    print(f"census of {options.folder}\n")
    print_table(kinds, names, options.top)
    print(f"\n{engines} engines: {parallel_s:.2f} s    one process: {serial_s:.2f} s"
          f"    ({serial_s / parallel_s:.1f} times as fast)")
    if (kinds, names) != expected:
        sys.exit("census.py: the engines' counts differ from those of one process")


if __name__ == "__main__":
    main()
