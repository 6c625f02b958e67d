// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ledgerd_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	ledgerd "ledgerd/client/go"
)

var background = context.Background()

// ways are those that payloads can take: everything that is larger than a few bytes through shared
// memory, or nothing.
var ways = []struct {
	name      string
	flags     []string
	transport ledgerd.Transport
	views     bool
}{
	{"inline", nil, ledgerd.Inline, false},
	{"shared", []string{"--inline-threshold", "0"}, ledgerd.SharedMemory, false},
	{"store", []string{"--inline-threshold", "0"}, ledgerd.SharedMemory, true},
}

func eachWay(t *testing.T, test func(t *testing.T, s *server, options ledgerd.Options)) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			s := startServer(t, way.flags...)
			test(t, s, ledgerd.Options{Address: s.socket, Transport: way.transport,
				StoreViews: way.views})
		})
	}
}

func TestOperations(t *testing.T) {
	eachWay(t, func(t *testing.T, s *server, options ledgerd.Options) {
		c := connect(t, options)
		empty := must[ledgerd.State](t)(c.InitialState(background))
		if text := empty.String(); text !=
			"568f4ec740fe3b5de88034cb7b1fbddb41548b068f31aebc8ae9189e429c5749" {
			t.Errorf("the initial state is %s", text)
		}
		keys, values := registers(300, 1000)
		values[7] = nil
		state := must[ledgerd.State](t)(c.Set(background, empty, keys, values))

		if !must[bool](t)(c.HasState(background, state)) ||
			must[bool](t)(c.HasState(background, ledgerd.State{1})) {
			t.Error("HasState")
		}
		absent := ledgerd.RegisterKey(nil, []byte("absent"))
		got := must[[][]byte](t)(c.Get(background, state, append(keys, absent, keys[3])))
		values[7] = []byte{}
		for i, want := range append(values, []byte{}, values[3]) {
			if got[i] == nil || !bytes.Equal(got[i], want) {
				t.Errorf("value %d is %q", i, got[i])
			}
		}
		for _, i := range []int{0, 7, 299} {
			one := must[[]byte](t)(c.GetSingleValue(background, state, keys[i]))
			if one == nil || !bytes.Equal(one, values[i]) {
				t.Errorf("value %d is %q", i, one)
			}
		}
		proof := must[[]byte](t)(c.Prove(background, state, keys))
		if len(proof) < 300*1000 || !bytes.Equal(proof[:7], []byte{0, 0, 8, 0, 0, 1, 44}) {
			t.Errorf("a proof of %d bytes: %x", len(proof), proof[:min(7, len(proof))])
		}

		if count := must[uint64](t)(c.StateCount(background)); count != 2 {
			t.Errorf("%d states", count)
		}
		if newest := must[ledgerd.State](t)(c.StateByIndex(background, -1)); newest != state {
			t.Errorf("the newest state is %s", newest)
		}
		if all := must[[]ledgerd.State](t)(c.States(background)); !slices.Equal(all,
			[]ledgerd.State{empty, state}) {
			t.Errorf("the states are %v", all)
		}
		info := must[ledgerd.Info](t)(c.Info(background))
		if info.States != 2 || info.NewestRegisters != 299 || !info.LogGood ||
			info.SharedMemory != (options.Transport == ledgerd.SharedMemory) {
			t.Errorf("info: %+v", info)
		}
		must[uint32](t)(c.Checkpoint(background))

		// Nothing asked, nothing answered, whatever the state.
		none := ledgerd.State{1}
		if got := must[[][]byte](t)(c.Get(background, none, nil)); len(got) != 0 {
			t.Errorf("no keys: %d values", len(got))
		}
		if same := must[ledgerd.State](t)(c.Set(background, none, nil, nil)); same != none {
			t.Errorf("no keys: state %s", same)
		}
	})
}

