# SPDX-License-Identifier: BSD-3-Clause
"""Random histories: what the scheduler decides must be what the rules allow.

The model here knows every rule and no trick: after each step it looks at every task. It takes the
scheduler's word for which of several right choices was made, and checks that it was one of them.
A history that fails is cut down to a short one that fails, too, and printed.

usage: test_model.py DRIVER [--seed N] [--steps N]
"""

import argparse
import random
import subprocess
import sys
import time

OK, BAD, UNMET = 1, 2, 3
ALL, SUCCESS, FAILURE = 1, 2, 4
GRACE_MS = 5000
WANTED = ["-"] * 12 + ["a", "b", "a,b", "c"]  # tags of tasks
TAGS = ["-"] * 4 + ["a", "b", "a,b"] * 3 + ["c"]  # and of engines
SHORTEN_S = 30  # how long a failing history is made shorter


class Wrong(Exception):
    """The scheduler did what it must not, or did not do what it must."""


def tags(text):
    return frozenset() if text == "-" else frozenset(text.split(","))


class Task:
    """One task; `end` is how it ended, `engine` where it runs or ran."""

    def __init__(self, words, step):
        self.key = (int(words[1]), int(words[2]))
        self.priority, self.retries = int(words[3]), int(words[4])
        self.repeat = words[5] == "1"
        self.timeout, self.run_timeout = int(words[6]), int(words[7])
        self.targets = None if words[8] == "-" else {int(w) for w in words[8].split(",")}
        self.after, self.follow = self.needs(words[9]), self.needs(words[10])
        self.tags = tags(words[11])
        self.avoided, self.unsuited, self.ready_on = set(), set(), set()
        self.end = self.engine = self.error = self.deadline = self.ready_since = None
        self.running = self.aborted = self.late = self.told = self.invalid = False
        self.step = step

    @staticmethod
    def needs(text):
        if text == "-":
            return 0, []
        rule, _, tasks = text.partition(":")
        return int(rule), [tuple(map(int, t.split("."))) for t in tasks.split(",")]


