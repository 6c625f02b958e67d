// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Client is a ledger in another process. It may be used by many goroutines at once.
type Client struct {
	options Options
	life    context.Context // Ends with Close.
	end     context.CancelFunc

	mutex      sync.Mutex
	current    *session    // Nil: the next call connects.
	connecting *connecting // Nil: nobody does.
	live       map[*session]struct{}

	running sync.WaitGroup // Goroutines of this client.
}

// connecting is one effort, which all calls that need a session wait for.
type connecting struct {
	done    chan struct{}
	session *session
	err     error
}

// SetID names a Set, so that the server does it once, however often it is sent.
type SetID [16]byte

// NewSetID is a random one.
func NewSetID() (id SetID) {
	rand.Read(id[:])
	return id
}

// Connect returns once the server has answered; it tries for Options.ConnectTimeout, or until the
// context ends. An *Error is the server's refusal, for versions without overlap, say.
func Connect(ctx context.Context, options Options) (*Client, error) {
	client, err := NewClient(options)
	if err != nil {
		return nil, err
	}
	if _, err := client.session(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// NewClient connects with its first call. It fails only on options that make no sense.
func NewClient(options Options) (*Client, error) {
	options, err := options.complete()
	if err != nil {
		return nil, fmt.Errorf("ledgerd: %w", err)
	}
	life, end := context.WithCancel(context.Background())
	return &Client{options: options, life: life, end: end, live: map[*session]struct{}{}}, nil
}

// Close ends the connection, and calls that have no answer yet with ErrClosed. Views stay readable
// until they are released. It may be called again.
func (c *Client) Close() error {
	c.end()
	c.mutex.Lock()
	c.current = nil
	live := slices.Collect(maps.Keys(c.live))
	c.mutex.Unlock()
	for _, s := range live {
		s.close()
	}
	c.running.Wait()
	return nil
}

// session is the current one, or the next.
func (c *Client) session(ctx context.Context) (*session, error) {
	c.mutex.Lock()
	if c.life.Err() != nil {
		c.mutex.Unlock()
		return nil, ErrClosed
	}
	if s := c.current; s != nil {
		if !s.codec.isLost() {
			c.mutex.Unlock()
			return s, nil
		}
		c.current = nil
	}
	effort := c.connecting
	if effort == nil {
		effort = &connecting{done: make(chan struct{})}
		c.connecting = effort
		c.running.Go(func() { c.connect(effort) })
	}
	c.mutex.Unlock()
	select {
	case <-effort.done:
		return effort.session, effort.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Client) connect(effort *connecting) {
	s, err := c.dialPatiently()
	c.mutex.Lock()
	if err == nil && c.life.Err() != nil {
		s.close()
		s, err = nil, ErrClosed
	}
	effort.session, effort.err = s, err
	c.current, c.connecting = s, nil
	if s != nil {
		c.live[s] = struct{}{}
		c.running.Go(func() { c.lookAfter(s) })
	}
	c.mutex.Unlock()
	close(effort.done)
}

// lookAfter ends with the session: when it is lost, or forgotten and without calls.
func (c *Client) lookAfter(s *session) {
	select {
	case <-s.codec.lost:
	case <-s.retired:
		s.drain()
	}
	s.close()
	c.forget(s)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	delete(c.live, s)
}

// dialPatiently tries again while that may help and there is time.
func (c *Client) dialPatiently() (*session, error) {
	deadline := time.Now().Add(c.options.ConnectTimeout)
	wait := c.options.Backoff.waits()
	for attempt := 1; ; attempt++ {
		s, err := c.dial()
		if err == nil {
			c.options.Logger.Info("connected to the ledger", "address", c.options.Address, "build",
				s.build, "sharedMemory", s.replies != nil)
			return s, nil
		}
		pause := wait()
		switch {
		case c.life.Err() != nil:
			return nil, ErrClosed
		case !mayPass(err):
			return nil, fmt.Errorf("ledgerd: the ledger at %s: %w", c.options.Address, err)
		case time.Now().Add(pause).After(deadline):
			return nil, fmt.Errorf("%w at %s (attempts: %d): %w", ErrDisconnected, c.options.Address,
				attempt, err)
		}
		c.options.Logger.Warn("cannot connect to the ledger", "address", c.options.Address, "error", err,
			"nextAttemptIn", pause)
		select {
		case <-time.After(pause):
		case <-c.life.Done():
			return nil, ErrClosed
		}
	}
}

func (c *Client) dial() (*session, error) {
	ctx, cancel := context.WithTimeout(c.life, c.options.HandshakeTimeout)
	defer cancel()
	s, err := openSession(ctx, c.options)
	if errors.Is(err, errHandOverUnreachable) && c.options.Transport == Auto {
		c.options.Logger.Warn("no shared memory with the ledger", "error", err)
		inline := c.options
		inline.Transport = Inline
		return openSession(ctx, inline)
	}
	return s, err
}

// mayPass: whether another attempt to connect may fare better.
func mayPass(err error) bool {
	var refused *Error
	if errors.As(err, &refused) {
		return refused.Code == Unavailable || refused.Code == ResourceExhausted
	}
	return !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrUnimplemented)
}

// forget: the next call makes a new session, and this one ends with the calls that it has.
func (c *Client) forget(s *session) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.current == s {
		c.current = nil
	}
	s.retireOnce.Do(func() { close(s.retired) })
}

// mayRetry: nothing is lost by sending the call again, over another connection. Reads change nothing,
// and a Set is known by its id.
func mayRetry(err error) bool {
	return errors.Is(err, ErrDisconnected) || errors.Is(err, ShuttingDown)
}

// limit gives a context the time limit that its caller did not.
func (c *Client) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has || c.options.CallTimeout < 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.options.CallTimeout)
}

