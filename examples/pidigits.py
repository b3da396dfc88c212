#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Looks at the digits of pi, on the engines of a cluster.

The digits are computed here, with the series of the Chudnovsky brothers. The engines count in
blocks of them how often each digit and each pair of neighbours occurs. The sums must be exactly
what one process counts in all digits.

usage: pidigits.py [--profile NAME] [--cluster-id ID] [SIZE]
"""

from __future__ import annotations

import argparse
import collections
import math
import sys
import time
from typing import Iterable, Sequence

import pcluster

Counts = collections.Counter[str]


def chudnovsky(first: int, end: int) -> tuple[int, int, int]:
    """Terms `first` up to `end` of the series as a fraction: the factors P and Q, and the sum T."""
    if end - first == 1:
        p = (6 * first - 5) * (2 * first - 1) * (6 * first - 1) if first else 1
        q = first**3 * (640320**3 // 24) if first else 1
        t = p * (13591409 + 545140134 * first)
        return p, q, -t if first % 2 else t
    middle = (first + end) // 2
    p1, q1, t1 = chudnovsky(first, middle)
    p2, q2, t2 = chudnovsky(middle, end)
    return p1 * p2, q1 * q2, t1 * q2 + p1 * t2


def pi_digits(count: int) -> str:
    """So many digits of pi; the first is the 3."""
    sys.set_int_max_str_digits(0)
    spare = 10  # the last ones are not exact
    _, q, t = chudnovsky(0, count // 14 + 2)
    root = math.isqrt(10005 * 10 ** (2 * (count + spare)))
    return str(426880 * root * q // t)[:count]


def count_block(block: str, owned: int) -> tuple[Counts, Counts]:
    """How often digits and pairs occur that begin in the first `owned` characters of a block."""
    pairs = collections.Counter(block[i:i + 2] for i in range(min(owned, len(block) - 1)))
    return collections.Counter(block[:owned]), pairs


def merge(counts: Iterable[tuple[Counts, Counts]]) -> tuple[Counts, Counts]:
    """The counts of all digits from those of the blocks."""
    digits: Counts = collections.Counter()
    pairs: Counts = collections.Counter()
    for some_digits, some_pairs in counts:
        digits.update(some_digits)
        pairs.update(some_pairs)
    return digits, pairs


def count_on_engines(client: pcluster.Client, digits: str, size: int) -> tuple[Counts, Counts]:
    """The counts, made by the engines in blocks of `size` digits."""
    # With the digit that follows: the last pair of a block ends in the next one.
    blocks = [digits[start:start + size + 1] for start in range(0, len(digits), size)]
    return merge(client.load_balanced_view().map_async(count_block, blocks, [size] * len(blocks)))


def count_here(digits: str) -> tuple[Counts, Counts]:
    """The counts, made at once."""
    singles = collections.Counter({digit: digits.count(digit) for digit in set(digits)})
    return singles, collections.Counter(map("".join, zip(digits, digits[1:])))


def chi_squared(counts: Counts, width: int) -> float:
    """How far groups of `width` digits are from equally frequent."""
    kinds: int = 10**width
    expected = counts.total() / kinds
    return sum((counts[f"{group:0{width}}"] - expected) ** 2 for group in range(kinds)) / expected


def print_table(digits: Counts, pairs: Counts) -> None:
    """What was counted."""
    for digit, count in sorted(digits.items()):
        print(f"{digit:>6} {count:>9,}")
    frequent: Sequence[tuple[str, int]] = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    (most, most_count), (least, least_count) = frequent[0], frequent[-1]
    print(f"\nmost frequent pair {most} ({most_count:,}), least frequent {least} ({least_count:,})")
    print(f"chi squared {chi_squared(digits, 1):.1f} (9 expected), pairs {chi_squared(pairs, 2):.1f} (99 expected)")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Count digits of pi and pairs of them.")
    parser.add_argument("size", nargs="?", type=int, default=100_000, help="how many digits (%(default)s)")
    parser.add_argument("--block", type=int, default=10_000, help="digits per task (%(default)s)")
    parser.add_argument("--profile", help="profile of the cluster")
    parser.add_argument("--cluster-id", help="which of the profile's clusters")
    options = parser.parse_args()
    if options.size < 2 or options.block < 1:
        parser.error("at least two digits, and one in a block, are needed")
    return options


def main() -> None:
    options = read_arguments()
    try:
        client = pcluster.Client(profile=options.profile, cluster_id=options.cluster_id)
    except (OSError, ValueError) as error:
        sys.exit(f"pidigits.py: {error}")

    with client:
        engines = len(client)
        if not engines:
            sys.exit("pidigits.py: the cluster has no engines")
        start = time.perf_counter()
        digits = pi_digits(options.size)
        digits_s = time.perf_counter() - start

        start = time.perf_counter()
        counts = count_on_engines(client, digits, options.block)
        parallel_s = time.perf_counter() - start

    start = time.perf_counter()
    expected = count_here(digits)
    serial_s = time.perf_counter() - start

    print(f"{len(digits):,} digits of pi ({digits_s:.2f} s), the last are {digits[-10:]}\n")
    print_table(*counts)
    print(f"\n{engines} engines: {parallel_s:.3f} s    one process: {serial_s:.3f} s")
    if counts != expected:
        sys.exit("pidigits.py: the engines' counts differ from those of one process")


if __name__ == "__main__":
    main()
