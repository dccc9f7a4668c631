/* Stands in for CUDA, so that a C++ compiler makes a library of a generated file and kernels run on the host: block
 * after block, the last one first, as a GPU promises no order. Memory that a GPU would not have set is filled, and what
 * a kernel writes beyond the shared memory of its launch is an error. */
#pragma once
#include "cuda_runtime_api.h"
#include <string.h>

#define __global__
#define __device__
#define __shared__
#define __align__(bytes) __attribute__((aligned(bytes)))

enum { cudaSuccess, cudaErrorInvalidValue };
enum { cudaFuncAttributeMaxDynamicSharedMemorySize };

__align__(16) unsigned char tvm_fusion_block_memory[232448];
static struct {
  unsigned x;
} blockIdx;
static cudaError_t shim_error;
static void *shim_large[64]; /* kernels that may have more than 48 KiB */
static int shim_large_count;

template <class Kernel>
static inline cudaError_t cudaFuncSetAttribute(Kernel *kernel, int, int bytes) {
  if (bytes > (int)sizeof tvm_fusion_block_memory) {
    return shim_error = cudaErrorInvalidValue;
  }
  shim_large[shim_large_count++] = (void *)kernel;
  return cudaSuccess;
}

static inline cudaError_t cudaGetLastError() {
  const cudaError_t error = shim_error;
  shim_error = cudaSuccess;
  return error;
}

static inline void shim_before(void *kernel, int bytes) {
  bool large = false;
  for (int k = 0; k < shim_large_count; ++k) {
    large = large || shim_large[k] == kernel;
  }
  if (bytes > 48 * 1024 && !large) {
    shim_error = cudaErrorInvalidValue;
  }
  memset(tvm_fusion_block_memory, 0xff, sizeof tvm_fusion_block_memory);
}

static inline void shim_after(int bytes) {
  for (int k = bytes; k < (int)sizeof tvm_fusion_block_memory; ++k) {
    if (tvm_fusion_block_memory[k] != 0xff) {
      shim_error = cudaErrorInvalidValue;
    }
  }
}

#define TVM_FUSION_LAUNCH(kernel, blocks, shared_bytes, stream, ...) \
  do { \
    (void)(stream); \
    for (blockIdx.x = (blocks); blockIdx.x-- > 0;) { \
      shim_before((void *)kernel, shared_bytes); \
      kernel(__VA_ARGS__); \
      shim_after(shared_bytes); \
    } \
  } while (0)
