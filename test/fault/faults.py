# SPDX-License-Identifier: BSD-3-Clause
"""What is done to a cluster: one process, or its wires, and when it is over."""

import collections
import os
import signal
import time

from home import children, is_alive, wait_until

# Of an engine: longer than its heartbeat allows, or not.
PAUSES_S = (0.05, 0.3, 3)
# A role that dies more often than five times a minute ends the cluster, as it should.
SPARED_S = 15
SUPERVISED = ("scheduler", "hub", "nursery")


def title(pid):
    """What the process calls itself: "engine 3", "hub"."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().rstrip(b"\0").decode().removeprefix("pcluster: ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def find(parent, name):
    """Pids of the living roles of that name."""
    found = children(parent)
    found += [pid for child in found if title(child) == "nursery" for pid in children(child)]
    return [pid for pid in found if title(pid).split(" ")[0] == name and is_alive(pid)]


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Faults:
    """Does one after the other to a running cluster.

    Args:
        parent: pid of the cluster's parent
        rng: decides what, to whom and for how long
        proxies: by name: "wire" leads to some clients, "host" to engines elsewhere
        log: takes a line on each
    """

    def __init__(self, parent, rng, proxies, log):
        self.parent = parent
        self.rng = rng
        self.proxies = proxies
        self.log = log
        self.count = 0
        self.long_holds = collections.Counter()  # of which wires, so long that engines were given up
        self.killed = {}  # role: when it was last

    def do(self, kind):
        """One fault; returns when it is over, not when the cluster has recovered."""
        self.count += 1
        what, _, who = kind.rpartition("-")
        getattr(self, what.replace("-", "_"))(who)

    def kill(self, who):
        pid = self.pick(who)
        is_spared = who in SUPERVISED and time.monotonic() < self.killed.get(who, -SPARED_S) + SPARED_S
        if pid and not is_spared:
            self.killed[who] = time.monotonic()
            self.log(f"kill {title(pid)} (pid {pid})")
            send(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(pid), f"the {who} to be dead")

    def pause(self, who):
        """Stops it and lets it go on."""
        pid = self.pick(who)
        if not pid:
            return
        pause_s = self.rng.choice(PAUSES_S)
        self.log(f"pause {title(pid)} (pid {pid}) for {pause_s} s")
        send(pid, signal.SIGSTOP)
        time.sleep(pause_s)  # this is the fault, not a wait
        send(pid, signal.SIGCONT)

    def cut(self, who):
        self.log(f"cut the {who}")
        self.proxies[who].cut()

    def half_close(self, who):
        self.log(f"close the {who} halfway")
        self.proxies[who].half_close()

    def hold(self, who):
        pause_s = self.rng.choice(PAUSES_S)
        self.log(f"hold the {who} for {pause_s} s")
        self.long_holds[who] += pause_s == max(PAUSES_S)
        self.proxies[who].hold()
        time.sleep(pause_s)  # as above
        self.proxies[who].flow()

    def pick(self, who):
        pids = find(self.parent, who)
        return self.rng.choice(pids) if pids else None
