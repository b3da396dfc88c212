#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prices options by Monte Carlo simulation, each on whichever engine is free.

For each strike and volatility of a grid a task simulates how the price of a share may go, and
averages what two call options would pay: a European one (on the last price) and an Asian one (on
the geometric mean of all prices). Both have a closed form, the first that of Black and Scholes;
every price must be within 5 of its standard errors. Needs numpy, here and on the engines.

usage: options.py [--profile NAME] [--cluster-id ID] [--seed N] [SIZE]
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import time
from typing import NamedTuple, Sequence

import numpy

import pcluster

SPOT = 100.0  # price of the share now
RATE = 0.05  # interest per year
YEARS = 1.0
STEPS = 12  # prices on each path, for the mean
STRIKES = (90.0, 95.0, 100.0, 105.0, 110.0)
VOLATILITIES = (0.1, 0.2, 0.3, 0.4)
LIMIT = 5.0  # standard errors


class Estimate(NamedTuple):
    """A simulated price."""

    price: float
    error: float  # its standard error


def simulate(strike: float, volatility: float, paths: int, seed: int) -> tuple[tuple[float, float], ...]:
    """(price, standard error) of the European and of the Asian call."""
    step = YEARS / STEPS
    normal = numpy.random.default_rng(seed).standard_normal((paths, STEPS))
    growth = (RATE - volatility**2 / 2) * step + volatility * math.sqrt(step) * normal
    logs = math.log(SPOT) + numpy.cumsum(growth, axis=1)
    found = []
    for last in (logs[:, -1], logs.mean(axis=1)):
        pays = math.exp(-RATE * YEARS) * numpy.maximum(numpy.exp(last) - strike, 0)
        found.append((float(pays.mean()), float(pays.std(ddof=1)) / math.sqrt(paths)))
    return tuple(found)


def closed_form(strike: float, mean: float, variance: float) -> float:
    """Price of a call on something whose logarithm is normal with this mean and variance."""
    normal = statistics.NormalDist()
    d = (mean - math.log(strike)) / math.sqrt(variance)
    forward = math.exp(mean + variance / 2)
    paid = forward * normal.cdf(d + math.sqrt(variance)) - strike * normal.cdf(d)
    return math.exp(-RATE * YEARS) * paid


def european(strike: float, volatility: float) -> float:
    """What Black and Scholes say."""
    drift = (RATE - volatility**2 / 2) * YEARS
    return closed_form(strike, math.log(SPOT) + drift, volatility**2 * YEARS)


def asian(strike: float, volatility: float) -> float:
    """The same for the geometric mean of STEPS prices."""
    drift = (RATE - volatility**2 / 2) * YEARS * (STEPS + 1) / (2 * STEPS)
    variance = volatility**2 * YEARS * (STEPS + 1) * (2 * STEPS + 1) / (6 * STEPS**2)
    return closed_form(strike, math.log(SPOT) + drift, variance)


def price_on_engines(
    client: pcluster.Client, grid: Sequence[tuple[float, float]], paths: int, seed: int
) -> list[tuple[Estimate, Estimate]]:
    """Estimates for the points of the grid, one task for each."""
    strikes, volatilities = zip(*grid)
    seeds = range(seed, seed + len(grid))
    balanced = client.load_balanced_view()
    found = balanced.map_sync(simulate, strikes, volatilities, [paths] * len(grid), seeds)
    return [(Estimate(*vanilla), Estimate(*mean)) for vanilla, mean in found]


def distance(estimate: Estimate, exact: float) -> float:
    """How far an estimate is from the exact price, in standard errors."""
    return (estimate.price - exact) / estimate.error if estimate.error > 0 else math.inf


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Price options by Monte Carlo simulation.")
    parser.add_argument("size", nargs="?", type=int, default=200_000,
                        help="paths for each of the options (%(default)s)")
    parser.add_argument("--seed", type=int, default=1973, help="of the random numbers (%(default)s)")
    parser.add_argument("--profile", help="profile of the cluster")
    parser.add_argument("--cluster-id", help="which of the profile's clusters")
    options = parser.parse_args()
    if options.size < 1000:
        parser.error("with fewer than 1000 paths a standard error says little")
    return options


def main() -> None:
    options = read_arguments()
    grid = list(itertools.product(STRIKES, VOLATILITIES))
    try:
        client = pcluster.Client(profile=options.profile, cluster_id=options.cluster_id)
    except (OSError, ValueError) as error:
        sys.exit(f"options.py: {error}")

    with client:
        engines = len(client)
        if not engines:
            sys.exit("options.py: the cluster has no engines")
        start = time.perf_counter()
        found = price_on_engines(client, grid, options.size, options.seed)
        parallel_s = time.perf_counter() - start

    start = time.perf_counter()
    for number, point in enumerate(grid):
        simulate(*point, options.size, options.seed + number)
    serial_s = time.perf_counter() - start

    worst = 0.0
    print("  strike  volatility    European       exact       Asian       exact")
    for point, (vanilla, mean) in zip(grid, found, strict=True):
        exact, exact_mean = european(*point), asian(*point)
        print(f"{point[0]:8.0f} {point[1]:11.1f} {vanilla.price:11.4f} {exact:11.4f}"
              f" {mean.price:11.4f} {exact_mean:11.4f}")
        worst = max(worst, abs(distance(vanilla, exact)), abs(distance(mean, exact_mean)))
    print(f"\nfarthest from its closed form: {worst:.1f} standard errors")
    print(f"{engines} engines: {parallel_s:.2f} s    one process: {serial_s:.2f} s")
    if not worst <= LIMIT:
        sys.exit(f"options.py: prices differ from the closed form by more than {LIMIT:g} standard errors")


if __name__ == "__main__":
    main()
