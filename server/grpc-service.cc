// SPDX-License-Identifier: Apache-2.0
#include "server/grpc-service.h"

#include "server/grpc-operations.h"
#include "server/gzip.h"
#include "server/rpc-errors.h"

#include <grpc/support/log.h>
#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <kj/debug.h>
#include <kj/mutex.h>
#include <kj/thread.h>
#include <kj/vector.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <limits>

namespace ledger::server {
namespace {

using Bytes = kj::ArrayPtr<const kj::byte>;

// Calls that one connection may have in flight; a client waits with more.
constexpr int STREAMS_OF_A_CONNECTION = 256;

// How long a client may take to send the message of a call that it has begun, and how many calls may
// wait for theirs, for each that may be in flight.
constexpr std::chrono::seconds FIRST_MESSAGE{60};
constexpr uint32_t BEGUN_FOR_ONE_IN_FLIGHT = 4;

// How often a call that watches the server's health is looked after.
constexpr std::chrono::milliseconds WATCH_STEP{250};

// What a client may send beyond --max-request-size before the library refuses it, by itself and at
// once, instead of us, with flow-go's text, once all of it is there.
constexpr uint64_t LEAST_BEYOND = uint64_t(64) << 20;

// How long clients may take to hear that the server goes, when all is answered.
constexpr std::chrono::seconds LAST_WORDS{1};

// What the library itself may hold, most of it messages on their way in, of which at least two may
// be as long as they can be. It ends streams when it has no more.
uint64_t libraryMemory(const Host& host) {
  return kj::max(2 * host.limits.requestBytes + (uint64_t(256) << 20), host.memory.limit() / 8);
}

// The longest message that the library takes in.
int longestMessage(const ServiceLimits& limits) {
  const uint64_t most = limits.requestBytes + kj::max(limits.requestBytes, LEAST_BEYOND);
  return kj::min(most, uint64_t(std::numeric_limits<int>::max()));
}

void logLine(gpr_log_func_args* line) {
  const auto level = line->severity == GPR_LOG_SEVERITY_ERROR ? spdlog::level::warn
                     : line->severity == GPR_LOG_SEVERITY_INFO ? spdlog::level::debug
                                                               : spdlog::level::trace;
  // Null once the log has ended, which the library may outlive.
  auto logger = spdlog::default_logger();
  if (logger != nullptr) logger->log(level, "gRPC: {}", line->message);
}

// --- Calls ----------------------------------------------------------------------------------

// What the calls share.
struct Shared {
  explicit Shared(const Host& host) : host(host) {}

  const Host& host;
  grpc::AsyncGenericService service;
  // All that exist: those in flight, and one for each queue that waits to be one.
  kj::MutexGuarded<uint32_t> calls{0};
  std::atomic<uint32_t> inFlight{0};  // Of them: whose message has come.
};

// One call, from before it has come until the library is done with it. It deletes itself.
// Thread: that of its queue, where all its events happen; only answer() may be a worker's.
class Call final {
public:
  // Waits for a call at `queue`, which is not shut down.
  static void await(Shared& shared, grpc::ServerCompletionQueue& queue) {
    auto* call = new Call(shared, queue);
    call->context.AsyncNotifyWhenDone(&call->onDone);
    shared.service.RequestCall(&call->context, &call->stream, &queue, &queue, &call->onBegun);
  }

  // What the queue gives back as a tag.
  struct Event {
    Call& call;
    void (Call::*happened)(bool ok);
  };

private:
  Call(Shared& shared, grpc::ServerCompletionQueue& queue) : shared(shared), queue(queue) {
    ++*shared.calls.lockExclusive();
  }

  void end() {
    auto& calls = shared.calls;
    if (isInFlight) {
      shared.inFlight.fetch_sub(1, std::memory_order_relaxed);
      shared.host.calls.inFlight[uint32_t(CallMeters::Face::GRPC)].add(-1);
    }
    delete this;
    --*calls.lockExclusive();
  }

  // --- Events, in this order; done() may come any time after begun(), and late() after it. ---

  void begun(bool ok) {
    if (!ok) return end();  // The server has been shut down: no other event comes.
    const auto& limits = shared.host.limits;
    const uint32_t others = *shared.calls.lockShared() - 1;
    await(shared, queue);
    if (shared.host.shuttingDown.load(std::memory_order_relaxed)) {
      return finish(
          makeError(Code::UNAVAILABLE, Reason::SHUTTING_DOWN, "the server is shutting down"));
    }
    if (others / BEGUN_FOR_ONE_IN_FLIGHT >= limits.callsInFlight) {
      return finish(makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, others,
                              " calls have been begun, as many as may be"));
    }
    auto found = findGrpcMethod(context.method().c_str());
    KJ_IF_MAYBE (error, found.tryGet<Error>()) return finish(kj::mv(*error));
    method = found.get<GrpcMethod>();
    ++endsToCome;
    patience.Set(&queue, std::chrono::system_clock::now() + FIRST_MESSAGE, &onLate);
    stream.Read(&request, &onRead);
  }

  // Expired, or no longer needed.
  void late(bool isLate) {
    if (isLate) context.TryCancel();
    endOne();
  }

