// SPDX-License-Identifier: Apache-2.0
#include "server/placement.h"

#include "server/rpc-errors.h"

namespace ledger::server {
namespace {

// What a loop may copy in one go: some 30 us.
constexpr uint64_t LOOP_BYTES = 256 << 10;

Finished placeIn(shm::Region region, Answers answers) {
  answers.write(region.bytes().slice(0, answers.payloadSize()));
  return {kj::mv(answers), kj::mv(region)};
}

Finished refuse(Answers answers, const Error& error) {
  answers.refusePayloads(error);
  return {kj::mv(answers)};
}

}  // namespace

bool Placement::wantsSharedMemory(uint64_t size) const {
  return options.sharedMemory == Options::SharedMemory::YES && size > options.inlineThreshold &&
         size > 0;
}

Finished Placement::place(Answers answers) const {
  if (!answers.hasPayloads()) return {kj::mv(answers)};
  const uint64_t size = answers.payloadSize();
  if (!wantsSharedMemory(size)) return placeInline(kj::mv(answers));

  auto lent = arenas->lend(size);
  KJ_IF_MAYBE (refusal, lent.tryGet<shm::Refusal>()) {
    if (refusal->cause == shm::Refusal::Cause::MEMORY) {
      all.trim();  // What other sessions have and do not use.
      lent = arenas->lend(size);
    }
  }
  if (lent.is<shm::Region>()) return placeIn(kj::mv(lent.get<shm::Region>()), kj::mv(answers));
  if (size <= options.inlineMost) return placeInline(kj::mv(answers));
  return refuse(kj::mv(answers), toError(lent.get<shm::Refusal>()));
}

kj::Maybe<Finished> Placement::tryPlace(Answers& answers) const {
  if (!answers.hasPayloads()) return Finished{kj::mv(answers)};
  const uint64_t size = answers.payloadSize();
  if (size > LOOP_BYTES) return nullptr;
  if (!wantsSharedMemory(size)) return placeInline(kj::mv(answers));
  KJ_IF_MAYBE (region, arenas->tryLend(size)) return placeIn(kj::mv(*region), kj::mv(answers));
  return nullptr;
}

Finished Placement::placeInline(Answers answers) const {
  const uint64_t size = answers.payloadSize();
  if (size > options.inlineMost) {
    return refuse(
        kj::mv(answers),
        makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a reply of ", size,
                  " bytes is more than a message to this client may carry, ", options.inlineMost));
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
