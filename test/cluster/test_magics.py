# SPDX-License-Identifier: BSD-3-Clause
"""%px and its family, in a shell of IPython within the test."""

import io
import os
import re
import signal
import sys

import pytest
from home import DEADLINE_S
from shared import client, shared  # noqa: F401 (fixtures)

import pcluster

pytest.importorskip("IPython")


@pytest.fixture
def shell(tmp_path, monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("PCLUSTER_NONINTERACTIVE", "1")
    made = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}), colors="NoColor")
    yield made
    InteractiveShell.clear_instance()


@pytest.fixture
def run(shell, client, capsys):  # noqa: F811
    """Runs a cell where the magics of engines 0 and 1 are active. Gives the lines on stdout and on
    stderr; without the numbers of executions, since other tests have counted, too, and sorted where
    engines show what they have in the order in which it comes."""
    client.activate([0, 1])

    def run_cell(text, succeeds=True):
        capsys.readouterr()
        result = shell.run_cell(text)
        shown = capsys.readouterr()
        assert result.success == succeeds, shown
        out = re.sub(r"Out\[(\d+):\d+\]", r"Out[\1]", shown.out).splitlines()
        streams = succeeds and not re.match(r"%%px .*(--no-stream|-r|-e|--group)|%\w*result", text)
        return sorted(out) if streams else out, shown.err.splitlines()

    return run_cell


def test_a_line(run):
    assert run("%px import os; mine = 'a{b}$c'") == ([], [])
    assert run("%px mine") == (["Out[0]: 'a{b}$c'", "Out[1]: 'a{b}$c'"], [])
    assert run("%px print('x')") == (["[stdout:0] x", "[stdout:1] x"], [])


def test_a_cell(run):
    assert run("%%px\ndef f(x):\n    return x * 2\nf(21)\n")[0] == ["Out[0]: 42", "Out[1]: 42"]
    assert run("%%px\nf([1,\n2])\n")[0] == ["Out[0]: [1, 2, 1, 2]", "Out[1]: [1, 2, 1, 2]"]


@pytest.mark.parametrize(
    "written, engines",
    [("0", [0]), ("-1", [3]), ("2,1", [2, 1]), ("[2,1]", [2, 1]), ("::2", [0, 2]), (":-2", [0, 1]),
     ("all", [0, 1, 2, 3])],
)
def test_targets(run, written, engines):
    assert run(f"%%px -t {written} -r --no-stream\nprint(5)\n")[0] == (
        [f"[stdout:{number}] 5" for number in engines] if len(engines) > 1 else ["5"])


def test_groups(run):
    text = "%%px {}\nimport sys\nprint('o')\nprint('e', file=sys.stderr)\n1\n"
    by_engine = ["[stdout:0] o", "Out[0]: 1", "[stdout:1] o", "Out[1]: 1"]
    by_type = ["[stdout:0] o", "[stdout:1] o", "Out[0]: 1", "Out[1]: 1"]
    errors = ["[stderr:0] e", "[stderr:1] e"]
    assert run(text.format("-e")) == run(text.format("--group-outputs engine -t 1,0")) == (by_engine, errors)
    assert run(text.format("--no-stream")) == run(text.format("--group-outputs type")) == (by_type, errors)
    assert run(text.format("-r -t 1,0")) == ([*by_engine[2:], *by_engine[:2]], errors[::-1])


def test_without_waiting(run, shell):
    assert run("first = get_ipython().run_cell_magic('px', '-a --out second', '6 * 7')") == ([], [])
    assert shell.user_ns["first"] is shell.user_ns["second"]
    assert run("%pxresult") == (["Out[0]: 42", "Out[1]: 42"], [])
    assert run("%result -o third") == (["Out[0]: 42", "Out[1]: 42"], [])
    assert shell.user_ns["third"] is shell.user_ns["second"]
    assert [reply.data["text/plain"] for reply in shell.user_ns["third"].get()] == ["42", "42"]


def test_here_too(run, shell):
    run("%%px --local\nboth = 3\n")
    assert shell.user_ns["both"] == 3 and run("%px both")[0] == ["Out[0]: 3", "Out[1]: 3"]


def test_config(run):
    assert run("%pxconfig --targets 3 --verbose --no-stream --progress-after -1") == ([], [])
    assert run("%px 5")[0] == ["Out[3]: 5", "running on engine(s): 3"]
    assert run("%%px --no-verbose -t 0\n5\n")[0] == ["Out[0]: 5"]
    run("%pxconfig --noblock")
    out, _ = run("%px 5")
    assert out[1] == "started on engine(s): 3" and "AsyncResult" in out[0]
    assert run("%%px --block\n5\n")[0] == ["Out[3]: 5", "running on engine(s): 3"]


def test_suffixes(run, client):  # noqa: F811
    client.activate([2, 3], "_last")
    assert run("%px_last 1")[0] == ["Out[2]: 1", "Out[3]: 1"]
    assert run("%%px_last -t 3\n2\n")[0] == ["Out[3]: 2"]
    run("%pxconfig_last -t 2")
    assert run("%px_last 3")[0] == ["Out[2]: 3"] == run("%pxresult_last")[0]
    assert run("%px 4")[0] == ["Out[0]: 4", "Out[1]: 4"]