  void read(bool ok) {
    patience.Cancel();
    if (!ok) {
      return finish(makeError(Code::INTERNAL, Reason::BAD_REQUEST, "the call has no request"));
    }
    const auto& host = shared.host;
    isInFlight = true;
    host.calls.inFlight[uint32_t(CallMeters::Face::GRPC)].add(1);
    if (shared.inFlight.fetch_add(1, std::memory_order_relaxed) >= host.limits.callsInFlight) {
      return finish(makeError(Code::RESOURCE_EXHAUSTED, Reason::QUOTA, host.limits.callsInFlight,
                              " calls are in flight, as many as may be"));
    }
    const uint64_t length = request.Length();
    KJ_IF_MAYBE (error, checkGrpcRequestSize(length, host.limits)) return finish(kj::mv(*error));
    // One piece, or none.
    isWhole = length == 0 || request.TrySingleSlice(&message).ok();
    if (method == GrpcMethod::HEALTH_WATCH) return watch(length);
    if (isWhole && isSmallGrpcCall(method, length) && !isGzip(bytes())) return answer();
    if (!host.workers.post([this]() { answer(); })) {
      finish(queueFull(host.workers.queued()));
    }
  }

  void finished(bool) { endOne(); }

  void done(bool) {
    if (context.IsCancelled()) cancelled.store(true, std::memory_order_relaxed);
    KJ_IF_MAYBE (alarm, step) alarm->Cancel();
    endOne();
  }

  // The last events come in any order.
  void endOne() {
    if (--endsToCome == 0) end();
  }

  // --- Watching the server's health: told at once, and when it goes ---

  void watch(uint64_t length) {
    if (!isWhole || !isSmallGrpcCall(method, length) || isGzip(bytes())) {
      return finish(makeError(Code::INVALID_ARGUMENT, Reason::BAD_REQUEST,
                              "the name of a service is short and not compressed"));
    }
    auto health = healthOf(shared.host, bytes());
    KJ_IF_MAYBE (error, health.tryGet<Error>()) return finish(kj::mv(*error));
    auto reply = healthReply(shared.host, health.get<GrpcHealth>());
    KJ_IF_MAYBE (error, reply.tryGet<Error>()) return finish(kj::mv(*error));
    stream.Write(toByteBuffer(kj::mv(reply.get<GrpcReply>())), &onTold);
  }

  void told(bool) {
    step.emplace().Set(&queue, std::chrono::system_clock::now() + WATCH_STEP, &onStep);
  }

  void stepped(bool) {
    if (cancelled.load(std::memory_order_relaxed)) {
      return finish(makeError(Code::CANCELLED, Reason::CANCELLED, "the call was dropped"));
    }
    if (shared.host.shuttingDown.load(std::memory_order_relaxed)) {
      return finish(healthReply(shared.host, GrpcHealth::NOT_SERVING));
    }
    told(true);
  }

  // --- Answering ---

  void answer() {
    kj::Maybe<Result<GrpcReply>> result;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { result = execute(); })) {
      spdlog::error("an operation failed: {}", kj::str(*exception).cStr());
      result = Result<GrpcReply>(
          makeError(Code::INTERNAL, Reason::UNSPECIFIED, exception->getDescription()));
    }
    request.Clear();
    message = grpc::Slice();
    finish(kj::mv(KJ_ASSERT_NONNULL(result)));
  }

  Result<GrpcReply> execute() {
    // The message is in the library's memory by now; what is worked on counts as ours. One that
    // came in pieces is put together first.
    const auto& host = shared.host;
    if (cancelled.load(std::memory_order_relaxed)) {
      return makeError(Code::CANCELLED, Reason::CANCELLED, "the call was dropped");
    }
    auto reserved = host.memory.reserve((isWhole ? 1 : 2) * request.Length());
    if (reserved.is<shm::Shortage>()) return outOfMemory(reserved.get<shm::Shortage>());
    if (!isWhole) {
      KJ_ASSERT(request.DumpToSingleSlice(&message).ok());
      request.Clear();
      reserved.get<shm::Reservation>().release(message.size());
    }
    if (!isGzip(bytes())) return answerGrpcCall(host, method, bytes(), Wanted(cancelled));

    auto inflated = inflate(bytes(), host.limits.requestBytes, host.memory, Wanted(cancelled));
    KJ_IF_MAYBE (error, inflated.tryGet<Error>()) return kj::mv(*error);
    return answerGrpcCall(host, method, inflated.get<Inflated>().bytes, Wanted(cancelled));
  }

  Bytes bytes() const { return Bytes(message.begin(), message.size()); }

  // The last thing that is done with the call: its events may end it at once.
  void finish(Result<GrpcReply> result) {
    KJ_SWITCH_ONEOF(result) {
      KJ_CASE_ONEOF(error, Error) {
        const std::string text(error.message.cStr(), error.message.size());
        stream.Finish(grpc::Status(grpc::StatusCode(error.code), text), &onFinished);
      }
      KJ_CASE_ONEOF(reply, GrpcReply) {
        stream.WriteAndFinish(toByteBuffer(kj::mv(reply)), grpc::WriteOptions(), grpc::Status::OK,
                              &onFinished);
      }
    }
  }

  // The bytes are sent from where they are. They, and what was reserved for them, go when the
  // library needs them no more.
  static grpc::ByteBuffer toByteBuffer(GrpcReply reply) {
    if (reply.bytes.size() == 0) return grpc::ByteBuffer(nullptr, 0);
    auto* owned = new GrpcReply(kj::mv(reply));
    grpc::Slice slice(
        owned->bytes.begin(), owned->bytes.size(),
        [](void* owned) { delete static_cast<GrpcReply*>(owned); }, owned);
    return grpc::ByteBuffer(&slice, 1);
  }

  class Wanted final : public Stop {
  public:
    explicit Wanted(const std::atomic<bool>& cancelled) : cancelled(cancelled) {}
    bool requested() const override { return cancelled.load(std::memory_order_relaxed); }

  private:
    const std::atomic<bool>& cancelled;
  };

  Shared& shared;
  grpc::ServerCompletionQueue& queue;
  grpc::GenericServerContext context;
  grpc::GenericServerAsyncReaderWriter stream{&context};

  Event onBegun{*this, &Call::begun}, onRead{*this, &Call::read};
  Event onFinished{*this, &Call::finished}, onDone{*this, &Call::done};
  Event onLate{*this, &Call::late};
  Event onTold{*this, &Call::told}, onStep{*this, &Call::stepped};
  grpc::Alarm patience;         // Until the message has come.
  kj::Maybe<grpc::Alarm> step;  // Of a watching call, which is always at one.

  GrpcMethod method = GrpcMethod::INITIAL_STATE;
  grpc::ByteBuffer request;
  grpc::Slice message;  // All of the request, if it `isWhole`.
  bool isWhole = false;
  std::atomic<bool> cancelled{false};  // By the client, its deadline, or a shutdown.
  bool isInFlight = false;             // Counted among those.
  int endsToCome = 2;
};

