# SPDX-License-Identifier: BSD-3-Clause
"""What the model knows of engines and tasks."""

OK, BAD, UNMET = 1, 2, 3
ALL, SUCCESS, FAILURE = 1, 2, 4
INTERRUPT, KILL = 1, 2
# As in sched/state.h.
AHEAD, AHEAD_AFTER, RECALL_MS, DIRECT_AHEAD = 8, 4, 5, 16
GRACE_MS, EXIT_WAIT_MS, KILL_WAIT_MS, COMING_MS, BEATS_MISSED = 5000, 50, 1000, 10000, 4
# As in yard.h and driver.c.
HEARTBEAT_MS, WINDOW, SESSIONS = 1000, 20, (1, 2, 3)
FOREVER = float("inf")


class Wrong(Exception):
    """The scheduler did what it must not, or did not do what it must."""


def words_of(text: str) -> frozenset[str]:
    return frozenset() if text == "-" else frozenset(text.split(","))


def needs_of(text: str) -> tuple[int, list[tuple[int, int]]]:
    if text == "-":
        return 0, []
    rule, _, tasks = text.partition(":")
    return int(rule), [(int(s), int(t)) for s, t in (key.split(".") for key in tasks.split(","))]


class Engine:
    """One engine, as long as the scheduler knows it."""

    def __init__(self, number, tags, now):
        self.id, self.tags = number, tags
        self.queue, self.direct = [], []  # tasks that it has; that wait for it
        self.state = "up"  # "leaving": it takes nothing more; "lost": its end is clear
        self.is_connected, self.is_stopped, self.has_exited = True, False, False
        self.is_killed = self.is_dismissed = False
        self.runs = self.quick = self.used = 0
        self.recalled = None  # the number of the first RUN called back, until it answers
        self.begun = None  # when it has ended: the number of the last RUN that it had begun, if that is known
        self.progress, self.asked, self.heard = 0, None, now
        self.end_at = None


class Task:
    """One task; `end` is how it ended, `engine` where it runs or ran."""

    def __init__(self, key, label, step):
        self.key, self.label, self.step = key, label, step
        self.is_direct = self.is_aborted = self.is_late = self.is_told = self.is_invalid = False
        self.priority = self.retries = self.timeout = self.run_timeout = 0
        self.repeat = self.is_running = self.was_spared = False
        self.targets, self.tags = None, frozenset()
        self.after = self.follow = (0, [])
        self.avoided, self.unsuited = frozenset(), frozenset()
        self.end = self.engine = self.error = self.deadline = self.start_by = None
        self.run = 0  # the number of its RUN there
        self.group = self.stamp = None  # while it is ready: where, and since when
        self.placed = None  # the verdict with which it came there
        self.sent_from = None  # its group when it was sent
        self.dependents = set()
        self.known = None  # its verdict, until something changes

    @classmethod
    def balanced(cls, words, step):
        task = cls((int(words[1]), int(words[2])), words[11], step)
        task.priority, task.retries = int(words[3]), int(words[4])
        task.repeat = words[5] == "1"
        task.timeout, task.run_timeout = int(words[6]), int(words[7])
        task.targets = None if words[8] == "-" else frozenset(map(int, words[8].split(",")))
        task.after, task.follow = needs_of(words[9]), needs_of(words[10])
        task.tags = words_of(words[11])
        task.label = words[12]
        return task

    @classmethod
    def direct(cls, session, number, label, step):
        task = cls((session, number), label, step)
        task.is_direct = True
        return task


class Lane:
    """The ready tasks of one client with one priority in one group. `turn` is when it had its last
    turn, or was empty: two values, between which that was."""

    def __init__(self):
        self.tasks, self.turn = [], ((0, 0), (0, 0))
        self.left = None  # the step in which it became empty
