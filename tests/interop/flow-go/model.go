// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rs/zerolog"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/complete/mtrie/trie"
	"github.com/onflow/flow-go/ledger/complete/wal"
)

// model is what must be in one directory, and in the ledger that has it open: every state with all
// its values, the forest, and the queue from which checkpoints are made. It learns the order of the
// updates, and in which segment each is, from the log.
type model struct {
	directory string
	config    config

	known map[ledger.State]*state // All that were ever expected here.

	log  []entry      // Of the segments that are still there.
	held map[int]held // By the number of a checkpoint.

	// Of the ledger that is open.
	isOurs  bool
	forest  []ledger.State
	queue   []ledger.State
	shadows [][]ledger.State // The forests of starts from each of the checkpoints that may be made.
	segment int              // The one that the next record is read from,
	records int              // behind so many records.

	verified map[int]bool // Checkpoints that were read already.
}

// state is a ledger's content: root hash and values, each by its own way.
type state struct {
	trie   *trie.MTrie
	values map[string]ledger.Value // By encoded key, allocated ones only.
}

// held is what a checkpoint of this number has: the one that there is or may be, flow-go's, ledgerd's.
type held struct{ it, theirs, ours []ledger.State }

// entry is one Set of the log.
type entry struct {
	segment       int
	parent, state ledger.State
}

func newModel(directory string, c config) *model {
	empty := trie.NewEmptyMTrie()
	return &model{
		directory: directory,
		config:    c,
		known:     map[ledger.State]*state{ledger.State(empty.RootHash()): {trie: empty}},
		held:      map[int]held{},
		verified:  map[int]bool{},
	}
}

func initialState() ledger.State { return ledger.State(trie.EmptyTrieRootHash()) }

// expect returns the state that an update must lead to.
func (m *model) expect(u update) (ledger.State, error) {
	if len(u.keys) == 0 {
		return u.parent, nil
	}
	parent := m.known[u.parent]
	converted, err := u.trieUpdate()
	if err != nil {
		return ledger.DummyState, err
	}
	// The last one of several values for one register counts.
	last := map[ledger.Path]ledger.Payload{}
	values := maps.Clone(parent.values)
	if values == nil {
		values = map[string]ledger.Value{}
	}
	for i, path := range converted.Paths {
		last[path] = *converted.Payloads[i]
		key := string(encodedKey(u.keys[i]))
		if len(u.values[i]) > 0 {
			values[key] = u.values[i]
		} else {
			delete(values, key)
		}
	}
	var paths []ledger.Path
	var payloads []ledger.Payload
	for path, payload := range last {
		paths = append(paths, path)
		payloads = append(payloads, payload)
	}
	updated, _, err := trie.NewTrieWithUpdatedRegisters(parent.trie, paths, payloads, true)
	if err != nil {
		return ledger.DummyState, err
	}
	root := ledger.State(updated.RootHash())
	if m.known[root] == nil {
		m.known[root] = &state{updated, values}
	}
	return root, nil
}

// expectAll is expect for several.
func (m *model) expectAll(updates []update) ([]ledger.State, error) {
	states := make([]ledger.State, len(updates))
	for i, u := range updates {
		var err error
		if states[i], err = m.expect(u); err != nil {
			return nil, err
		}
	}
	return states, nil
}

func push(forest []ledger.State, state ledger.State, capacity int) []ledger.State {
	if slices.Contains(forest, state) {
		return forest
	}
	if len(forest) == capacity {
		forest = forest[1:]
	}
	return append(slices.Clip(forest), state)
}

// replay returns the forest that a start with these checkpoints and segments must come to; the last
// segment is the one that the start creates. Error: a record's parent would not be there.
func (m *model) replay(checkpoints []int, first, last int) ([]ledger.State, error) {
	newest := -1
	for _, number := range checkpoints {
		if first-1 <= number && number <= last {
			newest = max(newest, number)
		}
	}
	forest := m.load(m.held[newest].it)
	for _, e := range m.log {
		if e.segment <= newest || e.segment < first {
			continue
		}
		if !slices.Contains(forest, e.parent) {
			return nil, fmt.Errorf("state %v, a parent in segment %d, would be missing", e.parent, e.segment)
		}
		forest = push(forest, e.state, m.config.capacity)
	}
	return forest, nil
}

