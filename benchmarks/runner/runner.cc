// Runs `main` of a compiled network a number of times on made-up inputs, and nothing else, so that what a profiler
// counts is the network. Usage: runner LIBRARY RUNS [float32:1x3x224x224 ...], one argument an input of `main`.
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

constexpr int kPooled = 2;  // AllocatorType of the virtual machine; its header needs files that the wheel lacks

struct Aligned {  // compiled code expects tensors at multiples of 64 bytes
  void AllocData(DLTensor* tensor) { tensor->data = std::aligned_alloc(64, (ffi::GetDataSize(*tensor) + 64) / 64 * 64); }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

// Floats are spread over -1 .. 1, since zeros might take short cuts; a tensor of any other type is 0.
ffi::Tensor MadeUp(const std::string& text) {
  const size_t colon = text.find(':');
  std::vector<int64_t> shape;
  int64_t elements = 1;
  for (size_t at = colon; at != std::string::npos && at + 1 < text.size(); at = text.find('x', at + 1)) {
    shape.push_back(std::stoll(text.substr(at + 1)));
    elements *= shape.back();
  }
  const DLDataType dtype = ffi::StringToDLDataType(text.substr(0, colon));
  ffi::Tensor tensor = ffi::Tensor::FromNDAlloc(Aligned(), ffi::Shape(shape), dtype, DLDevice{kDLCPU, 0});
  std::memset(tensor.data_ptr(), 0, ffi::GetDataSize(*tensor.GetDLTensorPtr()));
  if (dtype.code != kDLFloat || dtype.bits != 32) return tensor;
  unsigned state = 1;
  for (int64_t i = 0; i < elements; ++i) {
    state = state * 1664525u + 1013904223u;
    static_cast<float*>(tensor.data_ptr())[i] = static_cast<float>(state >> 8) / (1 << 23) - 1.0f;
  }
  return tensor;
}

int main(int argc, char** argv) try {
  if (argc < 3) throw std::runtime_error("usage: runner LIBRARY RUNS [DTYPE:1x3x224x224 ...]");
  ffi::Module library = ffi::Module::LoadFromFile(argv[1]);
  ffi::Module machine = library->GetFunction("vm_load_executable").value()().cast<ffi::Module>();
  machine->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0, kPooled);
  ffi::Function network = machine->GetFunction("main").value();
  std::vector<ffi::Tensor> inputs;
  for (int i = 3; i < argc; ++i) inputs.push_back(MadeUp(argv[i]));
  std::vector<ffi::AnyView> arguments(inputs.begin(), inputs.end());
  for (int run = std::atoi(argv[2]); run > 0; --run) {
    ffi::Any result;
    network.CallPacked(arguments.data(), static_cast<int32_t>(arguments.size()), &result);
  }
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "runner: %s\n", error.what());
  return 1;
}
