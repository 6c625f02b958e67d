// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/large-set.h"

#include "tests/golden/replay.h"
#include "tests/golden/scenario.h"
#include "tests/golden/trie-updates.h"
#include "tests/golden/triedirs.h"
#include "tests/testing/scratch-folder.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <nlohmann/json.hpp>

namespace ledger::golden {

namespace {

using nlohmann::json;
using testing::ScratchFolder;

// Little-endian, and every length checked: a golden file may be cut short.
class Cursor {
public:
  explicit Cursor(kj::ArrayPtr<const kj::byte> bytes) : rest(bytes) {}

  kj::ArrayPtr<const kj::byte> take(uint64_t length) {
    KJ_REQUIRE(length <= rest.size(), "sets.bin ends early", length, rest.size());
    auto taken = rest.slice(0, length);
    rest = rest.slice(length, rest.size());
    return taken;
  }

  uint64_t number(unsigned bytes) {
    uint64_t result = 0;
    auto digits = take(bytes);
    for (unsigned i = bytes; i-- > 0;) result = result << 8 | digits[i];
    return result;
  }

  bool atEnd() const { return rest.size() == 0; }

private:
  kj::ArrayPtr<const kj::byte> rest;
};

struct Update {
  RootHash state, newState;
  kj::Vector<Bytes> keys;
  kj::Vector<Value> values;  // In the file.
};

Bytes readKey(Cursor& cursor) {
  kj::Vector<kj::byte> key;
  auto put = [&key](uint64_t number, unsigned bytes) {
    while (bytes-- > 0) key.add(kj::byte(number >> (8 * bytes)));
  };
  const auto parts = cursor.number(1);
  put(parts, 2);
  for (uint64_t i = 0; i < parts; ++i) {
    const auto type = cursor.number(2);
    const auto length = cursor.number(4);
    put(length + 2, 4);
    put(type, 2);
    key.addAll(cursor.take(length));
  }
  return key.releaseAsArray();
}

kj::Vector<Update> readUpdates(kj::ArrayPtr<const kj::byte> file) {
  Cursor cursor(file);
  KJ_REQUIRE(cursor.take(8) == "FLEDSET1"_kj.asBytes(), "not a sets.bin");
  const auto count = cursor.number(4);
  kj::Vector<Update> updates;
  for (uint64_t i = 0; i < count; ++i) {
    Update update;
    update.state = RootHash::copyOf(cursor.take(32));
    const auto registers = cursor.number(4);
    for (uint64_t j = 0; j < registers; ++j) {
      update.keys.add(readKey(cursor));
      update.values.add(cursor.take(cursor.number(4)));
    }
    update.newState = RootHash::copyOf(cursor.take(32));
    updates.add(kj::mv(update));
  }
  KJ_REQUIRE(cursor.atEnd(), "bytes behind the last set of sets.bin");
  return updates;
}

struct Query {
  uint64_t afterSet;
  RootHash state;
  kj::Array<Bytes> keys;
  Blob proof, values;