func TestBatch(t *testing.T) {
	eachWay(t, func(t *testing.T, s *server, options ledgerd.Options) {
		c := connect(t, options)
		empty := must[ledgerd.State](t)(c.InitialState(background))
		keys, values := registers(40, 100)
		state := must[ledgerd.State](t)(c.Set(background, empty, keys, values))
		other, news := registers(50, 10)
		results := must[[]ledgerd.Result](t)(c.Batch(background, []ledgerd.Operation{
			ledgerd.InitialStateOperation{},
			ledgerd.HasStateOperation{State: state},
			ledgerd.GetSingleValueOperation{State: state, Key: keys[5]},
			ledgerd.GetOperation{State: state, Keys: keys},
			ledgerd.SetOperation{State: state, Keys: other, Values: news},
			ledgerd.ProveOperation{State: state, Keys: keys[:1]},
			ledgerd.ProveOperation{State: ledgerd.State{1}, Keys: keys},
		}))
		if results[0].State != empty || !results[1].Found || !bytes.Equal(results[2].Value, values[5]) ||
			!slices.EqualFunc(results[3].Values, values, bytes.Equal) || len(results[5].Value) == 0 {
			t.Errorf("results: %+v", results)
		}
		if want := must[ledgerd.State](t)(c.Set(background, state, other, news)); results[4].State != want {
			t.Errorf("the batch's Set led to %s, not to %s", results[4].State, want)
		}
		for i, result := range results {
			if wrong := i == 6; errors.Is(result.Err, ledgerd.UnknownState) != wrong ||
				!wrong && result.Err != nil {
				t.Errorf("result %d: %v", i, result.Err)
			}
		}
		_, err := c.Batch(background, slices.Repeat([]ledgerd.Operation{ledgerd.InitialStateOperation{}},
			int(must[ledgerd.Info](t)(c.Info(background)).Limits.BatchOperations)+1))
		if !errors.Is(err, ledgerd.TooLarge) {
			t.Errorf("a batch that is too long: %v", err)
		}
	})
}

func TestRefusals(t *testing.T) {
	s := startServer(t, "--max-request-size", "1MiB")
	c := connect(t, ledgerd.Options{Address: s.socket})
	keys, values := registers(2, 10)
	empty := must[ledgerd.State](t)(c.InitialState(background))
	unknown := ledgerd.State{1}
	large := [][]byte{make([]byte, 1<<20), nil}
	for _, wrong := range []struct {
		what string
		call func() error
		want []error
	}{
		{"state", func() error { _, err := c.GetSingleValue(background, unknown, keys[0]); return err },
			[]error{ledgerd.UnknownState, ledgerd.NotFound}},
		{"Set", func() error { _, err := c.Set(background, unknown, keys, values); return err },
			[]error{ledgerd.UnknownState}},
		{"key", func() error { _, err := c.Get(background, empty, []ledgerd.Key{{1}}); return err },
			[]error{ledgerd.BadKey, ledgerd.InvalidArgument}},
		{"index", func() error { _, err := c.StateByIndex(background, 9); return err },
			[]error{ledgerd.IndexOutOfRange, ledgerd.OutOfRange}},
		{"counts", func() error { _, err := c.Set(background, empty, keys, values[:1]); return err },
			[]error{ledgerd.BadRequest, ledgerd.InvalidArgument}},
		{"size", func() error { _, err := c.Set(background, empty, keys, large); return err },
			[]error{ledgerd.TooLarge, ledgerd.ResourceExhausted}},
	} {
		err := wrong.call()
		var refused *ledgerd.Error
		if !errors.As(err, &refused) || refused.Message == "" {
			t.Errorf("%s: %v", wrong.what, err)
		}
		for _, want := range wrong.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v is not %v", wrong.what, err, want)
			}
		}
	}
	if _, err := ledgerd.NewClient(ledgerd.Options{}); err == nil {
		t.Error("a client without an address")
	}
}

func TestSetIsDoneOnce(t *testing.T) {
	s := startServer(t)
	c := connect(t, ledgerd.Options{Address: s.socket})
	empty := must[ledgerd.State](t)(c.InitialState(background))
	keys, values := registers(3, 10)
	id := ledgerd.NewSetID()
	one := must[ledgerd.State](t)(c.SetWithID(background, id, empty, keys, values))
	segments := func() int64 {
		files, err := filepath.Glob(filepath.Join(s.directory, "triedir", "0*"))
		if err != nil {
			t.Fatal(err)
		}
		var size int64
		for _, file := range files {
			size += must[os.FileInfo](t)(os.Stat(file)).Size()
		}
		return size
	}
	logged := segments()
	again := must[ledgerd.State](t)(c.SetWithID(background, id, empty, keys, values))
	if one != again || segments() != logged {
		t.Errorf("sent again: %s and %s, %d and %d bytes logged", one, again, logged, segments())
	}
	if _, err := c.SetWithID(background, id, empty, keys[:1], values[:1]); !errors.Is(err,
		ledgerd.SetIDReused) {
		t.Errorf("another Set of the same id: %v", err)
	}
}

