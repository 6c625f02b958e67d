// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the services count: operations by the way they came, their errors, how long they took, and
// how payloads went to clients.

#include "ledger/error.h"
#include "ledger/meters.h"
#include "server/operations.h"

#include <kj/common.h>

namespace ledger::server {

// Thread: const methods from any thread.
class CallMeters final {
public:
  enum class Face { CAPNP, GRPC };
  static constexpr uint32_t FACES = 2;
  static constexpr uint32_t KINDS = uint32_t(Operation::Kind::PROVE) + 1;
  static constexpr uint32_t CODES = 17;  // gRPC's canonical ones.

  // Times of operations, from when they are begun until their payload is known.
  static constexpr kj::Duration BOUNDS[] = {
      10 * kj::MICROSECONDS,  20 * kj::MICROSECONDS,  50 * kj::MICROSECONDS,
      100 * kj::MICROSECONDS, 200 * kj::MICROSECONDS, 500 * kj::MICROSECONDS,
      1 * kj::MILLISECONDS,   2 * kj::MILLISECONDS,   5 * kj::MILLISECONDS,
      10 * kj::MILLISECONDS,  20 * kj::MILLISECONDS,  50 * kj::MILLISECONDS,
      100 * kj::MILLISECONDS, 200 * kj::MILLISECONDS, 500 * kj::MILLISECONDS,
      1 * kj::SECONDS,        10 * kj::SECONDS};

  struct OfOperation {
    TimeHistogram times{BOUNDS};  // Of all, errors included.
    Counter errors[CODES];        // By code.
  };
  const OfOperation& of(Face face, uint32_t kind) const {
    return operations[uint32_t(face)][kind];
  }

  void add(Face face, Operation::Kind kind, kj::Duration time) const {
    of(face, uint32_t(kind)).times.add(time);
  }
  void addError(Face face, Operation::Kind kind, Code code) const {
    of(face, uint32_t(kind)).errors[uint32_t(code)].add();
  }

  Gauge inFlight[FACES];  // Calls.

  // Payloads of replies over Cap'n Proto, by where they were put.
  struct Payloads {
    Counter count, bytes;
  };
  Payloads inMessages, inArenas, inStore;

private:
  OfOperation operations[FACES][KINDS];
};

}  // namespace ledger::server
