"""Plan a network, run its groups on the imaginary accelerator, and compare with the unfused network.

Example: python -m examples.stream_accelerator mobilenetv2_100@96 --buffer 512KiB --listing groups.txt
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tvm_fusion.cli import options, session
from tvm_fusion.cli.main import run_program

TOLERANCE = 1e-4


def main(
    net: options.Net,
    buffer: options.Buffer = "512KiB",
    listing: Annotated[
        Path | None, typer.Option("--listing", metavar="FILE", help="Write all programs as assembler text.")
    ] = None,
    verbose: options.Verbose = False,
) -> int:
    """Plan NET for the accelerator, execute it there, and check bytes and results."""
    from examples.stream_accelerator.run import run_on_stream
    from tvm_fusion.files import check_writable, write_text_atomic
    from tvm_fusion.frontends import load_network

    hardware = options.accelerator_of(None, buffer, "dtype", "dtype")
    if listing is not None:
        check_writable(listing)
    with session.quiet(verbose):
        module = load_network(net).module
    with session.quiet(verbose):
        done = run_on_stream(module, hardware)
    equal = True
    for run in done.groups:
        model, machine = run.simulated(), run.machine
        moved = (machine.input_bytes, machine.weight_bytes, machine.output_bytes)
        equal &= moved == (model.input_bytes, model.weight_bytes, model.output_bytes)
        equal &= run.program.buffer_bytes == model.buffer_bytes
        print(
            f"{run.program.symbol}: {len(run.group.graph)} operators, {len(run.program.instructions)} instructions, "
            f"{run.program.buffer_bytes:,} bytes on chip, moved {sum(moved):,} (in {moved[0]:,}, weights {moved[1]:,}, "
            f"out {moved[2]:,})"
        )
    for reason in done.refused:
        print(reason)
    if done.too_large:
        print(f"{done.too_large} operators do not fit the buffer and stay with TVM")
    if listing is not None:
        write_text_atomic(listing, "\n\n".join("\n".join(run.program.listing()) for run in done.groups) + "\n")
        print(f"wrote {listing}")
    print(
        f"{len(done.groups)} groups executed on the accelerator; bytes {'equal' if equal else 'DIFFER FROM'} the cost "
        f"model's; largest relative error against the unfused network: {done.error:.1e}"
    )
    return 0 if equal and done.error <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(run_program(main))
