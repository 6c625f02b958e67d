// SPDX-License-Identifier: Apache-2.0
// A client that reads and proves through shared memory, holds the answers, says so, and waits to be
// killed.
//
//   holding-client SOCKET STATE COUNT      keys 0 to COUNT - 1 at STATE (hex)

#include "client/connect.h"
#include "tests/testing/registers.h"

#include <kj/async-io.h>
#include <kj/debug.h>
#include <kj/encoding.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

namespace ledger::testing {
namespace {

void hold(kj::StringPtr socket, const RootHash& state, size_t count) {
  auto io = kj::setupAsyncIo();
  client::ConnectOptions how;
  how.address = socket;
  how.connection.transport = client::TransportChoice::SHM;
  auto ledger =
      client::connect(io.provider->getNetwork(), io.provider->getTimer(), how).wait(io.waitScope);
  Registers registers(count, 0);
  auto values = ledger->get(state, registers.keys).wait(io.waitScope);
  auto proof = ledger->prove(state, registers.keys).wait(io.waitScope);
  KJ_REQUIRE(values.is<client::Values>() && proof.is<client::View>(), "refused");
  KJ_REQUIRE(values.get<client::Values>().place() == client::Place::SHARED_MEMORY);
  KJ_REQUIRE(proof.get<client::View>().place() == client::Place::SHARED_MEMORY);
  KJ_SYSCALL(write(1, "h", 1));
  kj::Promise<void>(kj::NEVER_DONE).wait(io.waitScope);
}

}  // namespace
}  // namespace ledger::testing

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (argc != 4) return 2;
  auto bytes = kj::decodeHex(kj::arrayPtr(argv[2], strlen(argv[2])));
  if (bytes.hadErrors || bytes.size() != ledger::RootHash::SIZE) return 2;
  ledger::testing::hold(argv[1], ledger::RootHash::copyOf(bytes), atoi(argv[3]));
}
