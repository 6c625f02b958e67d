// SPDX-License-Identifier: Apache-2.0
#include "client/view-opener.h"

#include "client/messages.h"

#include <kj/debug.h>

namespace ledger::client {
namespace {

// A view costs a round trip, and keeps a state with the server: not for a state that is read once.
constexpr uint32_t READS_BEFORE = 2;

// However short the idle time is: the sweep must not keep the loop busy.
constexpr kj::Duration MIN_SWEEP_INTERVAL = 100 * kj::MILLISECONDS;

}  // namespace

ViewOpener::ViewOpener(rpc::Session::Client session, ShmTransport& transport, kj::Timer& timer,
                       kj::Duration idle, kj::Own<const DirectReads> reads)
    : session(kj::mv(session)),
      transport(transport),
      timer(timer),
      idle(kj::max(idle, MIN_SWEEP_INTERVAL)),
      reads(kj::mv(reads)),
      end(kj::atomicRefcounted<ConnectionEnd>()),
      tasks(*this) {}

ViewOpener::~ViewOpener() noexcept(false) {
  noteLoss();
}

void ViewOpener::noteLoss() {
  end->lost = true;
  reads->dropTakenBack();
}

kj::Promise<Result<kj::Own<const StateView>>> ViewOpener::open(const RootHash& state) {
  using Opened = Result<kj::Own<const StateView>>;
  auto request = session.openViewRequest();
  request.setState(state.ptr());
  return request.send().then(
      [this, state](capnp::Response<rpc::OpenViewReply> reply) -> kj::Promise<Opened> {
        switch (reply.which()) {
          case rpc::OpenViewReply::VIEW:
            return transport.receiveView(reply.getView(), state, kj::atomicAddRef(*end))
                .then([](kj::Own<const StateView> view) -> Opened { return kj::mv(view); })
                .attach(kj::mv(reply));
          case rpc::OpenViewReply::ERROR:
            return Opened(readError(reply.getError()));
          default:
            KJ_FAIL_REQUIRE("the server's answer to openView is of no known kind",
                            static_cast<uint32_t>(reply.which()));
        }
      });
}

void ViewOpener::missed(const RootHash& state) {
  for (auto& known : lately) {
    if (known.times == 0 || known.state != state) continue;
    if (++known.times == READS_BEFORE && !reads->has(state)) tasks.add(openFor(state));
    return;
  }
  lately[place] = {state, 1};
  place = (place + 1) % lately.size();
}

kj::Promise<void> ViewOpener::openFor(RootHash state) {
  return open(state).then([this, state](Result<kj::Own<const StateView>> opened) {
    // A refusal counts as well: this state is not asked for again while it is among the last ones.
    KJ_IF_MAYBE (view, opened.tryGet<kj::Own<const StateView>>()) {
      reads->add(kj::mv(*view));
      if (!isSweeping) {
        isSweeping = true;
        tasks.add(sweep());
      }
      // Once it is dropped, the same may begin again.
      for (auto& known : lately) {
        if (known.state == state) known.times = 0;
      }
    }
  });
}

kj::Promise<void> ViewOpener::sweep() {
  return timer.afterDelay(idle).then([this]() -> kj::Promise<void> {
    if (reads->sweep() > 0) return sweep();
    isSweeping = false;
    return kj::READY_NOW;
  });
}

void ViewOpener::taskFailed(kj::Exception&& exception) {
  // Reads go on with calls.
  if (exception.getType() != kj::Exception::Type::DISCONNECTED) KJ_LOG(WARNING, exception);
}

}  // namespace ledger::client
