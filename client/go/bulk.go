// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"encoding/binary"
	"slices"

	"capnproto.org/go/capnp/v3"

	"ledgerd/client/go/internal/schema"
)

const (
	leaseBytes = 8
	mostArenas = 4096 // Of one table: more than a server needs, whose store lies in hundreds of segments.
)

// span is a place in an arena, as a reply names it.
type span struct {
	arena          uint32
	offset, length uint64
}

// receive makes a reply's payload readable. The message may be released afterwards.
func (s *session) receive(ctx context.Context, bulk schema.Bulk, err error) (received, error) {
	if err != nil {
		return received{}, protocolError("a payload that cannot be read: %w", err)
	}
	switch bulk.Which() {
	case schema.Bulk_Which_inline:
		return s.receiveInline(bulk)
	case schema.Bulk_Which_span:
		return s.receiveSpan(ctx, bulk.Span())
	case schema.Bulk_Which_table:
		return s.receiveTable(ctx, bulk.Table())
	}
	return received{}, protocolError("a payload of a form that is not known here, %d", bulk.Which())
}

func (s *session) checkLength(length uint64) error {
	if length > s.maxPayload {
		return protocolError("a payload of %d bytes; the limit is %d", length, s.maxPayload)
	}
	return nil
}

func (s *session) receiveInline(bulk schema.Bulk) (received, error) {
	list, err := bulk.Inline()
	if err != nil {
		return received{}, protocolError("a payload that cannot be read: %w", err)
	}
	most := func(length uint64) uint64 { return schema.ShortChunks + length/schema.MinChunkBytes }
	// Before any of them is looked at: that costs more than the chunk's place in the message.
	count := uint64(list.Len())
	if count > most(s.maxPayload) {
		return received{}, protocolError("a payload in %d chunks", count)
	}
	var length uint64
	chunks := make([][]byte, count)
	for i := range chunks {
		if chunks[i], err = list.At(i); err != nil {
			return received{}, protocolError("a payload that cannot be read: %w", err)
		}
		length += uint64(len(chunks[i]))
	}
	if err := s.checkLength(length); err != nil {
		return received{}, err
	}
	if count > most(length) {
		return received{}, protocolError("a payload of %d bytes in %d chunks", length, count)
	}
	whole := make([]byte, 0, length)
	for _, chunk := range chunks {
		whole = append(whole, chunk...)
	}
	return received{pieces: [][]byte{whole}}, nil
}

func (s *session) receiveSpan(ctx context.Context, from schema.Bulk_span) (received, error) {
	if s.replies == nil || !from.HasRegion() {
		return received{}, protocolError("a span without a region, or that was not agreed on")
	}
	if err := s.checkLength(from.Length()); err != nil {
		return received{}, err
	}
	at := span{from.Arena(), from.Offset(), from.Length()}
	arena, err := s.replies.get(ctx, at.arena)
	if err != nil {
		return received{}, err
	}
	bytes, err := arena.slice(at)
	if err != nil {
		arena.release()
		return received{}, err
	}
	populate(arena.bytes, at.offset, at.length)
	return received{[][]byte{bytes}, &hold{region: from.Region().AddRef(),
		mappings: []*mapping{arena}}}, nil
}

