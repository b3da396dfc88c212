# SPDX-License-Identifier: BSD-3-Clause
"""One cluster for all tests of a file: for tests that do it no harm. Import the fixtures."""

import os
import subprocess
import sys

import pytest
from home import DEADLINE_S, Cluster, by_value, temporary_home

import pcluster

ENGINES = 4


@pytest.fixture(scope="module")
def shared():
    """A cluster of four engines; its environment is that of the tests."""
    with temporary_home() as home:
        cluster = Cluster(home, ["-n", ENGINES])
        yield cluster
        cluster.end()
        home.wait_empty()
        left = home.leftovers()
    assert left == []


@pytest.fixture
def client(shared):
    """A client of the shared cluster; the namespaces are empty again afterwards."""
    with pcluster.Client(shared.file) as c:
        yield c
        c[:].clear(block=True)
        assert c.ids == list(range(ENGINES))


def run_python(*args, python=sys.executable, **options):
    """Runs another Python; the result has returncode, stdout, stderr."""
    return subprocess.run([python, *args], capture_output=True, text=True, timeout=DEADLINE_S,
                          check=False, **options)


def run_script(text, folder, **options):
    """Runs a text as a script of its own, so that its functions are those of __main__."""
    path = os.path.join(folder, "script.py")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    done = run_python(path, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout
