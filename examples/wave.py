#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Lets waves run over a square, each engine of a cluster computing a strip of it.

The wave equation on a grid: each step needs of every point its neighbours of the step before. The
grid is cut into strips of rows, one per engine. Before each step every engine gets the rows that
border on its own, pulled from its neighbours and pushed to it. At the end the whole grid must be
that of one process to 1e-12. Needs numpy, here and on the engines.

usage: wave.py [--profile NAME] [--cluster-id ID] [--steps N] [SIZE]
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy

import pcluster

RATIO = 0.25  # squared: speed * time step / distance of points; more than 0.5 is not stable
LIMIT = 1e-12
SHADES = " .:-=+*#%@"


class Strip:
    """Some rows of the grid, now and one step before. The first and the last row belong to the
    neighbours, or are the border of the grid, which does not move."""

    def __init__(self, rows: Any) -> None:
        self.now = rows.copy()
        self.before = rows.copy()

    def step(self) -> None:
        """Go one step on, all rows but the first and the last."""
        now, after = self.now, self.before
        around = now[:-2, 1:-1] + now[2:, 1:-1] + now[1:-1, :-2] + now[1:-1, 2:] - 4 * now[1:-1, 1:-1]
        after[1:-1, 1:-1] = 2 * now[1:-1, 1:-1] - after[1:-1, 1:-1] + RATIO * around
        self.now, self.before = after, now


def make_grid(size: int) -> Any:
    """A drop that has just fallen onto the square, off its centre."""
    x = numpy.linspace(0, 1, size)
    grid = numpy.exp(-200 * ((x[:, None] - 0.35) ** 2 + (x[None, :] - 0.4) ** 2))
    grid[[0, -1]] = 0
    grid[:, [0, -1]] = 0
    return grid


def solve_here(grid: Any, steps: int) -> Any:
    """The grid after some steps, computed as a whole."""
    before, now = grid, grid
    for _ in range(steps):
        after = numpy.zeros_like(now)
        after[1:-1, 1:-1] = 2 * now[1:-1, 1:-1] - before[1:-1, 1:-1]
        for axis in (0, 1):
            second = numpy.diff(now, 2, axis)
            after[1:-1, 1:-1] += RATIO * (second[:, 1:-1] if axis == 0 else second[1:-1])
        before, now = now, after
    return now


def send_strips(client: pcluster.Client, grid: Any) -> pcluster.DirectView:
    """Give each engine its strip; the view of those that have one, from top to bottom."""
    inner = numpy.arange(1, len(grid) - 1)
    ids = client.ids[:len(inner)]
    for number, rows in zip(ids, numpy.array_split(inner, len(ids))):
        client[number].push({"wave": Strip(grid[rows[0] - 1:rows[-1] + 2])}, block=True)
    return client[ids]


def exchange(engines: pcluster.DirectView) -> None:
    """Give each engine the rows that border on its own."""
    edges = engines.pull(["wave.now[1]", "wave.now[-2]"], block=True)
    pushes = []
    for number, (upper, lower) in enumerate(zip(engines.targets, engines.targets[1:])):
        pushes.append(engines.push({"wave.now[-1]": edges[number + 1][0]}, targets=upper, block=False))
        pushes.append(engines.push({"wave.now[0]": edges[number][1]}, targets=lower, block=False))
    for push in pushes:
        push.get()


def solve_on_engines(engines: pcluster.DirectView, steps: int) -> Any:
    """The inner rows of the grid after some steps, computed by the engines."""
    for _ in range(steps):
        exchange(engines)
        engines.execute("wave.step()", block=True)
    return engines.gather("wave.now[1:-1]", block=True)


def print_grid(grid: Any, rows: int = 16, columns: int = 48) -> None:
    """The heights of the waves as shades."""
    y, x = (numpy.linspace(0, len(grid) - 1, count).astype(int) for count in (rows, columns))
    shown = numpy.abs(grid[numpy.ix_(y, x)])
    for row in (shown / (shown.max() or 1) * (len(SHADES) - 1)).round().astype(int):
        print("".join(SHADES[shade] for shade in row).rstrip())


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Let waves run over a square.")
    parser.add_argument("size", nargs="?", type=int, default=400,
                        help="points along each side of the square (%(default)s)")
    parser.add_argument("--steps", type=int, help="steps in time (half the size)")
    parser.add_argument("--profile", help="profile of the cluster")
    parser.add_argument("--cluster-id", help="which of the profile's clusters")
    options = parser.parse_args()
    if options.size < 3:
        parser.error("at least 3 points are needed")
    return options


def main() -> None:
    options = read_arguments()
    steps = options.size // 2 if options.steps is None else options.steps
    grid = make_grid(options.size)
    try:
        client = pcluster.Client(profile=options.profile, cluster_id=options.cluster_id)
    except (OSError, ValueError) as error:
        sys.exit(f"wave.py: {error}")

    with client:
        if not client.ids:
            sys.exit("wave.py: the cluster has no engines")
        start = time.perf_counter()
        engines = send_strips(client, grid)
        try:
            found = solve_on_engines(engines, steps)
        finally:
            engines.execute("del wave", block=True)
        parallel_s = time.perf_counter() - start

    start = time.perf_counter()
    expected = solve_here(grid, steps)
    serial_s = time.perf_counter() - start

    print_grid(numpy.pad(found, ((1, 1), (0, 0))))
    difference = float(numpy.abs(found - expected[1:-1, :]).max())
    print(f"\n{options.size} x {options.size} points, {steps} steps; largest difference {difference:.1e}")
    print(f"{len(engines)} engines: {parallel_s:.2f} s    one process: {serial_s:.2f} s")
    if not difference <= LIMIT:
        sys.exit(f"wave.py: the engines' solution differs from that of one process by more than {LIMIT:g}")


if __name__ == "__main__":
    main()
