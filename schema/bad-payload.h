// SPDX-License-Identifier: Apache-2.0
#pragma once
// Why a payload was refused: what a peer gets to read as an Error.

#include "schema/ledger.capnp.h"

#include <kj/string.h>

namespace ledger::rpc {

struct BadPayload {
  Code code;
  Reason reason;
  kj::String message;
};

template <typename... Params>
BadPayload badRequest(Params&&... message) {
  return {Code::INVALID_ARGUMENT, Reason::BAD_REQUEST, kj::str(kj::fwd<Params>(message)...)};
}

}  // namespace ledger::rpc
