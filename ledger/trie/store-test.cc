// SPDX-License-Identifier: Apache-2.0
#include "ledger/trie/store.h"

#include "shm/mapped-arena.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace ledger {
namespace {

constexpr SegmentSizes SMALL{uint64_t(64) << 10, uint64_t(256) << 10, uint64_t(8) << 10};

kj::Own<const Store> makeStore(uint64_t limit = uint64_t(1) << 30) {
  return kj::atomicRefcounted<Store>(*shm::MemoryBudget::create("--memory-limit", limit), SMALL);
}

kj::Array<kj::byte> bytesOf(size_t size, kj::byte seed) {
  auto result = kj::heapArray<kj::byte>(size);
  for (size_t i = 0; i < size; ++i) result[i] = kj::byte(seed + i * 7);
  return result;
}

Path pathOf(uint32_t number) {
  Path path;
  memcpy(path.bytes.data(), &number, sizeof(number));
  return path;
}

// Records of every kind of size, taken and freed at random: none may overlap another or change.
TEST(PayloadStore, KeepsEveryRecordWhileItIsReferenced) {
  auto store = makeStore();
  struct Record {
    PayloadHandle handle;
    kj::Array<kj::byte> key, value;
    uint32_t number;
  };
  std::mt19937 random(11);
  std::vector<Record> live;
  auto check = [&](const Record& record) {
    auto view = store->payloads.view(record.handle.ref);
    EXPECT_TRUE(view.key() == record.key.asPtr());
    EXPECT_TRUE(view.value() == record.value.asPtr());
    EXPECT_EQ(view.path(), pathOf(record.number));
  };
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < 4000; ++i) {
    if (live.size() < 100 || random() % 2) {
      size_t sizes[] = {0, 1, random() % 100, random() % 3000, random() % 100000};
      Record record{{}, bytesOf(random() % 60, i), bytesOf(sizes[random() % 5], i + 1), i};
      PayloadStore::Lengths lengths{uint32_t(record.key.size()), uint32_t(record.value.size())};
      ASSERT_TRUE(store->payloads.allocate(kj::arrayPtr(&lengths, 1),
                                           kj::arrayPtr(&record.handle, 1)) == nullptr);
      store->payloads.write(record.handle.ref, pathOf(i), {record.key, record.value});
      bytes += PayloadStore::spaceFor(lengths);
      live.push_back(kj::mv(record));
    } else {
      std::swap(live[random() % live.size()], live.back());
      check(live.back());
      auto& gone = live.back();
      bytes -= PayloadStore::spaceFor({uint32_t(gone.key.size()), uint32_t(gone.value.size())});
      store->payloads.release(gone.handle);
      live.pop_back();
    }
    ASSERT_EQ(store->payloads.live(), live.size());
    ASSERT_EQ(store->payloads.liveBytes(), bytes);
  }
  for (const auto& record : live) check(record);
  for (const auto& record : live) store->payloads.release(record.handle);
  EXPECT_EQ(store->payloads.liveBytes(), 0u);
  // All but the segment that new records go to was closed.
  EXPECT_LE(store->payloads.committedBytes(), SMALL.most);
}

TEST(PayloadStore, AValueLargerThanASegmentGetsItsOwnAndGivesItBack) {
  auto store = makeStore();
  PayloadStore::Lengths lengths{10, 1 << 20};
  PayloadHandle handle;
  ASSERT_TRUE(store->payloads.allocate(kj::arrayPtr(&lengths, 1), kj::arrayPtr(&handle, 1)) ==
              nullptr);
  EXPECT_GE(store->payloads.committedBytes(), uint64_t(1) << 20);
  store->payloads.release(handle);
  EXPECT_EQ(store->payloads.committedBytes(), 0u);
}

// A record with this value.
PayloadHandle recordOf(const Store& store, kj::ArrayPtr<const kj::byte> value) {
  PayloadStore::Lengths lengths{0, uint32_t(value.size())};
  PayloadHandle handle;
  KJ_REQUIRE(store.payloads.allocate(kj::arrayPtr(&lengths, 1), kj::arrayPtr(&handle, 1)) ==
             nullptr);
  store.payloads.write(handle.ref, pathOf(1), {nullptr, value});
  return handle;
}

