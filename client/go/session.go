// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/exc"
	"capnproto.org/go/capnp/v3/rpc"
	"capnproto.org/go/capnp/v3/rpc/transport"

	"ledgerd/client/go/internal/schema"
)

// Limits are what the server accepts: schema/ledger.capnp explains each.
type Limits struct {
	RequestBytes, ResponseBytes, InlineThreshold, ArenaBytes, MessageWords uint64
	Regions, CallsInFlight, BatchOperations, RegisteredArenas              uint32
}

const (
	// What a message takes beside a call's parameters.
	envelopeBytes = 8 << 10

	// Calls at a time, however many more the server would take: the others wait here.
	mostCalls = 4096
)

// session is what comes of one connection, for as long as that lasts.
type session struct {
	options    Options
	codec      *codec
	connection *rpc.Conn
	rpc        schema.Session
	version    uint16
	features   uint64
	build      string
	limits     Limits
	maxPayload uint64        // Bytes of a reply's payload.
	slots      chan struct{} // One for each call that the server may still be busy with.
	replies    *replyArenas  // Nil: no shared memory.
	requests   *requestArenas
	registers  registerReader

	retireOnce sync.Once
	retired    chan struct{} // Closed once no more calls will begin.
	closeOnce  sync.Once
}

// registerReader reads single registers. The session itself asks the server; a reader that sees the
// server's store could do it without a call.
type registerReader interface {
	readRegister(ctx context.Context, state State, key Key) (*View, error)
}

// openSession connects and shakes hands. An *Error is the server's refusal, or ours of what it offers.
func openSession(ctx context.Context, options Options) (*session, error) {
	stream, err := new(net.Dialer).DialContext(ctx, "unix", options.Address)
	if err != nil {
		return nil, err
	}
	limit := messageBytes(options.MaxPayloadBytes)
	s := &session{options: options, maxPayload: options.MaxPayloadBytes,
		retired: make(chan struct{})}
	s.registers = s
	s.codec = newCodec(stream, limit)
	s.connection = rpc.NewConn(transport.New(s.codec), nil)
	if err := s.shakeHands(ctx, limit); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) offeredFeatures() uint64 {
	if s.options.Transport == Inline || !memoryCanBeShared {
		return 0
	}
	if s.options.StoreViews {
		return schema.FeatureHandOver | schema.FeatureTables
	}
	return schema.FeatureHandOver
}

func (s *session) shakeHands(ctx context.Context, limit uint64) error {
	server := schema.Ledgerd(s.connection.Bootstrap(ctx))
	defer server.Release()
	// First of all, or the call below might go out behind the end of the question that it refers to.
	if err := server.Resolve(ctx); err != nil {
		return s.failure(ctx, err)
	}
	if !server.IsValid() {
		return s.failure(ctx, errors.New("the server has no bootstrap capability"))
	}
	answer, release := server.Connect(ctx, func(p schema.Ledgerd_connect_Params) error {
		hello, err := p.NewHello()
		if err != nil {
			return err
		}
		hello.SetMinVersion(schema.ProtocolVersion)
		hello.SetMaxVersion(schema.ProtocolVersion)
		hello.SetFeatures(s.offeredFeatures())
		hello.SetMessageWords(limit / wordBytes)
		return hello.SetName(s.options.Name)
	})
	select {
	case <-answer.Done():
	case <-ctx.Done():
		go release()
		return ctx.Err()
	}
	defer release()
	reply, err := answer.Struct()
	if err != nil {
		return s.failure(ctx, err)
	}
	switch reply.Which() {
	case schema.ConnectReply_Which_error:
		return readRefusal(reply.Error())
	case schema.ConnectReply_Which_welcome:
		welcome, err := reply.Welcome()
		if err != nil {
			return protocolError("a welcome that cannot be read: %w", err)
		}
		return s.agree(ctx, welcome)
	}
	return protocolError("an answer to the handshake of a kind that is not known here, %d", reply.Which())
}

func (s *session) agree(ctx context.Context, welcome schema.Welcome) error {
	s.version, s.features = welcome.Version(), welcome.Features()
	if s.version != schema.ProtocolVersion {
		return protocolError("the server chose version %d", s.version)
	}
	if surplus := s.features &^ s.offeredFeatures(); surplus != 0 {
		return protocolError("the server chose features that were not offered, %#x", surplus)
	}
	var err error
	if s.build, err = welcome.Build(); err != nil {
		return protocolError("a welcome that cannot be read: %w", err)
	}
	limits, err := welcome.Limits()
	if err != nil {
		return protocolError("a welcome that cannot be read: %w", err)
	}
	s.limits = readLimits(limits)
	if s.limits.CallsInFlight == 0 || !welcome.HasSession() {
		return protocolError("a welcome to no session, or to one without calls")
	}
	s.slots = make(chan struct{}, min(s.limits.CallsInFlight, mostCalls))
	s.rpc = welcome.Session().AddRef()
	return s.shareMemory(ctx, welcome)
}

