// SPDX-License-Identifier: Apache-2.0
#include "server/capnp-service.h"

#include "ledger/trie/format.h"
#include "schema/message-limits.h"
#include "server/arena-capabilities.h"
#include "server/replies.h"
#include "server/rpc-errors.h"
#include "server/state-views.h"
#include "server/version.h"

#include <kj/debug.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace ledger::server {
namespace {

constexpr uint16_t OLDEST_VERSION = 1;
constexpr uint16_t NEWEST_VERSION = rpc::PROTOCOL_VERSION;

kj::String build() {
  return kj::str("ledgerd ", VERSION);
}

void fillLimits(rpc::Limits::Builder builder, const ServiceLimits& limits) {
  builder.setRequestBytes(limits.requestBytes);
  builder.setResponseBytes(limits.responseBytes);
  builder.setInlineThreshold(limits.inlineThreshold);
  builder.setArenaBytes(limits.arenaBytes);
  builder.setMessageWords(limits.messageWords);
  builder.setRegions(limits.regions);
  builder.setCallsInFlight(limits.callsInFlight);
  builder.setBatchOperations(limits.batchOperations);
  builder.setRegisteredArenas(limits.registeredArenas);
}

void fillArenaUse(rpc::ArenaUse::Builder builder, const shm::ArenaSetUse& use) {
  builder.setArenas(use.arenas.size());
  builder.setCommittedBytes(use.committed);
  builder.setLentBytes(use.lent);
  builder.setRegions(use.regions);
}

rpc::LogUse::State wireState(LogHealth::State state) {
  switch (state) {
    case LogHealth::State::GOOD:
      return rpc::LogUse::State::GOOD;
    case LogHealth::State::REFUSED:
      return rpc::LogUse::State::REFUSED;
    case LogHealth::State::FAILED:
      return rpc::LogUse::State::FAILED;
  }
  KJ_UNREACHABLE;
}

void fillCheckpointUse(rpc::CheckpointUse::Builder builder, const CheckpointStatus& status) {
  KJ_IF_MAYBE (number, status.newest) {
    builder.setHasNewest(true);
    builder.setNewest(*number);
  }
  KJ_IF_MAYBE (number, status.running) {
    builder.setIsRunning(true);
    builder.setRunning(*number);
    builder.setDoneBytes(status.doneBytes);
    builder.setTotalBytes(status.totalBytes);
    builder.setElapsedMs(status.elapsed / kj::MILLISECONDS);
  }
  builder.setFailure(status.failure);
}

void fillLedgerUse(rpc::LedgerUse::Builder builder, const LedgerStats& stats,
                   const shm::MemoryBudget& memory) {
  builder.setStates(stats.states);
  builder.setNodes(stats.nodes);
  builder.setLeaves(stats.leaves);
  builder.setValues(stats.values);
  builder.setNodeBytes(stats.nodeBytes);
  builder.setValueBytes(stats.valueBytes);
  builder.setCommittedBytes(stats.committedBytes);
  builder.setPrivateBytes(stats.privateBytes);
  builder.setNewestRegisters(stats.newestRegisters);
  builder.setNewestBytes(stats.newestBytes);
  builder.setActiveSegment(stats.activeSegment);
  builder.setMemoryUsed(memory.used());
  builder.setMemoryLimit(memory.limit());
  auto log = builder.initLog();
  log.setState(wireState(stats.log.state));
  log.setReason(stats.log.reason);
  fillCheckpointUse(builder.initCheckpoints(), stats.checkpoints);
}

rpc::SessionUse::Transport wireTransport(SessionFacts::Transport transport) {
  switch (transport) {
    case SessionFacts::Transport::INLINE:
      return rpc::SessionUse::Transport::INLINE;
    case SessionFacts::Transport::SHARED_MEMORY:
      return rpc::SessionUse::Transport::SHARED_MEMORY;
    case SessionFacts::Transport::HAND_OVER:
      return rpc::SessionUse::Transport::HAND_OVER;
  }
  KJ_UNREACHABLE;
}

void fillSessionUse(rpc::SessionUse::Builder builder, const SessionUse& use) {
  auto& facts = use.facts;
  builder.setId(use.id);
  builder.setUser(facts.user.orDefault(rpc::UNKNOWN_USER));
  builder.setProcess(facts.process.orDefault(0));
  builder.setClient(facts.client);
  builder.setMayWrite(facts.access == Access::WRITE);
  builder.setTransport(wireTransport(facts.transport));
  builder.setAgeMs((kj::systemPreciseMonotonicClock().now() - facts.start) / kj::MILLISECONDS);
  builder.setCallsInFlight(use.callsInFlight);
  fillArenaUse(builder.initArenas(), use.arenas);
  builder.setRegisteredArenas(use.registeredArenas);
  builder.setPinnedStates(use.pinnedStates);
}

// Of a reply that lists sessions, each with its name. And what surrounds them.
constexpr uint64_t WORDS_OF_A_SESSION = 32 + rpc::MAX_NAME_BYTES / sizeof(capnp::word);
constexpr uint64_t SESSIONS_WORDS = 64;

// Of a reply that lists states: each is a pointer and its bytes. And what surrounds them.
constexpr uint64_t WORDS_OF_A_STATE = 1 + RootHash::SIZE / sizeof(capnp::word);
constexpr uint64_t STATES_WORDS = 64;

// An operation threw: not a refusal but a fault. The client gets the exception.
kj::Promise<void> reportBug(kj::Exception&& exception) {
  spdlog::error("an operation failed: {}", kj::str(exception).cStr());
  return kj::mv(exception);
}

void countPayload(const CallMeters& meters, const Finished& finished) {
  auto add = [&](const CallMeters::Payloads& payloads) {
    payloads.count.add();
    payloads.bytes.add(finished.answers.payloadSize());
  };
  KJ_SWITCH_ONEOF(finished.payload) {
    KJ_CASE_ONEOF(nothing, Finished::Nothing) {}
    KJ_CASE_ONEOF(bytes, InlineBytes) {
      add(meters.inMessages);
    }
    KJ_CASE_ONEOF(region, shm::Region) {
      add(meters.inArenas);
    }
    KJ_CASE_ONEOF(stored, StoredBytes) {
      add(meters.inStore);
    }
  }
}

class SessionServer final : public rpc::Session::Server {
public:
  explicit SessionServer(kj::Own<Session> session) : session(kj::mv(session)) {}

