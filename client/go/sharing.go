// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"capnproto.org/go/capnp/v3"

	"ledgerd/client/go/internal/schema"
)

// errHandOverUnreachable: the server shares memory, and this process does not get at it.
var errHandOverUnreachable = errors.New("the hand-over socket cannot be reached")

// How long a try may take that a request can do without.
const registerTimeout = 10 * time.Second

// shareMemory sets up what arenas need, if the server agreed to it.
func (s *session) shareMemory(ctx context.Context, welcome schema.Welcome) error {
	if s.features&schema.FeatureHandOver == 0 {
		if s.options.Transport == SharedMemory {
			return refusal(FailedPrecondition, Unspecified,
				"the server does not offer shared memory, which was asked for")
		}
		return nil
	}
	socket := s.options.HandOverSocket
	if socket == "" {
		var err error
		if socket, err = welcome.HandOverSocket(); err != nil {
			return protocolError("a welcome that cannot be read: %w", err)
		}
	}
	if err := probe(ctx, socket); err != nil {
		return fmt.Errorf("%w: %s: %w", errHandOverUnreachable, socket, err)
	}
	s.replies = newReplyArenas(s.options.MappingIdle,
		func(ctx context.Context, id uint32) (*mapping, error) { return s.openArena(ctx, socket, id) })
	s.requests = &requestArenas{
		register: func(ctx context.Context, m *sharedMemory) (uint32, schema.Registration, error) {
			ctx, cancel := context.WithTimeout(ctx, registerTimeout)
			defer cancel()
			return s.giveArena(ctx, socket, m)
		},
		limits: requestArenaLimits{s.limits.RegisteredArenas, s.options.RequestArenaBytes,
			s.options.IdleRequestArenaBytes},
		logger: s.options.Logger,
	}
	return nil
}

// probe: what is found out now need not be found out by the first large answer.
func probe(ctx context.Context, socket string) error {
	stream, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return stream.Close()
}

// inner is a call that another one needs, whose place with the server it takes.
func inner[R any, A answer[R]](ctx context.Context, s *session, got A, release capnp.ReleaseFunc,
	read func(R) error) error {
	select {
	case <-got.Done():
	case <-ctx.Done():
		go release()
		return ctx.Err()
	}
	defer release()
	reply, err := got.Struct()
	if err != nil {
		return s.failure(ctx, err)
	}
	return read(reply)
}

// openArena maps an arena that a reply lies in.
func (s *session) openArena(ctx context.Context, socket string, id uint32) (mapped *mapping, err error) {
	got, release := s.rpc.OpenArena(ctx, func(p schema.Session_openArena_Params) error {
		p.SetId(id)
		return nil
	})
	err = inner(ctx, s, got, release, func(reply schema.OpenArenaReply) error {
		switch reply.Which() {
		case schema.OpenArenaReply_Which_error:
			return protocolError("the server does not open it: %v", readRefusal(reply.Error()))
		case schema.OpenArenaReply_Which_opened:
		default:
			return unknownMember(reply.Which())
		}
		opened, err := reply.Opened()
		if err != nil {
			return protocolError("an arena that cannot be read: %w", err)
		}
		token, err := opened.HandOverToken()
		if err != nil {
			return protocolError("an arena that cannot be read: %w", err)
		}
		// The reply, and with it the arena's capability, is held until then.
		file, err := takeDescriptor(ctx, socket, token)
		if isRefusal(err) {
			return protocolError("the server does not hand it over: %v", err)
		}
		if err != nil {
			return err
		}
		mapped, err = mapArena(file, opened.Size())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("arena %d: %w", id, err)
	}
	return mapped, nil
}

// giveArena makes an arena of ours known to the server.
func (s *session) giveArena(ctx context.Context, socket string, memory *sharedMemory) (
	id uint32, registration schema.Registration, err error) {
	got, release := s.rpc.OfferArena(ctx, func(p schema.Session_offerArena_Params) error {
		p.SetSize(uint64(len(memory.bytes)))
		return nil
	})
	err = inner(ctx, s, got, release, func(reply schema.OfferArenaReply) error {
		switch reply.Which() {
		case schema.OfferArenaReply_Which_error:
			return readRefusal(reply.Error())
		case schema.OfferArenaReply_Which_offered:
		default:
			return unknownMember(reply.Which())
		}
		offered, err := reply.Offered()
		if err != nil {
			return protocolError("an offer that cannot be read: %w", err)
		}
		token, err := offered.Token()
		if err != nil {
			return protocolError("an offer that cannot be read: %w", err)
		}
		if err := giveDescriptor(ctx, socket, token, memory.file); err != nil {
			return err
		}
		id, registration = offered.Id(), offered.Registration().AddRef()
		return nil
	})
	return id, registration, err
}
