// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Transport is the way that large payloads take.
type Transport int

const (
	Auto         Transport = iota // Shared memory if it can be had.
	SharedMemory                  // Shared memory, or no connection.
	Inline                        // Everything in messages.
)

// Options say how to connect. The zero value of each but Address is a sensible one.
type Options struct {
	// Address of the server's socket: a path, or "@" and an abstract name; "unix:" before a path and
	// "unix-abstract:" before a name are understood, too.
	Address string

	// Name of the program, for the server's log. Empty: that of its file.
	Name string

	Transport Transport

	// HandOverSocket is the path of the server's hand-over socket, where this process sees it at another
	// path than the server does. Empty: what the server says.
	HandOverSocket string

	// StoreViews lets the server answer with values where they lie in its store, if it lets this user:
	// nothing is copied there, but a View of them is good only as long as it is Intact. Results that are
	// copies are always good.
	StoreViews bool

	// MaxPayloadBytes of a request or a reply; it also bounds the messages that are taken. 0: 1 GiB.
	MaxPayloadBytes uint64

	// CallTimeout for calls whose context has no deadline, connecting included. 0: a minute. Negative:
	// none.
	CallTimeout time.Duration

	// Attempts to get one call answered, where a connection is lost or the server shuts down in
	// between: 1 is none but the first. 0: 3.
	Attempts int

	ConnectTimeout   time.Duration // Over all attempts to connect. 0: 30 s. Negative: one attempt.
	HandshakeTimeout time.Duration // One attempt. 0: 10 s.
	Backoff          Backoff       // Between attempts.

	// MappingIdle is how long an arena of the server that no view uses stays mapped. 0: 5 s.
	MappingIdle time.Duration

	// Memory for requests that are too large to go inline: in flight, and kept for the next ones.
	RequestArenaBytes     uint64 // 0: 4 GiB.
	IdleRequestArenaBytes uint64 // 0: 256 MiB.

	// Logger for what no error tells: connections, and why memory is not shared. Nil: nothing is logged.
	Logger *slog.Logger
}

// Backoff is how long to wait before the next attempt: each time half as long again, spread at random,
// so that the clients of a restarted server do not all come back at once.
type Backoff struct {
	First time.Duration // 0: 100 ms.
	Most  time.Duration // 0: 30 s.
}

const (
	backoffFactor = 1.5
	backoffJitter = 0.2 // A wait is spread over [1 - jitter, 1 + jitter].
)

// waits returns a function that gives the next wait.
func (b Backoff) waits() func() time.Duration {
	middle := b.First
	return func() time.Duration {
		wait := time.Duration(float64(middle) * (1 - backoffJitter + 2*backoffJitter*rand.Float64()))
		middle = min(b.Most, time.Duration(float64(middle)*backoffFactor))
		return min(wait, b.Most)
	}
}

func setDefault[T comparable](value *T, standard T) {
	var zero T
	if *value == zero {
		*value = standard
	}
}

// complete fills in the defaults.
func (o Options) complete() (Options, error) {
	switch {
	case o.Address == "":
		return o, fmt.Errorf("the address of the ledger is empty")
	case o.Transport < Auto || o.Transport > Inline:
		return o, fmt.Errorf("no such transport: %d", o.Transport)
	case o.Attempts < 0 || o.HandshakeTimeout < 0 || o.Backoff.First < 0 || o.Backoff.Most < 0 ||
		o.MappingIdle < 0:
		return o, fmt.Errorf("numbers and times may not be negative: %+v", o)
	}
	if path, found := strings.CutPrefix(o.Address, "unix-abstract:"); found {
		o.Address = "@" + path
	} else if path, found := strings.CutPrefix(o.Address, "unix:"); found {
		// As in a URL: unix:///run/socket.
		o.Address = strings.TrimPrefix(path, "//")
	}
	setDefault(&o.Name, filepath.Base(os.Args[0]))
	setDefault(&o.MaxPayloadBytes, 1<<30)
	setDefault(&o.CallTimeout, time.Minute)
	setDefault(&o.Attempts, 3)
	setDefault(&o.ConnectTimeout, 30*time.Second)
	setDefault(&o.HandshakeTimeout, 10*time.Second)
	setDefault(&o.Backoff.First, 100*time.Millisecond)
	setDefault(&o.Backoff.Most, 30*time.Second)
	setDefault(&o.MappingIdle, 5*time.Second)
	setDefault(&o.RequestArenaBytes, 4<<30)
	setDefault(&o.IdleRequestArenaBytes, 256<<20)
	setDefault(&o.Logger, slog.New(slog.DiscardHandler))
	// More could not be said in a message's length.
	o.MaxPayloadBytes = min(o.MaxPayloadBytes, 1<<40)
	return o, nil
}
