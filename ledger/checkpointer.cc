// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpointer.h"

#include "ledger/checkpoint/names.h"
#include "ledger/checkpoint/reader.h"
#include "ledger/checkpoint/writer-temporaries.h"
#include "ledger/checkpoint/writer.h"
#include "ledger/hash/default-hashes.h"
#include "ledger/wal/segment.h"

#include <kj/debug.h>

#include <algorithm>
#include <set>

#include <sys/statvfs.h>

namespace ledger {
namespace {

// Between looks at a Stop, and between lines about a checkpoint that goes on.
constexpr kj::Duration STOP_LOOK = 100 * kj::MILLISECONDS;
constexpr kj::Duration REPORT_STEP = 30 * kj::SECONDS;

kj::TimePoint now() {
  return kj::systemPreciseMonotonicClock().now();
}

uint64_t mebibytes(uint64_t bytes) {
  return (bytes + (1 << 19)) >> 20;
}

Error shuttingDown() {
  return makeError(Code::UNAVAILABLE, Reason::SHUTTING_DOWN, "the ledger is shutting down");
}

// Reading back checks all that a reader can check; what was read is of no use.
class Discard final : public CheckpointSink {
public:
  void begin(kj::ArrayPtr<const uint64_t>, uint64_t) override {}
  void leaf(unsigned, uint64_t, unsigned, const Hash&, const Path&, kj::Maybe<Payload>) override {}
  void interior(unsigned, uint64_t, unsigned, const Hash&, ChildRef, ChildRef) override {}
  void trie(ChildRef, uint64_t, uint64_t, const RootHash&) override {}
};

}  // namespace

kj::Maybe<uint64_t> freeSpaceOf(const kj::Directory& directory) {
  KJ_IF_MAYBE (fd, directory.getFd()) {
    struct statvfs disk;
    KJ_SYSCALL(fstatvfs(*fd, &disk));
    return uint64_t(disk.f_bavail) * disk.f_frsize;
  }
  return nullptr;
}

Checkpointer::Checkpointer(kj::Own<const kj::Directory> directoryParam, Start start,
                           CheckpointPolicy policyParam, const SetsInProgress& sets,
                           const Reporter& reporter)
    : directory(kj::mv(directoryParam)),
      capacity(start.capacity),
      policy(kj::mv(policyParam)),
      sets(sets),
      reporter(reporter) {
  KJ_REQUIRE(policy.distance > 0);
  for (auto number : listCheckpoints(*directory)) {
    KJ_IF_MAYBE (loaded, start.checkpoint) {
      if (number <= *loaded) continue;
    }
    unreadable.add(number);
  }
  {
    auto lock = state.lockExclusive();
    for (auto& trie : start.tries) {
      lock->forest.push_back(kj::atomicAddRef(*trie));
      lock->queue.push_back(kj::mv(trie));
    }
    lock->activeSegment = start.activeSegment;
    // As if there were a checkpoint -1 in a directory without any.
    uint64_t due = policy.distance - 1;
    KJ_IF_MAYBE (loaded, start.checkpoint) {
      lock->status.newest = *loaded;
      due = *loaded + policy.distance;
    }
    lock->next = kj::max(lock->activeSegment, due);
  }
  thread = kj::heap<kj::Thread>([this]() { serve(); });
}

Checkpointer::~Checkpointer() noexcept(false) {
  giveUp();
}

void Checkpointer::giveUp() const {
  halt.flag = true;
  state.lockExclusive()->stopping = true;
}

// --- What the log tells ---

void Checkpointer::published(kj::Own<const Trie> trie, LogFollower::State novelty,
                             uint64_t segment) const {
  // Takes the trie in, and returns the one that it pushes out.
  auto push = [this](std::deque<kj::Own<const Trie>>& tries, kj::Own<const Trie> trie) {
    kj::Own<const Trie> oldest;
    if (tries.size() == capacity) {
      oldest = kj::mv(tries.front());
      tries.pop_front();
    }
    tries.push_back(kj::mv(trie));
    return oldest;
  };
  kj::Own<const Trie> evicted, oldest;  // Destroyed after the lock is given back.
  auto lock = state.lockExclusive();
  if (segment > lock->activeSegment) {
    lock->activeSegment = segment;
    if (lock->next <= segment - 1) begin(*lock, segment - 1);
  }
  lock->activeIsEmpty = false;
  if (novelty == LogFollower::State::NEW) evicted = push(lock->forest, kj::atomicAddRef(*trie));
  oldest = push(lock->queue, kj::mv(trie));
}

void Checkpointer::segmentFinished(uint64_t segment) const {
  auto lock = state.lockExclusive();
  lock->activeSegment = segment + 1;
  lock->activeIsEmpty = true;
  lock->isClaimed = false;
  begin(*lock, segment);
}

// As flow-go: where one is running, the next end of a segment asks again.
void Checkpointer::begin(State& state, uint64_t number) const {
  if (isBusy(state) || state.isClaimed) {
    state.next = state.activeSegment;
    return;
  }
  const auto& content = queueLeadsToForest(state) ? state.queue : state.forest;
  auto tries = kj::heapArrayBuilder<kj::Own<const Trie>>(content.size());
  for (auto& trie : content) tries.add(kj::atomicAddRef(*trie));
  state.job = Job{number, tries.finish()};
  state.next = number + policy.distance;
  state.begun = now();
  state.status.running = number;
  doneBytes.store(0, std::memory_order_relaxed);
  totalBytes.store(0, std::memory_order_relaxed);
}

// Whether a start from a checkpoint of the queue comes to the forest. It does not if repeated
// states have pushed others out: the log may go on from those, and then flow-go does not start.
bool Checkpointer::queueLeadsToForest(const State& state) const {
  std::set<RootHash> known;
  std::deque<RootHash> loaded;
  auto load = [&](const RootHash& root) {
    if (!known.insert(root).second) return;
    loaded.push_back(root);
    if (loaded.size() > capacity) loaded.pop_front();
  };
  load(hash::defaultHash(TRIE_HEIGHT));
  for (auto& trie : state.queue) load(trie->rootHash());
  return std::equal(loaded.begin(), loaded.end(), state.forest.begin(), state.forest.end(),
                    [](const RootHash& root, const kj::Own<const Trie>& trie) {
                      return root == trie->rootHash();
                    });
}

// --- On demand ---

// Waits until nobody writes, and sees to it that nobody else begins to.
auto Checkpointer::claim(const Stop& stop) const -> kj::OneOf<Begun, Claimed, Result<uint64_t>> {
  using Decision = kj::OneOf<Begun, Claimed, Result<uint64_t>>;
  for (;;) {
    auto decision = state.when(
        [](const State& state) { return state.stopping || !(isBusy(state) || state.isClaimed); },
        [&](State& state) -> kj::Maybe<Decision> {
          if (state.stopping) return Decision(Result<uint64_t>(shuttingDown()));
          if (isBusy(state) || state.isClaimed) {  // The time is up.
            if (stop.requested()) return Decision(Result<uint64_t>(callCancelled()));
            return nullptr;
          }
          const uint64_t finished = state.activeSegment - kj::min(state.activeSegment, uint64_t(1));
          KJ_IF_MAYBE (newest, state.status.newest) {
            if (state.activeIsEmpty && *newest >= finished) {
              return Decision(Result<uint64_t>(*newest));
            }
          }
          // Also where files of that number are in the way.
          if (!state.activeIsEmpty || state.activeSegment == 0 ||
              directory->exists(kj::Path(checkpointName(finished)))) {
            state.isClaimed = true;
            return Decision(Claimed());
          }
          begin(state, finished);
          return Decision(Begun{finished});
        },
        STOP_LOOK);
    KJ_IF_MAYBE (decided, decision) return kj::mv(*decided);
  }
}

Result<uint64_t> Checkpointer::checkpointNow(kj::FunctionParam<Result<uint64_t>()> finishSegment,
                                             const Stop& stop) const {
  uint64_t number = 0;
  auto claimed = claim(stop);
  KJ_SWITCH_ONEOF(claimed) {
    KJ_CASE_ONEOF(answer, Result<uint64_t>) {
      return kj::mv(answer);
    }
    KJ_CASE_ONEOF(begun, Begun) {
      number = begun.number;
    }
    KJ_CASE_ONEOF(toFinish, Claimed) {
      KJ_ON_SCOPE_FAILURE(state.lockExclusive()->isClaimed = false);
      auto finished = finishSegment();
      KJ_IF_MAYBE (error, finished.tryGet<Error>()) {
        state.lockExclusive()->isClaimed = false;
        return kj::mv(*error);
      }
      number = finished.get<uint64_t>();
    }
  }
  for (;;) {
    auto answer = state.when(
        [](const State& state) { return state.stopping || !isBusy(state); },
        [&](State& state) -> kj::Maybe<Result<uint64_t>> {
          KJ_IF_MAYBE (newest, state.status.newest) {
            if (*newest >= number) return Result<uint64_t>(number);
          }
          if (state.stopping) return Result<uint64_t>(shuttingDown());
          if (!isBusy(state)) return Result<uint64_t>(KJ_ASSERT_NONNULL(state.outcome).clone());
          if (stop.requested()) return Result<uint64_t>(callCancelled());
          return nullptr;
        },
        STOP_LOOK);
    KJ_IF_MAYBE (decided, answer) return kj::mv(*decided);
  }
}

CheckpointStatus Checkpointer::status() const {
  auto lock = state.lockShared();
  auto result = lock->status.clone();
  result.doneBytes = doneBytes.load(std::memory_order_relaxed);
  result.totalBytes = totalBytes.load(std::memory_order_relaxed);
  if (result.running != nullptr) result.elapsed = now() - lock->begun;
  return result;
}

// --- The thread ---

void Checkpointer::serve() const {
  for (;;) {
    auto job = state.when(
        [](const State& state) { return state.stopping || state.job != nullptr; },
        [&](State& state) -> kj::Maybe<Job> {
          if (state.stopping) return nullptr;
          state.isRunning = true;
          auto job = kj::mv(state.job);
          state.job = nullptr;
          return job;
        });
    KJ_IF_MAYBE (it, job) {
      kj::Maybe<Error> error;
      KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { error = run(*it); })) {
        error = makeError(Code::INTERNAL, Reason::WRITE_FAILED, "checkpoint ", it->number, ": ",
                          exception->getDescription());
      }
      const auto number = it->number;
      drop(kj::mv(it->tries));  // Before others learn that it is done.
      job = nullptr;
      auto lock = state.lockExclusive();
      lock->isRunning = false;
      lock->status.running = nullptr;
      KJ_IF_MAYBE (refusal, error) {
        lock->next = lock->activeSegment;  // When that one ends, it is tried again.
        lock->status.failure = kj::str(refusal->message);
        if (!lock->stopping) reporter.warn(kj::str("no checkpoint: ", refusal->message));
      } else {
        lock->status.newest = number;
        lock->status.newestBytes = writtenBytes;
        lock->status.failure = nullptr;
      }
      lock->outcome = kj::mv(error);
    } else {
      return;
    }
  }
}

