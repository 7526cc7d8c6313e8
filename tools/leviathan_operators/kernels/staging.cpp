// Expert weights from the model's files to a GPU: read by several threads into page-locked memory, copied from there by
// the link's own engine, in order, a ring ahead of the computation.
//
// An item is one expert: a few runs of bytes in files, each with its place in the item's slot. Item i takes slot
// i % slots of both rings. A reader fills the page-locked slot once its last copy is over, queues the copy once the
// computation on the slot's last item has been queued (the copy waits for it on the GPU), and goes to the next item.
// The caller takes items in order: `wait` makes its stream wait for the copy, `release` marks the computation's end.
//
// Files are read with pread, not through a mapping: a disk's failure is an error here, not a signal.
#include <cuda_runtime.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Run { // bytes of a file, and where in the slot they go
  int64_t file, offset, bytes, to;
};

struct Figures { // totals since creation; seconds are summed over the readers, except `caller`
  double read, link, compute, caller;
  int64_t bytes, from_disk;
};

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

int64_t disk_bytes() { // that this thread has had fetched: what the page cache did not have
  rusage usage;
  return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_inblock * 512 : 0;
}

struct OnDevice { // makes a device the thread's own until the end of the scope
  int before = 0;
  cudaError_t code;
  explicit OnDevice(int device) {
    code = cudaGetDevice(&before);
    if (code == cudaSuccess) code = cudaSetDevice(device);
  }
  ~OnDevice() { cudaSetDevice(before); }
};

class Ring {
 public:
  Ring(int device, int slots, int64_t slot_bytes, uint8_t* on_device) : device_(device), slots_(slots), slot_bytes_(slot_bytes), on_device_(on_device) {}

  bool create(int threads) {
    const OnDevice here(device_);
    if (failed(here.code, "the GPU") || failed(cudaHostAlloc((void**)&pinned_, slots_ * slot_bytes_, cudaHostAllocPortable), "page-locked memory") ||
        failed(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "a stream"))
      return false;
    copied_.resize(slots_), computed_.resize(slots_);
    for (auto* events : {&copied_, &computed_})
      for (auto& event : *events)
        if (failed(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event")) return false;
    for (int i = 0; i < threads; i++) readers_.emplace_back(&Ring::read_items, this);
    return true;
  }

  ~Ring() {
    stop_items();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    changed_.notify_all();
    for (auto& reader : readers_) reader.join();
    if (copies_) cudaStreamDestroy(copies_);
    for (auto* events : {&copied_, &computed_})
      for (auto& event : *events)
        if (event) cudaEventDestroy(event);
    if (pinned_) cudaFreeHost(pinned_);
  }

  // Ends what was begun before, then starts on these items: `ends[i]` is the index after item i's last run.
  int begin(const Run* runs, const int64_t* ends, int64_t items) {
    stop_items();
    const OnDevice here(device_);
    // The slots' events belong to what was begun before: nothing may be left of it on the device.
    if (failed(cudaDeviceSynchronize(), "earlier work on the GPU")) return 1;
    std::lock_guard<std::mutex> lock(mutex_);
    for (int64_t i = 0, run = 0; i < items; i++)
      for (; run < ends[i]; run++)
        if (runs[run].to < 0 || runs[run].bytes < 0 || runs[run].to + runs[run].bytes > slot_bytes_) return fail_locked("an expert is larger than its slot");
    runs_.assign(runs, runs + (items ? ends[items - 1] : 0));
    ends_.assign(ends, ends + items);
    queued_.assign(items, 0);
    next_ = released_ = 0;
    stopping_ = false;
    error_.clear();
    changed_.notify_all();
    return 0;
  }

  // Has `stream` wait for item `item`; its slot's address, null on failure.
  uint8_t* wait(int64_t item, cudaStream_t stream) {
    const double began = now();
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || !error_.empty() || item >= (int64_t)queued_.size() || queued_[item]; });
    figures_.caller += now() - began;
    if (!error_.empty()) return nullptr;
    if (stopping_ || item >= (int64_t)queued_.size()) {
      fail_locked("this expert was not asked for");
      return nullptr;
    }
    const int slot = item % slots_;
    if (failed_locked(cudaStreamWaitEvent(stream, copied_[slot], 0), "waiting for a copy")) return nullptr;
    return on_device_ + slot * slot_bytes_;
  }

