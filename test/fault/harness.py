# SPDX-License-Identifier: BSD-3-Clause
"""Work with known answers on a cluster whose processes and wires are damaged meanwhile.

usage: harness.py [--seed N] [--seconds S] [--engines N] [--faults KIND,KIND...]

Prints each fault as it happens and a line at the end; exits 1 when a promise was broken.
"""

import argparse
import collections
import contextlib
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "cluster"))

import pcluster
import workload
from faults import Faults, find
from home import Cluster, temporary_home, wait_until
from proxy import Proxy

KINDS = ("kill-engine", "pause-engine", "kill-nursery", "kill-hub", "pause-hub", "kill-scheduler", "pause-scheduler",
         "hold-wire", "cut-wire", "half_close-wire", "hold-host", "cut-host", "half_close-host")
WORKS = (workload.Balanced, workload.Direct, workload.Broadcast, workload.Output,
         workload.Collaborator)
AHEAD_MAX = 32  # SCHED_AHEAD_MOST: tasks that an engine may have been sent
HOST_ENGINES = 2  # besides the others, on a host that only a wire leads to
GAPS_S = (0, 0.02, 0.1, 0.4)
HEARTBEAT_MS = 400  # an engine that is silent for four of them is given up
STORE_TASKS = 30_000  # more than end while somebody fetches results
MEMORY_SLACK_BYTES = 32 << 20  # what a role may hold in the end beyond what it held after the first round


