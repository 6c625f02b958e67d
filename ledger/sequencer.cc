// SPDX-License-Identifier: Apache-2.0
#include "ledger/sequencer.h"

#include <kj/debug.h>
#include <kj/vector.h>

namespace ledger {

Sequencer::Sequencer(const Forest& forest, kj::Own<WalWriter> writer, SyncPolicy syncPolicy,
                     const LogFollower& follower, const Reporter& reporter)
    : forest(forest),
      writer(kj::mv(writer)),
      syncPolicy(syncPolicy),
      follower(follower),
      reporter(reporter),
      thread([this]() { writeGroups(); }) {
  state.lockExclusive()->log.activeSegment = this->writer->segment();
}

Sequencer::~Sequencer() noexcept(false) {
  drain();
  state.lockExclusive()->stopping = true;
}

Error Sequencer::shuttingDown() {
  return makeError(Code::UNAVAILABLE, Reason::SHUTTING_DOWN, "the ledger is shutting down");
}

Sequencer::Place Sequencer::enqueue(State& state, Entry::Kind kind,
                                    kj::Array<const kj::byte> record) {
  auto place = state.first + state.unpublished.size();
  state.unpublished.push_back(Entry{.kind = kind, .record = kj::mv(record), .failure = nullptr});
  ++state.queued;
  return place;
}

Result<Sequencer::Place> Sequencer::admit(const Trie& parent, kj::Array<const kj::byte>&& record,
                                          const Stop& stop) const {
  // With fewer than this many unpublished Sets before it, the parent is safe.
  size_t safe = ~size_t(0);
  for (;;) {
    auto result = state.when(
        [&](const State& state) { return state.unpublished.size() <= safe || state.draining; },
        [&](State& state) -> kj::Maybe<Result<Place>> {
          if (state.draining) return Result<Place>(shuttingDown());
          KJ_IF_MAYBE (lifetime, forest.lifetime(parent)) {
            if (state.unpublished.size() > *lifetime) {
              safe = state.unpublished.size() - 1;
              return nullptr;
            }
          } else {
            return Result<Place>(unknownState(parent.rootHash()));
          }
          if (stop.requested()) {
            return Result<Place>(callCancelled());
          }
          return Result<Place>(enqueue(state, Entry::Kind::RECORD, kj::mv(record)));
        });
    KJ_IF_MAYBE (decided, result) {
      return kj::mv(*decided);
    }
  }
}

template <typename Then>
kj::Maybe<Error> Sequencer::takeTurn(Place place, Then&& then) const {
  uint64_t segment = 0;
  auto failure = state.when(
      [&](const State& state) {
        if (state.first != place) return false;
        auto progress = state.unpublished.front().progress;
        return progress == Entry::Progress::WRITTEN || progress == Entry::Progress::FAILED;
      },
      [&](State& state) -> kj::Maybe<kj::String> {
        auto& entry = state.unpublished.front();
        segment = entry.segment;
        if (entry.progress == Entry::Progress::FAILED) return kj::mv(entry.failure);
        return nullptr;
      });
  // The turn lasts until `first` moves on, so this needs no lock: evicting a trie takes a while.
  // If it failed, the forest would miss a state that is in the log: then the process ends.
  if (failure == nullptr) [&]() noexcept { then(segment); }();
  {
    auto lock = state.lockExclusive();
    lock->unpublished.pop_front();
    ++lock->first;
  }
  KJ_IF_MAYBE (text, failure) {
    return makeError(Code::INTERNAL, Reason::WRITE_FAILED,
                     "error while writing LedgerWAL: ", *text);
  }
  return nullptr;
}

kj::Maybe<Error> Sequencer::publish(Place place, kj::Own<const Trie> trie) const {
  return takeTurn(place, [&](uint64_t segment) {
    const bool added = forest.add(kj::atomicAddRef(*trie));
    follower.published(kj::mv(trie),
                       added ? LogFollower::State::NEW : LogFollower::State::WAS_THERE, segment);
  });
}

Result<uint64_t> Sequencer::finishSegment() const {
  Place place;
  {
    auto lock = state.lockExclusive();
    if (lock->draining) return shuttingDown();
    place = enqueue(*lock, Entry::Kind::END_OF_SEGMENT, nullptr);
  }
  uint64_t finished = 0;
  KJ_IF_MAYBE (error, takeTurn(place, [&](uint64_t segment) {
                 finished = segment;
                 follower.segmentFinished(segment);
               })) {
    return kj::mv(*error);
  }
  return finished;
}

void Sequencer::drain() const {
  state.lockExclusive()->draining = true;
  state.when([](const State& state) { return state.unpublished.empty(); }, [](State&) {});
}

Sequencer::LogStatus Sequencer::status() const {
  auto lock = state.lockShared();
  return {lock->log.activeSegment, lock->log.health.clone()};
}

// Waits for records. None: a sync is due, or it is time to stop.
kj::Vector<Sequencer::Entry*> Sequencer::nextGroup() {
  kj::Maybe<kj::Duration> patience = syncDue.map([](kj::TimePoint due) {
    return kj::max(due - kj::systemPreciseMonotonicClock().now(), 0 * kj::SECONDS);
  });
  kj::Vector<Entry*> group;
  state.when([](const State& state) { return state.queued > 0 || state.stopping; },
             [&](State& state) {
               uint64_t bytes = 0;
               while (state.queued > 0) {
                 auto& entry = state.unpublished[state.unpublished.size() - state.queued];
                 // Fragment headers and padding come on top: less than one part in 4,000, and a
                 // page.
                 auto size = entry.record.size() + entry.record.size() / 4000 + 2 * WAL_PAGE_SIZE;
                 const bool alone = entry.kind == Entry::Kind::END_OF_SEGMENT;
                 if (group.size() > 0 && (alone || bytes + size > WAL_MAX_GROUP)) break;
                 bytes += size;
                 entry.progress = Entry::Progress::WRITING;
                 group.add(&entry);  // A deque's elements stay where they are.
                 --state.queued;
                 if (alone) break;
               }
             },
             patience);
  return group;
}

void Sequencer::writeGroups() {
  for (;;) {
    auto group = nextGroup();
    if (group.size() == 0) {
      auto lock = state.lockShared();
      if (lock->queued > 0) continue;
      if (lock->stopping) break;
    } else {
      auto failure = write(group);
      noteHealth(failure.map([](const kj::String& text) { return kj::str(text); }));
      auto lock = state.lockExclusive();
      for (auto* entry : group) {
        entry->record = nullptr;
        KJ_IF_MAYBE (text, failure) {
          entry->progress = Entry::Progress::FAILED;
          entry->failure = kj::str(*text);
        } else {
          entry->progress = Entry::Progress::WRITTEN;
        }
      }
    }
    syncLate();
  }
  if (writer->isPoisoned()) return;
  // With Mode::ALWAYS what was acknowledged is on disk already: only the last page's padding can be
  // missing.
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { writer->close(); })) {
    reporter.warn(
        kj::str("the log could not be closed cleanly: ", exception->getDescription()));
  }
}

