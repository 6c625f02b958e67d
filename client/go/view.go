// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"unsafe"

	"ledgerd/client/go/internal/schema"
)

// View is bytes of an answer, perhaps in memory that the server shares. As long as it is held the
// server keeps that memory for it: Release views, or the server runs out of it.
//
// A View may be read by many goroutines at once, and outlives its client.
type View struct {
	bytes []byte
	hold  *hold // Nil: the bytes are on the heap.
}

// Bytes are valid until Release, and may not be changed. Copy what must stay.
func (v *View) Bytes() []byte { return v.bytes }

// Copy is the caller's own. ErrDisconnected: the server took its memory back, which it may do only
// where Intact says so.
func (v *View) Copy() ([]byte, error) {
	copied := append(make([]byte, 0, len(v.bytes)), v.bytes...)
	return copied, v.hold.check()
}

// Intact says whether what was read of the bytes by now is what the server sent. It always is, unless
// Options.StoreViews lets results lie in the server's store, and the connection was lost, or the view
// released: then read first and ask afterwards.
func (v *View) Intact() bool { return v.hold.check() == nil }

// Release gives the memory back. The bytes must not be looked at any more. It may be called again.
func (v *View) Release() { v.hold.release() }

// Values are the answers to a Get, in the order of its keys. What is said of a View holds for them.
type Values struct {
	items [][]byte
	hold  *hold
}

func (v *Values) Len() int { return len(v.items) }

// At is a value: empty if the register is not allocated. As View.Bytes.
func (v *Values) At(index int) []byte { return v.items[index] }

// Copy is the caller's own: as View.Copy. The values share one block of memory.
func (v *Values) Copy() ([][]byte, error) {
	size := 0
	for _, item := range v.items {
		size += len(item)
	}
	block := make([]byte, 0, size)
	items := make([][]byte, len(v.items))
	for i, item := range v.items {
		begin := len(block)
		block = append(block, item...)
		items[i] = block[begin:len(block):len(block)]
	}
	return items, v.hold.check()
}

// Intact is as View.Intact.
func (v *Values) Intact() bool { return v.hold.check() == nil }

// Release is as View.Release.
func (v *Values) Release() { v.hold.release() }

// take returns the view's bytes as the caller's own, and releases it.
func (v *View) take() ([]byte, error) {
	if v.hold == nil {
		return v.bytes, nil
	}
	defer v.Release()
	return v.Copy()
}

func (v *Values) take() ([][]byte, error) {
	if v.hold == nil {
		return v.items, nil
	}
	defer v.Release()
	return v.Copy()
}

// received is a payload: its pieces follow each other. No bytes: no pieces, perhaps.
type received struct {
	pieces [][]byte
	hold   *hold
}

func (r received) view() (*View, error) {
	if len(r.pieces) == 1 {
		return &View{r.pieces[0], r.hold}, nil
	}
	defer r.hold.release()
	whole := bytes.Join(r.pieces, nil)
	if err := r.hold.check(); err != nil {
		return nil, err
	}
	return &View{bytes: whole}, nil
}

func (r received) values(count int) (*Values, error) {
	items, err := parsePacked(r.pieces, count)
	if err != nil {
		// What was read may have been anything, if it is no longer what was sent.
		if lost := r.hold.check(); lost != nil {
			err = lost
		}
		r.hold.release()
		return nil, err
	}
	return &Values{items, r.hold}, nil
}

// hold keeps a region with the server, and the arenas that it lies in mapped.
type hold struct {
	region   schema.Region
	mappings []*mapping
	released atomic.Bool

	lease      *uint64 // In one of the mappings. Nil: the bytes never change.
	leaseValue uint64
	fence      atomic.Uint32
}

func (h *hold) release() {
	if h == nil || h.released.Swap(true) {
		return
	}
	// In this order: once the region is back the server may want to free the arena.
	for _, m := range h.mappings {
		m.release()
	}
	h.region.Release()
}

func (h *hold) check() error {
	if h == nil || h.lease == nil {
		return nil
	}
	// Everything that was read before is read before the lease is: an atomic load alone would only
	// order what comes after it.
	h.fence.Add(1)
	if h.released.Load() || atomic.LoadUint64(h.lease) != h.leaseValue {
		return fmt.Errorf("%w: the server took back the memory of a value", ErrDisconnected)
	}
	return nil
}

// mapping is an arena of the server, mapped read-only until its last reference is released.
type mapping struct {
	bytes      []byte
	references atomic.Int32
}

func newMapping(bytes []byte) *mapping {
	m := &mapping{bytes: bytes}
	m.references.Store(1)
	return m
}

func (m *mapping) addRef() *mapping {
	m.references.Add(1)
	return m
}

func (m *mapping) release() {
	if m.references.Add(-1) == 0 {
		unmap(m.bytes)
		m.bytes = nil
	}
}

// isShared: by others than the one who asks.
func (m *mapping) isShared() bool { return m.references.Load() > 1 }

// slice checks what a reply says lies in the arena.
func (m *mapping) slice(s span) ([]byte, error) {
	size := uint64(len(m.bytes))
	if s.offset > size || s.length > size-s.offset {
		return nil, protocolError("%d bytes at %d of arena %d, which has %d", s.length, s.offset, s.arena,
			size)
	}
	return m.bytes[s.offset : s.offset+s.length : s.offset+s.length], nil
}

// word is a number that the server may change, at a multiple of its length.
func (m *mapping) word(s span) (*uint64, error) {
	at, err := m.slice(s)
	if err != nil {
		return nil, err
	}
	return (*uint64)(unsafe.Pointer(unsafe.SliceData(at))), nil
}
