# SPDX-License-Identifier: BSD-3-Clause
"""ViewExecutor keeps what PEP 3148 promises, and what programs take for granted."""

import asyncio
import concurrent.futures
import contextlib
import gc
import itertools
import logging
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref

import pytest

import pcluster
from pcluster import error
from pcluster.client import submitted


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.fixture
def executor(client):
    """One over all engines."""
    with client.executor() as e:
        yield e


@pytest.fixture
def held(controller, executor):
    """Where nothing begins before controller.release(); the first task is past taking back."""
    controller.hold()
    executor.submit(int)
    wait_until(lambda: controller.taken)
    yield executor
    controller.release()


class Thing:
    """Something to keep a weak reference to."""


HOOK = []  # what call_hook calls


def call_hook(item):
    """Something to call by reference: the engines of these tests live in this process."""
    for hook in HOOK:
        hook()
    return item


# ---- submit -----------------------------------------------------------------------------------


def test_submit(executor):
    future = executor.submit(pow, 2, exp=5)
    assert isinstance(executor, concurrent.futures.Executor)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result() == 32 and future.exception() is None
    assert future.done() and not future.running() and not future.cancelled()


def test_keyword_arguments_of_any_name(executor):
    future = executor.submit(lambda **kw: sorted(kw), self=1, fn=2, f=3, view=4)
    assert future.result() == ["f", "fn", "self", "view"]


def test_where_executors_come_from(client):
    view = client.load_balanced_view()
    assert view.executor is view.executor and view.executor.view is view
    assert view.executor._max_workers == 4 and client.executor([1, 2])._max_workers == 2
    chosen = client.executor([3]).submit(int)
    assert chosen.result() == 0 and chosen.engine_id == 3
    assert pcluster.ViewExecutor(client[:]).submit(int).result() == [0] * 4
    assert pcluster.ViewExecutor(client[2]).submit(int).result() == 0
    assert "LoadBalancedView None" in repr(view.executor)


def test_errors(executor):
    future = executor.submit(lambda: 1 / 0)
    failure = future.exception()
    assert isinstance(failure, error.RemoteError) and failure.ename == "ZeroDivisionError"
    with pytest.raises(error.RemoteError, match="division by zero"):
        future.result()


def test_what_cannot_be_pickled(executor):
    with pytest.raises(pickle.PicklingError):
        executor.submit(abs, threading.Lock())
    with pytest.raises(error.RemoteError):
        executor.submit(lambda: (i for i in ())).result()
    assert executor.submit(abs, -1).result() == 1


def test_timeouts(held):
    future = held.submit(abs, -1)
    for call in (future.result, future.exception):
        with pytest.raises(concurrent.futures.TimeoutError):
            call(timeout=0)
        with pytest.raises(concurrent.futures.TimeoutError):
            call(timeout=0.01)
    assert not future.done()


def test_states_are_set_by_the_cluster(executor):
    future = executor.submit(int)
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_result(1)
    with pytest.raises(concurrent.futures.InvalidStateError):
        future.set_exception(ValueError())
    with pytest.raises(RuntimeError):
        future.set_running_or_notify_cancel()
    assert future.result() == 0


# ---- shutdown ---------------------------------------------------------------------------------


def test_nothing_after_shutdown(client):
    view = client.load_balanced_view()
    executor = view.executor
    executor.shutdown()
    executor.shutdown()
    for call in (lambda: executor.submit(int), lambda: executor.map(abs, [1])):
        with pytest.raises(RuntimeError, match="after shutdown"):
            call()
    assert "shut down" in repr(executor)
    assert view.executor is not executor and view.executor.submit(int).result() == 0


def test_shutdown_waits(controller, client):
    executor = client.executor()
    controller.hold()
    futures = [executor.submit(int) for _ in range(3)]
    executor.shutdown(wait=False)
    assert not any(f.done() for f in futures)
    threading.Timer(0.05, controller.release).start()
    executor.shutdown()
    assert all(f._all_ended() for f in futures)


def test_leaving_the_block_waits_also_for_what_nobody_kept(controller, client):
    with client.executor() as executor:
        controller.hold()
        executor.submit(int)
        executor.map(abs, range(5))
        gc.collect()
        threading.Timer(0.05, controller.release).start()
    assert len(controller.seen) == 6


