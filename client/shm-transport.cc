// SPDX-License-Identifier: Apache-2.0
#include "client/shm-transport.h"

#include <kj/debug.h>

#include <algorithm>
#include <atomic>

namespace ledger::client {
namespace {

using Mapping = kj::Own<const shm::MappedArena>;

// From here on one call that maps all pages is cheaper than a fault for every few of them.
constexpr uint64_t POPULATE_BYTES = 256 << 10;

// Keeps a region with the server, and the arenas that it lies in mapped.
class RegionLease final : public Lease {
public:
  RegionLease(kj::Array<Mapping> mappings, HeldRegions& regions, rpc::Region::Client region,
              const uint64_t* leaseAt = nullptr, uint64_t leaseValue = 0)
      : mappings(kj::mv(mappings)),
        leaseAt(leaseAt),
        leaseValue(leaseValue),
        regions(kj::atomicAddRef(regions)),
        number(regions.hold(kj::mv(region))) {}
  ~RegionLease() noexcept(false) { regions->giveBack(number); }

  bool isIntact() const override {
    if (leaseAt == nullptr) return true;
    // Not before what was read until now.
    std::atomic_thread_fence(std::memory_order_acquire);
    return __atomic_load_n(leaseAt, __ATOMIC_RELAXED) == leaseValue;
  }

private:
  kj::Array<Mapping> mappings;
  const uint64_t* leaseAt;  // In one of them. Null: the bytes never change.
  uint64_t leaseValue;
  kj::Own<const HeldRegions> regions;
  uint64_t number;
};

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
