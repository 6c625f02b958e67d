// SPDX-License-Identifier: Apache-2.0
#include "client/shm-transport.h"

#include "client/region-lease.h"
#include "ledger/trie/format.h"

#include <kj/debug.h>

#include <algorithm>

namespace ledger::client {
namespace {

// From here on one call that maps all pages is cheaper than a fault for every few of them.
constexpr uint64_t POPULATE_BYTES = 256 << 10;

// The bytes of `span` where they lie, about to be read.
rpc::Bytes look(const shm::MappedArena& arena, const rpc::ArenaSpan& span) {
  auto bytes = arena.peek(span.offset, span.length);
  KJ_IF_MAYBE (fault, bytes.tryGet<shm::PeerFault>()) {
    KJ_FAIL_REQUIRE("the server's reply lies outside its arena", span.arena, fault->message);
  }
  if (span.length >= POPULATE_BYTES) arena.populate(span.offset, span.length);
  return bytes.get<rpc::Bytes>();
}

template <typename T>
T require(kj::OneOf<T, rpc::BadPayload> checked) {
  KJ_IF_MAYBE (bad, checked.template tryGet<rpc::BadPayload>()) {
    KJ_FAIL_REQUIRE("the server's reply is malformed", bad->message);
  }
  return kj::mv(checked.template get<T>());
}

// The ids of `spans`, each once, ascending.
kj::Array<uint32_t> arenasOf(kj::ArrayPtr<const rpc::ArenaSpan> spans) {
  auto ids = KJ_MAP(span, spans) {
    return span.arena;
  };
  std::sort(ids.begin(), ids.end());
  auto count = std::unique(ids.begin(), ids.end()) - ids.begin();
  return kj::heapArray<uint32_t>(ids.slice(0, count));
}

// A server bounds the descriptors that a session has been given and still holds.
constexpr size_t OPENED_AT_A_TIME = 16;

constexpr uint32_t MAX_NODE_SEGMENTS = uint32_t(1) << NodeRef::SEGMENT_BITS;
constexpr uint32_t MAX_PAYLOAD_SEGMENTS = uint32_t(1) << 16;

// By number; `mapping` is the first one's, and is moved past the last one's.
kj::Array<StateView::Segment> segmentsOf(capnp::List<rpc::StoreSegment>::Reader list,
                                         uint32_t most, const Mapping*& mapping) {
  const uint32_t count = list.size() == 0 ? 0 : list[list.size() - 1].getNumber() + 1;
  KJ_REQUIRE(count <= most, "the number of a segment of the server's store is too large", count);
  auto result = kj::heapArray<StateView::Segment>(count);
  for (auto segment : list) {
    auto& arena = **mapping++;
    KJ_REQUIRE(segment.getNumber() < count, "the server's segments are not in order");
    KJ_REQUIRE(segment.getCommitted() <= arena.size(),
               "a segment of the server's store is shorter than it says", segment.getCommitted());
    auto bytes = arena.peek(0, segment.getCommitted());
    result[segment.getNumber()] = {bytes.get<kj::ArrayPtr<const kj::byte>>().begin(),
                                   segment.getCommitted()};
  }
  return result;
}

const uint64_t* word(const shm::MappedArena& arena, uint32_t id, uint64_t offset) {
  KJ_REQUIRE(offset % sizeof(uint64_t) == 0, "a word of the server's is not at its place", offset);
  return reinterpret_cast<const uint64_t*>(
      look(arena, {id, offset, sizeof(uint64_t)}).begin());
}

}  // namespace

ShmTransport::ShmTransport(rpc::Session::Client session, kj::Timer& timer, const Options& options)
    : maxPayloadBytes(options.maxPayloadBytes),
      regions(kj::atomicRefcounted<HeldRegions>()),
      requestArenas(session, options.requestArenas),
      replyArenas(session, timer, options.mappingIdle) {}

ShmTransport::~ShmTransport() noexcept(false) {
  regions->close();
}

kj::Promise<kj::Maybe<RequestRoom>> ShmTransport::reserve(uint64_t bytes) {
  return requestArenas.take(bytes);
}

kj::Promise<Received> ShmTransport::receive(rpc::Bulk::Reader bulk) {
  auto place = require(rpc::locate(bulk, maxPayloadBytes));
  KJ_SWITCH_ONEOF(place.form) {
    KJ_CASE_ONEOF(chunks, rpc::InlineChunks) {
      return onHeap(join(chunks.chunks));
    }
    KJ_CASE_ONEOF(span, rpc::ArenaSpan) {
      return receiveSpan(span, kj::mv(KJ_ASSERT_NONNULL(place.region)));
    }
    KJ_CASE_ONEOF(table, rpc::SpanTable) {
      return receiveTable(table, place.length, kj::mv(KJ_ASSERT_NONNULL(place.region)));
    }
  }
  KJ_UNREACHABLE;
}

kj::Promise<kj::Own<const StateView>> ShmTransport::receiveView(
    rpc::StateView::Reader view, const RootHash& state, kj::Own<const ConnectionEnd> connection) {
  auto nodes = view.getNodes(), payloads = view.getPayloads();
  KJ_REQUIRE(nodes.size() <= MAX_NODE_SEGMENTS && payloads.size() <= MAX_PAYLOAD_SEGMENTS,
             "the server's view has too many segments", nodes.size(), payloads.size());
  KJ_REQUIRE(view.getLeaseValue() != 0, "the server's view has no lease");
  kj::Vector<uint32_t> ids;
  for (auto segment : nodes) ids.add(segment.getArena());
  for (auto segment : payloads) ids.add(segment.getArena());
  ids.add(view.getLeaseArena());
  ids.add(view.getEvictionsArena());
  return openAll(ids.releaseAsArray())
      .then([this, view, nodes, payloads, state,
             connection = kj::mv(connection)](kj::Array<Mapping> mappings) mutable {
        const auto* next = mappings.begin();
        StateView::Store store;
        store.root = view.getRoot();
        store.nodes = segmentsOf(nodes, MAX_NODE_SEGMENTS, next);
        store.payloads = segmentsOf(payloads, MAX_PAYLOAD_SEGMENTS, next);
        const auto* leaseAt = word(**next++, view.getLeaseArena(), view.getLease());
        store.evictions = word(**next++, view.getEvictionsArena(), view.getEvictions());
        store.evictedAbove = view.getEvictedAbove();
        auto lease = kj::atomicRefcounted<RegionLease>(kj::mv(mappings), *regions, view.getRegion(),
                                                       leaseAt, view.getLeaseValue());
        return kj::Own<const StateView>(kj::atomicRefcounted<StateView>(
            state, kj::mv(store), kj::mv(lease), kj::mv(connection)));
      });
}

kj::Promise<kj::Array<Mapping>> ShmTransport::openAll(kj::Array<uint32_t> ids,
                                                      kj::Vector<Mapping> opened) {
  if (opened.size() == ids.size()) return opened.releaseAsArray();
  const size_t end = kj::min(ids.size(), opened.size() + OPENED_AT_A_TIME);
  auto opening = KJ_MAP(id, ids.slice(opened.size(), end)) {
    return replyArenas.open(id);
  };
  return kj::joinPromises(kj::mv(opening))
      .then([this, ids = kj::mv(ids),
             opened = kj::mv(opened)](kj::Array<Mapping> more) mutable {
        for (auto& mapping : more) opened.add(kj::mv(mapping));
        return openAll(kj::mv(ids), kj::mv(opened));
      });
}

kj::Promise<Received> ShmTransport::receiveSpan(const rpc::ArenaSpan& span,
                                                rpc::Region::Client region) {
  return replyArenas.open(span.arena)
      .then([this, span, region = kj::mv(region)](Mapping arena) mutable {
        auto pieces = kj::heapArray<rpc::Bytes>({look(*arena, span)});
        auto mappings = kj::heapArrayBuilder<Mapping>(1);
        mappings.add(kj::mv(arena));
        auto lease = kj::atomicRefcounted<RegionLease>(mappings.finish(), *regions, kj::mv(region));
        return Received{kj::mv(pieces), kj::mv(lease), Place::SHARED_MEMORY};
      });
}

kj::Promise<Received> ShmTransport::receiveTable(const rpc::SpanTable& table, uint64_t length,
                                                 rpc::Region::Client region) {
  return replyArenas.open(table.table.arena)
      .then([this, table, length, region = kj::mv(region)](Mapping holder) mutable {
        // A copy of our own: what is checked is what is used.
        auto entries = kj::heapArray(look(*holder, table.table));
        auto spans = require(rpc::parseTable(entries, length));
        // Opened with them, if there is one.
        auto places = kj::heapArrayBuilder<rpc::ArenaSpan>(spans.size() + 1);
        places.addAll(spans);
        if (table.lease.value != 0) places.add(table.lease.place);
        auto ids = arenasOf(places.asPtr());
        KJ_REQUIRE(ids.size() <= ReplyArenas::MAX_ARENAS,
                   "the server's table names too many arenas", ids.size());
        auto opening = KJ_MAP(id, ids) {
          return replyArenas.open(id);
        };
        return kj::joinPromises(kj::mv(opening))
            .then([this, lease = table.lease, spans = kj::mv(spans), ids = kj::mv(ids),
                   region = kj::mv(region)](kj::Array<Mapping> mappings) mutable {
              auto lookAt = [&](const rpc::ArenaSpan& span) {
                auto found = std::lower_bound(ids.begin(), ids.end(), span.arena);
                return look(*mappings[found - ids.begin()], span);
              };
              auto pieces = KJ_MAP(span, spans) {
                return lookAt(span);
              };
              const uint64_t* leaseAt = nullptr;
              if (lease.value != 0) {
                leaseAt = reinterpret_cast<const uint64_t*>(lookAt(lease.place).begin());
              }
              auto held = kj::atomicRefcounted<RegionLease>(kj::mv(mappings), *regions,
                                                            kj::mv(region), leaseAt, lease.value);
              return Received{kj::mv(pieces), kj::mv(held), Place::SHARED_MEMORY};
            });
      });
}

}  // namespace ledger::client
