# SPDX-License-Identifier: BSD-3-Clause
"""tools/tally.py counts what ran, and never counts a failure away."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import tally  # noqa: E402
from tally import Count  # noqa: E402

CMOCKA = """[==========] Running 3 test(s).
[ RUN      ] a
[       OK ] a
[ RUN      ] b
{b}
[ RUN      ] c
[  SKIPPED ] c
[==========] 3 test(s) run.
"""


def run(stdout, result="OK", code=0):
    return {"name": "t", "stdout": stdout, "stderr": "", "result": result, "returncode": code}


@pytest.mark.parametrize("test, expected", [
    (run(CMOCKA.format(b="[       OK ] b")), Count(2, 0, 1)),
    (run(CMOCKA.format(b="[  FAILED  ] b"), "FAIL", 1), Count(1, 1, 1)),
    # killed within its second case: that one and the third are missing
    (run(CMOCKA.split("{b}")[0], "FAIL", -6), Count(1, 2, 0)),
    # everything passed, but the program did not end well (a leak, say)
    (run(CMOCKA.format(b="[       OK ] b"), "FAIL", 23), Count(2, 1, 1)),
    # two groups in one program
    (run(CMOCKA.format(b="[       OK ] b") * 2), Count(4, 0, 2)),
    (run("..F.\n1 failed, 3 passed in 0.12s\n", "FAIL", 1), Count(3, 1, 0)),
    (run("=== 5 passed, 1 skipped, 2 warnings in 61.20s (0:01:01) ===\n"), Count(5, 0, 1)),
    (run("1 passed, 2 errors in 0.12s\n", "FAIL", 1), Count(1, 2, 0)),
    (run("no tests ran in 0.01s\n", "FAIL", 5), Count(0, 1, 0)),
    (run("1..3\nok 1 - a\nnot ok 2 - b\nok 3 - c # SKIP no\n", "FAIL", 1), Count(1, 1, 1)),
    (run("1..3\nok 1 - a\n", "ERROR", 0), Count(1, 2, 0)),
    (run("anything"), Count(1, 0, 0)),
    (run("anything", "FAIL", 1), Count(0, 1, 0)),
    (run("anything", "TIMEOUT", -9), Count(0, 1, 0)),
    (run("", "SKIP", 77), Count(0, 0, 1)),
])
def test_count(test, expected):
    assert tally.count_test(test) == expected


def test_totals_and_exit_code(tmp_path, capsys):
    log, totals = tmp_path / "log.json", str(tmp_path / "totals")
    log.write_text(json.dumps(run("1..1\nok 1\n")) + "\n" + json.dumps(run("x")) + "\n")
    assert tally.main(["add", totals, "one", str(log)]) == 0
    assert tally.main(["pass", totals, "fuzz"]) == 0
    assert tally.main(["close", totals]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3 passed, 0 failed"
    assert tally.main(["fail", totals, "build", "did not build"]) == 0
    assert tally.main(["close", totals]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "3 passed, 1 failed"


def test_a_missing_log_is_a_failure(tmp_path, capsys):
    totals = str(tmp_path / "totals")
    tally.main(["add", totals, "one", str(tmp_path / "gone")])
    assert tally.main(["close", totals]) == 1


def test_nothing_at_all_is_a_failure(tmp_path):
    totals = tmp_path / "totals"
    totals.write_text("")
    assert tally.main(["close", str(totals)]) == 1
