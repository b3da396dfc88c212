# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the tests that need no cluster."""

import shutil
import sys
import tempfile
from pathlib import Path

import pytest

import pcluster
from fake import Controller

#: Functions that are sent are made by `sent_function` of pcluster_load.py, as on an engine.
sys.path.append(str(Path(__file__).parents[2] / "engine"))


@pytest.fixture
def folder():
    """A folder whose path is short enough for a socket."""
    path = tempfile.mkdtemp(prefix="pcluster-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def make(folder):
    """Makes the controller; the arguments are the fake's."""
    made = []

    def make_controller(**options):
        made.append(Controller(folder, **options))
        return made[-1]

    yield make_controller
    for controller in made:
        controller.close()


@pytest.fixture
def controller(make):
    """A controller with engines 0 to 3."""
    return make()


@pytest.fixture
def client(controller):
    """A client of it."""
    with pcluster.Client(controller.path) as c:
        yield c
