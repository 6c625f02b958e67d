// SPDX-License-Identifier: Apache-2.0
#include "server/session.h"

#include "schema/message-limits.h"
#include "server/rpc-errors.h"

#include <kj/debug.h>

namespace ledger::server {
namespace {

// How many of the longest requests a session may have in memory: one comes in while another is
// executed.
constexpr uint64_t REQUESTS_IN_MEMORY = 2;

shm::ArenaSetOptions arenaOptions(const ServiceLimits& limits) {
  shm::ArenaSetOptions options;
  options.quota = limits.arenaBytes;
  options.firstCapacity = kj::min(options.firstCapacity, limits.arenaBytes);
  options.warmBytes = kj::min(options.warmBytes, limits.arenaBytes / 2);
  options.maxRegions = limits.regions;
  options.maxArenas = limits.replyArenas;
  return options;
}

Placement::Options placementOptions(const Host& host, const SessionTerms& terms) {
  using SharedMemory = Placement::Options::SharedMemory;
  const bool arenas = terms.mapsArenas();
  const bool store = arenas && (terms.features & rpc::FEATURE_TABLES) != 0;
  return {.inlineThreshold = host.limits.inlineThreshold,
          .messageWords = kj::min(terms.messageWords, host.limits.messageWords),
          .sharedMemory = store    ? SharedMemory::STORE
                          : arenas ? SharedMemory::ARENAS
                                   : SharedMemory::NONE};
}

SessionFacts factsOf(const SessionTerms& terms, SessionPeer client) {
  using Transport = SessionFacts::Transport;
  return {.user = client.user,
          .process = client.process,
          .client = kj::mv(client.name),
          .access = terms.access,
          .transport = terms.handOverUser != nullptr ? Transport::HAND_OVER
                       : terms.mapsArenas()          ? Transport::SHARED_MEMORY
                                                     : Transport::INLINE,
          .start = kj::systemPreciseMonotonicClock().now()};
}

}  // namespace

Session::Session(const Host& host, const SessionTerms& terms, SessionPeer client,
                 InFlight& calls, kj::Own<ConnectionLoad> connectionLoad)
    : host(host),
      terms(terms),
      arenas(shm::ArenaSet::create(host.sharedMemory, kj::atomicAddRef(host.retiredArenas),
                                   arenaOptions(host.limits))),
      references(kj::atomicRefcounted<StoreReferences>(
          kj::atomicAddRef(*arenas), kj::atomicAddRef(host.retiredArenas),
          StoreReferences::Limits{host.limits.regions, host.limits.referencedStates})),
      peerArenas(kj::atomicRefcounted<PeerArenas>()),
      listed(kj::atomicRefcounted<ListedSession>(
          factsOf(terms, kj::mv(client)), kj::atomicAddRef(*arenas), kj::atomicAddRef(*references),
          kj::atomicAddRef(*peerArenas))),
      id(host.sessionList.add(*listed)),
      load(kj::mv(connectionLoad)),
      calls(calls),
      requestMemory(shm::MemoryBudget::createUnder(host.memory, "the session's requests",
                                                   REQUESTS_IN_MEMORY * host.limits.requestBytes)),
      placement(placementOptions(host, terms), kj::atomicAddRef(*arenas),
                kj::atomicAddRef(*references), host.sessionArenas, host.memory),
      held(*this) {
  ++host.sessions;
  ++load->sessions;
  host.sessionArenas.add(*arenas);
  host.storePins.add(*references);
}

Session::~Session() noexcept(false) {
  --host.sessions;
  --load->sessions;
  host.sessionList.remove(id);
  host.sessionArenas.remove(*arenas);
  host.storePins.remove(*references);
  arenas->close();
}

Session::Place::Place(kj::Own<Session> admitted) : session(kj::mv(admitted)) {
  session->listed->beginCall();
  session->calls.begin();
  session->host.calls.inFlight[uint32_t(CallMeters::Face::CAPNP)].add(1);
}

Session::Place::~Place() noexcept(false) {
  if (session.get() == nullptr) return;
  session->listed->endCall();
  session->calls.end();
  session->host.calls.inFlight[uint32_t(CallMeters::Face::CAPNP)].add(-1);
}

Result<Session::Place> Session::admit() {
  if (host.shuttingDown.load(std::memory_order_relaxed)) {
    return makeError(Code::UNAVAILABLE, Reason::SHUTTING_DOWN, "the server is shutting down");
  }
  const uint32_t inFlight = listed->callsInFlight();
  if (inFlight >= host.limits.callsInFlight) {
    return makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, inFlight,
                     " calls of this session are in flight, as many as may be");
  }
  return Place(kj::addRef(*this));
}

kj::Promise<Finished> Session::execute(Intake intake) {
  auto operations = intake.takeOperations();
  if (!intake.isSmall()) return executeOnWorker(kj::mv(operations), intake.takeRegions());

  auto answers = Answers::execute(host.ledger, kj::mv(operations), host.limits.responseBytes,
                                  host.memory, host.calls, Stop::never());
  KJ_IF_MAYBE (finished, placement.tryPlace(answers)) return kj::mv(*finished);
  return placeOnWorker(kj::mv(answers));
}

kj::Promise<Finished> Session::executeOnWorker(kj::Array<Result<Operation>> operations,
                                               kj::Array<rpc::Region::Client> regions) {
  const size_t count = operations.size();
  auto promise = host.workers.run(
      // `host` outlives the workers' tasks; the rest belongs to the task.
      [&host = host, placement = placement.share(), ended = holdUntilEnded(kj::mv(regions)),
       operations = kj::mv(operations)](const Stop& stop) mutable {
        return placement.place(Answers::execute(host.ledger, kj::mv(operations),
                                                host.limits.responseBytes, host.memory, host.calls,
                                                stop));
      });
  KJ_IF_MAYBE (accepted, promise) return kj::mv(*accepted);
  return Finished{Answers::refusal(count, queueFull(host.workers.queued()))};
}

kj::Promise<Finished> Session::placeOnWorker(Answers answers) {
  const size_t count = answers.each().size();
  auto promise =
      host.workers.run([placement = placement.share(), answers = kj::mv(answers)](
                           const Stop&) mutable { return placement.place(kj::mv(answers)); });
  KJ_IF_MAYBE (accepted, promise) return kj::mv(*accepted);
  return Finished{Answers::refusal(count, queueFull(host.workers.queued()))};
}

Session::TaskEnd Session::holdUntilEnded(kj::Array<rpc::Region::Client> regions) {
  if (regions.size() == 0) return nullptr;
  // A client that drops its call may reuse the bytes as soon as it sees the regions dropped, so
  // they are held while a worker may still read, whether or not anybody waits for the answer. Where
  // the session itself goes first, the task has been asked to stop by then, and it looks after it
  // reads.
  auto paf = kj::newPromiseAndCrossThreadFulfiller<void>();
  held.add(paf.promise.catch_([](kj::Exception&&) {}).attach(kj::mv(regions)));
  return kj::mv(paf.fulfiller);
}

void Session::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "dropping a client's regions failed", exception);
}

}  // namespace ledger::server
