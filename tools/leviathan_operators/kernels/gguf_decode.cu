// Matrix times vector from GGUF's raw blocks, for one token: the vector is quantised, the products are integers.
//
// As in gguf_experts.cu every call is one launch, may be captured and gives the same bits each time: a lane's sum goes
// over the row in order, then over the warp, then over the row's warps. What a variant is: `Shape`; tests/gpu/decode.py
// times them. The plain reference is ../reference/plain_decode.py.
#include "device.h"

#ifndef LEVIATHAN_UNROLL
#define LEVIATHAN_UNROLL 2
#endif

namespace {
using namespace leviathan;

// W: words of quants that a lane takes at once. P: planes of the vector. R: rows of a warp. S: warps of a row.
template <int W_, int P_, int R_, int S_> struct Shape {
  static constexpr int W = W_, P = P_, R = R_, S = S_;
};

constexpr int kWarps = 8; // warps a block of threads
constexpr int kGroup = 32; // rows of a block of gate_up: one group of the quantised hidden vector

// Adds to sums[r] the products of this lane's words of rows[r], every `step`th from `first` on.
template <class K, class V>
__device__ __forceinline__ void lane_sums(const uint8_t* const* rows, int blocks, const Vector<V::P>& x, int first, int step,
                                          float* sums) {
  constexpr int kLanes = K::words / V::W;
  const int units = blocks * kLanes;
  const auto take = [&](int u) {
    const int block = u / kLanes, part = u % kLanes;
    const Vector<V::P> at = x.from(block * 256);
#pragma unroll
    for (int r = 0; r < V::R; r++)
      sums[r] += K::template dot<V::W, V::P>(rows[r] + (long)block * K::size, part, at);
  };
  // Two at once by hand, so that their loads overlap: clang unrolls no loop with inline assembly in it.
  int u = first;
  if (LEVIATHAN_UNROLL == 2)
    for (; u + step < units; u += 2 * step) take(u), take(u + step);
  for (; u < units; u += step) take(u);
}

enum Out { kFloat = 0, kBfloat16 = 1, kAdded = 2 };

__device__ __forceinline__ void put(void* out, const __nv_bfloat16* base, int mode, long at, float v) {
  if (mode == kFloat) {
    reinterpret_cast<float*>(out)[at] = v;
  } else {
    if (mode == kAdded) v += bf16_to_float(base[at]);
    reinterpret_cast<__nv_bfloat16*>(out)[at] = __float2bfloat16_rn(v);
  }
}

// out[row] = row of `first`, then of `second` (both of `cols` inputs) · x.
template <class K, class V>
__global__ void __launch_bounds__(32 * kWarps)
    multiply(const uint8_t* first, int first_rows, const uint8_t* second, int rows, int cols, const int8_t* x, void* out,
             const __nv_bfloat16* base, int mode) {
  constexpr int kTeams = kWarps / V::S;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, team = warp / V::S, place = warp % V::S;
  const int row = (blockIdx.x * kTeams + team) * V::R;
  const long bytes = (long)(cols / 256) * K::size;
  const uint8_t* at[V::R];
  float sums[V::R];
#pragma unroll
  for (int r = 0; r < V::R; r++) {
    const int mine = min(row + r, rows - 1);
    at[r] = mine < first_rows ? first + mine * bytes : second + (mine - first_rows) * bytes;
    sums[r] = 0;
  }
  lane_sums<K, V>(at, cols / 256, Vector<V::P>(x, cols), lane + 32 * place, 32 * V::S, sums);
#pragma unroll
  for (int r = 0; r < V::R; r++) sums[r] = warp_sum(sums[r]);
  __shared__ float parts[kWarps][V::R];
  if (V::S > 1) {
    if (lane == 0)
      for (int r = 0; r < V::R; r++) parts[warp][r] = sums[r];
    __syncthreads();
    if (place == 0)
      for (int s = 1; s < V::S; s++)
        for (int r = 0; r < V::R; r++) sums[r] += parts[warp + s][r];
  }
  if (lane == 0 && place == 0)
    for (int r = 0; r < V::R && row + r < rows; r++) put(out, base, mode, row + r, sums[r]);
}

// hidden[pair] = silu(gate · x) * (up · x), quantised: a block of N warps has 32 rows of one pair; a slot below 0 is another device's.
// Without slots all is in slot 0.
template <class K, class V, int N>
__global__ void __launch_bounds__(32 * N)
    gate_up(const uint8_t* gate, const uint8_t* up, long stride, const int* slots, const int8_t* x, int8_t* hidden, int width,
            int cols) {
  const int pair = blockIdx.y, slot = slots ? slots[pair] : 0, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (slot < 0) return;
  __shared__ float values[kGroup];
  const long bytes = (long)(cols / 256) * K::size;
  using Two = Shape<V::W, V::P, 2 * V::R, 1>;
  for (int i = 0; i < kGroup / N; i += V::R) {
    const int mine = warp * (kGroup / N) + i;
    const long at = slot * stride + (long)(blockIdx.x * kGroup + mine) * bytes;
    const uint8_t* rows[2 * V::R];
    float sums[2 * V::R];
#pragma unroll
    for (int r = 0; r < V::R; r++) {
      rows[2 * r] = gate + at + r * bytes, rows[2 * r + 1] = up + at + r * bytes;
      sums[2 * r] = sums[2 * r + 1] = 0;
    }
    lane_sums<K, Two>(rows, cols / 256, Vector<V::P>(x, cols), lane, 32, sums);
#pragma unroll
    for (int r = 0; r < V::R; r++) {
      const float g = warp_sum(sums[2 * r]), u = warp_sum(sums[2 * r + 1]);
      if (lane == 0) values[mine + r] = g / (1.0f + expf(-g)) * u;
    }
  }
  __syncthreads();
  if (warp == 0) put_group<V::P>(values[lane], hidden + pair * vector_bytes(V::P, width), width, blockIdx.x);
}

// out[row] += sum over the choices, in their order, of weight * (down row · hidden).
template <class K, class V>
__global__ void __launch_bounds__(32 * kWarps)
    down(const uint8_t* weights, long stride, const int* slots, const float* scales, const int8_t* hidden, float* out, int choices,
         int rows, int width) {
  const int row = (blockIdx.x * kWarps + threadIdx.x / 32) * V::R, lane = threadIdx.x % 32;
  const long bytes = (long)(width / 256) * K::size;
  float total[V::R];
#pragma unroll
  for (int r = 0; r < V::R; r++) total[r] = 0;
  for (int k = 0; k < choices; k++) {
    const int slot = slots[k];
    if (slot < 0) continue;
    const uint8_t* at[V::R];
    float sums[V::R];
#pragma unroll
    for (int r = 0; r < V::R; r++) at[r] = weights + slot * stride + min(row + r, rows - 1) * bytes, sums[r] = 0;
    lane_sums<K, V>(at, width / 256, Vector<V::P>(hidden + k * vector_bytes(V::P, width), width), lane, 32, sums);
#pragma unroll
    for (int r = 0; r < V::R; r++) total[r] = fmaf(scales[k], sums[r], total[r]);
  }
#pragma unroll
  for (int r = 0; r < V::R; r++) {
    const float sum = warp_sum(total[r]);
    if (lane == 0 && row + r < rows) out[row + r] += sum;
  }
}

int over(int a, int b) { return (a + b - 1) / b; }

// A variant is 1000 * W + 100 * P + 10 * R + S. Which one is the quickest was measured on an H200 (docs/gpu.md), one token, 16 bits a value.
constexpr int kOneRow = 4211, kTwoRows = 4221, kTwoWarps = 4212;
bool four_bits(int type) { return type == 12 || type == 13 || type == 23; }
int for_experts(int variant, int type) { return variant ? variant : four_bits(type) ? kOneRow : kTwoRows; }
int for_rows(int variant, int type, int rows, int cols) {
  if (variant) return variant;
  if (rows < 4096) return kOneRow; // or most of the GPU has nothing to do
  if (type != 12 && type != 13) return kTwoRows;
  return cols < 8192 ? kOneRow : kTwoWarps;
}

// Calls f(type, shape) for ggml's number of a type and a variant.
template <class K, class F> int with_shape(int variant, F f) {
  switch (variant) {
    case kOneRow: f(K(), Shape<4, 2, 1, 1>()); break;
    case kTwoRows: f(K(), Shape<4, 2, 2, 1>()); break;
    case kTwoWarps: f(K(), Shape<4, 2, 1, 2>()); break;
#ifdef LEVIATHAN_VARIANTS
    case 4111: f(K(), Shape<4, 1, 1, 1>()); break;
    case 4121: f(K(), Shape<4, 1, 2, 1>()); break;
    case 4214: f(K(), Shape<4, 2, 1, 4>()); break;
    case 2211: f(K(), Shape<2, 2, 1, 1>()); break;
    case 2221: f(K(), Shape<2, 2, 2, 1>()); break;
    case 2111: f(K(), Shape<2, 1, 1, 1>()); break;
    case 1211: f(K(), Shape<1, 2, 1, 1>()); break;
    case 1221: f(K(), Shape<1, 2, 2, 1>()); break;
    case 1111: f(K(), Shape<1, 1, 1, 1>()); break;
#endif
    default: return cudaErrorInvalidValue;
  }
  return cudaGetLastError();
}

template <class F> int with_type(int type, int variant, F f) {
  switch (type) {
    case 8: return with_shape<Q8_0_dot>(variant, f);
    case 10: return with_shape<Q2_K_dot>(variant, f);
    case 11: return with_shape<Q3_K_dot>(variant, f);
    case 12: return with_shape<Q4_K_dot>(variant, f);
    case 13: return with_shape<Q5_K_dot>(variant, f);
    case 14: return with_shape<Q6_K_dot>(variant, f);
    case 23: return with_shape<IQ4_XS_dot>(variant, f);
  }
  return cudaErrorInvalidValue;
}

} // namespace

