// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/onflow/flow-go/ledger"

	client "ledgerd/client/go"
	"ledgerd/tests/interop/flow-go/adapter"
)

const adapterSteps = 600

// Through the adapter, ledgerd is as flow-go's ledger in the node's own process: the same answers to
// the same calls, byte for byte, and errors where that has errors.
func TestAdapter(t *testing.T) {
	for _, way := range adapterWays {
		t.Run(way.name, func(t *testing.T) {
			c := config{capacity: 20, segmentSize: 1 << 20, distance: 100, keep: 3}
			d := startDaemon(t, daemonProgram, append([]string{"--mtrie-cache-size",
				fmt.Sprint(c.capacity), "--wal-segment-size", fmt.Sprint(c.segmentSize)}, way.flags...)...)
			theirs := &flowGo{}
			if err := theirs.open(t.TempDir(), c); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(theirs.abandon)
			r := &remotes{
				workload:   newWorkload(seed, t.Name(), c),
				ours:       adapt(t, d, way.options),
				theirs:     theirs.ledger,
				sameErrors: func(ours, theirs error) bool { return (ours == nil) == (theirs == nil) },
			}
			for step := range adapterSteps {
				r.step(t)
				if r.oneIn(10) {
					r.compareStates(t)
				}
				if t.Failed() {
					t.Fatalf("in step %d; INTEROP_SEED=%d", step, seed)
				}
			}
			totals.calls += adapterSteps
		})
	}
}

var adapterWays = []struct {
	name    string
	flags   []string
	options client.Options
}{
	{"inline", nil, client.Options{Transport: client.Inline}},
	{"shared", []string{"--inline-threshold", "0"}, client.Options{Transport: client.SharedMemory}},
	{"store", []string{"--inline-threshold", "0"},
		client.Options{Transport: client.SharedMemory, StoreViews: true}},
}

// adapt returns a ledger that is ready.
func adapt(t *testing.T, d *daemon, options client.Options) ledger.Ledger {
	t.Helper()
	options.Address = d.capnp
	made, err := adapter.NewFactory(options, zerolog.Nop()).NewLedger()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { <-made.Done() })
	<-made.Ready()
	return made
}

// compareStates compares the forests, and asks for a state that there is not.
func (r *remotes) compareStates(t *testing.T) {
	count := r.both(t, "StateCount", func(l ledger.Ledger) (any, error) { return l.StateCount(), nil })
	for _, index := range []int{-1, 0, r.IntN(count.(int)), count.(int)} {
		r.both(t, fmt.Sprint("StateByIndex ", index), func(l ledger.Ledger) (any, error) {
			return l.StateByIndex(index)
		})
	}
}

// traced is a line of a recorded script: golden/README.md.
type traced struct {
	Op         string
	Block      int
	State      hexBytes
	NewState   hexBytes `json:"new_state"`
	Key        tracedKey
	Keys       []tracedKey
	Value      blob
	Values     []hexBytes
	Result     json.RawMessage
	Index      int
	Error      string
	Proof      blob
	TrieUpdate blob `json:"trie_update"`
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type tracedKey []struct {
	Type  uint16
	Value hexBytes
}

func (k tracedKey) key() ledger.Key {
	var key ledger.Key
	for _, part := range k {
		key.KeyParts = append(key.KeyParts, ledger.NewKeyPart(part.Type, part.Value))
	}
	return key
}

// blob is bytes, or their digest.
type blob struct {
	bytes  hexBytes
	digest hexBytes
	length int
}

func (b *blob) UnmarshalJSON(text []byte) error {
	if text[0] != '{' {
		return json.Unmarshal(text, &b.bytes)
	}
	var of struct {
		SHA256 hexBytes
		Len    int
	}
	err := json.Unmarshal(text, &of)
	b.digest, b.length = of.SHA256, of.Len
	return err
}

func (b blob) is(got []byte) bool {
	if b.digest == nil {
		return bytes.Equal(got, b.bytes)
	}
	digest := sha256.Sum256(got)
	return len(got) == b.length && bytes.Equal(digest[:], b.digest)
}

// The calls of a node that executed blocks, as they were recorded, through flow-go's interface: every
// value, proof and trie update is the recorded one, and so is every state to the last.
func TestAdapterFlowBlocks(t *testing.T) {
	for _, way := range adapterWays {
		t.Run(way.name, func(t *testing.T) {
			file, err := os.Open(filepath.Join(golden, "flow-blocks", "scenario.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			l := adapt(t, startDaemon(t, daemonProgram, way.flags...), way.options)
			lines := bufio.NewScanner(file)
			lines.Buffer(nil, 1<<26)
			var block, sets, calls int
			var spent time.Duration
			for lines.Scan() {
				var call traced
				if err := json.Unmarshal(lines.Bytes(), &call); err != nil {
					t.Fatal(err)
				}
				switch call.Op {
				case "open":
					continue
				case "block":
					block = call.Block
					continue
				case "set":
					sets++
				}
				calls++
				began := time.Now()
				check, err := call.make(l)
				spent += time.Since(began)
				if err == nil {
					err = check()
				}
				if err != nil {
					t.Fatalf("block %d, call %d, %s: %v", block, calls, call.Op, err)
				}
			}
			if lines.Err() != nil || block == 0 || sets <= block {
				t.Fatalf("%d blocks, %d Sets, %v", block, sets, lines.Err())
			}
			totals.sets += sets
			t.Logf("%d blocks, %d calls, %v in them", block, calls, spent)
		})
	}
}

// make makes the call; what it returns compares the answer.
func (c traced) make(l ledger.Ledger) (check func() error, err error) {
	var state ledger.State
	copy(state[:], c.State)
	same := func(is bool) func() error {
		return func() error {
			if !is {
				return fmt.Errorf("another answer than the recorded one")
			}
			return nil
		}
	}
	keys := make([]ledger.Key, len(c.Keys))
	for i, key := range c.Keys {
		keys[i] = key.key()
	}
	switch c.Op {
	case "initial":
		return same(l.InitialState() == state), nil
	case "has":
		return same(fmt.Sprint(l.HasState(state)) == string(c.Result)), nil
	case "state_count":
		return same(fmt.Sprint(l.StateCount()) == string(c.Result)), nil
	case "state_by_index":
		found, err := l.StateByIndex(c.Index)
		return same(found == state && c.Error == ""), err
	case "get_single":
		query, err := ledger.NewQuerySingleValue(state, c.Key.key())
		if err != nil {
			return nil, err
		}
		value, err := l.GetSingleValue(query)
		return func() error { return same(c.Value.is(value))() }, err
	case "set":
		values := make([]ledger.Value, len(c.Values))
		for i, value := range c.Values {
			values[i] = ledger.Value(value)
		}
		update, err := ledger.NewUpdate(state, keys, values)
		if err != nil {
			return nil, err
		}
		next, trieUpdate, err := l.Set(update)
		return func() error {
			return same(bytes.Equal(next[:], c.NewState) &&
				c.TrieUpdate.is(ledger.EncodeTrieUpdate(trieUpdate)))()
		}, err
	case "prove":
		query, err := ledger.NewQuery(state, keys)
		if err != nil {
			return nil, err
		}
		proof, err := l.Prove(query)
		return func() error { return same(c.Proof.is(proof))() }, err
	}
	return nil, fmt.Errorf("a call that is not known")
}
