// SPDX-License-Identifier: Apache-2.0
#include "server/state-views.h"

#include "server/rpc-errors.h"

#include <kj/debug.h>

namespace ledger::server {
namespace {

using Store = StoreReferences::ReferredStore;

// What a client holds; dropping it lets the state go.
class ViewRegionServer final : public rpc::Region::Server {
public:
  ViewRegionServer(StoreReferences::Reference reference, const Workers& workers)
      : reference(kj::mv(reference)), workers(workers) {}
  ~ViewRegionServer() noexcept(false) {
    KJ_IF_MAYBE (trie, reference.release()) workers.destroy(kj::mv(*trie));
  }

private:
  StoreReferences::Reference reference;
  const Workers& workers;
};

Result<Store> refer(const Ledger& ledger, const StoreReferences& references,
                    const shm::ArenaSet& arenas, const RootHash& state) {
  if (!references.hasLeases()) {
    auto room = arenas.lend(StoreReferences::LEASES_BYTES);
    KJ_IF_MAYBE (refusal, room.tryGet<shm::Refusal>()) return toError(*refusal);
    references.giveLeases(kj::mv(room.get<shm::Region>()));
  }
  auto pinned = ledger.pinStore(state);
  KJ_IF_MAYBE (error, pinned.tryGet<Error>()) return kj::mv(*error);
  KJ_IF_MAYBE (referred, references.refer(kj::mv(pinned.get<Ledger::PinnedStore>()))) {
    return kj::mv(*referred);
  }
  return makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA,
                   "the session holds as many states or values of the store as it may");
}

void fillSegments(capnp::List<rpc::StoreSegment>::Builder list,
                  kj::ArrayPtr<const Store::Segment> segments) {
  for (uint32_t index = 0; index < segments.size(); ++index) {
    list[index].setNumber(segments[index].number);
    list[index].setArena(segments[index].arena);
    list[index].setCommitted(segments[index].committed);
  }
}

}  // namespace

kj::Promise<Result<Store>> referToState(Session& session, const RootHash& state) {
  const Host& host = session.host;
  auto referred = host.workers.run(
      [&ledger = host.ledger, references = kj::atomicAddRef(*session.references),
       arenas = kj::atomicAddRef(*session.arenas),
       state](const Stop&) { return refer(ledger, *references, *arenas, state); });
  KJ_IF_MAYBE (promise, referred) return kj::mv(*promise);
  return Result<Store>(queueFull(host.workers.queued()));
}

void fill(rpc::StateView::Builder view, Store referred, const Workers& workers) {
  view.setRoot(referred.root.bits());
  fillSegments(view.initNodes(referred.nodes.size()), referred.nodes);
  fillSegments(view.initPayloads(referred.payloads.size()), referred.payloads);
  view.setRegion(kj::heap<ViewRegionServer>(kj::mv(referred.reference), workers));
  view.setLeaseArena(referred.lease.place.arena);
  view.setLease(referred.lease.place.offset);
  view.setLeaseValue(referred.lease.value);
  view.setEvictionsArena(referred.evictionsArena);
  view.setEvictedAbove(referred.evictedAbove);
}

uint64_t viewWords(const Store& referred) {
  constexpr uint64_t WORDS_OF_A_SEGMENT = 2, WORDS_BESIDE = 64;
  return WORDS_BESIDE + WORDS_OF_A_SEGMENT * (referred.nodes.size() + referred.payloads.size());
}

}  // namespace ledger::server