func readLimits(l schema.Limits) Limits {
	return Limits{
		RequestBytes:     l.RequestBytes(),
		ResponseBytes:    l.ResponseBytes(),
		InlineThreshold:  l.InlineThreshold(),
		ArenaBytes:       l.ArenaBytes(),
		MessageWords:     l.MessageWords(),
		Regions:          l.Regions(),
		CallsInFlight:    l.CallsInFlight(),
		BatchOperations:  l.BatchOperations(),
		RegisteredArenas: l.RegisteredArenas(),
	}
}

// drain returns when no call has a place any more, or the connection is lost.
func (s *session) drain() {
	for range cap(s.slots) {
		select {
		case s.slots <- struct{}{}:
		case <-s.codec.lost:
			return
		}
	}
}

// close ends the connection. Results that are views stay readable.
func (s *session) close() {
	s.closeOnce.Do(func() {
		s.connection.Close()
		s.rpc.Release()
		if s.replies != nil {
			s.replies.close()
			s.requests.close()
		}
	})
}

// failure is what an exception or a lost connection means for a caller.
func (s *session) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	kind := exc.Failed
	var exception *exc.Exception
	if errors.As(err, &exception) {
		kind = exception.Type
	}
	switch {
	case s.codec.isLost():
		if s.codec.fault != nil {
			return s.codec.fault
		}
		return ErrDisconnected
	case kind == exc.Disconnected:
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	case kind == exc.Overloaded:
		return fmt.Errorf("%w: %w", ErrOverloaded, err)
	case kind == exc.Unimplemented:
		return fmt.Errorf("%w: %w", ErrUnimplemented, err)
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

// answer is a generated future.
type answer[R any] interface {
	Done() <-chan struct{}
	Struct() (R, error)
}

// call makes a call of the session, once the server has room for it. `send` starts it, `read` makes a
// result of the reply, which is valid only as long as it runs.
func call[R, T any, A answer[R]](ctx context.Context, s *session,
	send func(context.Context) (A, capnp.ReleaseFunc), read func(R) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	case <-s.codec.lost:
		return none, s.failure(ctx, ErrDisconnected)
	}
	got, release := send(ctx)
	end := func() {
		release()
		<-s.slots
	}
	select {
	case <-got.Done():
	case <-ctx.Done():
		// The answer to a dropped call comes with the connection's next turn; where the server does not
		// read, that may be late.
		go end()
		return none, ctx.Err()
	}
	defer end()
	reply, err := got.Struct()
	if err != nil {
		return none, s.failure(ctx, err)
	}
	return read(reply)
}

// exchange is call for a request with payloads. `fill` writes it.
func exchange[P parameters, R, T any, A answer[R]](ctx context.Context, s *session, size requestSize,
	send func(context.Context, func(P) error) (A, capnp.ReleaseFunc),
	fill func(P, *payloads) error, read func(R) (T, error)) (T, error) {
	var none T
	if size.bytes > s.limits.RequestBytes {
		return none, refusal(ResourceExhausted, TooLarge,
			"a request of %d payload bytes is over the server's limit of %d", size.bytes,
			s.limits.RequestBytes)
	}
	var to payloads
	if s.requests != nil && size.bulkBytes > s.limits.InlineThreshold {
		to.room = s.requests.take(ctx, size.bulkBytes)
		defer to.room.release() // The message has references of its own.
	}
	var unsent error
	result, err := call(ctx, s, func(ctx context.Context) (A, capnp.ReleaseFunc) {
		return send(ctx, func(p P) error {
			if unsent = fill(p, &to); unsent == nil {
				unsent = s.checkMessage(p.Message())
			}
			return unsent
		})
	}, read)
	if err != nil && unsent != nil {
		return none, unsent
	}
	return result, err
}

// parameters are those of a generated method.
type parameters interface{ Message() *capnp.Message }

// checkMessage: a longer one would end the connection.
func (s *session) checkMessage(m *capnp.Message) error {
	size, err := m.TotalSize()
	if err != nil {
		return err
	}
	if words := (size + envelopeBytes) / wordBytes; words > s.limits.MessageWords {
		return refusal(ResourceExhausted, TooLarge,
			"a request of %d bytes is over the message limit of %d", size, s.limits.MessageWords*wordBytes)
	}
	return nil
}

// requestSize counts what a request's limits are about.
type requestSize struct {
	bulkBytes uint64 // Of its Bulks.
	bytes     uint64 // Of its Bulks, its keys and its states.
}