def test_shutdown_cancels_what_was_submitted_here(controller, client):
    view = client.load_balanced_view()
    executor, other = pcluster.ViewExecutor(view), pcluster.ViewExecutor(view)
    controller.hold()
    first = executor.submit(int)
    wait_until(lambda: controller.taken)
    mine, others = [], []
    for _ in range(5):
        mine.append(executor.submit(int))
        others.append(other.submit(int))
        others.append(view.apply_async(int))
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(f.cancelled() for f in mine)
    assert not first.done() and not any(f.done() for f in others)
    controller.release()
    executor.shutdown()
    assert first.done() and [f.result() for f in others] == [0] * 10


def test_numbers_of_what_has_ended_are_dropped(client, monkeypatch):
    monkeypatch.setattr("pcluster.client.submitted._STRETCHES_MAX", 10)
    one, other = client.executor(), client.executor()
    for _ in range(50):
        one.submit(int).result()
        other.submit(int).result()
    assert len(one._submitted._stretches) <= 12


def test_a_closed_client(controller):
    client = pcluster.Client(controller.path)
    with client.executor() as executor:
        controller.hold()
        future = executor.submit(int)
        client.close()
    with pytest.raises(OSError):
        future.result()
    with pytest.raises(OSError):
        client.executor().submit(int)


# ---- cancelling -------------------------------------------------------------------------------


def test_cancelled(held):
    future = held.submit(int)
    seen = []
    future.add_done_callback(seen.append)
    assert future.cancel() and future.cancel() and future.cancelled() and future.done()
    assert not future.running()
    for call in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError) as info:
            call()
        assert isinstance(info.value, error.TaskAborted)
    wait_until(lambda: seen == [future])


def test_what_runs_is_not_cancelled(controller, client):
    controller.hold()
    future = client.executor().submit(int)
    wait_until(lambda: controller.taken)
    assert not future.cancel() and not future.cancelled()
    controller.release()
    assert future.result() == 0 and not future.cancel()


def test_cancelled_ones_among_others(held, controller):
    one, other = held.submit(int), held.submit(int)
    waiting = threading.Thread(target=concurrent.futures.wait, args=([one, other],), daemon=True)
    waiting.start()
    wait_until(lambda: one._machinery and one._waiters)
    assert other.cancel()
    controller.release()
    waiting.join(30)
    assert not waiting.is_alive()
    done, pending = concurrent.futures.wait([one, other], return_when=concurrent.futures.FIRST_EXCEPTION)
    assert done == {one, other} and not pending


def test_a_cancelled_one_is_no_exception(held, controller):
    one, other = held.submit(int), held.submit(int)
    one._condition, other._condition  # waits are told, not found out
    ended = []
    waiting = threading.Thread(daemon=True, target=lambda: ended.append(concurrent.futures.wait(
        [one, other], return_when=concurrent.futures.FIRST_EXCEPTION)))
    waiting.start()
    wait_until(lambda: one._waiters and other._waiters)
    assert other.cancel()
    wait_until(lambda: other._state == "FINISHED")
    assert waiting.is_alive()
    controller.release()
    waiting.join(30)
    assert ended[0].done == {one, other}


# ---- callbacks --------------------------------------------------------------------------------


def test_callbacks_in_order_whatever_they_raise(held, controller, caplog):
    seen = []

    def leave(future):
        seen.append(2)
        raise SystemExit

    def fail(future):
        seen.append(3)
        raise ValueError("in a callback")

    future = held.submit(int)
    for callback in (lambda f: seen.append(1), leave, fail, lambda f: seen.append(4)):
        future.add_done_callback(callback)
    later = held.submit(int)
    later.add_done_callback(lambda f: seen.append(5))
    with caplog.at_level(logging.ERROR, "pcluster"):
        controller.release()
        wait_until(lambda: len(seen) == 5)
    assert seen == [1, 2, 3, 4, 5] and "in a callback" in caplog.text
    future.add_done_callback(seen.append)
    assert seen[-1] is future


def test_callbacks_may_submit_and_wait(executor):
    done = threading.Event()
    found = []

    def again(future):
        found.append(executor.submit(pow, future.result(), 2).result())
        done.set()

    executor.submit(abs, -3).add_done_callback(again)
    assert done.wait(30) and found == [9]


