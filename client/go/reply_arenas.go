// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"sync"
	"time"
)

// replyArenas are the server's arenas, mapped read-only, each once. Mapping one costs round trips and
// its pages' first touch, so a mapping is kept while results use it and for some time after. Not
// longer: while it is mapped here the server cannot give the arena's memory back.
type replyArenas struct {
	open func(ctx context.Context, id uint32) (*mapping, error)
	idle time.Duration
	life context.Context // Ends with close.
	end  context.CancelFunc

	mutex    sync.Mutex
	entries  map[uint32]*replyArena
	sweeping *time.Timer // Runs while there are entries.
	closed   bool
}

type replyArena struct {
	done     chan struct{} // Closed once it is mapped, or cannot be.
	mapping  *mapping
	err      error
	lastUsed time.Time
}

// However short the idle time is: the sweep must not keep a processor busy.
const minSweepInterval = 100 * time.Millisecond

// openTimeout bounds what no caller's context does: several may wait for one arena.
const openTimeout = 30 * time.Second

func newReplyArenas(idle time.Duration,
	open func(ctx context.Context, id uint32) (*mapping, error)) *replyArenas {
	life, end := context.WithCancel(context.Background())
	return &replyArenas{open: open, idle: idle, life: life, end: end, entries: map[uint32]*replyArena{}}
}

// get returns a reference of the caller's own.
func (r *replyArenas) get(ctx context.Context, id uint32) (*mapping, error) {
	r.mutex.Lock()
	entry := r.entries[id]
	switch {
	case r.closed:
		r.mutex.Unlock()
		return nil, ErrDisconnected
	case entry == nil && len(r.entries) == mostArenas:
		r.mutex.Unlock()
		return nil, protocolError("the server's replies name more than %d arenas", mostArenas)
	case entry == nil:
		entry = &replyArena{done: make(chan struct{})}
		r.entries[id] = entry
		go r.fill(id, entry)
		if r.sweeping == nil {
			r.sweeping = time.AfterFunc(r.interval(), r.sweep)
		}
	}
	// Before anything else: the sweep must not come between.
	if entry.mapping != nil {
		defer r.mutex.Unlock()
		entry.lastUsed = time.Now()
		return entry.mapping.addRef(), nil
	}
	r.mutex.Unlock()

	select {
	case <-entry.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if entry.err != nil {
		return nil, entry.err
	}
	return r.get(ctx, id)
}

func (r *replyArenas) fill(id uint32, entry *replyArena) {
	ctx, cancel := context.WithTimeout(r.life, openTimeout)
	defer cancel()
	mapped, err := r.open(ctx, id)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.closed {
		if err == nil {
			mapped.release()
		}
		err = ErrDisconnected
	}
	if err != nil {
		// A later reply may try again.
		entry.err = err
		delete(r.entries, id)
	} else {
		entry.mapping, entry.lastUsed = mapped, time.Now()
	}
	close(entry.done)
}

func (r *replyArenas) interval() time.Duration { return max(r.idle, minSweepInterval) }

func (r *replyArenas) sweep() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.sweeping = nil
	if r.closed {
		return
	}
	now := time.Now()
	for id, entry := range r.entries {
		switch {
		case entry.mapping == nil: // It is being mapped.
		case entry.mapping.isShared():
			entry.lastUsed = now
		case now.Sub(entry.lastUsed) >= r.idle:
			entry.mapping.release()
			delete(r.entries, id)
		}
	}
	if len(r.entries) > 0 {
		r.sweeping = time.AfterFunc(r.interval(), r.sweep)
	}
}

// close undoes the mappings that no result uses; the others go with their results.
func (r *replyArenas) close() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.closed = true
	r.end()
	if r.sweeping != nil {
		r.sweeping.Stop()
	}
	for _, entry := range r.entries {
		if entry.mapping != nil {
			entry.mapping.release()
		}
	}
	clear(r.entries)
}
