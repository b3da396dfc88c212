# SPDX-License-Identifier: BSD-3-Clause
"""No-op tasks, each with its own result, from one Python client: against the standard library.

Two engines, or two workers of a pool; all three are measured in turns, and ratios are formed within
a turn. Recording is on, as it always is.
"""

import concurrent.futures
import contextlib
import multiprocessing
import time
from typing import Any, Callable

import measure
from measure import Cluster
from pcluster import Client

TURNS = 11
TASKS = 20_000
SLOW_TASKS = 4_000  # for the pool that is far slower
WORKERS = 2
ROUND_TRIPS = 1000


def nothing() -> None:
    """What is asked for."""


def rate(submit: Callable[[], Any], wait: Callable[[Any], Any], count: int) -> float:
    """Tasks per second."""
    begin = time.perf_counter()
    pending = [submit() for _ in range(count)]
    for one in pending:
        wait(one)
    return count / (time.perf_counter() - begin)


def main() -> None:
    """Prints the ratios and what they were made of."""
    rates: dict[str, list[float]] = {"pcluster": [], "executor": [], "pool": []}
    trips: list[float] = []
    floors: list[float] = []
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(Cluster(WORKERS))
        view = stack.enter_context(Client(cluster.file)).load_balanced_view()
        executor = stack.enter_context(concurrent.futures.ProcessPoolExecutor(WORKERS))
        pool = stack.enter_context(multiprocessing.Pool(WORKERS))
        ways: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], int]] = {
            "pcluster": (lambda: view.apply_async(nothing), lambda r: r.get(), TASKS),
            "executor": (lambda: executor.submit(nothing), lambda r: r.result(), SLOW_TASKS),
            "pool": (lambda: pool.apply_async(nothing), lambda r: r.get(), TASKS),
        }
        for submit, wait, _ in ways.values():
            rate(submit, wait, 1000)
        for turn in range(TURNS):
            for name, (submit, wait, count) in ways.items():
                rates[name].append(rate(submit, wait, count))
            floors.append(measure.floor_us(ROUND_TRIPS))
            trips.append(measure.median_us(lambda: view.apply_sync(nothing), ROUND_TRIPS))
            measure.progress(f"throughput {turn + 1}/{TURNS}: "
                             + ", ".join(f"{n} {r[-1]:.0f}/s" for n, r in rates.items())
                             + f", round trip {trips[-1]:.0f} us, relay {floors[-1]:.0f} us")
    ours = rates["pcluster"]
    # The limit is a largest value, so the ratio is theirs to ours.
    for name, times, what in (("executor", 5, "concurrent.futures.ProcessPoolExecutor"),
                              ("pool", 1.5, "multiprocessing.Pool.apply_async")):
        ratios = [theirs / mine for theirs, mine in zip(rates[name], ours)]
        measure.publish([
            measure.row(f"no-op tasks/s, {what} / pcluster", ratios, "x", round(1 / times, 3),
                        f"pcluster at least {times:g} times"),
            measure.row(f"no-op tasks/s, {what}", rates[name], "/s", None)])
    measure.publish([
        measure.row("no-op tasks/s, balanced, one client, 2 engines", ours, "/s", None),
        measure.row("balanced apply_sync / relay", [t / f for t, f in zip(trips, floors)], "x", 2.5),
        measure.row("balanced apply_sync", trips, "us", None),
    ])


if __name__ == "__main__":
    main()
