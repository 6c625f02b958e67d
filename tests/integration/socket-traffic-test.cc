// SPDX-License-Identifier: Apache-2.0
// What crosses the socket when 64 MiB are set, read and proven: next to nothing over shared memory.

#include "ledger/proof/verify.h"
#include "tests/integration/daemon-fixture.h"
#include "tests/testing/counting-proxy.h"

namespace ledger::testing {
namespace {

constexpr size_t VALUES = 64, VALUE_SIZE = 1 << 20;
constexpr uint64_t PAYLOAD = VALUES * VALUE_SIZE;  // 64 MiB.
constexpr uint64_t NEXT_TO_NOTHING = 16 << 10;

class SocketTraffic : public DaemonTest {
protected:
  // Bytes that each operation moved over the socket, connecting and opening arenas included.
  struct Moved {
    uint64_t set, get, prove;
  };

  Moved run(client::TransportChoice transport, client::Place expectedPlace) {
    startDaemon();
    CountingProxy proxy(scratch / "front", scratch / "socket");
    auto ledger = connectTo(scratch / "front", transport);
    Registers registers(VALUES, VALUE_SIZE);
    Moved moved;

    const RootHash empty = answer(ledger->initialState());
    const RootHash state = answer(ledger->set(empty, registers.keys, registers.values));
    moved.set = proxy.bytes();

    proxy.reset();
    {
      auto values = answer(ledger->get(state, registers.keys));
      moved.get = proxy.bytes();
      EXPECT_EQ(values.place(), expectedPlace);
      EXPECT_EQ(values.size(), VALUES);
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_TRUE(values[i] == registers.values[i]) << "value " << i;
      }
    }
    proxy.reset();
    auto proof = answer(ledger->prove(state, registers.keys));
    moved.prove = proxy.bytes();
    EXPECT_EQ(proof.place(), expectedPlace);
    EXPECT_GT(proof.size(), PAYLOAD);
    // What another process can write is copied before it is judged.
    auto ours = proof.copy();
    auto proven = verifyBatch(state, ours, Strictness::STRICT);
    EXPECT_TRUE(proven.is<kj::Array<ProvenRegister>>());
    return moved;
  }
};

// Would catch a payload, or a part of one, that takes the socket though shared memory is there.
TEST_F(SocketTraffic, SharedMemoryKeepsPayloadsOffTheSocket) {
  const auto moved = run(client::TransportChoice::SHM, client::Place::SHARED_MEMORY);
  RecordProperty("set", int(moved.set));
  RecordProperty("get", int(moved.get));
  RecordProperty("prove", int(moved.prove));
  EXPECT_LT(moved.set, NEXT_TO_NOTHING);
  EXPECT_LT(moved.get, NEXT_TO_NOTHING);
  EXPECT_LT(moved.prove, NEXT_TO_NOTHING);
}

// The counter-test: were the counting wrong, this would be small too.
TEST_F(SocketTraffic, InlinePayloadsTakeTheSocket) {
  const auto moved = run(client::TransportChoice::INLINE, client::Place::HEAP);
  EXPECT_GT(moved.set, PAYLOAD);
  EXPECT_GT(moved.get, PAYLOAD);
  EXPECT_GT(moved.prove, PAYLOAD);
}

}  // namespace
}  // namespace ledger::testing
