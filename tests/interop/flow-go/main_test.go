// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

var (
	seed          uint64
	driver        string // ../ledger-driver.cc
	daemonProgram string // ledgerd
	golden        string // What flow-go recorded.
)

// What was done, over all tests.
var totals struct {
	handOvers, kills, torn, sets, checkpoints, files, calls int
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	driver = os.Getenv("INTEROP_DRIVER")
	if driver == "" {
		fmt.Fprintln(os.Stderr, "INTEROP_DRIVER must be the path of //tests/interop:ledger-driver")
		return 1
	}
	daemonProgram = os.Getenv("INTEROP_LEDGERD")
	if daemonProgram == "" {
		fmt.Fprintln(os.Stderr, "INTEROP_LEDGERD must be the path of //server:ledgerd")
		return 1
	}
	golden = os.Getenv("LEDGERD_GOLDEN")
	if golden == "" {
		fmt.Fprintln(os.Stderr, "LEDGERD_GOLDEN must be what tools/unpack-golden prints")
		return 1
	}
	seed = rand.Uint64()
	if text := os.Getenv("INTEROP_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			fmt.Fprintln(os.Stderr, "INTEROP_SEED:", err)
			return 1
		}
	}
	fmt.Printf("INTEROP_SEED=%d repeats these workloads\n", seed)
	code := m.Run()
	fmt.Printf("%d Sets; %d hand-overs; %d processes killed, %d torn logs; "+
		"%d checkpoints read; %d files compared; %d calls of both services\n", totals.sets,
		totals.handOvers, totals.kills, totals.torn, totals.checkpoints, totals.files, totals.calls)
	return code
}
