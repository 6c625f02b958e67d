// SPDX-License-Identifier: Apache-2.0
// Tells ThreadSanitizer what KJ's locks order.
//
// Debian's libkj is not instrumented: what kj::MutexGuarded, kj::Lazy and AtomicRefcounted order
// would all be reported as races. The functions below take the place of libkj's in a binary that
// links this file (only under --config=tsan; libkj must be the shared one), call the real ones and
// say to tsan what they order. A race in code that does not use these locks is still found. One
// thing is suppressed, in KJ: how a cross-thread promise and its fulfiller agree on who destroys
// the other, an atomic word inside libkj-async whose order tsan does not see.

#include <kj/mutex.h>
#include <kj/refcount.h>

#include <dlfcn.h>
#include <stdlib.h>

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);

const char* __tsan_default_suppressions() {
  return "race:kj::_::XThreadPaf";
}
}

namespace {

// The definition after ours in the search order of the dynamic linker: libkj's.
template <typename Function>
Function* real(const char* mangled) {
  void* symbol = dlsym(RTLD_NEXT, mangled);
  if (symbol == nullptr) abort();  // Another version of libkj: no test result would mean anything.
  return reinterpret_cast<Function*>(symbol);
}

}  // namespace

namespace kj {
namespace _ {

bool Mutex::lock(Exclusivity exclusivity, Maybe<Duration> timeout, LockSourceLocationArg location) {
  static auto* const next = real<bool(Mutex*, Exclusivity, Maybe<Duration>, LockSourceLocationArg)>(
      "_ZN2kj1_5Mutex4lockENS1_11ExclusivityENS_5MaybeINS_8QuantityIlNS0_15NanosecondLabelEEEEENS_"
      "18NoopSourceLocationE");
  const bool locked = next(this, exclusivity, timeout, location);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::unlock(Exclusivity exclusivity, Waiter* waiterToSkip) {
  static auto* const next = real<void(Mutex*, Exclusivity, Waiter*)>(
      "_ZN2kj1_5Mutex6unlockENS1_11ExclusivityEPNS1_6WaiterE");
  __tsan_release(this);
  next(this, exclusivity, waiterToSkip);
}

void Mutex::wait(Predicate& predicate, Maybe<Duration> timeout, LockSourceLocationArg location) {
  static auto* const next = real<void(Mutex*, Predicate&, Maybe<Duration>, LockSourceLocationArg)>(
      "_ZN2kj1_5Mutex4waitERNS1_9PredicateENS_5MaybeINS_8QuantityIlNS0_15NanosecondLabelEEEEENS_"
      "18NoopSourceLocationE");

  // KJ may ask the predicate on the thread that unlocks, always with the lock held.
  class Ordered final : public Predicate {
  public:
    Ordered(Predicate& inner, Mutex* mutex) : inner(inner), mutex(mutex) {}
    bool check() override {
      __tsan_acquire(mutex);
      KJ_DEFER(__tsan_release(mutex));
      return inner.check();
    }

  private:
    Predicate& inner;
    Mutex* mutex;
  };

  Ordered ordered(predicate, this);
  __tsan_release(this);
  KJ_DEFER(__tsan_acquire(this));
  next(this, ordered, timeout, location);
}

void Once::runOnce(Initializer& init, LockSourceLocationArg location) {
  static auto* const next = real<void(Once*, Initializer&, LockSourceLocationArg)>(
      "_ZN2kj1_4Once7runOnceERNS1_11InitializerENS_18NoopSourceLocationE");

  // The initialised value is published inside runOnce(), after run().
  class Ordered final : public Initializer {
  public:
    Ordered(Initializer& inner, Once* once) : inner(inner), once(once) {}
    void run() override {
      inner.run();
      __tsan_release(once);
    }

  private:
    Initializer& inner;
    Once* once;
  };

  Ordered ordered(init, this);
  next(this, ordered, location);
  __tsan_acquire(this);
}

}  // namespace _

// As KJ's own, which has the release and the acquire in an uninstrumented library.
void AtomicRefcounted::disposeImpl(void*) const {
  if (__atomic_sub_fetch(&refcount, 1, __ATOMIC_ACQ_REL) == 0) delete this;
}

}  // namespace kj