// Many goroutines on one client, more than the server takes calls at a time from it, with large and
// small payloads, while others drop theirs.
func TestManyGoroutines(t *testing.T) {
	eachWay(t, func(t *testing.T, s *server, options ledgerd.Options) {
		c := connect(t, options)
		empty := must[ledgerd.State](t)(c.InitialState(background))
		keys, values := registers(200, 500)
		state := must[ledgerd.State](t)(c.Set(background, empty, keys, values))
		proof := must[[]byte](t)(c.Prove(background, state, keys))
		var running sync.WaitGroup
		for worker := range 40 {
			running.Go(func() {
				for round := range 25 {
					i := (worker*31 + round*7) % len(keys)
					ctx, cancel := context.WithCancel(background)
					if (worker+round)%5 == 0 {
						go cancel()
					}
					var err error
					switch (worker + round) % 4 {
					case 0:
						var value []byte
						if value, err = c.GetSingleValue(ctx, state, keys[i]); err == nil &&
							!bytes.Equal(value, values[i]) {
							t.Errorf("value %d is %q", i, value)
						}
					case 1:
						var all [][]byte
						if all, err = c.Get(ctx, state, keys); err == nil &&
							!slices.EqualFunc(all, values, bytes.Equal) {
							t.Error("wrong values")
						}
					case 2:
						var got []byte
						if got, err = c.Prove(ctx, state, keys); err == nil && !bytes.Equal(got, proof) {
							t.Error("a wrong proof")
						}
					default:
						_, err = c.Set(ctx, state, keys[:50], values[i:min(i+50, 200)][:min(50, 200-i)])
						if 200-i < 50 && errors.Is(err, ledgerd.BadRequest) {
							err = nil
						}
					}
					if err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("worker %d, round %d: %v", worker, round, err)
					}
					cancel()
				}
			})
		}
		running.Wait()
		c.Close()
		expectNoGoroutines(t)
	})
}

// The server is killed, and started again, while calls are made without a break: all are answered, and
// nothing that was acknowledged is lost.
func TestReconnect(t *testing.T) {
	eachWay(t, func(t *testing.T, s *server, options ledgerd.Options) {
		flags := []string{"--inline-threshold", "0"}
		options.Attempts = 100
		options.Backoff = ledgerd.Backoff{First: time.Millisecond, Most: 10 * time.Millisecond}
		c := connect(t, options)
		keys, values := registers(20, 200)
		empty := must[ledgerd.State](t)(c.InitialState(background))
		base := must[ledgerd.State](t)(c.Set(background, empty, keys, values))
		stop := make(chan struct{})
		var running sync.WaitGroup
		for worker := range 4 {
			running.Go(func() {
				state := base
				for round := 0; ; round++ {
					select {
					case <-stop:
						return
					default:
					}
					value := []byte{byte(worker), byte(round), byte(round >> 8)}
					next, err := c.Set(background, state, keys[worker:worker+1], [][]byte{value})
					if err != nil {
						t.Errorf("Set: %v", err)
						return
					}
					got, err := c.Get(background, next, keys)
					if err != nil || !bytes.Equal(got[worker], value) || !bytes.Equal(got[19], values[19]) {
						t.Errorf("Get: %v", err)
						return
					}
					state = next
				}
			})
		}
		for i := range 6 {
			before := must[ledgerd.Info](t)(c.Info(background)).States
			await(t, "a few Sets", func() bool {
				return must[ledgerd.Info](t)(c.Info(background)).States > before+5
			})
			how := syscall.SIGKILL
			if i%2 == 1 {
				how = syscall.SIGTERM
			}
			s.signal(how)
			if err := s.start(flags...); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		running.Wait()
	})
}

func TestNobodyThere(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	_, err := ledgerd.Connect(background, ledgerd.Options{Address: socket, ConnectTimeout: -1})
	if !errors.Is(err, ledgerd.ErrDisconnected) {
		t.Errorf("one attempt: %v", err)
	}
	ctx, cancel := context.WithTimeout(background, 10*time.Millisecond)
	defer cancel()
	if _, err = ledgerd.Connect(ctx, ledgerd.Options{Address: socket}); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("until the context ends: %v", err)
	}
	expectNoGoroutines(t)
}

