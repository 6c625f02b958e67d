// SPDX-License-Identifier: Apache-2.0
// Writes a register, reads it back, fetches a proof of it and checks the proof.
//
//   bazel run //:example -- /run/ledgerd.sock

#include "client/blocking-client.h"
#include "ledger/encoding.h"
#include "ledger/proof/verify.h"

#include <kj/debug.h>
#include <kj/encoding.h>

#include <iostream>

// What was asked for; throws the ledger's refusal.
template <typename T>
T expect(ledger::Result<T> result) {
  KJ_IF_MAYBE (error, result.template tryGet<ledger::Error>()) {
    KJ_FAIL_REQUIRE("the ledger refuses", error->message);
  }
  return kj::mv(result.template get<T>());
}

int main(int argc, char** argv) {
  KJ_REQUIRE(argc == 2, "usage: example SOCKET");
  ledger::client::BlockingClient client({.address = argv[1]});

  const ledger::KeyPart parts[] = {{0, "owner"_kj.asBytes()}, {2, "greeting"_kj.asBytes()}};
  auto key = expect(ledger::encodeKey(parts));
  const ledger::EncodedKey keys[] = {key};
  const ledger::Value values[] = {"hello"_kj.asBytes()};

  auto parent = expect(client.stateByIndex(-1));           // The newest state.
  auto state = expect(client.set(parent, keys, values));   // Durable from here on.
  auto value = expect(client.getSingleValue(state, key));  // A view: shared memory is not copied.
  auto proof = expect(client.prove(state, keys)).copy();   // Ours: the server cannot change it.

  auto proven = expect(ledger::verifyBatch(state, proof, ledger::Strictness::STRICT));
  KJ_REQUIRE(ledger::coversExactly(proven, keys) == nullptr, "proves something else");
  std::cout << "state " << kj::encodeHex(state.ptr()).cStr() << "\nvalue "
            << kj::str(value.bytes().asChars()).cStr() << "\nproof of " << proof.size()
            << " bytes holds\n";
}
