// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	walLibrary "github.com/onflow/wal/wal"

	"github.com/onflow/flow-go/ledger"
)

// A directory goes to and fro. Whoever opens it must find what the other one left: every state that
// was answered, in the order of the forest, with all values; and whoever sets must come to the roots
// that flow-go's trie comes to.
func TestHandOvers(t *testing.T) {
	const rounds = 6
	for _, c := range []config{
		{capacity: 10, segmentSize: 32 << 10, distance: 1, keep: 0},
		{capacity: 12, segmentSize: 32 << 10, distance: 2, keep: 2},
		{capacity: 30, segmentSize: 64 << 10, distance: 3, keep: 1},
		{capacity: 100, segmentSize: 128 << 10, distance: 1, keep: 3},
	} {
		t.Run(c.String(), func(t *testing.T) {
			directory := t.TempDir()
			g := &game{
				workload: newWorkload(seed, t.Name(), c),
				model:    newModel(directory, c),
				ledgerd:  &ledgerd{program: driver},
				flowGo:   &flowGo{},
			}
			t.Cleanup(g.flowGo.abandon)
			t.Cleanup(g.ledgerd.abandon)
			for round := range rounds {
				for _, e := range []engine{g.ledgerd, g.flowGo} {
					t.Run(fmt.Sprintf("%d-%s", round, e.name()), func(t *testing.T) { g.turn(t, e) })
					if t.Failed() {
						t.Fatalf("INTEROP_SEED=%d; later rounds are left out", seed)
					}
				}
			}
		})
	}
}

// game is one directory and those who play with it.
type game struct {
	*workload
	model   *model
	ledgerd *ledgerd
	flowGo  *flowGo

	torn   bool // The log's last record is not whole.
	played bool // Somebody had the directory.
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// turn is some lives of one engine, from one start to the next.
func (g *game) turn(t *testing.T, e engine) {
	if g.played {
		totals.handOvers++
	}
	for lives := 1 + g.IntN(3); lives > 0 || g.torn; lives-- {
		if g.played {
			must(t, g.thinOut(t, e))
		}
		g.live(t, e)
	}
}

// live is one life of one engine: it opens the directory, and is closed or killed.
func (g *game) live(t *testing.T, e engine) {
	leftOver, err := false, error(nil)
	if g.played {
		leftOver, err = hasUnfinishedCheckpoint(g.model.directory)
		must(t, err)
	}
	if g.played {
		must(t, g.model.opening(e))
	} else {
		g.model.openingNew(e)
	}
	g.played = true
	must(t, e.open(g.model.directory, g.config))
	must(t, g.model.check(e, g.keys, g.some))
	if e == g.ledgerd {
		g.checkWarnings(t)
	}
	g.torn = false

	for range g.IntN(40) {
		g.step(t, e)
	}
	must(t, g.model.check(e, g.keys, g.some))
	if e == g.ledgerd && g.oneIn(2) {
		g.kill(t)
	} else {
		must(t, e.idle())
		must(t, e.close())
	}
	must(t, g.model.closed())
	if e == g.flowGo {
		for _, line := range g.flowGo.log.take() {
			// flow-go removes it then, and tries again.
			if !leftOver || !strings.Contains(line, "checkpoint part file already exists") {
				t.Fatal("flow-go complains: ", line)
			}
		}
	}
	count, err := g.model.verifyCheckpoints()
	must(t, err)
	totals.checkpoints += count
}

func (g *game) step(t *testing.T, e engine) {
	switch choice := g.IntN(100); {
	case choice < 10:
		// Each one may bring others two steps closer to their end: by itself, and by pushing out of the
		// queue what it has twice.
		count := 2 + g.IntN(min(4, g.config.capacity/4-1))
		if states := g.model.usable(2 * count); len(states) > 0 {
			updates := make([]update, count)
			for i := range updates {
				updates[i] = g.next(g.model, states)
			}
			g.set(t, e, updates...)
		}
	case choice < 15:
		must(t, e.idle())
	case choice < 18 && e == g.ledgerd:
		_, err := g.ledgerd.checkpoint()
		must(t, err)
	case choice < 20 && e == g.ledgerd:
		// Not logged, or absorb() would not know it.
		u := g.fresh(ledger.State(g.bytes(len(ledger.State{}))))
		var refused *refusal
		if _, err := g.ledgerd.set(u); !errors.As(err, &refused) || refused.Reason != unknownState {
			t.Fatal("a Set on a state that never was: ", err)
		}
	default:
		if states := g.model.usable(0); len(states) > 0 {
			g.set(t, e, g.next(g.model, states))
		}
	}
}

func (g *game) set(t *testing.T, e engine, updates ...update) {
	t.Helper()
	states, err := e.set(updates...)
	must(t, err)
	g.answered(t, updates, states)
	_, err = g.model.absorb(updates, nil)
	must(t, err)
}

func (g *game) answered(t *testing.T, updates []update, states []ledger.State) {
	t.Helper()
	totals.sets += len(updates)
	expected, err := g.model.expectAll(updates)
	must(t, err)
	if !slices.Equal(states, expected) {
		t.Fatalf("the new states are %v, not %v", states, expected)
	}
}

// kill lets Sets pile up and kills ledgerd at some moment.
func (g *game) kill(t *testing.T) {
	g.set(t, g.ledgerd, g.fresh(g.model.usable(0)[0]))
	states := g.model.usable(4)
	parent := states[len(states)-1]
	var batches [][]update
	for range 2 + g.IntN(10) {
		// The first leads to a state that is new, so it will be there when the next batch comes.
		batch := []update{g.fresh(parent)}
		for range g.IntN(4) {
			batch = append(batch, g.next(g.model, []ledger.State{parent}))
		}
		batches = append(batches, batch)
		var err error
		parent, err = g.model.expect(batch[0])
		must(t, err)
	}
	answered, err := g.ledgerd.killDuring(batches, g.IntN(len(batches)),
		time.Duration(g.IntN(3000))*time.Microsecond)
	must(t, err)
	totals.kills++
	before, after := slices.Concat(batches[:answered]...), slices.Concat(batches[answered:]...)
	totals.sets += len(before)
	if g.oneIn(2) {
		must(t, g.tear(before))
	}
	g.torn, err = g.model.absorb(before, after)
	must(t, err)
	if g.torn {
		totals.torn++
	}
}

// tear cuts the last record short, if nobody was told about it: a crash of the machine can do that,
// and rarely a kill.
func (g *game) tear(answered []update) error {
	records, torn, err := readLog(g.model.directory, g.model.segment)
	if err != nil || torn || len(records) <= g.model.records {
		return err
	}
	last := records[len(records)-1]
	for _, u := range answered {
		if record, err := u.record(); err != nil || record == last.record {
			return err
		}
	}
	path := walLibrary.SegmentName(g.model.directory, last.segment)
	file, err := os.Stat(path)
	if err != nil {
		return err
	}
	return os.Truncate(path, file.Size()-1-int64(g.IntN(len(last.record))))
}

// checkWarnings: only a torn log is worth one.
func (g *game) checkWarnings(t *testing.T) {
	warnings, err := g.ledgerd.warnings()
	must(t, err)
	if g.torn != (len(warnings) > 0) || len(warnings) > 1 {
		t.Fatalf("torn: %v; warnings: %q", g.torn, warnings)
	}
}
