// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"encoding/binary"

	"ledgerd/client/go/internal/schema"
)

// Packed lists: several byte strings in one payload (docs/formats.md).
const (
	listHeadBytes   = 8 // Count and zero.
	listLengthBytes = 4
)

// packedSize is the length of a packed list of these items. There is no overflow: they are in memory.
func packedSize[T ~[]byte](items []T) uint64 {
	size := uint64(listHeadBytes) + listLengthBytes*uint64(len(items))
	for _, item := range items {
		size += uint64(len(item))
	}
	return size
}

// writePacked fills `to`, which is packedSize(items) long.
func writePacked[T ~[]byte](to []byte, items []T) {
	binary.LittleEndian.PutUint32(to, uint32(len(items)))
	binary.LittleEndian.PutUint32(to[4:], 0)
	lengths, rest := to[listHeadBytes:], to[listHeadBytes+listLengthBytes*len(items):]
	for i, item := range items {
		binary.LittleEndian.PutUint32(lengths[i*listLengthBytes:], uint32(len(item)))
		rest = rest[copy(rest, item):]
	}
}

// refuseItems: what no server would take.
func refuseItems[T ~[]byte](what string, items []T) error {
	if uint64(len(items)) > 1<<32-1 {
		return refusal(ResourceExhausted, TooLarge, "%d %ss do not fit into a request", len(items), what)
	}
	for i, item := range items {
		if uint64(len(item)) > schema.MaxItemBytes {
			return refusal(ResourceExhausted, TooLarge, "%s %d has %d bytes; the limit is %d", what, i,
				len(item), schema.MaxItemBytes)
		}
	}
	return nil
}

// parsePacked finds the items of a list that lies in pieces, none of them across two. The server may
// still write to the pieces: each number is read once.
func parsePacked(pieces [][]byte, count int) ([][]byte, error) {
	var rest []byte
	if len(pieces) > 0 {
		rest, pieces = pieces[0], pieces[1:]
	}
	if len(rest) < listHeadBytes {
		return nil, protocolError("a list of values whose first piece has %d bytes", len(rest))
	}
	found, zero := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[4:])
	if zero != 0 {
		return nil, protocolError("a list of values whose second number is %d", zero)
	}
	if uint64(found) != uint64(count) {
		return nil, protocolError("%d values for %d keys", found, count)
	}
	rest = rest[listHeadBytes:]
	if count > len(rest)/listLengthBytes {
		return nil, protocolError("a list of %d values that is shorter than their lengths", count)
	}
	lengths := rest[:count*listLengthBytes]
	rest = rest[len(lengths):]

	items := make([][]byte, count)
	for i := range items {
		length := binary.LittleEndian.Uint32(lengths[i*listLengthBytes:])
		// An empty item belongs to no piece in particular.
		for length > 0 && len(rest) == 0 && len(pieces) > 0 {
			rest, pieces = pieces[0], pieces[1:]
		}
		if uint64(length) > uint64(len(rest)) {
			return nil, protocolError("value %d has %d bytes; %d bytes of its piece are left", i, length,
				len(rest))
		}
		items[i] = rest[:length:length]
		rest = rest[length:]
	}
	left := len(rest)
	for _, piece := range pieces {
		left += len(piece)
	}
	if left != 0 {
		return nil, protocolError("%d bytes follow a list of values", left)
	}
	return items, nil
}
