// SPDX-License-Identifier: Apache-2.0
#include "server/http-thread.h"

#include "server/accept-each.h"

#include <kj/async-io.h>
#include <kj/debug.h>
#include <spdlog/spdlog.h>

namespace ledger::server {
namespace {

// Between lines that tell of refused connections.
constexpr kj::Duration QUIET = 10 * kj::SECONDS;

// Events in a row.
constexpr uint32_t BUSY_POLL_INTERVAL = 32;

kj::StringPtr textOf(unsigned status) {
  switch (status) {
    case 200:
      return "OK"_kj;
    case 400:
      return "Bad Request"_kj;
    case 404:
      return "Not Found"_kj;
    case 405:
      return "Method Not Allowed"_kj;
    case 413:
      return "Payload Too Large"_kj;
    case 503:
      return "Service Unavailable"_kj;
    default:
      return "Internal Server Error"_kj;
  }
}

kj::StringPtr beforeQuestionMark(kj::StringPtr url, kj::String& storage) {
  KJ_IF_MAYBE (end, url.findFirst('?')) {
    storage = kj::str(url.slice(0, *end));
    return storage;
  }
  return url;
}

// What one port answers.
class PortService final : public kj::HttpService {
public:
  PortService(const kj::HttpHeaderTable& table,
              kj::Function<HttpReply(const HttpRequest&)>& answer, size_t bodyBytes)
      : table(table), answer(answer), bodyBytes(bodyBytes) {}

  kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url, const kj::HttpHeaders&,
                            kj::AsyncInputStream& body, Response& response) override {
    kj::String storage;
    auto path = kj::str(beforeQuestionMark(url, storage));
    if (method != kj::HttpMethod::POST) return send({method, path, ""_kj}, response);
    auto length = body.tryGetLength();
    KJ_IF_MAYBE (bytes, length) {
      if (*bytes > bodyBytes) return refuseBody(response);
    }
    // One more than may be, to see whether there is more.
    auto buffer = kj::heapString(bodyBytes + 1);
    auto read = body.tryRead(buffer.begin(), buffer.size(), buffer.size());
    return read.then([this, method, path = kj::mv(path), buffer = kj::mv(buffer),
                      &response](size_t length) mutable {
      if (length > bodyBytes) return refuseBody(response);
      auto text = kj::heapString(buffer.slice(0, length));
      return send({method, path, text}, response);
    });
  }

private:
  kj::Promise<void> refuseBody(Response& response) {
    return send(HttpReply{413, TEXT_TYPE,
                          kj::str("a body of more than ", bodyBytes, " bytes is not taken\n")},
                response);
  }

  kj::Promise<void> send(const HttpRequest& request, Response& response) {
    HttpReply reply{500, TEXT_TYPE, kj::str()};
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { reply = answer(request); })) {
      spdlog::error("an HTTP request failed: {}", kj::str(*exception).cStr());
      reply.body = kj::str(exception->getDescription(), "\n");
    }
    return send(kj::mv(reply), response);
  }

  kj::Promise<void> send(HttpReply reply, Response& response) {
    kj::HttpHeaders headers(table);
    headers.set(kj::HttpHeaderId::CONTENT_TYPE, reply.contentType);
    auto stream = response.send(reply.status, textOf(reply.status), headers, reply.body.size());
    auto written = stream->write(reply.body.begin(), reply.body.size());
    return written.attach(kj::mv(stream), kj::mv(reply.body));
  }

  const kj::HttpHeaderTable& table;
  kj::Function<HttpReply(const HttpRequest&)>& answer;
  const size_t bodyBytes;
};

// One request a connection, so that its time can be bounded as a whole.
class CloseAlways final : public kj::HttpServerCallbacks {
public:
  bool shouldClose() override { return true; }
};

// A port's connections.
class Port {
public:
  Port(kj::Timer& timer, HttpPort& port, const HttpLimits& limits, kj::TaskSet& connections)
      : timer(timer),
        limits(limits),
        connections(connections),
        service(*table, port.answer, limits.bodyBytes),
        server(timer, *table, service, settings(callbacks)) {}