kj::Maybe<kj::String> Sequencer::write(kj::ArrayPtr<Entry* const> group) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 if (group[0]->kind == Entry::Kind::END_OF_SEGMENT) {
                   group[0]->segment = writer->finishSegment();
                   return;
                 }
                 for (auto* entry : group) {
                   writer->append(entry->record);
                   entry->segment = writer->appendedSegment();
                 }
                 writer->commit();
               })) {
    // What append() laid out before it failed must not go with the next group.
    if (!writer->isPoisoned()) writer->discard();
    return kj::str(exception->getDescription());
  }
  return nullptr;
}

// With Mode::INTERVAL: syncs when it is due, and notes when that will be.
void Sequencer::syncLate() {
  if (syncPolicy.mode != SyncPolicy::Mode::INTERVAL) return;
  if (writer->isPoisoned() || writer->isSynced()) {
    syncDue = nullptr;
    return;
  }
  const auto now = kj::systemPreciseMonotonicClock().now();
  KJ_IF_MAYBE (due, syncDue) {
    if (now < *due) return;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { writer->sync(); })) {
      noteHealth(kj::str(exception->getDescription()));
    }
    syncDue = nullptr;
  } else {
    syncDue = now + syncPolicy.interval;
  }
}

void Sequencer::noteHealth(kj::Maybe<kj::String> failure) {
  using State = LogHealth::State;
  State before, now;
  {
    auto lock = state.lockExclusive();
    auto& health = lock->log.health;
    before = health.state;
    lock->log.activeSegment = writer->segment();
    KJ_IF_MAYBE (text, failure) {
      // The first cause is the one that tells; later ones say that it was there.
      if (before != State::FAILED) health.reason = kj::str(*text);
      health.state = writer->isPoisoned() ? State::FAILED : State::REFUSED;
    } else {
      health = {};
    }
    now = health.state;
  }
  if (now == before) return;
  switch (now) {
    case State::GOOD:
      reporter.info("the log can be written again: Sets resume");
      break;
    case State::REFUSED:
      reporter.warn(kj::str("the log could not be written; Sets are refused until it can, reads go "
                            "on: ",
                            KJ_ASSERT_NONNULL(failure)));
      break;
    case State::FAILED:
      reporter.warn(kj::str("the log failed in a way that leaves unknown what is on disk; Sets are "
                            "refused until a restart, reads go on: ",
                            KJ_ASSERT_NONNULL(failure)));
      break;
  }
}

}  // namespace ledger