# ---- map --------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_map(executor, chunksize):
    assert list(executor.map(pow, range(10), itertools.repeat(2), chunksize=chunksize)) == [
        n * n for n in range(10)]
    assert list(executor.map(abs, [], chunksize=chunksize)) == []
    found = executor.map(abs, range(-9, 0), chunksize=chunksize, ordered=False)
    assert sorted(found) == list(range(1, 10))


def test_map_sends_tasks_of_chunks(controller, executor):
    assert list(executor.map(abs, range(10), chunksize=4)) == list(range(10))
    assert len(controller.seen) == 3


def test_map_sends_without_being_asked(controller, executor):
    executor.map(abs, range(20))
    wait_until(lambda: len(controller.seen) == 20)


def test_map_on_direct_views(client):
    executor = pcluster.ViewExecutor(client[:])
    assert list(executor.map(pow, range(10), [2] * 9)) == [n * n for n in range(9)]
    assert list(executor.map(abs, [-1])) == [1]
    assert list(executor.map(abs, [])) == []
    assert list(pcluster.ViewExecutor(client[1]).map(abs, [-1, -2])) == [1, 2]


@pytest.mark.parametrize("limit", [1, 3, "auto"])
@pytest.mark.parametrize("chunksize", [1, 5])
def test_map_over_infinite_input(executor, limit, chunksize):
    found = executor.map(abs, itertools.count(), max_outstanding=limit, chunksize=chunksize)
    assert list(itertools.islice(found, 20)) == list(range(20))


def test_map_with_an_error(executor):
    found = executor.map(lambda n: 6 // n, [1, 2, 0, 3])
    assert next(found) == 6 and next(found) == 3
    with pytest.raises(error.RemoteError, match="ZeroDivisionError"):
        next(found)
    with pytest.raises(StopIteration):
        next(found)


def test_map_checks_its_arguments(executor):
    for bad in (0, -1):
        with pytest.raises(ValueError, match="chunksize"):
            executor.map(abs, [1], chunksize=bad)
    for bad in (-1, "many", 1.5):
        with pytest.raises(ValueError, match="max_outstanding"):
            executor.map(abs, [1], max_outstanding=bad)


def test_map_over_input_that_fails(executor):
    def items():
        yield -1
        raise KeyError("input")

    found = executor.map(abs, items())
    assert next(found) == 1
    with pytest.raises(KeyError, match="input"):
        next(found)


def test_map_over_what_cannot_be_pickled(executor):
    with pytest.raises(pickle.PicklingError):
        executor.map(abs, [threading.Lock()])
    found = executor.map(abs, [-1, threading.Lock(), -2])
    assert next(found) == 1
    with pytest.raises(pickle.PicklingError):
        next(found)


@pytest.mark.parametrize("where", ["all", None])
def test_map_in_time(controller, client, where):
    view = client.load_balanced_view() if where is None else client.direct_view(where)
    executor = pcluster.ViewExecutor(view)
    assert list(executor.map(abs, range(8), timeout=30)) == list(range(8))
    controller.hold()
    found = executor.map(abs, range(8), timeout=0.02)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(found)
    assert controller.aborted  # what had not begun was taken back
    controller.release()
    found = executor.map(abs, range(4), ordered=False, timeout=0)
    wait_until(lambda: not client.outstanding)
    assert sorted(found) == list(range(4))


@pytest.mark.parametrize("where, waiting", [("all", 2), (None, 6)])
def test_a_map_that_is_closed_takes_back_the_rest(controller, client, where, waiting):
    view = client.load_balanced_view() if where is None else client.direct_view(where)
    HOOK.append(controller.hold)
    with pcluster.ViewExecutor(view) as executor:
        found = executor.map(call_hook, range(8))
        assert next(found) == 0
        wait_until(lambda: controller.tasks.qsize() == waiting)
        found.close()
        assert len(controller.aborted) >= waiting
        HOOK.clear()
        controller.release()


# ---- with the rest of Python ------------------------------------------------------------------


def test_wait_over_several_executors(make, folder, tmp_path):
    controller = make()
    with pcluster.Client(controller.path) as a, pcluster.Client(controller.path) as b, \
            concurrent.futures.ThreadPoolExecutor(1) as threads:
        executors = [a.executor(), b.executor([1]), threads]
        futures = [e.submit(pow, n, 2) for n in range(5) for e in executors]
        assert concurrent.futures.wait(futures, 30).not_done == set()
        assert sorted(f.result() for f in concurrent.futures.as_completed(futures, 30)) == sorted(
            3 * [0, 1, 4, 9, 16])
        futures.append(executors[0].submit(lambda: 1 / 0))
        done, _ = concurrent.futures.wait(futures, 30, concurrent.futures.FIRST_EXCEPTION)
        assert futures[-1] in done


def test_as_completed_in_time(held):
    with pytest.raises(concurrent.futures.TimeoutError):
        list(concurrent.futures.as_completed([held.submit(int)], timeout=0.01))


def test_asyncio(client, executor):
    async def main():
        loop = asyncio.get_running_loop()
        one = loop.run_in_executor(executor, pow, 2, 3)
        with pytest.raises(error.RemoteError):
            await loop.run_in_executor(executor, divmod, 1, 0)
        return await asyncio.gather(one, *(loop.run_in_executor(executor, abs, -n) for n in range(5)))

    assert asyncio.run(main()) == [8, 0, 1, 2, 3, 4]


def test_asyncio_cancels(held):
    async def main():
        future = held.submit(int)
        waiting = asyncio.wrap_future(future)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return future

    future = asyncio.run(main())
    assert future.cancelled()


def test_many_threads_submit_at_once(executor):
    wrong, rest = [], []

    def work(number):
        futures = [executor.submit(pow, number, n % 5) for n in range(200)]
        for n, future in enumerate(futures):
            future.add_done_callback(rest.append)
            if future.result(30) != number ** (n % 5):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)
    wait_until(lambda: len(rest) == 1200)


