// kernels/staging.cpp over the CPU's stand-in for CUDA: `staging_run FOLDER`. Prints what failed; exit code 1.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>

#include <atomic>
#include <string>
#include <vector>

#include "cuda_runtime.h"

extern "C" {
void* leviathan_ring_create(int, int, int64_t, void*, int, int64_t);
void leviathan_ring_destroy(void*);
int leviathan_ring_begin(void*, const int64_t*, const int64_t*, int64_t);
void* leviathan_ring_wait(void*, int64_t, void*);
int leviathan_ring_release(void*, int64_t, void*);
int leviathan_ring_skip(void*, const int64_t*, int64_t);
void leviathan_ring_page_locked(void*, int64_t, int64_t, int64_t, const void*);
void* leviathan_page_lock(int, int64_t, int64_t);
void leviathan_page_unlock(void*, int64_t);
const char* leviathan_page_lock_error();
void leviathan_ring_stop(void*);
void leviathan_ring_figures(void*, double*);
const char* leviathan_ring_error(void*);
}

constexpr int kSlots = 4, kThreads = 3, kItems = 80, kGroup = 24;
constexpr int64_t kPiece = 128, kSlotBytes = 4096, kFileBytes = 1 << 20;
std::atomic<int> failures{0};

void check(bool ok, const std::string& what) {
  if (ok) return;
  failures++;
  printf("failed: %s\n", what.c_str());
}

uint8_t byte_at(int64_t offset) { return (uint8_t)(offset * 2654435761u >> 13); }

struct Work { // items of three runs each, all over the file
  std::vector<int64_t> runs, ends;
  explicit Work(int file, int items, int64_t from, int64_t least = 300, int slow = 0) { // slow: of so many items one is longer
    for (int i = 0; i < items; i++) {
      const int64_t longer = slow && i % slow == 1 ? 900 : 0;
      for (int r = 0; r < 3; r++)
        for (int64_t v : {(int64_t)file, (from + 7919 * (3 * i + r)) % (kFileBytes - 1000), (least + i % 50 + r + longer), (int64_t)1024 * r}) runs.push_back(v);
      ends.push_back(3 * (i + 1));
    }
  }
};

// Takes items 0 to `until` in order; each is compared on the stream, as a computation would read it. Of `every` items one
// is waited for, and the others are left out when the first of their group comes up, as a layer does.
void consume(void* ring, const Work& work, int until, cudaStream_t stream, const char* what, int every = 1) {
  for (int i = 0; i < until; i++) {
    if (i % kGroup == 0 && every > 1) {
      std::vector<int64_t> unused;
      for (int64_t k = i; k < i + kGroup && k < until; k++)
        if (k % every) unused.push_back(k);
      check(leviathan_ring_skip(ring, unused.data(), (int64_t)unused.size()) == 0, std::string(what) + ": skip");
    }
    if (i % every) {
      check(leviathan_ring_release(ring, i, stream) == 0, std::string(what) + ": release");
      continue;
    }
    auto* slot = (const uint8_t*)leviathan_ring_wait(ring, i, stream);
    check(slot != nullptr, std::string(what) + ": " + leviathan_ring_error(ring));
    if (!slot) return;
    stream->add([&work, slot, i, what] {
      for (int r = 3 * i; r < 3 * i + 3; r++) {
        const int64_t offset = work.runs[4 * r + 1], bytes = work.runs[4 * r + 2], to = work.runs[4 * r + 3];
        for (int64_t k = 0; k < bytes; k++)
          if (slot[to + k] != byte_at(offset + k)) return check(false, std::string(what) + ": other bytes in item " + std::to_string(i));
      }
    });
    check(leviathan_ring_release(ring, i, stream) == 0, std::string(what) + ": release");
  }
}