// load returns the forest that a checkpoint makes.
func (m *model) load(checkpoint []ledger.State) []ledger.State {
	forest := []ledger.State{initialState()}
	for _, state := range checkpoint {
		forest = push(forest, state, m.config.capacity)
	}
	return forest
}

// plan is what replay needs to know of the directory, which nobody has open.
func (m *model) plan() (checkpoints []int, first, last int, err error) {
	segments, err := segmentsOf(m.directory)
	if err != nil {
		return nil, 0, 0, err
	}
	checkpoints, err = wal.Checkpoints(m.directory)
	if err != nil {
		return nil, 0, 0, err
	}
	if len(segments) > 0 {
		return checkpoints, segments[0], segments[len(segments)-1] + 1, nil
	}
	// Only ledgerd takes that: it begins behind the checkpoint.
	next := 0
	if len(checkpoints) > 0 {
		next = checkpoints[len(checkpoints)-1] + 1
	}
	return checkpoints, next, next, nil
}

// opening is called before a ledger opens the directory, and sets the forest it must have then.
func (m *model) opening(e engine) error {
	checkpoints, first, last, err := m.plan()
	if err != nil {
		return err
	}
	if m.forest, err = m.replay(checkpoints, first, last); err != nil {
		return err
	}
	_, m.isOurs = e.(*ledgerd)
	m.queue = m.forest
	m.shadows = nil
	m.segment, m.records = last, 0
	if !slices.Contains(checkpoints, last-1) {
		m.held[last-1] = m.holding()
	}
	return nil
}

// openingNew is opening for a directory that nobody had yet.
func (m *model) openingNew(e engine) {
	_, m.isOurs = e.(*ledgerd)
	m.forest = []ledger.State{initialState()}
	m.queue = m.forest
}

func (m *model) hasRecordsBehind(segment int) bool {
	return slices.ContainsFunc(m.log, func(e entry) bool { return e.segment > segment })
}

// forgetLog: the segments up to this one are removed.
func (m *model) forgetLog(upTo int) {
	m.log = slices.DeleteFunc(m.log, func(e entry) bool { return e.segment <= upTo })
}

// absorb reads what was logged since it was last called. It must be exactly `answered`, in any
// order, and then any of `inFlight`, which nobody was told about.
func (m *model) absorb(answered, inFlight []update) (torn bool, err error) {
	records, torn, err := readLog(m.directory, m.segment)
	if err != nil {
		return torn, err
	}
	type sent struct {
		update
		answered bool
	}
	open := map[string][]sent{} // By record; of equal ones the answered come first.
	for i, u := range slices.Concat(answered, inFlight) {
		if len(u.keys) == 0 {
			continue // Never logged.
		}
		record, err := u.record()
		if err != nil {
			return torn, err
		}
		open[record] = append(open[record], sent{u, i < len(answered)})
	}
	for _, r := range records[m.records:] {
		candidates := open[r.record]
		if len(candidates) == 0 {
			return torn, fmt.Errorf("segment %d holds a record of no update that was sent", r.segment)
		}
		open[r.record] = candidates[1:]
		state, err := m.expect(candidates[0].update)
		if err != nil {
			return torn, err
		}
		m.finishSegments(r.segment)
		m.records++
		m.log = append(m.log, entry{r.segment, candidates[0].parent, state})
		m.forest = push(m.forest, state, m.config.capacity)
		for i, shadow := range m.shadows {
			m.shadows[i] = push(shadow, state, m.config.capacity)
		}
		m.queue = append(slices.Clip(m.queue), state)
		m.queue = m.queue[max(0, len(m.queue)-m.config.capacity):]
	}
	for _, left := range open {
		if len(left) > 0 && left[0].answered {
			return torn, fmt.Errorf("an answered Set on %v is not in the log", left[0].parent)
		}
	}
	return torn, nil
}

// finishSegments: nothing more will be in segments before `next`.
func (m *model) finishSegments(next int) {
	for ; m.segment < next; m.segment++ {
		m.held[m.segment] = m.holding()
		m.shadows = append(m.shadows, m.load(m.held[m.segment].it))
		m.records = 0
	}
}

