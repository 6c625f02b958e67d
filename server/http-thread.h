// SPDX-License-Identifier: Apache-2.0
#pragma once
// HTTP for operators and their tools: a thread of its own, with an event loop, so that nothing that
// happens there is felt by the ledger's clients.
//
// Everything is bounded, so that slow or ill-meaning peers only take each other's time: connections
// at a time, the time of one, which serves one request, and the length of headers and bodies.

#include <kj/array.h>
#include <kj/async.h>
#include <kj/common.h>
#include <kj/compat/http.h>
#include <kj/function.h>
#include <kj/io.h>
#include <kj/mutex.h>
#include <kj/string.h>
#include <kj/thread.h>
#include <kj/time.h>

namespace ledger::server {

struct HttpRequest {
  kj::HttpMethod method;
  kj::StringPtr path;  // Without what follows a question mark.
  kj::StringPtr body;  // Of a POST; else empty.
};

struct HttpReply {
  unsigned status;
  kj::StringPtr contentType;  // A constant.
  kj::String body;
};

struct HttpLimits {
  uint32_t connections = 64;  // On each port; more are closed at once.
  kj::Duration connectionTime = 30 * kj::SECONDS;
  size_t bodyBytes = 64 << 10;
};

// A port, and what is served there.
struct HttpPort {
  kj::AutoCloseFd listener;  // Listening, non-blocking.
  // Called on the thread: quick, and what it refers to outlives the thread. What it throws is
  // answered with 500.
  kj::Function<HttpReply(const HttpRequest&)> answer;
};

class HttpThread final {
public:
  explicit HttpThread(kj::Array<HttpPort> ports, HttpLimits limits = {});

  // Cuts off what is being served, and waits until the thread has ended.
  ~HttpThread() noexcept(false);
  KJ_DISALLOW_COPY(HttpThread);

private:
  void run(kj::Array<HttpPort> ports, const HttpLimits& limits) const;

  struct State {
    bool stopping = false;
    kj::Maybe<kj::Own<kj::CrossThreadPromiseFulfiller<void>>> stopper;  // Null until it runs.
  };
  kj::MutexGuarded<State> state;
  kj::Own<kj::Thread> thread;  // Last: it uses the above.
};

// For what is nowhere: flow-go's text.
HttpReply notFound();

constexpr kj::StringPtr TEXT_TYPE = "text/plain; charset=utf-8"_kj;
constexpr kj::StringPtr JSON_TYPE = "application/json"_kj;

}  // namespace ledger::server
