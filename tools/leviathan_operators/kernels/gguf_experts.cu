// Experts on the GPU from GGUF's raw blocks: blocks to bfloat16 for prompts, matrix times vector for decoding.
//
// Nothing here allocates, synchronises or depends on the order in which blocks of threads run: every call is one launch
// on the stream given, may be captured into a CUDA graph, and gives the same bits each time. The functions at the end
// are the interface (plain C, device pointers and a stream); their plain references are in ../reference/.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include "gguf_blocks.h"

namespace {
using namespace leviathan;

constexpr int kWarps = 8; // warps a block of threads

__device__ __forceinline__ uint32_t pair_of(float a, float b) {
  const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&v);
}

__device__ __forceinline__ uint4 to_bf16(const float* v) {
  return make_uint4(pair_of(v[0], v[1]), pair_of(v[2], v[3]), pair_of(v[4], v[5]), pair_of(v[6], v[7]));
}

__device__ __forceinline__ void from_bf16(uint4 v, float* out) {
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    out[2 * i] = __uint_as_float(words[i] << 16);
    out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}

__device__ __forceinline__ float dot(const float* a, const float* b) {
  float sum = 0;
#pragma unroll
  for (int i = 0; i < 8; i++) sum = fmaf(a[i], b[i], sum);
  return sum;
}

__device__ __forceinline__ float over_warp(float v) {
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) v += __shfl_xor_sync(0xffffffffu, v, mask);
  return v;
}

__device__ __forceinline__ float silu(float v) { return v / (1.0f + expf(-v)); }

// One part (eight elements) a thread.
template <class K> __global__ void __launch_bounds__(32 * kWarps) dequantise(const uint8_t* blocks, uint4* out, long parts) {
  const long c = (long)blockIdx.x * blockDim.x + threadIdx.x;
  if (c >= parts) return;
  constexpr int kParts = K::elements / 8;
  float v[8];
  K::part(blocks + c / kParts * K::size, (int)(c % kParts), v);
  out[c] = to_bf16(v);
}

// hidden[pair][row] = silu(gate row · x) * (up row · x): one warp a row of gate and of up, blockIdx.y is the pair
// (token, choice). A pair whose slot is negative is another device's.
template <class K>
__global__ void __launch_bounds__(32 * kWarps)
    gate_up(const uint8_t* gate, const uint8_t* up, long stride, const int* slots, const uint4* x, float* hidden, int choices,
            int rows, int cols) {
  const int pair = blockIdx.y, slot = slots[pair], row = blockIdx.x * kWarps + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (slot < 0 || row >= rows) return;
  constexpr int kParts = K::elements / 8;
  const int parts = cols / 8;
  const long begin = slot * stride + (long)row * (cols / K::elements) * K::size;
  gate += begin, up += begin, x += (long)(pair / choices) * parts;
  float g = 0, u = 0;
#pragma unroll 2
  for (int c = lane; c < parts; c += 32) {
    const int block = c / kParts, part = c % kParts;
    float in[8], w[8];
    from_bf16(x[c], in);
    K::part(gate + block * K::size, part, w);
    g += dot(w, in);
    K::part(up + block * K::size, part, w);
    u += dot(w, in);
  }
  g = over_warp(g), u = over_warp(u);
  if (lane == 0) hidden[(long)pair * rows + row] = silu(g) * u;
}

// out[token][row] = sum over the token's choices, in their order, of weight * (down row · hidden): one warp a row.
template <class K>
__global__ void __launch_bounds__(32 * kWarps) down(
    const uint8_t* weights, long stride, const int* slots, const float* scales, const float* hidden, float* out, int choices, int rows,
    int cols) {
  const int token = blockIdx.y, row = blockIdx.x * kWarps + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  constexpr int kParts = K::elements / 8;
  const int parts = cols / 8;
  float sum = 0;
  for (int k = 0; k < choices; k++) {
    const int pair = token * choices + k, slot = slots[pair];
    if (slot < 0) continue;
    const uint8_t* line = weights + slot * stride + (long)row * (cols / K::elements) * K::size;
    const float4* in = reinterpret_cast<const float4*>(hidden + (long)pair * cols);
    float one = 0;
#pragma unroll 2
    for (int c = lane; c < parts; c += 32) {
      float w[8], h[8];
      *reinterpret_cast<float4*>(h) = in[2 * c], *reinterpret_cast<float4*>(h + 4) = in[2 * c + 1];
      K::part(line + c / kParts * K::size, c % kParts, w);
      one += dot(w, h);
    }
    sum = fmaf(scales[pair], one, sum);
  }
  sum = over_warp(sum);
  if (lane == 0) out[(long)token * rows + row] = sum;
}

// The device's slot and the CPU's id of each choice (-1: the other has it), and one more use of its expert.
__global__ void route(const long* ids, const int* table, int* slots, long* cpu_ids, unsigned long long* uses, int pairs) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= pairs) return;
  const long id = ids[i];
  const int slot = table[id];
  slots[i] = slot;
  cpu_ids[i] = slot < 0 ? id : -1;
  if (uses) atomicAdd(uses + id, 1ull);
}

// out = silu(in[:, :width]) * in[:, width:], bfloat16, rounded once.
__global__ void silu_times(const uint4* in, uint4* out, long rows, int parts) {
  const long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= rows * parts) return;
  const long row = i / parts, c = i % parts;
  float g[8], u[8];
  from_bf16(in[row * 2 * parts + c], g);
  from_bf16(in[row * 2 * parts + parts + c], u);
