// What the kernels of decoding share: launches, sums over a warp or a block in a fixed order, and quantised vectors.
#pragma once
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "gguf_dots.h"

// The tests compile the kernels for the CPU, where a launch is a function call (tests/engine/kernels_on_cpu).
#ifndef LEVIATHAN_LAUNCH
#define LEVIATHAN_LAUNCH(kernel, grid, threads, stream, ...) kernel<<<grid, threads, 0, stream>>>(__VA_ARGS__)
#endif
#define LEVIATHAN_API extern "C" __attribute__((visibility("default"))) int

namespace leviathan {

__device__ __forceinline__ float bf16_to_float(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float rounded(float v) { return __bfloat162float(__float2bfloat16_rn(v)); }

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) v += __shfl_xor_sync(0xffffffffu, v, mask);
  return v;
}

// The sum over a block of whole warps, for every thread; `room` holds one float a warp.
__device__ __forceinline__ float block_sum(float v, float* room) {
  v = warp_sum(v);
  if (threadIdx.x % 32 == 0) room[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < (int)blockDim.x / 32; i++) sum += room[i];
  __syncthreads();
  return sum;
}

__device__ __forceinline__ float larger(float a, float b) { return a > b || a != a ? a : b; } // a NaN stays

// One group of 32 values, one a lane, into the vector of `cols` values at `out` from element `group` * 32 on.
template <int P> __device__ __forceinline__ void put_group(float v, int8_t* out, long cols, int group) {
  const int lane = threadIdx.x % 32;
  float most = fabsf(v);
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) most = larger(most, __shfl_xor_sync(0xffffffffu, most, mask));
  constexpr float kSteps = P == 2 ? 32512.0f : 127.0f;
  const float scale = most / kSteps;
  const int q = most > 0 ? (int)rintf(v * (kSteps / most)) : 0;
  int sum = q;
#pragma unroll
  for (int mask = 8; mask > 0; mask >>= 1) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
  const int high = P == 2 ? (q + 128) >> 8 : q;
  out[group * 32 + lane] = (int8_t)high;
  if (P == 2) out[cols + group * 32 + lane] = (int8_t)(q - 256 * high);
  float* scales = reinterpret_cast<float*>(out + P * cols);
  if (lane == 0) scales[group] = scale;
  if (lane % 16 == 0) scales[cols / 32 + group * 2 + lane / 16] = scale * (float)sum;
}

} // namespace leviathan
