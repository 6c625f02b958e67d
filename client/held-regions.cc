// SPDX-License-Identifier: Apache-2.0
#include "client/held-regions.h"

#include <kj/debug.h>

namespace ledger::client {

HeldRegions::HeldRegions() : loopThread(std::this_thread::get_id()) {
  draining = drain().eagerlyEvaluate([](kj::Exception&& exception) { KJ_LOG(ERROR, exception); });
}

HeldRegions::~HeldRegions() noexcept(false) {}

uint64_t HeldRegions::hold(rpc::Region::Client region) {
  auto number = next++;
  held.insert({number, kj::mv(region)});
  return number;
}

void HeldRegions::giveBack(uint64_t number) const {
  if (std::this_thread::get_id() == loopThread) {
    // The capability is dropped last: what that runs may come back here.
    auto found = held.find(number);
    if (found == held.end()) return;
    auto region = kj::mv(found->second);
    held.erase(found);
    return;
  }

  kj::Maybe<kj::Own<kj::CrossThreadPromiseFulfiller<void>>> wake;
  {
    auto locked = returned.lockExclusive();
    if (locked->closed) return;
    locked->numbers.add(number);
    wake = kj::mv(locked->wake);
    locked->wake = nullptr;
  }
  KJ_IF_MAYBE (fulfiller, wake) (*fulfiller)->fulfill();
}

kj::Promise<void> HeldRegions::drain() {
  auto paf = kj::newPromiseAndCrossThreadFulfiller<void>();
  kj::Vector<uint64_t> numbers;
  {
    auto locked = returned.lockExclusive();
    numbers = kj::mv(locked->numbers);
    locked->numbers = {};
    locked->wake = kj::mv(paf.fulfiller);
  }
  for (auto number : numbers) held.erase(number);
  return paf.promise.then([this]() { return drain(); });
}

void HeldRegions::close() {
  kj::Maybe<kj::Own<kj::CrossThreadPromiseFulfiller<void>>> wake;
  {
    auto locked = returned.lockExclusive();
    locked->closed = true;
    wake = kj::mv(locked->wake);
    locked->wake = nullptr;
  }
  draining = nullptr;  // Before the fulfiller: nobody waits for it then.
  held.clear();
}

}  // namespace ledger::client
