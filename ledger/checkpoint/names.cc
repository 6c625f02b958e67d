// SPDX-License-Identifier: Apache-2.0
#include "ledger/checkpoint/names.h"

#include "ledger/checkpoint/format.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <algorithm>

namespace ledger {
namespace {

constexpr kj::StringPtr PREFIX = "checkpoint."_kj;

kj::String padded(uint64_t number, size_t digits) {
  auto text = kj::str(number);
  if (text.size() >= digits) return text;
  return kj::str(kj::repeat('0', digits - text.size()), text);
}

// The number of a checkpoint's name; null: not spelt as checkpointName() spells it.
kj::Maybe<uint64_t> parseNumbered(kj::StringPtr name) {
  if (!name.startsWith(PREFIX)) return nullptr;
  auto digits = name.slice(PREFIX.size());
  // Up to 18 digits, so that nothing overflows here or in what is counted from it.
  if (digits.size() < 8 || digits.size() > 18) return nullptr;
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return nullptr;
  }
  uint64_t number = 0;
  for (char c : digits) number = number * 10 + static_cast<uint64_t>(c - '0');
  if (checkpointName(number) != name) return nullptr;
  return number;
}

}  // namespace

kj::String checkpointName(uint64_t number) {
  return kj::str(PREFIX, padded(number, 8));
}

kj::String checkpointPartName(kj::StringPtr name, unsigned part) {
  KJ_REQUIRE(part < CHECKPOINT_PARTS);
  return kj::str(name, ".", padded(part, 3));
}

bool isCheckpointName(kj::StringPtr name) {
  return name == ROOT_CHECKPOINT_NAME || parseNumbered(name) != nullptr;
}

kj::Array<uint64_t> listCheckpoints(const kj::ReadableDirectory& directory) {
  kj::Vector<uint64_t> numbers;
  for (auto& name : directory.listNames()) {
    KJ_IF_MAYBE (number, parseNumbered(name)) numbers.add(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers.releaseAsArray();
}

bool hasRootCheckpoint(const kj::ReadableDirectory& directory) {
  return directory.tryLstat(kj::Path(ROOT_CHECKPOINT_NAME)) != nullptr;
}

}  // namespace ledger
