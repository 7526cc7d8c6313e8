// Parts of the model's files in page-locked memory: the page cache's own pages, mapped and registered with CUDA. A GPU copies
// from there at its link's rate, and no thread has to read. The CPU never touches these addresses: a page that the disk cannot
// deliver fails the registration, with an error instead of a signal.
#include <cuda_runtime.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <string>

namespace {
constexpr int kPopulateRead = 22; // MADV_POPULATE_READ, which older headers lack

thread_local std::string trouble;

struct WhileCapturing { // another thread may be capturing a CUDA graph, which forbids registering in any other mode
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  WhileCapturing() { cudaThreadExchangeStreamCaptureMode(&mode); }
  ~WhileCapturing() { cudaThreadExchangeStreamCaptureMode(&mode); }
};
} // namespace

#define LEVIATHAN_API extern "C" __attribute__((visibility("default")))

// `bytes` bytes of a file from `offset`, a multiple of the page size, for all GPUs; their address, or null. Bytes that the page
// cache does not have are read from the disk.
LEVIATHAN_API void* leviathan_page_lock(int file, int64_t offset, int64_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, offset);
  if (at == MAP_FAILED) {
    trouble = std::string("the model's file cannot be mapped: ") + strerror(errno);
    return nullptr;
  }
  // Reads from the disk without holding up CUDA. Before Linux 5.14 that is an invalid argument, and the registration reads.
  if (madvise(at, bytes, kPopulateRead) != 0 && errno != EINVAL) {
    trouble = std::string("the model's file cannot be read: ") + strerror(errno);
    munmap(at, bytes);
    return nullptr;
  }
  const WhileCapturing allowed;
  const cudaError_t code = cudaHostRegister(at, bytes, cudaHostRegisterPortable | cudaHostRegisterReadOnly);
  if (code == cudaSuccess) return at;
  cudaGetLastError(); // or the next launch reports it
  munmap(at, bytes);
  trouble = std::string("CUDA cannot page-lock the model's file: ") + cudaGetErrorString(code);
  return nullptr;
}

LEVIATHAN_API void leviathan_page_unlock(void* at, int64_t bytes) {
  cudaHostUnregister(at);
  munmap(at, bytes);
}

// Why the thread's last leviathan_page_lock returned null.
LEVIATHAN_API const char* leviathan_page_lock_error() { return trouble.c_str(); }
