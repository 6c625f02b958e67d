// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"

	"capnproto.org/go/capnp/v3"

	"ledgerd/client/go/internal/schema"
)

// The operations over one session. Each is a struct that can say what is wrong with it before anything
// is sent, how large it is, and fill in its request, alone or within a batch.

type hasState struct{ state State }

type getSingleValue struct {
	state State
	key   Key
}

// query is a Get or a Prove.
type query struct {
	state State
	keys  []Key
}

type set struct {
	state  State
	keys   []Key
	values [][]byte
	id     SetID
}

func (q query) refuse() error { return refuseItems("key", q.keys) }

func (q query) size() requestSize {
	bulk := packedSize(q.keys)
	return requestSize{bulk, bulk + StateBytes}
}

func (g getSingleValue) refuse() error { return refuseItems("key", []Key{g.key}) }

func (g getSingleValue) size() requestSize {
	return requestSize{0, StateBytes + uint64(len(g.key))}
}

func (s set) refuse() error {
	if len(s.keys) != len(s.values) {
		return refusal(InvalidArgument, BadRequest, "a Set needs one value for each key: %d keys, %d values",
			len(s.keys), len(s.values))
	}
	if err := refuseItems("key", s.keys); err != nil {
		return err
	}
	return refuseItems("value", s.values)
}

func (s set) size() requestSize {
	bulk := packedSize(s.keys) + packedSize(s.values)
	return requestSize{bulk, bulk + StateBytes}
}

func (h hasState) fill(to schema.StateRequest) error { return to.SetState(h.state[:]) }

func (g getSingleValue) fill(to schema.GetSingleValueRequest) error {
	if err := to.SetState(g.state[:]); err != nil {
		return err
	}
	return to.SetKey(g.key)
}

// keysRequest is the request of a Get or a Prove.
type keysRequest interface {
	SetState([]byte) error
	NewKeys() (schema.Bulk, error)
}

func (q query) fill(to keysRequest, p *payloads) error {
	if err := to.SetState(q.state[:]); err != nil {
		return err
	}
	bulk, err := to.NewKeys()
	return writeList(p, bulk, err, q.keys)
}

func (s set) fill(to schema.SetRequest, p *payloads) error {
	if err := (query{s.state, s.keys}).fill(to, p); err != nil {
		return err
	}
	bulk, err := to.NewValues()
	if err := writeList(p, bulk, err, s.values); err != nil {
		return err
	}
	return to.SetId(s.id[:])
}

// Replies.

func unknownMember[T ~uint16](which T) error {
	return protocolError("a reply of a kind that is not known here, %d", which)
}

func readState(bytes []byte, err error) (state State, _ error) {
	if err != nil {
		return state, protocolError("a state that cannot be read: %w", err)
	}
	if len(bytes) != StateBytes {
		return state, protocolError("a state of %d bytes", len(bytes))
	}
	return State(bytes), nil
}

func readStateReply(reply schema.StateReply) (State, error) {
	switch reply.Which() {
	case schema.StateReply_Which_state:
		return readState(reply.State())
	case schema.StateReply_Which_error:
		return State{}, readRefusal(reply.Error())
	}
	return State{}, unknownMember(reply.Which())
}

func readFound(reply schema.HasStateReply) (bool, error) {
	switch reply.Which() {
	case schema.HasStateReply_Which_found:
		return reply.Found(), nil
	case schema.HasStateReply_Which_error:
		return false, readRefusal(reply.Error())
	}
	return false, unknownMember(reply.Which())
}

func readCount(reply schema.CountReply) (uint64, error) {
	switch reply.Which() {
	case schema.CountReply_Which_count:
		return reply.Count(), nil
	case schema.CountReply_Which_error:
		return 0, readRefusal(reply.Error())
	}
	return 0, unknownMember(reply.Which())
}

func readStates(reply schema.StatesReply) ([]State, error) {
	switch reply.Which() {
	case schema.StatesReply_Which_states:
		list, err := reply.States()
		if err != nil {
			return nil, protocolError("states that cannot be read: %w", err)
		}
		// Grown, not made: what the message says of its length is no reason to take memory.
		var states []State
		for i := range list.Len() {
			state, err := readState(list.At(i))
			if err != nil {
				return nil, err
			}
			states = append(states, state)
		}
		return states, nil
	case schema.StatesReply_Which_error:
		return nil, readRefusal(reply.Error())
	}
	return nil, unknownMember(reply.Which())
}

func (s *session) receiveView(ctx context.Context, bulk schema.Bulk, err error) (*View, error) {
	got, err := s.receive(ctx, bulk, err)
	if err != nil {
		return nil, err
	}
	return got.view()
}