def test_auto(run, shell):
    assert run("%autopx")[0] == ["%autopx enabled"]
    assert run("there = 1\nthere + 1\n")[0] == ["Out[0]: 2", "Out[1]: 2"]
    assert run("%%px -t 1\nthere\n")[0] == ["Out[1]: 1"]
    assert run("%px there")[0] == ["Out[0]: 1", "Out[1]: 1"]
    assert run("") == ([], [])
    assert shell.check_complete("for i in range(3):\n    there")[0] == "incomplete"
    assert shell.check_complete("there")[0] == "complete"
    assert run("%autopx")[0] == ["%autopx disabled"]
    assert "there" not in shell.user_ns
    run("here = 1")
    assert shell.user_ns["here"] == 1


# ---- what goes wrong --------------------------------------------------------------------------


def test_errors_while_streaming(run):
    out, err = run("%%px -t all\nprint('x')\n1 / (0 if there_is_one else 1)\n", succeeds=False)
    assert sorted(out[:-1]) == [f"[stdout:{number}] x" for number in range(4)]
    assert out[-1] == "RemoteError: 4 errors"
    assert sorted(line for line in err if line.startswith("[error")) == [f"[error:{number}]" for number in range(4)]
    assert sum(line.startswith("NameError: name 'there_is_one'") for line in err) == 4
    out, err = run("%%px -t 0\n1 / 0\n", succeeds=False)
    assert out[-1] == "RemoteError: 1 error" and err[-1] == "ZeroDivisionError: division by zero"


def test_errors_afterwards(run):
    out, _ = run("%%px --no-stream\nprint('x')\n1 / 0\n", succeeds=False)
    assert out[:3] == ["[stdout:0] x", "[stdout:1] x", "[0:execute]:"]
    assert out.count("ZeroDivisionError: division by zero") == 2
    out, _ = run("%pxresult", succeeds=False)
    assert out.count("ZeroDivisionError: division by zero") == 2


@pytest.mark.parametrize(
    "cell, text",
    [
        ("%pxresult", "there is no result yet: %px makes one"),
        ("%%px -t 9\n1\n", "there is no engine 9; the engines are [0, 1, 2, 3]"),
        ("%%px -t x\n1\n", "--targets: 'x' is no engine: give a number"),
        ("%%px -t 1:y\n1\n", "--targets: '1:y' is no engine"),
        ("%%px --signal-on-interrupt FOO\n1\n", "'FOO' is no signal"),
        ("%pxconfig --signal-on-interrupt 1234", "'1234' is no signal"),
        ("%%px --progress-after soon\n1\n", "invalid float value"),
        ("%%px --such\n1\n", "unrecognized arguments: --such"),
    ],
)
def test_bad_options(run, cell, text):
    _, err = run(cell, succeeds=False)
    assert len(err) == 1 and err[0].startswith("UsageError: ") and text in err[0]


def test_closed_client(run, client):  # noqa: F811
    with pcluster.Client() as other:
        other.activate(suffix="_other")
    _, err = run("%px_other 1", succeeds=False)
    assert len(err) == 1 and err[0].startswith("UsageError: ") and "closed" in err[0]


class Presser(io.StringIO):
    """A stdout; presses Ctrl-C when both engines have shown that they are at it."""

    def __init__(self):
        super().__init__()
        self.is_pressed = False

    def write(self, text):
        count = super().write(text)
        if not self.is_pressed and self.getvalue().count("begun") == 2:
            self.is_pressed = True
            os.kill(os.getpid(), signal.SIGINT)
        return count


LONG = "%%px {}\nimport time\nprint('begun')\ntime.sleep(100)\n"


def test_ctrl_c_goes_to_the_engines(run, monkeypatch):
    monkeypatch.setattr("sys.stdout", Presser())
    out, err = run(LONG.format(""), succeeds=False)
    assert err[0] == "Ctrl-C: sending SIGINT to engine(s) 0, 1; once more to wait no longer"
    assert sum(line == "KeyboardInterrupt" for line in err) == 2
    assert sys.stdout.getvalue().endswith("RemoteError: 2 errors\n")


def test_ctrl_c_may_stay_here(run, monkeypatch, client):  # noqa: F811
    monkeypatch.setattr("sys.stdout", Presser())
    _, err = run(LONG.format("--signal-on-interrupt 0"), succeeds=False)
    assert err == [] and sys.stdout.getvalue().endswith("KeyboardInterrupt: \n")
    assert client.outstanding  # they run on
    client.interrupt([0, 1])
    assert client.wait(timeout=DEADLINE_S)


# ---- who has them -----------------------------------------------------------------------------


def test_the_first_client_has_them(shell, shared, capsys):  # noqa: F811
    assert shell.find_line_magic("px") is None
    with pcluster.Client() as first, pcluster.Client():
        assert shell.find_line_magic("px").__self__.view.client is first
        shell.run_cell("%px 1")
        assert len(capsys.readouterr().out.splitlines()) == 4
    with pcluster.Client() as third:  # the first one is closed
        assert shell.find_line_magic("px").__self__.view.client is third


def test_view_that_does_not_wait(shell, client, capsys):  # noqa: F811
    view = client[:]
    view.activate()
    shell.run_cell("%px 1")
    assert "AsyncResult" in capsys.readouterr().out


def test_elsewhere(client):  # noqa: F811
    with pytest.warns(UserWarning, match="only in IPython"):
        client[:].activate()
