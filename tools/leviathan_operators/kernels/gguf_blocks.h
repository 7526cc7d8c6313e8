// GGUF's quantised blocks, eight elements at a time. For the device and, as plain C++, for the host's tests.
//
// A row holds whole blocks; part p of a block is its elements 8p to 8p+7. Layouts are ggml's (ggml-common.h); the
// products are those of `leviathan_operators/reference/gguf_blocks.py`, in the same order, so the floats are equal.
#pragma once
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#include <cuda_fp16.h>
#define LEVIATHAN_BOTH __host__ __device__ __forceinline__
#else
#define LEVIATHAN_BOTH inline
#endif

namespace leviathan {

struct Eight {
  uint32_t low, high; // bytes 0 to 3, bytes 4 to 7
};

// 16 bits as an IEEE half.
LEVIATHAN_BOTH float half_of(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return __half2float(__ushort_as_half((unsigned short)bits));
#else
  const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 0) { // zero or subnormal: fraction * 2^-24
    const float small = (float)fraction * 5.9604644775390625e-8f;
    return sign ? -small : small;
  }
  const uint32_t wide = sign | (exponent == 31 ? 255u << 23 : (exponent + 112) << 23) | fraction << 13;
  float out;
  memcpy(&out, &wide, 4);
  return out;
#endif
}

// The two bytes at p as an IEEE half.
LEVIATHAN_BOTH float half_at(const uint8_t* p) {
#ifdef __CUDA_ARCH__
  return half_of(*reinterpret_cast<const unsigned short*>(p));
#else
  uint16_t bits;
  memcpy(&bits, p, 2);
  return half_of(bits);
#endif
}

// Eight bytes at p, whose address is a multiple of ALIGN (2, 4 or 8).
template <int ALIGN> LEVIATHAN_BOTH Eight eight_at(const uint8_t* p) {
  Eight out;
#ifdef __CUDA_ARCH__
  if (ALIGN == 8) {
    const uint2 v = *reinterpret_cast<const uint2*>(p);
    out.low = v.x, out.high = v.y;
  } else if (ALIGN == 4) {
    const uint32_t* v = reinterpret_cast<const uint32_t*>(p);
    out.low = v[0], out.high = v[1];
  } else {
    const unsigned short* v = reinterpret_cast<const unsigned short*>(p);
    out.low = v[0] | (uint32_t)v[1] << 16, out.high = v[2] | (uint32_t)v[3] << 16;
  }
#else
  memcpy(&out, p, 8);
#endif
  return out;
}

LEVIATHAN_BOTH Eight masked(Eight v, int shift, uint32_t mask) {
  Eight out = {v.low >> shift & mask, v.high >> shift & mask};
  return out;
}

LEVIATHAN_BOTH Eight with_bits(Eight v, Eight bits, int left) {
  Eight out = {v.low | bits.low << left, v.high | bits.high << left};
  return out;
}

LEVIATHAN_BOTH int byte_of(Eight v, int i) { return (i < 4 ? v.low >> 8 * i : v.high >> 8 * (i - 4)) & 255; }

// scale * q - least, of eight unsigned bytes.
LEVIATHAN_BOTH void scaled(Eight q, float scale, float least, float* out) {
#pragma unroll
  for (int i = 0; i < 8; i++) out[i] = scale * (float)byte_of(q, i) - least;
}

// scale * (q - minus), of eight unsigned bytes.
LEVIATHAN_BOTH void centred(Eight q, float scale, int minus, float* out) {
#pragma unroll
  for (int i = 0; i < 8; i++) out[i] = scale * (float)(byte_of(q, i) - minus);
}

struct Q8_0 { // half scale, 32 signed bytes
  static constexpr int size = 34, elements = 32;
  LEVIATHAN_BOTH static void part(const uint8_t* b, int p, float* out) {
    const Eight q = eight_at<2>(b + 2 + 8 * p);
    const float d = half_at(b);
#pragma unroll
    for (int i = 0; i < 8; i++) out[i] = d * (float)(int8_t)byte_of(q, i);
  }
};

struct Q2_K { // 16 bytes: 4 bits of scale and 4 of minimum for 16 elements each; 64 bytes of 2 bits; two halves
  static constexpr int size = 84, elements = 256;
  LEVIATHAN_BOTH static void part(const uint8_t* b, int p, float* out) {
    const Eight q = masked(eight_at<4>(b + 16 + p / 16 * 32 + p % 4 * 8), p % 16 / 4 * 2, 0x03030303u);
    const int s = b[p / 2];
    scaled(q, half_at(b + 80) * (float)(s & 15), half_at(b + 82) * (float)(s >> 4), out);
  }
};