  // The values' digest is over lengths and values, its length counts values only.
  bool valuesMatch(kj::ArrayPtr<const Bytes> read) const {
    kj::Vector<kj::byte> all;
    uint64_t length = 0;
    for (auto& value : read) {
      for (unsigned i = 0; i < 4; ++i) all.add(kj::byte(value.size() >> (8 * i)));
      all.addAll(value);
      length += value.size();
    }
    return values.matches(sha256(all), length);
  }
};

kj::Vector<Query> readQueries(const std::string& file) {
  kj::Vector<Query> queries;
  forEachLine(file, [&queries](const json& line, uint32_t) {
    kj::Vector<Bytes> keys;
    for (auto& key : line.at("keys")) keys.add(encodeGoldenKey(key));
    queries.add(Query{line.at("after_set").get<uint64_t>(), parseHash(line.at("state")),
                      keys.releaseAsArray(), Blob::parse(line.at("proof")),
                      Blob::parse(line.at("values"))});
  });
  return queries;
}

// The description of each set, by number.
kj::Vector<json> readDescriptions(const std::string& file) {
  kj::Vector<json> lines;
  forEachLine(file, [&lines](const json& line, uint32_t) { lines.add(line); });
  return lines;
}

void ask(LedgerUnderTest& ledger, const Query& query, size_t number, Report& report) {
  auto keys = viewsOf(query.keys);
  auto read = ledger.get(query.state, keys);
  KJ_SWITCH_ONEOF(read) {
    KJ_CASE_ONEOF(error, Error) {
      report.failed(kj::str("query ", number, " refused: ", error.message));
    }
    KJ_CASE_ONEOF(values, kj::Array<Bytes>) {
      report.check(query.valuesMatch(values), kj::str("query ", number, ": other values"));
    }
  }
  auto proven = ledger.prove(query.state, keys);
  KJ_SWITCH_ONEOF(proven) {
    KJ_CASE_ONEOF(error, Error) {
      report.failed(kj::str("proof ", number, " refused: ", error.message));
    }
    KJ_CASE_ONEOF(proof, Bytes) {
      report.check(query.proof.matches(proof),
                   kj::str("proof ", number, ": expected ", query.proof.describe(), ", got ",
                           describe(proof)));
    }
  }
}

void apply(LedgerUnderTest& ledger, const Update& update, const json& expected, size_t number,
           Report& report) {
  auto keys = viewsOf(update.keys);
  auto answer = ledger.set(update.state, keys, update.values);
  KJ_SWITCH_ONEOF(answer) {
    KJ_CASE_ONEOF(error, Error) {
      report.failed(kj::str("set ", number, " refused: ", error.message));
      return;
    }
    KJ_CASE_ONEOF(state, RootHash) {
      report.check(state == update.newState,
                   kj::str("set ", number, ": expected state ", toHex(update.newState.ptr()),
                           ", got ", toHex(state.ptr())));
    }
  }
  auto forms = encodeTrieUpdate(update.state, keys, update.values);
  report.check(Blob::parse(expected.at("trie_update")).matches(forms.encoded()),
               kj::str("set ", number, ": other trie update"));
  report.check(Blob::parse(expected.at("trie_update_cbor")).matches(forms.cbor),
               kj::str("set ", number, ": other trie update in CBOR"));
  KJ_IF_MAYBE (counters, ledger.counters(update.newState)) {
    report.check(counters->registers == expected.at("reg_count").get<uint64_t>() &&
                     counters->bytes == expected.at("reg_size").get<uint64_t>(),
                 kj::str("set ", number, ": other counters: ", counters->registers,
                         " registers of ", counters->bytes, " bytes"));
  }
}

}  // namespace

void runLargeSet(LedgerUnderTest& ledger, const std::string& folder, Report& report) {
  auto fault = kj::runCatchingExceptions([&]() {
    auto file = testing::readFile(folder + "/sets.bin");
    auto updates = readUpdates(file);
    auto descriptions = readDescriptions(folder + "/sets.jsonl");
    auto queries = readQueries(folder + "/queries.jsonl");
    const json description = readJson(folder + "/triedir.json");
    KJ_REQUIRE(descriptions.size() == updates.size(), "sets.jsonl is not about this sets.bin");
    const OpenOptions options{description.at("forest_capacity").get<uint32_t>()};

    {
      ScratchFolder scratch;
      ledger.open(scratch.path().c_str(), options);
      for (size_t i = 0; i < updates.size(); ++i) {
        apply(ledger, updates[i], descriptions[i], i, report);
        for (size_t q = 0; q < queries.size(); ++q) {
          if (queries[q].afterSet == i) ask(ledger, queries[q], q, report);
        }
      }
      ledger.close();
    }
    {
      ScratchFolder scratch;
      testing::copyFolder(folder + "/triedir", scratch / "triedir");
      ledger.open((scratch / "triedir").c_str(), options);
      compareForest(ledger, description.at("reload").at("tries"), "root checkpoint", report);
      for (size_t q = 0; q < queries.size(); ++q) {
        if (ledger.hasState(queries[q].state)) ask(ledger, queries[q], q, report);
      }
      ledger.close();
    }
  });
  KJ_IF_MAYBE (what, fault) {
    report.failed(kj::str("stopped: ", what->getDescription()));
    kj::runCatchingExceptions([&]() { ledger.close(); });
  }
}

}  // namespace ledger::golden