// holding is what a checkpoint made now holds. flow-go's queue counts states that come again, and so
// may lack others that are in the forest. ledgerd takes the forest where a start from the queue would
// not come to it.
func (m *model) holding() held {
	h := held{theirs: m.queue, ours: m.queue}
	if !slices.Equal(m.load(m.queue), m.forest) {
		h.ours = m.forest
	}
	h.it = h.theirs
	if m.isOurs {
		h.it = h.ours
	}
	return h
}

// closed is called when no ledger has the directory open any more.
func (m *model) closed() error {
	segments, err := segmentsOf(m.directory)
	if err != nil {
		return err
	}
	m.finishSegments(segments[len(segments)-1] + 1)
	return nil
}

// verifyCheckpoints reads those that are new with flow-go's reader and returns how many these are.
// All values are compared, and the hashes of the newest trie computed anew.
func (m *model) verifyCheckpoints() (int, error) {
	numbers, err := wal.Checkpoints(m.directory)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, number := range numbers {
		if m.verified[number] {
			continue
		}
		if err := m.verifyCheckpoint(m.directory, number, m.held[number].it); err != nil {
			return count, fmt.Errorf("checkpoint %d: %w", number, err)
		}
		m.verified[number] = true
		count++
	}
	return count, nil
}

func (m *model) verifyCheckpoint(directory string, number int, states []ledger.State) error {
	tries, err := wal.OpenAndReadCheckpointV6(directory, wal.NumberToFilename(number), zerolog.Nop())
	if err != nil {
		return err
	}
	roots := make([]ledger.State, len(tries))
	for i, t := range tries {
		roots[i] = ledger.State(t.RootHash())
	}
	if !slices.Equal(roots, states) {
		return fmt.Errorf("it has the states %v, not %v", roots, states)
	}
	for i, t := range tries {
		if i == len(tries)-1 && !t.IsAValidTrie() {
			return fmt.Errorf("a hash in state %v is wrong", roots[i])
		}
		payloads := t.AllPayloads()
		expected := m.known[roots[i]].values
		found := map[string]ledger.Value{}
		for _, payload := range payloads {
			if len(payload.Value()) == 0 {
				continue
			}
			key, err := payload.Key()
			if err != nil {
				return err
			}
			found[string(encodedKey(key))] = payload.Value()
		}
		if !maps.EqualFunc(found, expected, ledger.Value.Equals) {
			return fmt.Errorf("the values of state %v are wrong", roots[i])
		}
	}
	return nil
}

// usable returns the states, oldest first, that an update may start from: those in the forest after
// any start that can come, even if `more` other updates get in before it. With flow-go a state may be
// missing after a start though it was there before: its checkpoints may lack it, or it came again and
// kept its old place in a forest that still had it. With either of them that goes for the empty state
// where it came again, since a start puts it first.
func (m *model) usable(more int) []ledger.State {
	staying := func(list []ledger.State) []ledger.State {
		return list[min(len(list), max(0, len(list)+more-m.config.capacity)):]
	}
	// A checkpoint may also be made of what is here now.
	starts := append([][]ledger.State{m.load(m.holding().it)}, m.shadows...)
	if !m.isOurs {
		starts = append(starts, m.queue)
	}
	states := slices.Clone(staying(m.forest))
	for _, start := range starts {
		start = staying(start)
		states = slices.DeleteFunc(states, func(s ledger.State) bool { return !slices.Contains(start, s) })
	}
	return states
}

// check compares an open ledger with the model: its states, their order, and the values of `keys` in
// some of them.
func (m *model) check(e engine, keys []ledger.Key, some func(count int) []int) error {
	states, err := e.states()
	if err != nil {
		return err
	}
	if !slices.Equal(states, m.forest) {
		return fmt.Errorf("the states are %v, not %v", states, m.forest)
	}
	for _, i := range some(len(states)) {
		values, err := e.get(states[i], keys)
		if err != nil {
			return fmt.Errorf("state %d: %w", i, err)
		}
		if len(values) != len(keys) {
			return fmt.Errorf("state %d: %d values for %d keys", i, len(values), len(keys))
		}
		for j, key := range keys {
			if expected := m.known[states[i]].values[string(encodedKey(key))]; !values[j].Equals(expected) {
				return fmt.Errorf("state %d: the value of %s is %v, not %v", i, &key, values[j], expected)
			}
		}
	}
	return nil
}