void runEvents(grpc::ServerCompletionQueue& queue) {
  void* tag;
  bool ok;
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 while (queue.Next(&tag, &ok)) {
                   auto& event = *static_cast<Call::Event*>(tag);
                   (event.call.*event.happened)(ok);
                 }
               })) {
    // Want of memory, or a bug: calls would never be answered, and the library cannot be left.
    spdlog::critical("gRPC failed, the process ends: {}", exception->getDescription().cStr());
    std::abort();
  }
}

}  // namespace

struct GrpcService::Impl {
  explicit Impl(const Host& host) : shared(host) {}

  Shared shared;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
  std::unique_ptr<grpc::Server> server;
  kj::Vector<kj::Own<kj::Thread>> threads;  // Empty: stopped.
};

GrpcService::GrpcService(const Host& host, uint32_t threads)
    : impl(kj::heap<Impl>(host)) {
  gpr_set_log_function(logLine);
  grpc::ServerBuilder builder;
  builder.RegisterAsyncGenericService(&impl->shared.service);
  // Sizes are checked by us: a refusal of the library's has another text.
  builder.SetMaxReceiveMessageSize(longestMessage(host.limits));
  builder.SetMaxSendMessageSize(-1);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, STREAMS_OF_A_CONNECTION);
  // So is compression, of which flow-go's service takes one kind.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  grpc::ResourceQuota quota("ledgerd");
  builder.SetResourceQuota(quota.Resize(libraryMemory(host)));
  impl->acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  for (uint32_t index = 0; index < threads; ++index) {
    impl->queues.push_back(builder.AddCompletionQueue());
  }
  impl->server = builder.BuildAndStart();
  KJ_REQUIRE(impl->server != nullptr, "the gRPC service does not start");
  for (auto& queue : impl->queues) {
    Call::await(impl->shared, *queue);
    impl->threads.add(kj::heap<kj::Thread>([&queue = *queue]() { runEvents(queue); }));
  }
}

GrpcService::~GrpcService() noexcept(false) {
  stop(0 * kj::SECONDS);
}

void GrpcService::serve(kj::AutoCloseFd connection) {
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
  parameters.fd = connection.release();
  impl->acceptor->HandleNewConnection(&parameters);
}

void GrpcService::stop(kj::Duration timeout) {
  if (impl->threads.size() == 0) return;
  // Not the library's own way to wait: it would also wait for clients to close their connections.
  const auto& calls = impl->shared.calls;
  const uint32_t waiting = impl->queues.size();
  const bool finished = calls.when([&](uint32_t calls) { return calls <= waiting; },
                                   [&](uint32_t& calls) { return calls <= waiting; }, timeout);
  if (!finished) spdlog::warn("gRPC calls in flight were cancelled: they took too long to finish");
  impl->server->Shutdown(std::chrono::system_clock::now() + LAST_WORDS);

  // A worker may be at work for a call that is cancelled by now, and answers it in the end. As long
  // as there is a call its queue must not be shut down.
  calls.when([](uint32_t calls) { return calls == 0; }, [](uint32_t&) {});
  for (auto& queue : impl->queues) queue->Shutdown();
  impl->threads.clear();
}

}  // namespace ledger::server
