"""cuda_source: one lowered group as a CUDA C++ file: kernels, and a host function that launches them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tvm.ir import IRModule

from tvm_fusion.errors import CompileError
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.sources.c_expressions import C_TYPES, c_dtype
from tvm_fusion.passes.sources.cuda_function import CudaFunction
from tvm_fusion.passes.sources.cuda_kernels import Kernel, Step, cuda_steps, kernels_of
from tvm_fusion.passes.sources.cuda_memory import ALIGNMENT, BLOCK_MEMORY, CudaMemory
from tvm_fusion.passes.sources.group_source import GroupSource

STATIC_SHARED_BYTES = 48 * 1024  # what a block has on every GPU
LARGEST_SHARED_BYTES = 227 * 1024  # what one can have on some, where the launch asks for it

_PREAMBLE = """\
#ifdef __CUDACC_RTC__ /* NVRTC has no headers of the C library */
typedef signed char int8_t;
typedef unsigned char uint8_t;
typedef short int16_t;
typedef unsigned short uint16_t;
typedef int int32_t;
typedef unsigned int uint32_t;
typedef long long int64_t;
typedef unsigned long long uint64_t;
#define INT32_MIN (-2147483647 - 1)
#define INT64_MIN (-9223372036854775807LL - 1)
#define NAN __int_as_float(0x7fffffff)
#define INFINITY __int_as_float(0x7f800000)
#else
#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#endif
""".splitlines()
_LAUNCH = """\
#ifndef TVM_FUSION_LAUNCH /* how a kernel of one thread a block is launched */
#define TVM_FUSION_LAUNCH(kernel, blocks, shared_bytes, stream, ...) \\
  kernel<<<blocks, 1, shared_bytes, stream>>>(__VA_ARGS__)