int main(int, char** argv) {
  const std::string path = std::string(argv[1]) + "/weights";
  FILE* out = fopen(path.c_str(), "wb");
  for (int64_t i = 0; i < kFileBytes; i++) fputc(byte_at(i), out);
  fclose(out);
  const int file = open(path.c_str(), O_RDONLY);
  std::vector<uint8_t> device(kSlots * kSlotBytes);
  cudaStream_t stream;
  cudaStreamCreateWithFlags(&stream, 0);

  void* ring = leviathan_ring_create(0, kSlots, kSlotBytes, device.data(), kThreads, kPiece);
  const Work first(file, kItems, 11), second(file, kItems, 500009);
  for (int round = 0; round < 6; round++) {
    check(leviathan_ring_begin(ring, first.runs.data(), first.ends.data(), kItems) == 0, "begin");
    consume(ring, first, kItems, stream, "all of it");
    check(leviathan_ring_begin(ring, second.runs.data(), second.ends.data(), kItems) == 0, "begin again");
    consume(ring, second, round * 17 % kItems, stream, "dropped half way");
  }
  double figures[6];
  leviathan_ring_figures(ring, figures);
  check(figures[4] > 6 * kItems * 900.0, "figures: bytes");

  // Items are left out where nobody needs them: the others arrive, and few bytes of what is left out are read.
  // One piece a run, so that a slot's next item is there at once; but a group's second item, which is left out after its
  // reading has begun, takes a while.
  const Work small(file, kItems, 3, 30, kGroup);
  for (int round = 0; round < 600; round++) {
    leviathan_ring_figures(ring, figures);
    const double before = figures[4];
    check(leviathan_ring_begin(ring, small.runs.data(), small.ends.data(), kItems) == 0, "begin with gaps");
    // 6: an item that was begun and left out, then one that is used, in one slot; 7 and 9: another left out in between.
    const int every = round % 2 ? 6 : 7 + round % 4;
    consume(ring, small, kItems, stream, "with gaps", every);
    leviathan_ring_stop(ring);
    leviathan_ring_figures(ring, figures);
    // What the readers had begun when a group came up: as many items as there are slots, at the most.
    const int groups = kItems / kGroup + 1;
    const double most = (kItems / every + 1 + groups * kSlots) * 250.0 + groups * 2700.0;
    check(figures[4] - before <= most, "bytes of items that nobody needs: " + std::to_string(figures[4] - before));
    check(figures[4] - before >= kItems / every * 90.0, "bytes with gaps");
  }
  const int64_t beyond = kItems;
  check(leviathan_ring_begin(ring, first.runs.data(), first.ends.data(), kItems) == 0, "begin before a wrong skip");
  check(leviathan_ring_skip(ring, &beyond, 1) != 0, "an item past the end is left out");

  // Before anything is asked for, and past the end.
  check(leviathan_ring_begin(ring, first.runs.data(), first.ends.data(), 2) == 0, "begin two");
  consume(ring, first, 2, stream, "two");
  check(leviathan_ring_wait(ring, 2, stream) == nullptr, "an item past the end");
  check(std::string(leviathan_ring_error(ring)).find("not asked for") != std::string::npos, leviathan_ring_error(ring));

  Work wide(file, 3, 0);
  wide.runs[2] = kSlotBytes + 1;
  check(leviathan_ring_begin(ring, wide.runs.data(), wide.ends.data(), 3) != 0, "an expert larger than a slot is taken");

  Work past(file, 3, 0);
  past.runs[1] = kFileBytes - 10;
  check(leviathan_ring_begin(ring, past.runs.data(), past.ends.data(), 3) == 0, "begin past the file's end");
  check(leviathan_ring_wait(ring, 0, stream) == nullptr, "bytes past the file's end");
  check(std::string(leviathan_ring_error(ring)).find("shorter") != std::string::npos, leviathan_ring_error(ring));

  Work closed(file, 3, 0);
  closed.runs[0] = 1000; // no such descriptor: what a failing disk gives, an errno
  check(leviathan_ring_begin(ring, closed.runs.data(), closed.ends.data(), 3) == 0, "begin on a closed file");
  check(leviathan_ring_wait(ring, 0, stream) == nullptr, "a file that cannot be read");
  check(std::string(leviathan_ring_error(ring)).find("cannot be read") != std::string::npos, leviathan_ring_error(ring));

  check(leviathan_ring_begin(ring, first.runs.data(), first.ends.data(), kItems) == 0, "begin after failures");
  consume(ring, first, kItems, stream, "after failures");

  // Page-locked runs are not read: this file has no descriptor. A run is one copy.
  const int64_t nowhere = -7;
  auto* locked = (uint8_t*)leviathan_page_lock(file, 0, kFileBytes);
  check(locked != nullptr, leviathan_page_lock_error());
  const Work elsewhere(nowhere, kItems, 11);
  auto lock_runs = [&](const Work& work, const uint8_t* from, int every) { // every run, or one of so many
    for (size_t r = 0; r < work.runs.size(); r += 4 * every) leviathan_ring_page_locked(ring, work.runs[r], work.runs[r + 1], work.runs[r + 2], from ? from + work.runs[r + 1] : nullptr);
  };
  lock_runs(elsewhere, locked, 1);
  fake::largest = 0;
  for (int round = 0; round < 20; round++) {
    check(leviathan_ring_begin(ring, elsewhere.runs.data(), elsewhere.ends.data(), kItems) == 0, "begin on page-locked bytes");
    consume(ring, elsewhere, kItems, stream, "page-locked", 1 + round % 3);
  }
  check((int64_t)fake::largest > kPiece, "pieces of page-locked runs");
  // Of a file, some runs: the others are read, as is a run that is longer than what is locked at its offset.
  lock_runs(first, locked, 2);
  std::vector<uint8_t> wrong(kFileBytes, 0xaa);
  leviathan_ring_page_locked(ring, file, first.runs[5], first.runs[6] - 1, wrong.data());
  for (int round = 0; round < 20; round++) {
    check(leviathan_ring_begin(ring, first.runs.data(), first.ends.data(), kItems) == 0, "begin on half of a file");
    consume(ring, first, kItems, stream, "half page-locked");
  }
  // Unlocked runs are read again, from wherever they were.
  lock_runs(first, wrong.data(), 1);
  leviathan_ring_stop(ring);
  cudaDeviceSynchronize();
  lock_runs(first, nullptr, 1);
  check(leviathan_ring_begin(ring, first.runs.data(), first.ends.data(), kItems) == 0, "begin after unlocking");
  consume(ring, first, kItems, stream, "unlocked");
  lock_runs(first, locked, 1);
  leviathan_ring_begin(ring, first.runs.data(), first.ends.data(), kItems);
  leviathan_ring_destroy(ring); // in the middle
  leviathan_page_unlock(locked, kFileBytes);
  fake::capturing = true;
  locked = (uint8_t*)leviathan_page_lock(file, 4096, 8192);
  check(locked && locked[5] == byte_at(4101), "pages are locked while another thread captures a CUDA graph");
  check(fake::mode == cudaStreamCaptureModeGlobal, "the thread's capture mode is as it was");
  fake::capturing = false;
  leviathan_page_unlock(locked, 8192);
  check(leviathan_page_lock(-1, 0, 4096) == nullptr, "a file that is not open is page-locked");
  check(std::string(leviathan_page_lock_error()).find("cannot be mapped: Bad file") != std::string::npos, leviathan_page_lock_error());

  fake::no_memory = true;
  check(leviathan_ring_create(0, kSlots, kSlotBytes, device.data(), kThreads, kPiece) == nullptr, "a ring without memory");
  check(std::string(leviathan_ring_error(nullptr)).find("page-locked memory: out of memory") != std::string::npos, leviathan_ring_error(nullptr));
  check(leviathan_page_lock(file, 0, 4096) == nullptr, "pages are locked without memory");
  check(std::string(leviathan_page_lock_error()).find("page-lock the model's file: out of memory") != std::string::npos, leviathan_page_lock_error());
  cudaDeviceSynchronize();
  cudaStreamDestroy(stream);
  printf("%d failures\n", failures.load());
  return failures ? 1 : 0;
}