// ask runs a call on the current session, and again on the next ones where that may help.
func ask[T any](ctx context.Context, c *Client, call func(context.Context, *session) (T, error)) (
	T, error) {
	ctx, cancel := c.limit(ctx)
	defer cancel()
	return askWithoutLimit(ctx, c, call)
}

func askWithoutLimit[T any](ctx context.Context, c *Client,
	call func(context.Context, *session) (T, error)) (T, error) {
	var none T
	wait := c.options.Backoff.waits()
	for attempt := 1; ; attempt++ {
		s, err := c.session(ctx)
		if err != nil {
			return none, err
		}
		result, err := call(ctx, s)
		switch {
		case err == nil:
			return result, nil
		case c.life.Err() != nil && errors.Is(err, ErrDisconnected):
			return none, ErrClosed
		case attempt >= c.options.Attempts || !mayRetry(err):
			return none, err
		}
		c.forget(s)
		c.options.Logger.Warn("the ledger did not answer a call, which is made again", "error", err)
		if attempt == 1 && errors.Is(err, ErrDisconnected) {
			continue // Connecting has waits of its own.
		}
		select {
		case <-time.After(wait()):
		case <-ctx.Done():
			return none, ctx.Err()
		case <-c.life.Done():
			return none, ErrClosed
		}
	}
}

// InitialState is the empty ledger's state, whether or not it is still there to be read.
func (c *Client) InitialState(ctx context.Context) (State, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (State, error) {
		return s.initialState(ctx)
	})
}

// HasState says whether a state can be read now.
func (c *Client) HasState(ctx context.Context, state State) (bool, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (bool, error) {
		return s.hasState(ctx, state)
	})
}

// GetSingleValue is one register's value: empty, and not nil, if it is not allocated. Refused:
// UnknownState, BadKey.
func (c *Client) GetSingleValue(ctx context.Context, state State, key Key) ([]byte, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) ([]byte, error) {
		view, err := s.registers.readRegister(ctx, state, key)
		if err != nil {
			return nil, err
		}
		return view.take()
	})
}

// ViewSingleValue is GetSingleValue without the copy. Release the view.
func (c *Client) ViewSingleValue(ctx context.Context, state State, key Key) (*View, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (*View, error) {
		return s.registers.readRegister(ctx, state, key)
	})
}

