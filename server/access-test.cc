// SPDX-License-Identifier: Apache-2.0
#include "server/access.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <unistd.h>

namespace ledger::server {
namespace {

constexpr uid_t SELF = 900;

PeerIdentity peer(uid_t user, std::initializer_list<gid_t> groups = {}) {
  return {user, 1, kj::heapArray<const gid_t>(groups)};
}

AccessRules::Names names(std::initializer_list<uid_t> users,
                         std::initializer_list<gid_t> groups = {}) {
  return {kj::heapArray<const uid_t>(users), kj::heapArray<const gid_t>(groups)};
}

TEST(AccessRules, WithoutNamesWhoCanConnectMayWrite) {
  AccessRules rules(SELF, names({}), names({}), nullptr);
  EXPECT_EQ(rules.accessOf(peer(1)), Access::WRITE);
  EXPECT_EQ(rules.accessOf(nullptr), Access::WRITE);
  EXPECT_TRUE(rules.mayMapStore(peer(SELF)));
  EXPECT_FALSE(rules.mayMapStore(peer(1)));
  EXPECT_FALSE(rules.mayMapStore(nullptr));
}

TEST(AccessRules, OnlyNamedWritersWrite) {
  AccessRules rules(SELF, names({1}, {50}), names({}), nullptr);
  EXPECT_EQ(rules.accessOf(peer(1)), Access::WRITE);
  EXPECT_EQ(rules.accessOf(peer(2, {49, 50})), Access::WRITE);
  EXPECT_EQ(rules.accessOf(peer(SELF)), Access::WRITE);
  EXPECT_EQ(rules.accessOf(peer(2, {49, 51})), Access::READ);
  EXPECT_EQ(rules.accessOf(peer(0)), Access::READ);
  EXPECT_EQ(rules.accessOf(nullptr), Access::READ);
  EXPECT_TRUE(rules.mayMapStore(peer(1)));
  EXPECT_TRUE(rules.mayMapStore(peer(7, {50})));
  EXPECT_FALSE(rules.mayMapStore(peer(7)));
}

TEST(AccessRules, WhereReadersAreNamedOthersAreRefused) {
  AccessRules rules(SELF, names({1}), names({2}, {60}), nullptr);
  EXPECT_EQ(rules.accessOf(peer(1)), Access::WRITE);
  EXPECT_EQ(rules.accessOf(peer(2)), Access::READ);
  EXPECT_EQ(rules.accessOf(peer(3, {60})), Access::READ);
  EXPECT_EQ(rules.accessOf(peer(3, {61})), Access::NONE);
  EXPECT_EQ(rules.accessOf(nullptr), Access::NONE);
  EXPECT_FALSE(rules.mayMapStore(peer(2)));

  AccessRules onlyReaders(SELF, names({}), names({2}), nullptr);
  EXPECT_EQ(onlyReaders.accessOf(peer(1)), Access::NONE);
  EXPECT_EQ(onlyReaders.accessOf(peer(2)), Access::READ);
  EXPECT_EQ(onlyReaders.accessOf(peer(SELF)), Access::WRITE);
}

TEST(AccessRules, WhoMapsTheStoreIsAListOfItsOwn) {
  AccessRules rules(SELF, names({1}), names({}), kj::heapArray<const uid_t>({2}));
  EXPECT_TRUE(rules.mayMapStore(peer(2)));
  EXPECT_FALSE(rules.mayMapStore(peer(1)));
  EXPECT_FALSE(rules.mayMapStore(peer(SELF)));
}

TEST(PeerIdentity, HasTheUserAndAllGroups) {
  auto io = kj::setupAsyncIo();
  auto pipe = io.provider->newTwoWayPipe();
  auto found = PeerIdentity::of(*pipe.ends[0]);
  auto& identity = KJ_ASSERT_NONNULL(found);
  EXPECT_EQ(identity.user, geteuid());
  EXPECT_EQ(identity.groups[0], getegid());
  auto groups = kj::heapArray<gid_t>(getgroups(0, nullptr));
  getgroups(groups.size(), groups.begin());
  EXPECT_EQ(identity.groups.slice(1, identity.groups.size()), groups.asPtr());
}

}  // namespace
}  // namespace ledger::server