// Those that the forest has no more give back what they alone had.
void Checkpointer::drop(kj::Array<kj::Own<const Trie>> tries) const {
  GiveWay giveWay(sets);
  for (auto& trie : tries) {
    trie = nullptr;
    giveWay.afterPiece();
  }
}

kj::Maybe<Error> Checkpointer::run(const Job& job) const {
  const auto name = checkpointName(job.number);
  const auto& store = job.tries[0]->store();
  const uint64_t estimate = estimateCheckpointSize(store);
  KJ_IF_MAYBE (error, requireRoom(job.number, estimate)) return kj::mv(*error);
  reporter.info(kj::str("checkpoint ", job.number, ": writing ", job.tries.size(), " states, about ",
                        mebibytes(estimate), " MiB"));
  KJ_IF_MAYBE (error, write(name, job)) return kj::mv(*error);
  KJ_IF_MAYBE (error, readBack(name, job.number)) return kj::mv(*error);
  kj::Vector<kj::String> removed;
  auto failure = kj::runCatchingExceptions([&]() { removeOld(removed); });
  for (const auto& what : removed) reporter.info(what);
  KJ_IF_MAYBE (exception, failure) {
    // Nothing is lost by it, and the next checkpoint tries again.
    reporter.warn(kj::str("what checkpoint ", job.number, " made superfluous is not all removed: ",
                          exception->getDescription()));
  }
  return nullptr;
}

