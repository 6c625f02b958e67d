// SPDX-License-Identifier: Apache-2.0
#pragma once
// One client: its arenas in both directions, its quotas, and the way of its calls.
//
// A call is admitted, taken in, executed where it fits (small reads on the loop, the rest on a
// worker), and its payloads are placed. What a worker runs on owns everything it touches, so that a
// session may end, or a call be dropped, at any moment.

#include "schema/ledger.capnp.h"
#include "server/connection-load.h"
#include "server/host.h"
#include "server/in-flight.h"
#include "server/intake.h"
#include "server/peer-arenas.h"
#include "server/placement.h"
#include "server/session-list.h"

#include <kj/async.h>
#include <kj/refcount.h>

namespace ledger::server {

// What was agreed in the handshake.
struct SessionTerms {
  uint16_t version;
  uint64_t features;      // rpc::FEATURE_...
  uint64_t messageWords;  // The longest message that the client takes.
  Access access;          // READ or WRITE.
  bool seesSessions;      // Whether the client may ask for those of others.

  // Who may present the session's tokens on the hand-over socket. Null: it gets none.
  kj::Maybe<uid_t> handOverUser;

  // Whether the client maps arenas, however it comes by their descriptors.
  bool mapsArenas() const {
    return (features & (rpc::FEATURE_SHARED_MEMORY | rpc::FEATURE_HAND_OVER)) != 0;
  }
};

// Who the client is, for the list of sessions.
struct SessionPeer {
  kj::Maybe<uid_t> user;
  kj::Maybe<pid_t> process;
  kj::String name;
};

// Thread: its loop.
class Session final : public kj::Refcounted, private kj::TaskSet::ErrorHandler {
public:
  // `calls` counts those of the loop, and outlives the session.
  Session(const Host& host, const SessionTerms& terms, SessionPeer client, InFlight& calls,
          kj::Own<ConnectionLoad> load);
  ~Session() noexcept(false);
  KJ_DISALLOW_COPY(Session);

  // A call's place in the quota; it is given back when this is dropped.
  class Place final {
  public:
    explicit Place(kj::Own<Session> session);
    Place(Place&&) = default;
    ~Place() noexcept(false);

  private:
    kj::Own<Session> session;  // Null once moved from.
  };

  // Errors: SHUTTING_DOWN, QUOTA.
  Result<Place> admit();

  Intake newIntake() const { return Intake(host, *peerArenas, *requestMemory, terms.access); }

  // Executes what was taken in and has been copied. Dropping the promise cancels.
  kj::Promise<Finished> execute(Intake intake);

  const Host& host;
  const SessionTerms terms;
  const kj::Own<const shm::ArenaSet> arenas;
  const kj::Own<const StoreReferences> references;
  const kj::Own<const PeerArenas> peerArenas;
  const kj::Own<const ListedSession> listed;
  const uint64_t id;  // In the list of sessions.

  kj::Own<ConnectionLoad> load;

  // The longest message that may be sent to the client, in words.
  uint64_t messageWords() const { return kj::min(terms.messageWords, host.limits.messageWords); }

  // Descriptors of `arenas` that the client holds.
  uint32_t openArenas = 0;

private:
  kj::Promise<Finished> executeOnWorker(kj::Array<Result<Operation>> operations,
                                        kj::Array<rpc::Region::Client> regions);
  kj::Promise<Finished> placeOnWorker(Answers answers);

  // Goes with a task. It is rejected when the task is destroyed, called or not: the last thing that
  // happens to it. Null: nobody has to know.
  using TaskEnd = kj::Maybe<kj::Own<kj::CrossThreadPromiseFulfiller<void>>>;
  TaskEnd holdUntilEnded(kj::Array<rpc::Region::Client> regions);

  void taskFailed(kj::Exception&& exception) override;

  InFlight& calls;
  const kj::Own<const shm::MemoryBudget> requestMemory;  // Of bodies; under --memory-limit.
  const Placement placement;
  kj::TaskSet held;  // Clients' regions whose bytes a worker may still read.
};

}  // namespace ledger::server
