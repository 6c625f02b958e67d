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
  ledgerctl wal verify /var/lib/flow/ledger
  ledgerctl checkpoint verify --hashes /var/lib/flow/ledger/checkpoint.00000007

Exit codes
  0  done
  1  refused by the ledger; has, checkpoint export: the state is not there
  2  wrong usage, or a file that is wrong or not there
  3  no connection, or no answer in time
  4  verify: the proof does not hold; wal, checkpoint: the files are damaged
  5  a bug, or the output could not be written
)";

constexpr uint64_t MIB = 1 << 20;
constexpr uint64_t LEAST_MEMORY = 16 * MIB;
constexpr uint64_t MOST_MEMORY = 65536 * 1024 * MIB;

void addKeys(CLI::App& command, Options& options) {
  command.add_option("KEY", options.items, "Keys of registers");
  command.add_option("--keys", options.file, "More keys, as JSON lines; - is standard input")
      ->type_name("FILE");
}

void addState(CLI::App& command, Options& options) {
  command.add_option("STATE", options.state, "64 hex digits, latest or initial")->required();
}

// The subcommand `name` of `parent`. It may have subcommands of its own: their callbacks come first
// and must not be overruled.
CLI::App& addCommand(CLI::App& parent, Options& options, Command which, const char* name,
                     const char* description) {
  auto command = parent.add_subcommand(name, description);
  command->callback([&options, which, command]() {
    if (command->get_subcommands().empty()) options.command = which;
  });
  command->fallthrough();
  return *command;
}

// A subcommand that does nothing by itself.
CLI::App& addGroup(CLI::App& parent, const char* name, const char* description) {
  auto group = parent.add_subcommand(name, description);
  group->require_subcommand(1);
  group->fallthrough();
  return *group;
}

// Those that ask a server, and verify; each with what it alone takes.
void addCommands(CLI::App& app, Options& options) {
  auto add = [&](Command which, const char* name, const char* description) -> CLI::App& {
    return addCommand(app, options, which, name, description);
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

  add(Command::SESSIONS, "sessions",
      "Who is connected and holds what; for clients that may write");
}

// A segment's number, with or without the zeros of its file's name.
void addSegment(CLI::App& command, const char* flag, const char* description,
                kj::Maybe<uint64_t>& segment) {
  auto check = [](const std::string& text) -> std::string {
    bool good = !text.empty() && text.size() <= 18 &&
                text.find_first_not_of("0123456789") == std::string::npos;
    return good ? "" : "\"" + text + "\" is not a segment's number";
  };
  command
      .add_option_function<std::string>(
          flag, [&segment](const std::string& digits) { segment = std::stoull(digits); },
          description)
      ->check(check)
      ->type_name("SEGMENT");
}

constexpr const char* WAL_FOOTER = R"(
The files are read as they are: nothing is locked or changed. While a ledger runs on
them the last record may be half written, which looks like damage.

Exit codes: 0 sound, 2 not a ledger's directory, 4 damaged or not complete.
)";

constexpr const char* CHECKPOINT_FOOTER = R"(
FILE is the checkpoint's header, such as DIR/checkpoint.00000007 or DIR/root.checkpoint;
its 17 parts are beside it. They are not changed.

Exit codes: 0 done, 2 no such file, 4 damaged.
)";

