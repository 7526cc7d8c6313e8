// A header that only the device passes of one architecture include, one that only the host pass includes.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1200
#include "only device.h"
#elif !defined(__CUDA_ARCH__)
#include "only_host.h"
#endif

__global__ void deps(int* out) { out[0] = 1; }
