// As much of CUDA's runtime as kernels/staging.cpp and page_locked.cpp call, on the CPU: a stream is a thread that takes its work in order.
#pragma once
#include <stdlib.h>
#include <string.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>

enum cudaError_t { cudaSuccess = 0, cudaErrorMemoryAllocation = 2, cudaErrorStreamCaptureUnsupported = 900 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal = 0, cudaStreamCaptureModeRelaxed = 2 };
constexpr unsigned cudaHostRegisterPortable = 1, cudaHostRegisterReadOnly = 8;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1 };
constexpr unsigned cudaHostAllocPortable = 1, cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2;

namespace fake {
struct Event { // counts: `asked` records were queued, `done` of them have been reached
  std::mutex mutex;
  std::condition_variable changed;
  long asked = 0, done = 0;
  void until(long count) {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return done >= count; });
  }
};

class Stream {
 public:
  Stream() : thread_([this] { work(); }) {}
  ~Stream() {
    add([this] { ending_ = true; });
    thread_.join();
  }
  void add(std::function<void()> task) {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
    changed_.notify_all();
  }
  void finish() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return tasks_.empty() && !running_; });
  }

 private:
  void work() {
    std::minstd_rand random(7);
    while (!ending_) {
      std::function<void()> task;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return !tasks_.empty(); });
        task = std::move(tasks_.front());
        tasks_.pop_front();
        running_ = true;
      }
      if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
      task();
      std::lock_guard<std::mutex> lock(mutex_);
      running_ = false;
      changed_.notify_all();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool running_ = false, ending_ = false;
  std::thread thread_;
};

inline std::mutex all_mutex;
inline std::deque<Stream*> all;
inline bool no_memory = false;
inline size_t largest = 0;     // copy
inline bool capturing = false; // another thread captures a CUDA graph, in the global mode
inline thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
} // namespace fake

using cudaEvent_t = fake::Event*;
using cudaStream_t = fake::Stream*;

inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t code) { return code ? "out of memory" : "no error"; }
inline cudaError_t cudaHostAlloc(void** out, size_t size, unsigned) {
  return (*out = fake::no_memory ? nullptr : malloc(size)) ? cudaSuccess : cudaErrorMemoryAllocation;
}
inline cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) { return std::swap(*mode, fake::mode), cudaSuccess; }
inline cudaError_t cudaHostRegister(void*, size_t, unsigned) {
  if (fake::capturing && fake::mode != cudaStreamCaptureModeRelaxed) return cudaErrorStreamCaptureUnsupported;
  return fake::no_memory ? cudaErrorMemoryAllocation : cudaSuccess;
}
inline cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaFreeHost(void* p) { return free(p), cudaSuccess; }
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned) {
  *out = new fake::Stream;
  std::lock_guard<std::mutex> lock(fake::all_mutex);
  fake::all.push_back(*out);
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t s) {
  {
    std::lock_guard<std::mutex> lock(fake::all_mutex);
    for (auto& one : fake::all)
      if (one == s) one = nullptr;
  }
  return delete s, cudaSuccess;
}
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) { return *out = new fake::Event, cudaSuccess; }
inline cudaError_t cudaEventDestroy(cudaEvent_t event) { return delete event, cudaSuccess; }
inline long asked(cudaEvent_t event) {
  std::lock_guard<std::mutex> lock(event->mutex);
  return event->asked;
}
inline cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  std::lock_guard<std::mutex> lock(event->mutex);
  const long number = ++event->asked;
  stream->add([event, number] {
    std::lock_guard<std::mutex> inner(event->mutex);
    if (number > event->done) event->done = number; // records on several streams may come in another order
    event->changed.notify_all();
  });
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t event) { return event->until(asked(event)), cudaSuccess; }
inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const long number = asked(event);
  stream->add([event, number] { event->until(number); });
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t stream) { return stream->finish(), cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() {
  std::lock_guard<std::mutex> lock(fake::all_mutex);
  for (auto* stream : fake::all)
    if (stream) stream->finish();
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind, cudaStream_t stream) {
  {
    std::lock_guard<std::mutex> lock(fake::all_mutex);
    fake::largest = size > fake::largest ? size : fake::largest;
  }
  stream->add([=] { memcpy(to, from, size); });
  return cudaSuccess;
}
