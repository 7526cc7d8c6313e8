// What stands between the products of a decode step of DeepSeek-V3, one kernel each: norms, RoPE and cache, the halves of
// kv_b, the router, the sum at a layer's end. For one token; the plain reference is ../reference/plain_decode.py.
//
// Every sum has a fixed order. A product's input is left as a quantised vector (gguf_dots.h).
#include "device.h"

namespace {
using namespace leviathan;
using bf16 = __nv_bfloat16;

constexpr int kNorm = 1024; // threads of a norm
constexpr int kEach = 8;    // values of a thread of it
constexpr int kHead = 256;  // threads of a head
constexpr int kMostExperts = 512;

// normed = weight * round(x / rms), as a quantised vector, and in bfloat16 where asked: for the router, and for the CPU's experts in
// page-locked main memory. All that a thread reads is on its way before the first sum: cols is up to kNorm * kEach.
template <int P>
__global__ void __launch_bounds__(kNorm) norm(const bf16* x, const bf16* weight, float epsilon, int cols, int8_t* out, bf16* normed,
                                              bf16* host) {
  __shared__ float room[kNorm / 32];
  float v[kEach], w[kEach], sum = 0;
#pragma unroll
  for (int k = 0; k < kEach; k++) {
    const int i = threadIdx.x + k * kNorm;
    v[k] = i < cols ? bf16_to_float(x[i]) : 0.0f;
    w[k] = i < cols ? bf16_to_float(weight[i]) : 0.0f;
  }
#pragma unroll
  for (int k = 0; k < kEach; k++) sum = fmaf(v[k], v[k], sum);
  const float scale = 1.0f / sqrtf(block_sum(sum, room) / (float)cols + epsilon);
#pragma unroll
  for (int k = 0; k < kEach; k++) {
    const int i = threadIdx.x + k * kNorm;
    if (i >= cols) continue;
    const bf16 one = __float2bfloat16_rn(w[k] * rounded(v[k] * scale));
    if (normed) normed[i] = one;
    if (host) host[i] = one;
    put_group<P>(bf16_to_float(one), out, cols, i / 32);
  }
}

// A vector of float32 or bfloat16, quantised. One group a warp.
template <int P> __global__ void quantise(const void* x, int wide, int cols, int8_t* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= cols) return;
  put_group<P>(wide ? ((const float*)x)[i] : bf16_to_float(((const bf16*)x)[i]), out, cols, i / 32);
}

// RoPE as DeepSeek has it: pairs of neighbours turn, and come out as two halves. Element `i` of the `rope` turned ones.
__device__ __forceinline__ float turned(const float* in, int i, int rope, const bf16* cosine, const bf16* sine) {
  const int half = rope / 2, pair = i % half;
  const float first = in[2 * pair], second = in[2 * pair + 1];
  return i < half ? first * bf16_to_float(cosine[i]) - second * bf16_to_float(sine[i])
                  : second * bf16_to_float(cosine[i]) + first * bf16_to_float(sine[i]);
}

// Block 0: the query's latent vector, normed and quantised. Block 1: the token's entry in the cache: its latent vector, normed, and
// its turned key.
template <int P>
__global__ void __launch_bounds__(kNorm) latents(const float* in, int query, int rank, int rope, const bf16* query_weight,
                                                 const bf16* rank_weight, float epsilon, const bf16* cosine, const bf16* sine,
                                                 const long* position, const int* table, int page, bf16* cache, int8_t* out) {
  __shared__ float room[kNorm / 32];
  const bool first = blockIdx.x == 0;
  const int cols = first ? query : rank;
  if (!first) in += query;
  float sum = 0;
  for (int i = threadIdx.x; i < cols; i += kNorm) sum = fmaf(in[i], in[i], sum);
  const float scale = 1.0f / sqrtf(block_sum(sum, room) / (float)cols + epsilon);
  if (first) {
    for (int i = threadIdx.x; i < cols; i += kNorm) put_group<P>(bf16_to_float(query_weight[i]) * in[i] * scale, out, cols, i / 32);
    return;
  }
  const long at = *position;
  bf16* entry = cache + ((long)table[at / page] * page + at % page) * (rank + rope);
  for (int i = threadIdx.x; i < rank; i += kNorm) entry[i] = __float2bfloat16_rn(bf16_to_float(rank_weight[i]) * in[i] * scale);
  for (int i = threadIdx.x; i < rope; i += kNorm) entry[rank + i] = __float2bfloat16_rn(turned(in + rank, i, rope, cosine, sine));
}

