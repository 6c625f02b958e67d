// SPDX-License-Identifier: Apache-2.0
#include "server/http-thread.h"

#include "server/tcp-listener.h"

#include <gtest/gtest.h>
#include <kj/async-io.h>
#include <kj/debug.h>

#include <string>

namespace ledger::server {
namespace {

HttpReply echo(const HttpRequest& request) {
  if (request.path == "/fails") KJ_FAIL_REQUIRE("on purpose");
  if (request.path == "/nowhere") return notFound();
  return {200, TEXT_TYPE, kj::str(request.path, ":", request.body)};
}

// A server, and connections to it.
struct Served : public testing::Test {
  ~Served() noexcept override {}

  void start(HttpLimits limits = {}) {
    TcpListener listener(TcpAddress{kj::str("127.0.0.1"), 0});
    address = kj::str(listener.address());
    auto ports = kj::heapArrayBuilder<HttpPort>(1);
    ports.add(HttpPort{listener.open(), echo});
    thread = kj::heap<HttpThread>(ports.finish(), limits);
  }

  kj::Own<kj::AsyncIoStream> connect() {
    auto parsed = io.provider->getNetwork().parseAddress(address).wait(io.waitScope);
    return parsed->connect().wait(io.waitScope);
  }

  void write(kj::AsyncIoStream& stream, const std::string& text) {
    stream.write(text.data(), text.size()).wait(io.waitScope);
  }

  // To its end, which the server brings about.
  std::string readAll(kj::AsyncIoStream& stream) {
    std::string text;
    KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                   text = stream.readAllText().wait(io.waitScope).cStr();
                 })) {
      text = "(cut off)";
    }
    return text;
  }

  std::string ask(const std::string& request) {
    auto stream = connect();
    write(*stream, request);
    return readAll(*stream);
  }

  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::String address;
  kj::Own<HttpThread> thread;
};

std::string post(const std::string& body) {
  return "POST /p?q=1 HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

bool endsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

TEST_F(Served, AnswersOneRequestAConnection) {
  start();
  const auto got = ask("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(got.substr(0, 15), "HTTP/1.1 200 OK");
  EXPECT_NE(got.find("Connection: close\r\n"), std::string::npos) << got;
  EXPECT_NE(got.find("Content-Type: text/plain; charset=utf-8\r\n"), std::string::npos) << got;
  EXPECT_TRUE(endsWith(got, "\r\n\r\n/a:")) << got;
  EXPECT_TRUE(endsWith(ask(post("hello")), "\r\n\r\n/p:hello"));
  EXPECT_TRUE(endsWith(ask("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
                       "\r\n\r\n/c:abcde"));
  EXPECT_EQ(ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").substr(0, 22),
            "HTTP/1.1 404 Not Found");
  EXPECT_EQ(ask("GET /fails HTTP/1.1\r\nHost: x\r\n\r\n").substr(0, 12), "HTTP/1.1 500");
  EXPECT_EQ(ask("no http at all\r\n\r\n").substr(0, 12), "HTTP/1.1 501");
  EXPECT_EQ(ask("GET / HTTP/1.1\r\nno colon\r\n\r\n").substr(0, 12), "HTTP/1.1 400");
}

TEST_F(Served, TakesNoLongBodies) {
  HttpLimits limits;
  limits.bodyBytes = 8;
  start(limits);
  EXPECT_TRUE(endsWith(ask(post("12345678")), ":12345678"));
  EXPECT_EQ(ask(post("123456789")).substr(0, 12), "HTTP/1.1 413");
  EXPECT_EQ(ask("POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                "9\r\n123456789\r\n0\r\n\r\n")
                .substr(0, 12),
            "HTTP/1.1 413");
  // One that says it is long is refused before it comes.
  EXPECT_EQ(ask("POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n").substr(0, 12),
            "HTTP/1.1 413");
}

// Headers without end are ended.
TEST_F(Served, TakesNoLongHeaders) {
  start();
  auto stream = connect();
  const std::string header = "X-Long: " + std::string(1000, 'x') + "\r\n";
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions([&]() {
                 write(*stream, "GET / HTTP/1.1\r\nHost: x\r\n");
                 for (int i = 0; i < 1000; ++i) write(*stream, header);
                 write(*stream, "\r\n");
               })) {
    EXPECT_EQ(exception->getType(), kj::Exception::Type::DISCONNECTED);
  }
  EXPECT_EQ(readAll(*stream).find("200 OK"), std::string::npos);
  EXPECT_TRUE(endsWith(ask(post("x")), ":x"));
}

// Who is silent, or sends or reads slowly, is cut off, and nobody waits for it.
TEST_F(Served, EndsSlowConnections) {
  HttpLimits limits;
  limits.connectionTime = 50 * kj::MILLISECONDS;
  start(limits);
  auto silent = connect(), slow = connect();
  write(*slow, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_EQ(readAll(*silent).find("200"), std::string::npos);
  EXPECT_EQ(readAll(*slow).find("200"), std::string::npos);
  // Where the machine is busy this one may be too slow as well.
  bool isServed = false;
  for (int i = 0; i < 100 && !isServed; ++i) isServed = endsWith(ask(post("x")), ":x");
  EXPECT_TRUE(isServed);
}

TEST_F(Served, ClosesWhatIsTooMuch) {
  HttpLimits limits;
  limits.connections = 2;
  start(limits);
  auto first = connect(), second = connect();
  // Connections are taken in their order: this one comes when the two are there.
  EXPECT_EQ(readAll(*connect()).find("HTTP/1.1 2"), std::string::npos);
  write(*first, post("x"));
  EXPECT_TRUE(endsWith(readAll(*first), ":x"));
  // And there is room again, as soon as the server knows of the end.
  for (std::string got; !endsWith(got, ":y");) got = ask(post("y"));
}

TEST_F(Served, EndsWithConnectionsOpen) {
  start();
  auto silent = connect();
  write(*silent, "GET ");
  thread = nullptr;
  EXPECT_EQ(readAll(*silent).find("200"), std::string::npos);
}

}  // namespace
}  // namespace ledger::server
