"""TVM passes: normalize a network, read its operators, group them, lower groups by their schemes, compile.

Importing this package registers the pipeline "tvm-fusion", so that
``tvm.compile(mod, target, relax_pipeline="tvm-fusion")`` knows it.
"""

from __future__ import annotations

from tvm_fusion.passes.attach_to_backend import AttachToBackend, BackendWarning
from tvm_fusion.passes.backend_group import BackendGroup, backend_group
from tvm_fusion.passes.c_source import CSource, c_source
from tvm_fusion.passes.compile_plan import compile_plan
from tvm_fusion.passes.cuda_source import CudaSource, cuda_source
from tvm_fusion.passes.extract import Extraction, extract
from tvm_fusion.passes.ffi_errors import register_errors
from tvm_fusion.passes.fold_quantization import FoldQuantization, fold_quantization
from tvm_fusion.passes.fuse_by_plan import FuseByPlan
from tvm_fusion.passes.fusion_search import FusionSearch
from tvm_fusion.passes.group_memory import GroupMemory, group_memory
from tvm_fusion.passes.lower_bands import LowerBands
from tvm_fusion.passes.lower_channels import LowerChannels
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lower_passes import LowerPasses
from tvm_fusion.passes.lower_schemes import LowerSchemes
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.normalize import Normalize, normalize
from tvm_fusion.passes.pipeline import LowerGroups, pipeline, register
from tvm_fusion.passes.verify_memory import VerifyMemory
from tvm_fusion.passes.verify_plan import VerifyPlan
from tvm_fusion.passes.write_c_sources import write_c_sources
from tvm_fusion.passes.write_cuda_sources import write_cuda_sources
from tvm_fusion.passes.write_sources import WrittenSources

__all__ = [
    "AttachToBackend",
    "BackendGroup",
    "BackendWarning",
    "CSource",
    "CudaSource",
    "Extraction",
    "FoldQuantization",
    "FuseByPlan",
    "FusionSearch",
    "GroupMemory",
    "LowerBands",
    "LowerChannels",
    "LowerGroups",
    "LowerLineBuffer",
    "LowerPasses",
    "LowerSchemes",
    "LoweringWarning",
    "Normalize",
    "VerifyMemory",
    "VerifyPlan",
    "WrittenSources",
    "backend_group",
    "c_source",
    "compile_plan",
    "cuda_source",
    "extract",
    "fold_quantization",
    "group_memory",
    "normalize",
    "pipeline",
    "write_c_sources",
    "write_cuda_sources",
]

register_errors()
register()
