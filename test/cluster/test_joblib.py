# SPDX-License-Identifier: BSD-3-Clause
"""joblib on real engines."""

import itertools
import math
import multiprocessing
import os
import sys

import pytest
from conftest import wait_until
from shared import ENGINES, by_value, client, shared  # noqa: F401 (fixtures)

import pcluster
from pcluster import error

NAME = "pcluster under test"


@pytest.fixture
def joblib():
    """joblib, with the backends that it had before."""
    module = pytest.importorskip("joblib")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.parallel, "BACKENDS", dict(module.parallel.BACKENDS))
        patch.setattr(module.parallel, "DEFAULT_BACKEND", module.parallel.DEFAULT_BACKEND)
        yield module


@pytest.fixture
def view(client, joblib):
    found = client.load_balanced_view()
    found.register_joblib_backend(NAME)
    return found


@by_value
def pid_of_engine(_):
    import os

    return os.getpid()


@by_value
def fail_at(number, bad):
    if number == bad:
        raise ZeroDivisionError(f"at {number}")
    return number


@by_value
def wait_unless_first(number):
    import time

    if number == 0:
        raise ZeroDivisionError("the first")
    time.sleep(600)


@by_value
def nested(number, n_jobs):
    import os

    import joblib

    rows = joblib.Parallel(n_jobs=n_jobs)(joblib.delayed(lambda n: (n * number, os.getpid()))(n) for n in range(5))
    return [value for value, _ in rows], {pid for _, pid in rows} == {os.getpid()}


def test_equals_the_serial_result(joblib, view, client):
    parallel = joblib.Parallel(backend=NAME, n_jobs=-1)
    assert parallel(joblib.delayed(math.sqrt)(n) for n in range(300)) == [math.sqrt(n) for n in range(300)]
    with joblib.parallel_backend(NAME):
        assert joblib.effective_n_jobs() == joblib.effective_n_jobs(2) == ENGINES
        pids = joblib.Parallel()(joblib.delayed(pid_of_engine)(n) for n in range(20))
    assert set(pids) <= set(client[:].apply_sync(os.getpid))


def test_one_parallel_for_several_calls(joblib, view):
    with joblib.Parallel(backend=NAME) as parallel:
        for start in (0, 10):
            assert parallel(joblib.delayed(abs)(-n) for n in range(start, start + 10)) == [*range(start, start + 10)]


def test_as_the_default(joblib, client, shared):
    client.load_balanced_view().register_joblib_backend(make_default=True)
    assert os.getpid() not in joblib.Parallel()(joblib.delayed(pid_of_engine)(n) for n in range(3))
    pcluster.register_joblib_backend(NAME)
    assert joblib.Parallel(backend=NAME)(joblib.delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
    joblib.parallel.BACKENDS[NAME]()._view.client.close()


def test_an_error_is_the_remote_one(joblib, view):
    with pytest.raises(error.RemoteError, match="at 70") as caught:
        joblib.Parallel(backend=NAME)(joblib.delayed(fail_at)(n, 70) for n in range(100))
    assert caught.value.ename == "ZeroDivisionError" and "in fail_at" in caught.value.traceback


def test_an_error_ends_the_rest(joblib, view, client):
    other = view.apply_async(abs, -1)
    with joblib.Parallel(backend=NAME, batch_size=1, pre_dispatch="all") as parallel:
        with pytest.raises(error.RemoteError, match="the first"):
            parallel(joblib.delayed(wait_unless_first)(n) for n in range(5 * ENGINES))
        wait_until(lambda: not client.outstanding, "the rest to end")
        assert parallel(joblib.delayed(abs)(-n) for n in range(5)) == [*range(5)]
    assert other.get() == 1


def test_out_of_time(joblib, view, client):
    with pytest.raises((TimeoutError, multiprocessing.TimeoutError)):  # the second: joblib's own, since 1.3
        joblib.Parallel(backend=NAME, timeout=0.1)([joblib.delayed(wait_unless_first)(1)])
    wait_until(lambda: not client.outstanding, "the task to end")


def test_what_cannot_be_sent_ends_the_call(joblib, view):
    # Late enough to be sent by the background thread.
    arguments = itertools.chain(range(50), [(n for n in ())], range(50))
    with pytest.raises(error.CannotPickle, match="generator"):
        joblib.Parallel(backend=NAME, batch_size=1)(joblib.delayed(id)(a) for a in arguments)
    with pytest.raises(error.CannotPickle, match="generator"):
        joblib.Parallel(backend=NAME)([joblib.delayed(id)(n for n in ())])


def test_a_single_engine(joblib, client):
    client.load_balanced_view([0]).register_joblib_backend(NAME)
    pids = joblib.Parallel(backend=NAME)(joblib.delayed(pid_of_engine)(n) for n in range(5))
    assert set(pids) == {client[0].apply_sync(os.getpid)}


@pytest.mark.parametrize("kind", ["generator", "generator_unordered"])
def test_generators(joblib, view, kind):
    if joblib.__version__.startswith(("1.2.", "1.3.")):
        pytest.skip("joblib 1.4 came with these")
    found = joblib.Parallel(backend=NAME, return_as=kind)(joblib.delayed(abs)(-n) for n in range(50))
    assert sorted(found) == [*range(50)]


def test_without_engines(joblib, client):
    client.load_balanced_view([]).register_joblib_backend(NAME)
    with pytest.raises(error.NoEnginesRegistered):
        joblib.Parallel(backend=NAME)([joblib.delayed(abs)(-1)])


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_nested(joblib, view, n_jobs):
    found = joblib.Parallel(backend=NAME)(joblib.delayed(nested)(n, n_jobs) for n in range(4))
    assert found == [([k * n for k in range(5)], True) for n in range(4)]


def test_without_joblib(client, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "joblib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "pcluster.client.joblibbackend", raising=False)
    monkeypatch.setitem(sys.modules, "joblib", None)
    for register in (client.load_balanced_view().register_joblib_backend, pcluster.register_joblib_backend):
        with pytest.raises(ImportError, match="apt install python3-joblib or pip install joblib"):
            register()
