// Expert weights from the model's files to a GPU: read by several threads into small page-locked buffers, copied from
// there by the link's own engine, a ring of slots on the GPU ahead of the computation.
//
// An item is one expert: a few runs of bytes in files, each with its place in the item's slot. Item i takes slot
// i % slots. A reader waits until the computation on the slot's last item has been queued (its copies wait for it on the
// GPU), then reads the item piece by piece, each into one of its own buffers, and queues a copy of each piece. The
// buffers are few and small so that they can stay in the CPU's cache, and main memory sees each byte once, as it is read.
// The caller takes items in order: `wait` makes its stream wait for the copies, `release` marks the computation's end.
// `skip` names items that the caller will release without waiting for them: those that no reader has begun are not read.
//
// Bytes that are page-locked already (page_locked.cpp) are copied from where they are, a run at once.
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
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

struct Run { // bytes of a file, and where in the slot they go
  int64_t file, offset, bytes, to;
};

constexpr int kBuffers = 2; // of a reader: one is filled while the other is copied

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
  Ring(int device, int slots, int64_t slot_bytes, uint8_t* on_device, int64_t piece)
      : device_(device), slots_(slots), slot_bytes_(slot_bytes), piece_(piece), on_device_(on_device), free_(slots) {}

  bool create(int threads) {
    const OnDevice here(device_);
    if (failed(here.code, "the GPU")) return false;
    computed_.resize(slots_), copied_.resize(slots_), readers_.resize(threads);
    for (auto* events : {&computed_, &copied_})
      for (auto& event : *events)
        if (failed(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event")) return false;
    for (auto& reader : readers_) {
      if (failed(cudaHostAlloc((void**)&reader.memory, kBuffers * piece_, cudaHostAllocPortable), "page-locked memory") ||
          failed(cudaStreamCreateWithFlags(&reader.copies, cudaStreamNonBlocking), "a stream"))
        return false;
      for (auto& event : reader.free)
        if (failed(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event")) return false;
    }
    for (auto& reader : readers_) reader.thread = std::thread(&Ring::read_items, this, &reader);
    return true;
  }

  ~Ring() {
    stop_items();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ending_ = true;
    }
    begun_.notify_all();
    const OnDevice here(device_);
    for (auto& reader : readers_) {
      if (reader.thread.joinable()) reader.thread.join();
      if (reader.copies) cudaStreamSynchronize(reader.copies), cudaStreamDestroy(reader.copies);
      for (auto& event : reader.free)
        if (event) cudaEventDestroy(event);
      if (reader.memory) cudaFreeHost(reader.memory);
    }
    for (auto* events : {&computed_, &copied_})
      for (auto& event : *events)
        if (event) cudaEventDestroy(event);
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
    skipped_.assign(items, 0);
    next_ = released_ = 0;
    stopping_ = false;
    error_.clear();
    begun_.notify_all();
    return 0;
  }

  // Has `stream` wait for item `item`; its slot's address, null on failure.
  uint8_t* wait(int64_t item, cudaStream_t stream) {
    const double began = now();
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [&] { return stopping_ || !error_.empty() || item >= (int64_t)queued_.size() || queued_[item]; });
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

  // The caller does not need these items.
  int skip(const int64_t* items, int64_t count) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (int64_t i = 0; i < count; i++) {
      if (items[i] < 0 || items[i] >= (int64_t)skipped_.size()) return fail_locked("this expert was not asked for");
      skipped_[items[i]] = 1;
      free_[items[i] % slots_].notify_all();
    }
    return 0;
  }

  // What was queued on `stream` so far is the last that reads items up to `item`.
  int release(int64_t item, cudaStream_t stream) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (failed_locked(cudaEventRecord(computed_[item % slots_], stream), "marking a computation")) return 1;
    for (; released_ <= item; released_++) free_[released_ % slots_].notify_all();
    return 0;
  }

  void stop_items() {
    std::unique_lock<std::mutex> lock(mutex_);
    stopping_ = true;
    wake_all();
    done_.wait(lock, [&] { return busy_ == 0; });
    next_ = ends_.size();
  }

  // The `bytes` of `file` from `offset` are page-locked, and lie at `at`; no longer, if `at` is null.
  void page_locked(int64_t file, int64_t offset, int64_t bytes, const uint8_t* at) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (at)
      page_locked_[{file, offset}] = {bytes, at};
    else
      page_locked_.erase({file, offset});
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
  struct Reader {
    std::thread thread;
    uint8_t* memory = nullptr;
    cudaStream_t copies = nullptr;
    cudaEvent_t free[kBuffers] = {}; // the last copy out of that buffer
    int turn = 0;
  };

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
    wake_all();
    return 1;
  }

  void wake_all() {
    done_.notify_all();
    for (auto& slot : free_) slot.notify_all();
  }

  void read_items(Reader* reader) {
    cudaSetDevice(device_);
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      begun_.wait(lock, [&] { return ending_ || (!stopping_ && error_.empty() && next_ < (int64_t)ends_.size()); });
      if (ending_) return;
      const int64_t item = next_++;
      busy_++;
      take(item, reader, lock);
      busy_--;
      done_.notify_all();
    }
  }

  // Where a run's bytes are page-locked; null if they are not.
  const uint8_t* found(const Run& run) {
    const auto part = page_locked_.find({run.file, run.offset});
    return part != page_locked_.end() && part->second.first >= run.bytes ? part->second.second : nullptr;
  }

  // Reads one item and queues its copies; `lock` is held, and given up while something takes time.
  void take(int64_t item, Reader* reader, std::unique_lock<std::mutex>& lock) {
    const int slot = item % slots_;
    const double began = now();
    // The last item in the same slot. If it was skipped after its reading had begun, nobody else waits for its copies, so
    // an item that is skipped at once ends after it, too.
    const int64_t last = item - slots_;
    free_[slot].wait(lock, [&] { return stopping_ || !error_.empty() || last < 0 || (queued_[last] && (skipped_[item] || released_ > last)); });
    if (stopping_ || !error_.empty()) return;
    figures_.compute += now() - began;
    if (skipped_[item]) return queued(item);
    if (last >= 0 && failed_locked(cudaStreamWaitEvent(reader->copies, computed_[slot], 0), "a slot on the GPU")) return;
    if (last >= 0 && failed_locked(cudaStreamWaitEvent(reader->copies, copied_[slot], 0), "a slot's last copies")) return;
    const int64_t first = item ? ends_[item - 1] : 0;
    std::vector<const uint8_t*> sources;
    for (int64_t r = first; r < ends_[item]; r++) sources.push_back(found(runs_[r]));
    lock.unlock();
    Figures took = {};
    const int64_t before = disk_bytes();
    uint8_t* const to = on_device_ + slot * slot_bytes_;
    std::string trouble;
    for (int64_t r = first; r < ends_[item] && trouble.empty(); r++)
      if (const uint8_t* from = sources[r - first]) {
        trouble = copied(cudaMemcpyAsync(to + runs_[r].to, from, runs_[r].bytes, cudaMemcpyHostToDevice, reader->copies));
        took.bytes += runs_[r].bytes;
      } else {
        for (int64_t done = 0; done < runs_[r].bytes && trouble.empty() && !stopping_; done += piece_)
          trouble = read_piece(runs_[r], done, to, reader, &took);
      }
    took.from_disk = disk_bytes() - before;
    lock.lock();
    figures_.read += took.read, figures_.link += took.link, figures_.bytes += took.bytes, figures_.from_disk += took.from_disk;
    if (!trouble.empty()) fail_locked(trouble);
    if (stopping_ || !trouble.empty()) return;
    if (failed_locked(cudaEventRecord(copied_[slot], reader->copies), "marking a copy")) return;
    queued(item);
  }

  void queued(int64_t item) {
    queued_[item] = 1;
    free_[item % slots_].notify_all(); // for the slot's next item
  }

  // A piece of a run into the reader's next buffer, and its copy to the GPU; what went wrong, or nothing.
  std::string read_piece(const Run& run, int64_t done, uint8_t* slot, Reader* reader, Figures* took) {
    const int turn = reader->turn++ % kBuffers;
    uint8_t* const buffer = reader->memory + turn * piece_;
    const int64_t bytes = run.bytes - done < piece_ ? run.bytes - done : piece_;
    const double began = now();
    cudaError_t code = cudaEventSynchronize(reader->free[turn]);
    const double waited = now();
    took->link += waited - began;
    if (code == cudaSuccess) {
      const std::string trouble = read_bytes(run.file, run.offset + done, bytes, buffer);
      if (!trouble.empty()) return trouble;
      took->read += now() - waited, took->bytes += bytes;
      code = cudaMemcpyAsync(slot + run.to + done, buffer, bytes, cudaMemcpyHostToDevice, reader->copies);
    }
    if (code == cudaSuccess) code = cudaEventRecord(reader->free[turn], reader->copies);
    return copied(code);
  }

  // What went wrong with a copy, or nothing.
  static std::string copied(cudaError_t code) { return code == cudaSuccess ? "" : std::string("copies to the GPU: ") + cudaGetErrorString(code); }

  static std::string read_bytes(int file, int64_t offset, int64_t bytes, uint8_t* to) {
    for (int64_t done = 0; done < bytes;) {
      const ssize_t got = pread(file, to + done, bytes - done, offset + done);
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
  const int64_t slot_bytes_, piece_;
  uint8_t* const on_device_;
  std::vector<cudaEvent_t> computed_, copied_;
  std::vector<Reader> readers_;

  std::mutex mutex_;
  // Who waits where. Waking all readers for every item would cost the caller 25 us each time.
  std::condition_variable begun_;             // readers without an item
  std::vector<std::condition_variable> free_; // readers with an item, by its slot
  std::condition_variable done_;              // the caller: an item is queued, or no reader is busy
  std::map<std::pair<int64_t, int64_t>, std::pair<int64_t, const uint8_t*>> page_locked_; // file and offset: bytes, address
  std::vector<Run> runs_;
  std::vector<int64_t> ends_;
  std::vector<char> queued_, skipped_; // queued_: no reader will do more for this item
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

// A ring of `slots` of `slot_bytes` (a multiple of 256) at `on_device`, filled by `threads` readers in pieces of `piece`
// bytes; null on failure.
LEVIATHAN_API void* leviathan_ring_create(int device, int slots, int64_t slot_bytes, void* on_device, int threads, int64_t piece) {
  Ring* ring = new Ring(device, slots, slot_bytes, (uint8_t*)on_device, piece);
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

// items: int64 each, numbers of items that are released without being waited for.
LEVIATHAN_API int leviathan_ring_skip(void* ring, const int64_t* items, int64_t count) { return ((Ring*)ring)->skip(items, count); }

// From now on these bytes of a file, a run, are copied from `at`, which is page-locked; with null they are read again.
LEVIATHAN_API void leviathan_ring_page_locked(void* ring, int64_t file, int64_t offset, int64_t bytes, const void* at) { ((Ring*)ring)->page_locked(file, offset, bytes, (const uint8_t*)at); }

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
