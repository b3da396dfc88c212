# SPDX-License-Identifier: BSD-3-Clause
"""`%px` and its family: code typed in IPython that runs on the engines.

Needs IPython, and is imported only where a session of it runs.
"""

from __future__ import annotations

import ast
import contextlib
import re
import signal
import sys
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Dict, List, Optional, Union

from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import MagicArgumentParser

from .. import _client, error
from .display import Follower

if TYPE_CHECKING:
    from .asyncresult import AsyncResult
    from .directview import DirectView

#: What a line in %autopx mode begins with when it is meant for this side.
_STAYS_HERE = re.compile(r"\s*%{1,2}(autopx|px)")


def parse_targets(text: str) -> Union[str, int, slice, List[int]]:
    """Engines as they are written behind --targets.

    Args:
        text: a number, numbers with commas between them, a slice such as `::2`, or `all`

    Returns:
        What a Client can be indexed with, or 'all'.

    Raises:
        UsageError: it is nothing of that
    """
    try:
        if text == "all":
            return text
        if ":" in text:
            return slice(*(int(part) if part.strip() else None for part in text.split(":")))
        value = ast.literal_eval(text)
        if isinstance(value, int):
            return value
        return [int(number) for number in value]
    except (ValueError, SyntaxError, TypeError):
        raise UsageError(
            f"--targets: {text!r} is no engine: give a number, a list like 0,2, a slice like ::2, or all"
        ) from None


def parse_signal(text: str) -> Optional[signal.Signals]:
    """A signal as it is written behind --signal-on-interrupt.

    Args:
        text: a name like SIGINT or INT, or a number; 0 for none

    Returns:
        The signal, or None.

    Raises:
        UsageError: there is no such signal
    """
    try:
        if text.isdigit():
            return signal.Signals(int(text)) if int(text) else None
        name = text.upper()
        return signal.Signals[name if name.startswith("SIG") else "SIG" + name]
    except (KeyError, ValueError):
        raise UsageError(
            f"--signal-on-interrupt: {text!r} is no signal: give a name like SIGINT, or a number"
        ) from None


def _add_execution(parser: Any) -> None:
    block = parser.add_mutually_exclusive_group()
    block.add_argument("-b", "--block", action="store_const", const=True, dest="block", help="wait for the result")
    block.add_argument("-a", "--noblock", action="store_const", const=False, dest="block", help="return an AsyncResult")
    stream = parser.add_mutually_exclusive_group()
    stream.add_argument("--stream", action="store_const", const=True, dest="stream",
                        help="show output while it comes; the default")
    stream.add_argument("--no-stream", action="store_const", const=False, dest="stream",
                        help="show output when everything has ended")
    parser.add_argument("-t", "--targets", help="engines: a number, a list like 0,2, a slice like ::2, or all")
    verbose = parser.add_mutually_exclusive_group()
    verbose.add_argument("--verbose", action="store_const", const=True, dest="verbose", help="say where it runs")
    verbose.add_argument("--no-verbose", action="store_const", const=False, dest="verbose",
                         help="don't say where it runs; the default")
    parser.add_argument("--progress-after", type=float, metavar="SECONDS",
                        help="show the progress after so long; -1: never; default 2")
    parser.add_argument("--signal-on-interrupt", metavar="SIGNAL",
                        help="what Ctrl-C sends to the engines: a name or a number, 0 for nothing; default SIGINT")


def _add_output(parser: Any) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-r", action="store_const", const="order", dest="group",
                       help="output in the order of the engines")
    group.add_argument("-e", action="store_const", const="engine", dest="group", help="output grouped by engine")
    group.add_argument("--group-outputs", choices=("engine", "order", "type"), dest="group",
                       help="how to group output; default by type")
    parser.add_argument("-o", "--out", metavar="NAME", help="store the AsyncResult under this name")