# ---- memory -----------------------------------------------------------------------------------


class Sent:
    """Pickled as an int."""

    def __reduce__(self):
        return (int, (5,))


def test_a_future_keeps_no_arguments(controller, executor):
    argument = Sent()
    watch = weakref.ref(argument)
    future = executor.submit(abs, argument)
    found = executor.map(abs, [argument] * 3)
    del argument
    assert watch() is None
    assert future.result() == 5 and list(found) == [5, 5, 5]


def test_map_keeps_no_results(executor):
    found = executor.map(lambda n: {n}, range(3))
    first = next(found)
    assert first == {0}
    assert not [r for r in gc.get_referrers(first) if type(r) in (list, pcluster.AsyncResult)]


def test_no_cycle_after_an_error(executor):
    future = executor.submit(lambda: 1 / 0)
    gc.collect()
    gc.disable()
    try:
        watch = weakref.ref(future)
        kept = [future]
        del future

        def look():
            assert kept[0].exception()
            for _ in range(3):
                try:
                    kept[0].result()
                except error.RemoteError:
                    pass

        look()
        kept.clear()
        assert watch() is None
    finally:
        gc.enable()


def test_tracebacks_do_not_grow(executor):
    future = executor.submit(lambda: 1 / 0)
    lengths = set()
    for _ in range(3):
        with pytest.raises(error.RemoteError) as info:
            future.result()
        lengths.add(len(info.traceback))
    assert len(lengths) == 1


# ---- the end of the program -------------------------------------------------------------------

#: Says "refused" once the program is at its end: until then it is the pickling that fails.
PROGRAM = """
import atexit, concurrent.futures, os, pickle, signal, sys, threading, time
import pcluster
client = pcluster.Client({path!r})
atexit.register(print, "atexit", flush=True)
executor = client.executor()
future = executor.submit(abs, -7)
future.add_done_callback(lambda f: print(
    "cancelled" if f.cancelled() else "ended", None if f.cancelled() else f.exception() or f.result(), flush=True))

def watch():
    lock, other = threading.Lock(), client.executor()
    while True:
        try:
            other.submit(lock)
        except pickle.PicklingError:
            time.sleep(0.01)
        except RuntimeError as failure:
            print(failure, flush=True)
            return then()

def then():
    pass

def watched():
    threading.Thread(target=watch, daemon=True).start()
"""


@contextlib.contextmanager
def program(controller, text):
    """A program that ends while nothing begins; killed at the end if it has not."""
    controller.hold()
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM.format(path=controller.path) + text], env=env,
                               text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("ending", [
    "watched()", "watched(); sys.exit(0)", "executor.shutdown(wait=False); watched()",
    "watched(); del executor, future", "watched(); threading.Thread(target=future.result).start()",
    "watched(); threading.Thread(target=concurrent.futures.wait, args=([future],)).start()",
    "watched(); executor = client[:].executor; future = executor.submit(int)"])
