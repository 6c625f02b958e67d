// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/remote"
)

const remoteSteps = 400

// flow-go's own client, unchanged, drives ledgerd through its whole interface, over both kinds of
// sockets, and flow-go's own service with the same calls: every answer and every error must be the
// same. The forest is so small that states are evicted all the time.
func TestRemoteClient(t *testing.T) {
	for _, way := range []string{"socket", "tcp"} {
		t.Run(way, func(t *testing.T) {
			c := config{capacity: 20, segmentSize: 1 << 20, distance: 100, keep: 3}
			ledgerd := startDaemon(t, daemonProgram, "--mtrie-cache-size", fmt.Sprint(c.capacity),
				"--wal-segment-size", fmt.Sprint(c.segmentSize))
			address := ledgerd.socket
			if way == "tcp" {
				address = ledgerd.tcp
			}
			r := &remotes{
				workload: newWorkload(seed, t.Name(), c),
				ours:     newClient(t, address),
				theirs: newClient(t, serveFlowGo(t, c, grpc.MaxRecvMsgSize(1<<30),
					grpc.MaxSendMsgSize(1<<30))),
				sameErrors: sameTexts,
			}
			<-r.ours.Ready()
			for step := range remoteSteps {
				if r.step(t); t.Failed() {
					t.Fatalf("in step %d; INTEROP_SEED=%d", step, seed)
				}
			}
			totals.calls += remoteSteps
		})
	}
}

func newClient(t *testing.T, address string) *remote.Client {
	t.Helper()
	client, err := remote.NewClient(address, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { <-client.Done() })
	return client
}

// remotes are two ledgers that must give the same answers.
type remotes struct {
	*workload
	ours, theirs ledger.Ledger
	sameErrors   func(ours, theirs error) bool
	states       []ledger.State // All that were answered, newest last.
}

func sameTexts(ours, theirs error) bool { return fmt.Sprint(ours) == fmt.Sprint(theirs) }

// both calls `call` for either, and compares what it returns.
func (r *remotes) both(t *testing.T, what string, call func(ledger.Ledger) (any, error)) any {
	t.Helper()
	ours, ourError := call(r.ours)
	theirs, theirError := call(r.theirs)
	if !r.sameErrors(ourError, theirError) {
		t.Errorf("%s: %v, but flow-go: %v", what, ourError, theirError)
	}
	if !reflect.DeepEqual(ours, theirs) {
		t.Errorf("%s: %v, but flow-go: %v", what, ours, theirs)
	}
	return ours
}

func (r *remotes) step(t *testing.T) {
	if len(r.states) == 0 {
		state := r.both(t, "InitialState", func(client ledger.Ledger) (any, error) {
			return client.InitialState(), nil
		})
		r.states = append(r.states, state.(ledger.State))
	}
	state := r.someState()
	switch r.IntN(8) {
	case 0:
		r.both(t, "HasState", func(client ledger.Ledger) (any, error) {
			return client.HasState(state), nil
		})
	case 1:
		query, err := ledger.NewQuerySingleValue(state, r.someKey())
		if err != nil {
			t.Fatal(err)
		}
		r.both(t, "GetSingleValue", func(client ledger.Ledger) (any, error) {
			return client.GetSingleValue(query)
		})
	case 2:
		r.get(t, state)
	case 3:
		r.prove(t, state)
	default:
		r.set(t, state)
	}
}

// someState is mostly a recent one; it may be one that was evicted or never was.
func (r *remotes) someState() ledger.State {
	if r.oneIn(20) {
		return ledger.State(r.bytes(len(ledger.State{})))
	}
	if r.oneIn(10) {
		return r.states[r.IntN(len(r.states))]
	}
	return r.states[max(0, len(r.states)-1-r.IntN(5))]
}

func (r *remotes) someKey() ledger.Key { return r.keys[r.IntN(len(r.keys))] }

func (r *remotes) get(t *testing.T, state ledger.State) {
	var keys []ledger.Key
	for range r.IntN(60) {
		keys = append(keys, r.someKey()) // Some of them twice.
	}
	query, err := ledger.NewQuery(state, keys)
	if err != nil {
		t.Fatal(err)
	}
	r.both(t, "Get", func(client ledger.Ledger) (any, error) { return client.Get(query) })
}

// prove asks for no register twice: if it is missing, flow-go's service dies.
func (r *remotes) prove(t *testing.T, state ledger.State) {
	var keys []ledger.Key
	for _, index := range r.Perm(len(r.keys))[:r.IntN(min(60, len(r.keys)))] {
		keys = append(keys, r.keys[index])
	}
	query, err := ledger.NewQuery(state, keys)
	if err != nil {
		t.Fatal(err)
	}
	r.both(t, "Prove", func(client ledger.Ledger) (any, error) { return client.Prove(query) })
}

func (r *remotes) set(t *testing.T, state ledger.State) {
	u := update{parent: state}
	for range r.IntN(40) {
		switch {
		case r.oneIn(10):
			u.set(r.someKey(), nil)
		case r.oneIn(20):
			u.set(r.someKey(), ledger.Value{})
		default:
			u.set(r.someKey(), r.value())
		}
	}
	converted, err := u.toFlowGo()
	if err != nil {
		t.Fatal(err)
	}
	type result struct {
		state  ledger.State
		update *ledger.TrieUpdate
	}
	answer := r.both(t, "Set", func(client ledger.Ledger) (any, error) {
		state, update, err := client.Set(converted)
		return result{state, update}, err
	})
	// A Set that was refused has the state of nothing; one without keys is answered by the client.
	if next := answer.(result).state; next != (ledger.State{}) && len(u.keys) > 0 {
		r.states = append(r.states, next)
		totals.sets++
	}
}
