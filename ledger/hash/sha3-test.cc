// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/sha3.h"

#include "ledger/hash/default-hashes.h"
#include "ledger/hash/kernels.h"
#include "ledger/hash/portable-words.h"

#include <gtest/gtest.h>
#include <kj/array.h>
#include <kj/encoding.h>
#include <kj/vector.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <ostream>
#include <random>
#include <string>

namespace ledger::hash {
namespace {

// The oracle: OpenSSL's own SHA3-256.
Hash openSslSha3(kj::ArrayPtr<const kj::byte> first, kj::ArrayPtr<const kj::byte> second) {
  Hash result;
  unsigned length = 0;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha3_256(), nullptr);
  EVP_DigestUpdate(context, first.begin(), first.size());
  EVP_DigestUpdate(context, second.begin(), second.size());
  EVP_DigestFinal_ex(context, result.bytes.data(), &length);
  EVP_MD_CTX_free(context);
  EXPECT_EQ(length, Hash::SIZE);
  return result;
}

kj::Array<kj::byte> randomBytes(std::mt19937_64& random, size_t size) {
  auto result = kj::heapArray<kj::byte>(size);
  for (auto& b : result) b = random();
  return result;
}

template <typename Fixed>
Fixed randomFixed(std::mt19937_64& random) {
  return Fixed::copyOf(randomBytes(random, Fixed::SIZE));
}

Hash fromHex(kj::StringPtr text) {
  return Hash::copyOf(kj::decodeHex(text));
}

constinit const LaneKernel PORTABLE_KERNEL = Lanes<PortableWords>::kernel();
constexpr Kernels PORTABLE = {&SCALAR_KERNEL, &PORTABLE_KERNEL};

// Every test runs with every kernel that this CPU has, and with one of eight lanes on any.
struct Tried {
  const char* name;
  const Kernels* kernels;
  bool supported;
  const char* missing;
};

void PrintTo(const Tried& tried, std::ostream* out) {
  *out << tried.name;
}

Tried tried(HashKernel kernel, const char* missing) {
  bool supported = false;
  for (auto other : supportedHashKernels()) supported = supported || other == kernel;
  return {nameOf(kernel).cStr(), &kernelsOf(kernel), supported, missing};
}

class Sha3 : public testing::TestWithParam<Tried> {
protected:
  void SetUp() override {
    if (!GetParam().supported) {
      GTEST_SKIP() << "skipped, because this CPU has no " << GetParam().missing;
    }
    useKernels(*GetParam().kernels);
  }
  void TearDown() override { useHashKernel(supportedHashKernels().back()); }
};
class HashLeaf : public Sha3 {};
class HashInterior : public Sha3 {};
class RunChains : public Sha3 {};

const auto KERNELS = testing::Values(
    tried(HashKernel::SCALAR, ""), tried(HashKernel::BMI2, "BMI2"), tried(HashKernel::AVX2, "AVX2"),
    tried(HashKernel::AVX512, "AVX-512"), Tried{"portable8", &PORTABLE, true, ""});
std::string nameOfTried(const testing::TestParamInfo<Tried>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Kernels, Sha3, KERNELS, nameOfTried);
INSTANTIATE_TEST_SUITE_P(Kernels, HashLeaf, KERNELS, nameOfTried);
INSTANTIATE_TEST_SUITE_P(Kernels, HashInterior, KERNELS, nameOfTried);
INSTANTIATE_TEST_SUITE_P(Kernels, RunChains, KERNELS, nameOfTried);

// A wrong rotation, constant or padding byte shows at some length; the block is 136 bytes, so
// every position of the padding and the borders of four blocks are covered.
TEST_P(Sha3, EqualsOpenSslForEveryLengthUpToFourBlocks) {
  std::mt19937_64 random(1);
  for (size_t size = 0; size <= 600; ++size) {
    auto message = randomBytes(random, size);
    EXPECT_TRUE(sha3(message) == openSslSha3(message, nullptr)) << "length " << size;
  }
  auto large = randomBytes(random, 1 << 20);
  EXPECT_TRUE(sha3(large) == openSslSha3(large, nullptr));
}

// A message in two pieces must not depend on where it is cut: an error in the carry of a partly
// filled block would show.
TEST_P(Sha3, DoesNotDependOnTheCut) {
  std::mt19937_64 random(2);
  for (size_t size : {0, 1, 135, 136, 137, 271, 272, 273, 300}) {
    auto message = randomBytes(random, size);
    const Hash expected = openSslSha3(message, nullptr);
    kj::Vector<Message> cuts;
    for (size_t cut = 0; cut <= size; ++cut) {
      cuts.add(Message{message.slice(0, cut), message.slice(cut, size)});
    }
    auto hashes = kj::heapArray<Hash>(cuts.size());
    sha3(cuts.asPtr(), hashes);
    for (size_t cut = 0; cut <= size; ++cut) {
      EXPECT_TRUE(hashes[cut] == expected) << "length " << size << ", cut at " << cut;
    }
  }
}

// Lanes that begin, end and fill their blocks at different times, among them one that goes on when
// all others have ended: a lane that keeps a part of the message before it gives another hash.
TEST_P(Sha3, EqualsOpenSslForMessagesOfMixedLengths) {
  std::mt19937_64 random(6);
  for (size_t count = 1; count <= 40; ++count) {
    kj::Vector<kj::Array<kj::byte>> pieces;
    kj::Vector<Message> messages;
    for (size_t i = 0; i < count; ++i) {
      const size_t firstSize = random() % 3 == 0 ? 0 : random() % 300;
      const size_t secondSize = i == count / 2 ? 20'000 : random() % 500;
      pieces.add(randomBytes(random, firstSize));
      pieces.add(randomBytes(random, secondSize));
      messages.add(Message{pieces[2 * i], pieces[2 * i + 1]});
    }
    auto hashes = kj::heapArray<Hash>(count);
    sha3(messages.asPtr(), hashes);
    for (size_t i = 0; i < count; ++i) {
      EXPECT_TRUE(hashes[i] == openSslSha3(messages[i].first, messages[i].second))
          << "message " << i << " of " << count;
    }
  }
}

// Every length of the padding in every lane.
TEST_P(Sha3, EqualsOpenSslForManyMessagesOfEveryLength) {
  std::mt19937_64 random(7);
  auto bytes = randomBytes(random, 600);
  kj::Vector<Message> messages;
  for (size_t size = 0; size <= bytes.size(); ++size) {
    messages.add(Message{bytes.slice(0, size / 3), bytes.slice(size / 3, size)});
  }
  auto hashes = kj::heapArray<Hash>(messages.size());
  sha3(messages.asPtr(), hashes);
  for (size_t size = 0; size <= bytes.size(); ++size) {
    EXPECT_TRUE(hashes[size] == openSslSha3(bytes.slice(0, size), nullptr)) << "length " << size;
  }
}

TEST_P(Sha3, OfNoMessagesIsNothing) {
  sha3(kj::ArrayPtr<const Message>(), kj::ArrayPtr<Hash>());
  hashInteriors(nullptr);
  runChains(nullptr);
}

// What benchmarks measure is the permutation.
TEST_P(Sha3, PermutesEveryLane) {
  std::mt19937_64 random(8);
  const Kernels& kernel = *GetParam().kernels;
  const unsigned lanes = kernel.lanes == nullptr ? 1 : kernel.lanes->lanes;
  auto expected = kj::heapArray<std::array<uint64_t, keccak::WORDS>>(lanes);
  auto found = kj::heapArray<uint64_t>(lanes * keccak::WORDS);
  for (unsigned lane = 0; lane < lanes; ++lane) {
    for (unsigned i = 0; i < keccak::WORDS; ++i) {
      found[i * lanes + lane] = expected[lane][i] = random();
    }
    SCALAR_KERNEL.permute(expected[lane].data());
  }
  kernel.lanes == nullptr ? kernel.scalar->permute(found.begin())
                          : kernel.lanes->permute(found.begin());
  for (unsigned lane = 0; lane < lanes; ++lane) {
    for (unsigned i = 0; i < keccak::WORDS; ++i) {
      EXPECT_EQ(found[i * lanes + lane], expected[lane][i]) << lane << ", word " << i;
    }
  }
}

TEST_P(Sha3, RefusesListsOfDifferentLengths) {
  Message message;
  EXPECT_ANY_THROW(sha3(kj::arrayPtr(&message, 1), nullptr));
}

// Pins flow-go's definitions: the key is not hashed, the path comes first.
TEST_P(HashLeaf, IsTheHashOfPathAndValue) {
  std::mt19937_64 random(3);
  for (size_t size : {1, 103, 104, 105, 239, 240, 241, 4096}) {
    auto path = randomFixed<Path>(random);
    auto value = randomBytes(random, size);
    EXPECT_TRUE(hashLeaf(path, value) == openSslSha3(path.ptr(), value)) << "length " << size;
  }
}

TEST_P(HashLeaf, EqualsFlowGosVectors) {
  Path path;
  path.bytes[0] = 1;
  path.bytes[1] = 2;
  path.bytes[31] = 0xff;
  auto value = kj::heapArray<kj::byte>(4096);
  for (size_t i = 0; i < value.size(); ++i) value[i] = i;
  EXPECT_TRUE(hashLeaf(path, value.slice(0, 103)) ==
              fromHex("a2a5715b6f116d6b4081dde9fcd87df09d4d3658aa401ebaec55c11035d65d6e"));
  EXPECT_TRUE(hashLeaf(path, value.slice(0, 104)) ==
              fromHex("e36038eceae03c79198315ee2bcbb9a0461cfee117a25c81567db94fb7529fc4"));
  EXPECT_TRUE(hashLeaf(path, value) ==
              fromHex("3ea8d777b429987a70690a86bca0fa8ddc488498020edaa754093e20ead4a692"));
}

TEST_P(HashInterior, IsTheHashOfBothChildren) {
  std::mt19937_64 random(4);
  for (size_t count = 1; count <= 40; ++count) {
    kj::Vector<Hash> inputs;
    for (size_t i = 0; i < 2 * count; ++i) inputs.add(randomFixed<Hash>(random));
    auto outputs = kj::heapArray<Hash>(count);
    kj::Vector<InteriorJob> jobs;
    for (size_t i = 0; i < count; ++i) {
      jobs.add(InteriorJob{&inputs[2 * i], &inputs[2 * i + 1], &outputs[i]});
    }
    hashInteriors(jobs.asPtr());
    for (size_t i = 0; i < count; ++i) {
      const Hash expected = openSslSha3(inputs[2 * i].ptr(), inputs[2 * i + 1].ptr());
      EXPECT_TRUE(outputs[i] == expected) << "job " << i << " of " << count;
      EXPECT_TRUE(hashInterior(inputs[2 * i], inputs[2 * i + 1]) == expected) << "job " << i;
    }
  }
}

// A lane that is stored before its neighbours are loaded is no error, one that is stored before it
// is loaded itself is; and so is an idle lane that hashes what a job has already replaced.
TEST_P(HashInterior, MayReplaceItsOwnChildren) {
  std::mt19937_64 random(9);
  for (size_t count = 1; count <= 40; ++count) {
    auto hashes = kj::heapArray<Hash>(2 * count);
    for (auto& hash : hashes) hash = randomFixed<Hash>(random);
    kj::Vector<Hash> expected;
    kj::Vector<InteriorJob> jobs;
    for (size_t i = 0; i < count; ++i) {
      auto& left = hashes[2 * i];
      auto& right = hashes[2 * i + 1];
      expected.add(openSslSha3(left.ptr(), right.ptr()));
      jobs.add(InteriorJob{&left, &right, i % 2 == 0 ? &left : &right});
    }
    hashInteriors(jobs.asPtr());
    for (size_t i = 0; i < count; ++i) {
      EXPECT_TRUE(*jobs[i].out == expected[i]) << "job " << i << " of " << count;
    }
  }
}

// The definition, one level at a time.
Hash climb(const Path& path, Hash hash, unsigned from, unsigned to) {
  for (unsigned height = from; height < to; ++height) {
    const unsigned bit = TRIE_HEIGHT - height - 1;
    const Hash& sibling = defaultHash(height);
    hash = path.bit(bit) ? openSslSha3(sibling.ptr(), hash.ptr())
                         : openSslSha3(hash.ptr(), sibling.ptr());
  }
  return hash;
}

// Some stop at once, or stop twice at one height, or have one level to climb.
kj::Array<uint16_t> randomStops(std::mt19937_64& random, uint16_t from) {
  auto stops = kj::heapArray<uint16_t>(1 + random() % 4);
  for (auto& stop : stops) {
    const unsigned room = random() % 2 == 0 ? TRIE_HEIGHT - from : kj::min(TRIE_HEIGHT - from, 2u);
    stop = from + random() % (room + 1);
  }
  std::sort(stops.begin(), stops.end());
  return stops;
}

// For every count of jobs, which start and end at different heights: a bit taken one level off, a
// height lost between two stops, or a lane that climbs with another's bits, gives another hash.
TEST_P(RunChains, ClimbsThroughEmptySiblings) {
  std::mt19937_64 random(5);
  for (size_t count = 1; count <= 40; ++count) {
    auto paths = kj::heapArray<Path>(count);
    auto outputs = kj::heapArray<Hash>(count * 4);
    kj::Vector<ChainJob> jobs;
    kj::Vector<kj::Array<uint16_t>> stops;
    for (size_t i = 0; i < count; ++i) {
      paths[i] = randomFixed<Path>(random);
      const uint16_t from = random() % 3 == 0 ? 0 : random() % (TRIE_HEIGHT + 1);
      stops.add(randomStops(random, from));
      jobs.add(ChainJob{&paths[i], randomFixed<Hash>(random), from, stops[i], &outputs[i * 4]});
    }
    runChains(jobs.asPtr());
    for (size_t i = 0; i < count; ++i) {
      Hash hash = jobs[i].start;
      unsigned height = jobs[i].from;
      for (size_t stop = 0; stop < stops[i].size(); ++stop) {
        hash = climb(paths[i], hash, height, stops[i][stop]);
        height = stops[i][stop];
        EXPECT_TRUE(jobs[i].out[stop] == hash) << "job " << i << " of " << count << ", " << height;
      }
    }
  }
}

// As the leaves of a trie are hashed: all from the bottom, side by side to the end.
TEST_P(RunChains, ClimbsFromTheBottomToTheRoot) {
  std::mt19937_64 random(10);
  constexpr size_t COUNT = 17;
  const uint16_t stops[] = {0, 1, 255, 255, 256};
  auto paths = kj::heapArray<Path>(COUNT);
  auto outputs = kj::heapArray<Hash>(COUNT * 5);
  kj::Vector<ChainJob> jobs;
  for (size_t i = 0; i < COUNT; ++i) {
    paths[i] = randomFixed<Path>(random);
    jobs.add(
        ChainJob{&paths[i], randomFixed<Hash>(random), 0, kj::arrayPtr(stops, 5), &outputs[i * 5]});
  }
  runChains(jobs.asPtr());
  for (size_t i = 0; i < COUNT; ++i) {
    for (size_t stop = 0; stop < 5; ++stop) {
      EXPECT_TRUE(jobs[i].out[stop] == climb(paths[i], jobs[i].start, 0, stops[stop]))
          << "job " << i << ", height " << stops[stop];
    }
  }
}

TEST_P(RunChains, RefusesHeightsThatDescendOrLeaveTheTrie) {
  Path path;
  Hash out[2];
  const uint16_t descending[] = {9, 8};
  const uint16_t outside[] = {257};
  ChainJob job = {&path, Hash(), 0, kj::arrayPtr(descending, 2), out};
  EXPECT_ANY_THROW(runChains(kj::arrayPtr(&job, 1)));
  job.heights = kj::arrayPtr(outside, 1);
  EXPECT_ANY_THROW(runChains(kj::arrayPtr(&job, 1)));
}

}  // namespace
}  // namespace ledger::hash