  // --- Operations ---

  kj::Promise<void> initialState(InitialStateContext context) override {
    return single(context, [](Intake& intake) { intake.initialState(); });
  }
  kj::Promise<void> hasState(HasStateContext context) override {
    return single(context, [&](Intake& intake) { intake.hasState(context.getParams()); });
  }
  kj::Promise<void> getSingleValue(GetSingleValueContext context) override {
    return single(context, [&](Intake& intake) { intake.getSingleValue(context.getParams()); });
  }
  kj::Promise<void> get(GetContext context) override {
    return single(context, [&](Intake& intake) { intake.get(context.getParams()); });
  }
  kj::Promise<void> set(SetContext context) override {
    return single(context, [&](Intake& intake) { intake.set(context.getParams()); });
  }
  kj::Promise<void> prove(ProveContext context) override {
    return single(context, [&](Intake& intake) { intake.prove(context.getParams()); });
  }
  kj::Promise<void> batch(BatchContext context) override;

  // --- States ---

  kj::Promise<void> stateCount(StateCountContext context) override {
    return answer(context, [this](auto reply) { reply.setCount(ledger().stateCount()); });
  }
  kj::Promise<void> stateByIndex(StateByIndexContext context) override {
    const int64_t index = context.getParams().getIndex();
    return answer(context, [this, index](rpc::StateReply::Builder reply) {
      auto state = ledger().stateByIndex(index);
      KJ_SWITCH_ONEOF(state) {
        KJ_CASE_ONEOF(root, RootHash) {
          reply.setState(root.ptr());
        }
        KJ_CASE_ONEOF(error, Error) {
          fill(reply.initError(), error);
        }
      }
    });
  }
  kj::Promise<void> states(StatesContext context) override {
    return answer(context, [this](rpc::StatesReply::Builder reply) {
      auto roots = ledger().states();
      const uint64_t words = STATES_WORDS + uint64_t(roots.size()) * WORDS_OF_A_STATE;
      if (words > session->messageWords()) {
        return fill(reply.initError(),
                    makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, roots.size(),
                              " states need ", words, " words; a message to this client may have ",
                              session->messageWords()));
      }
      auto list = reply.initStates(roots.size());
      for (uint32_t index = 0; index < roots.size(); ++index) list.set(index, roots[index].ptr());
    });
  }

  // --- Arenas, and the server itself ---

