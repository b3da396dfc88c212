# SPDX-License-Identifier: BSD-3-Clause
"""What the scheduler must do: every rule, and no trick.

The model takes the scheduler's word for which of several right choices was made, and checks that it
was one of them. Commands and events are those of driver.c. Within one command events are looked at in
their order; what they lead to must have come when it ends.
"""

import json

from pieces import (AHEAD, AHEAD_AFTER, ALL, BEATS_MISSED, COMING_MS, DIRECT_AHEAD, EXIT_WAIT_MS, FAILURE, FOREVER,
                    GRACE_MS, HEARTBEAT_MS, INTERRUPT, KILL, KILL_WAIT_MS, OK, RECALL_MS, SESSIONS, SUCCESS, UNMET,
                    WINDOW, Engine, Lane, Task, Wrong, words_of)


class Model:
    """The rules."""

    def __init__(self):
        self.scheme, self.hwm = "leastload", 1
        self.tasks, self.live, self.waiting = {}, {}, {}  # all, unfinished, without an engine
        self.coming = {}  # by the engine that is replaced: tags, and until when
        self.engines, self.gone, self.tag_sets = {}, {}, set()
        self.lanes = {}  # of groups, by client and priority
        self.emptied = frozenset()  # groups of which a lane has no tasks any more
        self.counts = dict.fromkeys(SESSIONS, 0)
        self.window, self.told = WINDOW, dict.fromkeys(SESSIONS, WINDOW)
        self.now, self.step, self.place, self.front, self.used = 1, 0, 0, 0, 0
        self.ends, self.orders, self.replies = {}, [], []  # that are expected

    # ---- what follows from what is known --------------------------------------------------------

    def judge(self, needs):
        """True: met; False: never; None: open. And the engines of those that count."""
        rule, keys = needs
        if not keys:
            return True, frozenset()
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
        if rule & ALL:
            return (False if missed else True if met == len(keys) else None), places
        return (True if met else False if missed == len(keys) else None), places

    def right_engines(self, task, places):
        """Where it may run at all, as far as is known."""
        right = {e.id for e in self.engines.values() if e.state == "up" and task.tags <= e.tags}
        right -= task.unsuited
        if task.targets is not None:
            right &= task.targets
        return right if places is None else right & places

    def verdict(self, task):
        """'waits', a set of engines, or how it must end."""
        if task.known is None:
            task.known = self.find_verdict(task)
        return task.known

    def find_verdict(self, task):
        if task.is_direct:
            return "waits"
        if task.is_invalid:
            return "InvalidDependency"
        after, _ = self.judge(task.after)
        follow, places = self.judge(task.follow)
        if after is False or follow is False:
            return "ImpossibleDependency"
        if task.follow[0] & ALL and len(places) > 1:
            return "ImpossibleDependency"
        # Do those that it follows already say where it must run?
        is_open = any(self.tasks[key].end is None for key in task.follow[1])
        if task.follow[0] & ALL and places:
            is_open = False
        is_pinned = bool(task.targets is not None or (task.follow[1] and not is_open))
        right = self.right_engines(task, places if task.follow[1] and not is_open else None)
        if not (after and follow):
            return "waits" if right or not is_pinned else "ImpossibleDependency"
        now = frozenset((right & places if task.follow[1] else right) - task.avoided)
        if now:
            return now
        if is_open and (right - task.avoided or not is_pinned):
            return "waits"
        if task.avoided and task.repeat and (right or self.will_come(task)):
            task.avoided = frozenset()
            return self.find_verdict(task)
        return self.give_up(task)

    def will_come(self, task):
        """Whether somebody who suits it is known to be on the way."""
        is_open = task.targets is None and not task.follow[1]
        return is_open and any(task.tags <= tags for tags, _ in self.coming.values())

    def give_up(self, task):
        """There is no engine for it."""
        if (task.error or task.unsuited) and self.will_come(task):
            return frozenset()
        if task.error:
            return task.error
        if task.unsuited or task.targets is not None or task.follow[1]:
            return "ImpossibleDependency"
        if task.tags and not task.timeout and not any(task.tags <= tags for tags in self.tag_sets):
            return "ImpossibleDependency"
        return frozenset()

    def group_of(self, task):
        """Tasks of one group may run on the same engines, whoever comes."""
        without = task.avoided | task.unsuited
        if task.targets is None and not task.follow[1]:
            return True, without, task.tags
        _, places = self.judge(task.follow)
        ids = places if task.targets is None else task.targets & places if task.follow[1] else task.targets
        return False, frozenset(ids) - without, task.tags

    def limit(self, engine):
        """How many balanced tasks it may have now."""
        if engine.state != "up" or engine.recalled is not None or engine.direct:
            return 0
        if not self.hwm:
            return FOREVER
        return max(self.hwm, AHEAD) if engine.quick >= AHEAD_AFTER else self.hwm

    def has_room(self, number):
        return len(self.engines[number].queue) < self.limit(self.engines[number])

    def engines_changed(self):
        for task in self.waiting.values():
            task.known = None

    # ---- tasks ----------------------------------------------------------------------------------

    def add(self, task):
        self.tasks[task.key] = self.live[task.key] = self.waiting[task.key] = task
        self.counts[task.key[0]] += 1

    def finish(self, task, how, engine):
        self.leave_lane(task)
        task.end, task.engine = how, engine
        self.live.pop(task.key)
        self.waiting.pop(task.key, None)
        self.counts[task.key[0]] -= 1
        for key in task.dependents:
            self.tasks[key].known = None

    def wait_again(self, task):
        task.engine = task.deadline = task.known = None
        task.is_late = task.is_told = False
        self.waiting[task.key] = task

    def begin(self, engine):
        """The first task of this engine runs now, unless it did already."""
        if engine.queue and not engine.queue[0].is_running:
            task = engine.queue[0]
            task.is_running = True
            task.deadline = self.now + task.run_timeout if task.run_timeout else None

    def attempt_ended(self, task, engine, how, is_unmet):
        """It ends, or gets another chance."""
        if how == "ok" or task.is_direct or task.is_aborted or not (is_unmet or task.retries):
            self.ends[task.key] = how, engine.id if engine.id in self.engines else None
            task.deadline = None
            return
        self.wait_again(task)
        task.start_by = None
        if is_unmet:
            task.unsuited |= {engine.id}
        else:
            task.retries -= 1
            task.error = how
            task.avoided |= {engine.id}

    def take_back(self, engine, tasks):
        """These will not run on this engine: they wait again, before all others of their lane."""
        for task in reversed(tasks):
            engine.queue.remove(task)
            self.wait_again(task)
            self.front -= 1
            if task.is_aborted:
                self.ends[task.key] = "TaskAborted", None
            elif task.is_direct:
                engine.direct.insert(0, task)
                task.engine = engine.id
                del self.waiting[task.key]
            else:
                task.deadline = task.start_by and max(task.start_by, self.now)
                task.stamp = self.front, 0  # unless it has to go to another group now
        self.begin(engine)

    # ---- commands -------------------------------------------------------------------------------

    def command(self, line):
        words = line.split()
        act = getattr(self, "do_" + words[0])
        if words[0] in "AQRBDZW":
            engine = self.engines.get(int(words[1]))
            if engine and (words[0] not in "AQR" or engine.is_connected and not engine.is_stopped):
                act(engine, words)
        else:
            act(words)

    def may_submit(self, session, number, count):
        """Whether it is within its window; if not it is refused."""
        has_room = not self.counts[session] or self.counts[session] + count <= self.told[session]
        if not has_room:
            self.orders.append(f"x {session} {number}")
        return has_room

    def do_S(self, words):
        task = Task.balanced(words, self.step)
        if not self.may_submit(*task.key, 1):
            return
        keys = task.after[1] + task.follow[1]
        task.is_invalid = any(key not in self.tasks for key in keys)
        for key in keys:
            if not task.is_invalid:
                self.tasks[key].dependents.add(task.key)
        self.add(task)
        if task.timeout:
            task.deadline = task.start_by = self.now + task.timeout

    def do_N(self, words):
        session, first, targets = int(words[1]), int(words[2]), list(map(int, words[3].split(",")))
        if not self.may_submit(session, first, len(targets)):
            return
        for number, target in enumerate(targets, first):
            task = Task.direct(session, number, words[4], self.step)
            self.add(task)
            engine = self.engines.get(target)
            if engine and engine.state == "up":
                engine.direct.append(task)
                task.engine = target
                del self.waiting[task.key]
            else:
                self.ends[task.key] = "EngineError", None

    def do_U(self, words):
        engine = Engine(int(words[1]), words_of(words[2]), self.now)
        if engine.id in self.engines or engine.id in self.gone:
            return
        replaced = [(until, number) for number, (tags, until) in self.coming.items() if until and tags == engine.tags]
        if replaced:
            del self.coming[min(replaced)[1]]
        self.engines[engine.id] = engine
        self.tag_sets.add(engine.tags)
        self.engines_changed()

    def do_A(self, engine, words):
        self.answer(engine, int(words[2]), False)

    def do_Q(self, engine, _words):
        self.answer(engine, OK, True)

    def answer(self, engine, status, is_quick):
        if not engine.queue:
            return
        engine.quick = min(engine.quick + 1, AHEAD_AFTER) if is_quick else 0
        if is_quick:
            engine.progress = self.now
        task = engine.queue.pop(0)
        how = "ok" if status == OK else "TaskTimeout" if task.is_late else "error"
        self.attempt_ended(task, engine, how, status == UNMET)
        self.begin(engine)

    def do_R(self, engine, words):
        if engine.recalled is None:
            return
        first = engine.recalled + int(words[2])
        if not engine.queue:
            first = engine.runs + 1
        elif engine.queue[0].run >= engine.recalled:  # it has answered others since
            first = max(first, engine.queue[0].run)
        if engine.state == "lost":
            return
        asked = engine.recalled
        self.take_back(engine, [task for task in engine.queue if task.run >= first])
        engine.recalled, engine.asked = None, self.now
        if engine.state == "leaving":
            self.recall_rest(engine, asked)

    def do_G(self, words):
        pass  # nobody hears it

    def do_Z(self, engine, _words):
        engine.is_stopped = True

    def do_W(self, engine, _words):
        engine.is_stopped = False

    def do_B(self, engine, _words):
        if not engine.is_connected:
            return
        engine.is_connected = False
        self.lose(engine, KILL_WAIT_MS if engine.is_killed else EXIT_WAIT_MS)
        if engine.has_exited:
            self.end(engine)

    def do_D(self, engine, words):
        if engine.has_exited:
            return
        engine.has_exited = True
        engine.begun = self.last_begun(engine, int(words[3]))
        if words[2] == "1":
            self.expect(engine.id)
        self.lose(engine)
        if not engine.is_connected:
            self.end(engine)

    def last_begun(self, engine, count):
        """The number of the RUN; None: not known."""
        if count < 0:
            return None
        if count < len(engine.queue):
            return engine.queue[count].run - 1
        return engine.queue[-1].run if engine.queue else engine.runs

    def lose(self, engine, wait=EXIT_WAIT_MS):
        """It is going; whether that is all that there is to say of it will be clear soon."""
        if engine.end_at is None:
            engine.end_at = self.now + wait
        engine.state = "lost"
        self.engines_changed()

    def end(self, engine):
        """Nothing more comes from it."""
        self.gone[engine.id] = self.engines.pop(engine.id)
        if engine.id in self.coming:
            self.coming[engine.id] = engine.tags, self.now + COMING_MS
        self.engines_changed()
        if engine.begun is not None:  # what has not begun is not lost
            self.take_back(engine, [task for task in engine.queue if self.is_spared(engine, task)])
        for task in engine.queue:
            how = "TaskTimeout" if task.is_late else "EngineError"
            if task.is_aborted and engine.is_killed and not task.is_late:
                how = "TaskAborted"
            self.attempt_ended(task, engine, how, False)
        for task in engine.direct:
            self.ends[task.key] = "EngineError", None

    def is_spared(self, engine, task):
        """It has not begun. The first one has that luck once, where nobody wanted the engine to go."""
        if task.is_direct or task.run <= engine.begun:
            return False
        was_spared = task.was_spared and task is engine.queue[0] and not engine.is_dismissed
        task.was_spared |= task is engine.queue[0] and not engine.is_dismissed
        return not was_spared

    def dismiss(self, engine):
        if engine.state == "up" and not engine.is_killed:
            engine.is_killed, engine.state = True, "leaving"
            self.engines_changed()
            self.recall_rest(engine, FOREVER)

    def recall_rest(self, engine, before):
        """What others can run of what it may not have begun is called back from an engine that leaves."""
        rest = engine.queue[1:]
        is_due = engine.recalled is None and any(not task.is_direct for task in rest)
        if is_due and rest[0].run < before:
            engine.recalled = rest[0].run
            self.orders.append(f"c {engine.id} {engine.runs + 1 - engine.recalled}")

    # ---- time -----------------------------------------------------------------------------------

    def do_T(self, words):
        self.until = self.now + int(words[1])

    def pass_to(self, at, what):
        """Something happens because it is that late now."""
        if at < self.now or at > self.until:
            raise Wrong(f"it is not {at} yet")
        self.now = at
        if what == "deadline":
            self.expire()
        elif what == "end":
            due = [e for e in self.engines.values() if e.end_at == at]
            if due:
                self.end(due[0])
        elif what == "beat":
            self.beat()
        elif what == "coming":
            self.coming = {number: (tags, until) for number, (tags, until) in self.coming.items()
                           if not until or until > at}
            self.engines_changed()
        elif what == "look":
            for engine in self.engines.values():
                if self.is_stuck(engine):
                    engine.quick = 0

    def check_punctual(self, now):
        """Nothing should have happened before."""
        for task in self.live.values():
            if task.deadline is not None and task.deadline < now:
                raise Wrong(f"{task.key} had a deadline at {task.deadline}")
        for engine in self.engines.values():
            if engine.end_at is not None and engine.end_at < now:
                raise Wrong(f"engine {engine.id} should have ended at {engine.end_at}")
        for number, (_, until) in self.coming.items():
            if until and until < now:
                raise Wrong(f"who should have come for engine {number} is waited for too long")

    def expire(self):
        for task in list(self.live.values()):
            if task.deadline is None or task.deadline > self.now:
                continue
            task.deadline = None
            if task.engine is None:
                self.ends[task.key] = "TaskTimeout", None
            elif not task.is_told:
                task.is_late = task.is_told = True
                task.deadline = self.now + GRACE_MS
                self.orders.append(f"a {task.engine} {task.key[0]} {task.key[1]}")
            else:
                self.orders.append(f"k {task.engine}")
                self.expect(task.engine)
                self.dismiss(self.engines[task.engine])

    def beat(self):
        for engine in list(self.engines.values()):
            if not engine.is_stopped:
                engine.heard = self.now
            elif engine.state != "lost" and self.now - engine.heard > BEATS_MISSED * HEARTBEAT_MS:
                if not engine.is_killed:
                    self.expect(engine.id)
                engine.is_killed, engine.is_connected = True, False
                self.lose(engine, KILL_WAIT_MS)

    # ---- ending tasks early ---------------------------------------------------------------------

    def abort(self, task, flags, tally):
        task.is_aborted = True
        engine = self.engines.get(task.engine)
        if engine is None or task in engine.direct:
            self.ends[task.key] = "TaskAborted", None
            if engine:
                engine.direct.remove(task)
            tally["ended"] += 1
            return
        self.orders.append(f"a {engine.id} {task.key[0]} {task.key[1]}")
        tally["passed_on"] += 1
        if task is engine.queue[0] and flags & KILL:
            task.is_told, task.deadline = True, self.now + GRACE_MS

    def abort_all(self, keys, flags):
        tally = {"ok": True, "ended": 0, "passed_on": 0, "unknown": 0}
        for key in keys:
            task = self.live.get(key)
            if task and task.key not in self.ends:
                self.abort(task, flags, tally)
            else:
                tally["unknown"] += 1
        self.replies.append(tally)

    def do_X(self, words):
        self.abort_all([(int(words[1]), int(words[2]))], int(words[3]))

    def do_I(self, words):
        engine = self.engines.get(int(words[2]))
        task = engine.queue[0] if engine and engine.queue else None
        if task:
            self.orders.append(f"a {engine.id} {task.key[0]} {task.key[1]}")
        self.replies.append({"ok": True, "ended": 0, "passed_on": int(task is not None), "unknown": 0})

    def do_J(self, words):
        query = json.loads("".join(words[2:]))
        getattr(self, "ask_" + query["query"])(int(words[1]), query)

    def ask_abort(self, session, query):
        keys = [(int(name[:16], 16), int(name[17:])) for name in query.get("tasks", [])]
        if "label" in query or query.get("all"):
            keys += [task.key for task in self.live.values()
                     if (query.get("anybody") or task.key[0] == session)
                     and ("label" not in query or task.label == query["label"])]
        self.abort_all(keys, INTERRUPT | KILL if query.get("interrupt") else 0)

    def ask_stop_engines(self, _session, query, is_replaced=False):
        for number in query["ids"]:
            if number not in self.engines or self.engines[number].state == "lost":
                continue
            if is_replaced:
                self.expect(number)
            self.engines[number].is_dismissed = True
            self.dismiss(self.engines[number])
        self.replies.append({"ok": True})

    def ask_restart_engines(self, session, query):
        self.ask_stop_engines(session, query, True)

    def expect(self, number):
        """Another engine will come for this one."""
        self.coming.setdefault(number, (self.engines[number].tags, None))
        self.engines_changed()

    def ask_sched(self, _session, query):
        self.scheme = query.get("scheme", self.scheme)
        self.hwm = query.get("hwm", self.hwm)
        self.window = query.get("max_tasks", self.window)
        self.told = {session: max(told, self.window) for session, told in self.told.items()}
        self.replies.append({"ok": True, "scheme": self.scheme, "hwm": self.hwm, "max_tasks": self.window})

    # ---- one step -------------------------------------------------------------------------------

    def take(self, line, events):
        """Compares what the driver did with what it may and must do."""
        self.begin_step()
        self.command(line)
        for event in events[:-1]:
            self.place += 1
            self.event(event)
        if line[0] == "T":
            self.check_punctual(self.until + 1)
            self.now = self.until
        self.end_step()
        counts = " ".join(str(self.counts[session]) for session in SESSIONS)
        if events[-1] != f". {counts}":
            raise Wrong(f"windows are {events[-1][2:]}, expected: {counts}")

    def begin_step(self):
        self.step += 1
        self.place = 0

    def event(self, event):
        kind, _, rest = event.partition(" ")
        if kind == "t":
            at, what = rest.split()
            self.end_step()
            self.check_punctual(int(at))
            self.begin_step()
            self.pass_to(int(at), what)
        elif kind == "r":
            engine, *key = map(int, rest.split())
            self.started(self.engines.get(engine), tuple(key))
        elif kind == "e":
            session, number, how = rest.split()
            self.ended((int(session), int(number)), how)
        elif kind == "c" and event not in self.orders:
            self.called_back(*map(int, rest.split()))
        elif kind == "q":
            self.replied(json.loads(rest))
        elif event in self.orders:
            self.orders.remove(event)
        else:
            raise Wrong(f"'{event}' was not called for")

    def end_step(self):
        """Everything that had to happen has happened."""
        if self.ends or self.orders or self.replies:
            raise Wrong(f"expected, and did not come: {self.ends} {self.orders} {self.replies}")
        free = {number for number in self.engines if self.has_room(number)}
        for task in self.waiting.values():
            self.check_still(task, free)
        for group in self.emptied:
            if not any(lane.tasks for lane in self.lanes[group].values()):
                del self.lanes[group]
        self.emptied = frozenset()
        for engine in self.engines.values():
            self.check_engine(engine)

    def replied(self, reply):
        expected = self.replies.pop(0) if self.replies else {"ok": "not asked"}
        for name, value in expected.items():
            if reply.get(name) != value:
                raise Wrong(f"replied {reply}, expected: {expected}")

    def ended(self, key, how):
        task = self.live.get(key)
        if not task:
            raise Wrong(f"{key} ended twice, or never was")
        due, engine = self.ends.pop(key, (None, None))
        verdict = self.verdict(task) if key in self.waiting else None
        must_end = isinstance(verdict, str) and verdict != "waits"
        # A timeout leaves time for what had to happen at the same moment before it.
        if how != due or (due == "TaskTimeout" and must_end):
            if not (must_end and how == verdict):
                raise Wrong(f"{key} ended as {how}, expected: {due or verdict}")
            engine = None
        for other in self.engines.values():
            if task in other.direct:
                other.direct.remove(task)
        self.finish(task, how, engine)

    def started(self, engine, key):
        task = self.live.get(key)
        if not task or not engine or engine.state != "up" or engine.recalled is not None:
            raise Wrong(f"{key} can't be given to engine {engine and engine.id}")
        if task.is_direct:
            if task not in engine.direct[:1] or len(engine.queue) >= DIRECT_AHEAD:
                raise Wrong(f"{key} is not the next for engine {engine.id}")
            engine.direct.pop(0)
        else:
            if key not in self.waiting:
                raise Wrong(f"{key} is on an engine already")
            self.ends.pop(key, None)  # the last moment of its timeout
            self.check_choice(task, engine)
            task.sent_from = self.group_of(task)
            self.serve(task)
            del self.waiting[key]
        if not engine.queue:
            engine.progress = self.now
        self.used += 1
        engine.used = self.used
        engine.runs += 1
        task.run = engine.runs
        engine.queue.append(task)
        task.engine, task.deadline, task.is_running = engine.id, None, False
        self.begin(engine)

    # ---- whose turn it is -----------------------------------------------------------------------

    def check_choice(self, task, engine):
        right = self.verdict(task)
        if isinstance(right, str) or engine.id not in right:
            raise Wrong(f"{task.key} must not run on engine {engine.id}: {right}")
        if not self.has_room(engine.id):
            raise Wrong(f"engine {engine.id} has enough")
        self.check_scheme(engine, [self.engines[number] for number in right if self.has_room(number)])
        for other in self.waiting.values():
            if other is not task and other.key not in self.ends:
                verdict = self.verdict(other)
                if isinstance(verdict, frozenset) and engine.id in verdict:
                    self.check_order(task, other)

    def check_scheme(self, engine, others):
        for other in others:
            is_less = len(other.queue) < len(engine.queue)
            is_older = (other.used, other.id) < (engine.used, engine.id)
            if self.scheme == "leastload" and (is_less or len(other.queue) == len(engine.queue) and is_older):
                raise Wrong(f"engine {engine.id} has {len(engine.queue)}, {other.id} has {len(other.queue)}")
            if self.scheme == "lru" and is_older:
                raise Wrong(f"engine {engine.id} was used after engine {other.id}")

    def check_order(self, task, other):
        """`other` may run there, too: was it its turn?"""
        if other.priority > task.priority:
            raise Wrong(f"{other.key} has a higher priority than {task.key}")
        group = self.group_of(other)
        was = other.group or other.sent_from
        if other.priority < task.priority or other.stamp is None or was != group:
            return
        mine, its = self.lane_of(task, self.group_of(task)), self.lane_of(other, group)
        if mine is its:
            since = (self.step, 1) if task.stamp is None else task.stamp
            if other.stamp < since:
                raise Wrong(f"{other.key} is before {task.key}")
        elif task.group is not None and other.group is not None and its.turn[1] < mine.turn[0]:
            raise Wrong(f"{other.key} waits for its turn longer than {task.key}")

    def lane_of(self, task, group):
        lanes = self.lanes.setdefault(group, {})
        return lanes.setdefault((task.key[0], task.priority), Lane())

    def leave_lane(self, task):
        if task.group is not None:
            lane = self.lane_of(task, task.group)
            lane.tasks.remove(task)
            if not lane.tasks:
                lane.left, self.emptied = self.step, self.emptied | {task.group}
        task.group = task.stamp = task.placed = None

    def serve(self, task):
        """It leaves its lane, which has had its turn: the one where it belongs now."""
        group = self.group_of(task)
        if task.group != group:
            self.leave_lane(task)
        self.lane_of(task, group).turn = ((self.step, self.place),) * 2
        self.leave_lane(task)

    def check_still(self, task, free):
        """May it still wait? If so it has its place in a lane."""
        right = self.verdict(task)
        if isinstance(right, str):
            self.leave_lane(task)
            if right != "waits":
                raise Wrong(f"{task.key} still waits; it should have ended as {right}")
            return
        if not free.isdisjoint(right):
            raise Wrong(f"{task.key} waits although one of {set(right & free)} is free")
        if right and right is task.placed:
            return
        task.placed = right
        group = self.group_of(task)
        if task.group == group:
            return
        is_back = task.group is None and task.stamp and group == task.sent_from
        stamp = task.stamp if is_back else (self.step, 0)
        self.leave_lane(task)
        task.group, task.stamp = group, stamp
        lane = self.lane_of(task, group)
        if not lane.tasks:  # others may have left it just now, before this one came or afterwards
            since = lane.turn[0] if lane.left == self.step else (self.step, 0)
            lane.turn = since, (self.step, FOREVER)
        lane.tasks.append(task)

    # ---- engines that have more than the limit --------------------------------------------------

    def is_stuck(self, engine):
        """It has more than the limit, and none of them has ended for a while."""
        is_slow = self.now - engine.progress >= RECALL_MS
        is_asked = engine.state != "up" or engine.recalled is not None
        return is_slow and not is_asked and len(engine.queue) > self.hwm > 0

    def called_back(self, number, count):
        """A RECALL of so many RUNs: of what was aborted, or of all that are beyond the limit and not too early."""
        engine = self.engines[number]
        first = engine.runs + 1 - count
        aborted = [task.run for task in engine.queue[1:] if task.is_aborted]
        if aborted[:1] == [first] and engine.state == "up" and engine.recalled is None:
            engine.recalled = first
            return
        beyond = engine.queue[self.hwm:]
        if not self.is_stuck(engine) or beyond[0].run != first or all(task.is_direct for task in beyond):
            raise Wrong(f"engine {number} is called back for {count} of {len(engine.queue)}")
        engine.recalled = first

    def check_engine(self, engine):
        if engine.state != "up" or engine.recalled is not None:
            return
        if engine.direct and len(engine.queue) < DIRECT_AHEAD:
            raise Wrong(f"{engine.direct[0].key} waits although engine {engine.id} has room")
        beyond = engine.queue[self.hwm:] if self.hwm else []
        if all(task.is_direct for task in beyond):
            engine.asked = None
        elif engine.asked is None:
            engine.asked = self.now
        elif self.now - max(engine.progress, engine.asked) > 2 * RECALL_MS:
            raise Wrong(f"engine {engine.id} has {len(engine.queue)} and gets nowhere")
