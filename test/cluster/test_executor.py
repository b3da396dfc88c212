# SPDX-License-Identifier: BSD-3-Clause
"""Executors on real engines, as programs use them."""

import asyncio
import concurrent.futures
import itertools
import os
import signal
import threading

import pytest
from conftest import wait_until
from shared import ENGINES, by_value, client, run_python, shared  # noqa: F401 (fixtures)

import pcluster
from pcluster import Client, error


@by_value
def slow(seconds, value=None):
    import time

    time.sleep(seconds)
    return value


def test_submit_and_map(client):
    with client.executor() as executor:
        assert type(executor) is pcluster.ViewExecutor and executor._max_workers == ENGINES
        future = executor.submit(pow, 2, 10)
        assert future.result() == 1024 and future.done()
        assert list(executor.map(pow, range(100), itertools.repeat(2), chunksize=7)) == [n * n for n in range(100)]
        assert sorted(executor.map(abs, range(100), ordered=False)) == list(range(100))
        squares = executor.map(lambda n: n * n, itertools.count(), max_outstanding="auto")
        assert list(itertools.islice(squares, 100)) == [n * n for n in range(100)]


def test_leaving_the_block_waits(client):
    seen = []
    with client.executor() as executor:
        for number in range(3 * ENGINES):
            executor.submit(slow, 0.02, number).add_done_callback(lambda f: seen.append(f.result()))
    assert sorted(seen) == list(range(3 * ENGINES))


def test_running_is_known_once_something_was_printed(client):
    def talk():
        import time

        print("here")
        time.sleep(600)

    future = client.executor().submit(talk)
    wait_until(future.running, "output")
    assert not future.cancel() and not future.done()
    assert future.cancel(interrupt=True)
    with pytest.raises(error.RemoteError, match="KeyboardInterrupt"):
        future.result()
    assert not future.running()


def test_cancelling_what_waits(client):
    executor = client.executor([0])
    first = executor.submit(slow, 0.5)
    rest = [executor.submit(slow, 600) for _ in range(5)]
    executor.shutdown(wait=False, cancel_futures=True)
    for future in rest:
        assert future.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result()
    concurrent.futures.wait([first])  # it may have begun before the order came
    assert first.cancelled() or first.result() is None
    executor.shutdown()


def test_a_map_out_of_time_takes_back_the_rest(client):
    executor = client.executor()
    found = executor.map(slow, [0.001] + [600] * ENGINES + [0] * 50, range(100), timeout=0.5)
    with pytest.raises(concurrent.futures.TimeoutError):
        list(found)
    wait_until(lambda: len(client.outstanding) <= ENGINES, "the rest to be taken back")
    client.interrupt()
    executor.shutdown()


def test_a_dead_engine_fails_its_future_only(start):
    start(2)
    with Client() as c, c.executor() as executor:
        pids = dict(zip(c.ids, c[:].apply_sync(os.getpid)))
        future = executor.submit(slow, 600)
        wait_until(lambda: any(row["state"] == "busy" for row in c.status()["engines"]), "a busy engine")
        busy = next(row["id"] for row in c.status()["engines"] if row["state"] == "busy")
        os.kill(pids[busy], signal.SIGKILL)
        failure = future.exception(timeout=60)
        assert isinstance(failure, error.EngineError) and isinstance(failure, error.RemoteError)
        assert executor.submit(abs, -1).result() == 1


def test_wait_and_as_completed_over_two_clients_and_threads(shared, client):
    with Client(shared.file) as other, concurrent.futures.ThreadPoolExecutor(2) as threads:
        executors = [client.executor(), other.executor([0]), threads]
        futures = [e.submit(slow, 0.001 * n, n) for n in range(10) for e in executors]
        ended = [f.result() for f in concurrent.futures.as_completed(futures, timeout=60)]
        assert sorted(ended) == sorted(3 * list(range(10)))
        first = executors[0].submit(slow, 600)
        second = executors[1].submit(slow, 0)
        done, pending = concurrent.futures.wait(
            [first, second], timeout=60, return_when=concurrent.futures.FIRST_COMPLETED)
        assert (done, pending) == ({second}, {first})
        first.cancel(interrupt=True)


def test_asyncio(client):
    async def main():
        loop = asyncio.get_running_loop()
        with client.executor() as executor:
            return await asyncio.gather(*(loop.run_in_executor(executor, slow, 0.01, n) for n in range(20)))

    assert asyncio.run(main()) == list(range(20))


def test_many_threads_submit_at_once(client):
    executor = client.executor()
    wrong = []

    def work(number):
        futures = [executor.submit(pow, number, n % 5) for n in range(300)]
        for n, future in enumerate(futures):
            if future.result(60) != number ** (n % 5):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not wrong and not any(thread.is_alive() for thread in threads)


PROGRAM = """
import sys, threading, time, pcluster
client = pcluster.Client(sys.argv[1])
executor = client.executor()
future = executor.submit(time.sleep, 600)
future.add_done_callback(lambda f: None)
items = executor.map(time.sleep, [600] * 20)
"""


def test_the_end_of_a_program_waits(home):
    """As for the executors of concurrent.futures, and before the program's own cluster is stopped."""
    program = """
import itertools, time, pcluster
rc = pcluster.Cluster(n=2).start_and_connect_sync()
pool = rc.executor()
pool.submit(time.sleep, 0.5).add_done_callback(lambda f: print("slept", f.exception()))
numbers = pool.map(pow, range(50), itertools.repeat(2))
pool.submit(divmod, 1, 0)
"""
    done = run_python("-c", program, env=dict(os.environ, PCLUSTER_EXE=home.exe))
    assert (done.returncode, done.stdout, done.stderr) == (0, "slept None\n", "")
    home.wait_empty()


def test_ctrl_c_leaves_the_end_of_a_program(start):
    """The engines go on with what they have."""
    cluster = start(2)
    program = PROGRAM + """
import os, pickle, signal

def interrupt():
    lock = threading.Lock()
    while True:
        try:
            executor.submit(lock)
        except pickle.PicklingError:
            time.sleep(0.01)
        except RuntimeError:  # the program has come to its end
            return os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
"""
    done = run_python("-c", program, cluster.file)
    assert "KeyboardInterrupt" in done.stderr
    with Client(cluster.file) as c:
        assert [row["state"] for row in c.status()["engines"]] == ["busy"] * 2
        c.interrupt()
        wait_until(lambda: c.load_balanced_view().apply_async(abs, -1).wait(0.2) or c.interrupt(), "an engine")


def test_ctrl_c_leaves_the_block(shared, client):
    """A KeyboardInterrupt within the block ends the program in time: __exit__ still waits, and another
    one ends that, and the next the wait at the end of the program."""
    program = PROGRAM + """
import os, signal

def interrupt():
    while True:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
with executor:
    future.result()
"""
    done = run_python("-c", program, shared.file)
    assert done.returncode != 0 and "KeyboardInterrupt" in done.stderr
    client.interrupt()
    wait_until(lambda: not any(row["state"] == "busy" or row["queue"] for row in client.status()["engines"])
               or client.interrupt(), "idle engines")


def test_numpy_goes_through(client):
    numpy = pytest.importorskip("numpy")
    with client.executor() as executor:
        parts = executor.map(numpy.square, numpy.arange(1e6).reshape(10, -1))
        assert numpy.concatenate(list(parts))[-1] == (1e6 - 1) ** 2
