# SPDX-License-Identifier: BSD-3-Clause
"""Histories that fail are shown as short as they can be.

usage: test_shorten.py DRIVER
"""

import contextlib
import io
import random
import subprocess
import sys

import test_model
from shorten import shorten

LIE = "lie"


def fails_with(wanted):
    """Fails once all of these came, in any order."""
    def fails(part):
        missing = set(wanted)
        for number, item in enumerate(part, 1):
            missing.discard(item)
            if not missing:
                return number
        return 0
    return fails


def test_only_what_is_needed_is_left():
    for wanted in ([0], [999], [3, 17, 900], [500, 501, 502], list(range(40, 60))):
        assert shorten(list(range(1000)), fails_with(wanted), 60) == wanted


def test_nothing_can_be_left_out():
    rng = random.Random(1)
    for _ in range(20):
        groups = [{rng.randrange(200) for _ in range(rng.randint(1, 4))} for _ in range(3)]

        def fails(part, groups=groups):
            return len(part) if any(group <= set(part) for group in groups) else 0

        short = shorten(list(range(200)), fails, 60)
        assert fails(short)
        assert not any(fails(short[:i] + short[i + 1:]) for i in range(len(short)))


def test_a_history_is_cut_down(driver):
    """A scheduler that takes errors for success is found out with an engine, a task and its error."""
    sys.argv = ["test_model.py", sys.executable, __file__, LIE, driver, "--seed", "1", "--steps", "3000"]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert test_model.main() == 1
    lines = printed.getvalue().splitlines()
    assert lines[0] == "seed 1: this history of 3 steps fails:", lines
    assert [line[0] for line in lines[1:4]] in (["U", "S", "A"], ["S", "U", "A"], ["U", "N", "A"]), lines
    assert "ended as ok, expected: error" in lines[4]


def lie(driver):
    """The driver, but for the truth."""
    done = subprocess.run([driver], stdin=sys.stdin, text=True, capture_output=True, check=True)
    sys.stdout.write(done.stdout.replace(" error\n", " ok\n"))


if __name__ == "__main__":
    if sys.argv[1] == LIE:
        lie(sys.argv[2])
    else:
        test_only_what_is_needed_is_left()
        test_nothing_can_be_left_out()
        test_a_history_is_cut_down(sys.argv[1])
