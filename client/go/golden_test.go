// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ledgerd_test

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

	ledgerd "ledgerd/client/go"
)

// step is a line of a script of flow-go's calls and answers.
type step struct {
	Op             string
	State          hexBytes
	NewState       hexBytes `json:"new_state"`
	Index          int64
	Result         json.RawMessage
	Key            parts
	Keys           []parts
	Value          blob
	Values         json.RawMessage
	Proof          blob
	Error          string
	Panic          string
	ForestCapacity int `json:"forest_capacity"`
	WALSegmentSize int `json:"wal_segment_size"`
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

type parts []struct {
	Type  uint16
	Value hexBytes
}

func (p parts) key() (ledgerd.Key, error) {
	var all []ledgerd.KeyPart
	for _, part := range p {
		all = append(all, ledgerd.KeyPart{Type: part.Type, Value: part.Value})
	}
	return ledgerd.NewKey(all...)
}

// blob is bytes, or their digest.
type blob struct {
	bytes  []byte
	digest hexBytes
	length int
}

func (b *blob) UnmarshalJSON(text []byte) error {
	if text[0] != '{' {
		return json.Unmarshal(text, (*hexBytes)(&b.bytes))
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

// flow-go's own output: the same calls have the same answers, byte for byte.
func TestGolden(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			file, err := os.Open(filepath.Join(golden, "scenario-small", "scenario.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			lines := bufio.NewScanner(file)
			lines.Buffer(nil, 1<<26)
			var c *ledgerd.Client
			number := 0
			for lines.Scan() {
				number++
				var s step
				if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
					t.Fatalf("line %d: %v", number, err)
				}
				if s.Op == "open" {
					server := startServer(t, append([]string{"--mtrie-cache-size", fmt.Sprint(s.ForestCapacity),
						"--wal-segment-size", fmt.Sprint(s.WALSegmentSize)}, way.flags...)...)
					c = connect(t, ledgerd.Options{Address: server.socket, Transport: way.transport,
						StoreViews: way.views})
					continue
				}
				if s.Panic != "" {
					continue // ledgerd answers that.
				}
				if err := s.run(c); err != nil {
					t.Errorf("line %d, %s: %v", number, s.Op, err)
				}
			}
			if number < 100 || lines.Err() != nil {
				t.Errorf("%d lines, %v", number, lines.Err())
			}
		})
	}
}

// run makes the call, and compares the answer.
func (s step) run(c *ledgerd.Client) error {
	var state ledgerd.State
	copy(state[:], s.State)
	keys := make([]ledgerd.Key, len(s.Keys))
	for i, p := range s.Keys {
		var err error
		if keys[i], err = p.key(); err != nil {
			return err
		}
	}
	var err error
	same := true
	switch s.Op {
	case "initial":
		var got ledgerd.State
		got, err = c.InitialState(background)
		same = got == state
	case "has":
		var got bool
		got, err = c.HasState(background, state)
		same = fmt.Sprint(got) == string(s.Result)
	case "state_count":
		var got uint64
		got, err = c.StateCount(background)
		same = fmt.Sprint(got) == string(s.Result)
	case "state_by_index":
		var got ledgerd.State
		got, err = c.StateByIndex(background, s.Index)
		same = got == state
	case "set":
		var values []hexBytes
		if err := json.Unmarshal(s.Values, &values); err != nil {
			return err
		}
		plain := make([][]byte, len(values))
		for i, value := range values {
			plain[i] = value
		}
		var got ledgerd.State
		got, err = c.Set(background, state, keys, plain)
		same = bytes.Equal(got[:], s.NewState)
	case "get":
		var got [][]byte
		got, err = c.Get(background, state, keys)
		var values []blob
		if s.Values != nil {
			if err := json.Unmarshal(s.Values, &values); err != nil {
				return err
			}
		}
		same = len(got) == len(values)
		for i := range got {
			same = same && values[i].is(got[i])
		}
	case "get_single":
		key, bad := s.Key.key()
		if bad != nil {
			return bad
		}
		var got []byte
		got, err = c.GetSingleValue(background, state, key)
		same = s.Value.is(got)
	case "prove":
		var got []byte
		got, err = c.Prove(background, state, keys)
		same = s.Proof.is(got)
	default:
		return fmt.Errorf("an operation that is not known")
	}
	if (err != nil) != (s.Error != "") {
		return fmt.Errorf("%v, but flow-go: %q", err, s.Error)
	}
	if err == nil && !same {
		return fmt.Errorf("another answer than flow-go's")
	}
	return nil
}