struct Q3_K { // 32 bytes of high bits; 64 bytes of 2 bits; 12 bytes with sixteen 6-bit scales; a half
  static constexpr int size = 110, elements = 256;
  LEVIATHAN_BOTH static void part(const uint8_t* b, int p, float* out) {
    const Eight low = masked(eight_at<2>(b + 32 + p / 16 * 32 + p % 4 * 8), p % 16 / 4 * 2, 0x03030303u);
    const Eight high = masked(eight_at<2>(b + p % 4 * 8), p / 4, 0x01010101u);
    const int j = p / 2;
    const int s = (b[96 + j % 8] >> j / 8 * 4 & 15) | (b[104 + j % 4] >> j / 4 * 2 & 3) << 4;
    centred(with_bits(low, high, 2), half_at(b + 108) * (float)(s - 32), 4, out);
  }
};

// The 6-bit scale and minimum of group j of 32 elements, out of 12 bytes (Q4_K and Q5_K).
LEVIATHAN_BOTH void scale_and_least(const uint8_t* s, int j, int* scale, int* least) {
  if (j < 4) {
    *scale = s[j] & 63, *least = s[j + 4] & 63;
  } else {
    *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4, *least = s[j + 4] >> 4 | s[j] >> 6 << 4;
  }
}

struct Q4_K { // halves for scales and minimums; 12 bytes of them; 128 bytes of 4 bits
  static constexpr int size = 144, elements = 256;
  LEVIATHAN_BOTH static void part(const uint8_t* b, int p, float* out) {
    const Eight q = masked(eight_at<8>(b + 16 + p / 8 * 32 + p % 4 * 8), p / 4 % 2 * 4, 0x0f0f0f0fu);
    int scale, least;
    scale_and_least(b + 4, p / 4, &scale, &least);
    scaled(q, half_at(b) * (float)scale, half_at(b + 2) * (float)least, out);
  }
};

struct Q5_K { // as Q4_K, with 32 bytes of fifth bits before the 4 bits
  static constexpr int size = 176, elements = 256;
  LEVIATHAN_BOTH static void part(const uint8_t* b, int p, float* out) {
    const Eight low = masked(eight_at<8>(b + 48 + p / 8 * 32 + p % 4 * 8), p / 4 % 2 * 4, 0x0f0f0f0fu);
    const Eight high = masked(eight_at<8>(b + 16 + p % 4 * 8), p / 4, 0x01010101u);
    int scale, least;
    scale_and_least(b + 4, p / 4, &scale, &least);
    scaled(with_bits(low, high, 4), half_at(b) * (float)scale, half_at(b + 2) * (float)least, out);
  }
};

struct Q6_K { // 128 bytes of 4 bits; 64 of 2 bits; 16 signed scales; a half
  static constexpr int size = 210, elements = 256;
  LEVIATHAN_BOTH static void part(const uint8_t* b, int p, float* out) {
    const Eight low = masked(eight_at<2>(b + p / 16 * 64 + p % 8 * 8), p % 16 / 8 * 4, 0x0f0f0f0fu);
    const Eight high = masked(eight_at<2>(b + 128 + p / 16 * 32 + p % 4 * 8), p % 16 / 4 * 2, 0x03030303u);
    centred(with_bits(low, high, 4), half_at(b + 208) * (float)(int8_t)b[192 + p / 2], 32, out);
  }
};

struct IQ4_XS { // a half; eight 6-bit scales in 2 + 4 bytes; 128 bytes of 4 bits that choose from a table
  static constexpr int size = 136, elements = 256;
  LEVIATHAN_BOTH static int value(int q) { // ggml's kvalues_iq4nl, eight bytes a word
    const uint64_t below = 0xf6eaddcfbfad9881ull, above = 0x7159453526190d01ull;
    return (int8_t)((q < 8 ? below : above) >> 8 * (q & 7));
  }
  LEVIATHAN_BOTH static void part(const uint8_t* b, int p, float* out) {
    const Eight q = masked(eight_at<8>(b + 8 + p / 4 * 16 + p % 2 * 8), p / 2 % 2 * 4, 0x0f0f0f0fu);
    const int j = p / 4;
    const int s = (b[4 + j / 2] >> j % 2 * 4 & 15) | (b[2 + j / 4] >> j % 4 * 2 & 3) << 4;
    const float d = half_at(b) * (float)(s - 32);
#pragma unroll
    for (int i = 0; i < 8; i++) out[i] = d * (float)value(byte_of(q, i));
  }
};

} // namespace leviathan
