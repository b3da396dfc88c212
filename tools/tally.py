#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts the individual tests of meson runs: cmocka and pytest cases, lines of TAP.

usage: tally.py add FILE LABEL TESTLOG_JSON     count one run, print its failures, remember it
       tally.py fail FILE LABEL [TEXT]          remember one failure that meson does not know of
       tally.py pass FILE LABEL                 remember one success that meson does not know of
       tally.py close FILE                      print 'N passed, N failed'; exit 1 on any failure

A program that ended badly without naming a failed case, or before it had run all of the cases that
it announced, counts as failed for each case that is missing, and for at least one.
"""

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

TAIL_LINES = 60
GOOD = ("OK", "EXPECTEDFAIL")


class Count(NamedTuple):
    """How many cases passed, failed and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Count") -> "Count":  # type: ignore[override]
        return Count(*(a + b for a, b in zip(self, other)))

    def __str__(self) -> str:
        text = f"{self.passed} passed, {self.failed} failed"
        return text + (f", {self.skipped} skipped" if self.skipped else "")


def count_cmocka(output: str) -> Count | None:
    """Cases of a cmocka program; those it announced and did not reach have failed."""
    announced = [int(n) for n in re.findall(r"^\[=+\] Running (\d+) test\(s\)", output, re.M)]
    if not announced:
        return None
    passed = len(re.findall(r"^\[ +OK \]", output, re.M))
    skipped = len(re.findall(r"^\[ +SKIPPED \]", output, re.M))
    return Count(passed, max(0, sum(announced) - passed - skipped), skipped)


def count_pytest(output: str) -> Count | None:
    """Cases of a pytest run, from its last line."""
    line = r"^=*\s*((?:\d+ \w+(?:, )?)+) in [\d.]+s.*$"
    lines = re.findall(line, output, re.M)
    if not lines:
        return None
    words = {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) (\w+)", lines[-1])}
    failed = words.get("failed", 0) + words.get("error", 0) + words.get("xpassed", 0)
    return Count(words.get("passed", 0) + words.get("xfailed", 0), failed, words.get("skipped", 0))


def count_tap(output: str) -> Count | None:
    """Lines of TAP; planned ones that are missing have failed."""
    plan = re.search(r"^1\.\.(\d+)", output, re.M)
    lines = re.findall(r"^(not )?ok\b(.*)$", output, re.M)
    if not plan and not lines:
        return None
    skipped = sum(1 for _, text in lines if re.search(r"#\s*skip", text, re.I))
    failed = sum(1 for word, text in lines if word and not re.search(r"#\s*skip", text, re.I))
    missing = max(0, int(plan[1]) - len(lines)) if plan else 0
    return Count(len(lines) - skipped - failed, failed + missing, skipped)


def count_test(test: dict) -> Count:
    """Cases of one meson test."""
    output, result = test.get("stdout") or "", test["result"]
    for counter in (count_cmocka, count_pytest, count_tap):
        if (count := counter(output)) is not None:
            break
    else:
        if result == "SKIP":
            return Count(skipped=1)
        count = Count(passed=1) if result in GOOD else Count()
    if result not in GOOD + ("SKIP",) and not count.failed:
        count += Count(failed=1)
    return count


def show_failure(label: str, test: dict) -> None:
    """Prints the end of what a failed test said."""
    text = (test.get("stdout") or "") + (test.get("stderr") or "")
    lines = text.rstrip().splitlines()
    print(f"---- {label}: {test['name']}: {test['result']}, exit {test.get('returncode')}")
    if len(lines) > TAIL_LINES:
        print(f"({len(lines) - TAIL_LINES} lines before)")
    print("\n".join(lines[-TAIL_LINES:]))
    print("----", flush=True)


def add(label: str, log: Path) -> Count:
    """Counts one run. A run that left no log has failed."""
    tests = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    total = Count()
    for test in tests:
        count = count_test(test)
        if count.failed:
            show_failure(label, test)
        for line in re.findall(r"^SKIPPED \[.*", test.get("stdout") or "", re.M):
            print(f"{label}: {line}")
        total += count
    return total if tests else Count(failed=1)


def main(arguments: list[str]) -> int:
    """See the head of this file."""
    match arguments:
        case ["add", file, label, log]:
            count = add(label, Path(log))
        case ["fail", file, label, *text]:
            count = Count(failed=1)
            print(f"---- {label}: {' '.join(text)}" if text else f"---- {label}: failed")
        case ["pass", file, label]:
            count = Count(passed=1)
        case ["close", file]:
            path = Path(file)
            counts = [Count(*json.loads(line)) for line in path.read_text().splitlines()]
            total = sum(counts, Count())
            print(total)
            return 1 if total.failed or not total.passed else 0
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    with open(file, "a", encoding="utf-8") as out:
        out.write(json.dumps(count) + "\n")
    print(f"{label}: {count}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
