// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the sessions of one connection share: how many there are, and what waits to be sent to a
// client that is slow to read, or never does.
//
// Replies that wait in the connection are in no budget, so they are bounded here: above UNSENT_SOFT
// bytes or UNSENT_REPLIES no more requests are read until the client has read replies, and calls
// that were read before are answered without their payloads above mostUnsent().

#include "ledger/error.h"
#include "server/placement.h"

#include <capnp/rpc-twoparty.h>
#include <kj/refcount.h>

namespace ledger::server {

// Thread: its connection's loop.
class ConnectionLoad final : public kj::Refcounted {
public:
  static constexpr uint64_t UNSENT_SOFT = uint64_t(64) << 20;  // Bytes.
  static constexpr size_t UNSENT_REPLIES = 4096;               // A short one takes 8 KiB of memory.

  // `messageWords`: of the longest message that is sent.
  explicit ConnectionLoad(uint64_t messageWords)
      : most(kj::max(UNSENT_SOFT, kj::min(messageWords, UINT64_MAX / 8) * 8)) {}

  // The network whose queue counts; between the two calls.
  void begin(capnp::TwoPartyVatNetwork& of) { network = of; }
  void end() { network = nullptr; }

  // Whether the client has to read before it is heard again.
  bool isBehind() {
    KJ_IF_MAYBE (n, network) {
      return n->getCurrentQueueSize() > UNSENT_SOFT || n->getCurrentQueueCount() > UNSENT_REPLIES;
    }
    return false;
  }

  uint64_t mostUnsent() const { return most; }

  // An inline payload while it is copied to its message; then it counts in the network's queue.
  class Filling final {
  public:
    Filling(kj::Own<ConnectionLoad> load, uint64_t bytes) : load(kj::mv(load)), bytes(bytes) {
      this->load->filling += bytes;
    }
    Filling(Filling&&) = default;
    ~Filling() noexcept(false) {
      if (load.get() != nullptr) load->filling -= bytes;
    }

  private:
    kj::Own<ConnectionLoad> load;  // Null once moved from.
    uint64_t bytes;
  };

  // Before the payloads of a call are written to its reply. Those that would ride in the message
  // are refused with QUOTA if too much waits already; what has been executed is still answered.
  Filling admit(Finished& finished) {
    uint64_t bytes = 0;
    if (finished.payload.is<InlineBytes>()) {
      bytes = finished.payload.get<InlineBytes>().bytes.size();
      if (unsent() > most) {
        finished.answers.refusePayloads(makeError(
            Code::RESOURCE_EXHAUSTED, Reason::QUOTA, unsent(),
            " bytes of replies wait for the client to read them; more than ", most, " may not"));
        finished.payload = Finished::Nothing();
        bytes = 0;
      }
    }
    return Filling(kj::addRef(*this), bytes);
  }

  uint32_t sessions = 0;  // Open ones.

private:
  uint64_t unsent() {
    KJ_IF_MAYBE (n, network) return filling + n->getCurrentQueueSize();
    return filling;
  }

  const uint64_t most;
  uint64_t filling = 0;  // Bytes.
  kj::Maybe<capnp::TwoPartyVatNetwork&> network;
};

}  // namespace ledger::server
