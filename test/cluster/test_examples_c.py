# SPDX-License-Identifier: BSD-3-Clause
"""The programs of examples/c, as they were built, on a real cluster."""

import contextlib
import math
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import DEADLINE_S, wait_until

import pcluster

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "c"
BUILT = Path(os.environ["PCLUSTER_EXE"]).parents[1] / "examples" / "c"
NAMES = ["embed", "hello", "libevent", "montecarlo"]


def run(home, name, *args, **options):
    """Runs an example in an empty folder."""
    if not (BUILT / name).exists():
        pytest.skip(f"{name} was not built: what it needs is not installed")
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([BUILT / name, *map(str, args)], cwd=home.work, capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False, **options)


def succeed(home, name, *args, **options):
    """The same; returns what it printed."""
    done = run(home, name, *args, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_all_are_tested():
    assert sorted(path.stem for path in EXAMPLES.glob("*.c")) == NAMES
    table = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[c/(\w+)\.c\]", table, re.M)) == NAMES


def test_hello(home, start):
    start(3)
    lines = succeed(home, "hello").splitlines()
    assert lines[:5] == [
        'hello: "Hello, World" "Hello, World" "Hello, World"', "push: null null null", "execute: null null null",
        "pull: 45 45 45", "squares: 0 1 4 9 16 25 36 49"]
    assert re.fullmatch(r"error: \[[0-2]:execute\] ZeroDivisionError: division by zero", lines[5])
    assert lines[6] == "Traceback (most recent call last):"
    assert os.listdir(home.work) == []


def test_python_reads_what_c_asked_for(home, cluster):
    """Values in JSON and in bytes are values for a Python client, too."""
    succeed(home, "hello")
    with pcluster.Client() as client:
        done = client.db_query({"completed": {"$ne": None}}, keys=["msg_id"])
        values = []
        for row in done:
            with contextlib.suppress(pcluster.RemoteError):
                values.append(client.get_result(row["msg_id"]).get())
    assert values.count("Hello, World") == 2 and values.count(45) == 2 and 49 in values


def test_montecarlo(home, cluster):
    found = re.fullmatch(r"pi is ([\d.]+), give or take ([\d.]+): 200000 darts in 50 tasks, 0 of which were ended\n",
                         succeed(home, "montecarlo", 50, 4000))
    assert abs(float(found[1]) - math.pi) < 5 * float(found[2]) < 0.1
    assert run(home, "montecarlo", 0).returncode == 2


def test_montecarlo_ends_early(home, cluster):
    """Its loop also waits for the keyboard."""
    process = subprocess.Popen([BUILT / "montecarlo", "100000", "2000"], cwd=home.work, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: home.json("task", "list", "--state", "done", "--limit", "1"), "a task that has ended")
    out, err = process.communicate("q\n", timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    found = re.search(r"in 100000 tasks, (\d+) of which were ended", out)
    assert 0 < int(found[1]) < 100000


def test_embed_hosts_its_cluster(home, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("word " * 10 * (number + 1))
    printed = succeed(home, "embed", *(tmp_path / f"{number}.txt" for number in range(3)))
    assert [line.split()[0] for line in printed.splitlines()] == ["10", "20", "30", "60"]
    home.wait_empty()
    assert [name for name in home.leftovers() if "journal" not in name] == []
    done = run(home, "embed", "there-is-none")
    assert done.returncode == 1 and "there-is-none" in done.stderr


def test_embed_that_is_killed_leaves_nothing(home, tmp_path):
    large = tmp_path / "large.txt"
    large.write_text("word " * 20_000_000)
    process = subprocess.Popen([BUILT / "embed", large], cwd=home.work, stdout=subprocess.DEVNULL)
    wait_until(lambda: len(home.processes()) > 3, "its cluster")
    process.send_signal(signal.SIGKILL)
    process.wait()
    home.wait_empty()


def test_libevent(home, cluster):
    printed = succeed(home, "libevent", 4)
    for number in range(4):
        assert f"task {number} begins\n" in printed
    assert printed.count("engine ") == 2
    assert printed.endswith("done; the clock has ticked meanwhile\n")


@pytest.mark.parametrize("name", ["hello", "montecarlo", "libevent"])
def test_without_a_cluster(home, name):
    done = run(home, name)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}: ") and "pcluster start" in done.stderr
