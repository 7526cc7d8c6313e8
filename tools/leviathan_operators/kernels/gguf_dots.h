// Products of GGUF's blocks with a quantised vector, in integers: what decoding multiplies with (../README.md, "Numbers").
//
// A vector of `cols` values (a multiple of 256) is kept in groups of 32 with one scale each. With two planes a value is
// scale * (256 * high + low), 16 bits; with one plane scale * high, 8 bits. `sum` holds the sum of each 16 values, for
// types that subtract a minimum. A lane takes W words of a block's quants (8 to 16 weights a word): `lanes` lanes a block.
#pragma once
#include "gguf_blocks.h"

namespace leviathan {

// a's four signed bytes times b's, added to c.
LEVIATHAN_BOTH int dot4(uint32_t a, uint32_t b, int c) {
#ifdef __CUDA_ARCH__
  int out;
  asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(a), "r"(b), "r"(c));
  return out;
#else
  for (int i = 0; i < 4; i++) c += (int)(int8_t)(a >> 8 * i) * (int)(int8_t)(b >> 8 * i);
  return c;
#endif
}

// Four bytes of x (0 to 3) and y (4 to 7), chosen by the four nibbles of s, each 0 to 7.
LEVIATHAN_BOTH uint32_t chosen_bytes(uint32_t x, uint32_t y, uint32_t s) {
#ifdef __CUDA_ARCH__
  uint32_t out;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(out) : "r"(x), "r"(y), "r"(s));
  return out;
#else
  uint32_t out = 0;
  for (int i = 0; i < 4; i++) {
    const uint32_t n = s >> 4 * i & 7;
    out |= ((n < 4 ? x >> 8 * n : y >> 8 * (n - 4)) & 255) << 8 * i;
  }
  return out;
#endif
}

// W words at p, whose address is a multiple of ALIGN.
template <int ALIGN, int W> LEVIATHAN_BOTH void words_at(const uint8_t* p, uint32_t* out) {
#ifdef __CUDA_ARCH__
  if constexpr (ALIGN >= 16 && W == 4) {
    const uint4 v = *reinterpret_cast<const uint4*>(p);
    out[0] = v.x, out[1] = v.y, out[2] = v.z, out[3] = v.w;
  } else if constexpr (ALIGN >= 8 && W % 2 == 0) {
#pragma unroll
    for (int i = 0; i < W; i += 2) {
      const uint2 v = *reinterpret_cast<const uint2*>(p + 4 * i);
      out[i] = v.x, out[i + 1] = v.y;
    }
  } else if constexpr (ALIGN >= 4) {
#pragma unroll
    for (int i = 0; i < W; i++) out[i] = *reinterpret_cast<const uint32_t*>(p + 4 * i);
  } else {
#pragma unroll
    for (int i = 0; i < W; i++) {
      const unsigned short* v = reinterpret_cast<const unsigned short*>(p + 4 * i);
      out[i] = v[0] | (uint32_t)v[1] << 16;
    }
  }
#else
  memcpy(out, p, 4 * W);
#endif
}

// q - minus of four bytes q < 128, as signed bytes.
LEVIATHAN_BOTH uint32_t lowered(uint32_t q, int minus) {
  return ((q | 0x80808080u) - 0x01010101u * (uint32_t)minus) ^ 0x80808080u;
}

// The bytes of a vector of `cols` values: planes, then scales, then sums.
LEVIATHAN_BOTH long vector_bytes(int planes, long cols) { return planes * cols + cols / 32 * 4 + cols / 16 * 4; }

template <int PLANES> struct Vector { // a quantised vector from the element on that a block begins with
  const int8_t *high, *low;
  const float *scale, *sum;

  LEVIATHAN_BOTH Vector(const int8_t* at, long cols)
      : high(at),
        low(at + (PLANES - 1) * cols),
        scale(reinterpret_cast<const float*>(at + PLANES * cols)),
        sum(reinterpret_cast<const float*>(at + PLANES * cols) + cols / 32) {}

  LEVIATHAN_BOTH Vector from(int element) const {
    Vector out = *this;
    out.high += element, out.low += element, out.scale += element / 32, out.sum += element / 16;
    return out;
  }

  // The weights' bytes w times the values from `element` on (a multiple of 4 * W), without the scale.
  template <int W> LEVIATHAN_BOTH float times(const uint32_t* w, int element) const {
    uint32_t x[W];
    int a = 0;
    words_at<4 * W, W>(reinterpret_cast<const uint8_t*>(high) + element, x);
#pragma unroll
    for (int i = 0; i < W; i++) a = dot4(w[i], x[i], a);
    if (PLANES == 2) {
      int b = 0;
      words_at<4 * W, W>(reinterpret_cast<const uint8_t*>(low) + element, x);
#pragma unroll
      for (int i = 0; i < W; i++) b = dot4(w[i], x[i], b);
      a = 256 * a + b;
    }
    return scale[element / 32] * (float)a;
  }
};

