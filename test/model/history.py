# SPDX-License-Identifier: BSD-3-Clause
"""Random histories: lines for the driver. One that is impossible when it comes does nothing."""

import random

ENGINES = 6  # so many at a time, mostly
WANTED = ["-"] * 12 + ["a", "b", "a,b", "c"]  # tags of tasks
TAGS = ["-"] * 4 + ["a", "b", "a,b"] * 3 + ["c"]  # and of engines
LABELS = ["-", "-", "-", "x", "y"]
SESSIONS = (1, 2, 3)


class History:
    """Writes lines; knows only what it has written."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.last = dict.fromkeys(SESSIONS, 0)
        self.there, self.gone, self.count = [], [], 0
        self.lines = []

    def some(self, *choices):
        return self.random.choice(choices)

    def needs(self, session, number):
        if self.random.random() < 0.7 or number < 3:
            return "-"
        keys = {(session if self.random.random() < 0.8 else self.some(*SESSIONS),
                 self.random.randint(max(1, number - 12), number - 1))
                for _ in range(self.random.randint(1, 3))}
        rule = self.some(3, 3, 3, 2, 5, 4, 7, 6)
        return f"{rule}:" + ",".join(f"{s}.{t}" for s, t in sorted(keys))

    def new_task(self, count=1):
        session = self.some(*SESSIONS)
        first = self.last[session] + 1
        self.last[session] += count
        return session, first

    def old_task(self):
        session = self.some(*SESSIONS)
        return session, self.random.randint(max(1, self.last[session] - 12), self.last[session] + 1)

    def submit(self):
        session, number = self.new_task()
        near = range(max(0, self.count - 5), self.count + 1)
        targets = ",".join(map(str, sorted({self.some(*near) for _ in range(self.some(1, 2, 3))})))
        return (f"S {session} {number} {self.some(0, 0, 0, 5, -5)} {self.some(0, 0, 1, 3)} "
                f"{self.some(0, 1)} {self.some(0, 0, 0, 500)} {self.some(0, 0, 0, 900)} "
                f"{self.some('-', '-', '-', '-', targets)} {self.needs(session, number)} "
                f"{self.needs(session, number)} {self.some(*WANTED)} {self.some(*LABELS)}")

    def submit_direct(self):
        engines = [self.some(*self.there, self.count) for _ in range(self.some(1, 1, 2, 5))]
        session, first = self.new_task(len(engines))
        return f"N {session} {first} {','.join(map(str, engines))} {self.some(*LABELS)}"

    def come(self):
        self.there.append(self.count)
        self.count += 1
        return f"U {self.count - 1} {self.some(*TAGS)}"

    def go(self):
        engine = self.some(*self.there)
        self.there.remove(engine)
        self.gone.append(engine)
        return self.some(f"B {engine}", self.end(engine), self.end(engine), f"Z {engine}")

    def end(self, engine):
        """As its parent reports it."""
        return f"D {engine} {self.some(0, 1)} {self.some(-1, 0, 1, 1, 1, 2, 5)}"

    def late(self):
        session, number = self.old_task()
        return f"G {self.some(*self.gone[-3:], 0)} {session} {number}"

    def settings(self):
        return self.some('{"query":"sched","hwm":%d}' % self.some(0, 1, 1, 2, 3),
                         '{"query":"sched","scheme":"%s"}' % self.some("leastload", "leastload", "lru", "twobin"),
                         '{"query":"sched","max_tasks":%d}' % self.some(5, 20, 40))

    def stop(self):
        query = self.some("stop_engines", "restart_engines")
        return '{"query":"%s","ids":[%d]}' % (query, self.some(*self.there))

    def aborts(self):
        names = ",".join('"%016x_%d"' % self.old_task() for _ in range(self.some(1, 2, 4)))
        more = self.some("", ',"interrupt":true') + self.some("", "", ',"anybody":true')
        what = self.some('"tasks":[%s]' % names, '"tasks":[%s]' % names, '"label":"x"', '"all":true')
        return '{"query":"abort",%s%s}' % (what, more)

    def question(self):
        what = self.random.choices([self.aborts, self.stop, self.settings], [6, 2, 1])[0]
        return f"J {self.some(*SESSIONS)} {what()}"

    def commands(self):
        """How to make a piece of history, and how often, mostly."""
        engine = self.some(*self.there) if self.there else 0
        session = self.some(*SESSIONS)
        return (
            (30, lambda: [self.submit()]),
            (4, lambda: [self.submit_direct()]),
            (25, lambda: [f"A {engine} {self.some(1, 1, 1, 1, 2, 2, 3)}"]),
            (10, lambda: [f"Q {engine}"] * self.some(1, 2, 6)),  # quick ones come in a row
            (6, lambda: [f"R {engine} {self.some(0, 0, 1, 3)}"]),
            (2 * ENGINES / (len(self.there) + 1), lambda: [self.come()]),
            (2 if self.there else 0, lambda: [self.go()]),
            (0.5, lambda: [f"Z {engine}", "T 2000", f"W {engine}"]),
            (0.5 if self.gone else 0, lambda: [self.late()]),
            (0.5 if self.gone else 0, lambda: [self.end(self.some(*self.gone[-3:]))]),
            (4, lambda: [f"T {self.some(1, 2, 3)}"]),
            (2, lambda: [f"T {self.some(49, 100, 400, 3000)}"]),
            (1, lambda: [f"I {session} {engine}"]),
            (1.5, lambda: ["X %d %d %d" % (*self.old_task(), self.some(0, 1, 3))]),
            (1.5 if self.there else 0, lambda: [self.question()]),
        )

    def make(self, steps):
        """So many lines, in phases in each of which other things are frequent."""
        while len(self.lines) < steps:
            moods = [self.some(0.2, 1, 1, 3) for _ in self.commands()]
            for _ in range(self.some(20, 100, 400)):
                weights, makes = zip(*self.commands())
                weights = [weight * mood for weight, mood in zip(weights, moods)]
                self.lines += self.random.choices(makes, weights)[0]()
        return self.lines[:steps]
