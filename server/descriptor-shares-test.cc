// SPDX-License-Identifier: Apache-2.0
#include "server/descriptor-shares.h"

#include <gtest/gtest.h>

namespace ledger::server {
namespace {

// Shares that add up to too much would let clients take the ledger's descriptors, and a share of
// nothing would refuse every client.
TEST(DescriptorShares, LeaveTheReserveWhateverIsUsedUp) {
  for (uint64_t descriptors = LEAST_DESCRIPTORS; descriptors < 600000;
       descriptors += descriptors < 5000 ? 1 : 997) {
    for (uint32_t loops : {1u, 2u, 7u, 64u}) {
      const auto shares = shareDescriptors(descriptors, loops);
      const uint64_t ofASession =
          uint64_t(shares.replyArenas) + shares.openArenas + shares.registeredArenas;
      const uint64_t used = shares.sessions * ofASession + uint64_t(shares.connections) * loops;
      ASSERT_LE(used + RESERVED_DESCRIPTORS, descriptors) << loops;
      ASSERT_GE(shares.sessions, 8u) << descriptors;
      ASSERT_GE(shares.connections, 1u) << descriptors;
      ASSERT_GE(shares.replyArenas, 8u) << descriptors;
      ASSERT_GE(shares.openArenas, 8u) << descriptors;
      ASSERT_GE(shares.registeredArenas, 8u) << descriptors;
    }
  }
}

TEST(DescriptorShares, AreNotOverWhatAnybodyNeeds) {
  for (uint64_t descriptors : {uint64_t(1) << 30, UINT64_MAX}) {
    const auto shares = shareDescriptors(descriptors, 1);
    EXPECT_EQ(shares.sessions, 1024u);
    EXPECT_EQ(shares.connections, 1024u);
    EXPECT_EQ(shares.replyArenas, 128u);
    EXPECT_EQ(shares.registeredArenas, 256u);
  }
}

TEST(DescriptorShares, TooFewAreRefused) {
  EXPECT_ANY_THROW(shareDescriptors(LEAST_DESCRIPTORS - 1, 1));
  EXPECT_ANY_THROW(shareDescriptors(0, 1));
}

}  // namespace
}  // namespace ledger::server
