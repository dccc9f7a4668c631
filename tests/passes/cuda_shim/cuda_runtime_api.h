/* What the header of CUDA sources needs of CUDA's. */
#pragma once
typedef int cudaError_t;
typedef void *cudaStream_t;
