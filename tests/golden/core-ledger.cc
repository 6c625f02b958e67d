// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/core-ledger.h"

#include "ledger/ledger.h"

#include <kj/debug.h>

namespace ledger::golden {

namespace {

// Far above what golden data needs, far below what a test machine has.
constexpr uint64_t MEMORY_LIMIT = uint64_t(4) << 30;

class CoreLedger final : public LedgerUnderTest {
public:
  kj::StringPtr name() const override { return "core"; }

  void open(kj::StringPtr directory, const OpenOptions& options) override {
    auto path = filesystem->getCurrentPath().evalNative(directory);
    LedgerOptions settings;
    settings.forestCapacity = options.forestCapacity;
    if (options.walSegmentSize > 0) settings.walSegmentSize = options.walSegmentSize;
    opened =
        Ledger::open(filesystem->getRoot().openSubdir(path, kj::WriteMode::MODIFY), directory,
                     shm::MemoryBudget::create("--memory-limit", MEMORY_LIMIT), kj::mv(settings));
  }

  void close() override { opened = nullptr; }

  RootHash initialState() override { return ledger().initialState(); }
  bool hasState(const RootHash& state) override { return ledger().hasState(state); }
  uint64_t stateCount() override { return ledger().stateCount(); }
  Result<RootHash> stateByIndex(int64_t index) override { return ledger().stateByIndex(index); }
  kj::Array<RootHash> states() override { return ledger().states(); }

  Result<Bytes> getSingleValue(const RootHash& state, EncodedKey key) override {
    auto pinned = ledger().pin(state);
    KJ_SWITCH_ONEOF(pinned) {
      KJ_CASE_ONEOF(error, Error) {
        return kj::mv(error);
      }
      KJ_CASE_ONEOF(trie, kj::Own<const Trie>) {
        auto answer = Ledger::getSingleValue(*trie, key);
        KJ_SWITCH_ONEOF(answer) {
          KJ_CASE_ONEOF(error, Error) {
            return kj::mv(error);
          }
          KJ_CASE_ONEOF(value, Value) {
            return kj::heapArray(value);
          }
        }
      }
    }
    KJ_UNREACHABLE;
  }

  Result<kj::Array<Bytes>> get(const RootHash& state, Keys keys) override {
    auto answer = ledger().get(state, keys, Stop::never());
    KJ_SWITCH_ONEOF(answer) {
      KJ_CASE_ONEOF(error, Error) {
        return kj::mv(error);
      }
      KJ_CASE_ONEOF(read, Values) {
        auto copies = kj::heapArrayBuilder<Bytes>(read.values.size());
        for (auto value : read.values) copies.add(kj::heapArray(value));
        return copies.finish();
      }
    }
    KJ_UNREACHABLE;
  }

  Result<Bytes> prove(const RootHash& state, Keys keys) override {
    auto answer = ledger().prove(state, keys, Stop::never());
    KJ_SWITCH_ONEOF(answer) {
      KJ_CASE_ONEOF(error, Error) {
        return kj::mv(error);
      }
      KJ_CASE_ONEOF(proof, BatchProof) {
        auto bytes = kj::heapArray<kj::byte>(proof.encodedSize());
        proof.encode(bytes);
        return kj::mv(bytes);
      }
    }
    KJ_UNREACHABLE;
  }

  Result<RootHash> set(const RootHash& state, Keys keys,
                       kj::ArrayPtr<const Value> values) override {
    return ledger().set(state, keys, values, nullptr, Stop::never());
  }

  kj::Maybe<TrieCounters> counters(const RootHash& state) override {
    auto pinned = ledger().pin(state);
    KJ_IF_MAYBE (trie, pinned.tryGet<kj::Own<const Trie>>()) {
      const auto size = (*trie)->size();
      return TrieCounters{size.registers, size.bytes};
    }
    return nullptr;
  }

private:
  const Ledger& ledger() const { return *KJ_REQUIRE_NONNULL(opened, "no ledger is open"); }

  kj::Own<kj::Filesystem> filesystem = kj::newDiskFilesystem();
  kj::Maybe<kj::Own<Ledger>> opened;
};

}  // namespace

kj::Own<LedgerUnderTest> newCoreLedger() {
  return kj::heap<CoreLedger>();
}

}  // namespace ledger::golden
