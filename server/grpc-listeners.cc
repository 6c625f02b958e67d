// SPDX-License-Identifier: Apache-2.0
#include "server/grpc-listeners.h"

#include "server/log-fields.h"

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <filesystem>

namespace ledger::server {
namespace {

constexpr mode_t SOCKET_MODE = 0660;  // flow-go's.

}  // namespace

GrpcListeners::GrpcListeners(kj::ArrayPtr<const kj::String> paths,
                             const kj::Maybe<TcpAddress>& tcpAddress) {
  KJ_IF_MAYBE (address, tcpAddress) {
    const auto& listener = tcp.emplace(*address);
    logFields(spdlog::level::info, "gRPC server listening on TCP",
              {{"address", listener.address().cStr()}});
  }
  for (auto& path : paths) {
    const auto folder = std::filesystem::path(path.cStr()).parent_path();
    if (!folder.empty() && std::filesystem::create_directories(folder)) {
      // Whatever the umask is: who may write there could put another socket in the place of ours.
      using std::filesystem::perms;
      std::filesystem::permissions(folder, perms::group_write | perms::others_write,
                                   std::filesystem::perm_options::remove);
    }
    sockets.add(kj::heap<ListenSocket>(path, SOCKET_MODE));
    logFields(spdlog::level::info, "gRPC server listening on Unix domain socket",
              {{"socket_path", path.cStr()}});
  }
}

kj::Promise<void> GrpcListeners::acceptWith(Acceptor& acceptor) const {
  kj::Promise<void> accepting = kj::NEVER_DONE;
  KJ_IF_MAYBE (listener, tcp) {
    accepting = accepting.exclusiveJoin(acceptor.acceptFrom(listener->open()));
  }
  for (auto& socket : sockets) {
    accepting = accepting.exclusiveJoin(acceptor.acceptFrom(socket->open()));
  }
  return accepting;
}

}  // namespace ledger::server
