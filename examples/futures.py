#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts primes on the engines of a cluster, with results as futures.

An AsyncResult is a concurrent.futures.Future, so what Python has for futures works with it. The
same blocks of numbers are counted in five ways: as_completed, wait for the first, an executor's
map, await, and callbacks. Each must find what a sieve finds here.

usage: futures.py [--profile NAME] [--cluster-id ID] [SIZE]
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import sys
import threading
import time
from typing import Callable

import pcluster

Way = Callable[[pcluster.Client, "list[int]", int], int]


def count_block(first: int, size: int) -> int:
    """How many of the `size` numbers from `first` on are primes, by trial division."""
    return sum(
        1 for n in range(max(first, 2), first + size) if all(n % d for d in range(2, int(n**0.5) + 1))
    )


def with_as_completed(client: pcluster.Client, blocks: list[int], size: int) -> int:
    """The counts in the order in which they come."""
    view = client.load_balanced_view()
    futures = [view.apply_async(count_block, first, size) for first in blocks]
    return sum(future.result() for future in concurrent.futures.as_completed(futures))


def with_wait(client: pcluster.Client, blocks: list[int], size: int) -> int:
    """A few tasks at a time: a new one for each that has ended."""
    view, waiting, total = client.load_balanced_view(), iter(blocks), 0
    pending: set[concurrent.futures.Future[int]] = set()
    while True:
        for first in waiting:
            pending.add(view.apply_async(count_block, first, size))
            if len(pending) >= 2 * len(client):
                break
        if not pending:
            return total
        done, pending = concurrent.futures.wait(pending, return_when=concurrent.futures.FIRST_COMPLETED)
        total += sum(future.result() for future in done)


def with_executor(client: pcluster.Client, blocks: list[int], size: int) -> int:
    """As with a ProcessPoolExecutor."""
    with client.executor() as executor:
        return sum(executor.map(count_block, blocks, [size] * len(blocks)))


def with_await(client: pcluster.Client, blocks: list[int], size: int) -> int:
    """In an event loop, which goes on meanwhile."""

    async def count_all() -> int:
        view = client.load_balanced_view()
        first, *others = [view.apply_async(count_block, first, size) for first in blocks]
        return sum([await first, *await asyncio.gather(*map(asyncio.wrap_future, others))])

    return asyncio.run(count_all())


def with_callbacks(client: pcluster.Client, blocks: list[int], size: int) -> int:
    """Each result is taken in by a function that is called with it."""
    view, counts, all_there = client.load_balanced_view(), [], threading.Event()

    def take(future: concurrent.futures.Future[int]) -> None:
        counts.append(0 if future.exception() else future.result())
        if len(counts) == len(blocks):
            all_there.set()

    for first in blocks:
        view.apply_async(count_block, first, size).add_done_callback(take)
    all_there.wait()
    return sum(counts)


WAYS: dict[str, Way] = {
    "as_completed": with_as_completed,
    "wait": with_wait,
    "executor": with_executor,
    "await": with_await,
    "callbacks": with_callbacks,
}


def count_here(size: int) -> int:
    """How many primes there are below `size`, with a sieve."""
    is_prime = bytearray([1]) * size
    is_prime[:2] = bytes(min(size, 2))
    for n in range(2, int(size**0.5) + 1):
        if is_prime[n]:
            is_prime[n * n::n] = bytes(len(range(n * n, size, n)))
    return sum(is_prime)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Count primes, with results as futures.")
    parser.add_argument("size", nargs="?", type=int, default=100_000, help="count at least up to this (%(default)s)")
    parser.add_argument("--block", type=int, default=5000, help="numbers per task (%(default)s)")
    parser.add_argument("--profile", help="profile of the cluster")
    parser.add_argument("--cluster-id", help="which of the profile's clusters")
    options = parser.parse_args()
    if options.size < 1 or options.block < 1:
        parser.error("at least one number, and one in a block, are needed")
    return options


def main() -> None:
    options = read_arguments()
    try:
        client = pcluster.Client(profile=options.profile, cluster_id=options.cluster_id)
    except (OSError, ValueError) as error:
        sys.exit(f"futures.py: {error}")

    blocks = list(range(0, options.size, options.block))  # the last one is whole
    with client:
        engines = len(client)
        if not engines:
            sys.exit("futures.py: the cluster has no engines")
        counts, parallel_s = {}, 0.0
        for name, way in WAYS.items():
            start = time.perf_counter()
            counts[name] = way(client, blocks, options.block)
            parallel_s = time.perf_counter() - start
            print(f"{name:>14}: {counts[name]:,} primes in {len(blocks)} blocks, {parallel_s:.3f} s")

    start = time.perf_counter()
    expected = count_here(blocks[-1] + options.block)
    serial_s = time.perf_counter() - start
    print(f"\n{engines} engines: {parallel_s:.3f} s    one process: {serial_s:.3f} s, with a sieve")
    if set(counts.values()) != {expected}:
        sys.exit(f"futures.py: the engines' counts differ from {expected:,}, which the sieve here gives")


if __name__ == "__main__":
    main()
