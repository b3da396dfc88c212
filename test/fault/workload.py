# SPDX-License-Identifier: BSD-3-Clause
"""Work whose every answer is known, for a cluster that somebody damages meanwhile.

Each kind of work is a loop with a client of its own. Every call leaves a line in a ledger when it
begins on an engine, so that it can be told afterwards how often it was run. What comes back must be
the right answer, or an error that the faults explain; and it must come.
"""

import collections
import os
import random
import signal
import subprocess
import sys
import threading
import time
import zlib

import pcluster
from home import DEADLINE_S, by_value

LOST = (pcluster.error.EngineError, pcluster.error.NoEnginesRegistered)
BURST = 40


@by_value
def compute(path, key, pause_s, lines):
    """Notes in the ledger that it begins; says some lines; the checksum of its key."""
    import os
    import time
    import zlib

    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, f"{key}\n".encode())
    os.close(fd)
    for number in range(lines):
        print(key, number)
    if pause_s:
        time.sleep(pause_s)
    return zlib.crc32(key.encode())


def answer(key):
    """What compute() returns for it."""
    return zlib.crc32(key.encode())


class Wrong(AssertionError):
    """The cluster broke a promise."""


class Ledger:
    """How often each call was begun, by its key."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "ledger")
        open(self.path, "wb").close()

    def counts(self):
        """{key: how often}"""
        with open(self.path, encoding="ascii") as file:
            return collections.Counter(line.rstrip("\n") for line in file)


class Work(threading.Thread):
    """One kind of work, over and over until stop() is called. The first broken promise ends it."""

    retries = 0
    lines = 0

    def __init__(self, url_file, ledger, seed, allowed):
        super().__init__(name=type(self).__name__.lower())
        self.url_file = url_file
        self.ledger = ledger
        self.rng = random.Random(f"{seed} {self.name}")
        self.allowed = allowed
        self.stopping = threading.Event()
        self.right = []  # keys
        self.failed = []
        self.errors = collections.Counter()  # how often which
        self.wrong = None

    def stop(self):
        self.stopping.set()

    def run(self):
        try:
            with pcluster.Client(self.url_file) as client:
                while not self.stopping.is_set():
                    self.round(client)
                if client.outstanding:
                    raise Wrong(f"{len(client.outstanding)} calls are outstanding when all is done")
        except Exception as error:  # told by the main thread
            self.wrong = error

    def round(self, client):
        """Some calls, and their answers."""
        raise NotImplementedError

    def key(self):
        return f"{self.name}-{len(self.right) + len(self.failed)}-{self.rng.getrandbits(32):x}"

    def arguments(self, key):
        pause_s = self.rng.choice([0, 0, 0, 0.001, 0.01])
        return self.ledger.path, key, pause_s, self.lines

    def view(self, client):
        """Where this work goes to."""
        raise NotImplementedError

    def submit(self, client, count):
        """[(key, result)]; fewer when the engines go meanwhile."""
        base = self.key()
        sent = []
        try:
            view = self.view(client)
            for number in range(count):
                key = f"{base}-{number}"
                sent.append((key, view.apply_async(compute, *self.arguments(key))))
        except (IndexError, *self.allowed):
            self.stopping.wait(0.01)  # there may be none for a moment
        return sent

    def settle(self, key, result, index=None):
        """Checks one answer, or one of several; whether it is no error."""
        if not result.wait(DEADLINE_S):
            raise Wrong(f"{key}: no answer after {DEADLINE_S} s from {' '.join(result.msg_ids)}")
        values = result.get(return_exceptions=True)
        value = values if index is None else values[index]
        if not isinstance(value, BaseException):
            if value != answer(key):
                raise Wrong(f"{key}: {value!r} instead of {answer(key)}")
            self.right.append(key)
            return True
        if self.retries or not isinstance(value, self.allowed):
            raise Wrong(f"{key}: {type(value).__name__}: {value}") from value
        self.failed.append(key)
        self.errors[f"{self.name}: {type(value).__name__}"] += 1
        return False

    def check(self, counts):
        """After the end: how often each call was begun."""
        for key in self.right:
            if counts[key] < 1 or counts[key] > 1 + self.retries:
                raise Wrong(f"{key}: its answer is there, and it was begun {counts[key]} times")
        for key in self.failed:
            if counts[key] > 1 + self.retries:
                raise Wrong(f"{key}: failed, and was begun {counts[key]} times")


class Balanced(Work):
    """Tasks for whoever is free; one that loses its engine is tried again."""

    retries = 20

    def view(self, client):
        return client.load_balanced_view().set_flags(retries=self.retries)

    def round(self, client):
        for key, result in self.submit(client, BURST):
            self.settle(key, result)


class Direct(Work):
    """Calls on one engine: never run again, whatever happens."""

    def view(self, client):
        return client[self.rng.choice(client.ids)]  # an IndexError when there is none

    def round(self, client):
        for key, result in self.submit(client, BURST // 8):
            self.settle(key, result)


class Broadcast(Work):
    """One call on all engines; one that dies has an error in its place."""

    def view(self, client):
        return client.broadcast_view()

    def round(self, client):
        for key, result in self.submit(client, 1):
            for index in range(len(result.msg_ids)):
                self.settle(key, result, index)

    def check(self, counts):
        """One key stands for as many calls as there were engines."""
        meant = collections.Counter(self.right) + collections.Counter(self.failed)
        for key in meant:
            if counts[key] > meant[key]:
                raise Wrong(f"{key}: {meant[key]} calls were begun {counts[key]} times")


class Output(Work):
    """What a task prints arrives with it, whole and once."""

    lines = 30

    def view(self, client):
        return client.load_balanced_view()

    def round(self, client):
        for key, result in self.submit(client, BURST // 4):
            said = "".join(f"{key} {number}\n" for number in range(self.lines))
            if self.settle(key, result) and result.stdout != said:
                raise Wrong(f"{key}: its output is {result.stdout!r}")


class Collaborator(Work):
    """Another client submits tasks and is killed; this one gets their results by their ids."""

    retries = 20

    def round(self, client):
        sent = self.abandoned(self.rng.randrange(1, 300))
        for key, msg_id in sent.items():
            try:
                self.settle(key, client.get_result(msg_id))
            except pcluster.error.NoSuchTask:
                self.check_unsent(client, key, msg_id)

    def abandoned(self, count):
        """{key: id} of what a client had submitted when it was killed."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "victim.py")
        with subprocess.Popen([sys.executable, script, self.url_file, self.ledger.path, self.key()],
                              stdout=subprocess.PIPE, text=True,
                              env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))) as victim:
            lines = [victim.stdout.readline() for _ in range(count)]
            victim.send_signal(signal.SIGKILL)
            lines += victim.stdout.readlines()
        if not lines[count - 1]:
            raise Wrong("the client that was to be killed has ended by itself, see above")
        return dict(line.split() for line in lines if line.endswith("\n"))

    def check_unsent(self, client, key, msg_id):
        """It died with that in its hands, or the hub hears of it in a moment."""
        end = time.monotonic() + DEADLINE_S
        while self.ledger.counts()[key]:
            try:
                self.settle(key, client.get_result(msg_id))
                return
            except pcluster.error.NoSuchTask as error:
                if time.monotonic() > end:
                    raise Wrong(f"{key}: was begun, and nobody knows {msg_id}") from error