// That `needed` bytes can be written and the reserve is still there.
kj::Maybe<Error> Checkpointer::requireRoom(uint64_t number, uint64_t needed) const {
  KJ_IF_MAYBE (free, policy.freeSpace(*directory)) {
    if (*free < needed || *free - needed < policy.diskReserve) {
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::WRITE_FAILED, "checkpoint ", number,
                       " needs ", needed, " bytes more and ", policy.diskReserve,
                       " are to stay free (--disk-reserve), but the disk has ", *free,
                       "; make room, or lower the reserve");
    }
  }
  return nullptr;
}

kj::Maybe<Error> Checkpointer::write(kj::StringPtr name, const Job& job) const {
  const auto start = now();
  auto reported = start;
  kj::Maybe<Error> noRoom;
  CheckpointWriteOptions options{.threads = policy.threads, .sets = sets, .stop = halt};
  options.progress = [&](uint64_t done, uint64_t total) {
    doneBytes.store(done, std::memory_order_relaxed);
    totalBytes.store(total, std::memory_order_relaxed);
    if (done < total) noRoom = requireRoom(job.number, 0);
    KJ_REQUIRE(noRoom == nullptr, "the disk's reserve is touched");
    if (now() - reported < REPORT_STEP || done == 0) return;
    reported = now();
    const double share = double(total - done) / double(done);
    const auto left = int64_t(double((reported - start) / kj::MILLISECONDS) * share / 1000);
    reporter.info(kj::str("checkpoint ", job.number, ": ", done * 100 / kj::max(total, 1u), " %, ",
                          mebibytes(done), " of ", mebibytes(total), " MiB, about ",
                          left, " s left"));
  };
  Result<WrittenCheckpoint> written = WrittenCheckpoint();
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 written = writeCheckpoint(*directory, name, job.tries, kj::mv(options));
               })) {
    KJ_IF_MAYBE (error, noRoom) {
      error->message = kj::str(error->message, " (", exception->getDescription(), ")");
      return kj::mv(*error);
    }
    kj::throwFatalException(kj::mv(*exception));
  }
  KJ_SWITCH_ONEOF(written) {
    KJ_CASE_ONEOF(error, Error) {
      return halt.requested() ? shuttingDown() : kj::mv(error);
    }
    KJ_CASE_ONEOF(done, WrittenCheckpoint) {
      writtenBytes = done.bytes;
      reporter.info(kj::str("checkpoint ", job.number, ": written, ", mebibytes(done.bytes),
                            " MiB, ", done.nodes, " nodes, in ",
                            (now() - start) / kj::MILLISECONDS, " ms"));
    }
  }
  return nullptr;
}

