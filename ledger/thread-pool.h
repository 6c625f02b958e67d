// SPDX-License-Identifier: Apache-2.0
#pragma once
// Threads that help a caller with work that can be cut into pieces.
//
// The caller takes pieces as well, and only ever waits for pieces that have begun: so a call ends
// even if every other thread is busy, and calls may come from many threads at once, which then
// share the helpers. Which thread takes a piece is left to chance; the results must not depend on
// it.

#include <kj/array.h>
#include <kj/exception.h>
#include <kj/function.h>
#include <kj/thread.h>
#include <kj/vector.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace ledger {

// Thread: const methods from any thread, but not from within a piece.
class ThreadPool final {
public:
  // `threads` counts the caller: 1 makes no thread.
  explicit ThreadPool(unsigned threads);

  // Joins. No call may be under way.
  ~ThreadPool() noexcept(false);
  KJ_DISALLOW_COPY(ThreadPool);

  // For callers that work alone.
  static const ThreadPool& none();

  // As many as this process may run on, by its affinity.
  static unsigned processors();

  unsigned threads() const { return helpers.size() + 1; }

  // Calls piece(begin, end) for ranges of at most `size` things that together are [0, count), each
  // once, on several threads at a time, and returns when all are done. An exception lets pieces
  // that have not begun undone, and comes out here.
  void forEach(size_t count, size_t size,
               kj::FunctionParam<void(size_t begin, size_t end)> piece) const;

private:
  // One call of forEach(), on its caller's stack.
  struct Job {
    kj::FunctionParam<void(size_t, size_t)>& piece;
    const size_t count;
    const size_t size;
    std::atomic<size_t> next{0};  // The first thing that no thread has taken.
    unsigned helping = 0;         // Under the pool's lock, as the next.
    kj::Maybe<kj::Exception> failure;
  };
  void help();
  void work(Job& job) const;
  void stop();

  // Not kj::MutexGuarded: that hands its lock over to who waits for a condition before it wakes it,
  // and a caller must not wait for a thread that has not even woken.
  mutable std::mutex mutex;
  mutable std::condition_variable wakeHelpers, helpersDone;
  mutable kj::Vector<Job*> jobs;  // Perhaps with pieces left, oldest first. Guarded, as the next.
  bool stopping = false;
  kj::Vector<kj::Own<kj::Thread>> helpers;  // Last: they end first.
};

}  // namespace ledger
