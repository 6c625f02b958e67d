// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/complete/wal"
)

// The same updates in two directories, one of flow-go's and one of ledgerd's: every file must be the
// same. Both get time to finish a checkpoint, since one that is due meanwhile would be postponed.
func TestFilesAreIdentical(t *testing.T) {
	for _, scenario := range []struct {
		config
		lives int // From start to close.
		sets  int // In each of them.
	}{
		{config{capacity: 1, segmentSize: 32 << 10, distance: 1, keep: 0}, 1, 100},
		{config{capacity: 3, segmentSize: 32 << 10, distance: 2, keep: 0}, 1, 100},
		{config{capacity: 100, segmentSize: 32 << 10, distance: 1, keep: 0}, 1, 120},
		{config{capacity: 4, segmentSize: 32 << 10, distance: 1, keep: 0}, 6, 20},
		{config{capacity: 25, segmentSize: 64 << 10, distance: 2, keep: 0}, 6, 25},
		{config{capacity: 60, segmentSize: 32 << 10, distance: 3, keep: 2}, 5, 30},
		{config{capacity: 40, segmentSize: 128 << 10, distance: 1, keep: 1}, 4, 40},
	} {
		t.Run(fmt.Sprintf("%v-lives-%d", scenario.config, scenario.lives), func(t *testing.T) {
			p := &pair{
				workload: newWorkload(seed, t.Name(), scenario.config),
				flowGo:   &flowGo{},
				ledgerd:  &ledgerd{program: driver},
				theirs:   t.TempDir(),
				ours:     t.TempDir(),
				compared: map[string]bool{},
			}
			t.Cleanup(p.flowGo.abandon)
			t.Cleanup(p.ledgerd.abandon)
			p.model = newModel(p.theirs, scenario.config)
			for life := range scenario.lives {
				p.live(t, life, scenario.lives, scenario.sets)
				p.compare(t)
				if t.Failed() {
					t.Fatalf("in life %d; INTEROP_SEED=%d", life, seed)
				}
			}
			if lines := p.flowGo.log.take(); len(lines) > 0 {
				t.Error("flow-go complains: ", lines)
			}
			totals.files += len(p.compared)
			t.Logf("%d files are the same", len(p.compared))
		})
	}
}

// pair is flow-go and ledgerd, each with a directory of its own.
type pair struct {
	*workload
	model        *model // Of both.
	flowGo       *flowGo
	ledgerd      *ledgerd
	theirs, ours string
	compared     map[string]bool // Files; those that were the same when they were removed, too.
}

func (p *pair) live(t *testing.T, life, lives, sets int) {
	if life == 0 {
		p.model.openingNew()
	} else {
		must(t, p.model.opening())
	}
	must(t, p.flowGo.open(p.theirs, p.config))
	must(t, p.ledgerd.open(p.ours, p.config))
	for _, e := range []engine{p.flowGo, p.ledgerd} {
		must(t, p.model.check(e, p.keys, p.some))
	}
	for range sets {
		// Any state that is there may be forked, unless a start that is to come would miss it.
		states := p.model.forest
		if lives > 1 {
			states = p.model.usable(0)
		}
		p.set(t, p.next(p.model, states))
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
		if !p.compared[names[0]] {
			must(t, compareFiles(p.theirs, p.ours, names))
			p.note(names)
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
