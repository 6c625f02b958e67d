// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"math"
	"time"

	"capnproto.org/go/capnp/v3"

	"ledgerd/client/go/internal/schema"
)

// Info is what the server is, and how it is doing. schema/ledger.capnp explains the figures.
type Info struct {
	Version      uint16 // Of the protocol.
	Features     uint64
	SharedMemory bool   // Whether large payloads of this client go through it.
	Build        string // The server's program and version.
	Limits       Limits
	Uptime       time.Duration
	Sessions     uint32

	// Of this session's reply arenas.
	Arenas, ArenaRegions                uint32
	ArenaCommittedBytes, ArenaLentBytes uint64

	// Of the whole ledger.
	States, Nodes, Leaves, Values    uint64
	NodeBytes, ValueBytes            uint64
	NewestRegisters, NewestBytes     uint64
	MemoryUsed, MemoryLimit          uint64
	ActiveSegment                    uint32
	LogGood                          bool   // Whether Sets can be logged.
	LogReason                        string // Why not.
	NewestCheckpoint                 uint64 // If HasCheckpoint.
	HasCheckpoint, WritingCheckpoint bool
	CheckpointFailure                string // Why the last attempt failed; empty if it did not.
}

const mostMs = uint64(math.MaxInt64 / time.Millisecond)

func (s *session) info(ctx context.Context) (Info, error) {
	return call(ctx, s, func(ctx context.Context) (schema.InfoReply_Future, capnp.ReleaseFunc) {
		return s.rpc.Info(ctx, nil)
	}, func(reply schema.InfoReply) (Info, error) {
		switch reply.Which() {
		case schema.InfoReply_Which_info:
			from, err := reply.Info()
			var info Info
			if err == nil {
				info, err = readInfo(from)
			}
			if err != nil {
				return Info{}, protocolError("an answer that cannot be read: %w", err)
			}
			info.SharedMemory = s.replies != nil
			return info, nil
		case schema.InfoReply_Which_error:
			return Info{}, readRefusal(reply.Error())
		}
		return Info{}, unknownMember(reply.Which())
	})
}

func readInfo(from schema.Info) (info Info, err error) {
	// The first of several that cannot be read.
	keep := func(e error) {
		if err == nil {
			err = e
		}
	}
	limits, e := from.Limits()
	keep(e)
	arenas, e := from.Arenas()
	keep(e)
	ledger, e := from.Ledger()
	keep(e)
	log, e := ledger.Log()
	keep(e)
	checkpoints, e := ledger.Checkpoints()
	keep(e)
	if err != nil {
		return info, err
	}
	info = Info{
		Version:             from.Version(),
		Features:            from.Features(),
		Limits:              readLimits(limits),
		Uptime:              time.Duration(min(from.UptimeMs(), mostMs)) * time.Millisecond,
		Sessions:            from.Sessions(),
		Arenas:              arenas.Arenas(),
		ArenaRegions:        arenas.Regions(),
		ArenaCommittedBytes: arenas.CommittedBytes(),
		ArenaLentBytes:      arenas.LentBytes(),
		States:              ledger.States(),
		Nodes:               ledger.Nodes(),
		Leaves:              ledger.Leaves(),
		Values:              ledger.Values(),
		NodeBytes:           ledger.NodeBytes(),
		ValueBytes:          ledger.ValueBytes(),
		NewestRegisters:     ledger.NewestRegisters(),
		NewestBytes:         ledger.NewestBytes(),
		MemoryUsed:          ledger.MemoryUsed(),
		MemoryLimit:         ledger.MemoryLimit(),
		ActiveSegment:       ledger.ActiveSegment(),
		LogGood:             log.State() == schema.LogUse_State_good,
		NewestCheckpoint:    checkpoints.Newest(),
		HasCheckpoint:       checkpoints.HasNewest(),
		WritingCheckpoint:   checkpoints.IsRunning(),
	}
	info.Build, e = from.Build()
	keep(e)
	info.LogReason, e = log.Reason()
	keep(e)
	info.CheckpointFailure, e = checkpoints.Failure()
	keep(e)
	return info, err
}
