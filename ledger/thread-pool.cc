// SPDX-License-Identifier: Apache-2.0
#include "ledger/thread-pool.h"

#include <kj/debug.h>

#include <algorithm>
#include <thread>

namespace ledger {

ThreadPool::ThreadPool(unsigned threads) {
  KJ_REQUIRE(threads >= 1, "a pool has at least its caller");
  for (unsigned i = 1; i < threads; ++i) {
    helpers.add(kj::heap<kj::Thread>([this]() { help(); }));
  }
}

ThreadPool::~ThreadPool() noexcept(false) {
  state.lockExclusive()->stopping = true;
  helpers.clear();
}

const ThreadPool& ThreadPool::none() {
  static const ThreadPool NONE(1);
  return NONE;
}

unsigned ThreadPool::processors() {
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
  state.lockExclusive()->jobs.add(&job);
  work(job);
  state.when([&](const State&) { return job.helping == 0; },
             [&](State& state) {
               auto kept = std::remove(state.jobs.begin(), state.jobs.end(), &job);
               state.jobs.truncate(kept - state.jobs.begin());
             });
  KJ_IF_MAYBE (exception, job.failure) kj::throwFatalException(kj::mv(*exception));
}

void ThreadPool::work(Job& job) const {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 for (size_t begin; (begin = job.next.fetch_add(job.size)) < job.count;) {
                   job.piece(begin, std::min(begin + job.size, job.count));
                 }
               })) {
    auto lock = state.lockExclusive();
    job.next = job.count;
    if (job.failure == nullptr) job.failure = kj::mv(*exception);
  }
}

void ThreadPool::help() {
  auto hasPieces = [](const Job* job) { return job->next.load() < job->count; };
  for (;;) {
    Job* job = nullptr;
    state.when(
        [&](const State& state) {
          return state.stopping || std::any_of(state.jobs.begin(), state.jobs.end(), hasPieces);
        },
        [&](State& state) {
          auto found = std::find_if(state.jobs.begin(), state.jobs.end(), hasPieces);
          if (found == state.jobs.end()) return;
          job = *found;
          ++job->helping;
        });
    if (job == nullptr) {
      if (state.lockShared()->stopping) return;
      continue;
    }
    work(*job);
    // The job's caller may be gone as soon as the lock is.
    auto lock = state.lockExclusive();
    --job->helping;
  }
}

}  // namespace ledger
