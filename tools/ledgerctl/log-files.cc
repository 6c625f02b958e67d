// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/log-files.h"

#include "ledger/wal/recovery-plan.h"
#include "ledger/wal/torn-tail.h"
#include "tools/ledgerctl/files.h"
#include "tools/ledgerctl/text.h"

#include <kj/exception.h>
#include <kj/vector.h>

namespace ledgerctl {

using ledger::RecoveryStart;

kj::OneOf<LogFiles, ExitCode> openLogFiles(const std::string& path, Output& output) {
  auto directory = openDirectory(path);
  KJ_IF_MAYBE (bad, directory.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
  LogFiles log{kj::mv(directory.get<kj::Own<const kj::ReadableDirectory>>()), nullptr};
  KJ_IF_MAYBE (exception, kj::runCatchingExceptions(
                              [&]() { log.segments = ledger::listWalSegments(*log.directory); })) {
    return output.fail(ExitCode::DAMAGED, kj::str(path.c_str(), ": ", faultText(*exception)));
  }
  bool hasCheckpoint = ledger::listCheckpoints(*log.directory).size() > 0 ||
                       ledger::hasRootCheckpoint(*log.directory);
  if (log.segments.size() == 0 && !hasCheckpoint) {
    return output.fail(ExitCode::USAGE,
                       kj::str(path.c_str(), " holds no log segment and no checkpoint: it is not "
                                             "a ledger's directory"));
  }
  return kj::mv(log);
}

StartRules::StartRules(const LogFiles& log) : log(log) {
  auto checkpoints = ledger::listCheckpoints(*log.directory);
  auto numbers = KJ_MAP(segment, log.segments) { return segment.number; };
  kj::Vector<uint64_t> empty;
  for (auto& segment : log.segments) {
    if (segment.size == 0) empty.add(segment.number);
  }
  auto planned = ledger::planRecovery(
      {numbers, checkpoints, ledger::hasRootCheckpoint(*log.directory), empty});
  KJ_IF_MAYBE (error, planned.tryGet<ledger::Error>()) {
    refused = kj::mv(error->message);
    return;
  }
  auto& first = planned.get<ledger::RecoveryPlan>().starts[0];
  replayFrom = first.replayFrom;
  if (first.from == RecoveryStart::From::CHECKPOINT) {
    checkpointName = ledger::checkpointName(first.checkpoint);
  } else if (first.from == RecoveryStart::From::ROOT_CHECKPOINT) {
    checkpointName = kj::str(ledger::ROOT_CHECKPOINT_NAME);
  }
}

kj::Maybe<kj::StringPtr> StartRules::refusal() const {
  KJ_IF_MAYBE (why, refused) return why->asPtr();
  return nullptr;
}

kj::Maybe<kj::StringPtr> StartRules::checkpoint() const {
  if (checkpointName.size() == 0) return nullptr;
  return checkpointName.asPtr();
}

kj::Maybe<Judgement> StartRules::notRead(uint64_t segment) const {
  if (segment >= replayFrom) return nullptr;
  return Judgement{AtStart::NOT_READ, kj::str(checkpointName, " stands for it, if that loads")};
}

Judgement StartRules::judge(const ledger::WalDamage& damage) const {
  KJ_IF_MAYBE (judgement, notRead(damage.at.segment)) return kj::mv(*judgement);
  KJ_IF_MAYBE (error, ledger::refuseUnlessTorn(*log.directory, log.segments, damage)) {
    return {AtStart::REFUSED, kj::mv(error->message)};
  }
  return {AtStart::CUT, kj::str("the torn tail of a crash; everything from offset ", damage.goodEnd,
                                " on goes, and no Set in there was answered")};
}

Judgement StartRules::judgeUndecodable(const ledger::WalPosition& at) const {
  KJ_IF_MAYBE (judgement, notRead(at.segment)) return kj::mv(*judgement);
  return {AtStart::REFUSED, kj::str("no crash leaves such a record: another program wrote it")};
}

}  // namespace ledgerctl
