// SPDX-License-Identifier: Apache-2.0
#pragma once
// How long a message may be, and how many payload bytes fit into one.
//
// Cap'n Proto 0.9 has one limit for what a peer sends and receives (the traversal limit). A sender
// refuses to exceed its own; a receiver that has a lower one drops the connection. So each side
// derives its limit from the payloads it means to carry, tells the other in the handshake, and
// checks before it sends.

#include "schema/ledger.capnp.h"

#include <capnp/message.h>
#include <kj/common.h>

namespace ledger::rpc {

// The message limit, in words, for payloads of `payloadBytes` inline. See messageSlackWords.
constexpr uint64_t messageWordsFor(uint64_t payloadBytes) {
  return payloadBytes / 8 + payloadBytes / 64 + MESSAGE_SLACK_WORDS;
}

// The payload that certainly fits into a message of `messageWords`: the inverse of the above, and
// for lower limits what is left beside as much slack as payload.
constexpr uint64_t inlinePayloadFor(uint64_t messageWords) {
  const uint64_t words = kj::min(messageWords, UINT64_MAX / 64);  // A peer may name any number.
  return (words - kj::min(uint64_t(MESSAGE_SLACK_WORDS), words / 2)) / 9 * 64;
}

// The most words that one answer of a batch takes beside its payload: structs, pointers, a message.
constexpr uint64_t ANSWER_WORDS = 64;

// The payload that certainly fits into a reply of `answers` answers.
constexpr uint64_t inlinePayloadFor(uint64_t messageWords, uint64_t answers) {
  // Half of the slack is theirs; what they need beyond it comes off the payload.
  const uint64_t slack = kj::min(uint64_t(MESSAGE_SLACK_WORDS), messageWords / 2);
  const uint64_t needed = answers * ANSWER_WORDS;
  const uint64_t beyond = needed > slack / 2 ? needed - slack / 2 : 0;
  return inlinePayloadFor(messageWords - kj::min(messageWords, beyond));
}

inline capnp::ReaderOptions readerOptionsFor(uint64_t messageWords) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = messageWords;
  return options;
}

}  // namespace ledger::rpc
