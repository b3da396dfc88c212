# SPDX-License-Identifier: BSD-3-Clause
"""Source for the tracebacks of engines, from where the functions came from."""

import linecache

import pytest

from pcluster import error
from pcluster.client.sourcelines import with_source

CELL = "<ipython-input-7-0123456789ab>"


@pytest.fixture
def cell():
    """A cell of IPython."""
    lines = ["def f(x):\n", "    return 1 / x\n"]
    linecache.cache[CELL] = (sum(map(len, lines)), None, lines, CELL)
    yield CELL
    del linecache.cache[CELL]


def test_lines_of_cells_and_files(cell, tmp_path):
    path = tmp_path / "mödule.py"
    path.write_text("import x\n  \n\ty = f(0)  # here\n")
    lacks = f"""Traceback (most recent call last):
  File "{path}", line 3, in <module>
  File "{path}", line 2, in g
  File "{path}", line 99, in g
  File "/nowhere/at/all.py", line 1, in g
  File "relative.py", line 1, in g
  File "{cell}", line 2, in f
  [Previous line repeated 3 more times]
ZeroDivisionError: division by zero"""
    has = f"""Traceback (most recent call last):
  File "{path}", line 3, in <module>
    y = f(0)  # here
  File "{path}", line 2, in g
  File "{path}", line 99, in g
  File "/nowhere/at/all.py", line 1, in g
  File "relative.py", line 1, in g
  File "{cell}", line 2, in f
    return 1 / x
  [Previous line repeated 3 more times]
ZeroDivisionError: division by zero"""
    assert with_source(lacks) == has
    assert with_source(has) == has


def test_what_engines_show_stays(cell):
    text = f'''  File "{cell}", line 1
    def f(:
          ^
SyntaxError: invalid syntax'''
    assert with_source(text) == text
    assert with_source("") == "" and with_source("no traceback\n") == "no traceback\n"


def test_groups_of_exceptions(cell):
    text = f'''  + Exception Group Traceback (most recent call last):
  |   File "{cell}", line 2, in f
  | ExceptionGroup: two'''
    assert with_source(text).splitlines()[2] == "  |     return 1 / x"


def test_errors_have_them(client, cell):
    code = compile("".join(linecache.cache[cell][2]), cell, "exec")
    names = {}
    exec(code, names)
    known = linecache.cache.pop(cell)
    ar = client[0].apply_async(names["f"], 0)  # the make-believe engine is in this process
    ar.wait()
    linecache.cache[cell] = known
    with pytest.raises(error.RemoteError) as caught:
        ar.get()
    assert "    return 1 / x" in caught.value.traceback.splitlines()
