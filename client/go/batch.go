// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"fmt"

	"ledgerd/client/go/internal/schema"
)

// Operation is one of a batch: InitialStateOperation, HasStateOperation, GetSingleValueOperation,
// GetOperation, SetOperation or ProveOperation.
type Operation interface {
	refuse() error
	size() requestSize
	fillOperation(schema.Operation, *payloads) error
	// readReply makes a result of what has come, or an error if that is the answer to something else.
	readReply(context.Context, *session, schema.OperationReply) (Result, error)
}

// InitialStateOperation is Client.InitialState in a batch. The result has State.
type InitialStateOperation struct{}

// HasStateOperation is Client.HasState in a batch. The result has Found.
type HasStateOperation struct{ State State }

// GetSingleValueOperation is Client.GetSingleValue in a batch. The result has Value.
type GetSingleValueOperation struct {
	State State
	Key   Key
}

// GetOperation is Client.Get in a batch. The result has Values.
type GetOperation struct {
	State State
	Keys  []Key
}

// SetOperation is Client.Set in a batch. The result has State. Without an ID it gets a random one.
type SetOperation struct {
	State  State
	Keys   []Key
	Values [][]byte
	ID     SetID
}

// ProveOperation is Client.Prove in a batch. The result has Value.
type ProveOperation struct {
	State State
	Keys  []Key
}

// Result is the answer to an operation of a batch: an error, or what the operation says.
type Result struct {
	Err    error
	State  State
	Found  bool
	Value  []byte
	Values [][]byte
}

func (s *session) refuseBatch(operations []Operation) (size requestSize, err error) {
	if uint64(len(operations)) > uint64(s.limits.BatchOperations) {
		return size, refusal(ResourceExhausted, TooLarge,
			"a batch of %d operations is over the server's limit of %d", len(operations),
			s.limits.BatchOperations)
	}
	for i, operation := range operations {
		if err := operation.refuse(); err != nil {
			return size, fmt.Errorf("operation %d: %w", i, err)
		}
		one := operation.size()
		size.bulkBytes += one.bulkBytes
		size.bytes += one.bytes
	}
	return size, nil
}

func (s *session) batch(ctx context.Context, operations []Operation) ([]Result, error) {
	size, err := s.refuseBatch(operations)
	if err != nil {
		return nil, err
	}
	return exchange(ctx, s, size, s.rpc.Batch, func(to schema.BatchRequest, p *payloads) error {
		list, err := to.NewOperations(int32(len(operations)))
		if err != nil {
			return err
		}
		for i, operation := range operations {
			if err := operation.fillOperation(list.At(i), p); err != nil {
				return err
			}
		}
		return nil
	}, func(reply schema.BatchReply) ([]Result, error) { return s.readBatch(ctx, reply, operations) })
}

