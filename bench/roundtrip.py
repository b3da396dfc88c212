# SPDX-License-Identifier: BSD-3-Clause
"""A call on one engine against the bare relay: on the Unix socket, and on encrypted TCP.

Each run measures relay, Unix and TCP one after the other, and its ratios are taken within the run,
because the floor itself swings from moment to moment.
"""

import measure
from pcluster import Client

RUNS = 21
CALLS = 1000
LIMITS = {"unix": 2.0, "tcp": 3.0}
NAMES = {"unix": "on the Unix socket", "tcp": "on encrypted TCP"}


def nothing():
    """What the engine is asked to do."""


def main() -> None:
    """Prints the ratios and what they were made of."""
    floors: list[float] = []
    times: dict[str, list[float]] = {name: [] for name in LIMITS}
    with measure.Cluster(1):
        clients = {name: Client(transport=name) for name in LIMITS}
        views = {name: client[0] for name, client in clients.items()}
        for view in views.values():
            measure.median_us(lambda: view.apply_sync(nothing), 300)
        for run in range(RUNS):
            floors.append(measure.floor_us(CALLS))
            for name, view in views.items():
                times[name].append(measure.median_us(lambda: view.apply_sync(nothing), CALLS))
            measure.progress(f"round trip {run + 1}/{RUNS}: relay {floors[-1]:.0f} us, "
                             + ", ".join(f"{n} {t[-1]:.0f} us" for n, t in times.items()))
        for client in clients.values():
            client.close()
    for name, limit in LIMITS.items():
        ratios = [time / floor for time, floor in zip(times[name], floors)]
        measure.publish([
            measure.row(f"apply_sync on one engine {NAMES[name]} / relay", ratios, "x", limit),
            measure.row(f"apply_sync on one engine {NAMES[name]}", times[name], "us", None),
        ])
    measure.publish([measure.row("relay round trip", floors, "us", None, "the floor")])


if __name__ == "__main__":
    main()
