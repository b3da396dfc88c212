# SPDX-License-Identifier: BSD-3-Clause
"""Each rule of the linter is shown a small tree that keeps it and one that breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import check  # noqa: E402,F401  (registers every rule)
import rules_c  # noqa: E402
import rules_docs  # noqa: E402
import rules_docstrings  # noqa: E402
import rules_files  # noqa: E402
import rules_protocol  # noqa: E402
import rules_python  # noqa: E402
from tree import RULES, Tree  # noqa: E402

SPDX_C = "/* SPDX-License-Identifier: BSD-3-Clause */\n"
SPDX_PY = "# SPDX-License-Identifier: BSD-3-Clause\n"
STEPS = """#define OVER (1u << TASK_DONE | 1u << TASK_FAILED)
static const unsigned legal[] = {
    [TASK_READY] = OVER,
    [TASK_DONE] = 0,
    [TASK_FAILED] = 0,
};
"""
PROTO = """
    X(1, HELLO, PC_FROM_NEW, 4 * PC_KIB, 0)     \\
    X(2, RUN, PC_FROM_SCHED | PC_FROM_PARENT,   \\
      16, PC_ANY_PARTS)
"""
DOCUMENT = """
| 1 | HELLO | new | JSON | any | 4 KiB |
| 2 | RUN | scheduler, parent | binary | any | 16 |
"""
MAIN = 'struct pc_cmd table[] = {\n    {"start", cmd_start, "starts"},\n};\n'
HEADER = {"lib/pcluster.h": "PC_PUBLIC int pc_a(void);\n",
          "lib/libpcluster.syms": "X {\nglobal:\n    pc_a;\nlocal:\n    *;\n};\n"}
PAGE = """.\\" SPDX-License-Identifier: BSD-3-Clause
.Dd November 23, 2026
.Dt PCLUSTER-START 1
.Os
.Sh NAME
.Nm pcluster-start
.Nd start a cluster
.Sh SYNOPSIS
.Nm pcluster start
.Op Fl n Ar count
.Op Fl -json
.Sh DESCRIPTION
Starts.
.Sh EXIT STATUS
.Ex -std
.Sh EXAMPLES
None.
"""


@pytest.fixture
def plant(tmp_path):
    """Makes a tree of the given files and returns it."""

    def make(files, build=None):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Tree(tmp_path, build)

    return make


def found(rule, tree):
    """The problems a rule reports, as text."""
    return [str(problem) for problem in rule(tree)]


# rule, a tree that keeps it, a tree that breaks it, what must be reported
CASES = [
    (rules_c.rooms,
     {"hub/a.c": '#include "hub/hub.h"\n#include "lib/buf.h"\n',
      "cmd/a.c": '#include "hub/hub.h"\n',
      "python/ext/a.c": '#include "pcluster.h"\n#include "own.h"\n'},
     {"hub/a.c": '\n#include "sched/sched.h"\n'}, 'hub/a.c:2: includes "sched/sched.h"'),
    (rules_c.rooms, {"lib/a.c": '#include "lib/buf.h"\n'},
     {"lib/a.c": '#include "buf.h"\n'}, "include paths start with the room"),
    (rules_c.rooms, {"lib/a.c": ""}, {"lib/a.c": '#  include "cmd/cmd.h"\n'},
     "lib/ may include lib"),
    (rules_c.rooms, {"python/ext/a.c": ""}, {"python/ext/a.c": '#include "lib/buf.h"\n'},
     "python/ sees pcluster.h only"),
    (rules_c.rooms, {"examples/a.c": "#include <pcluster.h>\n"},
     {"examples/a.c": '#include "lib/wire.h"\n'}, "examples/ sees pcluster.h only"),
    (rules_c.owners, {"engine/py.c": "#include <Python.h>\n"},
     {"sched/a.c": "#include <Python.h>\n"}, "sched/a.c:1: includes Python.h"),
    (rules_c.owners,
     {"lib/noise.c": "#include <sodium.h>\n", "test/unit/t.c": "#include <sodium.h>\n"},
     {"lib/wire.c": "#include <sodium.h>\n"}, "lib/wire.c:1: includes sodium.h"),
    (rules_c.owners, {"lib/json.c": "#include <cjson/cJSON.h>\n"},
     {"hub/query.c": "#include <cjson/cJSON.h>\n"}, "hub/query.c:1: includes cjson/cJSON.h"),
    (rules_c.owners, {"lib/conn.h": "#include <uv.h>\n"},
     {"lib/sock.c": "#include <uv.h>\n"}, "lib/sock.c:1: includes uv.h"),
    (rules_c.asserts, {"lib/a.c": "assert(x);\n"}, {"lib/a.c": "#define NDEBUG\n"}, "lib/a.c:1"),
    (rules_c.formatting, {"lib/a.c": "int a;\n", ".clang-format": "BasedOnStyle: LLVM\n"},
     {"lib/a.c": "int   a;\n", ".clang-format": "BasedOnStyle: LLVM\n"},
     "lib/a.c:1: not formatted"),
    (rules_files.spdx, {"lib/a.c": SPDX_C, "tools/x": "#!/bin/sh\n" + SPDX_PY},
     {"lib/a.c": "int a;\n"}, "lib/a.c:1: no line"),
    (rules_files.spdx, {}, {"tools/x": "#!/bin/sh\n"}, "tools/x:1: no line"),
    (rules_files.size, {"lib/a.c": "\n" * 800}, {"lib/a.c": "\n" * 801}, "801 lines"),
    (rules_files.size, {"lib/a.c": "x" * 100}, {"lib/a.c": "x" * 101}, "101 columns"),
    (rules_files.size, {"a.py": "x" * 120}, {"a.py": "x" * 121}, "121 columns"),
    (rules_files.unfinished, {"lib/a.c": "/* to do is fine */\n"},
     {"lib/a.c": "\n/* TO" + "DO: this */\n"}, "lib/a.c:2"),
    (rules_files.unfinished, {"README.md": "X\n"}, {"README.md": "X" * 3 + "\n"}, "README.md:1"),
    (rules_files.whitespace, {"lib/a.c": "int a;\n"}, {"lib/a.c": "int a; \n"}, "end of the line"),
    (rules_files.whitespace, {"lib/a.c": "int a;\n"}, {"lib/a.c": "\tint a;\n"}, "a tab"),
    (rules_files.whitespace, {"lib/a.c": "int a;\n"}, {"lib/a.c": "int a;"}, "exactly one newline"),
    (rules_files.registered,
     {"test/unit/test_buf.c": "", "test/unit/meson.build": "unit_tests = {\n  'buf': [],\n}\n",
      "test/cluster/test_x.py": "", "test/cluster/meson.build": "args: ['-m', 'pytest']\n"},
     {"test/unit/test_buf.c": "", "test/unit/meson.build": "unit_tests = {\n  'buffer': [],\n}\n"},
     "test/unit/test_buf.c:1: is not mentioned"),
    (rules_files.registered, {}, {"test/cluster/test_x.py": ""}, "it never runs"),
    (rules_files.shell, {"README.md": ""}, {"tools/x": "#!/bin/bash\necho $1\n"}, "not executable"),
    (rules_files.shell, {"README.md": ""}, {"tools/x": "#!/bin/bash\necho $1\n"}, "SC2086"),
    (rules_docs.task_steps,
     {"sched/task.c": STEPS, "doc/TASKS.md": "| READY | DONE, FAILED |\n| DONE, FAILED | |\n"},
     {"sched/task.c": STEPS, "doc/TASKS.md": "| READY | DONE |\n| DONE, FAILED | |\n"},
     "READY: task.c allows DONE, FAILED"),
    (rules_protocol.document, {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT},
     {"lib/proto.h": PROTO, "doc/PROTOCOL.md": "| 1 | HELLO | new | JSON | any | 4 KiB |\n"},
     "has no row for 2 RUN"),
    (rules_protocol.document, {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT},
     {"lib/proto.h": PROTO, "doc/PROTOCOL.md": "\n".join(reversed(DOCUMENT.splitlines())) + "\n"},
     "has 2 RUN where proto.h has 1 HELLO"),
    (rules_protocol.document, {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT},
     {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT.replace("4 KiB", "5 KiB")},
     "proto.h allows 4096 bytes"),
    (rules_protocol.document, {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT},
     {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT.replace(", parent", "")},
     "proto.h has the senders parent, scheduler"),
    (rules_protocol.document, {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT},
     {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT + "| 3 | NEWER | hub | - | any | 0 |\n"},
     "3 NEWER is not in proto.h"),
    (rules_protocol.document, {"lib/proto.h": PROTO, "doc/PROTOCOL.md": DOCUMENT}, {},
     "no X() rows"),
    (rules_protocol.handlers,
     {"lib/proto.h": PROTO, "sched/sched.c": "{PC_MSG_HELLO, a, b},\n",
      "engine/work.c": "case PC_MSG_RUN:\n"},
     {"lib/proto.h": PROTO, "sched/sched.c": "{PC_MSG_HELLO, a, b},\nsend(PC_MSG_RUN);\n"},
     "nobody handles RUN"),
    (rules_protocol.seeds,
     {"lib/proto.h": PROTO, "test/fuzz/seeds/frame/hello": "", "test/fuzz/seeds/frame/run": ""},
     {"lib/proto.h": PROTO, "test/fuzz/seeds/frame/hello": ""},
     "no seed test/fuzz/seeds/frame/run"),
    (rules_protocol.tested,
     {"lib/proto.h": PROTO, "test/unit/test_a.c": "f(PC_MSG_HELLO); f(PC_MSG_RUN);\n"},
     {"lib/proto.h": PROTO, "test/unit/test_a.c": "f(PC_MSG_HELLO);\n"}, "PC_MSG_RUN"),
    (rules_docs.pages,
     {"cmd/main.c": MAIN, "cmd/start.c": "int cmd_start(void)\n", "man/pcluster-start.1": PAGE,
      "man/pcluster.1": ".Xr pcluster-start 1\n",
      "man/meson.build": "'pcluster.1', 'pcluster-start.1'\n"},
     {"cmd/main.c": MAIN, "cmd/start.c": "int cmd_start(void)\n"}, "no page man/pcluster-start.1"),
    (rules_docs.pages, {"cmd/main.c": MAIN, "cmd/start.c": "cmd_start",
                        "man/pcluster-start.1": PAGE,
                        "man/pcluster.1": ".Xr pcluster-start 1\n",
                        "man/meson.build": "'pcluster.1', 'pcluster-start.1'\n"},
     {"cmd/main.c": MAIN, "man/pcluster-gone.1": PAGE}, "that cmd/main.c does not have"),
    (rules_docs.mandoc, {"man/a.1": PAGE}, {"man/a.1": PAGE.replace(".Sh EXAMPLES\n", "")},
     "no section EXAMPLES"),
    (rules_docs.mandoc, {"man/a.1": PAGE}, {"man/a.1": PAGE + ".Bl -tag\n"}, "man/a.1:18: "),
    (rules_docs.mandoc, {"man/a.7": PAGE.replace(".Sh EXIT STATUS\n", "").replace("START 1", "START 7")},
     {"man/a.7": PAGE.replace(".Sh EXAMPLES\n", "")}, "no section EXAMPLES"),
    (rules_docs.functions, HEADER | {"man/a.3": ".Sh SYNOPSIS\n.Ft int\n.Fn pc_a void\n.Sh X\n"},
     HEADER | {"man/a.3": ".Sh SYNOPSIS\n.Sh X\n.Fn pc_a\n"}, "pc_a is in no SYNOPSIS"),
    (rules_docs.functions, HEADER | {"man/a.3": ".Sh SYNOPSIS\n.Fo pc_a\n"},
     HEADER | {"man/a.3": ".Sh SYNOPSIS\n.Fo pc_a\n.Fo pc_b\n"}, "pc_b is not in lib/pcluster.h"),
    (rules_docs.functions, HEADER | {"man/a.3": ".Sh SYNOPSIS\n.Fo pc_a\n"},
     HEADER | {"lib/libpcluster.syms": "X {\n    pc_*;\nlocal:\n    *;\n};\n"}, "pc_a is not in lib/libpcluster.syms"),
    (rules_docs.connection,
     {"lib/connfile.c": 'pc_json_put_str(json, "url", x);', "man/pcluster-connection.5": ".It Va url\n"},
     {"lib/connfile.c": 'pc_json_put_str(json, "url", x);', "man/pcluster-connection.5": ".It Va uri\n"},
     "url is missing"),
    (rules_docs.links, {"README.md": "[a](LICENSE) [b](https://example.org)\n", "LICENSE": ""},
     {"README.md": "[a](doc/GONE.md)\n"}, "link to doc/GONE.md"),
    (rules_docs.readme, {"README.md": "tools/demo tools/check\n"},
     {"README.md": "\n" * 40 + "tools/demo tools/check\n"}, "tools/demo is not in the first"),
    (rules_docstrings.docstrings,
     {"python/pcluster/a.py": '"""M."""\nclass A:\n    """C."""\n    def _f(self): pass\n'},
     {"python/pcluster/a.py": '"""M."""\nclass A:\n    """C."""\n    def f(self): pass\n'},
     "python/pcluster/a.py:4: A.f is public"),
    (rules_docstrings.docstrings, {"python/pcluster/a.py": '"""M."""\n'},
     {"python/pcluster/a.py": "import os\n"}, "the module has no docstring"),
    (rules_python.types, {"python/pcluster/a.py": "x: int = 1\n"},
     {"python/pcluster/a.py": "x: int = 'a'\n"}, "python/pcluster/a.py:1: "),
    (rules_python.compiles, {"test/a.py": "x = r'\\d'\n"}, {"test/a.py": "x = '\\d'\n"},
     "test/a.py:1"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].__name__)
def test_rule_passes_and_fails(case, plant, tmp_path):
    rule, good, bad, expected = case
    assert found(rule, plant(good)) == []
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    problems = found(rule, plant(bad))
    assert any(expected in problem for problem in problems), problems


def test_every_rule_without_a_build_has_a_case():
    covered = {case[0] for case in CASES}
    assert [e.title for e in RULES if not e.needs_build and e.check not in covered] == []


def build_library(folder, source, *options):
    """A libpcluster.so in folder/build made of `source`."""
    lib = folder / "build" / "lib"
    lib.mkdir(parents=True)
    (folder / "a.c").write_text(source)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", lib / "libpcluster.so", folder / "a.c", *options],
                   check=True)
    return folder / "build"


@pytest.mark.parametrize("source, expected", [
    ("void pc_a(void) {}\n", None),
    ("void pc_a(void) {}\nvoid pc_b(void) {}\n", "pc_b is exported but not declared"),
    ("void pc_a(void) {}\nvoid other(void) {}\n", "exports other, which is not a pc_ name"),
    ("int pc_c;\n", "pc_a is declared PC_PUBLIC but not exported"),
])
def test_exports(source, expected, plant, tmp_path):
    build = build_library(tmp_path, source)
    tree = plant({"lib/pcluster.h": "PC_PUBLIC void\npc_a(void);\n"}, build)
    problems = found(rules_c.exports, tree)
    assert any(expected in p for p in problems) if expected else problems == []


@pytest.mark.parametrize("options, expected", [
    (["-Wl,-soname,libpcluster.so.7"], None),
    ([], "has no soname"),
    (["-Wl,-soname,libpcluster.so.7", "-Wl,--no-as-needed", "-lm"], "needs libm"),
    (["-Wl,-soname,libpcluster.so.7", "-DNO_VERSIONS"], "pc_a has no version"),
])
def test_library(options, expected, plant, tmp_path):
    script = tmp_path / "x.syms"
    script.write_text("PCLUSTER_7 { global: pc_a; local: *; };\n")
    if "-DNO_VERSIONS" not in options:
        options = [*options, f"-Wl,--version-script={script}"]
    build = build_library(tmp_path, "void pc_a(void) {}\n", *options)
    problems = found(rules_c.library, plant({}, build))
    assert any(expected in p for p in problems) if expected else problems == []


MODULE = '"""M."""\n'
SAYS_ALL = MODULE + '''
def f(a, *rest, b=1, **more):
    """Does it.

    Args:
        a: metres
        *rest: more
          of them
        b: seconds
        **more: the rest

    Returns:
        A number.

    Raises:
        ValueError, KeyError: always
    """
    def inner():
        raise OSError
    if a:
        raise ValueError("no")
    raise error.KeyError
    return 1
'''


@pytest.mark.parametrize("old, new, expected", [
    ("", "", None),
    ("        a: metres\n", "", "f does not say what 'a' is"),
    ("        **more: the rest\n", "", "f does not say what 'more' is"),
    ("(a, ", "(", "f speaks of 'a', which is no argument"),
    ("    Returns:\n        A number.\n", "", "f does not say what it returns"),
    ("return 1", "return", None),
    ("Returns:", "Yields:", None),
    ("return 1", "yield 1", None),
    ("ValueError, ", "", "f does not say when it raises ValueError"),
    ("    raise error.KeyError\n", "    raise\n", None),
])
def test_docstrings_agree_with_signatures(old, new, expected, plant):
    text = SAYS_ALL.replace(old, new, 1) if old else SAYS_ALL
    problems = found(rules_docstrings.docstrings, plant({"python/pcluster/a.py": text}))
    assert [p.split(": ", 1)[1] for p in problems] == ([expected] if expected else [])


@pytest.mark.parametrize("text, expected", [
    ('class A:\n    """C."""\n    def __init__(self, a): pass\n', ["A does not say what 'a' is"]),
    ('class A:\n    """C.\n\n    Args:\n        a: it\n    """\n    def __init__(self, a): pass\n', []),
    ('class A:\n    """C. Made by B."""\n    def __init__(self, a): pass\n', []),
    ('def f(a):\n    """See g()."""\n', []),
    ('def f():\n    """Its number."""\n    return 1\n', []),
    ('class A:\n    """C."""\n    @property\n    def f(self):\n        """F."""\n        return 1\n'
     '    @f.setter\n    def f(self, value): pass\n', []),
    ('class A:\n    """C."""\n    @staticmethod\n    def f(a):\n        """F."""\n', ["A.f does not say what 'a' is"]),
])
def test_docstrings_that_need_less(text, expected, plant):
    problems = found(rules_docstrings.docstrings, plant({"python/pcluster/a.py": MODULE + text}))
    assert [p.split(": ", 1)[1] for p in problems] == expected


def test_exports_of_a_missing_library(plant, tmp_path):
    assert found(rules_c.exports, plant({}, tmp_path / "nowhere"))


@pytest.mark.parametrize("help_text, expected", [
    ("  -n N    count\n  --json  as JSON\n", None),
    ("  -n N    count\n  --json  as JSON\n  --more  more\n", "--more of 'pcluster start -h'"),
    ("  -n N    count\n", "--json of man/pcluster-start.1 is missing in '-h'"),
])
def test_options(help_text, expected, plant, tmp_path):
    program = tmp_path / "build" / "cmd" / "pcluster"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{help_text}E\n")
    program.chmod(0o755)
    tree = plant({"cmd/main.c": MAIN, "man/pcluster-start.1": PAGE}, tmp_path / "build")
    problems = found(rules_docs.options, tree)
    assert any(expected in p for p in problems) if expected else problems == []


def test_output_is_tap_and_the_exit_code_tells(tmp_path):
    (tmp_path / "README.md").write_text("nothing\n")
    done = subprocess.run([sys.executable, HERE / "check.py", "--root", tmp_path], text=True,
                          capture_output=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert lines[0] == f"1..{len(RULES)}"
    assert sum(line.startswith(("ok ", "not ok ")) for line in lines) == len(RULES)
    assert "README.md:1: tools/demo" in done.stderr


def test_a_rule_that_breaks_down_is_not_kept(plant, capsys):
    def broken(tree):
        raise RuntimeError("boom")
        yield

    entry = check.Entry("breaks", False, broken)
    assert not check.report(1, entry, plant({}))
    assert "boom" in capsys.readouterr().out