class Model:
    """The rules."""

    def __init__(self, scheme, hwm):
        self.scheme, self.hwm = scheme, hwm
        self.tasks, self.live, self.engines, self.killed = {}, {}, {}, set()
        self.tags = {}  # of every engine that ever was
        self.next_id = self.now = self.step = 0

    # ---- what follows from what is known ----

    def judge(self, needs):
        """True: met; False: never; None: open. And the engines of those that count."""
        rule, keys = needs
        met, missed, places = 0, 0, set()
        for key in keys:
            task = self.tasks[key]
            if task.end is None:
                continue
            if rule & (SUCCESS if task.end == "ok" else FAILURE):
                met += 1
                places |= {task.engine} - {None}
            else:
                missed += 1
        if not keys:
            return True, places
        if rule & ALL:
            return (False if missed else True if met == len(keys) else None), places
        return (True if met else False if missed == len(keys) else None), places

    def verdict(self, task):
        """'waits', a set of engines, or how it must end."""
        if task.invalid:
            return "InvalidDependency"
        after, _ = self.judge(task.after)
        follow, places = self.judge(task.follow)
        if after is False or follow is False:
            return "ImpossibleDependency"
        if task.follow[0] & ALL and len(places) > 1:
            return "ImpossibleDependency"
        right = {engine for engine in self.engines if task.tags <= self.tags[engine]} - task.unsuited
        if task.targets is not None:
            right &= task.targets
        # Do those that it follows already say where it must run?
        open_place = any(self.tasks[key].end is None for key in task.follow[1])
        if task.follow[0] & ALL and places:
            open_place = False
        pinned = task.targets is not None or (task.follow[1] and not open_place)
        if task.follow[1] and not open_place:
            right &= places
        if not (after and follow):
            return "waits" if right or not pinned else "ImpossibleDependency"
        if task.follow[1] and (right & places) - task.avoided:
            return (right & places) - task.avoided
        if not task.follow[1] and right - task.avoided:
            return right - task.avoided
        if open_place and (right - task.avoided or not pinned):
            return "waits"
        if task.avoided and task.repeat and right:
            task.avoided = set()
            return right & places if task.follow[1] else right
        if task.error:
            return task.error
        if task.unsuited:
            return "ImpossibleDependency"
        if task.targets is not None or task.follow[1]:
            return "ImpossibleDependency"
        if task.tags and not task.timeout and not any(task.tags <= had for had in self.tags.values()):
            return "ImpossibleDependency"
        return set()

    # ---- commands ----

    def finish(self, task, how, engine=None):
        task.end, task.engine, task.running = how, engine, False
        self.live.pop(task.key, None)

    def begin(self, engine):
        """The first task of this engine runs now."""
        if self.engines.get(engine):
            task = self.engines[engine][0]
            if not task.running:
                task.running = True
                task.late = task.told = False
                task.deadline = self.now + task.run_timeout if task.run_timeout else None

    def attempt_ended(self, task, engine, how, unmet):
        """Expected: the end of the task, or None when it gets another chance."""
        task.running, task.deadline = False, None
        if how == "ok" or task.aborted or not (unmet or task.retries):
            return how
        task.engine = None
        if unmet:
            task.unsuited.add(engine)
        else:
            task.retries -= 1
            task.error = how
            task.avoided.add(engine)
        task.ready_since = None
        task.late = task.told = False
        return None

    def command(self, words):
        """Does what the command says; returns {task key: how it ends} and the orders expected."""
        ends, orders, kind = {}, set(), words[0]
        if kind == "S":
            task = Task(words, self.step)
            keys = task.after[1] + task.follow[1]
            task.invalid = any(key not in self.tasks for key in keys)
            self.tasks[task.key] = self.live[task.key] = task
            if task.timeout:
                task.deadline = self.now + task.timeout
        elif kind == "U":
            self.engines[self.next_id] = []
            self.tags[self.next_id] = tags(words[1])
            self.next_id += 1
        elif kind == "A":
            self.answer(int(words[1]), int(words[2]), ends)
        elif kind == "L" and int(words[1]) in self.engines:
            engine = int(words[1])
            for task in self.engines.pop(engine):
                how = "TaskTimeout" if task.late else "EngineError"
                if task.aborted and engine in self.killed and not task.late:
                    how = "TaskAborted"
                how = self.attempt_ended(task, engine, how, False)
                if how:
                    ends[task.key] = (how, None)
        elif kind == "T":
            self.pass_time(int(words[1]), ends, orders)
        elif kind == "X":
            self.abort((int(words[1]), int(words[2])), int(words[3]), ends, orders)
        return ends, orders

    def answer(self, engine, status, ends):
        if not self.engines.get(engine):
            return
        task = self.engines[engine].pop(0)
        how = "ok" if status == OK else "TaskTimeout" if task.late else "error"
        how = self.attempt_ended(task, engine, how, status == UNMET)
        if how:
            ends[task.key] = (how, engine)
        self.begin(engine)

    def pass_time(self, ms, ends, orders):
        self.now += ms
        for task in list(self.live.values()):
            if task.deadline is None or task.deadline > self.now:
                continue
            task.deadline = None
            if task.engine is None:
                ends[task.key] = ("TaskTimeout", None)
            elif not task.told:
                task.late = task.told = True
                task.deadline = self.now + GRACE_MS
                orders.add(("a", task.engine, *task.key))
            else:
                self.killed.add(task.engine)
                orders.add(("k", task.engine))

    def abort(self, key, flags, ends, orders):
        task = self.live.get(key)
        if not task:
            return
        task.aborted = True
        if task.engine is None:
            ends[key] = ("TaskAborted", None)
            return
        orders.add(("a", task.engine, *key))
        if task.running and flags & 2:
            task.told, task.deadline = True, self.now + GRACE_MS

    # ---- one step ----

    def take(self, line, events):
        """Compares what the driver did with what it may and must do."""
        self.step += 1
        ends, orders = self.command(line.split())
        for event in events:
            words = event.split()
            if words[0] == "r":
                if ends.get((int(words[2]), int(words[3]))) == ("TaskTimeout", None):
                    # What it waited for ended at the same time as its own patience.
                    del ends[int(words[2]), int(words[3])]
                self.started(int(words[1]), (int(words[2]), int(words[3])))
            elif words[0] == "e":
                self.ended((int(words[1]), int(words[2])), words[3], ends)
            else:
                order = (words[0], *map(int, words[1:]))
                if order not in orders:
                    raise Wrong(f"'{event}' was not called for")
                orders.remove(order)
        if ends or orders:
            raise Wrong(f"expected, and did not come: {ends} {orders}")
        for task in self.live.values():
            if task.engine is None:
                self.check_still(task)

    def ended(self, key, how, ends):
        task = self.live.get(key)
        if not task:
            raise Wrong(f"{key} ended twice, or never was")
        expected, engine = ends.pop(key, (None, None))
        if expected is None:
            if task.engine is not None:
                raise Wrong(f"{key} ended while it was on an engine")
            expected = self.verdict(task)
        is_due_too = task.engine is None and how == self.verdict(task)
        if how != expected and not is_due_too:  # of two reasons in one step either will do
            raise Wrong(f"{key} ended as {how}, expected: {expected}")
        self.finish(task, how, engine)

    def started(self, engine, key):
        task = self.live.get(key)
        queue = self.engines.get(engine)
        if not task or task.engine is not None or queue is None:
            raise Wrong(f"{key} can't be given to engine {engine}")
        right = self.verdict(task)
        if not isinstance(right, set) or engine not in right:
            raise Wrong(f"{key} must not run on engine {engine}: {right}")
        if len(queue) >= self.hwm:
            raise Wrong(f"engine {engine} has enough")
        if self.scheme == "leastload":
            least = min(len(self.engines[other]) for other in right)
            if len(queue) > least:
                raise Wrong(f"{key} on engine {engine} with {len(queue)}, others have {least}")
        for other in self.live.values():
            if other is not task and other.ready_since is not None and other.engine is None:
                self.check_order(task, other, engine)
        queue.append(task)
        task.engine, task.deadline, task.ready_since = engine, None, None
        self.begin(engine)

    def check_order(self, task, other, engine):
        """`other` was ready before this step; was it its turn?"""
        if engine not in other.ready_on:
            return
        if other.priority > task.priority:
            raise Wrong(f"{other.key} has a higher priority than {task.key}")
        same = other.key[0] == task.key[0] and other.priority == task.priority
        plain = all(t.targets is None and not (t.follow[1] or t.avoided or t.unsuited or t.tags) for t in (task, other))
        since = self.step if task.ready_since is None else task.ready_since
        if same and plain and other.ready_since < since:
            raise Wrong(f"{other.key} waits longer than {task.key}")

    def check_still(self, task):
        """After a step: may this task still wait?"""
        right = self.verdict(task)
        if isinstance(right, set):
            free = [engine for engine in right if len(self.engines[engine]) < self.hwm]
            if free:
                raise Wrong(f"{task.key} waits although {free} are free")
            task.ready_on = right
            if task.ready_since is None:
                task.ready_since = self.step
        else:
            task.ready_since = None
            if right != "waits":
                raise Wrong(f"{task.key} still waits; it should have ended as {right}")


