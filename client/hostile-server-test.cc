// SPDX-License-Identifier: Apache-2.0
// Servers that break the contract: every way must be an error, and the session of use afterwards.
#include "client/session-fixture.h"
#include "schema/bulk.h"

#include <kj/debug.h>

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace ledger::client {
namespace {

using HostileServer = SessionTest;

struct Attack {
  const char* name;
  Script::Form form;
  std::function<void(rpc::Bulk::Builder)> spoil;
};

// Tampered replies to a Get of four keys, one of them absent.
const std::vector<Attack>& attacks() {
  constexpr uint64_t ARENA = uint64_t(4) << 20;
  using Form = Script::Form;
  static const std::vector<Attack> ATTACKS = {
      {"unset", Form::INLINE, [](auto bulk) { bulk.setUnset(); }},
      {"empty", Form::INLINE, [](auto bulk) { bulk.initInline(0); }},
      {"short header", Form::INLINE, [](auto bulk) { bulk.initInline(1).init(0, 7); }},
      {"no values", Form::INLINE, [](auto bulk) { bulk.initInline(1).init(0, 8); }},
      {"one value too many", Form::INLINE, [](auto bulk) { bulk.getInline()[0][0] = 5; }},
      {"one value too few", Form::INLINE, [](auto bulk) { bulk.getInline()[0][0] = 3; }},
      {"2^24 values more", Form::INLINE, [](auto bulk) { bulk.getInline()[0][3] = 1; }},
      {"zero is not zero", Form::INLINE, [](auto bulk) { bulk.getInline()[0][4] = 1; }},
      {"longer than there is", Form::INLINE, [](auto bulk) { bulk.getInline()[0][8] += 1; }},
      {"much longer", Form::INLINE, [](auto bulk) { bulk.getInline()[0][11] = 0xff; }},
      {"bytes left", Form::INLINE, [](auto bulk) { bulk.getInline()[0][8] -= 1; }},
      {"no region", Form::SPAN, [](auto bulk) { bulk.getSpan().disownRegion(); }},
      {"unknown arena", Form::SPAN, [](auto bulk) { bulk.getSpan().setArena(99); }},
      {"offset at the end", Form::SPAN, [](auto bulk) { bulk.getSpan().setOffset(ARENA); }},
      {"offset beyond", Form::SPAN, [](auto bulk) { bulk.getSpan().setOffset(ARENA + 1); }},
      {"offset overflows", Form::SPAN, [](auto bulk) { bulk.getSpan().setOffset(UINT64_MAX - 3); }},
      {"length beyond", Form::SPAN, [](auto bulk) { bulk.getSpan().setLength(ARENA + 1); }},
      {"length overflows", Form::SPAN, [](auto bulk) { bulk.getSpan().setLength(UINT64_MAX); }},
      {"span cut", Form::SPAN,
       [](auto bulk) { bulk.getSpan().setLength(bulk.getSpan().getLength() - 1); }},
      {"table without region", Form::TABLE, [](auto bulk) { bulk.getTable().disownRegion(); }},
      {"table in no arena", Form::TABLE, [](auto bulk) { bulk.getTable().setArena(0); }},
      {"table beyond", Form::TABLE, [](auto bulk) { bulk.getTable().setOffset(ARENA - 1); }},
      {"table overflows", Form::TABLE, [](auto bulk) { bulk.getTable().setOffset(UINT64_MAX); }},
      {"table too long", Form::TABLE, [](auto bulk) { bulk.getTable().setCount(UINT32_MAX); }},
      {"table over the arena", Form::TABLE, [](auto bulk) { bulk.getTable().setCount(200000); }},
      {"table empty", Form::TABLE, [](auto bulk) { bulk.getTable().setCount(0); }},
      {"lease beyond", Form::TABLE, [](auto bulk) { bulk.getTable().setLease(ARENA); }},
      {"lease between", Form::TABLE, [](auto bulk) { bulk.getTable().setLease(4); }},
      {"lease overflows", Form::TABLE, [](auto bulk) { bulk.getTable().setLease(UINT64_MAX - 7); }},
      {"lease in no arena", Form::TABLE, [](auto bulk) { bulk.getTable().setLeaseArena(0); }},
      {"table cut", Form::TABLE, [](auto bulk) { bulk.getTable().setCount(4); }},
      {"sum too large", Form::TABLE,
       [](auto bulk) { bulk.getTable().setLength(bulk.getTable().getLength() + 1); }},
      {"sum too small", Form::TABLE, [](auto bulk) { bulk.getTable().setLength(1); }},
      {"shifted by four", Form::TABLE,
       [](auto bulk) { bulk.getTable().setOffset(bulk.getTable().getOffset() + 4); }},
      {"of zeros", Form::TABLE, [](auto bulk) { bulk.getTable().setOffset(ARENA - 1000); }},
      // The table begins one entry late.
      {"header in two pieces", Form::TABLE,
       [](auto bulk) {
         bulk.getTable().setOffset(bulk.getTable().getOffset() + rpc::TABLE_ENTRY_BYTES);
       }},
  };
  return ATTACKS;
}

// Bytes outside the arena handed out, a crash, or a connection that is no use afterwards.
TEST_F(HostileServer, HostilePayloadsAreErrors) {
  open();
  for (auto& attack : attacks()) {
    SCOPED_TRACE(attack.name);
    script.form = attack.form;
    script.spoilBulk = [&](rpc::Bulk::Builder bulk) { attack.spoil(bulk); };
    KJ_IF_MAYBE (exception, thrown(client->get(state, keys))) {
      EXPECT_EQ(exception->getType(), kj::Exception::Type::FAILED);
    } else {
      ADD_FAILURE() << "was taken";
    }
    script.spoilBulk = [](rpc::Bulk::Builder) {};
    EXPECT_EQ(good(client->get(state, keys)).size(), 4u);
    EXPECT_EQ(regionsHeld(), 0u);
  }
}

// A payload longer than we said we take, which a View of pieces would have to be allocated for.
TEST_F(HostileServer, APayloadOverOurLimitIsAnError) {
  for (auto form : {Script::Form::SPAN, Script::Form::TABLE}) {
    script.form = form;
    open({.maxPayloadBytes = 10});
    EXPECT_TRUE(thrown(client->prove(state, keys)) != nullptr);
  }
}

// Shared memory that nobody agreed to.
TEST_F(HostileServer, AnInlineSessionTakesNoSpan) {
  open({.transport = TransportChoice::INLINE});
  EXPECT_TRUE(thrown(client->prove(state, keys)) != nullptr);
  script.form = Script::Form::INLINE;
  EXPECT_EQ(good(client->prove(state, keys)).size(), 18u);
}

class WrongDescriptor final : public rpc::Arena::Server {
public:
  explicit WrongDescriptor(int fd) : fd(fd) {}
  kj::Maybe<int> getFd() override { return fd.get(); }

private:
  kj::AutoCloseFd fd;
};

// A mapping of something that can shrink under us: the next read would be a SIGBUS.
TEST_F(HostileServer, HostileArenasAreErrors) {
  const std::vector<std::function<void(rpc::OpenArenaReply::Builder)>> spoils = {
      [](auto reply) { reply.setUnset(); },
      [](auto reply) { reply.getOpened().disownArena(); },
      [](auto reply) { reply.getOpened().setSize(0); },
      [](auto reply) { reply.getOpened().setSize((uint64_t(4) << 20) + 1); },
      [](auto reply) { reply.getOpened().setSize(UINT64_MAX); },
      [](auto reply) {
        int ends[2];
        KJ_SYSCALL(pipe2(ends, O_CLOEXEC));
        KJ_SYSCALL(close(ends[1]));
        reply.getOpened().setArena(kj::heap<WrongDescriptor>(ends[0]));
      },
      [](auto reply) {
        int fd;
        KJ_SYSCALL(fd = ::open("/tmp", O_TMPFILE | O_RDWR, 0600));
        KJ_SYSCALL(ftruncate(fd, 4 << 20));
        reply.getOpened().setArena(kj::heap<WrongDescriptor>(fd));
      },
      [](auto reply) {
        int fd;
        KJ_SYSCALL(fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        KJ_SYSCALL(ftruncate(fd, 4 << 20));
        reply.getOpened().setArena(kj::heap<WrongDescriptor>(fd));
      },
  };
  for (auto& spoil : spoils) {
    SCOPED_TRACE(&spoil - spoils.data());
    script.spoilArena = [&](rpc::OpenArenaReply::Builder reply) { spoil(reply); };
    open();
    EXPECT_TRUE(thrown(client->prove(state, keys)) != nullptr);
    EXPECT_EQ(regionsHeld(), 0u);
    // The next reply asks again.
    script.spoilArena = [](rpc::OpenArenaReply::Builder) {};
    EXPECT_EQ(text(good(client->prove(state, keys)).bytes()), "oneabsentthreefour");
  }
}

// A server that makes us remember one arena after the other that it then does not open.
TEST_F(HostileServer, ArenasThatAreNamedAreBounded) {
  auto pipe = io.provider->newCapabilityPipe();
  serving = serve(kj::mv(pipe.ends[1]), script).eagerlyEvaluate(nullptr);
  auto opened = Connection::open(kj::mv(pipe.ends[0]), timer, {.mappingIdle = 0 * kj::SECONDS})
                    .wait(io.waitScope);
  client = kj::refcounted<SessionClient>(kj::mv(opened.get<kj::Own<Connection>>()));

  constexpr uint32_t MOST = 4096;
  uint32_t arena = 1000000;
  script.spoilBulk = [&](rpc::Bulk::Builder bulk) { bulk.getSpan().setArena(arena++); };
  for (uint32_t i = 0; i < MOST + 3; ++i) {
    EXPECT_TRUE(thrown(client->prove(state, keys)) != nullptr);
  }
  EXPECT_EQ(script.seen.arenasOpened, MOST);

  // They are forgotten in time.
  timer.advanceTo(timer.now() + 1 * kj::SECONDS);
  io.waitScope.poll();
  script.spoilBulk = [](rpc::Bulk::Builder) {};
  EXPECT_EQ(text(good(client->prove(state, keys)).bytes()), "oneabsentthreefour");
}

// A state that is read beyond its end, or cut.
TEST_F(HostileServer, AStateOfTheWrongLengthIsAnError) {
  open();
  for (size_t length : {0, 1, 31, 33, 64}) {
    script.spoilState = [length](rpc::StateReply::Builder reply) { reply.initState(length); };
    EXPECT_TRUE(thrown(client->set(state, nullptr, nullptr, nullptr)) != nullptr);
  }
  script.spoilState = [](rpc::StateReply::Builder reply) { reply.setUnset(); };
  EXPECT_TRUE(thrown(client->set(state, nullptr, nullptr, nullptr)) != nullptr);
}

// One operation's result taken for another's.
TEST_F(HostileServer, HostileBatchRepliesAreErrors) {
  open();
  const Operation operations[] = {{Operation::InitialState{}},
                                  {Operation::HasState{state}},
                                  {Operation::GetSingleValue{state, keys[0]}},
                                  {Operation::Get{state, keys}},
                                  {Operation::Prove{state, keys}},
                                  {Operation::Set{state, nullptr, nullptr}}};
  auto attack = [&](auto&& spoil) {
    script.spoilBatch = kj::mv(spoil);
    return thrown(client->batch(operations)) != nullptr;
  };
  using Reply = rpc::BatchReply::Builder;
  EXPECT_TRUE(attack([](Reply reply) { reply.setUnset(); }));
  EXPECT_TRUE(attack([](Reply reply) { reply.initResults(5); }));
  EXPECT_TRUE(attack([](Reply reply) { reply.initResults(7); }));
  for (uint32_t i = 0; i < 6; ++i) {
    EXPECT_TRUE(attack([i](Reply reply) { reply.getResults()[i].setUnset(); })) << i;
    EXPECT_TRUE(attack([i](Reply reply) {
      auto results = reply.getResults();
      results.setWithCaveats(i, results[(i + 1) % 6].asReader());
    })) << i;
  }
  script.spoilBatch = [](Reply) {};
  EXPECT_EQ(good(client->batch(operations)).size(), 6u);
  EXPECT_EQ(regionsHeld(), 0u);
}

}  // namespace
}  // namespace ledger::client