  kj::Promise<void> openArena(OpenArenaContext context) override {
    const uint32_t id = context.getParams().getId();
    return answer(context, [this, id](rpc::OpenArenaReply::Builder reply) {
      auto opened = server::openArena(*session, id);
      KJ_SWITCH_ONEOF(opened) {
        KJ_CASE_ONEOF(arena, OpenedArena) {
          auto builder = reply.initOpened();
          builder.setArena(kj::mv(arena.arena));
          builder.setSize(arena.size);
          builder.setHandOverToken(arena.token);
        }
        KJ_CASE_ONEOF(error, Error) {
          fill(reply.initError(), error);
        }
      }
    });
  }
  kj::Promise<void> registerArena(RegisterArenaContext context) override;
  kj::Promise<void> offerArena(OfferArenaContext context) override {
    const uint64_t size = context.getParams().getSize();
    return answer(context, [this, size](rpc::OfferArenaReply::Builder reply) {
      auto offered = server::offerArena(*session, size);
      KJ_SWITCH_ONEOF(offered) {
        KJ_CASE_ONEOF(arena, OfferedArena) {
          auto builder = reply.initOffered();
          builder.setId(arena.registered.id);
          builder.setRegistration(kj::mv(arena.registered.registration));
          builder.setToken(arena.token);
        }
        KJ_CASE_ONEOF(error, Error) {
          fill(reply.initError(), error);
        }
      }
    });
  }

  kj::Promise<void> openView(OpenViewContext context) override;

  kj::Promise<void> info(InfoContext context) override {
    return answer(context, [this](rpc::InfoReply::Builder reply) {
      const Host& host = session->host;
      auto info = reply.initInfo();
      info.setVersion(session->terms.version);
      info.setFeatures(session->terms.features);
      info.setBuild(build());
      fillLimits(info.initLimits(), host.limits);
      fillArenaUse(info.initArenas(), session->arenas->use());
      fillLedgerUse(info.initLedger(), ledger().stats(), host.memory);
      const auto uptime = kj::systemPreciseMonotonicClock().now() - host.start;
      info.setUptimeMs(uptime / kj::MILLISECONDS);
      info.setSessions(host.sessions);
    });
  }
  kj::Promise<void> checkpoint(CheckpointContext context) override;

  kj::Promise<void> sessions(SessionsContext context) override {
    return answer(context, [this](rpc::SessionsReply::Builder reply) {
      if (!session->terms.seesSessions) {
        return fill(reply.initError(),
                    makeError(Code::PERMISSION_DENIED, Reason::UNSPECIFIED,
                              "only who may write, and the server's own user, sees the sessions"));
      }
      auto uses = session->host.sessionList.snapshot();
      const uint64_t words = SESSIONS_WORDS + uint64_t(uses.size()) * WORDS_OF_A_SESSION;
      if (words > session->messageWords()) {
        return fill(reply.initError(),
                    makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, uses.size(),
                              " sessions need ", words,
                              " words; a message to this client may have ",
                              session->messageWords()));
      }
      auto list = reply.initSessions(uses.size());
      for (uint32_t index = 0; index < uses.size(); ++index) {
        fillSessionUse(list[index], uses[index]);
        list[index].setIsThis(uses[index].id == session->id);
      }
    });
  }

private:
  const Ledger& ledger() const { return session->host.ledger; }

  // Calls of one operation: takes the request in, executes it, fills the reply.
  template <typename Context, typename Take>
  kj::Promise<void> single(Context context, Take&& take);

  // Gives the request's message back as soon as all of it has been copied.
  template <typename Context>
  kj::Promise<Finished> execute(Context context, Intake intake);

  // Calls that are answered on the spot.
  template <typename Context, typename Fill>
  kj::Promise<void> answer(Context context, Fill&& fillReply);

  kj::Own<Session> session;
};

template <typename Context, typename Take>
kj::Promise<void> SessionServer::single(Context context, Take&& take) {
  auto admitted = session->admit();
  KJ_IF_MAYBE (error, admitted.template tryGet<Error>()) {
    fill(context.initResults().initError(), *error);
    return kj::READY_NOW;
  }
  auto intake = session->newIntake();
  take(intake);
  return kj::evalNow([&]() { return execute(context, kj::mv(intake)); })
      .then(
          [context, load = kj::addRef(*session->load),
           &host = session->host](Finished&& result) mutable {
            auto finished = kj::heap(kj::mv(result));
            auto filling = load->admit(*finished);
            countPayload(host.calls, *finished);
            ReplyWriter writer(*finished, host.workers);
            writer.fill(context.initResults(), finished->answers.each()[0]);
            return writer.written().attach(kj::mv(finished), kj::mv(filling));
          },
          reportBug)
      .attach(kj::mv(admitted.template get<Session::Place>()));
}

