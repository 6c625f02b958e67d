// SPDX-License-Identifier: Apache-2.0

// Package interop gives directories to ledgerd and to flow-go in turn, and the same updates to both.
// ../README.md says what its tests prove.
package interop

import (
	"fmt"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/common/pathfinder"
	"github.com/onflow/flow-go/ledger/complete"
	"github.com/onflow/flow-go/ledger/complete/wal"
)

// config is what both engines are opened with.
type config struct {
	capacity    int // Tries.
	segmentSize int // Bytes.
	distance    int // Segments from one checkpoint to the next.
	keep        int // Checkpoints; 0: all.
}

func (c config) String() string {
	return fmt.Sprintf("capacity-%d-segment-%dK-distance-%d-keep-%d", c.capacity, c.segmentSize>>10,
		c.distance, c.keep)
}

// engine is a ledger that can be opened and closed again and again, one directory at a time.
type engine interface {
	name() string
	open(directory string, c config) error
	// set starts all updates at once and returns the new states in their order. A refusal is an error.
	set(updates ...update) ([]ledger.State, error)
	states() ([]ledger.State, error) // Oldest first.
	get(state ledger.State, keys []ledger.Key) ([]ledger.Value, error)
	idle() error // Returns when no checkpoint is being written or about to be.
	close() error
}

// update is the argument of a Set.
type update struct {
	parent ledger.State
	keys   []ledger.Key
	values []ledger.Value
}

func (u update) toFlowGo() (*ledger.Update, error) {
	return ledger.NewUpdate(u.parent, u.keys, u.values)
}

func (u update) trieUpdate() (*ledger.TrieUpdate, error) {
	converted, err := u.toFlowGo()
	if err != nil {
		return nil, err
	}
	return pathfinder.UpdateToTrieUpdate(converted, complete.DefaultPathFinderVersion)
}

// record is what the update is in a log.
func (u update) record() (string, error) {
	converted, err := u.trieUpdate()
	if err != nil {
		return "", err
	}
	return string(wal.EncodeUpdate(converted)), nil
}

// encodedKey is the key without the prefix of a stand-alone object.
func encodedKey(key ledger.Key) []byte {
	const prefix = 3 // Version and type.
	return ledger.EncodeKey(&key)[prefix:]
}
