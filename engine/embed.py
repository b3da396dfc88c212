# SPDX-License-Identifier: BSD-3-Clause
"""Compiles Python modules and writes them as a C source, for the executable to carry.

usage: embed.py OUTPUT.c MODULE.py ...

Must run under the Python whose library the executable is linked to: the code is its byte code.
"""

import importlib.util
import marshal
import sys
from pathlib import Path


def main(output, *sources):
    """Writes the table that engine/modules.h declares."""
    lines = ["/* SPDX-License-Identifier: BSD-3-Clause */", '#include "engine/modules.h"', ""]
    rows = []
    for source in map(Path, sources):
        name = source.stem
        frames = f"<pcluster engine {name}>"  # pcluster_run.py knows our frames by this
        code = marshal.dumps(compile(source.read_text("utf-8"), frames, "exec", dont_inherit=True))
        lines.append(f"static const unsigned char {name}[] = {{")
        for i in range(0, len(code), 20):
            lines.append("    " + "".join(f"{byte}, " for byte in code[i:i + 20]).rstrip())
        lines += ["};", ""]
        rows.append(f'    {{"{name}", {name}, sizeof({name})}},')
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER, "little")
    lines += [f"const long eng_modules_magic = {magic}L;", ""]
    lines += ["const struct eng_module eng_modules[] = {", *rows, "    {0},", "};"]
    Path(output).write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
