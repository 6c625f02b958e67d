// SPDX-License-Identifier: Apache-2.0
#pragma once
// Standard output and standard error, for people or for programs.
//
// With --json each answer is one JSON object on a line of standard output, and what went wrong one
// on standard error.

#include "ledger/error.h"
#include "ledger/model.h"
#include "tools/ledgerctl/exit-code.h"

#include <kj/string.h>
#include <nlohmann/json.hpp>

#include <string>

namespace ledgerctl {

using Json = nlohmann::ordered_json;

// Hex, as JSON has it everywhere here.
Json hexJson(kj::ArrayPtr<const kj::byte> bytes);
// The parts of an encoded key: [{"type":0,"value":"..."}]; hex if it does not decode.
Json keyJson(ledger::EncodedKey key);

// On one line; bytes that are not UTF-8 are replaced.
std::string jsonText(const Json& json);

class Output final {
public:
  enum class Form { TEXT, JSON };

  explicit Output(Form form) : form(form) {}

  bool isJson() const { return form == Form::JSON; }

  // One line of text, or one object: callers give what isJson() asks for.
  ExitCode line(kj::StringPtr text);
  ExitCode object(const Json& json);
  // Bytes as they are.
  ExitCode bytes(kj::ArrayPtr<const kj::byte> bytes);

  // What went wrong; answers `code`.
  ExitCode fail(ExitCode code, kj::StringPtr message);
  // The ledger's refusal.
  ExitCode refuse(const ledger::Error& error, ExitCode code = ExitCode::REFUSED);

private:
  const Form form;
};

// Writes a file of its own, in place of one that was there once it is whole. Null: done.
kj::Maybe<kj::String> writeFile(const std::string& path, kj::ArrayPtr<const kj::byte> bytes);

}  // namespace ledgerctl