def test_the_end_of_the_program_waits(controller, ending):
    with program(controller, f"items = executor.map(abs, range(-5, 0))\n{ending}\n") as process:
        assert "cannot schedule new futures after interpreter shutdown" in process.stdout.readline()
        controller.release()
        assert process.communicate(timeout=60) == ("ended 7\natexit\n", "")
        assert process.returncode == 0


def test_the_end_of_the_program_comes_in_order(controller):
    """Callbacks may send nothing, an executor of the last moment may not, and what failed ends as well."""
    text = """
future.add_done_callback(lambda f: executor.submit(abs, 1))
executor.submit(divmod, 1, 0)

@atexit.register
def last():
    try:
        client.executor().submit(abs, -1)
    except RuntimeError as failure:
        print("last:", failure)

watched()
1 / 0
"""
    with program(controller, text) as process:
        process.stdout.readline()
        controller.release()
        out, err = process.communicate(timeout=60)
    assert out.splitlines()[0] == "ended 7" and out.splitlines()[-1] == "atexit"
    assert "last: cannot schedule new futures after interpreter shutdown" in out
    assert "exception calling callback" in err and err.count("interpreter shutdown") == 1
    assert err.count("ZeroDivisionError") == 1 and process.returncode == 1


def test_ctrl_c_leaves_the_end_of_the_program(controller):
    text = "then = lambda: os.kill(os.getpid(), signal.SIGINT)\nwatched()\n"
    with program(controller, text) as process:
        out, err = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in err and "atexit" in out.splitlines()
    assert not controller.seen


@pytest.mark.parametrize("what", ["client.close()", "lost"])
def test_what_is_closed_or_lost_ends_the_wait(controller, what):
    with program(controller, f"then = lambda: {what if '(' in what else None}\nwatched()\n") as process:
        process.stdout.readline()
        if what == "lost":
            controller.listener.close()
            controller.hang_up()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == "" and out.splitlines()[-1] == "atexit"


@pytest.mark.parametrize("text", ["os._exit(0)", "client.close()"])
def test_ends_that_wait_for_nothing(controller, text):
    with program(controller, text) as process:
        assert process.communicate(timeout=60)[1] == "" and process.returncode == 0


def test_plain_results_are_not_waited_for(controller):
    text = """
future.cancel()
result = client.load_balanced_view().apply_async(int)
result.add_done_callback(print)
"""
    controller.hold()
    with pcluster.Client(controller.path) as other:  # what is past cancelling
        other.load_balanced_view().apply_async(int)
        wait_until(lambda: controller.taken)
        with program(controller, text) as process:
            assert process.communicate(timeout=60)[1] == "" and process.returncode == 0


def test_a_forked_child_waits_for_nothing(controller):
    text = """
child = os.fork()
if not child:
    sys.exit(3)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
    with program(controller, text) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["atexit\n", "child 3\n"]
        controller.release()
        assert process.communicate(timeout=60) == ("ended 7\natexit\n", "")


def test_the_tasks_of_executors_that_are_gone_are_forgotten(controller, client):
    gc.collect()
    kept = [client.executor()]  # with it those of other tests go
    before = len(submitted._all)
    controller.hold()
    client.executor().submit(int)
    client.executor()
    gc.collect()
    assert len(submitted._all) == before + 1
    controller.release()
    wait_until(lambda: not client.outstanding)
    kept.append(client.executor())
    assert len(submitted._all) == before + 1 and kept[1]._submitted in submitted._all


# ---- callbacks and the end of an executor, of a client ----------------------------------------


def test_callbacks_have_run_when_the_block_is_left(controller, client):
    seen = []
    for round in range(20):
        with client.executor() as executor:
            for _ in range(20):
                executor.submit(int).add_done_callback(seen.append)
        assert len(seen) == 20 * (round + 1)


def test_shutdown_in_a_callback(controller, client):
    executor = client.executor()
    ended = threading.Event()

    def end(future):
        executor.shutdown()
        ended.set()

    executor.submit(int).add_done_callback(end)
    assert ended.wait(30)


def test_everybody_is_told_when_the_client_is_closed(controller):
    client = pcluster.Client(controller.path)
    controller.hold()
    seen = []
    futures = [client.executor().submit(int) for _ in range(50)]
    for future in futures:
        future.add_done_callback(seen.append)
    client.close()
    assert concurrent.futures.wait(futures, 30).not_done == set()
    wait_until(lambda: len(seen) == 50)