// A server that stands still: calls end with their contexts, and the client goes on with it later.
func TestDeadlines(t *testing.T) {
	s := startServer(t)
	c := connect(t, ledgerd.Options{Address: s.socket, Transport: ledgerd.Inline,
		CallTimeout: 20 * time.Millisecond})
	patient, done := context.WithTimeout(background, time.Minute)
	defer done()
	empty := must[ledgerd.State](t)(c.InitialState(patient))
	s.freeze(t)
	ctx, cancel := context.WithTimeout(background, 10*time.Millisecond)
	defer cancel()
	if _, err := c.HasState(ctx, empty); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a deadline: %v", err)
	}
	if _, err := c.HasState(background, empty); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the client's time limit: %v", err)
	}
	ctx, cancel = context.WithCancel(background)
	cancel()
	if _, err := c.HasState(ctx, empty); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// More than the socket holds: nothing can be written any more.
	large := [][]byte{make([]byte, 16<<20)}
	if _, err := c.Set(background, empty, []ledgerd.Key{register(1)}, large); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("a large Set: %v", err)
	}
	s.process.Process.Signal(syscall.SIGCONT)
	if !must[bool](t)(c.HasState(patient, empty)) {
		t.Error("the initial state is gone")
	}
}

func TestClose(t *testing.T) {
	s := startServer(t)
	c := connect(t, ledgerd.Options{Address: s.socket})
	empty := must[ledgerd.State](t)(c.InitialState(background))
	s.freeze(t)
	ended := make(chan error)
	for range 3 {
		go func() {
			_, err := c.HasState(background, empty)
			ended <- err
		}()
	}
	c.Close()
	for range 3 {
		if err := <-ended; !errors.Is(err, ledgerd.ErrClosed) {
			t.Errorf("a call when the client was closed: %v", err)
		}
	}
	s.process.Process.Signal(syscall.SIGCONT)
	c.Close()
	if _, err := c.HasState(background, empty); !errors.Is(err, ledgerd.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
	expectNoGoroutines(t)
}

// mappings are the memfds that this process has mapped.
func mappings(t *testing.T) int {
	t.Helper()
	return bytes.Count(must[[]byte](t)(os.ReadFile("/proc/self/maps")), []byte("/memfd:"))
}

// Views are read where the server wrote them, hold their memory there until they are released, and stay
// readable when the client is closed.
func TestViews(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			s := startServer(t, way.flags...)
			options := ledgerd.Options{Address: s.socket, Transport: way.transport, StoreViews: way.views}
			c := connect(t, options)
			empty := must[ledgerd.State](t)(c.InitialState(background))
			keys, values := registers(100, 50_000)
			state := must[ledgerd.State](t)(c.Set(background, empty, keys, values))
			held := func() uint32 { return must[ledgerd.Info](t)(c.Info(background)).ArenaRegions }
			var before uint32
			if way.views {
				before = 1 // The room for leases, from the first value in the store on.
			}

			one := must[*ledgerd.View](t)(c.ViewSingleValue(background, state, keys[3]))
			all := must[*ledgerd.Values](t)(c.ViewValues(background, state, keys))
			proof := must[*ledgerd.View](t)(c.ViewProof(background, state, keys[:5]))
			check := func() {
				t.Helper()
				if !bytes.Equal(one.Bytes(), values[3]) || all.Len() != 100 ||
					!bytes.Equal(all.At(99), values[99]) || !one.Intact() || !all.Intact() {
					t.Error("views have other values")
				}
				if !slices.EqualFunc(must[[][]byte](t)(all.Copy()), values, bytes.Equal) ||
					!bytes.Equal(must[[]byte](t)(one.Copy()), values[3]) {
					t.Error("copies of views have other values")
				}
			}
			check()
			proven := must[[]byte](t)(c.Prove(background, state, keys[:5]))
			if !bytes.Equal(proof.Bytes(), proven) {
				t.Error("the proof is another one")
			}
			if count := held(); (count > before) != (way.transport == ledgerd.SharedMemory) {
				t.Errorf("%d regions are held", count)
			}
			proof.Release()
			proof.Release()

			again := connect(t, options)
			kept := must[*ledgerd.View](t)(again.ViewSingleValue(background, state, keys[9]))
			again.Close()
			if !way.views && !bytes.Equal(kept.Bytes(), values[9]) {
				t.Error("a view of a closed client is another value")
			}
			check()
			one.Release()
			all.Release()
			if one.Intact() && way.views {
				t.Error("a released view is intact")
			}
			await(t, "the return of all regions", func() bool { return held() == before })
			c.Close()
			if way.transport == ledgerd.SharedMemory && mappings(t) == 0 {
				t.Error("the memory of a view was unmapped")
			}
			if !way.views && !bytes.Equal(kept.Bytes(), values[9]) {
				t.Error("a view of a closed client is another value")
			}
			kept.Release()
			await(t, "the end of all mappings", func() bool { return mappings(t) == 0 })
		})
	}
}