TEST(PayloadStore, PeersFindValuesBySegmentAndOffset) {
  auto store = makeStore();
  std::vector<PayloadHandle> handles;
  std::vector<kj::Array<kj::byte>> written;
  std::vector<Value> values;
  for (size_t i = 0; i < 100; ++i) {
    written.push_back(bytesOf(i % 10 == 0 ? 100000 : 1 + 50 * i, i));
    handles.push_back(recordOf(*store, written.back()));
    values.push_back(store->payloads.view(handles.back().ref).value());
  }
  auto located = store->payloads.locate(kj::arrayPtr(values.data(), values.size()));
  EXPECT_GT(located.segments.size(), 10u);  // Ten have one each.
  std::vector<kj::Own<const shm::MappedArena>> mapped;
  for (auto& segment : located.segments) {
    auto arena = shm::MappedArena::map(segment->openReadOnly(), segment->capacity());
    mapped.push_back(kj::mv(arena.get<kj::Own<const shm::MappedArena>>()));
  }
  for (size_t i = 0; i < written.size(); ++i) {
    auto& span = located.spans[i];
    auto bytes = mapped[span.segment]->peek(span.offset, span.length);
    EXPECT_EQ(bytes.get<kj::ArrayPtr<const kj::byte>>(), written[i].asPtr());
  }
  const kj::byte elsewhere[] = {1};
  const Value foreign = elsewhere;
  EXPECT_ANY_THROW(store->payloads.locate(kj::arrayPtr(&foreign, 1)));
  for (auto& handle : handles) store->payloads.release(handle);
}

TEST(PayloadStore, ASegmentThatAPeerHasOpenIsCountedUntilItLetsGo) {
  auto budget = shm::MemoryBudget::create("--memory-limit", uint64_t(1) << 30);
  auto store = kj::atomicRefcounted<Store>(*budget, SMALL);
  const auto value = bytesOf(1 << 20, 1);
  const auto handle = recordOf(*store, value);
  const auto before = budget->used();
  Value stored = store->payloads.view(handle.ref).value();
  auto located = store->payloads.locate(kj::arrayPtr(&stored, 1));
  auto opened = located.segments[0]->openReadOnly();
  located = {};
  store->payloads.release(handle);
  store->payloads.collect();
  EXPECT_EQ(budget->used(), before);
  opened = nullptr;
  store->payloads.collect();
  EXPECT_LT(budget->used(), before - value.size());
}

TEST(PayloadStore, AShortageNamesTheBudgetAndLeavesNothingBehind) {
  auto store = makeStore(uint64_t(1) << 20);
  PayloadStore::Lengths lengths[2] = {{10, 1000}, {10, 2 << 20}};
  PayloadHandle handles[2];
  KJ_IF_MAYBE (shortage, store->payloads.allocate(lengths, handles)) {
    EXPECT_STREQ(shortage->budget.cStr(), "--memory-limit");
    EXPECT_GT(shortage->needed, uint64_t(2) << 20);
  } else {
    FAIL() << "stored beyond the budget";
  }
  EXPECT_EQ(store->payloads.live(), 0u);
  EXPECT_EQ(store->payloads.liveBytes(), 0u);
}

// The header's format is read by peers.
TEST(NodeStore, ASegmentStartsWithItsHeader) {
  auto store = makeStore();
  uint64_t slot;
  ASSERT_TRUE(store->nodes.allocate(kj::arrayPtr(&slot, 1)) == nullptr);
  EXPECT_EQ(slot, 1u);
  const auto& header = *reinterpret_cast<const SegmentHeader*>(
      reinterpret_cast<const kj::byte*>(&store->nodes.interior(NodeRef::interior(slot))) -
      NODE_SLOT_SIZE);
  EXPECT_EQ(header.magic, NODE_MAGIC);
  EXPECT_EQ(header.version, LAYOUT_VERSION);
  EXPECT_EQ(header.segment, 0u);
  EXPECT_EQ(header.size, SMALL.first);
}

// A chain deeper than any call stack would like: reclamation must not recurse.
TEST(Store, ReleasesALongChainOfNodes) {
  auto store = makeStore();
  constexpr size_t COUNT = 10000;
  auto slots = kj::heapArray<uint64_t>(COUNT);
  ASSERT_TRUE(store->nodes.allocate(slots) == nullptr);
  for (size_t i = 0; i < COUNT; ++i) {
    auto& slot = store->nodes.writeInterior(slots[i]);
    slot.left = i == 0 ? NodeRef() : NodeRef::interior(slots[i - 1]);
    slot.right = {};
  }
  EXPECT_EQ(store->nodes.live(), COUNT);
  store->release(NodeRef::interior(slots[COUNT - 1]));
  EXPECT_EQ(store->nodes.live(), 0u);
}

}  // namespace
}  // namespace ledger
