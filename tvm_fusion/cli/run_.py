"""``tvm-fusion run``: execute a compiled network on arrays from files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvm_fusion.cli import options
from tvm_fusion.errors import CompileError

if TYPE_CHECKING:
    import numpy.typing as npt

EXAMPLE = "Example: tvm-fusion run mobilenet/ --input image.npy -o scores.npy"


def run_(
    compiled: Annotated[
        Path, typer.Argument(metavar="FOLDER|FILE.so", help="What 'tvm-fusion compile NET -o FOLDER|FILE.so' wrote.")
    ],
    inputs: Annotated[
        list[Path], typer.Option("--input", metavar="FILE.npy", help="An input; repeat it for several, in their order.")
    ],
    output: Annotated[
        list[Path], typer.Option("-o", "--output", metavar="FILE.npy", help="Where an output goes; repeat for several.")
    ],
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Run a compiled network on NumPy files and write its outputs as such. The library's code is executed."""
    from tvm_fusion.cli import session
    from tvm_fusion.cli.compiled_folder import open_compiled
    from tvm_fusion.files import check_writable, write_bytes_atomic

    for path in output:
        check_writable(path)
    with session.quiet(verbose):
        network = open_compiled(compiled)
    _check_count("input", inputs, network.inputs, network.network)
    _check_count("output", output, network.outputs, network.network)
    for entry in (*network.inputs, *network.outputs):
        _kind(entry["dtype"])
    arrays = [_load(path, wanted) for path, wanted in zip(inputs, network.inputs, strict=True)]
    with session.quiet(verbose):
        from tvm_fusion.passes.run_library import run_library

        results = run_library(network.library, arrays)
    if len(results) != len(output):
        raise CompileError(f"{network.network} gave {len(results)} outputs; {len(output)} were expected")
    found = []
    for path, result, entry in zip(output, results, network.outputs, strict=True):
        write_bytes_atomic(path, _saved(result))
        facts = {"name": entry["name"], "file": str(path), "shape": list(result.shape), "dtype": str(result.dtype)}
        found.append(facts)
    if as_json:
        session.print_json({"network": network.network, "outputs": found})
        return 0
    for facts in found:
        print(f"{facts['file']}: {facts['name']}, {facts['dtype']} {tuple(facts['shape'])}")
    return 0


def _check_count(kind: str, given: list[Path], wanted: tuple[dict[str, Any], ...], network: str) -> None:
    """Raise CompileError unless there is a file for every tensor, and each another one where they are written."""
    twice = next((path for k, path in enumerate(given) if path in given[:k]), None)
    if kind == "output" and twice is not None:
        raise CompileError(f"--output {str(twice)!r} is given twice; each output needs a file of its own")
    if len(given) != len(wanted):
        tensors = ", ".join(f"{entry['name']} ({entry['dtype']} {entry['shape']})" for entry in wanted)
        raise CompileError(f"--{kind} is given {len(given)} times; {network!r} has {len(wanted)} {kind}(s): {tensors}")


def _load(path: Path, wanted: dict[str, Any]) -> npt.NDArray[Any]:
    """The array of a file, as an input of that shape and dtype. Raises CompileError."""
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise CompileError(f"cannot read input {str(path)!r}: {error.strerror or error}") from None
    except Exception as error:  # NumPy lets errors of Python's tokenizer through where a header is spoiled
        raise CompileError(f"input {str(path)!r} is no NumPy array file (.npy): {error}") from None
    if not isinstance(array, np.ndarray):
        raise CompileError(f"input {str(path)!r} holds several arrays (.npz); give one .npy file an input")
    if array.shape != wanted["shape"] or array.dtype.str[1:] != _kind(wanted["dtype"]):
        raise CompileError(
            f"input {str(path)!r} is {array.dtype} {array.shape}; {wanted['name']!r} must be "
            f"{wanted['dtype']} {wanted['shape']}"
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _kind(dtype: str) -> str:
    """Kind and bytes of a dtype as NumPy writes them ("f4"). Raises CompileError for one that NumPy lacks."""
    import numpy as np

    try:
        found = np.dtype(dtype).str[1:]
    except TypeError:
        found = "V"
    if found.startswith("V"):  # unknown, or of a package that teaches NumPy bfloat16 and the like
        raise CompileError(f"dtype {dtype!r} of the network is none of NumPy's own; a .npy file cannot hold it")
    return found


def _saved(array: npt.NDArray[Any]) -> bytes:
    import numpy as np

    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()