// Get is many registers' values, in the keys' order. No keys: no values, whatever the state. Refused:
// UnknownState, BadKey.
func (c *Client) Get(ctx context.Context, state State, keys []Key) ([][]byte, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) ([][]byte, error) {
		values, err := s.get(ctx, query{state, keys})
		if err != nil {
			return nil, err
		}
		return values.take()
	})
}

// ViewValues is Get without the copy. Release the values.
func (c *Client) ViewValues(ctx context.Context, state State, keys []Key) (*Values, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (*Values, error) {
		return s.get(ctx, query{state, keys})
	})
}

// Set applies an update to a state, and returns the new state once it is durable. There is one value
// for each key; an empty one, or nil, unallocates its register. Of a key that occurs more than once the
// last value counts. No keys: the given state. After a refusal nothing was changed: UnknownState,
// BadKey, BadRequest, TooLarge, OutOfMemory, WriteFailed, ReadOnlySession.
func (c *Client) Set(ctx context.Context, state State, keys []Key, values [][]byte) (State, error) {
	return c.SetWithID(ctx, NewSetID(), state, keys, values)
}

// SetWithID is Set with an id of the caller's choice, who can then send it again after an error. The
// same id with another update is refused: SetIDReused.
func (c *Client) SetWithID(ctx context.Context, id SetID, state State, keys []Key, values [][]byte) (
	State, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (State, error) {
		return s.set(ctx, set{state, keys, values, id})
	})
}

// Prove is flow-go's encoded batch proof of registers, present or absent: one proof for each key, in
// ascending order of path. No keys: a proof of nothing. Refused: UnknownState, BadKey, ProofTooDeep.
func (c *Client) Prove(ctx context.Context, state State, keys []Key) ([]byte, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) ([]byte, error) {
		view, err := s.prove(ctx, query{state, keys})
		if err != nil {
			return nil, err
		}
		return view.take()
	})
}

// ViewProof is Prove without the copy. Release the view. Verify a copy: the server can still write the
// memory under a view.
func (c *Client) ViewProof(ctx context.Context, state State, keys []Key) (*View, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (*View, error) {
		return s.prove(ctx, query{state, keys})
	})
}

// StateCount is how many states can be read now.
func (c *Client) StateCount(ctx context.Context) (uint64, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (uint64, error) {
		return s.stateCount(ctx)
	})
}

// StateByIndex is one of the states that can be read now: 0 is the oldest, -1 the newest. Refused:
// IndexOutOfRange.
func (c *Client) StateByIndex(ctx context.Context, index int64) (State, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (State, error) {
		return s.stateByIndex(ctx, index)
	})
}

// States are those that can be read now, oldest first.
func (c *Client) States(ctx context.Context) ([]State, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) ([]State, error) {
		return s.states(ctx)
	})
}

// Batch does many operations in one round trip. They are independent: none sees another's effect for
// certain. The results are in the operations' order. An error means that nothing is known of any.
func (c *Client) Batch(ctx context.Context, operations []Operation) ([]Result, error) {
	operations = slices.Clone(operations)
	for i, operation := range operations {
		set, is := operation.(SetOperation)
		if pointer, isPointer := operation.(*SetOperation); isPointer && pointer != nil {
			set, is = *pointer, true
		}
		if is {
			if set.ID == (SetID{}) {
				set.ID = NewSetID()
			}
			operations[i] = set
		}
	}
	return ask(ctx, c, func(ctx context.Context, s *session) ([]Result, error) {
		return s.batch(ctx, operations)
	})
}

// Info is what the server is, and how it is doing.
func (c *Client) Info(ctx context.Context) (Info, error) {
	return ask(ctx, c, func(ctx context.Context, s *session) (Info, error) { return s.info(ctx) })
}

// Checkpoint writes a checkpoint of all that was acknowledged by now, and returns its number once it is
// on disk. That may take as long as writing and reading all states: only the context limits it. Its end
// ends the waiting, not the writing.
func (c *Client) Checkpoint(ctx context.Context) (uint32, error) {
	return askWithoutLimit(ctx, c, func(ctx context.Context, s *session) (uint32, error) {
		return s.checkpoint(ctx)
	})
}