func (s *session) receiveTable(ctx context.Context, from schema.Bulk_table) (got received, err error) {
	if s.replies == nil || !from.HasRegion() || s.features&schema.FeatureTables == 0 {
		return received{}, protocolError("a table without a region, or that was not agreed on")
	}
	if err := s.checkLength(from.Length()); err != nil {
		return received{}, err
	}
	at := span{from.Arena(), from.Offset(), uint64(from.Count()) * uint64(schema.TableEntryBytes)}
	if err := s.checkLength(at.length); err != nil {
		return received{}, err
	}
	arenas := map[uint32]*mapping{}
	kept := &hold{region: from.Region().AddRef()}
	defer func() {
		if err != nil {
			kept.release()
		}
	}()
	open := func(id uint32) (*mapping, error) {
		if arena := arenas[id]; arena != nil {
			return arena, nil
		}
		if len(arenas) == mostArenas {
			return nil, protocolError("a table with more than %d arenas", mostArenas)
		}
		arena, err := s.replies.get(ctx, id)
		if err == nil {
			arenas[id] = arena
			kept.mappings = append(kept.mappings, arena)
		}
		return arena, err
	}

	arena, err := open(at.arena)
	if err != nil {
		return received{}, err
	}
	entries, err := arena.slice(at)
	if err != nil {
		return received{}, err
	}
	// A copy of our own: what is checked is what is used.
	spans, err := parseTable(slices.Clone(entries), from.Length())
	if err != nil {
		return received{}, err
	}
	got = received{make([][]byte, len(spans)), kept}
	for i, piece := range spans {
		if arena, err = open(piece.arena); err != nil {
			return received{}, err
		}
		if got.pieces[i], err = arena.slice(piece); err != nil {
			return received{}, err
		}
	}
	if from.LeaseValue() != 0 {
		place := span{from.LeaseArena(), from.Lease(), leaseBytes}
		if place.offset%leaseBytes != 0 {
			return received{}, protocolError("a lease at %d", place.offset)
		}
		if arena, err = open(place.arena); err != nil {
			return received{}, err
		}
		if kept.lease, err = arena.word(place); err != nil {
			return received{}, err
		}
		kept.leaseValue = from.LeaseValue()
	}
	return got, nil
}

// parseTable checks a table whose spans make a payload of `length` bytes.
func parseTable(table []byte, length uint64) ([]span, error) {
	spans := make([]span, 0, len(table)/int(schema.TableEntryBytes))
	left := length
	for ; len(table) > 0; table = table[schema.TableEntryBytes:] {
		at := span{binary.LittleEndian.Uint32(table), binary.LittleEndian.Uint64(table[8:]),
			binary.LittleEndian.Uint64(table[16:])}
		if zero := binary.LittleEndian.Uint32(table[4:]); zero != 0 {
			return nil, protocolError("span %d of a table has %d as its second number", len(spans), zero)
		}
		if at.length > left {
			return nil, protocolError("span %d of a table has %d bytes; %d of the payload are left",
				len(spans), at.length, left)
		}
		left -= at.length
		spans = append(spans, at)
	}
	if left != 0 {
		return nil, protocolError("a table's spans are %d bytes short of the payload", left)
	}
	return spans, nil
}

// payloads writes the payloads of one request, one behind the other: to shared memory if there is room
// for them, else to the message.
type payloads struct {
	room *room // Nil: to the message.
	used uint64
}

func (p *payloads) write(bulk schema.Bulk, err error, length uint64, fill func([]byte)) error {
	if err != nil {
		return err
	}
	if p.room != nil {
		fill(p.room.bytes[p.used : p.used+length])
		bulk.SetSpan()
		at := bulk.Span()
		at.SetArena(p.room.arena)
		at.SetOffset(p.used)
		at.SetLength(length)
		p.used += length
		return at.SetRegion(p.room.region.AddRef())
	}
	count := (length + schema.InlineChunkBytes - 1) / schema.InlineChunkBytes
	list, err := bulk.NewInline(int32(count))
	if err != nil {
		return err
	}
	if count == 1 {
		chunk, err := newChunk(list, 0, length)
		if err != nil {
			return err
		}
		fill(chunk)
		return nil
	}
	whole := make([]byte, length)
	fill(whole)
	for i := range int(count) {
		chunk, err := newChunk(list, i, min(schema.InlineChunkBytes, uint64(len(whole))))
		if err != nil {
			return err
		}
		whole = whole[copy(chunk, whole):]
	}
	return nil
}

func newChunk(list capnp.DataList, index int, length uint64) ([]byte, error) {
	bytes, err := capnp.NewUInt8List(list.Segment(), int32(length))
	if err != nil {
		return nil, err
	}
	if err := capnp.PointerList(list).Set(index, bytes.ToPtr()); err != nil {
		return nil, err
	}
	return bytes.ToPtr().Data(), nil
}

// writeList writes a packed list. No list is empty: the head is always there.
func writeList[T ~[]byte](p *payloads, bulk schema.Bulk, err error, items []T) error {
	return p.write(bulk, err, packedSize(items), func(to []byte) { writePacked(to, items) })
}
