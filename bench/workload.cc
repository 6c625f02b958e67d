// SPDX-License-Identifier: Apache-2.0
#include "bench/workload.h"

#include "ledger/encoding.h"

#include <kj/debug.h>

#include <algorithm>
#include <bit>
#include <unordered_set>

namespace ledger::bench {

static_assert(std::endian::native == std::endian::little);

namespace {

constexpr uint16_t OWNER_PART = 0;
constexpr uint16_t NAME_PART = 2;

uint64_t mix(uint64_t x) {
  return SplitMix64(x).next();
}

uint64_t fnv1a(kj::StringPtr text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

template <typename Make>
ByteStrings concatenate(kj::ArrayPtr<const uint64_t> registers, Make&& make) {
  auto items = kj::heapArray<kj::ArrayPtr<const kj::byte>>(registers.size());
  if (registers.size() == 0) return {nullptr, kj::mv(items)};
  const size_t each = make(registers[0]).size();
  auto bytes = kj::heapArray<kj::byte>(each * registers.size());
  for (size_t i = 0; i < registers.size(); ++i) {
    auto one = make(registers[i]);
    KJ_ASSERT(one.size() == each);
    std::copy(one.begin(), one.end(), bytes.begin() + i * each);
    items[i] = bytes.slice(i * each, (i + 1) * each);
  }
  return {kj::mv(bytes), kj::mv(items)};
}

}  // namespace

uint64_t SplitMix64::next() {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

void SplitMix64::fill(kj::ArrayPtr<kj::byte> out) {
  while (out.size() > 0) {
    const uint64_t word = next();
    const size_t count = std::min(out.size(), sizeof(word));
    memcpy(out.begin(), &word, count);
    out = out.slice(count, out.size());
  }
}

SplitMix64 stream(uint64_t a, uint64_t b, uint64_t c) {
  return SplitMix64(mix(mix(mix(a) + b) + c));
}

kj::Array<uint64_t> Picks::distinct(size_t count) {
  KJ_REQUIRE(count <= registers, "more distinct registers than there are", count, registers);
  std::unordered_set<uint64_t> seen;
  auto result = kj::heapArrayBuilder<uint64_t>(count);
  while (result.size() < count) {
    const uint64_t one = this->one();
    if (seen.insert(one).second) result.add(one);
  }
  return result.finish();
}

kj::Array<kj::byte> Workload::key(uint64_t of) const {
  kj::byte bytes[OWNER_BYTES + NAME_BYTES];
  stream(seed, of, 0).fill(bytes);
  const auto all = kj::arrayPtr(bytes, sizeof(bytes));
  const KeyPart parts[] = {{OWNER_PART, all.slice(0, OWNER_BYTES)},
                           {NAME_PART, all.slice(OWNER_BYTES, all.size())}};
  return encodeKey(kj::arrayPtr(parts, 2)).get<kj::Array<kj::byte>>();
}

kj::Array<kj::byte> Workload::value(uint64_t of, uint64_t version, size_t length) const {
  auto bytes = kj::heapArray<kj::byte>(length);
  stream(seed, of, version).fill(bytes);
  return bytes;
}

ByteStrings Workload::keys(kj::ArrayPtr<const uint64_t> of) const {
  return concatenate(of, [this](uint64_t one) { return key(one); });
}

ByteStrings Workload::values(kj::ArrayPtr<const uint64_t> of, uint64_t version) const {
  return concatenate(of, [this, version](uint64_t one) { return value(one, version); });
}

Picks Workload::picks(kj::StringPtr caseName, uint64_t run) const {
  return {stream(seed, fnv1a(caseName), run), registers};
}

kj::Array<uint64_t> range(uint64_t first, uint64_t end) {
  auto result = kj::heapArrayBuilder<uint64_t>(end - first);
  for (uint64_t i = first; i < end; ++i) result.add(i);
  return result.finish();
}

}  // namespace ledger::bench
