/* What nvcc's host pass has and clang's lacks. Included first in every pass over CUDA source.
 *
 * CUDA's crt/math_functions.hpp declares ::min and ::max for every mixture of integer and floating types as host and
 * device functions; clang's wrapper header reads that file with __host__ taken away, so host code finds none of them.
 * The overload set and the result types are those of that file (the usual arithmetic conversions of the two types).
 */
#ifndef LEVIATHAN_NVCC_H
#define LEVIATHAN_NVCC_H

#if defined(__cplusplus) && defined(__CUDA__)

#define LEVIATHAN_MIN_MAX(result, left, right)                                             \
  static inline __attribute__((host)) constexpr result min(const left a, const right b) { \
    return static_cast<result>(a) < static_cast<result>(b) ? static_cast<result>(a)        \
                                                           : static_cast<result>(b);       \
  }                                                                                        \
  static inline __attribute__((host)) constexpr result max(const left a, const right b) { \
    return static_cast<result>(a) > static_cast<result>(b) ? static_cast<result>(a)        \
                                                           : static_cast<result>(b);       \
  }
#define LEVIATHAN_MIN_MAX_SIGNS(type)                               \
  LEVIATHAN_MIN_MAX(type, type, type)                               \
  LEVIATHAN_MIN_MAX(unsigned type, unsigned type, unsigned type)    \
  LEVIATHAN_MIN_MAX(unsigned type, type, unsigned type)             \
  LEVIATHAN_MIN_MAX(unsigned type, unsigned type, type)

LEVIATHAN_MIN_MAX_SIGNS(int)
LEVIATHAN_MIN_MAX_SIGNS(long int)
LEVIATHAN_MIN_MAX_SIGNS(long long int)

#undef LEVIATHAN_MIN_MAX_SIGNS
#undef LEVIATHAN_MIN_MAX

/* NaN and signed zeros as fmin and fmax treat them. */
static inline __attribute__((host)) float min(const float a, const float b) { return __builtin_fminf(a, b); }
static inline __attribute__((host)) float max(const float a, const float b) { return __builtin_fmaxf(a, b); }
static inline __attribute__((host)) double min(const double a, const double b) { return __builtin_fmin(a, b); }
static inline __attribute__((host)) double max(const double a, const double b) { return __builtin_fmax(a, b); }
static inline __attribute__((host)) double min(const float a, const double b) { return __builtin_fmin(a, b); }
static inline __attribute__((host)) double max(const float a, const double b) { return __builtin_fmax(a, b); }
static inline __attribute__((host)) double min(const double a, const float b) { return __builtin_fmin(a, b); }
static inline __attribute__((host)) double max(const double a, const float b) { return __builtin_fmax(a, b); }

#endif
#endif
