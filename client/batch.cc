// SPDX-License-Identifier: Apache-2.0
#include "client/batch.h"

#include <kj/debug.h>

namespace ledger::client {
namespace {

template <typename T>
OperationResult widen(Result<T> result) {
  KJ_SWITCH_ONEOF(result) {
    KJ_CASE_ONEOF(good, T) {
      return OperationResult(kj::mv(good));
    }
    KJ_CASE_ONEOF(error, Error) {
      return OperationResult(kj::mv(error));
    }
  }
  KJ_UNREACHABLE;
}

template <typename T>
kj::Promise<OperationResult> widenLater(kj::Promise<Result<T>> result) {
  return result.then([](Result<T> result) { return widen(kj::mv(result)); });
}

void fillOperation(rpc::Operation::Builder to, const Operation& operation,
                   PayloadWriter& payloads) {
  KJ_SWITCH_ONEOF(operation.what) {
    KJ_CASE_ONEOF(initial, Operation::InitialState) {
      to.setInitialState();
    }
    KJ_CASE_ONEOF(has, Operation::HasState) {
      fill(to.initHasState(), has.state);
    }
    KJ_CASE_ONEOF(single, Operation::GetSingleValue) {
      fill(to.initGetSingleValue(), single.state, single.key);
    }
    KJ_CASE_ONEOF(get, Operation::Get) {
      fill(to.initGet(), get.state, get.keys, payloads);
    }
    KJ_CASE_ONEOF(set, Operation::Set) {
      fill(to.initSet(), set, payloads);
    }
    KJ_CASE_ONEOF(prove, Operation::Prove) {
      fill(to.initProve(), prove.state, prove.keys, payloads);
    }
  }
}

kj::Promise<OperationResult> readResult(rpc::OperationReply::Reader reply,
                                        const Operation& operation, Transport& transport) {
  if (reply.isError()) return OperationResult(readError(reply.getError()));
  KJ_SWITCH_ONEOF(operation.what) {
    KJ_CASE_ONEOF(initial, Operation::InitialState) {
      if (reply.isInitialState()) return widen(readState(reply.getInitialState()));
    }
    KJ_CASE_ONEOF(has, Operation::HasState) {
      if (reply.isHasState()) return widen(readFound(reply.getHasState()));
    }
    KJ_CASE_ONEOF(single, Operation::GetSingleValue) {
      if (reply.isGetSingleValue()) {
        return widenLater(readValue(reply.getGetSingleValue(), transport));
      }
    }
    KJ_CASE_ONEOF(get, Operation::Get) {
      if (reply.isGet()) {
        return widenLater(readValues(reply.getGet(), get.keys.size(), transport));
      }
    }
    KJ_CASE_ONEOF(set, Operation::Set) {
      if (reply.isSet()) return widen(readState(reply.getSet()));
    }
    KJ_CASE_ONEOF(prove, Operation::Prove) {
      if (reply.isProve()) return widenLater(readProof(reply.getProve(), transport));
    }
  }
  KJ_FAIL_REQUIRE("the server answered an operation of a batch with another's reply",
                  static_cast<uint32_t>(reply.which()));
}

}  // namespace

void fill(capnp::List<rpc::Operation>::Builder to, kj::ArrayPtr<const Operation> operations,
          PayloadWriter& payloads) {
  for (size_t i = 0; i < operations.size(); ++i) fillOperation(to[i], operations[i], payloads);
}

RequestSize sizeOf(kj::ArrayPtr<const Operation> operations) {
  RequestSize sum;
  for (auto& operation : operations) {
    auto size = sizeOf(operation);
    sum.bulkBytes += size.bulkBytes;
    sum.bytes += size.bytes;
  }
  return sum;
}

kj::Promise<Result<kj::Array<OperationResult>>> readBatch(rpc::BatchReply::Reader reply,
                                                          kj::ArrayPtr<const Operation> operations,
                                                          Transport& transport) {
  using Results = kj::Array<OperationResult>;
  if (reply.isError()) return Result<Results>(readError(reply.getError()));
  KJ_REQUIRE(reply.isResults(), "the server's reply to a batch is of no known kind",
             static_cast<uint32_t>(reply.which()));
  auto results = reply.getResults();
  KJ_REQUIRE(results.size() == operations.size(),
             "the server did not answer each operation of a batch", results.size(),
             operations.size());
  auto reading = kj::heapArrayBuilder<kj::Promise<OperationResult>>(results.size());
  for (auto i : kj::indices(results)) {
    reading.add(readResult(results[i], operations[i], transport));
  }
  return kj::joinPromises(reading.finish()).then([](Results results) -> Result<Results> {
    return kj::mv(results);
  });
}

}  // namespace ledger::client
