// SPDX-License-Identifier: Apache-2.0
#include "server/tcp-listener.h"

#include <gtest/gtest.h>
#include <kj/debug.h>

#include <string>

namespace ledger::server {
namespace {

std::string parsed(kj::StringPtr text) {
  KJ_IF_MAYBE (address, parseTcpAddress(text)) {
    return kj::str(address->host, " ", address->port).cStr();
  }
  return "none";
}

// Who is told "localhost" connects to 127.0.0.1; a listener on ::1 alone would refuse.
TEST(TcpListener, PrefersTheAddressesOfIpv4) {
  const TcpListener listener(KJ_ASSERT_NONNULL(parseTcpAddress("localhost:0")));
  EXPECT_TRUE(listener.address().startsWith("127.0.0.1:")) << listener.address().cStr();
}

// The forms that flow-go's flag takes.
TEST(TcpListener, ReadsAddresses) {
  EXPECT_EQ(parsed("127.0.0.1:9000"), "127.0.0.1 9000");
  EXPECT_EQ(parsed("localhost:0"), "localhost 0");
  EXPECT_EQ(parsed(":65535"), " 65535");
  EXPECT_EQ(parsed("[::1]:9000"), "::1 9000");
  EXPECT_EQ(parsed("[::]:9000"), ":: 9000");
  for (auto text : {"", "9000", "localhost", "localhost:", "localhost:x", "localhost:65536",
                    "localhost:-1", "::1:9000", "[::1:9000", "[::1]", "a]:1", "localhost:000001"}) {
    EXPECT_EQ(parsed(text), "none") << text;
  }
}

TEST(TcpListener, HasThePortThatItTells) {
  const TcpListener listener(KJ_ASSERT_NONNULL(parseTcpAddress("127.0.0.1:0")));
  auto bound = KJ_ASSERT_NONNULL(parseTcpAddress(listener.address()));
  EXPECT_STREQ(bound.host.cStr(), "127.0.0.1");
  EXPECT_NE(bound.port, 0);

  // Taken: the message says which and why.
  auto refused = kj::runCatchingExceptions([&]() { TcpListener again(bound); });
  KJ_IF_MAYBE (exception, refused) {
    const std::string text = kj::str(exception->getDescription()).cStr();
    EXPECT_NE(text.find("Address already in use"), std::string::npos) << text;
    EXPECT_NE(text.find(kj::str(bound.port).cStr()), std::string::npos) << text;
  } else {
    ADD_FAILURE() << "the port is taken twice";
  }
}

}  // namespace
}  // namespace ledger::server