// Of each type: `dot` of the words W * part on of the block at b with x, which begins at the block. Q8_0's blocks are
// taken eight at a time, so that every type has 256 elements.
struct Q4_K_dot {
  static constexpr int size = 144, words = 32;
  static constexpr bool fifth = false;

  template <int W, int P, class Self = Q4_K_dot> LEVIATHAN_BOTH static float dot(const uint8_t* b, int part, const Vector<P>& x) {
    const int r = part * W, j = r / 8, w = r % 8; // elements 64j + 4w on and 32 behind them
    uint32_t head[4], q[W], low[W], high[W];
    words_at<16, 4>(b, head);
    words_at<4 * W, W>(b + (Self::fifth ? 48 : 16) + 4 * r, q);
#pragma unroll
    for (int i = 0; i < W; i++) low[i] = q[i] & 0x0f0f0f0fu, high[i] = q[i] >> 4 & 0x0f0f0f0fu;
    if (Self::fifth) {
      words_at<4 * W, W>(b + 16 + 4 * w, q);
#pragma unroll
      for (int i = 0; i < W; i++) {
        low[i] |= (q[i] >> 2 * j & 0x01010101u) << 4;
        high[i] |= (q[i] >> (2 * j + 1) & 0x01010101u) << 4;
      }
    }
    const int shift = j % 2 * 16;
    const uint32_t one = head[1] >> shift, two = head[2] >> shift, three = head[3] >> shift;
    const uint32_t scales = j < 2 ? one & 0x3f3fu : (three & 0x0f0fu) | (one & 0xc0c0u) >> 2;
    const uint32_t leasts = j < 2 ? two & 0x3f3fu : (three >> 4 & 0x0f0fu) | (two & 0xc0c0u) >> 2;
    const float first = x.template times<W>(low, 64 * j + 4 * w), second = x.template times<W>(high, 64 * j + 32 + 4 * w);
    float out = half_of(head[0] & 0xffff) * ((float)(scales & 255) * first + (float)(scales >> 8 & 255) * second);
    if (w % 4 == 0) { // the sums are of 16 values
      const float* sum = x.sum + 4 * j + w / 4;
      out -= half_of(head[0] >> 16) * ((float)(leasts & 255) * sum[0] + (float)(leasts >> 8 & 255) * sum[2]);
    }
    return out;
  }
};

struct Q5_K_dot {
  static constexpr int size = 176, words = 32;
  static constexpr bool fifth = true;
  template <int W, int P> LEVIATHAN_BOTH static float dot(const uint8_t* b, int part, const Vector<P>& x) {
    return Q4_K_dot::dot<W, P, Q5_K_dot>(b, part, x);
  }
};

struct Q6_K_dot {
  static constexpr int size = 210, words = 32;
  template <int W, int P> LEVIATHAN_BOTH static float dot(const uint8_t* b, int part, const Vector<P>& x) {
    const int n = part * W / 16, r = part * W % 16; // elements 128n + 4r on and 64 behind them
    uint32_t q[W], h[W], low[W], high[W];
    words_at<2, W>(b + 64 * n + 4 * r, q);
    words_at<2, W>(b + 128 + 32 * n + 4 * (r % 8), h);
    const int shift = r / 8 * 2;
#pragma unroll
    for (int i = 0; i < W; i++) {
      low[i] = lowered((q[i] & 0x0f0f0f0fu) | (h[i] >> shift & 0x03030303u) << 4, 32);
      high[i] = lowered((q[i] >> 4 & 0x0f0f0f0fu) | (h[i] >> (4 + shift) & 0x03030303u) << 4, 32);
    }
    const int8_t* scales = reinterpret_cast<const int8_t*>(b) + 192 + 8 * n + r / 4;
    const float first = x.template times<W>(low, 128 * n + 4 * r), second = x.template times<W>(high, 128 * n + 64 + 4 * r);
    return half_at(b + 208) * ((float)scales[0] * first + (float)scales[4] * second);
  }
};

