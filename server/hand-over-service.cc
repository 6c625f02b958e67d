// SPDX-License-Identifier: Apache-2.0
#include "server/hand-over-service.h"

#include "server/access.h"

#include <kj/debug.h>
#include <spdlog/spdlog.h>

namespace ledger::server {
namespace {

using Kind = rpc::HandOverRequest::Kind;

// A request comes with one at most; a second is received so that it is noticed.
constexpr size_t DESCRIPTOR_ROOM = 2;

struct Answer {
  rpc::HandOverReply reply;
  kj::Maybe<kj::AutoCloseFd> fd;
};

Answer refusal(const Error& error) {
  return {{rpc::Code(uint16_t(error.code)), rpc::Reason(uint16_t(error.reason)),
           kj::str(error.message)},
          nullptr};
}

Answer badRequest(kj::StringPtr message) {
  return {{rpc::Code::INVALID_ARGUMENT, rpc::Reason::BAD_REQUEST, kj::str(message)}, nullptr};
}

Answer answerTo(const HandOverTokens& tokens, uid_t user, kj::ArrayPtr<const kj::byte> bytes,
                kj::ArrayPtr<kj::AutoCloseFd> fds) {
  auto parsed = rpc::parseHandOverRequest(bytes);
  KJ_IF_MAYBE (bad, parsed.tryGet<rpc::BadPayload>()) {
    return {{bad->code, bad->reason, kj::mv(bad->message)}, nullptr};
  }
  auto& request = parsed.get<rpc::HandOverRequest>();
  if (request.kind == Kind::GIVE) {
    if (fds.size() != 1) return badRequest("a client gives one descriptor, beside its request");
    KJ_IF_MAYBE (error, tokens.give(request.token, user, kj::mv(fds[0]))) return refusal(*error);
    return {};
  }
  if (fds.size() != 0) return badRequest("a client that takes an arena gives no descriptor");
  auto taken = tokens.take(request.token, user);
  KJ_IF_MAYBE (error, taken.tryGet<Error>()) return refusal(*error);
  return {{}, kj::mv(taken.get<kj::AutoCloseFd>())};
}

}  // namespace

class HandOverService::Connection {
public:
  Connection(HandOverService& owner, uint64_t number, kj::Own<kj::AsyncCapabilityStream> accepted)
      : owner(owner), stream(kj::mv(accepted)) {
    done = owner.timer.timeoutAfter(DEADLINE, exchange())
               .catch_([](kj::Exception&& exception) {
                 spdlog::debug("a hand-over failed: {}", exception.getDescription().cStr());
               })
               .then([this, number]() {
                 auto& service = this->owner;
                 // Not here, within its own promise.
                 service.ended.add(
                     kj::evalLater([&service, number]() { service.open.erase(number); }));
               })
               .eagerlyEvaluate(nullptr);
  }

private:
  kj::Promise<void> exchange() {
    return stream
        ->tryReadWithFds(request, sizeof(request), sizeof(request), fds, DESCRIPTOR_ROOM)
        .then([this](kj::AsyncCapabilityStream::ReadResult read) -> kj::Promise<void> {
          if (read.byteCount < sizeof(request)) return kj::READY_NOW;  // It has left.
          return reply(kj::arrayPtr(fds, read.capCount));
        });
  }

  kj::Promise<void> reply(kj::ArrayPtr<kj::AutoCloseFd> received) {
    auto peer = PeerIdentity::of(*stream);
    auto answer = kj::heap<Answer>();
    KJ_IF_MAYBE (client, peer) {
      *answer = answerTo(owner.tokens, client->user, kj::arrayPtr(request, sizeof(request)),
                         received);
    } else {
      *answer = refusal(makeError(Code::PERMISSION_DENIED, Reason::UNSPECIFIED,
                                  "a client may not hand over whose user is not known"));
    }
    auto bytes = rpc::writeHandOverReply(answer->reply);
    kj::Promise<void> sent = nullptr;
    KJ_IF_MAYBE (fd, answer->fd) {
      auto sending = kj::heapArray<int>({fd->get()});
      auto fds = sending.asPtr().asConst();
      sent = stream->writeWithFds(bytes, nullptr, fds).attach(kj::mv(sending));
    } else {
      sent = stream->write(bytes.begin(), bytes.size());
    }
    return sent.attach(kj::mv(bytes), kj::mv(answer)).then([this]() { stream->shutdownWrite(); });
  }

  HandOverService& owner;
  kj::Own<kj::AsyncCapabilityStream> stream;
  kj::byte request[rpc::HAND_OVER_REQUEST_BYTES];
  kj::AutoCloseFd fds[DESCRIPTOR_ROOM];
  kj::Promise<void> done = nullptr;  // Last: it uses the above.
};

HandOverService::HandOverService(const HandOverTokens& tokens, kj::Timer& timer)
    : tokens(tokens), timer(timer), ended(*this) {}

HandOverService::~HandOverService() noexcept(false) {}

void HandOverService::serve(kj::Own<kj::AsyncIoStream> stream) {
  if (open.size() >= MOST_CONNECTIONS) open.erase(open.begin());
  const uint64_t number = ++accepted;
  open.emplace(number, kj::heap<Connection>(*this, number,
                                            stream.downcast<kj::AsyncCapabilityStream>()));
}

void HandOverService::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "forgetting a hand-over failed", exception);
}

}  // namespace ledger::server
