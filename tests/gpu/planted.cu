// One fault of each kind that compute-sanitizer has to find, so that "no errors" means something: planted memcheck|racecheck|initcheck|synccheck.
#include <cuda_runtime.h>
#include <string.h>

__global__ void outside(int* to, int n) { to[n + threadIdx.x] = 1; }

__global__ void race(int* to) {
  __shared__ int shared[64];
  shared[threadIdx.x] = threadIdx.x;
  to[threadIdx.x] = shared[63 - threadIdx.x];
}

__global__ void unwritten(const int* from, int* to) { to[threadIdx.x] = from[threadIdx.x] + 1; }

__global__ void divergent(int* to) {
  if (threadIdx.x < 16) __syncwarp(0xffff0000u); // a mask without the thread itself
  to[threadIdx.x] = 1;
}

int main(int, char** arguments) {
  int *a, *b;
  cudaMalloc(&a, 64 * sizeof(int));
  cudaMalloc(&b, 64 * sizeof(int));
  if (!strcmp(arguments[1], "memcheck")) outside<<<1, 64>>>(a, 64);
  if (!strcmp(arguments[1], "racecheck")) race<<<1, 64>>>(a);
  if (!strcmp(arguments[1], "initcheck")) unwritten<<<1, 64>>>(a, b);
  if (!strcmp(arguments[1], "synccheck")) divergent<<<1, 64>>>(a);
  cudaDeviceSynchronize();
  return 0;
}
