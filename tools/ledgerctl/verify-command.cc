// SPDX-License-Identifier: Apache-2.0
#include "ledger/path-finder.h"
#include "ledger/proof/verify.h"
#include "tools/ledgerctl/commands.h"
#include "tools/ledgerctl/text.h"

#include <map>

namespace ledgerctl {
namespace {

using ledger::ProvenRegister;

// The keys that were given, by path: a proof of an absent register has no key.
using KeysByPath = std::map<ledger::Path, ledger::EncodedKey>;

KeysByPath byPath(kj::ArrayPtr<const ledger::EncodedKey> keys) {
  KeysByPath map;
  for (auto key : keys) map.emplace(ledger::pathOf(key), key);
  return map;
}

kj::String nameOf(const ProvenRegister& proven, const KeysByPath& asked) {
  if (proven.key.size() > 0) return keyText(proven.key);
  auto found = asked.find(proven.path);
  if (found != asked.end()) return keyText(found->second);
  return kj::str("path ", toHex(proven.path.ptr()));
}

kj::StringPtr verdictOf(const Options& options, bool covered) {
  if (options.flowGo) return "flow-go accepts the proof"_kj;
  return covered ? "the proof holds, for exactly these keys"_kj : "the proof holds"_kj;
}

ExitCode reportText(const Options& options, kj::StringPtr verdict,
                    kj::ArrayPtr<const ProvenRegister> proven, const KeysByPath& asked,
                    Output& output) {
  auto code = output.line(kj::str(verdict, ": ", countText(proven.size(), "register"), " of state ",
                                  options.state.c_str()));
  for (auto& one : proven) {
    auto value = one.value.size() == 0
                     ? kj::str("not allocated")
                     : kj::str(sizeText(one.value.size()), "  ", previewText(one.value));
    code = kj::max(code, output.line(kj::str("  ", nameOf(one, asked), "  ", value)));
  }
  return code;
}

ExitCode reportJson(const Options& options, bool covered, kj::ArrayPtr<const ProvenRegister> proven,
                    Output& output) {
  auto registers = Json::array();
  for (auto& one : proven) {
    registers.push_back({{"path", hexJson(one.path.ptr())},
                         {"key", one.key.size() == 0 ? Json() : keyJson(one.key)},
                         {"value", hexJson(one.value)}});
  }
  return output.object({{"holds", true},
                        {"verdict", options.flowGo ? "flow-go" : "strict"},
                        {"covers_exactly_the_keys", covered ? Json(true) : Json()},
                        {"state", options.state},
                        {"registers", registers}});
}

}  // namespace

ExitCode runVerify(const Options& options, Output& output) {
  auto state = parseState(options.state.c_str());
  KJ_IF_MAYBE (bad, state.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
  auto root = state.get<StateName>().tryGet<ledger::RootHash>();
  if (root == nullptr) {
    return output.fail(ExitCode::USAGE,
                       "verify needs the state itself, 64 hex digits: it asks no server");
  }
  auto proof = readFile(options.proof);
  KJ_IF_MAYBE (bad, proof.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);
  auto keys = readKeys(options.items, options.file);
  KJ_IF_MAYBE (bad, keys.tryGet<BadText>()) return output.fail(ExitCode::USAGE, bad->why);

  auto strictness = options.flowGo ? ledger::Strictness::FLOW_GO : ledger::Strictness::STRICT;
  auto verified =
      ledger::verifyBatch(KJ_ASSERT_NONNULL(root), proof.get<kj::Array<kj::byte>>(), strictness);
  KJ_IF_MAYBE (error, verified.tryGet<ledger::Error>()) {
    return output.refuse(*error, ExitCode::NOT_PROVEN);
  }
  auto& proven = verified.get<kj::Array<ProvenRegister>>();

  bool covered = !options.items.empty() || !options.file.empty();
  auto views = viewsOf(keys.get<kj::Array<Key>>());
  if (covered) {
    KJ_IF_MAYBE (error, ledger::coversExactly(proven, views)) {
      return output.refuse(*error, ExitCode::NOT_PROVEN);
    }
  }
  if (output.isJson()) return reportJson(options, covered, proven, output);
  return reportText(options, verdictOf(options, covered), proven, byPath(views), output);
}

}  // namespace ledgerctl
