# SPDX-License-Identifier: BSD-3-Clause
"""A large random graph of tasks, on engines that are killed meanwhile: every edge holds, and every
task ends once, in the way that the ends of those that it waited for allow."""

import os
import random
import signal
import threading

import pcluster
from conftest import wait_until
from shared import by_value

TASKS = 10_000
ENGINES = 8
KILLS = 6
RULES = [  # all, success, failure; most tasks need all to go well
    (True, True, False), (True, True, False), (True, True, False), (False, True, False),
    (True, True, True), (False, True, True), (False, False, True),
]


@by_value
def step(path, number, is_good):
    """When it ran; each attempt that got through leaves a line."""
    import os
    import time

    begun = time.monotonic_ns()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"%d\n" % number)
    os.close(fd)
    if not is_good:
        raise ArithmeticError(number)
    return begun, time.monotonic_ns()


def make_graph(rng):
    """For each task: its predecessors, a rule, and whether it goes well."""
    graph = []
    for number in range(TASKS):
        near = range(max(0, number - 60), number)
        sources = rng.sample(near, min(len(near), rng.choice([0, 1, 1, 2, 3])))
        graph.append((sources, rng.choice(RULES), rng.random() > 0.03))
    return graph


def kill_some(rng, client, path, stop, killed):
    """One engine after the other, as the work goes on."""
    for nth in range(KILLS):
        goal = (nth + 1) * TASKS * 5 // (KILLS + 2)  # bytes: a line has five on average
        wait_until(lambda: stop.is_set() or os.path.getsize(path) > goal, "progress")
        if stop.is_set():
            return
        victim = rng.choice(client.engines)
        os.kill(victim.pid, signal.SIGKILL)
        wait_until(lambda: victim.id not in client.ids, "the engine to be gone")
        killed.append(victim.id)


def outcome(result):
    error = result.exception(120)
    return "ok" if error is None else getattr(error, "ename", type(error).__name__)


def expect(rule, ends):
    """Whether a task runs whose predecessors ended so."""
    need_all, success, failure = rule
    counts = [(end == "ok" and success) or (end != "ok" and failure) for end in ends]
    return not counts or (all(counts) if need_all else any(counts))


def test_graph(start, tmp_path):
    rng = random.Random(20261125)
    graph = make_graph(rng)
    path = str(tmp_path / "log")
    open(path, "wb").close()
    stop, killed = threading.Event(), []
    cluster = start(ENGINES)
    with pcluster.Client(cluster.file) as c, pcluster.Client(cluster.file) as watcher:
        view = c.load_balanced_view().set_flags(retries=3)
        killer = threading.Thread(target=kill_some, args=(rng, watcher, path, stop, killed))
        killer.start()
        results = []
        for number, (sources, rule, is_good) in enumerate(graph):
            names = [results[source].msg_ids[0] for source in sources]
            view.after = pcluster.Dependency(names, *rule) if names else None
            results.append(view.apply_async(step, path, number, is_good))
        ends = [outcome(result) for result in results]
        stop.set()
        killer.join()
        assert killed and not set(killed) & set(c.ids) and not c.outstanding
    ran = {}
    with open(path, encoding="ascii") as file:
        for line in file:
            ran[int(line)] = ran.get(int(line), 0) + 1
    for number, (sources, rule, is_good) in enumerate(graph):
        may_run = expect(rule, [ends[source] for source in sources])
        right = {"ok"} if is_good else {"ArithmeticError", "EngineError"}
        assert ends[number] in (right if may_run else {"ImpossibleDependency"}), (number, sources, rule)
        assert (number in ran) == may_run
        if ends[number] != "ok":
            continue
        begun = results[number].get()[0]
        before = [results[source].get()[1] <= begun for source in sources if ends[source] == "ok"]
        if rule[0]:
            assert all(before)
        elif all(ends[source] == "ok" for source in sources):
            assert not before or any(before)
    # Who is killed loses at most the task that it was working on.
    bad = sum(number in ran and not is_good for number, (_, _, is_good) in enumerate(graph))
    assert sum(ran.values()) - len(ran) <= len(killed) + 3 * bad