// first: (first_rows, cols) blocks; second: the other rows' or null; cols: a multiple of 256; x: a quantised vector; out: `rows` in all:
// float32 (mode 0), bfloat16 (1), or bfloat16 with `base` added (2). Addresses are multiples of 16.
LEVIATHAN_API leviathan_multiply(int type, int variant, const void* first, int first_rows, const void* second, int rows, int cols,
                                 const void* x, void* out, const void* base, int mode, cudaStream_t stream) {
  return with_type(type, for_rows(variant, type, rows, cols), [=](auto kind, auto shape) {
    using K = decltype(kind);
    using V = decltype(shape);
    const auto kernel = multiply<K, V>;
    LEVIATHAN_LAUNCH(kernel, over(rows, kWarps / V::S * V::R), 32 * kWarps, stream, (const uint8_t*)first, first_rows,
                     (const uint8_t*)second, rows, cols, (const int8_t*)x, out, (const __nv_bfloat16*)base, mode);
  });
}

// gate, up: slot 0's (width, cols) blocks, `stride` bytes from slot to slot; slots: int32 (choices) or null; hidden: a quantised vector
// of `width` (a multiple of 256) for each choice.
LEVIATHAN_API leviathan_gate_up_one(int type, int variant, const void* gate, const void* up, long stride, const int* slots, const void* x,
                                    void* hidden, int choices, int width, int cols, cudaStream_t stream) {
  const bool few = !variant && choices * width < 8192; // one expert: twice the warps a block, or half of the GPU has nothing to do
  return with_type(type, few ? kOneRow : for_experts(variant, type), [=](auto kind, auto shape) {
    using K = decltype(kind);
    using V = decltype(shape);
    const auto kernel = few ? gate_up<K, V, 2 * kWarps> : gate_up<K, V, kWarps>;
    LEVIATHAN_LAUNCH(kernel, dim3(width / kGroup, choices), 32 * (few ? 2 * kWarps : kWarps), stream, (const uint8_t*)gate, (const uint8_t*)up, stride,
                     slots, (const int8_t*)x, (int8_t*)hidden, width, cols);
  });
}

// weights: slot 0's (rows, width) blocks; scales: float32 (choices); hidden: what gate_up_one gave; out: float32 (rows), added to.
LEVIATHAN_API leviathan_down_one(int type, int variant, const void* weights, long stride, const int* slots, const float* scales,
                                 const void* hidden, float* out, int choices, int rows, int width, cudaStream_t stream) {
  return with_type(type, variant ? variant : kTwoRows, [=](auto kind, auto shape) {
    using K = decltype(kind);
    using V = decltype(shape);
    const auto kernel = down<K, V>;
    LEVIATHAN_LAUNCH(kernel, over(rows, kWarps * V::R), 32 * kWarps, stream, (const uint8_t*)weights, stride, slots, scales,
                     (const int8_t*)hidden, out, choices, rows, width);
  });
}
