// SPDX-License-Identifier: Apache-2.0
#include "server/placement.h"

#include "schema/message-limits.h"
#include "schema/packed-list.h"
#include "server/rpc-errors.h"

#include <kj/debug.h>
#include <kj/exception.h>

namespace ledger::server {
namespace {

// What a loop may copy in one go: some 30 us.
constexpr uint64_t LOOP_BYTES = 256 << 10;

// Values that are this long on average are cheaper to map than to copy: an entry of the table, and
// a page or two that the client has to fault in, against two copies' worth of memory traffic.
constexpr uint64_t STORED_VALUE_BYTES = 16 << 10;

Finished placeIn(shm::Region region, Answers answers) {
  answers.write(region.bytes().slice(0, answers.payloadSize()));
  return {kj::mv(answers), kj::mv(region)};
}

Finished refuse(Answers answers, const Error& error) {
  answers.refusePayloads(error);
  return {kj::mv(answers)};
}

// Whether other sessions' memory would help: not against the session's own quota.
bool isShortForAll(const shm::Refusal& refusal) {
  return refusal.cause == shm::Refusal::Cause::MEMORY &&
         refusal.limit != shm::ArenaSetOptions().quotaName;
}

}  // namespace

kj::OneOf<shm::Region, shm::Refusal> Placement::lend(uint64_t size) const {
  kj::Maybe<kj::OneOf<shm::Region, shm::Refusal>> lent;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { lent.emplace(arenas->lend(size)); })) {
    // What has been executed is answered all the same: a Set may be among it.
    KJ_LOG(ERROR, "no arena could be made", size, *exception);
    return shm::Refusal{shm::Refusal::Cause::MEMORY,
                        kj::str("needs ", size, " bytes, which the kernel refused to give"),
                        kj::str("kernel"), size, 0};
  }
  return kj::mv(KJ_ASSERT_NONNULL(lent));
}

bool Placement::wantsSharedMemory(uint64_t size) const {
  return options.sharedMemory != Options::SharedMemory::NONE && size > options.inlineThreshold &&
         size > 0;
}

bool Placement::isWorthReferring(const Answers& answers, const Answers::Stored& stored) const {
  return options.sharedMemory == Options::SharedMemory::STORE &&
         wantsSharedMemory(answers.payloadSize()) &&
         answers.payloadSize() / stored.values.size() >= STORED_VALUE_BYTES;
}

template <typename Lend>
kj::Maybe<Finished> Placement::refer(Answers& answers, Lend&& lend) const {
  KJ_IF_MAYBE (stored, answers.stored()) {
    if (!isWorthReferring(answers, *stored)) return nullptr;
    auto& values = stored->values;
    kj::Vector<Value> present(values.size());
    for (auto& value : values) {
      if (value.size() > 0) present.add(value);
    }
    const bool isList = stored->form == Answers::Stored::Form::PACKED_LIST;
    const uint64_t header = isList ? rpc::packedHeaderSize(values.size()) : 0;
    const uint32_t count = present.size() + (isList ? 1 : 0);
    if (!references->hasLeases()) {
      auto leases = lend(StoreReferences::LEASES_BYTES);
      KJ_IF_MAYBE (region, leases) references->giveLeases(kj::mv(*region));
    }
    auto lent = lend(header + rpc::tableSize(count));
    KJ_IF_MAYBE (region, lent) {
      KJ_IF_MAYBE (referred, references->refer(kj::atomicAddRef(stored->trie), present)) {
        const uint32_t arena = region->arenaId();
        const uint64_t start = region->span().offset;
        kj::Vector<rpc::ArenaSpan> spans(count);
        if (isList) {
          spans.add(rpc::ArenaSpan{arena, start, header});
          rpc::writePackedHeader(values, region->bytes().slice(0, header));
        }
        spans.addAll(referred->spans);
        const uint64_t length = rpc::tableSize(count);
        rpc::writeTable(spans, region->bytes().slice(header, header + length));
        return Finished{kj::mv(answers),
                        StoredBytes(kj::mv(referred->reference), kj::mv(*region),
                                    {{arena, start + header, length}, count, referred->lease})};
      }
    }
  }
  return nullptr;
}

kj::Maybe<kj::Own<const Trie>> StoredBytes::end() {
  KJ_IF_MAYBE (held, reference) {
    auto trie = held->release();
    reference = nullptr;
    region = nullptr;
    return trie;
  }
  return nullptr;
}

Finished Placement::place(Answers answers) const {
  if (!answers.hasPayloads()) return {kj::mv(answers)};
  const uint64_t size = answers.payloadSize();
  if (!wantsSharedMemory(size)) return placeInline(kj::mv(answers));

  auto lendHere = [this](uint64_t bytes) -> kj::Maybe<shm::Region> {
    auto lent = lend(bytes);
    if (lent.is<shm::Region>()) return kj::mv(lent.get<shm::Region>());
    return nullptr;
  };
  KJ_IF_MAYBE (finished, refer(answers, lendHere)) return kj::mv(*finished);

  auto lent = lend(size);
  if (lent.is<shm::Refusal>() && isShortForAll(lent.get<shm::Refusal>())) {
    all.trim();  // What other sessions have and do not use.
    lent = lend(size);
  }
  if (lent.is<shm::Region>()) return placeIn(kj::mv(lent.get<shm::Region>()), kj::mv(answers));
  if (size <= inlineMost(answers)) return placeInline(kj::mv(answers));
  return refuse(kj::mv(answers), toError(lent.get<shm::Refusal>()));
}

kj::Maybe<Finished> Placement::tryPlace(Answers& answers) const {
  if (!answers.hasPayloads()) return Finished{kj::mv(answers)};
  auto lendHere = [this](uint64_t bytes) { return arenas->tryLend(bytes); };
  KJ_IF_MAYBE (finished, refer(answers, lendHere)) return kj::mv(*finished);
  const uint64_t size = answers.payloadSize();
  if (size > LOOP_BYTES) return nullptr;
  if (!wantsSharedMemory(size)) return placeInline(kj::mv(answers));
  KJ_IF_MAYBE (region, arenas->tryLend(size)) return placeIn(kj::mv(*region), kj::mv(answers));
  return nullptr;
}

uint64_t Placement::inlineMost(const Answers& answers) const {
  return rpc::inlinePayloadFor(options.messageWords, answers.each().size());
}

Finished Placement::placeInline(Answers answers) const {
  const uint64_t size = answers.payloadSize();
  const uint64_t most = inlineMost(answers);
  if (size > most) {
    return refuse(kj::mv(answers),
                  makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a reply of ", size,
                            " bytes is more than a message to this client may carry, ", most));
  }
  auto reserved = memory.reserve(2 * size);
  if (reserved.is<shm::Shortage>()) {
    return refuse(kj::mv(answers), outOfMemory(reserved.get<shm::Shortage>()));
  }
  auto bytes = kj::heapArray<kj::byte>(size);
  answers.write(bytes);
  return {kj::mv(answers), InlineBytes{kj::mv(reserved.get<shm::Reservation>()), kj::mv(bytes)}};
}

}  // namespace ledger::server
