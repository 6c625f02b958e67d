// SPDX-License-Identifier: Apache-2.0
#pragma once
// Opens views of states: when asked to, and when a state is read again and again.

#include "client/direct-reads.h"
#include "client/shm-transport.h"
#include "schema/ledger.capnp.h"

#include <kj/async.h>
#include <kj/timer.h>

#include <array>

namespace ledger::client {

// Thread: the connection's.
class ViewOpener final : private kj::TaskSet::ErrorHandler {
public:
  // A view in `reads` that nobody used for `idle` is dropped. `transport` must outlive this.
  ViewOpener(rpc::Session::Client session, ShmTransport& transport, kj::Timer& timer,
             kj::Duration idle, kj::Own<const DirectReads> reads);
  // The views that it has opened are no longer good.
  ~ViewOpener() noexcept(false);

  // Error: the server's refusal.
  kj::Promise<Result<kj::Own<const StateView>>> open(const RootHash& state);

  // The connection is lost: views are no longer good.
  void noteLoss();

  // A read of `state` takes a call, for want of a view: the next ones may not.
  void missed(const RootHash& state);

private:
  struct Missed {
    RootHash state;
    uint32_t times = 0;
  };

  kj::Promise<void> openFor(RootHash state);
  kj::Promise<void> sweep();
  void taskFailed(kj::Exception&& exception) override;

  rpc::Session::Client session;
  ShmTransport& transport;
  kj::Timer& timer;
  const kj::Duration idle;
  const kj::Own<const DirectReads> reads;
  const kj::Own<const ConnectionEnd> end;
  std::array<Missed, 2 * DirectReads::MAX_VIEWS> lately;  // The next to be overwritten: `place`.
  size_t place = 0;
  bool isSweeping = false;
  kj::TaskSet tasks;
};

}  // namespace ledger::client
