// SPDX-License-Identifier: Apache-2.0
#include "tests/golden/scenario.h"

#include <kj/debug.h>
#include <kj/vector.h>

#include <nlohmann/json.hpp>

#include <fstream>
#include <utility>

namespace ledger::golden {

namespace {

using nlohmann::json;

constexpr std::pair<const char*, Op> NAMES[] = {
    {"open", Op::OPEN},
    {"reopen", Op::REOPEN},
    {"open_triedir", Op::OPEN_TRIEDIR},
    {"initial", Op::INITIAL},
    {"has", Op::HAS},
    {"state_count", Op::STATE_COUNT},
    {"state_by_index", Op::STATE_BY_INDEX},
    {"set", Op::SET},
    {"get", Op::GET},
    {"get_single", Op::GET_SINGLE},
    {"prove", Op::PROVE},
    {"block", Op::BLOCK},
};

Op parseOp(const std::string& name) {
  for (auto& [text, op] : NAMES) {
    if (name == text) return op;
  }
  KJ_FAIL_REQUIRE("unknown operation", name.c_str());
}

kj::Array<Bytes> parseKeys(const json& keys) {
  kj::Vector<Bytes> result(keys.size());
  for (auto& key : keys) result.add(encodeGoldenKey(key));
  return result.releaseAsArray();
}

kj::Array<Blob> parseBlobs(const json& blobs) {
  kj::Vector<Blob> result(blobs.size());
  for (auto& blob : blobs) result.add(Blob::parse(blob));
  return result.releaseAsArray();
}

kj::Array<Bytes> parseValues(const json& values) {
  kj::Vector<Bytes> result(values.size());
  for (auto& value : values) {
    result.add(value.is_null() ? Bytes() : fromHex(value.get_ref<const std::string&>()));
  }
  return result.releaseAsArray();
}

// What was asked.
void parseRequest(const json& line, Step& step) {
  switch (step.op) {
    case Op::OPEN_TRIEDIR:
      step.triedir = line.at("triedir").get<std::string>();
      [[fallthrough]];
    case Op::OPEN:
    case Op::REOPEN:
      step.forestCapacity = line.at("forest_capacity").get<uint32_t>();
      step.walSegmentSize = line.value("wal_segment_size", uint64_t(0));
      break;
    case Op::INITIAL:
    case Op::STATE_COUNT:
      break;
    case Op::STATE_BY_INDEX:
      step.index = line.at("index").get<int64_t>();
      break;
    case Op::SET:
      step.values = parseValues(line.at("values"));
      [[fallthrough]];
    case Op::GET:
    case Op::PROVE:
      step.keys = parseKeys(line.at("keys"));
      [[fallthrough]];
    case Op::HAS:
      step.state = parseHash(line.at("state"));
      break;
    case Op::GET_SINGLE:
      step.state = parseHash(line.at("state"));
      step.keys = kj::arr(encodeGoldenKey(line.at("key")));
      break;
    case Op::BLOCK:
      step.description =
          "block " + std::to_string(line.at("block").get<int>()) + ": " + line.value("desc", "");
      break;
  }
}

// What flow-go answered.
void parseAnswer(const json& line, Step& step) {
  switch (step.op) {
    case Op::INITIAL:
    case Op::STATE_BY_INDEX:
      step.state = parseHash(line.at("state"));
      break;
    case Op::HAS:
      step.has = line.at("result").get<bool>();
      break;
    case Op::STATE_COUNT:
      step.count = line.at("result").get<uint64_t>();
      break;
    case Op::SET:
      step.newState = parseHash(line.at("new_state"));
      step.trieUpdate = Blob::parse(line.at("trie_update"));
      step.trieUpdateCbor = Blob::parse(line.at("trie_update_cbor"));
      break;
    case Op::GET:
      step.blobs = parseBlobs(line.at("values"));
      break;
    case Op::GET_SINGLE:
      step.blobs = kj::arr(Blob::parse(line.at("value")));
      break;
    case Op::PROVE:
      step.blobs = kj::arr(Blob::parse(line.at("proof")));
      break;
    case Op::OPEN:
    case Op::REOPEN:
    case Op::OPEN_TRIEDIR:
    case Op::BLOCK:
      break;
  }
}

}  // namespace

kj::StringPtr nameOf(Op op) {
  for (auto& [text, candidate] : NAMES) {
    if (op == candidate) return text;
  }
  KJ_UNREACHABLE;
}

RootHash parseHash(const json& hex) {
  auto bytes = fromHex(hex.get_ref<const std::string&>());
  KJ_REQUIRE(bytes.size() == RootHash::SIZE, "a state has 32 bytes", bytes.size());
  return RootHash::copyOf(bytes);
}

Bytes encodeGoldenKey(const json& key) {
  KJ_REQUIRE(key.size() <= 65535, "too many key parts", key.size());
  kj::Vector<kj::byte> out;
  auto put = [&out](uint64_t number, unsigned bytes) {
    while (bytes-- > 0) out.add(kj::byte(number >> (8 * bytes)));
  };
  put(key.size(), 2);
  for (auto& part : key) {
    auto value = fromHex(part.at("value").get_ref<const std::string&>());
    put(value.size() + 2, 4);
    put(part.at("type").get<uint16_t>(), 2);
    out.addAll(value);
  }
  return out.releaseAsArray();
}

void forEachLine(const std::string& file, kj::Function<void(const json&, uint32_t)> visit) {
  std::ifstream in(file);
  KJ_REQUIRE(in.is_open(), "cannot open", file.c_str());
  std::string text;
  for (uint32_t number = 1; std::getline(in, text); ++number) {
    if (text.empty()) continue;
    KJ_CONTEXT("in line", file.c_str(), number);
    json line = json::parse(text, nullptr, false);
    KJ_REQUIRE(!line.is_discarded(), "not JSON");
    try {
      visit(line, number);
    } catch (const json::exception& e) {
      // A library that reports through exceptions of its own; ours carry the line.
      KJ_FAIL_REQUIRE("unexpected JSON", e.what());
    }
  }
}

void readScenario(const std::string& file, kj::Function<void(const Step&)> visit) {
  forEachLine(file, [&visit](const json& line, uint32_t number) {
    Step step;
    step.line = number;
    step.op = parseOp(line.at("op").get<std::string>());
    step.outcome = line.contains("error")   ? Outcome::ERROR
                   : line.contains("panic") ? Outcome::PANIC
                                            : Outcome::ANSWER;
    parseRequest(line, step);
    if (step.outcome == Outcome::ANSWER) parseAnswer(line, step);
    visit(step);
  });
}

}  // namespace ledger::golden
