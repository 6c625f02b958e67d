// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/complete/wal"
)

// The same updates in two directories, one of flow-go's and one of ledgerd's: every file must be the
// same. Both get time to finish a checkpoint, since one that is due meanwhile would be postponed.
//
// Where states come again and are evicted, a checkpoint may have to differ: flow-go's lacks a state
// that the forest has, ledgerd's has the forest. That is no start for both, so such workloads have one
// life; the others have no state again, or a forest that never gets full.
func TestFilesAreIdentical(t *testing.T) {
	for _, scenario := range []struct {
		config
		repeats repeats
		lives   int // From start to close.
		sets    int // In each of them.
	}{
		{config{capacity: 1, segmentSize: 32 << 10, distance: 1, keep: 0}, anyState, 1, 80},
		{config{capacity: 3, segmentSize: 32 << 10, distance: 2, keep: 0}, anyState, 1, 80},
		{config{capacity: 25, segmentSize: 32 << 10, distance: 1, keep: 0}, anyState, 1, 80},
		{config{capacity: 3, segmentSize: 32 << 10, distance: 1, keep: 0}, newStates, 5, 20},
		{config{capacity: 25, segmentSize: 64 << 10, distance: 2, keep: 0}, newStates, 5, 30},
		{config{capacity: 40, segmentSize: 128 << 10, distance: 1, keep: 1}, newStates, 3, 40},
		{config{capacity: 500, segmentSize: 32 << 10, distance: 3, keep: 2}, anyState, 5, 25},
		{config{capacity: 200, segmentSize: 32 << 10, distance: 1, keep: 0}, anyState, 2, 50},
	} {
		name := fmt.Sprintf("%v-%v-lives-%d", scenario.config, scenario.repeats, scenario.lives)
		t.Run(name, func(t *testing.T) {
			p := &pair{
				workload:  newWorkload(seed, t.Name(), scenario.config),
				flowGo:    &flowGo{},
				ledgerd:   &ledgerd{program: driver},
				repeats:   scenario.repeats,
				theirs:    t.TempDir(),
				ours:      t.TempDir(),
				compared:  map[string]bool{},
				different: map[int]bool{},
			}
			t.Cleanup(p.flowGo.abandon)
			t.Cleanup(p.ledgerd.abandon)
			p.model = newModel(p.theirs, scenario.config)
			for life := range scenario.lives {
				if len(p.different) > 0 {
					t.Fatalf("not to be started again: %v differ", p.different)
				}
				p.live(t, life, scenario.sets)
				p.compare(t)
				if t.Failed() {
					t.Fatalf("in life %d; INTEROP_SEED=%d", life, seed)
				}
			}
			if lines := p.flowGo.log.take(); len(lines) > 0 {
				t.Error("flow-go complains: ", lines)
			}
			totals.files += len(p.compared)
			t.Logf("%d files are the same; the checkpoints %v have to differ", len(p.compared),
				slices.Sorted(maps.Keys(p.different)))
		})
	}
}

// repeats says what updates may lead to.
type repeats int

const (
	anyState  repeats = iota
	newStates         // Not to one that is in the forest, nor to the empty one: a start puts it first.
)

func (r repeats) String() string { return [...]string{"any-states", "new-states"}[r] }

// pair is flow-go and ledgerd, each with a directory of its own.
type pair struct {
	*workload
	repeats      repeats
	model        *model // Of both.
	flowGo       *flowGo
	ledgerd      *ledgerd
	theirs, ours string

	compared  map[string]bool // Files; those that were the same when they were removed, too.
	different map[int]bool    // Checkpoints that have to be.
}

func (p *pair) live(t *testing.T, life, sets int) {
	if life == 0 {
		p.model.openingNew(p.flowGo)
	} else {
		must(t, p.model.opening(p.flowGo))
	}
	must(t, p.flowGo.open(p.theirs, p.config))
	must(t, p.ledgerd.open(p.ours, p.config))
	for _, e := range []engine{p.flowGo, p.ledgerd} {
		must(t, p.model.check(e, p.keys, p.some))
	}
	for range sets {
		u := p.next(p.model, p.model.forest)
		for p.repeats == newStates {
			state, err := p.model.expect(u)
			must(t, err)
			if state != initialState() && !slices.Contains(p.model.forest, state) {
				break
			}
			u = p.next(p.model, p.model.forest)
		}
		p.set(t, u)
		if p.oneIn(20) {
			// A Set that is refused leaves no trace. flow-go would log it.
			var refused *refusal
			u := p.fresh(ledger.State(p.bytes(len(ledger.State{}))))
			if _, err := p.ledgerd.set(u); !errors.As(err, &refused) || refused.Reason != unknownState {
				t.Fatal("a Set on a state that never was: ", err)
			}
		}
	}
	must(t, p.flowGo.close())
	must(t, p.ledgerd.close())
	must(t, p.model.closed())
	count, err := p.model.verifyCheckpoints()
	must(t, err)
	totals.checkpoints += count
}

func (p *pair) set(t *testing.T, u update) {
	totals.sets++
	expected, err := p.model.expect(u)
	must(t, err)
	for _, e := range []engine{p.flowGo, p.ledgerd} {
		states, err := e.set(u)
		must(t, err)
		if !slices.Equal(states, []ledger.State{expected}) {
			t.Fatalf("%s's new state is %v, not %v", e.name(), states, expected)
		}
		must(t, e.idle())
	}
	_, err = p.model.absorb([]update{u}, nil)
	must(t, err)

	// Before it is one too many.
	checkpoints, err := wal.Checkpoints(p.theirs)
	must(t, err)
	for _, number := range checkpoints {
		names := filesOfCheckpoint(number)
		held := p.model.held[number]
		switch {
		case p.different[number] || p.compared[names[0]]:
		case slices.Equal(held.theirs, held.ours):
			must(t, compareFiles(p.theirs, p.ours, names))
			p.note(names)
		default:
			must(t, p.model.verifyCheckpoint(p.ours, number, held.ours))
			p.different[number] = true
		}
	}
}

// compare looks at all files of the two directories, which nobody has open.
func (p *pair) compare(t *testing.T) {
	theirs, err := filesOf(p.theirs)
	must(t, err)
	ours, err := filesOf(p.ours)
	must(t, err)
	if !slices.Equal(theirs, ours) {
		t.Errorf("flow-go has the files %v, ledgerd has %v", theirs, ours)
		return
	}
	for number := range p.different {
		theirs = slices.DeleteFunc(theirs, func(name string) bool {
			return slices.Contains(filesOfCheckpoint(number), name)
		})
	}
	if err := compareFiles(p.theirs, p.ours, theirs); err != nil {
		t.Error(err)
	}
	p.note(theirs)
}

func (p *pair) note(names []string) {
	for _, name := range names {
		p.compared[name] = true
	}
}