# ---- histories ----------------------------------------------------------------------------------


def make_needs(rng, session, task):
    if rng.random() < 0.7 or task < 3:
        return "-"
    rule = rng.choice([3, 3, 3, 2, 5, 4, 7, 6])
    keys = {(session if rng.random() < 0.8 else rng.randint(1, 3), rng.randint(max(1, task - 12), task - 1))
            for _ in range(rng.randint(1, 3))}
    return f"{rule}:" + ",".join(f"{s}.{t}" for s, t in sorted(keys))


def make(rng, steps):
    """Commands; those that turn out to be impossible do nothing."""
    last, engines, lines = {1: 0, 2: 0, 3: 0}, 0, []
    for _ in range(steps):
        dice, near = rng.random(), rng.randint(max(0, engines - 5), max(0, engines - 1))
        if dice < 0.33:
            session = rng.randint(1, 3)
            last[session] += 1
            task = last[session]
            targets = {rng.randint(max(0, engines - 5), engines) for _ in range(rng.randint(1, 3))}
            text = ",".join(map(str, sorted(targets))) if rng.random() < 0.2 else "-"
            lines.append(
                f"S {session} {task} {rng.choice([0, 0, 0, 5, -5])} {rng.choice([0, 0, 1, 3])} "
                f"{rng.randint(0, 1)} {rng.choice([0, 0, 0, 500])} {rng.choice([0, 0, 0, 900])} "
                f"{text} {make_needs(rng, session, task)} {make_needs(rng, session, task)} "
                f"{rng.choice(WANTED)}")
        elif dice < 0.88:
            lines.append(f"A {near} {rng.choice([1, 1, 1, 1, 2, 2, 3])}")
        elif dice < 0.905 or engines == 0:
            lines.append(f"U {rng.choice(TAGS)}")
            engines += 1
        elif dice < 0.925:
            lines.append(f"L {near}")
        elif dice < 0.96:
            lines.append(f"T {rng.choice([1, 100, 400, 3000])}")
        else:
            session = rng.randint(1, 3)
            lines.append(f"X {session} {rng.randint(max(1, last[session] - 8), last[session] + 1)} "
                         f"{rng.choice([0, 1, 3])}")
    return lines


def check(driver, scheme, hwm, lines):
    """None, or (number of the step, what is wrong)."""
    done = subprocess.run([driver, scheme, str(hwm)], input="\n".join(lines) + "\n", text=True,
                          capture_output=True, timeout=100, check=False)
    model, events, step = Model(scheme, hwm), [], 0
    for line in done.stdout.splitlines():
        if line != ".":
            events.append(line)
            continue
        if step >= len(lines):
            break
        try:
            model.take(lines[step], events)
        except Wrong as wrong:
            return step, f"{wrong}; it did: {events}"
        step, events = step + 1, []
    if done.returncode != 0 or step < len(lines):
        return step, f"the driver ended with {done.returncode}: {done.stderr.strip()}"
    return None


def shorten(driver, scheme, hwm, lines):
    """A short history that fails."""
    size, end = len(lines) // 2, time.monotonic() + SHORTEN_S
    while size and time.monotonic() < end:
        start = 0
        while start < len(lines) and time.monotonic() < end:
            fewer = lines[:start] + lines[start + size:]
            failed = check(driver, scheme, hwm, fewer) if fewer else None
            if failed:
                lines = fewer[: failed[0] + 1]
            else:
                start += size
        size //= 2
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100000)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    for scheme, hwm in (("leastload", 1), ("leastload", 3), ("lru", 2), ("weighted", 1)):
        lines = make(rng, options.steps // 4)
        failed = check(options.driver, scheme, hwm, lines)
        if not failed:
            continue
        short = shorten(options.driver, scheme, hwm, lines[: failed[0] + 1])
        print(f"{scheme}, hwm {hwm}, seed {options.seed}: a history of {len(short)} steps fails:")
        print("\n".join(short))
        print(check(options.driver, scheme, hwm, short))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