  kj::Promise<void> acceptFrom(kj::ConnectionReceiver& receiver) {
    return acceptEach(receiver, timer,
                      [this](kj::Own<kj::AsyncIoStream> stream) { serve(kj::mv(stream)); });
  }

private:
  static kj::HttpServerSettings settings(kj::HttpServerCallbacks& callbacks) {
    kj::HttpServerSettings settings;
    settings.callbacks = callbacks;
    settings.pipelineTimeout = 0 * kj::SECONDS;  // There is no second request to wait for.
    return settings;
  }

  void serve(kj::Own<kj::AsyncIoStream> stream) {
    if (open >= limits.connections) {
      // Of a flood only the first is worth a line.
      if (timer.now() >= quietUntil) {
        spdlog::warn("HTTP connections are refused: {} are open, as many as may be", open);
        quietUntil = timer.now() + QUIET;
      }
      return;
    }
    ++open;
    connections.add(server.listenHttp(kj::mv(stream))
                        .exclusiveJoin(timer.afterDelay(limits.connectionTime))
                        .attach(kj::defer([this]() { --open; })));
  }

  kj::Timer& timer;
  const HttpLimits& limits;
  uint32_t open = 0;
  kj::TimePoint quietUntil = kj::origin<kj::TimePoint>();
  kj::TaskSet& connections;
  const kj::Own<const kj::HttpHeaderTable> table = kj::HttpHeaderTable::Builder().build();
  CloseAlways callbacks;
  PortService service;
  kj::HttpServer server;
};

class LogErrors final : public kj::TaskSet::ErrorHandler {
public:
  void taskFailed(kj::Exception&& exception) override {
    spdlog::debug("an HTTP connection failed: {}", exception.getDescription().cStr());
  }
};

}  // namespace

HttpReply notFound() {
  return {404, TEXT_TYPE, kj::str("404 page not found\n")};
}

HttpThread::HttpThread(kj::Array<HttpPort> ports, HttpLimits limits) {
  thread = kj::heap<kj::Thread>([this, ports = kj::mv(ports), limits]() mutable {
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() { run(kj::mv(ports), limits); })) {
      spdlog::error("HTTP is served no more: {}", exception->getDescription().cStr());
    }
  });
}

HttpThread::~HttpThread() noexcept(false) {
  {
    auto lock = state.lockExclusive();
    lock->stopping = true;
    KJ_IF_MAYBE (stopper, lock->stopper) (*stopper)->fulfill();
  }
  thread = nullptr;
}

void HttpThread::run(kj::Array<HttpPort> ports, const HttpLimits& limits) const {
  auto io = kj::setupAsyncIo();
  // A flood of connections must not keep the loop from its timers and its end.
  io.waitScope.setBusyPollInterval(BUSY_POLL_INTERVAL);
  auto stopped = kj::newPromiseAndCrossThreadFulfiller<void>();
  {
    auto lock = state.lockExclusive();
    if (lock->stopping) return;
    lock->stopper = kj::mv(stopped.fulfiller);
  }
  // The fulfiller belongs to this loop: it goes before the loop does.
  KJ_DEFER(state.lockExclusive()->stopper = nullptr);

  // Destroyed from below: connections use their ports.
  LogErrors errors;
  kj::Vector<kj::Own<Port>> served;
  kj::Vector<kj::Own<kj::ConnectionReceiver>> receivers;
  kj::TaskSet connections(errors);
  kj::Promise<void> ended = kj::mv(stopped.promise);
  for (auto& port : ports) {
    receivers.add(io.lowLevelProvider->wrapListenSocketFd(
        kj::mv(port.listener), kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC |
                                   kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK));
    served.add(kj::heap<Port>(io.provider->getTimer(), port, limits, connections));
    ended = ended.exclusiveJoin(served.back()->acceptFrom(*receivers.back()));
  }
  ended.wait(io.waitScope);
}

}  // namespace ledger::server