kj::Maybe<Error> Checkpointer::readBack(kj::StringPtr name, uint64_t number) const {
  Discard sink;
  CheckpointReadOptions options{.threads = policy.threads, .sets = sets};
  options.progress = [this](uint64_t, uint64_t) {
    KJ_REQUIRE(!halt.requested(), "the ledger is shutting down");
  };
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 readCheckpoint(*directory, name, sink, kj::mv(options));
               })) {
    // Complete and synced: a start would try it. What does not read now will not read then.
    if (halt.requested()) return shuttingDown();
    removeCheckpoint(*directory, name);
    return makeError(Code::DATA_LOSS, Reason::WRITE_FAILED, "checkpoint ", number,
                     " was written but does not read back, and is removed: ",
                     exception->getDescription());
  }
  return nullptr;
}

void Checkpointer::removeOld(kj::Vector<kj::String>& removed) const {
  auto all = listCheckpoints(*directory);
  kj::Vector<uint64_t> good;
  for (auto number : all) {
    if (std::find(unreadable.begin(), unreadable.end(), number) == unreadable.end()) {
      good.add(number);
    }
  }
  const size_t kept = policy.keep == 0 ? good.size() : kj::min(good.size(), size_t(policy.keep));
  const uint64_t oldest = good[good.size() - kept];
  for (auto number : all) {
    if (number >= oldest || policy.keep == 0) break;
    removeCheckpoint(*directory, checkpointName(number));
    removed.add(kj::str("checkpoint ", number, ": removed, newer ones are kept"));
  }
  if (policy.superfluous == CheckpointPolicy::Superfluous::KEEP) return;
  const auto segments = removeWalSegments(*directory, oldest);
  if (segments > 0) {
    ++state.lockExclusive()->status.truncations;
    removed.add(kj::str("log: removed ", segments, " segments up to ", oldest,
                        ", which no kept checkpoint needs"));
  }
}

}  // namespace ledger
