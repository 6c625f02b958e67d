// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
)

// StateBytes is the length of a state.
const StateBytes = 32

// State is the root hash of a trie. flow-go's ledger.State converts to it and back.
type State [StateBytes]byte

func (s State) String() string { return hex.EncodeToString(s[:]) }

// ParseState reads what String writes.
func ParseState(text string) (State, error) {
	var state State
	if len(text) != hex.EncodedLen(StateBytes) {
		return state, fmt.Errorf("a state has %d hexadecimal digits, not %d", 2*StateBytes, len(text))
	}
	_, err := hex.Decode(state[:], []byte(text))
	return state, err
}

// Key is a register's name, in flow-go's encoding without its version and type:
//
//	key  = u16 count, the parts
//	part = u32 length of type and value, u16 type, value      all numbers big-endian
type Key []byte

// KeyPart is a part of a key. Flow's registers have type 0 for the owner and 2 for the key within it.
type KeyPart struct {
	Type  uint16
	Value []byte
}

const (
	ownerPart = 0
	namePart  = 2

	keyCountBytes = 2
	partHeadBytes = 6
)

// NewKey fails only on more parts, or longer ones, than the encoding has numbers for.
func NewKey(parts ...KeyPart) (Key, error) {
	if len(parts) > math.MaxUint16 {
		return nil, refusal(InvalidArgument, BadKey, "a key of %d parts; there may be %d", len(parts),
			math.MaxUint16)
	}
	for i, part := range parts {
		if uint64(len(part.Value)) > math.MaxUint32-2 {
			return nil, refusal(InvalidArgument, BadKey, "part %d of a key has %d bytes", i,
				len(part.Value))
		}
	}
	return appendKey(parts), nil
}

// RegisterKey is the key of one of Flow's registers. The owner is an address of eight bytes, or empty.
// An owner or a name of 4 GiB or more panics.
func RegisterKey(owner, name []byte) Key {
	key, err := NewKey(KeyPart{ownerPart, owner}, KeyPart{namePart, name})
	if err != nil {
		panic(err)
	}
	return key
}

func appendKey(parts []KeyPart) Key {
	size := keyCountBytes
	for _, part := range parts {
		size += partHeadBytes + len(part.Value)
	}
	key := make(Key, 0, size)
	key = binary.BigEndian.AppendUint16(key, uint16(len(parts)))
	for _, part := range parts {
		key = binary.BigEndian.AppendUint32(key, uint32(2+len(part.Value)))
		key = binary.BigEndian.AppendUint16(key, part.Type)
		key = append(key, part.Value...)
	}
	return key
}
