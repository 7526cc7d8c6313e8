// As much of CUDA as the kernels of decoding use, on the CPU: the threads of a block are coroutines that run to the next barrier or shuffle.
// Blocks run one after another, so a kernel that relies on their order is not found out; one that forgets a barrier is, by `late`.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#define __device__
#define __host__
#define __global__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define LEVIATHAN_LAUNCH(kernel, grid, threads, stream, ...) fake::launch(grid, threads, [&] { kernel(__VA_ARGS__); })

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint2 { uint32_t x, y; };
struct uint4 { uint32_t x, y, z, w; };
struct float4 { float x, y, z, w; };
enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };
using cudaStream_t = void*;
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
using std::min;

inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace fake {
constexpr size_t kStack = 256 << 10;
struct Thread {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(kStack);
  bool ended = false;
  long warp_turn = 0, block_turn = 0; // barriers passed
};
inline ucontext_t scheduler;
inline std::vector<Thread> threads;
inline const std::function<void()>* body;
inline unsigned current, count;
inline uint32_t lanes[1024];

inline void begin() {
  (*body)();
  threads[current].ended = true;
  swapcontext(&threads[current].context, &scheduler);
}

inline void yield() { swapcontext(&threads[current].context, &scheduler); }

// Waits until all threads from `first` to before `last` that have not ended have come as far.
inline void barrier(long Thread::*turn, unsigned first, unsigned last) {
  const long mine = ++(threads[current].*turn);
  for (;;) {
    bool all = true;
    for (unsigned i = first; i < last; i++) all = all && (threads[i].ended || threads[i].*turn >= mine);
    if (all) return;
    yield();
  }
}

inline void warp_barrier() { barrier(&Thread::warp_turn, current / 32 * 32, std::min(count, current / 32 * 32 + 32)); }

inline void launch(dim3 grid, unsigned number, const std::function<void()>& kernel) {
  gridDim = grid, blockDim = dim3(number), count = number, body = &kernel;
  if (threads.size() < number) threads.resize(number);
  for (unsigned y = 0; y < grid.y; y++)
    for (unsigned x = 0; x < grid.x; x++) {
      for (unsigned i = 0; i < number; i++) {
        Thread& t = threads[i];
        t.ended = false, t.warp_turn = t.block_turn = 0;
        getcontext(&t.context);
        t.context.uc_stack.ss_sp = t.stack.data(), t.context.uc_stack.ss_size = kStack, t.context.uc_link = nullptr;
        makecontext(&t.context, begin, 0);
      }
      // The last thread goes first: whoever reads what an earlier one writes must wait for it.
      for (bool left = true; left;) {
        left = false;
        for (unsigned i = number; i-- > 0;) {
          if (threads[i].ended) continue;
          left = true, current = i;
          threadIdx = dim3(i), blockIdx = dim3(x, y);
          swapcontext(&scheduler, &threads[i].context);
        }
      }
    }
}
} // namespace fake

inline void __syncthreads() { fake::barrier(&fake::Thread::block_turn, 0, fake::count); }
inline void __syncwarp() { fake::warp_barrier(); }
template <class T> T __shfl_xor_sync(unsigned, T v, int mask) {
  static_assert(sizeof(T) == 4, "a word");
  const unsigned me = fake::current;
  memcpy(&fake::lanes[me], &v, 4);
  fake::warp_barrier();
  T out;
  memcpy(&out, &fake::lanes[me ^ (unsigned)mask], 4);
  fake::warp_barrier();
  return out;
}
inline float __uint_as_float(uint32_t bits) {
  float out;
  return memcpy(&out, &bits, 4), out;
}
template <class T> T atomicAdd(T* at, T v) { return std::exchange(*at, *at + v); }
