// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/replay.h"

#include "tests/golden/duplicate-proofs.h"
#include "tests/testing/scratch-folder.h"
#include "tests/golden/trie-updates.h"

#include <kj/debug.h>

namespace ledger::golden {

namespace {

class Player {
public:
  Player(LedgerUnderTest& ledger, const Replay& what, Report& report)
      : ledger(ledger), what(what), report(report) {}

  void play(const Step& step) {
    where = kj::str("line ", step.line, " (", nameOf(step.op), ")");
    switch (step.op) {
      case Op::OPEN:
      case Op::REOPEN:
      case Op::OPEN_TRIEDIR:
        return open(step);
      case Op::INITIAL:
        return same(step.state, ledger.initialState());
      case Op::HAS:
        return check(ledger.hasState(step.state) == step.has,
                     kj::str("state ", shortName(step.state), " should ", step.has ? "" : "not ",
                             "be there"));
      case Op::STATE_COUNT:
        return stateCount(step);
      case Op::STATE_BY_INDEX:
        return stateByIndex(step);
      case Op::SET:
        return set(step);
      case Op::GET:
        return get(step);
      case Op::GET_SINGLE:
        return getSingle(step);
      case Op::PROVE:
        return prove(step);
      case Op::BLOCK:
        return;
    }
  }

  Replayed finish() {
    if (isOpen) ledger.close();
    isOpen = false;
    result.finished = true;
    return kj::mv(result);
  }

private:
  void check(bool holds, kj::StringPtr message) {
    if (holds) {
      report.passed();
    } else {
      report.failed(kj::str(where, ": ", message));
    }
  }

  void same(const RootHash& expected, const RootHash& actual) {
    check(expected == actual,
          kj::str("expected state ", toHex(expected.ptr()), ", got ", toHex(actual.ptr())));
  }

  // Null if the answer is as little an answer as flow-go's was, or is none where one is due; that
  // is then counted already.
  template <typename T>
  kj::Maybe<T&> answerOf(const Step& step, Result<T>& result) {
    KJ_SWITCH_ONEOF(result) {
      KJ_CASE_ONEOF(error, Error) {
        check(step.outcome == Outcome::ERROR, kj::str("refused: ", error.message));
        return nullptr;
      }
      KJ_CASE_ONEOF(answer, T) {
        if (step.outcome != Outcome::ERROR) return answer;
        check(false, "answered, where an error is due");
        return nullptr;
      }
    }
    KJ_UNREACHABLE;
  }

  void open(const Step& step) {
    if (what.forest == Forest::SHARED) return;
    if (isOpen) {
      ledger.close();
      isOpen = false;
    }
    if (step.op == Op::OPEN_TRIEDIR) {
      testing::copyFolder(what.goldenFolder + "/" + step.triedir, what.ledgerFolder);
      result.ownSegments = false;
    }
    if (step.walSegmentSize > 0) result.walSegmentSize = step.walSegmentSize;
    result.forestCapacity = step.forestCapacity;
    ledger.open(what.ledgerFolder, {step.forestCapacity, result.walSegmentSize});
    isOpen = true;
    report.passed();
  }

  void stateCount(const Step& step) {
    if (what.forest == Forest::SHARED) return;
    const auto count = ledger.stateCount();
    check(count == step.count, kj::str("expected ", step.count, " states, got ", count));
  }

  void stateByIndex(const Step& step) {
    if (what.forest == Forest::SHARED) return;
    auto result = ledger.stateByIndex(step.index);
    KJ_IF_MAYBE (state, answerOf(step, result)) {
      same(step.state, *state);
    }
  }

  void set(const Step& step) {
    auto keys = viewsOf(step.keys);
    auto values = viewsOf(step.values);
    const TrieUpdateForms update = encodeTrieUpdate(step.state, keys, values);

    auto answer = ledger.set(step.state, keys, values);
    if (step.outcome == Outcome::ERROR) result.refusedRecords.add(update.walRecord());
    KJ_IF_MAYBE (newState, answerOf(step, answer)) {
      if (*newState != step.newState) return same(step.newState, *newState);
      // One check per Set: the state, and what flow-go would have logged and replied.
      if (!step.trieUpdate.matches(update.encoded())) {
        return check(false, kj::str("trie update: expected ", step.trieUpdate.describe(), ", got ",
                                    describe(update.encoded())));
      }
      check(step.trieUpdateCbor.matches(update.cbor),
            kj::str("trie update in CBOR: expected ", step.trieUpdateCbor.describe(), ", got ",
                    describe(update.cbor)));
    }
  }

  void get(const Step& step) {
    auto result = ledger.get(step.state, viewsOf(step.keys));
    KJ_IF_MAYBE (values, answerOf(step, result)) {
      if (values->size() != step.blobs.size()) {
        return check(false,
                     kj::str("expected ", step.blobs.size(), " values, got ", values->size()));
      }
      for (size_t i = 0; i < values->size(); ++i) {
        if (!step.blobs[i].matches((*values)[i])) return different(i, step.blobs[i], (*values)[i]);
      }
      report.passed();
    }
  }

  void getSingle(const Step& step) {
    auto result = ledger.getSingleValue(step.state, step.keys[0]);
    KJ_IF_MAYBE (value, answerOf(step, result)) {
      if (!step.blobs[0].matches(*value)) return different(0, step.blobs[0], *value);
      report.passed();
    }
  }

  void different(size_t index, const Blob& expected, kj::ArrayPtr<const kj::byte> actual) {
    check(false,
          kj::str("value ", index, ": expected ", expected.describe(), ", got ", describe(actual)));
  }

  void prove(const Step& step) {
    auto keys = viewsOf(step.keys);
    auto answer = ledger.prove(step.state, keys);
    KJ_IF_MAYBE (proof, answerOf(step, answer)) {
      if (step.outcome == Outcome::PANIC) {
        // flow-go's process died (KI-2); a proof for each key that was asked is due.
        KJ_IF_MAYBE (wrong, faultOfDuplicateProof(ledger, step.state, keys, *proof)) {
          return check(false, *wrong);
        }
        return report.passed();
      }
      check(step.blobs[0].matches(*proof),
            kj::str("expected a proof of ", step.blobs[0].describe(), ", got ", describe(*proof)));
    }
  }

  LedgerUnderTest& ledger;
  const Replay& what;
  Report& report;
  kj::String where;
  bool isOpen = false;
  Replayed result;
};

}  // namespace

kj::String shortName(const RootHash& state) {
  return toHex(state.ptr().slice(0, 4));
}

kj::Array<EncodedKey> viewsOf(kj::ArrayPtr<const Bytes> bytes) {
  return KJ_MAP(item, bytes)->EncodedKey {
    return item;
  };
}

Replayed replay(LedgerUnderTest& ledger, const Replay& what, Report& report,
                kj::Function<void(const Step&)> onStep) {
  Player player(ledger, what, report);
  Replayed result;
  KJ_IF_MAYBE (fault, kj::runCatchingExceptions([&]() {
                 readScenario(what.scenario, [&](const Step& step) {
                   onStep(step);
                   player.play(step);
                 });
                 result = player.finish();
               })) {
    report.failed(kj::str(what.scenario.c_str(), " stopped: ", fault->getDescription()));
    // Whatever state it is in, the next scenario starts from none.
    kj::runCatchingExceptions([&]() { ledger.close(); });
  }
  return result;
}

}  // namespace ledger::golden