#pragma unroll
  for (int k = 0; k < 8; k++) g[k] = silu(g[k]) * u[k];
  out[i] = to_bf16(g);
}

// out[tokens[i]] += scales[i] * in[i]; the tokens of one call differ, so calls in order give sums in order.
__global__ void add_scaled(const uint4* in, const long* tokens, const float* scales, float4* out, long rows, int parts) {
  const long i = (long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= rows * parts) return;
  const long row = i / parts, c = i % parts;
  float v[8];
  from_bf16(in[i], v);
  float4* at = out + (tokens[row] * parts + c) * 2;
  const float s = scales[row];
  float4 a = at[0], b = at[1];
  a.x = fmaf(s, v[0], a.x), a.y = fmaf(s, v[1], a.y), a.z = fmaf(s, v[2], a.z), a.w = fmaf(s, v[3], a.w);
  b.x = fmaf(s, v[4], b.x), b.y = fmaf(s, v[5], b.y), b.z = fmaf(s, v[6], b.z), b.w = fmaf(s, v[7], b.w);
  at[0] = a, at[1] = b;
}

unsigned blocks_for(long threads) { return (unsigned)((threads + 32 * kWarps - 1) / (32 * kWarps)); }

// Calls f with the block type of that ggml number; cudaErrorInvalidValue for another.
template <class F> int with_type(int type, F f) {
  switch (type) {
    case 8: f(Q8_0()); break;
    case 10: f(Q2_K()); break;
    case 11: f(Q3_K()); break;
    case 12: f(Q4_K()); break;
    case 13: f(Q5_K()); break;
    case 14: f(Q6_K()); break;
    case 23: f(IQ4_XS()); break;
    default: return cudaErrorInvalidValue;
  }
  return cudaGetLastError();
}

} // namespace

#define LEVIATHAN_API extern "C" __attribute__((visibility("default"))) int

// elements: a multiple of the type's block; out: bfloat16. Addresses are multiples of 16.
LEVIATHAN_API leviathan_dequantise(int type, const void* blocks, void* out, long elements, cudaStream_t stream) {
  if (elements == 0) return cudaSuccess;
  return with_type(type, [=](auto kind) {
    using K = decltype(kind);
    dequantise<K><<<blocks_for(elements / 8), 32 * kWarps, 0, stream>>>((const uint8_t*)blocks, (uint4*)out, elements / 8);
  });
}

// gate, up: slot 0's (width, cols) blocks, of one type; `stride` bytes from slot to slot, a multiple of 16; slots: int32 (tokens * choices); x: bfloat16 (tokens, cols);
// hidden: float32 (tokens * choices, width).
LEVIATHAN_API leviathan_gate_up(int type, const void* gate, const void* up, long stride, const int* slots, const void* x,
                                float* hidden, int tokens, int choices, int width, int cols, cudaStream_t stream) {
  const dim3 grid((width + kWarps - 1) / kWarps, tokens * choices);
  return with_type(type, [=](auto kind) {
    using K = decltype(kind);
    gate_up<K><<<grid, 32 * kWarps, 0, stream>>>((const uint8_t*)gate, (const uint8_t*)up, stride, slots, (const uint4*)x, hidden,
                                                choices, width, cols);
  });
}

// weights: slot 0's (rows, width) blocks; scales: float32 (tokens * choices); out: float32 (tokens, rows), written whole.
LEVIATHAN_API leviathan_down(int type, const void* weights, long stride, const int* slots, const float* scales, const float* hidden,
                             float* out, int tokens, int choices, int rows, int width, cudaStream_t stream) {
  const dim3 grid((rows + kWarps - 1) / kWarps, tokens);
  return with_type(type, [=](auto kind) {
    using K = decltype(kind);
    down<K><<<grid, 32 * kWarps, 0, stream>>>((const uint8_t*)weights, stride, slots, scales, hidden, out, choices, rows, width);
  });
}

// ids: int64 (pairs); table: int32 (experts); slots: int32 and cpu_ids: int64 (pairs), written; uses: int64 (experts) or null.
LEVIATHAN_API leviathan_route(const long* ids, const int* table, int* slots, long* cpu_ids, long* uses, int pairs,
                              cudaStream_t stream) {
  route<<<(pairs + 255) / 256, 256, 0, stream>>>(ids, table, slots, cpu_ids, (unsigned long long*)uses, pairs);
  return cudaGetLastError();
}

// in: bfloat16 (rows, 2 * width); out: bfloat16 (rows, width); width a multiple of 8.
LEVIATHAN_API leviathan_silu_times(const void* in, void* out, long rows, int width, cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  silu_times<<<blocks_for(rows * (width / 8)), 32 * kWarps, 0, stream>>>((const uint4*)in, (uint4*)out, rows, width / 8);
  return cudaGetLastError();
}

// in: bfloat16 (rows, cols); tokens: int64 (rows), all different; scales: float32 (rows); out: float32 (any, cols).
LEVIATHAN_API leviathan_add_scaled(const void* in, const long* tokens, const float* scales, float* out, long rows, int cols,
                                   cudaStream_t stream) {
  if (rows == 0) return cudaSuccess;
  add_scaled<<<blocks_for(rows * (cols / 8)), 32 * kWarps, 0, stream>>>((const uint4*)in, tokens, scales, (float4*)out, rows,
                                                                       cols / 8);
  return cudaGetLastError();
}
