// SPDX-License-Identifier: Apache-2.0
#include "ledger/hash/sha3.h"

#include "ledger/hash/default-hashes.h"

#include <gtest/gtest.h>
#include <kj/array.h>
#include <kj/encoding.h>
#include <kj/vector.h>
#include <openssl/evp.h>

#include <random>

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

// A wrong rotation, constant or padding byte shows at some length; the block is 136 bytes, so
// every position of the padding and the borders of four blocks are covered.
TEST(Sha3, EqualsOpenSslForEveryLengthUpToFourBlocks) {
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
TEST(Sha3, DoesNotDependOnTheCut) {
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

TEST(Sha3, RefusesListsOfDifferentLengths) {
  Message message;
  EXPECT_ANY_THROW(sha3(kj::arrayPtr(&message, 1), nullptr));
}

// Pins flow-go's definitions: the key is not hashed, the path comes first.
TEST(HashLeaf, IsTheHashOfPathAndValue) {
  std::mt19937_64 random(3);
  for (size_t size : {1, 103, 104, 105, 239, 240, 241, 4096}) {
    auto path = randomFixed<Path>(random);
    auto value = randomBytes(random, size);
    EXPECT_TRUE(hashLeaf(path, value) == openSslSha3(path.ptr(), value)) << "length " << size;
  }
}

TEST(HashLeaf, EqualsFlowGosVectors) {
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

TEST(HashInterior, IsTheHashOfBothChildren) {
  std::mt19937_64 random(4);
  kj::Vector<Hash> inputs;
  for (unsigned i = 0; i < 64; ++i) inputs.add(randomFixed<Hash>(random));
  auto outputs = kj::heapArray<Hash>(32);
  kj::Vector<InteriorJob> jobs;
  for (unsigned i = 0; i < 32; ++i) {
    jobs.add(InteriorJob{&inputs[2 * i], &inputs[2 * i + 1], &outputs[i]});
  }
  hashInteriors(jobs.asPtr());
  for (unsigned i = 0; i < 32; ++i) {
    const Hash expected = openSslSha3(inputs[2 * i].ptr(), inputs[2 * i + 1].ptr());
    EXPECT_TRUE(outputs[i] == expected) << "job " << i;
    EXPECT_TRUE(hashInterior(inputs[2 * i], inputs[2 * i + 1]) == expected) << "job " << i;
  }
}

// Against the definition, one level at a time, for jobs that start and end at different heights:
// a bit taken one level off, or a height lost between two stops, gives another hash.
TEST(RunChains, ClimbsThroughEmptySiblings) {
  std::mt19937_64 random(5);
  constexpr unsigned JOBS = 9;
  auto paths = kj::heapArray<Path>(JOBS);
  auto outputs = kj::heapArray<Hash>(JOBS * 4);
  kj::Vector<ChainJob> jobs;
  kj::Vector<kj::Array<uint16_t>> stops;
  for (unsigned i = 0; i < JOBS; ++i) {
    paths[i] = randomFixed<Path>(random);
    const uint16_t from = i * 31;
    stops.add(kj::heapArray<uint16_t>(
        {from, uint16_t(from + 1), uint16_t((from + 256) / 2 + 1), uint16_t(TRIE_HEIGHT)}));
    if (i == JOBS - 1) stops[i] = kj::heapArray<uint16_t>({from, 255, 255, 256});
    jobs.add(ChainJob{&paths[i], randomFixed<Hash>(random), from, stops[i], &outputs[i * 4]});
  }
  runChains(jobs.asPtr());

  for (unsigned i = 0; i < JOBS; ++i) {
    Hash hash = jobs[i].start;
    unsigned next = 0;
    for (unsigned height = jobs[i].from; height <= TRIE_HEIGHT; ++height) {
      while (next < 4 && stops[i][next] == height) {
        EXPECT_TRUE(outputs[i * 4 + next] == hash) << "job " << i << ", height " << height;
        ++next;
      }
      if (height == TRIE_HEIGHT) break;
      const unsigned bit = TRIE_HEIGHT - height - 1;
      const bool right = paths[i].bytes[bit / 8] & (0x80 >> bit % 8);
      const Hash& sibling = defaultHash(height);
      hash =
          right ? openSslSha3(sibling.ptr(), hash.ptr()) : openSslSha3(hash.ptr(), sibling.ptr());
    }
    EXPECT_EQ(next, 4u) << "job " << i;
  }
}

TEST(RunChains, RefusesHeightsThatDescendOrLeaveTheTrie) {
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
