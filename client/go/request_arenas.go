// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"log/slog"
	"sync"

	"ledgerd/client/go/internal/schema"
)

// requestArenas are memfds that this process writes and the server reads. A request that does not fit
// inline has one to itself until the server drops the request's region. They are registered once and
// used again; some memory is kept idle for that, since the first touch of a page costs far more than
// copying to it.
type requestArenas struct {
	register func(context.Context, *sharedMemory) (uint32, schema.Registration, error)
	limits   requestArenaLimits
	logger   *slog.Logger

	mutex  sync.Mutex
	arenas []*requestArena
	bytes  uint64 // Of all, and of those that are being made.
	count  uint32
	closed bool
}

type requestArenaLimits struct {
	count     uint32 // Arenas at a time, busy ones included.
	bytes     uint64 // Their lengths together.
	idleBytes uint64 // Of these, kept while nothing is in flight.
}

type requestArena struct {
	memory       *sharedMemory
	id           uint32
	registration schema.Registration
	busy         bool
}

// room is an arena that a request may fill.
type room struct {
	arena  uint32
	bytes  []byte
	region schema.Region
}

// release lets go of a room; it is nil if there was none. Messages may still hold its region.
func (r *room) release() {
	if r != nil {
		r.region.Release()
	}
}

// lentArena is the region that rides in a request.
type lentArena struct {
	arenas *requestArenas
	arena  *requestArena
}

// Shutdown is called when nobody holds the region any more.
func (l *lentArena) Shutdown() { l.arenas.giveBack(l.arena) }

const arenaGranule = 1 << 20

// arenaCapacity is a quarter more than asked for, so that the next request of about this size fits.
func arenaCapacity(bytes uint64) uint64 {
	return (bytes + bytes/4 + arenaGranule - 1) / arenaGranule * arenaGranule
}

// take returns room for so many bytes, or nil: over the limits, or refused by the kernel or the server.
func (r *requestArenas) take(ctx context.Context, bytes uint64) *room {
	capacity := arenaCapacity(bytes)
	r.mutex.Lock()
	if arena := r.findIdle(bytes); arena != nil {
		arena.busy = true
		r.mutex.Unlock()
		return r.lend(arena)
	}
	// Idle ones are too small: their memory is better spent on the new one.
	r.trimIdle(0)
	if r.closed || r.count >= r.limits.count || r.bytes > r.limits.bytes ||
		capacity > r.limits.bytes-r.bytes {
		r.mutex.Unlock()
		return nil
	}
	r.count++
	r.bytes += capacity
	r.mutex.Unlock()

	arena, err := r.make(ctx, capacity)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if err != nil {
		r.count--
		r.bytes -= capacity
		r.logger.Warn("no shared memory for a request: it goes inline", "bytes", capacity, "error", err)
		return nil
	}
	r.arenas = append(r.arenas, arena)
	return r.lend(arena)
}

func (r *requestArenas) make(ctx context.Context, capacity uint64) (*requestArena, error) {
	memory, err := newSharedMemory(capacity)
	if err != nil {
		return nil, err
	}
	id, registration, err := r.register(ctx, memory)
	if err != nil {
		memory.close()
		return nil, err
	}
	return &requestArena{memory, id, registration, true}, nil
}

func (r *requestArenas) lend(arena *requestArena) *room {
	region := schema.Region_ServerToClient(&lentArena{r, arena})
	return &room{arena.id, arena.memory.bytes, region}
}

func (r *requestArenas) giveBack(arena *requestArena) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	arena.busy = false
	if r.closed {
		r.trimIdle(0)
	} else {
		r.trimIdle(r.limits.idleBytes)
	}
}

// findIdle returns the smallest one that is large enough.
func (r *requestArenas) findIdle(bytes uint64) *requestArena {
	var best *requestArena
	for _, arena := range r.arenas {
		size := uint64(len(arena.memory.bytes))
		if !arena.busy && size >= bytes && (best == nil || size < uint64(len(best.memory.bytes))) {
			best = arena
		}
	}
	return best
}

// trimIdle drops idle arenas, the largest first, until at most so many bytes of them are left.
func (r *requestArenas) trimIdle(bytes uint64) {
	for {
		idle, largest := uint64(0), -1
		for i, arena := range r.arenas {
			if arena.busy {
				continue
			}
			idle += uint64(len(arena.memory.bytes))
			if largest < 0 || len(arena.memory.bytes) > len(r.arenas[largest].memory.bytes) {
				largest = i
			}
		}
		if idle <= bytes {
			return
		}
		arena := r.arenas[largest]
		last := len(r.arenas) - 1
		r.arenas[largest], r.arenas[last] = r.arenas[last], nil
		r.arenas = r.arenas[:last]
		r.count--
		r.bytes -= uint64(len(arena.memory.bytes))
		arena.registration.Release()
		arena.memory.close()
	}
}

// close frees what no request uses; the rest goes as the requests end.
func (r *requestArenas) close() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.closed = true
	r.trimIdle(0)
}
