// SPDX-License-Identifier: Apache-2.0
#include "ledger/thread-pool.h"

#include <kj/debug.h>

#include <algorithm>
#include <thread>

#include <sched.h>

namespace ledger {

ThreadPool::ThreadPool(unsigned threads) {
  KJ_REQUIRE(threads >= 1, "a pool has at least its caller");
  KJ_ON_SCOPE_FAILURE(stop());  // Those that there are would wait for ever.
  for (unsigned i = 1; i < threads; ++i) {
    helpers.add(kj::heap<kj::Thread>([this]() { help(); }));
  }
}

ThreadPool::~ThreadPool() noexcept(false) {
  stop();
  helpers.clear();
}

void ThreadPool::stop() {
  std::lock_guard lock(mutex);
  stopping = true;
  wakeHelpers.notify_all();
}

const ThreadPool& ThreadPool::none() {
  static const ThreadPool NONE(1);
  return NONE;
}

unsigned ThreadPool::processors() {
  cpu_set_t allowed;
  // Fails where the machine has more than the set can name.
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return CPU_COUNT(&allowed);
  return std::max(std::thread::hardware_concurrency(), 1u);
}

void ThreadPool::forEach(size_t count, size_t size,
                         kj::FunctionParam<void(size_t, size_t)> piece) const {
  KJ_REQUIRE(size >= 1);
  if (count == 0) return;
  if (helpers.size() == 0 || count <= size) {
    for (size_t begin = 0; begin < count; begin += size) {
      piece(begin, std::min(begin + size, count));
    }
    return;
  }
  Job job{.piece = piece, .count = count, .size = size, .failure = nullptr};
  const auto pieces = (count + size - 1) / size;
  {
    std::lock_guard lock(mutex);
    jobs.add(&job);
  }
  for (size_t i = 0; i < std::min(pieces - 1, helpers.size()); ++i) wakeHelpers.notify_one();
  work(job);
  {
    std::unique_lock lock(mutex);
    jobs.truncate(std::remove(jobs.begin(), jobs.end(), &job) - jobs.begin());
    helpersDone.wait(lock, [&]() { return job.helping == 0; });
  }
  KJ_IF_MAYBE (exception, job.failure) kj::throwFatalException(kj::mv(*exception));
}

void ThreadPool::work(Job& job) const {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 for (size_t begin; (begin = job.next.fetch_add(job.size)) < job.count;) {
                   job.piece(begin, std::min(begin + job.size, job.count));
                 }
               })) {
    std::lock_guard lock(mutex);
    job.next = job.count;
    if (job.failure == nullptr) job.failure = kj::mv(*exception);
  }
}

void ThreadPool::help() {
  auto hasPieces = [](const Job* job) { return job->next.load() < job->count; };
  std::unique_lock lock(mutex);
  for (;;) {
    auto found = jobs.end();
    wakeHelpers.wait(lock, [&]() {
      found = std::find_if(jobs.begin(), jobs.end(), hasPieces);
      return stopping || found != jobs.end();
    });
    if (found == jobs.end()) return;
    auto& job = **found;
    ++job.helping;
    lock.unlock();
    work(job);
    lock.lock();
    // Its caller may return as soon as the lock is free.
    if (--job.helping == 0) helpersDone.notify_all();
  }
}

}  // namespace ledger
