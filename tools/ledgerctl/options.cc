// SPDX-License-Identifier: Apache-2.0
#include "tools/ledgerctl/options.h"

#include <CLI/CLI.hpp>

#include <map>

namespace ledgerctl {
namespace {

using ledger::client::TransportChoice;

constexpr const char* DESCRIPTION =
    "ledgerctl: reads, writes and proves registers of a ledger that ledgerd serves";

constexpr const char* FOOTER = R"(
STATE is a state commitment: 64 hex digits, or "latest" (the newest state that the
ledger holds), or "initial" (the empty ledger's).

KEY is a register's key: its parts, separated by slashes, each TYPE:VALUE.
  0:0xf233dcee88fe0abe/2:storage   owner in hex, key as text
  0:/2:uuid                        an empty owner
A value is text, or hex behind 0x. In text, % and two hex digits stand for any byte;
write %, /, = and a leading 0x that is meant as text as %25, %2f, %3d and %30x.
Many keys come from a file of JSON lines, or from standard input (--keys -):
  [{"type":0,"value":"f233dcee88fe0abe"},{"type":2,"value":"73746f72616765"}]

Examples
  export LEDGERD_SOCKET=/run/ledgerd.sock
  ledgerctl states
  ledgerctl get latest 0:/2:uuid 0:0x1654653399040a61/2:contract_names
  ledgerctl get latest --raw 0:0x1654653399040a61/2:code.FlowToken > FlowToken.cdc
  ledgerctl set latest 0:0x01/2:greeting=hello 0:0x01/2:blob=@blob.bin 0:0x01/2:gone=
  ledgerctl prove latest --keys keys.jsonl --output touched.proof
  ledgerctl verify touched.proof 19ec2500...10d24ee --keys keys.jsonl
  ledgerctl --json info | jq .ledger.states

Exit codes
  0  done                                  3  no connection, or no answer in time
  1  refused by the ledger; has: not there 4  verify: the proof does not hold
  2  wrong usage, or a file that is wrong  5  a bug, or the output could not be written
)";

void addKeys(CLI::App& command, Options& options) {
  command.add_option("KEY", options.items, "Keys of registers");
  command.add_option("--keys", options.file, "More keys, as JSON lines; - is standard input")
      ->type_name("FILE");
}

void addState(CLI::App& command, Options& options) {
  command.add_option("STATE", options.state, "64 hex digits, latest or initial")->required();
}

// The subcommands, each with what it alone takes.
void addCommands(CLI::App& app, Options& options) {
  auto add = [&](Command which, const char* name, const char* description) -> CLI::App& {
    auto command = app.add_subcommand(name, description);
    command->callback([&options, which]() { options.command = which; });
    command->fallthrough();
    return *command;
  };

  add(Command::STATES, "states", "List the states that can be read, oldest first");

  addState(add(Command::HAS, "has", "Whether a state can be read (exit code 0 or 1)"), options);

  auto& get = add(Command::GET, "get", "Read registers");
  addState(get, options);
  addKeys(get, options);
  get.add_flag("--raw", options.raw, "Write the bytes of one register's value, and nothing else");

  auto& set = add(Command::SET, "set", "Write registers: makes a new state of an old one");
  addState(set, options);
  set.add_option("UPDATE", options.items,
                 "KEY=VALUE; VALUE is text, 0xHEX, or @FILE; empty unallocates");
  set.add_option(
         "--updates", options.file,
         "More updates, as JSON lines {\"key\":[...],\"value\":\"HEX\"}; - is standard input")
      ->type_name("FILE");

  auto& prove = add(Command::PROVE, "prove", "Fetch a batch proof of registers");
  addState(prove, options);
  addKeys(prove, options);
  prove.add_option("-o,--output", options.output, "Where the proof goes; else standard output")
      ->type_name("FILE");

  auto& verify = add(Command::VERIFY, "verify", "Check a proof against a state; needs no server");
  verify.add_option("PROOF", options.proof, "File of the proof; - is standard input")->required();
  verify.add_option("STATE", options.state, "64 hex digits")->required();
  addKeys(verify, options);
  verify.add_flag("--flow-go", options.flowGo,
                  "flow-go's laxer verdict: trailing bytes, inclusion flags and keys are not "
                  "looked at");
  verify.footer("With keys, the proof must cover exactly those.\n");

  add(Command::INFO, "info", "What the server is: versions, limits, memory, arenas");
}

bool namesNothing(const Options& options) {
  switch (options.command) {
    case Command::GET:
    case Command::SET:
    case Command::PROVE:
      return options.items.empty() && options.file.empty();
    default:
      return false;
  }
}

// How often the command line names standard input: a second reader would find it empty.
size_t standardInputs(const Options& options) {
  size_t count = (options.file == "-") + (options.proof == "-");
  if (options.command != Command::SET) return count;
  for (auto& update : options.items) {
    auto equals = update.find('=');
    count +=
        equals != std::string::npos && update.compare(equals + 1, std::string::npos, "@-") == 0;
  }
  return count;
}

}  // namespace

kj::OneOf<Options, Exit> parseOptions(int argc, const char* const* argv) {
  Options options;
  CLI::App app(DESCRIPTION, "ledgerctl");
  app.footer(FOOTER);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);

  app.add_option("--socket", options.socket, "The server's socket")
      ->envname("LEDGERD_SOCKET")
      ->type_name("PATH");
  const std::map<std::string, TransportChoice> transports = {{"auto", TransportChoice::AUTO},
                                                             {"shm", TransportChoice::SHM},
                                                             {"inline", TransportChoice::INLINE}};
  std::string transport = "auto";
  app.add_option("--transport", transport,
                 "How large payloads travel: auto (shared memory if granted), shm or inline")
      ->check(CLI::IsMember(std::vector<std::string>{"auto", "shm", "inline"}).description(""))
      ->type_name("HOW");
  app.add_option("--timeout", options.timeoutSeconds, "Seconds that a call may take (60)")
      ->check(CLI::Range(0.001, 1e6).description(""))
      ->type_name("SECONDS");
  app.add_option("--connect-timeout", options.connectTimeoutSeconds,
                 "Seconds to go on trying to connect (0: one attempt)")
      ->check(CLI::Range(0.0, 1e6).description(""))
      ->type_name("SECONDS");
  app.add_flag("--json", options.json, "JSON on standard output, with all bytes in hex");
  addCommands(app, options);

  try {  // CLI11 has no other way to say that it did not succeed.
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    bool help = app.exit(error, out, err) == 0;
    return Exit{help ? ExitCode::OK : ExitCode::USAGE, help ? out.str() : err.str()};
  }
  options.transport = transports.at(transport);
  if (namesNothing(options)) {
    return Exit{ExitCode::USAGE, "Name at least one register, or give a file of them.\n"};
  }
  if (standardInputs(options) > 1) {
    return Exit{ExitCode::USAGE, "Standard input (-) can be read once only.\n"};
  }
  if (options.raw && (options.items.size() != 1 || !options.file.empty() || options.json)) {
    return Exit{ExitCode::USAGE, "--raw takes exactly one key, and no --json.\n"};
  }
  if (options.command != Command::VERIFY && options.socket.empty()) {
    return Exit{ExitCode::USAGE, "Which server? Give --socket PATH, or set LEDGERD_SOCKET.\n"};
  }
  return kj::mv(options);
}

}  // namespace ledgerctl
