# SPDX-License-Identifier: BSD-3-Clause
"""A call on one engine against the bare relay: on the Unix socket, and on encrypted TCP.

Each run measures relay, Unix and TCP one after the other, and its ratios are taken within the run,
because the floor itself swings from moment to moment.
"""

import contextlib
from functools import partial
from typing import NamedTuple

import measure
from measure import Cluster
from pcluster import Client

RUNS = 21
CALLS = 1000


class Way(NamedTuple):
    """How a call travels: the transport of the client and of the engine, and the limit."""

    name: str
    client: str
    engine: str
    limit: float


WAYS = [
    Way("on the Unix socket", "unix", "unix", 2.0),
    Way("on encrypted TCP", "tcp", "unix", 3.0),
    Way("on encrypted TCP, its engine on TCP as well", "tcp", "tcp", 3.0),
]


def nothing():
    """What the engine is asked to do."""


def main() -> None:
    """Prints the ratios and what they were made of."""
    floors: list[float] = []
    times: dict[str, list[float]] = {way.name: [] for way in WAYS}
    with contextlib.ExitStack() as stack:
        files = {transport: stack.enter_context(Cluster(1, "--transport", transport)).file
                 for transport in ("unix", "tcp")}
        views = {}
        for way in WAYS:
            client = Client(files[way.engine], transport=way.client)
            views[way.name] = stack.enter_context(client)[0]
            measure.median_us(partial(views[way.name].apply_sync, nothing), 300)
        for run in range(RUNS):
            floors.append(measure.floor_us(CALLS))
            for name, view in views.items():
                times[name].append(measure.median_us(partial(view.apply_sync, nothing), CALLS))
            measure.progress(f"round trip {run + 1}/{RUNS}: relay {floors[-1]:.0f} us, "
                             + ", ".join(f"{t[-1]:.0f} us {n}" for n, t in times.items()))
    for way in WAYS:
        ratios = [time / floor for time, floor in zip(times[way.name], floors)]
        measure.publish([
            measure.row(f"apply_sync on one engine {way.name} / relay", ratios, "x", way.limit),
            measure.row(f"apply_sync on one engine {way.name}", times[way.name], "us", None),
        ])
    measure.publish([measure.row("relay round trip", floors, "us", None, "the floor")])


if __name__ == "__main__":
    main()
