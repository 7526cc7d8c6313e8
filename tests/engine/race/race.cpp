// Constructs, uses and destroys KTransformers' task queue over and over, to meet the races at its start and its end.
//
//   race start SECONDS    TaskQueue in memory full of ones, one task, sync, destroy; the new thread gets a head start
//   race load SECONDS     the same with the scheduler left alone, on a machine kept busy by spinning threads
//   race end SECONDS      CPUInfer destroyed with tasks still queued, which use its worker threads
//   race crowd SECONDS    tasks one after another on four times as many threads as there are CPUs
//
// Prints the number of rounds and exits 0; exits 3 when a round makes no progress for four seconds, 4 for a wrong sum.
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "cpuinfer.h"

using Clock = std::chrono::steady_clock;

static std::atomic<long> rounds{0};
static std::atomic<bool> head_start{false};

// Whoever starts a thread may lose the CPU to it at once. Here that happens every time.
extern "C" int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*body)(void *), void *arg) {
    using Create = int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    static Create original = reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"));
    int result = original(thread, attr, body, arg);
    if (head_start.load()) {
        usleep(2000);
    }
    return result;
}

static void watch() {
    long seen = -1;
    while (true) {
        std::this_thread::sleep_for(std::chrono::seconds(4));
        long now = rounds.load();
        if (now == seen) {
            std::printf("hang after %ld rounds\n", now);
            std::fflush(stdout);
            _exit(3);
        }
        seen = now;
    }
}

static void start_round() {
    alignas(TaskQueue) static unsigned char memory[sizeof(TaskQueue)];
    std::memset(memory, 0xff, sizeof memory); // what the previous owner of the memory left
    auto *queue = new (memory) TaskQueue();
    std::atomic<int> done{0};
    queue->enqueue([&done] { done = 1; });
    queue->sync();
    if (done != 1) {
        std::printf("sync returned before the task was done\n");
        std::fflush(stdout);
        _exit(4);
    }
    queue->~TaskQueue();
}

struct Job {
    std::atomic<int> *sum;
    void run(Backend *backend) {
        backend->do_work_stealing_job(8, nullptr, [this](int) { sum->fetch_add(1); }, nullptr);
    }
};

static void end_round() {
    std::atomic<int> sum{0};
    Job job{&sum};
    auto *infer = new CPUInfer(3);
    for (int i = 0; i < 5; i++) {
        infer->enqueue(&Job::run, &job);
    }
    delete infer;
    if (sum != 40) {
        std::printf("%d of 40 pieces of work were done\n", sum.load());
        std::fflush(stdout);
        _exit(4);
    }
}

static void crowd_round() {
    static auto *infer = new CPUInfer(4 * std::thread::hardware_concurrency() + 1);
    std::atomic<int> sum{0};
    Job job{&sum};
    infer->enqueue(&Job::run, &job);
    infer->sync();
    if (sum != 8) {
        std::printf("%d of 8 pieces of work were done\n", sum.load());
        std::fflush(stdout);
        _exit(4);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: race start|load|end|crowd SECONDS\n");
        return 2;
    }
    std::string mode = argv[1];
    auto deadline = Clock::now() + std::chrono::seconds(std::atoi(argv[2]));
    std::thread(watch).detach();
    if (mode == "load") {
        for (unsigned i = 0; i < 4 * std::thread::hardware_concurrency(); i++) {
            std::thread([] { for (volatile unsigned long n = 0;; n = n + 1) {} }).detach();
        }
    }
    head_start = mode == "start";
    while (Clock::now() < deadline) {
        if (mode == "end") {
            end_round();
        } else if (mode == "crowd") {
            crowd_round();
        } else {
            start_round();
        }
        rounds++;
    }
    std::printf("%ld rounds\n", rounds.load());
    std::fflush(stdout);
    _exit(0);
}