// A head's query over the cache: its plain part times kv_b's upper half, (nope, rank), then its turned part. blockIdx.y is the part of the
// rank's columns, a multiple of 8 of them and 8 * kHead at most.
__global__ void __launch_bounds__(kHead) absorb(const float* query, const bf16* kv_b, int nope, int rope, int value, int rank,
                                                const bf16* cosine, const bf16* sine, bf16* out) {
  __shared__ float sums[8 * kHead];
  const int head = blockIdx.x, wide = rank / gridDim.y, begin = blockIdx.y * wide;
  const int columns = wide / 8, teams = kHead / columns, column = threadIdx.x % columns, team = threadIdx.x / columns;
  query += head * (nope + rope), kv_b += (long)head * (nope + value) * rank + begin, out += head * (rank + rope);
  float acc[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  if (team < teams) {
#pragma unroll 8
    for (int i = team; i < nope; i += teams) {
      const float q = query[i];
      const uint4 w = *reinterpret_cast<const uint4*>(kv_b + (long)i * rank + 8 * column);
      const uint32_t words[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
      for (int k = 0; k < 4; k++) {
        acc[2 * k] = fmaf(q, __uint_as_float(words[k] << 16), acc[2 * k]);
        acc[2 * k + 1] = fmaf(q, __uint_as_float(words[k] & 0xffff0000u), acc[2 * k + 1]);
      }
    }
#pragma unroll
    for (int k = 0; k < 8; k++) sums[(team * columns + column) * 8 + k] = acc[k];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < wide; i += kHead) {
    float sum = 0;
    for (int t = 0; t < teams; t++) sum += sums[t * wide + i];
    out[begin + i] = __float2bfloat16_rn(sum);
  }
  if (blockIdx.y == 0)
    for (int i = threadIdx.x; i < rope; i += kHead) out[rank + i] = __float2bfloat16_rn(turned(query + nope, i, rope, cosine, sine));
}

// 32 of a head's values (blockIdx.y says which): rows of kv_b's lower half, (value, rank), times what attention gave; quantised for o_proj.
template <int P>
__global__ void __launch_bounds__(kHead) values(const bf16* attended, const bf16* kv_b, int nope, int value, int rank, int8_t* out) {
  constexpr int kRows = 32 / (kHead / 32); // of a warp
  __shared__ float sums[32];
  const int head = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = blockIdx.y * 32;
  attended += head * rank, kv_b += ((long)head * (nope + value) + nope + first + warp * kRows) * rank;
  float sum[kRows] = {0};
  for (int c = 8 * lane; c < rank; c += 256) {
    const uint4 x = *reinterpret_cast<const uint4*>(attended + c);
    const uint32_t b[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (int r = 0; r < kRows; r++) {
      const uint4 w = *reinterpret_cast<const uint4*>(kv_b + (long)r * rank + c);
      const uint32_t a[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
      for (int k = 0; k < 4; k++) {
        sum[r] = fmaf(__uint_as_float(a[k] << 16), __uint_as_float(b[k] << 16), sum[r]);
        sum[r] = fmaf(__uint_as_float(a[k] & 0xffff0000u), __uint_as_float(b[k] & 0xffff0000u), sum[r]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; r++) {
    const float whole = warp_sum(sum[r]);
    if (lane == 0) sums[warp * kRows + r] = whole;
  }
  __syncthreads();
  if (warp == 0) put_group<P>(sums[lane], out, (long)gridDim.x * value, (head * value + first) / 32);
}

// The router's scores before the sigmoid: one expert a block.
__global__ void __launch_bounds__(128) router_products(const bf16* x, const float* weight, int cols, float* out) {
  __shared__ float room[4];
  weight += (long)blockIdx.x * cols;
  float sum = 0;
  for (int i = 8 * threadIdx.x; i < cols; i += 8 * 128) {
    const uint4 v = *reinterpret_cast<const uint4*>(x + i);
    const float4 a = *reinterpret_cast<const float4*>(weight + i), b = *reinterpret_cast<const float4*>(weight + i + 4);
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    const float w[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (int k = 0; k < 4; k++) {
      sum = fmaf(w[2 * k], __uint_as_float(words[k] << 16), sum);
      sum = fmaf(w[2 * k + 1], __uint_as_float(words[k] & 0xffff0000u), sum);
    }
  }
  sum = block_sum(sum, room);
  if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

struct Choice {
  int experts, groups, groups_used, used, normalised;
  float factor;
};

// DeepSeek-V3's choice of experts (group-limited top k of sigmoid + bias; of equal ones the first), one warp; and which of them are on this
// device. A group's score is the sum of its two best; experts of other groups have the score 0, as upstream has it.
__global__ void __launch_bounds__(32) router_choice(const float* products, const float* bias, Choice choice, const int* table, int* slots,
                                                    float* weights, long* host_ids, float* host_weights, unsigned long long* uses) {
  __shared__ float score[kMostExperts], rank[kMostExperts], group[64];
  __shared__ int chosen[64];
  const int lane = threadIdx.x, size = choice.experts / choice.groups;
  for (int e = lane; e < choice.experts; e += 32) {
    score[e] = 1.0f / (1.0f + expf(-products[e]));
    rank[e] = score[e] + bias[e];
  }
  __syncwarp();
  for (int begin = 0; begin < choice.groups; begin += 8) { // four lanes a group
    const int g = begin + lane / 4;
    float best = -INFINITY, next = -INFINITY;
    for (int i = lane % 4; i < size && g < choice.groups; i += 4) {
      const float v = rank[g * size + i];
      next = fmaxf(next, fminf(best, v)), best = fmaxf(best, v);
    }
#pragma unroll
    for (int mask = 1; mask < 4; mask *= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, best, mask), second = __shfl_xor_sync(0xffffffffu, next, mask);
      next = fmaxf(fmaxf(next, second), fminf(best, other)), best = fmaxf(best, other);
    }
    if (lane % 4 == 0 && g < choice.groups) group[g] = best + next;
  }
  __syncwarp();
  for (int e = lane; e < choice.experts; e += 32) {
    const int mine = e / size;
    int before = 0; // groups that come first
    for (int g = 0; g < choice.groups; g++) before += group[g] > group[mine] || (group[g] == group[mine] && g < mine);
    if (before >= choice.groups_used) rank[e] = 0.0f;
  }
  __syncwarp();
  float sum = 0;
  for (int k = 0; k < choice.used; k++) {
    float best = -INFINITY;
    int at = choice.experts;
    for (int e = lane; e < choice.experts; e += 32)
      if (rank[e] > best || at == choice.experts) best = rank[e], at = e;
#pragma unroll
    for (int mask = 16; mask > 0; mask >>= 1) {
      const float other = __shfl_xor_sync(0xffffffffu, best, mask);
      const int there = __shfl_xor_sync(0xffffffffu, at, mask);
      if (there < choice.experts && (at == choice.experts || other > best || (other == best && there < at))) best = other, at = there;
    }
    __syncwarp(); // every lane has read `rank`
    if (lane == 0) chosen[k] = at, rank[at] = -INFINITY;
    sum += score[at];
    __syncwarp();
  }
  if (lane < choice.used) {
    const int e = chosen[lane], slot = table[e];
    float weight = score[e];
    if (choice.normalised) weight /= sum + 1e-20f;
    weight *= choice.factor;
    weights[lane] = host_weights[lane] = weight;
    slots[lane] = slot;
    host_ids[lane] = slot < 0 ? e : -1;
    atomicAdd(uses + e, 1ull);
  }
}

// out = base + routed + what the CPU left in page-locked main memory; bfloat16, rounded once.
__global__ void layer_sum(const bf16* base, const float* routed, const volatile uint32_t* host, int pairs, bf16* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= pairs) return;
  const uint32_t both = host ? host[i] : 0;
  out[2 * i] = __float2bfloat16_rn(bf16_to_float(base[2 * i]) + (routed[2 * i] + __uint_as_float(both << 16)));
  out[2 * i + 1] = __float2bfloat16_rn(bf16_to_float(base[2 * i + 1]) + (routed[2 * i + 1] + __uint_as_float(both & 0xffff0000u)));
}

// Calls f with the number of planes as a type.
template <int P> struct Planes {
  static constexpr int number = P;
};
template <class F> int with_planes(int planes, F f) {
  if (planes == 1)
    f(Planes<1>());
  else if (planes == 2)
    f(Planes<2>());
  else
    return cudaErrorInvalidValue;
  return cudaGetLastError();
}

} // namespace

// x, weight: bfloat16 (cols); out: a quantised vector; normed, host: bfloat16 (cols) or null. cols: a multiple of 32.
LEVIATHAN_API leviathan_norm(int planes, const void* x, const void* weight, float epsilon, int cols, void* out, void* normed, void* host,
                             cudaStream_t stream) {
  if (cols % 32 || cols > kNorm * kEach) return cudaErrorInvalidValue;
  return with_planes(planes, [=](auto p) {
    const auto kernel = norm<decltype(p)::number>;
    LEVIATHAN_LAUNCH(kernel, 1, kNorm, stream, (const bf16*)x, (const bf16*)weight, epsilon, cols, (int8_t*)out, (bf16*)normed,
                     (bf16*)host);
  });
}

// x: float32 (wide) or bfloat16 (cols); out: a quantised vector.
LEVIATHAN_API leviathan_quantise(int planes, const void* x, int wide, int cols, void* out, cudaStream_t stream) {
  return with_planes(planes, [=](auto p) {
    const auto kernel = quantise<decltype(p)::number>;
    LEVIATHAN_LAUNCH(kernel, (cols + 255) / 256, 256, stream, x, wide, cols, (int8_t*)out);
  });
}

// in: float32 (query + rank + rope); weights: bfloat16; cosine, sine: bfloat16 (rope); position: int64; table: int32, page numbers; cache:
// bfloat16 (pages, page, rank + rope); out: a quantised vector of `query`.
LEVIATHAN_API leviathan_latents(int planes, const float* in, int query, int rank, int rope, const void* query_weight,
                                const void* rank_weight, float epsilon, const void* cosine, const void* sine, const long* position,
                                const int* table, int page, void* cache, void* out, cudaStream_t stream) {
  return with_planes(planes, [=](auto p) {
    const auto kernel = latents<decltype(p)::number>;
    LEVIATHAN_LAUNCH(kernel, 2, kNorm, stream, in, query, rank, rope, (const bf16*)query_weight, (const bf16*)rank_weight, epsilon,
                     (const bf16*)cosine, (const bf16*)sine, position, table, page, (bf16*)cache, (int8_t*)out);
  });
}

// query: float32 (heads, nope + rope); kv_b: bfloat16 (heads, nope + value, rank); out: bfloat16 (heads, rank + rope).
LEVIATHAN_API leviathan_absorb(const float* query, const void* kv_b, int heads, int nope, int rope, int value, int rank,
                               const void* cosine, const void* sine, void* out, cudaStream_t stream) {
  if (rank % 8 || rank > 8 * kHead) return cudaErrorInvalidValue;
  LEVIATHAN_LAUNCH(absorb, dim3(heads, rank % 32 ? 1 : 4), kHead, stream, query, (const bf16*)kv_b, nope, rope, value, rank, (const bf16*)cosine,
                   (const bf16*)sine, (bf16*)out);
  return cudaGetLastError();
}

// attended: bfloat16 (heads, rank); out: a quantised vector of heads * value.
LEVIATHAN_API leviathan_values(int planes, const void* attended, const void* kv_b, int heads, int nope, int value, int rank, void* out,
                               cudaStream_t stream) {
  if (value % 32 || rank % 8) return cudaErrorInvalidValue;
  return with_planes(planes, [=](auto p) {
    const auto kernel = values<decltype(p)::number>;
    LEVIATHAN_LAUNCH(kernel, dim3(heads, value / 32), kHead, stream, (const bf16*)attended, (const bf16*)kv_b, nope, value, rank, (int8_t*)out);
  });
}

// x: bfloat16 (cols); weight: float32 (experts, cols); products: float32 (experts), for the second kernel; bias: float32; table: int32, the
// slot of each expert or -1; slots: int32, weights: float32 (used); host_ids: int64, host_weights: float32 (used), page-locked; uses: int64.
LEVIATHAN_API leviathan_router(const void* x, const float* weight, int cols, float* products, const float* bias, int experts, int groups,
                               int groups_used, int used, int normalised, float factor, const int* table, int* slots, float* weights,
                               long* host_ids, float* host_weights, long* uses, cudaStream_t stream) {
  if (experts > kMostExperts || groups > 64 || experts % groups || used > 32 || cols % 8) return cudaErrorInvalidValue;
  LEVIATHAN_LAUNCH(router_products, experts, 128, stream, (const bf16*)x, weight, cols, products);
  const Choice choice = {experts, groups, groups_used, used, normalised, factor};
  LEVIATHAN_LAUNCH(router_choice, 1, 32, stream, products, bias, choice, table, slots, weights, host_ids, host_weights,
                   (unsigned long long*)uses);
  return cudaGetLastError();
}

// base, out: bfloat16 (cols); routed: float32 (cols); host: bfloat16 (cols), page-locked, or null. cols: even.
LEVIATHAN_API leviathan_layer_sum(const void* base, const float* routed, const void* host, int cols, void* out, cudaStream_t stream) {
  LEVIATHAN_LAUNCH(layer_sum, (cols / 2 + 255) / 256, 256, stream, (const bf16*)base, routed, (const volatile uint32_t*)host, cols / 2,
                   (bf16*)out);
  return cudaGetLastError();
}