// Those that look at a log's files.
void addWalCommands(CLI::App& app, Options& options) {
  auto& wal = addGroup(app, "wal", "Look at the files of a log: dump, verify; needs no server");
  wal.footer(WAL_FOOTER);
  auto add = [&](Command which, const char* name, const char* description) -> CLI::App& {
    auto& command = addCommand(wal, options, which, name, description);
    command.add_option("DIR", options.path, "The ledger's directory")->required();
    return command;
  };

  auto& dump = add(Command::WAL_DUMP, "dump", "List the records, each on a line");
  addSegment(dump, "--from", "First segment to read", options.fromSegment);
  addSegment(dump, "--to", "Last segment to read", options.toSegment);
  dump.add_flag("--registers", options.registers,
                "Also each register's key and the size of its value");
  dump.footer(std::string(R"(
Of each record: segment, offset, kind, parent state, registers, bytes. With --json it is
an object on a line.
)") + WAL_FOOTER);

  add(Command::WAL_VERIFY, "verify", "Check every record, and say what a start makes of damage")
      .footer(std::string(R"(
Framing, checksums and encoding are checked. Whether an update's parent state exists is
seen only by a start.
)") + WAL_FOOTER);
}

// The server writes one, or else those that look at a checkpoint's files.
void addCheckpointCommands(CLI::App& app, Options& options) {
  auto& checkpoint =
      addCommand(app, options, Command::CHECKPOINT, "checkpoint",
                 "Have the server write one; or, with info, roots, verify or export, look at the "
                 "files of one, which needs no server");
  checkpoint.footer(std::string(R"(
Without a subcommand: the server writes a checkpoint of all that was acknowledged, reads it
back, and its number is printed. That may take long; on a terminal a bar shows how far it is.
Ctrl-C ends the waiting, not the writing.
)") + CHECKPOINT_FOOTER);
  auto add = [&](Command which, const char* name, const char* description) -> CLI::App& {
    auto& command = addCommand(checkpoint, options, which, name, description);
    command.add_option("FILE", options.path, "The checkpoint's header")->required();
    return command;
  };

  add(Command::CHECKPOINT_INFO, "info", "Sizes and counts, without reading nodes");

  add(Command::CHECKPOINT_ROOTS, "roots", "List the states, oldest first, without reading nodes")
      .footer(std::string(R"(
Registers and bytes are as flow-go counts them. Nothing is checked but the ends of the files.
)") + CHECKPOINT_FOOTER);

  auto& verify = add(Command::CHECKPOINT_VERIFY, "verify",
                     "Read all of it and check every checksum, count and structure");
  verify.add_flag("--hashes", options.hashes,
                  "Also compute each node's hash anew from what is below it");
  verify.footer(std::string(R"(
Without --hashes the stored hashes are trusted, as by a start: a value that was changed
together with the checksums goes unnoticed. --hashes takes much longer, and 32 bytes of
memory for each node of the parts being read. Keys are part of no hash.
)") + CHECKPOINT_FOOTER);

  auto& write = add(Command::CHECKPOINT_EXPORT, "export",
                    "Write a checkpoint of a single state, for a new ledger to start from");
  write.add_option("--state", options.state, "Which: 64 hex digits, or latest")
      ->required()
      ->type_name("STATE");
  write
      .add_option("-o,--output", options.output,
                  "Where: a directory, and root.checkpoint or checkpoint.NNNNNNNN")
      ->required()
      ->type_name("DIR/NAME");
  write
      .add_option_function<uint64_t>(
          "--memory-limit", [&](uint64_t bytes) { options.memoryLimit = bytes; },
          "Most memory of the tries [default: 85 % of what the machine, or the cgroup, has]")
      ->transform(CLI::AsSizeValue(false).description(""))
      ->check(CLI::Range(LEAST_MEMORY, MOST_MEMORY).description(""))
      ->type_name("SIZE");
  write.footer(std::string(R"(
All tries of FILE are loaded first. No file is overwritten, and what a failure or an
interrupt (Ctrl-C) leaves unfinished is removed. Exit code 1: FILE does not hold the state,
files are in the way, a ledger runs in DIR, or memory does not suffice.
)") + CHECKPOINT_FOOTER);
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

bool needsServer(Command command) {
  switch (command) {
    case Command::STATES:
    case Command::HAS:
    case Command::GET:
    case Command::SET:
    case Command::PROVE:
    case Command::INFO:
    case Command::SESSIONS:
    case Command::CHECKPOINT:
      return true;
    case Command::VERIFY:
    case Command::WAL_DUMP:
    case Command::WAL_VERIFY:
    case Command::CHECKPOINT_INFO:
    case Command::CHECKPOINT_ROOTS:
    case Command::CHECKPOINT_VERIFY:
    case Command::CHECKPOINT_EXPORT:
      return false;
  }
  return true;
}

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
  addWalCommands(app, options);
  addCheckpointCommands(app, options);

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
  if (needsServer(options.command) && options.socket.empty()) {
    return Exit{ExitCode::USAGE, "Which server? Give --socket PATH, or set LEDGERD_SOCKET.\n"};
  }
  return kj::mv(options);
}

}  // namespace ledgerctl