func (s *session) readValue(ctx context.Context, reply schema.ValueReply) (*View, error) {
	switch reply.Which() {
	case schema.ValueReply_Which_value:
		bulk, err := reply.Value()
		return s.receiveView(ctx, bulk, err)
	case schema.ValueReply_Which_error:
		return nil, readRefusal(reply.Error())
	}
	return nil, unknownMember(reply.Which())
}

func (s *session) readProof(ctx context.Context, reply schema.ProveReply) (*View, error) {
	switch reply.Which() {
	case schema.ProveReply_Which_proof:
		bulk, err := reply.Proof()
		return s.receiveView(ctx, bulk, err)
	case schema.ProveReply_Which_error:
		return nil, readRefusal(reply.Error())
	}
	return nil, unknownMember(reply.Which())
}

func (s *session) readValues(ctx context.Context, reply schema.GetReply, count int) (*Values, error) {
	switch reply.Which() {
	case schema.GetReply_Which_values:
		bulk, err := reply.Values()
		got, err := s.receive(ctx, bulk, err)
		if err != nil {
			return nil, err
		}
		return got.values(count)
	case schema.GetReply_Which_error:
		return nil, readRefusal(reply.Error())
	}
	return nil, unknownMember(reply.Which())
}

// Calls.

func (s *session) initialState(ctx context.Context) (State, error) {
	return call(ctx, s, func(ctx context.Context) (schema.StateReply_Future, capnp.ReleaseFunc) {
		return s.rpc.InitialState(ctx, nil)
	}, readStateReply)
}

func (s *session) hasState(ctx context.Context, state State) (bool, error) {
	return call(ctx, s, func(ctx context.Context) (schema.HasStateReply_Future, capnp.ReleaseFunc) {
		return s.rpc.HasState(ctx, hasState{state}.fill)
	}, readFound)
}

func (s *session) readRegister(ctx context.Context, state State, key Key) (*View, error) {
	asked := getSingleValue{state, key}
	if err := asked.refuse(); err != nil {
		return nil, err
	}
	return exchange(ctx, s, asked.size(), s.rpc.GetSingleValue,
		func(to schema.GetSingleValueRequest, _ *payloads) error { return asked.fill(to) },
		func(reply schema.ValueReply) (*View, error) { return s.readValue(ctx, reply) })
}

func (s *session) get(ctx context.Context, asked query) (*Values, error) {
	if err := asked.refuse(); err != nil {
		return nil, err
	}
	return exchange(ctx, s, asked.size(), s.rpc.Get,
		func(to schema.GetRequest, p *payloads) error { return asked.fill(to, p) },
		func(reply schema.GetReply) (*Values, error) {
			return s.readValues(ctx, reply, len(asked.keys))
		})
}

func (s *session) set(ctx context.Context, asked set) (State, error) {
	if err := asked.refuse(); err != nil {
		return State{}, err
	}
	return exchange(ctx, s, asked.size(), s.rpc.Set, asked.fill, readStateReply)
}

func (s *session) prove(ctx context.Context, asked query) (*View, error) {
	if err := asked.refuse(); err != nil {
		return nil, err
	}
	return exchange(ctx, s, asked.size(), s.rpc.Prove,
		func(to schema.ProveRequest, p *payloads) error { return asked.fill(to, p) },
		func(reply schema.ProveReply) (*View, error) { return s.readProof(ctx, reply) })
}

func (s *session) stateCount(ctx context.Context) (uint64, error) {
	return call(ctx, s, func(ctx context.Context) (schema.CountReply_Future, capnp.ReleaseFunc) {
		return s.rpc.StateCount(ctx, nil)
	}, readCount)
}

func (s *session) stateByIndex(ctx context.Context, index int64) (State, error) {
	return call(ctx, s, func(ctx context.Context) (schema.StateReply_Future, capnp.ReleaseFunc) {
		return s.rpc.StateByIndex(ctx, func(p schema.Session_stateByIndex_Params) error {
			p.SetIndex(index)
			return nil
		})
	}, readStateReply)
}

func (s *session) states(ctx context.Context) ([]State, error) {
	return call(ctx, s, func(ctx context.Context) (schema.StatesReply_Future, capnp.ReleaseFunc) {
		return s.rpc.States(ctx, nil)
	}, readStates)
}

func (s *session) checkpoint(ctx context.Context) (uint32, error) {
	return call(ctx, s, func(ctx context.Context) (schema.CheckpointReply_Future, capnp.ReleaseFunc) {
		return s.rpc.Checkpoint(ctx, nil)
	}, func(reply schema.CheckpointReply) (uint32, error) {
		switch reply.Which() {
		case schema.CheckpointReply_Which_number:
			return reply.Number(), nil
		case schema.CheckpointReply_Which_error:
			return 0, readRefusal(reply.Error())
		}
		return 0, unknownMember(reply.Which())
	})
}
