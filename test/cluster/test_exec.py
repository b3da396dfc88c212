# SPDX-License-Identifier: BSD-3-Clause
"""pcluster exec: code on engines, and what it prints."""

import os
import signal

import pytest
from conftest import wait_until


@pytest.fixture
def cluster(start):
    return start(3)


def lines(text):
    return sorted(text.splitlines())


def test_all_engines(cluster):
    done = cluster.run("exec", "print('a')\nprint('b')")
    assert done.returncode == 0 and done.stderr == ""
    assert lines(done.stdout) == lines("[0] a\n[0] b\n[1] a\n[1] b\n[2] a\n[2] b")


@pytest.mark.parametrize("targets, ids", [
    ("all", [0, 1, 2]), ("0", [0]), ("0-2", [0, 1, 2]), ("2,0", [0, 2]), ("1,1,0-1", [0, 1]),
])
def test_targets(cluster, targets, ids):
    done = cluster.run("exec", "-t", targets, "print('here')")
    assert lines(done.stdout) == [f"[{engine}] here" for engine in ids]


@pytest.mark.parametrize("targets", ["", "x", "1-", "-1", "1,", ",1", "2-1", "0 1",
                                     "99999999999999999999"])
def test_bad_targets(cluster, targets):
    done = cluster.run("exec", "-t", targets, "print('here')")
    assert done.returncode == 2
    assert done.stderr == (
        f"pcluster exec: targets '{targets}' are neither 'all' nor a list like '0-3,7'\n")


@pytest.mark.parametrize("targets, missing", [("3", 3), ("1-7", 3), ("0-4294967294", 3)])
def test_missing_engine(cluster, targets, missing):
    done = cluster.run("exec", "-t", targets, "print('here')")
    assert done.returncode == 1
    assert done.stderr == f"pcluster exec: there is no engine {missing}; there are: 0-2\n"


def test_streams_are_kept_apart(cluster):
    done = cluster.run("exec", "-t", "0", "import sys; print('out'); print('err', file=sys.stderr)")
    assert (done.stdout, done.stderr) == ("[0] out\n", "[0] err\n")


def test_line_without_end(cluster):
    done = cluster.run("exec", "-t", "0", "import sys; sys.stdout.write('no end')")
    assert done.stdout == "[0] no end\n"


def test_names_stay(cluster):
    assert cluster.run("exec", "x = 6 * 7").returncode == 0
    assert lines(cluster.run("exec", "print(x)").stdout) == ["[0] 42", "[1] 42", "[2] 42"]


def test_standard_input(cluster):
    done = cluster.run("exec", "-t", "1", "-", input="for i in range(2):\n    print('ü', i)\n")
    assert done.stdout == "[1] ü 0\n[1] ü 1\n"


def test_error(cluster):
    done = cluster.run("exec", "-t", "0,1", "print('before')\n1 / 0")
    assert done.returncode == 1
    assert lines(done.stdout) == ["[0] before", "[1] before"]
    for engine in (0, 1):
        assert f"[{engine}] Traceback (most recent call last):\n" in done.stderr
        assert f"[{engine}] ZeroDivisionError: division by zero\n" in done.stderr
    assert all(line[:4] in ("[0] ", "[1] ") for line in done.stderr.splitlines())


def test_one_error_is_a_failure(cluster):
    for engine in range(3):
        cluster.run("exec", "-t", str(engine), f"engine_number = {engine}")
    done = cluster.run("exec", "assert engine_number != 1\nprint('fine')")
    assert done.returncode == 1
    assert lines(done.stdout) == ["[0] fine", "[2] fine"]
    assert "[1] AssertionError" in done.stderr


def test_syntax_error(cluster):
    done = cluster.run("exec", "-t", "0", "for")
    assert done.returncode == 1
    assert "[0] SyntaxError: " in done.stderr


def test_output_comes_while_it_runs(home, cluster):
    """The first line is there although the code has not ended."""
    marker = os.path.join(home.work, "go")
    process = home.popen("exec", "-t", "0", "import os, time; print('first', flush=True)\n"
                         f"while not os.path.exists({marker!r}): time.sleep(0.01)\n"
                         "print('second')")
    assert process.stdout.readline() == "[0] first\n"
    assert process.poll() is None
    with open(marker, "w", encoding="ascii"):
        pass
    out, err = process.communicate()
    assert (out, err, process.returncode) == ("[0] second\n", "", 0)


def test_much_output(cluster):
    """Followed while it comes: nothing is cut."""
    done = cluster.run("exec", "-t", "0", "for i in range(200000): print(i)")
    got = done.stdout.splitlines()
    assert len(got) == 200000
    assert got[0] == "[0] 0" and got[-1] == "[0] 199999"


def test_cluster_ends_meanwhile(home, cluster):
    process = home.popen("exec", "-t", "0", "import time; print('x', flush=True)\n"
                                            "time.sleep(3600)")
    assert process.stdout.readline() == "[0] x\n"
    cluster.end(signal.SIGKILL)
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith("[0] ")
    wait_until(lambda: not home.processes(), "all processes to end")


def test_file_of_an_engine(cluster):
    done = cluster.run("exec", "--file", cluster.engine_file, "1")
    assert done.returncode == 1
    assert "connection file for engines" in done.stderr