template <typename Context>
kj::Promise<Finished> SessionServer::execute(Context context, Intake intake) {
  context.allowCancellation();
  auto copied = intake.copied();  // At once, if it is small.
  if (intake.isSmall()) return session->execute(kj::mv(intake));
  return copied.then([this, context, intake = kj::mv(intake)]() mutable {
    context.releaseParams();
    return session->execute(kj::mv(intake));
  });
}

template <typename Context, typename Fill>
kj::Promise<void> SessionServer::answer(Context context, Fill&& fillReply) {
  auto admitted = session->admit();
  KJ_IF_MAYBE (error, admitted.template tryGet<Error>()) {
    fill(context.initResults().initError(), *error);
  } else {
    fillReply(context.initResults());
  }
  return kj::READY_NOW;
}

kj::Promise<void> SessionServer::checkpoint(CheckpointContext context) {
  auto admitted = session->admit();
  KJ_IF_MAYBE (error, admitted.tryGet<Error>()) {
    fill(context.initResults().initError(), *error);
    return kj::READY_NOW;
  }
  if (session->terms.access != Access::WRITE) {
    fill(context.initResults().initError(), readOnly());
    return kj::READY_NOW;
  }
  context.allowCancellation();
  auto running = session->host.checkpointCalls.run(
      [&ledger = ledger()](const Stop& stop) { return ledger.checkpoint(stop); });
  KJ_IF_MAYBE (promise, running) {
    return promise
        ->then([context](Result<uint64_t>&& written) mutable {
          auto reply = context.initResults();
          KJ_SWITCH_ONEOF(written) {
            KJ_CASE_ONEOF(number, uint64_t) {
              reply.setNumber(number);
            }
            KJ_CASE_ONEOF(error, Error) {
              fill(reply.initError(), error);
            }
          }
        })
        .catch_([](kj::Exception&& exception) { return reportBug(kj::mv(exception)); })
        .attach(kj::mv(admitted.get<Session::Place>()));
  }
  fill(context.initResults().initError(),
       makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, "too many calls wait for a checkpoint"));
  return kj::READY_NOW;
}

void fillOperation(ReplyWriter& writer, rpc::OperationReply::Builder reply, Operation::Kind kind,
                   const Answer& answer) {
  switch (kind) {
    case Operation::Kind::INITIAL_STATE:
      return writer.fill(reply.initInitialState(), answer);
    case Operation::Kind::HAS_STATE:
      return writer.fill(reply.initHasState(), answer);
    case Operation::Kind::GET_SINGLE_VALUE:
      return writer.fill(reply.initGetSingleValue(), answer);
    case Operation::Kind::GET:
      return writer.fill(reply.initGet(), answer);
    case Operation::Kind::SET:
      return writer.fill(reply.initSet(), answer);
    case Operation::Kind::PROVE:
      return writer.fill(reply.initProve(), answer);
  }
}

kj::Promise<void> SessionServer::batch(BatchContext context) {
  auto admitted = session->admit();
  KJ_IF_MAYBE (error, admitted.tryGet<Error>()) {
    fill(context.initResults().initError(), *error);
    return kj::READY_NOW;
  }
  auto operations = context.getParams().getOperations();
  if (operations.size() > session->host.limits.batchOperations) {
    fill(context.initResults().initError(),
         makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, operations.size(),
                   " operations in a batch are more than ", session->host.limits.batchOperations));
    return kj::READY_NOW;
  }
  const uint64_t words = operations.size() * rpc::ANSWER_WORDS;
  if (words > session->messageWords() / 2) {
    fill(context.initResults().initError(),
         makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, operations.size(),
                   " answers may need ", words, " words, more than half of the ",
                   session->messageWords(), " that a message to this client may have"));
    return kj::READY_NOW;
  }
  auto intake = session->newIntake();
  auto kinds = kj::heapArrayBuilder<kj::Maybe<Operation::Kind>>(operations.size());
  for (auto operation : operations) kinds.add(intake.operation(operation));
  return kj::evalNow([&]() { return execute(context, kj::mv(intake)); })
      .then(
          [context, kinds = kinds.finish(), load = kj::addRef(*session->load),
           &host = session->host](Finished&& result) mutable {
            auto finished = kj::heap(kj::mv(result));
            auto filling = load->admit(*finished);
            countPayload(host.calls, *finished);
            ReplyWriter writer(*finished, host.workers);
            auto answers = finished->answers.each();
            auto results = context.initResults().initResults(answers.size());
            for (uint32_t index = 0; index < answers.size(); ++index) {
              KJ_IF_MAYBE (kind, kinds[index]) {
                fillOperation(writer, results[index], *kind, answers[index]);
              } else {
                fill(results[index].initError(), answers[index].get<Error>());
              }
            }
            return writer.written().attach(kj::mv(finished), kj::mv(filling));
          },
          reportBug)
      .attach(kj::mv(admitted.get<Session::Place>()));
}