#endif
""".splitlines()
_LARGE = "cudaFuncAttributeMaxDynamicSharedMemorySize"


@dataclass(frozen=True)
class CudaSource:
    """``text`` is a CUDA C++ file that defines ``prototype`` (without its semicolon), which launches ``kernels``.

    ``workspace_bytes`` of device memory are for the caller to give.
    """

    name: str
    prototype: str
    text: str
    workspace_bytes: int
    kernels: tuple[str, ...]

    @property
    def declarations(self) -> str:
        """What a header has of it."""
        return f"#define {_constant(self.name)} {self.workspace_bytes}\n{self.prototype};"


def cuda_source(
    mod: IRModule,
    name: str,
    weights: str = "arguments",
    scope: str = DEFAULT_SCOPE,
    shared_bytes: int = STATIC_SHARED_BYTES,
) -> CudaSource:
    """The group function ``name`` of a module that LowerLineBuffer made, with buffers on chip in ``scope``, as CUDA.

    ``NAME_launch`` takes pointers to device memory: inputs, weights, results, in the order of the PrimFunc, then a
    workspace of NAME_WORKSPACE_BYTES (in capitals), and the stream on which it launches one kernel after another: one
    for every parallel loop, its blocks the threads of the lowering, one for what is between two of them. A block has
    one thread. Its line buffers lie in shared memory, at most ``shared_bytes`` of it; what does not fit, and what
    blocks share, in the workspace. ``weights="arrays"`` makes constant arrays of the weights instead of arguments.

    Raises CompileError if ``name`` is no lowered group or holds what the text cannot express, or ``shared_bytes`` is
    more than a GPU has, MemoryMismatchError if the group's memory is not what the cost model says.
    """
    if not 0 <= shared_bytes <= LARGEST_SHARED_BYTES:
        raise CompileError(
            f"shared_bytes {shared_bytes} is not allowed; a block has at most {LARGEST_SHARED_BYTES} bytes"
        )
    return _Group(mod, name, weights, scope, shared_bytes).source()


class _Group(GroupSource):
    def __init__(self, mod: IRModule, name: str, weights: str, scope: str, shared_bytes: int) -> None:
        super().__init__(mod, name, weights, scope)
        self.steps, shared = cuda_steps(self.function)
        self.memory = CudaMemory(shared, shared_bytes)
        self.kernels = {
            kernel: CudaFunction(self, kernel, f"{name}_kernel_{number}", shared, self.memory)
            for number, kernel in enumerate(kernels_of(self.steps))
        }
        self.printed = list(self.kernels.values())
        self.names = self.printed[0].names

    def source(self) -> CudaSource:
        """The whole file."""
        prototype = self._prototype()
        lines = [
            *self._header(),
            *_PREAMBLE,
            f"#define {_constant(self.name)} {self.memory.workspace_bytes}",
            "",
            *self._file_scope(),
            *(line for kernel in self.printed for line in kernel.lines()),
            "#ifndef __CUDACC_RTC__",
            *_LAUNCH,
            f'extern "C" {prototype} {{',
            *self._launches(),
            "}",
            "#endif",
        ]
        kernels = tuple(kernel.name for kernel in self.printed)
        return CudaSource(self.name, prototype, "\n".join(lines) + "\n", self.memory.workspace_bytes, kernels)

    def _prototype(self) -> str:
        written = {buffer for kernel in self.printed for buffer in kernel.body.written}
        params = [self.pointer(p, p in written) for p in self.arguments()]
        return f"cudaError_t {self.name}_launch({', '.join([*params, 'void *workspace', 'cudaStream_t stream'])})"

    def _header(self) -> Iterator[str]:
        yield f"/* {self.name}: a fusion group that executes row by row with line buffers, written by tvm-fusion."
        yield " *"
        yield f" * {self.name}_launch launches its kernels on a stream, one after another. All pointers are to device"
        yield " * memory; tensors are row-major arrays. Two launches at a time need a workspace each."
        yield from self.tensors()
        yield f" *   workspace: {self.memory.workspace_bytes} bytes, aligned to {ALIGNMENT}"
        yield f" * By the cost model: {self.buffer_bytes} bytes of line buffers and weights on chip for each block,"
        yield f" *   {self.dram_bytes} bytes from and to DRAM."
        yield " * Kernels (blocks of one thread, bytes of shared memory of each):"
        for kernel in self.printed:
            yield f" *   {kernel.name}: {kernel.kernel.count}, {kernel.memory.shared_bytes}"
        yield " */"

    def _file_scope(self) -> Iterator[str]:
        if any(kernel.memory.shared_bytes for kernel in self.printed):
            yield f"extern __shared__ __align__({ALIGNMENT}) unsigned char {BLOCK_MEMORY}[];"
        helpers: dict[str, str] = {}
        for kernel in self.printed:
            helpers |= kernel.body.expressions.helpers
        yield from (f"static __device__ inline {helper}" for helper in helpers.values())
        yield from self.tables("static __device__", "static __device__")
        yield ""

    def _launches(self) -> Iterator[str]:
        if not any(kernel.uses_workspace for kernel in self.printed):
            yield "  (void)workspace;"
        for kernel in self.printed:
            size = kernel.memory.shared_bytes
            if size > STATIC_SHARED_BYTES:
                yield f"  if (cudaFuncSetAttribute({kernel.name}, {_LARGE}, {size}) != cudaSuccess) {{"
                yield "    return cudaGetLastError();"
                yield "  }"
        yield from self._launched(self.steps, "  ")
        yield "  return cudaGetLastError();"

    def _launched(self, steps: Sequence[Step], indent: str) -> Iterator[str]:
        for step in steps:
            if isinstance(step, Kernel):
                yield indent + self.kernels[step].launch()
                continue
            loop = step.loop
            name = self.kernels[step.kernels[0]].names[loop.loop_var]
            low = int(loop.min)
            kind = C_TYPES[c_dtype(loop.loop_var)]
            yield f"{indent}for ({kind} {name} = {low}; {name} < {low + int(loop.extent)}; ++{name}) {{"
            yield from self._launched(step.steps, f"{indent}  ")
            yield f"{indent}}}"


def _constant(name: str) -> str:
    return f"{name.upper()}_WORKSPACE_BYTES"
