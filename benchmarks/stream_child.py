"""One run of stream-dse, executed by the interpreter of an environment that has it; it imports nothing of ours.

``PYTHON stream_child.py NETWORK.onnx BUFFER_BYTES PART`` prints a JSON object; the file must have the shapes of its
tensors. The first PART (0 .. 1) of the layers is fused line by line, the rest executes layer by layer. The accelerator
has one core (16 x 32 MACs) whose only memory is the buffer, for inputs, weights and outputs. Nothing costs energy but a
bit from or to DRAM, which costs 1: the energy is the traffic.
"""

import importlib.metadata
import json
import sys
import types

import onnx
from stream.classes.hardware.architecture.accelerator import Accelerator
from stream.classes.stages import (
    GenerateCNWorkloadHybridStage,
    InterCoreMappingStage,
    IntraCoreMappingStage,
    StreamONNXModelParserStage,
)
from stream.inputs.examples.hardware.nocs.mesh_2d import get_2d_mesh
from zigzag.classes.hardware.architecture.core import Core
from zigzag.classes.hardware.architecture.memory_hierarchy import MemoryHierarchy
from zigzag.classes.hardware.architecture.memory_instance import MemoryInstance
from zigzag.classes.hardware.architecture.operational_array import MultiplierArray
from zigzag.classes.hardware.architecture.operational_unit import Multiplier
from zigzag.classes.stages import MainStage

ARRAY = {"D1": 16, "D2": 32}
DRAM_WORD_BITS, BUFFER_WORD_BITS = 64, 4096
MAPPING = "one_core_mapping"
LAYERS = ("default", "Conv", "Gemm", "MaxPool", "AveragePool", "GlobalAveragePool", "Add", "Mul")


def memory(name, bits, word_bits, cost, ports):
    read, write, both = ports
    return MemoryInstance(
        name=name, size=bits, r_bw=word_bits, w_bw=word_bits, r_cost=cost, w_cost=cost, area=0, latency=1,
        r_port=read, w_port=write, rw_port=both,
    )  # fmt: skip


def shared(above, below):
    """Ports of a memory of inputs, weights and outputs: "above" to the memory further out, "below" to the array."""
    read_only = {"fh": above, "tl": below, "fl": None, "th": None}
    return (read_only, read_only, {"fh": above, "tl": below, "fl": below, "th": above})


def core(number, buffer_bytes):
    array = MultiplierArray(Multiplier([8, 8], 0, 0), ARRAY)
    levels = MemoryHierarchy(operational_array=array)
    weight = {"fh": "w_port_1", "tl": "r_port_1", "fl": None, "th": None}
    total = {"fh": "w_port_1", "tl": "r_port_1", "fl": "w_port_2", "th": "r_port_2"}
    levels.add_memory(memory("weight", 8, 8, 0, (1, 1, 0)), ("I2",), (weight,), set())
    levels.add_memory(memory("sum", 32, 32, 0, (2, 2, 0)), ("O",), (total,), set())
    buffer = memory("buffer", 8 * buffer_bytes, BUFFER_WORD_BITS, 0, (0, 0, 2))
    levels.add_memory(buffer, ("I1", "I2", "O"), shared("rw_port_1", "rw_port_2"), "all")
    return Core(number, array, levels, [{"D1": ("C", ARRAY["D1"]), "D2": ("K", ARRAY["D2"])}])


def dram(number):
    array = MultiplierArray(Multiplier([8, 8], 0, 0), {"D1": 1, "D2": 1})
    levels = MemoryHierarchy(operational_array=array)
    words = memory("dram", 10**10, DRAM_WORD_BITS, DRAM_WORD_BITS, (0, 0, 1))
    levels.add_memory(words, ("I1", "I2", "O"), shared("rw_port_1", "rw_port_1"), "all")
    return Core(number, array, levels)


def run(path, buffer_bytes, part):
    model = onnx.load(path)
    layers = [k for k, node in enumerate(model.graph.node) if node.op_type in LAYERS]
    fused = round(part * len(layers))
    cut = layers[fused] if fused < len(layers) else len(model.graph.node)
    mapping = types.ModuleType(MAPPING)
    mapping.mapping = {name: {"core_allocation": [0]} for name in LAYERS}
    sys.modules[MAPPING] = mapping  # it is read by import
    mesh = get_2d_mesh([core(0, buffer_bytes)], 1, 1, DRAM_WORD_BITS, 0, None, None, dram(1))
    stages = [StreamONNXModelParserStage, GenerateCNWorkloadHybridStage, IntraCoreMappingStage, InterCoreMappingStage]
    found, _ = MainStage(
        stages, accelerator=Accelerator("one core", mesh, offchip_core_id=1), workload_path=path, mapping_path=MAPPING,
        loma_lpf_limit=6, nb_ga_individuals=8, nb_ga_generations=1, node_hw_performances_path=path + ".pickle",
        plot_hof=False, plot_file_name=False, scheduler_candidate_selection="memory", operands_to_prefetch=[],
        cn_define_mode=3, hint_loops=[[("OY", "all")], []], layer_cutoffs=[cut],
    ).run()  # fmt: skip
    evaluation = found[0] if isinstance(found, (list, tuple)) else found
    versions = {name: importlib.metadata.version(name) for name in ("stream-dse", "zigzag-dse")}
    counts = {"layers": len(layers), "layers_by_lines": fused}
    return {"dram_bytes": round(evaluation.energy / 8), **counts, "stream_version": versions}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))))