func (s *session) readBatch(ctx context.Context, reply schema.BatchReply, operations []Operation) (
	[]Result, error) {
	switch reply.Which() {
	case schema.BatchReply_Which_error:
		return nil, readRefusal(reply.Error())
	case schema.BatchReply_Which_results:
	default:
		return nil, unknownMember(reply.Which())
	}
	list, err := reply.Results()
	if err != nil {
		return nil, protocolError("results that cannot be read: %w", err)
	}
	if list.Len() != len(operations) {
		return nil, protocolError("%d results for %d operations", list.Len(), len(operations))
	}
	results := make([]Result, len(operations))
	for i, operation := range operations {
		one := list.At(i)
		if one.Which() == schema.OperationReply_Which_error {
			results[i].Err = readRefusal(one.Error())
			continue
		}
		results[i], results[i].Err = operation.readReply(ctx, s, one)
		// What is not the ledger's refusal of this one is a fault of the whole answer.
		if err := results[i].Err; err != nil && !isRefusal(err) {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	return results, nil
}

// unwrap returns the member `which` of a reply, by its getter.
func unwrap[T any](reply schema.OperationReply, which schema.OperationReply_Which,
	get func() (T, error)) (member T, err error) {
	if reply.Which() != which {
		return member, protocolError("an answer to operation %d, not to %d", reply.Which(), which)
	}
	if member, err = get(); err != nil {
		return member, protocolError("an answer that cannot be read: %w", err)
	}
	return member, nil
}

func (o InitialStateOperation) refuse() error { return nil }

func (o InitialStateOperation) size() requestSize { return requestSize{} }

func (o InitialStateOperation) fillOperation(to schema.Operation, _ *payloads) error {
	to.SetInitialState()
	return nil
}

func (o InitialStateOperation) readReply(_ context.Context, _ *session, reply schema.OperationReply) (
	result Result, err error) {
	one, err := unwrap(reply, schema.OperationReply_Which_initialState, reply.InitialState)
	if err == nil {
		result.State, err = readStateReply(one)
	}
	return result, err
}

func (o HasStateOperation) refuse() error { return nil }

func (o HasStateOperation) size() requestSize { return requestSize{0, StateBytes} }

func (o HasStateOperation) fillOperation(to schema.Operation, _ *payloads) error {
	request, err := to.NewHasState()
	if err != nil {
		return err
	}
	return hasState{o.State}.fill(request)
}

func (o HasStateOperation) readReply(_ context.Context, _ *session, reply schema.OperationReply) (
	result Result, err error) {
	one, err := unwrap(reply, schema.OperationReply_Which_hasState, reply.HasState)
	if err == nil {
		result.Found, err = readFound(one)
	}
	return result, err
}

func (o GetSingleValueOperation) refuse() error { return getSingleValue{o.State, o.Key}.refuse() }

func (o GetSingleValueOperation) size() requestSize { return getSingleValue{o.State, o.Key}.size() }

func (o GetSingleValueOperation) fillOperation(to schema.Operation, _ *payloads) error {
	request, err := to.NewGetSingleValue()
	if err != nil {
		return err
	}
	return getSingleValue{o.State, o.Key}.fill(request)
}

func (o GetSingleValueOperation) readReply(ctx context.Context, s *session,
	reply schema.OperationReply) (Result, error) {
	one, err := unwrap(reply, schema.OperationReply_Which_getSingleValue, reply.GetSingleValue)
	if err != nil {
		return Result{}, err
	}
	return takeView(s.readValue(ctx, one))
}

func (o GetOperation) refuse() error { return query{o.State, o.Keys}.refuse() }

func (o GetOperation) size() requestSize { return query{o.State, o.Keys}.size() }

func (o GetOperation) fillOperation(to schema.Operation, p *payloads) error {
	request, err := to.NewGet()
	if err != nil {
		return err
	}
	return query{o.State, o.Keys}.fill(request, p)
}

func (o GetOperation) readReply(ctx context.Context, s *session, reply schema.OperationReply) (
	result Result, err error) {
	one, err := unwrap(reply, schema.OperationReply_Which_get, reply.Get)
	if err != nil {
		return result, err
	}
	values, err := s.readValues(ctx, one, len(o.Keys))
	if err == nil {
		result.Values, err = values.take()
	}
	return result, err
}

func (o SetOperation) set() set { return set{o.State, o.Keys, o.Values, o.ID} }

func (o SetOperation) refuse() error { return o.set().refuse() }

func (o SetOperation) size() requestSize { return o.set().size() }

func (o SetOperation) fillOperation(to schema.Operation, p *payloads) error {
	request, err := to.NewSet()
	if err != nil {
		return err
	}
	return o.set().fill(request, p)
}

func (o SetOperation) readReply(_ context.Context, _ *session, reply schema.OperationReply) (
	result Result, err error) {
	one, err := unwrap(reply, schema.OperationReply_Which_set, reply.Set)
	if err == nil {
		result.State, err = readStateReply(one)
	}
	return result, err
}

func (o ProveOperation) refuse() error { return query{o.State, o.Keys}.refuse() }

func (o ProveOperation) size() requestSize { return query{o.State, o.Keys}.size() }

func (o ProveOperation) fillOperation(to schema.Operation, p *payloads) error {
	request, err := to.NewProve()
	if err != nil {
		return err
	}
	return query{o.State, o.Keys}.fill(request, p)
}

func (o ProveOperation) readReply(ctx context.Context, s *session, reply schema.OperationReply) (
	Result, error) {
	one, err := unwrap(reply, schema.OperationReply_Which_prove, reply.Prove)
	if err != nil {
		return Result{}, err
	}
	return takeView(s.readProof(ctx, one))
}

func takeView(view *View, err error) (result Result, _ error) {
	if err == nil {
		result.Value, err = view.take()
	}
	return result, err
}
