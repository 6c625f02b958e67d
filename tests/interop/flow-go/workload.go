// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/onflow/flow-go/ledger"
)

// workload makes updates at random, of the kinds that an engine could get wrong: forks, updates that
// change nothing, the same update again, registers unallocated and allocated again, several values
// for one register, records longer than a segment.
type workload struct {
	*rand.Rand
	config config
	keys   []ledger.Key // All that are ever used.
	recent []update
}

func newWorkload(seed uint64, name string, c config) *workload {
	h := fnv.New64a()
	h.Write([]byte(name))
	w := &workload{Rand: rand.New(rand.NewPCG(seed, h.Sum64())), config: c}
	for i := range 50 + w.IntN(500) {
		w.keys = append(w.keys, w.key(i))
	}
	return w
}

// key has no part (one key only), one, two as most registers have, or three.
func (w *workload) key(i int) ledger.Key {
	parts := []ledger.KeyPart{
		ledger.NewKeyPart(0, w.bytes(8)),
		ledger.NewKeyPart(2, fmt.Appendf(nil, "register %d", i)),
		ledger.NewKeyPart(uint16(w.IntN(1<<16)), nil),
	}
	switch {
	case i == 0:
		return ledger.NewKey(nil)
	case w.oneIn(10):
		return ledger.NewKey(parts[1:2])
	case w.oneIn(10):
		return ledger.NewKey(parts)
	}
	return ledger.NewKey(parts[:2])
}

func (w *workload) oneIn(count int) bool { return w.IntN(count) == 0 }

func (w *workload) bytes(count int) []byte {
	bytes := make([]byte, count)
	for i := range bytes {
		bytes[i] = byte(w.Uint32())
	}
	return bytes
}

func (w *workload) value() ledger.Value {
	switch {
	case w.oneIn(400):
		return w.bytes(w.IntN(2 * w.config.segmentSize))
	case w.oneIn(20):
		return w.bytes(w.IntN(5000))
	}
	return w.bytes(1 + w.IntN(150))
}

// parent is the newest of `states`, or any.
func (w *workload) parent(states []ledger.State) ledger.State {
	if w.oneIn(4) {
		return states[w.IntN(len(states))]
	}
	return states[len(states)-1]
}

// fresh is an update that leads to a state that never was.
func (w *workload) fresh(parent ledger.State) update {
	u := update{parent: parent}
	for range 1 + w.IntN(25) {
		u.set(w.keys[w.IntN(len(w.keys))], append(w.bytes(16), w.value()...))
	}
	return u
}

// next is an update of one of `states`, which end with the newest.
func (w *workload) next(m *model, states []ledger.State) update {
	kind := w.IntN(100)
	if kind < 6 && len(w.recent) > 0 {
		// Again, if its parent is still there.
		u := w.recent[w.IntN(len(w.recent))]
		for _, state := range states {
			if state == u.parent {
				return u
			}
		}
	}
	u := update{parent: w.parent(states)}
	values := m.known[u.parent].values
	switch {
	case kind < 8: // Nothing at all.
	case kind < 15: // What is there already.
		for range 1 + w.IntN(10) {
			key := w.keys[w.IntN(len(w.keys))]
			u.set(key, values[string(encodedKey(key))])
		}
	case kind < 25: // Unallocation of what may be there or not.
		for range 1 + w.IntN(len(w.keys)/2) {
			u.set(w.keys[w.IntN(len(w.keys))], nil)
		}
	case kind < 27: // Of everything: the empty ledger.
		for _, key := range w.keys {
			u.set(key, nil)
		}
	default:
		count := 1 + w.IntN(25)
		if w.oneIn(12) {
			count = len(w.keys)
		}
		for range count {
			key := w.keys[w.IntN(len(w.keys))]
			if w.oneIn(15) {
				u.set(key, nil)
			} else {
				u.set(key, w.value())
			}
		}
	}
	w.recent = append(w.recent, u)
	if len(w.recent) > 10 {
		w.recent = w.recent[1:]
	}
	return u
}

func (u *update) set(key ledger.Key, value ledger.Value) {
	u.keys = append(u.keys, key)
	u.values = append(u.values, value)
}

// some picks a few of `count` things: the newest, the oldest and others.
func (w *workload) some(count int) []int {
	if count <= 6 {
		return w.Perm(count)
	}
	return []int{0, count - 1, count - 2, w.IntN(count), w.IntN(count)}
}
