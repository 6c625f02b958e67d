// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/atomic"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/common/pathfinder"
	"github.com/onflow/flow-go/ledger/complete"
	"github.com/onflow/flow-go/ledger/complete/wal"
	"github.com/onflow/flow-go/module/metrics"
)

// flowGo is flow-go's ledger with its log and its compactor, in this process.
type flowGo struct {
	ledger    *complete.Ledger
	compactor *complete.Compactor
	log       complaints
	stacks    [1 << 18]byte
}

// Between looks at what the compactor does: one stops the world.
const stackLook = 300 * time.Microsecond

func (f *flowGo) name() string { return "flow-go" }

func (f *flowGo) open(directory string, c config) error {
	logger := zerolog.New(&f.log)
	none := &metrics.NoopCollector{}
	disk, err := wal.NewDiskWAL(logger, nil, none, directory, c.capacity, pathfinder.PathByteSize,
		c.segmentSize)
	if err != nil {
		return err
	}
	f.ledger, err = complete.NewLedger(disk, c.capacity, none, logger,
		complete.DefaultPathFinderVersion)
	if err == nil {
		f.compactor, err = complete.NewCompactor(f.ledger, disk, logger, uint(c.capacity),
			uint(c.distance), uint(c.keep), atomic.NewBool(false), none)
	}
	if err != nil {
		<-disk.Done() // Gives the lock back.
		f.ledger, f.compactor = nil, nil
		return err
	}
	<-f.ledger.Ready()
	<-f.compactor.Ready()
	return nil
}

func (f *flowGo) set(updates ...update) ([]ledger.State, error) {
	states := make([]ledger.State, len(updates))
	failures := make([]error, len(updates))
	var running sync.WaitGroup
	for i, u := range updates {
		converted, err := u.toFlowGo()
		if err != nil {
			return nil, err
		}
		running.Go(func() { states[i], _, failures[i] = f.ledger.Set(converted) })
	}
	running.Wait()
	return states, errors.Join(failures...)
}

func (f *flowGo) states() ([]ledger.State, error) {
	count := f.ledger.StateCount()
	states := make([]ledger.State, count)
	for i := range states {
		var err error
		if states[i], err = f.ledger.StateByIndex(i); err != nil {
			return nil, err
		}
	}
	return states, nil
}

func (f *flowGo) get(state ledger.State, keys []ledger.Key) ([]ledger.Value, error) {
	query, err := ledger.NewQuery(state, keys)
	if err != nil {
		return nil, err
	}
	return f.ledger.Get(query)
}

// The compactor has no way to be asked. It is idle when its goroutine waits for the next update and
// the goroutine of a checkpoint has ended: only then is the next checkpoint sure not to be postponed.
func (f *flowGo) idle() error {
	for !compactorIsIdle(string(f.stacks[:runtime.Stack(f.stacks[:], true)])) {
		time.Sleep(stackLook)
	}
	return nil
}

var waitingCompactor = regexp.MustCompile(`^goroutine \d+ \[select[^]]*\]:\n\S*\(\*Compactor\)\.run\(`)

func compactorIsIdle(stacks string) bool {
	waits := false
	for _, stack := range strings.Split(stacks, "\n\n") {
		if strings.Contains(stack, "(*Compactor).run.func") {
			return false
		}
		waits = waits || waitingCompactor.MatchString(stack)
	}
	return waits
}

// A compactor lets go of a checkpoint that it is writing, which would go on in this process: so
// there must be none.
func (f *flowGo) close() error {
	if err := f.idle(); err != nil {
		return err
	}
	<-f.ledger.Done()
	<-f.compactor.Done()
	f.ledger, f.compactor = nil, nil
	return nil
}

// abandon is for a test that failed.
func (f *flowGo) abandon() {
	if f.ledger != nil && f.compactor != nil {
		_ = f.close()
	}
}

// complaints keeps what flow-go logs from level warn up.
type complaints struct {
	mutex sync.Mutex
	lines []string
}

func (c *complaints) Write(line []byte) (int, error) {
	for _, level := range []string{"warn", "error", "fatal", "panic"} {
		if bytes.HasPrefix(line, fmt.Appendf(nil, `{"level":%q`, level)) {
			c.mutex.Lock()
			c.lines = append(c.lines, strings.TrimSpace(string(line)))
			c.mutex.Unlock()
		}
	}
	return len(line), nil
}

func (c *complaints) take() []string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	lines := c.lines
	c.lines = nil
	return lines
}