// What is copied out of the server's store is what was asked for, or comes again, while the states
// that it belongs to are evicted.
func TestEviction(t *testing.T) {
	s := startServer(t, "--inline-threshold", "0", "--mtrie-cache-size", "3")
	c := connect(t, ledgerd.Options{Address: s.socket, Transport: ledgerd.SharedMemory, StoreViews: true})
	keys, values := registers(30, 40_000)
	state := must[ledgerd.State](t)(c.InitialState(background))
	random := rand.New(rand.NewPCG(1, 2))
	var running sync.WaitGroup
	for range 60 {
		next := make([][]byte, len(values))
		for i := range next {
			next[i] = bytes.Repeat([]byte{byte(random.Uint32())}, len(values[i]))
		}
		state = must[ledgerd.State](t)(c.Set(background, state, keys, next))
		running.Go(func() {
			got, err := c.Get(background, state, keys)
			if err == nil && !slices.EqualFunc(got, next, bytes.Equal) {
				t.Error("wrong bytes")
			} else if err != nil && !errors.Is(err, ledgerd.UnknownState) {
				t.Error(err)
			}
		})
	}
	running.Wait()
}

// Memory is not shared where the hand-over socket cannot be reached: Auto does without.
func TestHandOverUnreachable(t *testing.T) {
	s := startServer(t, "--inline-threshold", "0")
	options := ledgerd.Options{Address: s.socket, HandOverSocket: filepath.Join(s.directory, "nothing")}
	c := connect(t, options)
	if must[ledgerd.Info](t)(c.Info(background)).SharedMemory {
		t.Error("memory is shared")
	}
	options.Transport = ledgerd.SharedMemory
	options.ConnectTimeout = -1
	if _, err := ledgerd.Connect(background, options); !errors.Is(err, ledgerd.ErrDisconnected) {
		t.Errorf("shared memory or nothing: %v", err)
	}
	other := startServer(t, "--hand-over-socket", "none")
	options = ledgerd.Options{Address: other.socket, Transport: ledgerd.SharedMemory}
	if _, err := ledgerd.Connect(background, options); !errors.Is(err, ledgerd.FailedPrecondition) {
		t.Errorf("shared memory that is not offered: %v", err)
	}
}

// Large requests go through memory of this process's, which is used again.
func TestLargeRequests(t *testing.T) {
	s := startServer(t)
	c := connect(t, ledgerd.Options{Address: s.socket, Transport: ledgerd.SharedMemory,
		IdleRequestArenaBytes: 8 << 20})
	empty := must[ledgerd.State](t)(c.InitialState(background))
	keys, values := registers(20, 100_000)
	first := must[ledgerd.State](t)(c.Set(background, empty, keys, values))
	for i := range 10 {
		values[i][0]++
		must[ledgerd.State](t)(c.Set(background, first, keys, values))
		if mapped := mappings(t); mapped > 2 {
			t.Errorf("%d memfds are mapped", mapped)
		}
	}
	// More than may be kept.
	huge := [][]byte{bytes.Repeat([]byte("0123456789"), 3<<20)}
	state := must[ledgerd.State](t)(c.Set(background, first, keys[:1], huge))
	got := must[[]byte](t)(c.GetSingleValue(background, state, keys[0]))
	if !bytes.Equal(got, huge[0]) {
		t.Error("a large value is another one")
	}
	await(t, "the end of an arena that is too large to keep", func() bool { return mappings(t) <= 1 })
}
