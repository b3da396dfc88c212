# SPDX-License-Identifier: BSD-3-Clause
"""pcluster bench: a small measurement of each kind. How fast it was is not looked at."""

import glob
import os
import signal

import pytest
from conftest import wait_until


@pytest.mark.parametrize("options", [
    [],
    ["--transport", "tcp"],
    ["--transport", "unix-encrypted"],
    ["--queued"],
    ["--queued", "--dependent", "--scheme", "twobin"],
    ["--engines", 40, "--payload", 0],
])
def test_measurements(home, options):
    found = home.json("bench", "sched", "--tasks", 2000, *options)
    assert found["tasks"] == 2000
    assert found["engines"] == (40 if "--engines" in options else 10)
    assert found["transport"] == (options[1] if "--transport" in options else "unix")
    assert found["tasks_per_s"] > 0 and found["scheduler_us"] > 0
    assert ("queued_bytes" in found) == ("--queued" in options)
    home.wait_empty()


def test_text_and_errors(home):
    said = home.run("bench", "sched", "--tasks", 100)
    assert said.returncode == 0 and said.stdout.startswith("100 tasks, 10 engines, unix: "), said
    for arguments in ([], ["hub"], ["sched", "--engines", 0], ["sched", "--transport", "pipe"]):
        done = home.run("bench", *arguments)
        assert done.returncode == 2 and done.stderr.startswith("pcluster bench: "), done


def test_interrupted(home):
    """It leaves neither processes nor folders."""
    process = home.popen("bench", "sched", "--tasks", 3_000_000)
    folder = wait_until(lambda: glob.glob(f"/tmp/pcb-{process.pid}-*"), "its folder")[0]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted" in err, err
    home.wait_empty()
    assert not os.path.exists(folder)