  // What was queued on `stream` so far is the last that reads items up to `item`.
  int release(int64_t item, cudaStream_t stream) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (failed_locked(cudaEventRecord(computed_[item % slots_], stream), "marking a computation")) return 1;
    released_ = item + 1;
    changed_.notify_all();
    return 0;
  }

  void stop_items() {
    std::unique_lock<std::mutex> lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return busy_ == 0; });
    next_ = ends_.size();
  }

  Figures figures() {
    std::lock_guard<std::mutex> lock(mutex_);
    return figures_;
  }

  std::string error() {
    std::lock_guard<std::mutex> lock(mutex_);
    return error_;
  }

 private:
  bool failed(cudaError_t code, const char* what) {
    if (code == cudaSuccess) return false;
    std::lock_guard<std::mutex> lock(mutex_);
    return failed_locked(code, what);
  }

  bool failed_locked(cudaError_t code, const char* what) {
    if (code == cudaSuccess) return false;
    fail_locked(std::string(what) + ": " + cudaGetErrorString(code));
    return true;
  }

  int fail_locked(const std::string& text) {
    if (error_.empty()) error_ = text;
    changed_.notify_all();
    return 1;
  }

  void read_items() {
    cudaSetDevice(device_);
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return ending_ || (!stopping_ && error_.empty() && next_ < (int64_t)ends_.size()); });
      if (ending_) return;
      const int64_t item = next_++;
      busy_++;
      take(item, lock);
      busy_--;
      changed_.notify_all();
    }
  }

  // Reads one item and queues its copy; `lock` is held, and given up while something takes time.
  void take(int64_t item, std::unique_lock<std::mutex>& lock) {
    const int slot = item % slots_;
    uint8_t* const to = pinned_ + slot * slot_bytes_;
    const bool again = item >= slots_;
    double began = now();
    // The slot's copy has been queued when its item was released, and is over when its event is.
    if (!until(lock, [&] { return !again || queued_[item - slots_]; })) return;
    lock.unlock();
    const cudaError_t over = again ? cudaEventSynchronize(copied_[slot]) : cudaSuccess;
    const double linked = now() - began;
    began = now();
    const int64_t before = disk_bytes();
    std::string trouble;
    int64_t bytes = 0;
    for (int64_t r = item ? ends_[item - 1] : 0; r < ends_[item] && trouble.empty() && !stopping_; r++) {
      trouble = read_run(runs_[r], to);
      bytes += runs_[r].bytes;
    }
    const double read = now() - began;
    const int64_t fetched = disk_bytes() - before;
    lock.lock();
    figures_.link += linked, figures_.read += read, figures_.bytes += bytes, figures_.from_disk += fetched;
    if (failed_locked(over, "copies to the GPU")) return;
    if (!trouble.empty()) {
      fail_locked(trouble);
      return;
    }
    began = now();
    if (!until(lock, [&] { return !again || released_ > item - slots_; })) return;
    figures_.compute += now() - began;
    if (again && failed_locked(cudaStreamWaitEvent(copies_, computed_[slot], 0), "a slot on the GPU")) return;
    if (failed_locked(cudaMemcpyAsync(on_device_ + slot * slot_bytes_, to, used(item), cudaMemcpyHostToDevice, copies_), "a copy to the GPU")) return;
    if (failed_locked(cudaEventRecord(copied_[slot], copies_), "marking a copy")) return;
    queued_[item] = 1;
  }

  template <class F> bool until(std::unique_lock<std::mutex>& lock, F done) {
    changed_.wait(lock, [&] { return stopping_ || !error_.empty() || done(); });
    return !stopping_ && error_.empty();
  }

  int64_t used(int64_t item) const {
    int64_t end = 0;
    for (int64_t r = item ? ends_[item - 1] : 0; r < ends_[item]; r++) end = runs_[r].to + runs_[r].bytes > end ? runs_[r].to + runs_[r].bytes : end;
    return end;
  }

  std::string read_run(const Run& run, uint8_t* slot) {
    for (int64_t done = 0; done < run.bytes;) {
      const ssize_t got = pread(run.file, slot + run.to + done, run.bytes - done, run.offset + done);
      if (got > 0) {
        done += got;
      } else if (got == 0) {
        return "the model's file has become shorter";
      } else if (errno != EINTR) {
        return std::string("the model's file cannot be read: ") + strerror(errno);
      }
    }
    return "";
  }

  const int device_, slots_;
  const int64_t slot_bytes_;
  uint8_t* const on_device_;
  uint8_t* pinned_ = nullptr;
  cudaStream_t copies_ = nullptr;
  std::vector<cudaEvent_t> copied_, computed_;
  std::vector<std::thread> readers_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Run> runs_;
  std::vector<int64_t> ends_;
  std::vector<char> queued_;
  int64_t next_ = 0, released_ = 0;
  int busy_ = 0;
  std::atomic<bool> stopping_{true};
  bool ending_ = false;
  std::string error_;
  Figures figures_ = {};
};

thread_local std::string last_error;

} // namespace

#define LEVIATHAN_API extern "C" __attribute__((visibility("default")))

// A ring of `slots` of `slot_bytes` (a multiple of 256) with the device's part at `on_device`; null on failure.
LEVIATHAN_API void* leviathan_ring_create(int device, int slots, int64_t slot_bytes, void* on_device, int threads) {
  Ring* ring = new Ring(device, slots, slot_bytes, (uint8_t*)on_device);
  if (ring->create(threads)) return ring;
  last_error = ring->error();
  delete ring;
  return nullptr;
}

LEVIATHAN_API void leviathan_ring_destroy(void* ring) { delete (Ring*)ring; }

// runs: four int64 each (file descriptor, offset, bytes, place in the slot); ends: int64 for each item.
LEVIATHAN_API int leviathan_ring_begin(void* ring, const int64_t* runs, const int64_t* ends, int64_t items) {
  return ((Ring*)ring)->begin((const Run*)runs, ends, items);
}

LEVIATHAN_API void* leviathan_ring_wait(void* ring, int64_t item, void* stream) { return ((Ring*)ring)->wait(item, (cudaStream_t)stream); }

LEVIATHAN_API int leviathan_ring_release(void* ring, int64_t item, void* stream) { return ((Ring*)ring)->release(item, (cudaStream_t)stream); }

LEVIATHAN_API void leviathan_ring_stop(void* ring) { ((Ring*)ring)->stop_items(); }

// out: seconds of reading, of waiting for the link, for the computation, of the caller's waiting; bytes read, and of
// them bytes that came from the disk.
LEVIATHAN_API void leviathan_ring_figures(void* ring, double* out) {
  const Figures f = ((Ring*)ring)->figures();
  out[0] = f.read, out[1] = f.link, out[2] = f.compute, out[3] = f.caller, out[4] = (double)f.bytes, out[5] = (double)f.from_disk;
}

// What went wrong, for this ring or, with null, for the last one that could not be made.
LEVIATHAN_API const char* leviathan_ring_error(void* ring) {
  if (ring) last_error = ((Ring*)ring)->error();
  return last_error.c_str();
}
