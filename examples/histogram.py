#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A histogram of data that stays where it is: on the engines of a cluster.

Each engine makes random data of its own and keeps it. For the histogram only its bounds and its
counts travel. Then all data is brought here, to see that numpy gets exactly the same from it.
Needs numpy, here and on the engines.

usage: histogram.py [--profile NAME] [--cluster-id ID] [--bins N] [--seed N] [SIZE]
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any, Iterable

import numpy

import pcluster

Histogram = tuple[Any, Any]  # counts, edges of the bins; what numpy.histogram() gives
OWN = pcluster.Reference("histogram")  # a dictionary on each engine
DATA = pcluster.Reference("histogram['data']")
WIDTH = 50  # of the longest bar, in characters


def make_data(own: dict[str, Any], size: int) -> None:
    """Put random values into an engine's dictionary; their histogram has two hills."""
    random = numpy.random.default_rng(own["seed"])
    own["data"] = random.normal(numpy.where(random.random(size) < 0.7, -1.0, 2.0), 0.8)


def bounds(data: Any) -> tuple[float, float]:
    """Smallest and largest value."""
    return float(data.min()), float(data.max())


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """The histogram of a whole from those of its parts, whose bins must be the same."""
    counts, edges = zip(*histograms)
    if any((edges[0] != other).any() for other in edges):
        sys.exit("histogram.py: the engines' bins differ")
    return numpy.sum(counts, axis=0), edges[0]


def histogram_on_engines(engines: pcluster.DirectView, bins: int) -> Histogram:
    """The histogram of everything that the engines have."""
    lows, highs = zip(*engines.apply_sync(bounds, DATA))
    return merge(engines.apply_sync(numpy.histogram, DATA, bins, (min(lows), max(highs))))


def print_bars(counts: Any, edges: Any) -> None:
    """The histogram, lying on its side."""
    for count, low, high in zip(counts, edges, edges[1:]):
        print(f"{low:6.2f} to {high:5.2f} {count:>9,} {'#' * round(WIDTH * count / max(counts))}")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make a histogram of data on engines.")
    parser.add_argument("size", nargs="?", type=int, default=1_000_000,
                        help="values on each engine (%(default)s)")
    parser.add_argument("--bins", type=int, default=20, help="how many bars (%(default)s)")
    parser.add_argument("--seed", type=int, default=23, help="of the random numbers (%(default)s)")
    parser.add_argument("--profile", help="profile of the cluster")
    parser.add_argument("--cluster-id", help="which of the profile's clusters")
    options = parser.parse_args()
    if options.size < 1 or options.bins < 1:
        parser.error("at least one value and one bin are needed")
    return options


def main() -> None:
    options = read_arguments()
    try:
        client = pcluster.Client(profile=options.profile, cluster_id=options.cluster_id)
    except (OSError, ValueError) as error:
        sys.exit(f"histogram.py: {error}")

    with client:
        engines = client[:]
        if not len(engines):
            sys.exit("histogram.py: the cluster has no engines")
        own = [{"seed": [options.seed, number]} for number in range(len(engines))]
        engines.scatter("histogram", own, flatten=True, block=True)
        try:
            engines.apply_sync(make_data, OWN, options.size)
            start = time.perf_counter()
            counts, edges = histogram_on_engines(engines, options.bins)
            parallel_s = time.perf_counter() - start

            start = time.perf_counter()
            data = engines.gather("histogram['data']", block=True)
            expected_counts, expected_edges = numpy.histogram(data, options.bins)
            serial_s = time.perf_counter() - start
        finally:
            engines.execute("del histogram", block=True)

    print(f"{len(data):,} values on {len(engines)} engines\n")
    print_bars(counts, edges)
    print(f"\non the engines: {parallel_s:.3f} s    gathered, in one process: {serial_s:.3f} s")
    if not (numpy.array_equal(counts, expected_counts) and numpy.array_equal(edges, expected_edges)):
        sys.exit("histogram.py: the engines' histogram differs from that of the gathered data")


if __name__ == "__main__":
    main()
