"""The runner, compiled against the headers and libraries of the installed TVM."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from tvm_fusion.errors import FusionError

SOURCE = Path(__file__).with_name("runner.cc")


def build_runner(folder: Path) -> Path:
    """Compile ``runner.cc`` with $CXX (else c++) into ``folder``; the program. Raises FusionError in one line."""
    compiler = os.environ.get("CXX") or "c++"
    if shutil.which(compiler) is None:
        raise FusionError(f"no C++ compiler {compiler!r}; install one (Debian: apt-get install g++) or set CXX")
    interface, runtime = package_folder("tvm_ffi"), package_folder("tvm")
    libraries = [interface / "lib", runtime / "lib"]
    program = folder / "runner"
    command = [compiler, "-std=c++17", "-O1", str(SOURCE), "-o", str(program), f"-I{interface / 'include'}"]
    # The virtual machine registers itself when its library is loaded; nothing of it is called by name.
    command += ["-Wl,--no-as-needed", *(f"-L{path}" for path in libraries), "-ltvm_runtime", "-ltvm_ffi"]
    command += [f"-Wl,-rpath,{path}" for path in libraries]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or [""]
        raise FusionError(f"{compiler} cannot compile {SOURCE.name}: {lines[0].strip()}")
    return program


def package_folder(name: str) -> Path:
    """Where an installed package lies. Raises FusionError if it is not installed."""
    found = find_spec(name)
    if found is None or found.origin is None:
        raise FusionError(f"package {name!r} is not installed; the runner needs apache-tvm")
    return Path(found.origin).parent