kj::Promise<void> SessionServer::registerArena(RegisterArenaContext context) {
  auto admitted = session->admit();
  KJ_IF_MAYBE (error, admitted.tryGet<Error>()) {
    fill(context.initResults().initError(), *error);
    return kj::READY_NOW;
  }
  auto params = context.getParams();
  context.allowCancellation();
  return server::registerArena(*session, params.getArena(), params.getSize())
      .then([context](Result<RegisteredArena>&& result) mutable {
        KJ_SWITCH_ONEOF(result) {
          KJ_CASE_ONEOF(arena, RegisteredArena) {
            auto builder = context.initResults().initRegistered();
            builder.setId(arena.id);
            builder.setRegistration(kj::mv(arena.registration));
          }
          KJ_CASE_ONEOF(error, Error) {
            fill(context.initResults().initError(), error);
          }
        }
      })
      .attach(kj::mv(admitted.get<Session::Place>()));
}

kj::Promise<void> SessionServer::openView(OpenViewContext context) {
  auto admitted = session->admit();
  KJ_IF_MAYBE (error, admitted.tryGet<Error>()) {
    fill(context.initResults().initError(), *error);
    return kj::READY_NOW;
  }
  if ((session->terms.features & rpc::FEATURE_STATE_VIEWS) == 0) {
    fill(context.initResults().initError(),
         makeError(Code::UNIMPLEMENTED, Reason::UNSPECIFIED,
                   "views of states were not agreed on with this client"));
    return kj::READY_NOW;
  }
  auto state = parseState(context.getParams().getState());
  KJ_IF_MAYBE (error, state.tryGet<Error>()) {
    fill(context.initResults().initError(), *error);
    return kj::READY_NOW;
  }
  context.allowCancellation();
  return referToState(*session, state.get<RootHash>())
      .then([this, context](Result<StoreReferences::ReferredStore>&& result) mutable {
        KJ_IF_MAYBE (error, result.tryGet<Error>()) {
          return fill(context.initResults().initError(), *error);
        }
        auto& referred = result.get<StoreReferences::ReferredStore>();
        const uint64_t words = viewWords(referred);
        if (words > session->messageWords()) {
          return fill(context.initResults().initError(),
                      makeError(Code::RESOURCE_EXHAUSTED, Reason::TOO_LARGE, "a view of ", words,
                                " words; a message to this client may have ",
                                session->messageWords()));
        }
        fill(context.initResults().initView(), kj::mv(referred), session->host.workers);
      })
      .catch_([](kj::Exception&& exception) { return reportBug(kj::mv(exception)); })
      .attach(kj::mv(admitted.get<Session::Place>()));
}

class LedgerdServer final : public rpc::Ledgerd::Server {
public:
  LedgerdServer(const Host& host, InFlight& calls, kj::Own<ConnectionLoad> load,
                kj::Maybe<PeerIdentity> client, const SocketTerms& socket)
      : host(host),
        calls(calls),
        load(kj::mv(load)),
        client(kj::mv(client)),
        socket(socket),
        access(kj::min(host.access.accessOf(this->client), socket.most)),
        features(grantable()) {}

  kj::Promise<void> connect(ConnectContext context) override {
    auto hello = context.getParams().getHello();
    auto reply = context.initResults();
    auto terms = agree(hello);
    KJ_SWITCH_ONEOF(terms) {
      KJ_CASE_ONEOF(agreed, SessionTerms) {
        logSession(hello.getName(), agreed);
        auto welcome = reply.initWelcome();
        welcome.setVersion(agreed.version);
        welcome.setFeatures(agreed.features);
        welcome.setBuild(build());
        fillLimits(welcome.initLimits(), host.limits);
        if (agreed.handOverUser != nullptr) {
          welcome.setHandOverSocket(KJ_ASSERT_NONNULL(socket.handOverSocket));
        }
        welcome.setSession(kj::heap<SessionServer>(kj::refcounted<Session>(
            host, agreed, clientOf(hello.getName()), calls, kj::addRef(*load))));
      }
      KJ_CASE_ONEOF(error, Error) {
        fill(reply.initError(), error);
      }
    }
    return kj::READY_NOW;
  }

private:
  // What only those may choose who may map the store.
  static constexpr uint64_t STORE_FEATURES = rpc::FEATURE_TABLES | rpc::FEATURE_STATE_VIEWS;

