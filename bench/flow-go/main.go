// SPDX-License-Identifier: Apache-2.0

// Drives flow-go's ledger service, in a process of its own behind a Unix socket, with flow-go's own
// remote client, through the cases of ../cases.txt.
//
// Cases come from a file or from standard input, one a line; what is measured goes to standard
// output as lines of JSON: first the set-up, then a result as soon as its case is over, and after
// each case a line {"done": name}.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/onflow/flow-go/ledger"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "flow-go bench:", err)
		os.Exit(1)
	}
}

func run() error {
	binary := flag.String("service", "", "program of flow-go's ledger service (required)")
	cases := flag.String("cases", "-", "file of cases; - is standard input")
	registers := flag.Uint64("registers", 100_000, "registers to load")
	seed := flag.Uint64("seed", 1, "of keys, values and picks")
	forest := flag.Int("forest", 500, "tries that the service keeps")
	flag.Parse()
	if *binary == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}

	input := io.Reader(os.Stdin)
	if *cases != "-" {
		file, err := os.Open(*cases)
		if err != nil {
			return err
		}
		defer file.Close()
		input = file
	}

	folder, err := os.MkdirTemp("", "flow-go-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)

	server := &service{binary: *binary, folder: folder, forest: *forest}
	defer server.kill()
	if err := server.start(); err != nil {
		return err
	}
	printLine(map[string]any{"transport": transport, "registers": *registers, "seed": *seed,
		"value_bytes": valueBytes, "forest": *forest, "go": runtime.Version(),
		"flow_go": moduleVersion("github.com/onflow/flow-go"), "processors": runtime.NumCPU()})

	b := &bench{
		workload: workload{seed: *seed, registers: *registers},
		service:  server,
		runs:     map[string]uint64{},
		large:    map[int]ledger.State{},
	}
	lines := bufio.NewScanner(input)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(text) == "" {
			continue
		}
		c, err := parseCase(text)
		if err != nil {
			return err
		}
		// Of what picks distinct registers; for others the size is something else.
		picks := c.operation == "get" || c.operation == "batch" || c.operation == "prove" || c.operation == "set"
		if picks && uint64(c.size) > *registers {
			return fmt.Errorf("%s needs %d registers, there are %d", c.name, c.size, *registers)
		}
		if err := b.run(c); err != nil {
			return err
		}
		printLine(map[string]any{"done": c.name})
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return server.stop()
}

func parseCase(line string) (benchCase, error) {
	words := strings.Fields(line)
	if len(words) != 4 {
		return benchCase{}, fmt.Errorf("a case has a name, an operation, a size and a number of samples: %q", line)
	}
	size, err := strconv.Atoi(words[2])
	if err != nil {
		return benchCase{}, err
	}
	samples, err := strconv.Atoi(words[3])
	if err != nil {
		return benchCase{}, err
	}
	return benchCase{words[0], words[1], size, samples}, nil
}

func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range info.Deps {
		if module.Path == path {
			return module.Version
		}
	}
	return "unknown"
}
