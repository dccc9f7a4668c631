"""Entry point of ``tvm-fusion``: sub-commands, exit codes and one-line errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from tvm_fusion.cli import compare, compile_, evaluate, explain, graph, pareto, plan, run_, train_explainer
from tvm_fusion.errors import FusionError

EXIT_INTERRUPTED = 130
LONGEST_LINE = 2000  # of an error: a message may quote what a user gave
# typer carries its own click in some versions and uses the separate one in others; this is the
# class of "wrong usage" of whichever it is.
_UsageProblem: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="tvm-fusion",
    help="Decide which operators of a network execute together on an accelerator, and compile that with TVM.",
    epilog="Exit codes: 0 done, 1 no valid answer, 2 bad input. Example: tvm-fusion plan resnet18 -o plan.json",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
app.command("graph", epilog=graph.EXAMPLE)(graph.graph)
app.command("plan", epilog=plan.EXAMPLE)(plan.plan)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command("explain", epilog=explain.EXAMPLE)(explain.explain)
app.command("compile", epilog=compile_.EXAMPLE)(compile_.compile_)
app.command("run", epilog=run_.EXAMPLE)(run_.run_)
app.command("compare", epilog=compare.EXAMPLE)(compare.compare)
app.command("pareto", epilog=pareto.EXAMPLE)(pareto.pareto)
app.command("train-explainer", epilog=train_explainer.EXAMPLE)(train_explainer.train_explainer)


def _print_version(wanted: bool) -> None:
    if wanted:
        from tvm_fusion import __version__

        typer.echo(f"tvm-fusion {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 no valid answer, 2 bad input."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    return run_app(app, arguments or ["--help"], "tvm-fusion")


def run_app(commands: typer.Typer, arguments: list[str], name: str) -> int:
    """Run a typer program and return its exit code; every foreseen error is one line on stderr."""
    try:
        result = commands(arguments, prog_name=name, standalone_mode=False)
    except FusionError as error:
        return _fail(name, str(error), error.exit_code)
    except _UsageProblem as error:
        return _fail(name, _usage(error), FusionError.exit_code)
    except typer.Exit as leaving:
        return int(leaving.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(name, "interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def run_program(function: Callable[..., int]) -> int:
    """Run one function as a program of its own (the benchmarks), with the same errors and exit codes."""
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command()(function)
    return run_app(program, sys.argv[1:], Path(sys.argv[0]).name)


def _usage(error: Exception) -> str:
    message = str(getattr(error, "format_message", lambda: str(error))()).strip().rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "tvm-fusion"
    return f"{message} (see {command} --help)"


def _fail(name: str, message: str, code: int) -> int:
    line = " ".join(message.split())
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} ... {line[-LONGEST_LINE // 2 :]}"
    print(f"{name}: error: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