  uint64_t grantable() const {
    uint64_t all = rpc::FEATURE_SHARED_MEMORY;
    if (client != nullptr && socket.handOverSocket != nullptr) all |= rpc::FEATURE_HAND_OVER;
    if (host.access.mayMapStore(client)) all |= STORE_FEATURES;
    return all;
  }

  Result<SessionTerms> agree(rpc::ClientHello::Reader hello) const {
    if (host.shuttingDown.load(std::memory_order_relaxed)) {
      return makeError(Code::UNAVAILABLE, Reason::SHUTTING_DOWN, "the server is shutting down");
    }
    if (access == Access::NONE) return notAllowed("use this ledger");
    const uint16_t version = kj::min(hello.getMaxVersion(), NEWEST_VERSION);
    if (version < kj::max(hello.getMinVersion(), OLDEST_VERSION)) {
      return makeError(Code::FAILED_PRECONDITION, Reason::VERSION_MISMATCH,
                       "no protocol version in common: the client speaks ", hello.getMinVersion(),
                       " to ", hello.getMaxVersion(), ", this server ", OLDEST_VERSION, " to ",
                       NEWEST_VERSION);
    }
    if (host.sessions.load(std::memory_order_relaxed) >= host.limits.sessions) {
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, host.limits.sessions,
                       " sessions are open, as many as may be");
    }
    if (load->sessions >= host.limits.sessionsPerConnection) {
      return makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, load->sessions,
                       " sessions are open on this connection, as many as may be");
    }
    const uint64_t words = hello.getMessageWords();
    SessionTerms terms{.version = version,
                       .features = hello.getFeatures() & features,
                       .messageWords = words == 0 ? rpc::DEFAULT_MESSAGE_WORDS : words,
                       .access = access,
                       .seesSessions = access == Access::WRITE || host.access.isSelf(client),
                       .handOverUser = nullptr};
    if (!terms.mapsArenas()) terms.features &= ~STORE_FEATURES;
    if (hello.getStoreLayout() != LAYOUT_VERSION) {
      terms.features &= ~uint64_t(rpc::FEATURE_STATE_VIEWS);
    }
    if ((terms.features & rpc::FEATURE_HAND_OVER) != 0) {
      terms.handOverUser = KJ_ASSERT_NONNULL(client).user;
    }
    return terms;
  }

  Error notAllowed(kj::StringPtr what) const {
    KJ_IF_MAYBE (who, client) {
      return makeError(Code::PERMISSION_DENIED, Reason::UNSPECIFIED, "user ", who->user,
                       " may not ", what,
                       ": it is in none of the server's lists of users and groups");
    }
    return makeError(Code::PERMISSION_DENIED, Reason::UNSPECIFIED, "a client may not ", what,
                     " whose user is not known");
  }

  static kj::String shortened(kj::StringPtr name) {
    return kj::heapString(name.begin(), kj::min(name.size(), size_t(rpc::MAX_NAME_BYTES)));
  }

  SessionPeer clientOf(kj::StringPtr name) const {
    SessionPeer result{nullptr, nullptr, shortened(name)};
    KJ_IF_MAYBE (who, client) {
      result.user = who->user;
      result.process = who->process;
    }
    return result;
  }

  static void logSession(kj::StringPtr name, const SessionTerms& terms) {
    spdlog::debug("session of client \"{}\", version {}, features {:#x}", shortened(name).cStr(),
                  terms.version, terms.features);
  }

  const Host& host;
  InFlight& calls;
  kj::Own<ConnectionLoad> load;
  const kj::Maybe<PeerIdentity> client;
  const SocketTerms socket;
  const Access access;
  const uint64_t features;  // That this client may choose from.
};

}  // namespace

rpc::Ledgerd::Client newLedgerd(const Host& host, InFlight& calls, kj::Own<ConnectionLoad> load,
                                kj::Maybe<PeerIdentity> client, const SocketTerms& socket) {
  return kj::heap<LedgerdServer>(host, calls, kj::mv(load), kj::mv(client), socket);
}

}  // namespace ledger::server
