# SPDX-License-Identifier: BSD-3-Clause
"""Random histories: what the scheduler decides must be what the rules allow.

A history that fails is cut down to one from which nothing can be left out, and printed.

usage: test_model.py DRIVER [--seed N] [--steps N] [--history FILE]
"""

import argparse
import subprocess
import sys

from history import History
from pieces import Wrong
from rules import Model
from shorten import shorten

SHORTEN_S = 100


def check(driver, lines):
    """None, or (number of the step, what is wrong)."""
    done = subprocess.run(driver, input="\n".join(lines) + "\n", text=True, capture_output=True,
                          timeout=300, check=False)
    model, events, step = Model(), [], 0
    for event in done.stdout.splitlines():
        events.append(event)
        if event[0] != "." or step >= len(lines):
            continue
        try:
            model.take(lines[step], events)
        except Wrong as wrong:
            return step, f"{wrong}; it did: {events}"
        step, events = step + 1, []
    if done.returncode != 0 or step < len(lines):
        return step, f"the driver ended with {done.returncode}: {done.stderr.strip()}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver", nargs="+", help="the command that takes histories")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100000)
    parser.add_argument("--history", help="lines to check instead of random ones")
    options = parser.parse_args()
    if options.history:
        with open(options.history, encoding="utf-8") as file:
            lines = file.read().splitlines()
    else:
        lines = History(options.seed).make(options.steps)
    if not check(options.driver, lines):
        return 0

    def fails(part):
        failed = check(options.driver, part)
        return failed[0] + 1 if failed else 0

    short = shorten(lines, fails, SHORTEN_S)
    print(f"seed {options.seed}: this history of {len(short)} steps fails:", *short, sep="\n")
    print(check(options.driver, short)[1])
    return 1


if __name__ == "__main__":
    sys.exit(main())