struct Q3_K_dot {
  static constexpr int size = 110, words = 16;
  template <int W, int P> LEVIATHAN_BOTH static float dot(const uint8_t* b, int part, const Vector<P>& x) {
    const int n = part * W / 8, w = part * W % 8; // elements 128n + 32s + 4w on, s from 0 to 3
    uint32_t q[W], h[W], s6[3];
    words_at<2, W>(b + 32 + 32 * n + 4 * w, q);
    words_at<2, W>(b + 4 * w, h);
    words_at<2, 3>(b + 96, s6);
    float out = 0;
#pragma unroll
    for (int s = 0; s < 4; s++) {
      uint32_t v[W];
#pragma unroll
      for (int i = 0; i < W; i++) v[i] = lowered((q[i] >> 2 * s & 0x03030303u) | (h[i] >> (4 * n + s) & 0x01010101u) << 2, 4);
      const int byte = 8 * (2 * (s % 2) + w / 4);
      const int scale = (int)(s6[s / 2] >> (byte + 4 * n) & 15) | (int)(s6[2] >> (byte + 2 * (2 * n + s / 2)) & 3) << 4;
      out += (float)(scale - 32) * x.template times<W>(v, 128 * n + 32 * s + 4 * w);
    }
    return half_at(b + 108) * out;
  }
};

struct Q2_K_dot {
  static constexpr int size = 84, words = 16;
  template <int W, int P> LEVIATHAN_BOTH static float dot(const uint8_t* b, int part, const Vector<P>& x) {
    const int n = part * W / 8, w = part * W % 8;
    uint32_t q[W], s8[2];
    words_at<4, W>(b + 16 + 32 * n + 4 * w, q);
    words_at<4, 2>(b + 8 * n, s8);
    float out = 0, least = 0;
#pragma unroll
    for (int s = 0; s < 4; s++) {
      uint32_t v[W];
#pragma unroll
      for (int i = 0; i < W; i++) v[i] = q[i] >> 2 * s & 0x03030303u;
      const uint32_t scale = s8[s / 2] >> 8 * (2 * (s % 2) + w / 4);
      out += (float)(scale & 15) * x.template times<W>(v, 128 * n + 32 * s + 4 * w);
      least += (float)(scale >> 4 & 15) * x.sum[8 * n + 2 * s + w / 4];
    }
    out *= half_at(b + 80);
    return w % 4 == 0 ? out - half_at(b + 82) * least : out;
  }
};

struct Q8_0_dot { // eight blocks of 32
  static constexpr int size = 272, words = 64;
  template <int W, int P> LEVIATHAN_BOTH static float dot(const uint8_t* b, int part, const Vector<P>& x) {
    const int r = part * W;
    uint32_t q[W];
    b += r / 8 * 34;
    words_at<2, W>(b + 2 + r % 8 * 4, q);
    return half_at(b) * x.template times<W>(q, 4 * r);
  }
};

struct IQ4_XS_dot {
  static constexpr int size = 136, words = 32;
  template <int W, int P> LEVIATHAN_BOTH static float dot(const uint8_t* b, int part, const Vector<P>& x) {
    const int j = part * W / 4, w = part * W % 4; // elements 32j + 4w on and 16 behind them
    uint32_t q[W], head[2], low[W], high[W];
    words_at<8, 2>(b, head);
    words_at<(W == 1 ? 4 : 8), W>(b + 8 + 4 * (part * W), q);
#pragma unroll
    for (int i = 0; i < W; i++) {
      // Bits 0 to 2 of each nibble choose from both halves of the table, bit 3 between the two.
      const uint32_t three = q[i] & 0x77777777u, fourth = 0x32103210u | (q[i] & 0x88888888u) >> 1;
      uint32_t half[2];
#pragma unroll
      for (int k = 0; k < 2; k++) {
        const uint32_t below = chosen_bytes(0xbfad9881u, 0xf6eaddcfu, three >> 16 * k & 0x7777u);
        const uint32_t above = chosen_bytes(0x26190d01u, 0x71594535u, three >> 16 * k & 0x7777u);
        half[k] = chosen_bytes(below, above, fourth >> 16 * k & 0x7777u);
      }
      low[i] = chosen_bytes(half[0], half[1], 0x6420u), high[i] = chosen_bytes(half[0], half[1], 0x7531u);
    }
    const int scale = (int)(head[1] >> 4 * j & 15) | (int)(head[0] >> (16 + 2 * j) & 3) << 4;
    const float both = x.template times<W>(low, 32 * j + 4 * w) + x.template times<W>(high, 32 * j + 16 + 4 * w);
    return half_of(head[0] & 0xffff) * (float)(scale - 32) * both;
  }
};

} // namespace leviathan