class Run:
    """One cluster, its workload, and what is done to it.

    Args:
        home: folders of its own
        seed: the faults, their moments, and the work
        log: takes lines of text
    """

    def __init__(self, home, seed, engines=4, kinds=KINDS, log=print):
        self.home = home
        self.seed = seed
        self.engines = engines
        self.kinds = kinds
        self.log = log
        self.rng = random.Random(seed)

    def go(self, seconds):
        """Raises what went wrong first; returns a line on what was done."""
        shared_before = set(os.listdir("/dev/shm"))
        cluster = Cluster(self.home, ["-n", self.engines, "--heartbeat", HEARTBEAT_MS, "--store-tasks", STORE_TASKS])
        try:
            report = self.damage(cluster, seconds)
            code, _, err = cluster.end()
        except workload.Wrong:
            self.describe(cluster)
            self.log(f"pcluster start:\n{cluster.end()[2]}")
            raise
        finally:
            if cluster.process.poll() is None:
                cluster.end()
        if code != 0:
            raise workload.Wrong(f"the cluster ended with code {code}:\n{err[-2000:]}")
        self.home.wait_empty()
        left = self.home.leftovers() + sorted(set(os.listdir("/dev/shm")) - shared_before)
        if left:
            raise workload.Wrong(f"left behind: {left}")
        return report

    def damage(self, cluster, seconds):
        proxies = {who: Proxy(self.address(cluster)) for who in ("wire", "host")}
        host = Cluster(self.home, ["-n", HOST_ENGINES, "--file", self.over(proxies["host"], cluster.engine_file)],
                       command="engine")
        ledger = workload.Ledger(self.home.work)
        works = [kind(self.file(cluster, proxies["wire"], nth), ledger, self.seed, workload.LOST)
                 for nth, kind in enumerate(WORKS)]
        faults = Faults(cluster.pid, self.rng, proxies, self.log)
        for work in works:
            work.start()
        try:
            wait_until(lambda: all(work.right or work.wrong for work in works), "the first answers")
            before = self.memory(cluster)
            end = time.monotonic() + seconds
            with pcluster.Client(cluster.file) as client:
                while time.monotonic() < end and not any(work.wrong for work in works):
                    time.sleep(self.rng.choice(GAPS_S))  # the moment of a fault is no condition
                    faults.do(self.rng.choice(self.kinds))
                    self.replace(cluster, client)
        finally:
            for work in works:
                work.stop()
            for work in works:
                work.join()
            code, _, err = host.end()
            for proxy in proxies.values():
                proxy.close()
        counts = ledger.counts()
        for work in works:
            if work.wrong:
                raise work.wrong
            work.check(counts)
        if code != 0:
            raise workload.Wrong(f"the host ended with code {code}:\n{err[-2000:]}")
        self.check_repeats(works, counts, cluster, faults.long_holds["host"] * HOST_ENGINES * AHEAD_MAX)
        self.check_memory(cluster, before)
        errors = sum((work.errors for work in works), collections.Counter())
        return (f"seed {self.seed}: {faults.count} faults; {sum(len(work.right) for work in works)} right answers, "
                f"{errors.total()} errors {dict(errors)}")

    def describe(self, cluster):
        """What the cluster itself has to say, for whoever looks for the fault."""
        for question in (["status"], ["task", "list", "--state", "waiting"], ["task", "list", "--state", "running"]):
            done = cluster.run(*question)
            self.log(f"pcluster {' '.join(question)}:\n{done.stdout}{done.stderr}")

    def address(self, cluster):
        host, _, port = cluster.status()["url"].removeprefix("tcp://").rpartition(":")
        return host, int(port)

    def file(self, cluster, proxy, nth):
        """A connection file: every second one leads over the proxy, the rest to the Unix socket."""
        return cluster.file if nth % 2 else self.over(proxy, cluster.file)

    def over(self, proxy, name):
        """A copy of a connection file that leads over the proxy."""
        path = os.path.join(self.home.work, f"over-{proxy.port}.json")
        with open(name, encoding="utf-8") as file:
            fields = json.load(file)
        fields.update(url=f"tcp://127.0.0.1:{proxy.port}", unix=None)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(fields, file)
        os.chmod(path, 0o600)
        return path

    def replace(self, cluster, client):
        """Never fewer engines than half: the work must go on."""
        missing = self.engines - len(find(cluster.pid, "engine"))
        if missing > self.engines // 2:
            with contextlib.suppress(pcluster.error.ControllerError):  # the nursery dies, or is about to come back
                client.start_engines(missing, block=True)

    def memory(self, cluster):
        """{role: bytes}"""
        found = {}
        for role in ("scheduler", "hub"):
            with open(f"/proc/{find(cluster.pid, role)[0]}/statm", encoding="ascii") as file:
                found[role] = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return found

    def check_memory(self, cluster, before):
        for role, size in self.memory(cluster).items():
            if size > before[role] + MEMORY_SLACK_BYTES:
                raise workload.Wrong(f"the {role} had {before[role]} bytes and has {size} when all is done")

    def check_repeats(self, works, counts, cluster, late):
        """Only an engine that is lost loses a task that had begun, and at most one.

        Args:
            late: how many more may have been begun by engines that were given up and did not know it yet
        """
        rows = cluster.status()["engines"]  # ids begin with 0 and are never given twice
        lost = 1 + max(row["id"] for row in rows) - len([row for row in rows if row["state"] != "down"])
        repeats = sum(max(0, counts[key] - 1) for work in works if work.retries for key in work.right + work.failed)
        if repeats > lost + late:
            raise workload.Wrong(f"{repeats} tasks were begun again after {lost} engines were lost, and {late} "
                                 "could be begun by those that did not know it yet")


def main():
    parser = argparse.ArgumentParser(description="Damages a cluster that works.")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="default: random")
    parser.add_argument("--seconds", type=float, default=60, help="how long faults happen (default 60)")
    parser.add_argument("--engines", type=int, default=4, help="default: 4")
    parser.add_argument("--faults", default=",".join(KINDS), help="kinds, separated by commas (default: %(default)s)")
    options = parser.parse_args()
    begun = time.monotonic()

    def log(text):
        print(f"{time.monotonic() - begun:9.3f} s  {text}", flush=True)

    print(f"seed {options.seed}, {options.seconds:g} s")
    with temporary_home() as home:
        try:
            print(Run(home, options.seed, options.engines, options.faults.split(","), log).go(options.seconds))
        except Exception as error:
            print(f"harness: with seed {options.seed}: {type(error).__name__}: {error}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    main()
