# SPDX-License-Identifier: BSD-3-Clause
"""Turns the rows that the measurements print into a table, and keeps both in bench/results/.

usage: report.py ROWS_FILE COMMIT
"""

import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
HEAD = "| figure | setting | median | spread | runs | limit | |\n|---|---|---|---|---|---|---|\n"


def processor() -> str:
    """Model name of the first core."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    unit = "" if row["unit"] == "x" else " " + row["unit"]
    limit, verdict = "", row["note"]
    if row["limit"] is not None:
        limit = f"{row['limit']:g}{unit}"
        verdict = "kept" if row["median"] <= row["limit"] else "**MISSED**"
        verdict += f" ({row['note']})" if row["note"] else ""
    return (f"| {row['figure']} | {row['setting']} | {row['median']:.2f}{unit} "
            f"| {row['low']:.2f} to {row['high']:.2f} | {row['runs']} | {limit} | {verdict} |\n")


def main() -> int:
    """Writes both files and prints the table; 1 when a limit was missed."""
    rows = [json.loads(text) for text in Path(sys.argv[1]).read_text().splitlines()]
    commit = sys.argv[2]
    today = datetime.date.today().isoformat()
    rows.sort(key=lambda row: row["setting"])
    table = HEAD + "".join(line(row) for row in rows)
    machine = (f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}, "
               f"Python {platform.python_version()}")
    text = (f"# Figures of {today}, commit {commit}\n\n{machine}.\n"
            "How to repeat and read this: [README](../README.md).\n\n" + table)
    RESULTS.mkdir(exist_ok=True)
    base = RESULTS / f"{today}-{commit}"
    base.with_suffix(".md").write_text(text)
    base.with_suffix(".json").write_text(
        json.dumps({"date": today, "commit": commit, "machine": machine, "rows": rows}, indent=1)
        + "\n")
    print(table + f"\nwritten to {base.relative_to(RESULTS.parents[1])}.md and .json")
    missed = [r for r in rows if r["limit"] is not None and r["median"] > r["limit"]]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
