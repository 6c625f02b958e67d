// SPDX-License-Identifier: Apache-2.0
#include "ledger/sequencer.h"

#include <kj/debug.h>
#include <kj/vector.h>

namespace ledger {

Sequencer::Sequencer(const Forest& forest, kj::Own<WalWriter> writer)
    : forest(forest), writer(kj::mv(writer)), thread([this]() { writeGroups(); }) {
  state.lockExclusive()->segment = this->writer->segment();
}

Sequencer::~Sequencer() noexcept(false) {
  drain();
  state.lockExclusive()->stopping = true;
}

Result<Sequencer::Place> Sequencer::admit(const Trie& parent, kj::Array<const kj::byte>&& record,
                                          const Stop& stop) const {
  // With fewer than this many unpublished Sets before it, the parent is safe.
  size_t safe = ~size_t(0);
  for (;;) {
    auto result = state.when(
        [&](const State& state) { return state.unpublished.size() <= safe || state.draining; },
        [&](State& state) -> kj::Maybe<Result<Place>> {
          if (state.draining) {
            return Result<Place>(
                makeError(Code::UNAVAILABLE, Reason::SHUTTING_DOWN, "the ledger is shutting down"));
          }
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
          auto place = state.first + state.unpublished.size();
          state.unpublished.push_back(Entry{Entry::Progress::QUEUED, kj::mv(record), nullptr});
          ++state.queued;
          return Result<Place>(place);
        });
    KJ_IF_MAYBE (decided, result) {
      return kj::mv(*decided);
    }
  }
}

kj::Maybe<Error> Sequencer::publish(Place place, kj::Own<const Trie> trie) const {
  auto failure = state.when(
      [&](const State& state) {
        if (state.first != place) return false;
        auto progress = state.unpublished.front().progress;
        return progress == Entry::Progress::DURABLE || progress == Entry::Progress::FAILED;
      },
      [&](State& state) -> kj::Maybe<kj::String> {
        auto& entry = state.unpublished.front();
        if (entry.progress == Entry::Progress::FAILED) return kj::mv(entry.failure);
        return nullptr;
      });
  // Its turn lasts until `first` moves on, so this needs no lock: evicting a trie takes a while.
  // If it failed, the forest would miss a state that is in the log: then the process ends.
  if (failure == nullptr) [&]() noexcept { forest.add(kj::mv(trie)); }();
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

void Sequencer::drain() const {
  state.lockExclusive()->draining = true;
  state.when([](const State& state) { return state.unpublished.empty(); }, [](State&) {});
}

uint64_t Sequencer::activeSegment() const {
  return state.lockShared()->segment;
}

void Sequencer::writeGroups() {
  for (;;) {
    kj::Vector<Entry*> group;
    state.when([](const State& state) { return state.queued > 0 || state.stopping; },
               [&](State& state) {
                 uint64_t bytes = 0;
                 while (state.queued > 0) {
                   auto& entry = state.unpublished[state.unpublished.size() - state.queued];
                   // Fragment headers and padding come on top: less than one part in 4,000, and a
                   // page.
                   auto size = entry.record.size() + entry.record.size() / 4000 + 2 * WAL_PAGE_SIZE;
                   if (group.size() > 0 && bytes + size > WAL_MAX_GROUP) break;
                   bytes += size;
                   entry.progress = Entry::Progress::WRITING;
                   group.add(&entry);  // A deque's elements stay where they are.
                   --state.queued;
                 }
               });
    if (group.size() == 0) break;

    auto failure = write(*writer, group);
    auto lock = state.lockExclusive();
    lock->segment = writer->segment();
    for (auto* entry : group) {
      entry->record = nullptr;
      KJ_IF_MAYBE (text, failure) {
        entry->progress = Entry::Progress::FAILED;
        entry->failure = kj::str(*text);
      } else {
        entry->progress = Entry::Progress::DURABLE;
      }
    }
  }
  if (writer->isPoisoned()) return;
  // What was acknowledged is on disk already: only the last page's padding can be missing.
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { writer->close(); })) {
    KJ_LOG(ERROR, "the log could not be closed cleanly", *exception);
  }
}

kj::Maybe<kj::String> Sequencer::write(WalWriter& writer, kj::ArrayPtr<Entry* const> group) {
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 for (auto* entry : group) writer.append(entry->record);
                 writer.commit();
               })) {
    // What append() laid out before it failed must not go with the next group.
    if (!writer.isPoisoned()) writer.discard();
    KJ_LOG(ERROR, "the log refused a group of records", group.size(), *exception);
    return kj::str(exception->getDescription());
  }
  return nullptr;
}

}  // namespace ledger