class ParallelMagics:
    """The magics of one view: `%px`, `%%px`, `%autopx`, `%pxresult` and `%pxconfig`, with a suffix.

    Args:
        shell: IPython's shell
        view: where to run
        suffix: what the names end with

    Attributes:
        targets: engines to use instead of the view's; None: the view's
        block: wait for results; None: as the view does
        stream: show output while it comes
        verbose: say where it runs
        progress_after: seconds until the progress is shown; negative: never
        signal_on_interrupt: what Ctrl-C sends to the engines; None: nothing
        last_result: the AsyncResult of the last execution
    """

    def __init__(self, shell: Any, view: "DirectView", suffix: str = "") -> None:
        self.shell = shell
        self.view = view
        self.suffix = suffix
        self.targets: Any = None
        self.block: Optional[bool] = None
        self.stream = True
        self.verbose = False
        self.progress_after = 2.0
        self.signal_on_interrupt: Optional[signal.Signals] = signal.SIGINT
        self.last_result: Optional["AsyncResult"] = None
        self._parsers: Dict[str, Any] = {}
        self._auto: Optional[Callable[[List[str]], List[str]]] = None

    def register(self) -> None:
        """Make the magics known to the shell, in place of others with these names."""
        for function, kind in (
            (self.px, "line_cell"), (self.autopx, "line"), (self.pxresult, "line"), (self.pxconfig, "line"),
        ):
            self.shell.register_magic_function(function, kind, function.__name__ + self.suffix)
        if not self.suffix:
            self.shell.register_magic_function(self.pxresult, "line", "result")

    def _parse(self, name: str, line: str, *groups: Callable[[Any], None]) -> Any:
        if name not in self._parsers:
            parser = MagicArgumentParser("%" + name + self.suffix, add_help=False)
            for add in groups:
                add(parser)
            self._parsers[name] = parser
        return self._parsers[name].parse_argstring(line)

    # ---- the magics ------------------------------------------------------------------------------

    @no_var_expand
    def px(self, line: str, cell: Optional[str] = None) -> Optional["AsyncResult"]:
        """Run code on the engines.

        `%px CODE` runs the line, `%%px [options]` the cell. Options of the cell:

            -b, --block                  wait for the result
            -a, --noblock                return an AsyncResult
            -t, --targets ENGINES        a number, a list like 0,2, a slice like ::2, or all
            --stream, --no-stream        show output while it comes, or at the end
            --local                      run the cell here, too
            -o, --out NAME               store the AsyncResult under this name
            -r, -e, --group-outputs {engine,order,type}
                                         show output at the end, in that order
            --verbose, --no-verbose      say where it runs
            --progress-after SECONDS     show the progress after so long; -1: never
            --signal-on-interrupt SIGNAL what Ctrl-C sends to the engines; 0: nothing

        `%pxconfig` sets what holds when an option is not given.

        Args:
            line: the code, or the options
            cell: the code, of a cell

        Returns:
            The AsyncResult when it does not wait, else None.
        """
        if cell is None:
            return self._execute(line, self._parse("px", "", self._add_cell))
        return self._execute(cell, self._parse("px", line, self._add_cell))

    @staticmethod
    def _add_cell(parser: Any) -> None:
        _add_execution(parser)
        _add_output(parser)
        parser.add_argument("--local", action="store_true", help="run the cell here, too")

    def pxconfig(self, line: str) -> None:
        """Set what holds for `%px` and `%%px` when an option is not given.

        Options: -b/--block, -a/--noblock, -t/--targets, --stream/--no-stream, --verbose/--no-verbose,
        --progress-after, --signal-on-interrupt; see `%%px?`.

        Args:
            line: the options
        """
        options = self._parse("pxconfig", line, _add_execution)
        targets = self.targets if options.targets is None else parse_targets(options.targets)
        if options.signal_on_interrupt is not None:
            self.signal_on_interrupt = parse_signal(options.signal_on_interrupt)
        self.targets = targets
        for name in ("block", "stream", "verbose", "progress_after"):
            if getattr(options, name) is not None:
                setattr(self, name, getattr(options, name))

    def pxresult(self, line: str) -> None:
        """Show the output of the last `%px` again; waits for it.

        Options: -r, -e, --group-outputs {engine,order,type}, -o/--out NAME; see `%%px?`.

        Args:
            line: the options

        Raises:
            UsageError: there is none yet
        """
        options = self._parse("pxresult", line, _add_output)
        if self.last_result is None:
            raise UsageError(f"there is no result yet: %px{self.suffix} makes one")
        self._store(options.out, self.last_result)
        self.last_result.wait()
        self._show(self.last_result, options.group)

    def autopx(self, line: str) -> None:
        """Send each cell to the engines from now on, or no longer.

        Args:
            line: ignored
        """
        transforms = self.shell.input_transformers_cleanup
        if self._auto is not None:
            transforms.remove(self._auto)
            self._auto = None
            print("%autopx disabled")
            return
        first = f"%%px{self.suffix}\n"

        def transform(lines: List[str]) -> List[str]:
            is_ours = not any(line.strip() for line in lines) or _STAYS_HERE.match("".join(lines))
            return lines if is_ours else [first, *lines]

        # IPython asks the others whether what is typed is complete; a cell magic never is.
        transform.has_side_effects = True  # type: ignore[attr-defined]
        transforms.append(transform)
        self._auto = transform
        print("%autopx enabled")

    # ---- running ---------------------------------------------------------------------------------

    def _chosen(self, text: Optional[str]) -> Any:
        """Engine id(s), as execute() takes them."""
        targets = self.targets if text is None else parse_targets(text)
        if isinstance(targets, slice):
            return self.view.client.ids[targets]
        return targets

    def _execute(self, code: str, options: Any) -> Optional["AsyncResult"]:
        block = options.block if options.block is not None else self.block
        block = self.view.block if block is None else block
        verbose = self.verbose if options.verbose is None else options.verbose
        number = self.signal_on_interrupt
        if options.signal_on_interrupt is not None:
            number = parse_signal(options.signal_on_interrupt)
        targets = self._chosen(options.targets)
        try:
            result = self.view.execute(code, silent=False, block=False, targets=targets)
        except (IndexError, error.KernelError) as problem:  # no such engine, or not connected
            raise UsageError(str(problem)) from None
        self.last_result = result
        self._store(options.out, result)
        if verbose:
            engines = self.view.targets if targets is None else targets
            print(f"{'running' if block else 'started'} on engine(s): {engines}", flush=True)
        if options.local:
            self.shell.run_cell(code)
        if not block:
            return result
        after = self.progress_after if options.progress_after is None else options.progress_after
        # What is grouped can be shown only when it is all there.
        if options.stream if options.stream is not None else self.stream and not options.group:
            follower = Follower(result, shows_errors=True)
            self._wait(result, follower, after, number)
            if follower.error_count:
                plural = "" if follower.error_count == 1 else "s"
                raise error.AlreadyDisplayedError("RemoteError", f"{follower.error_count} error{plural}")
        else:
            self._wait(result, contextlib.nullcontext(), after, number)
            self._show(result, options.group)
        return None

    def _store(self, name: Optional[str], result: "AsyncResult") -> None:
        if name:
            self.shell.user_ns[name] = result

    def _wait(
        self, result: "AsyncResult", showing: ContextManager[Any], after: float, number: Optional[signal.Signals]
    ) -> None:
        """Until it is ready. The first Ctrl-C goes to the engines, the second ends the waiting."""
        try:
            with showing:
                self._wait_showing(result, after)
        except KeyboardInterrupt:
            if number is None:
                raise
            pending = [call for call in result._calls if call.status == _client.STATUS_PENDING]
            running = [call.engine for call in pending if call.engine is not None]
            print(f"Ctrl-C: sending {number.name} to engine(s) {', '.join(map(str, running))};"
                  " once more to wait no longer", file=sys.stderr, flush=True)
            self.view.client.send_signal(number, targets=running, block=True)
            with showing:
                self._wait_showing(result, after)

    @staticmethod
    def _wait_showing(result: "AsyncResult", after: float) -> None:
        if after < 0 or len(result) < 2:
            result.wait()
        elif not result.wait(after):
            result.wait_interactive()

    @staticmethod
    def _show(result: "AsyncResult", group: Optional[str]) -> None:
        try:
            result.get()
        finally:
            result.display_outputs(group or "type")


def activate(shell: Any, view: "DirectView", suffix: str) -> None:
    """Register the magics of a view.

    Args:
        shell: IPython's shell
        view: where to run
        suffix: what the names end with
    """
    ParallelMagics(shell, view, suffix).register()


def activate_first(shell: Any, view: "DirectView") -> None:
    """The same without a suffix, unless there are magics already, of a client that is open.

    Args:
        shell: IPython's shell
        view: where to run
    """
    before = getattr(shell.find_line_magic("px"), "__self__", None)
    if before is None or (isinstance(before, ParallelMagics) and before.view.client._raw.closed):
        activate(shell, view, "")
