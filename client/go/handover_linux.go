// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"ledgerd/client/go/internal/schema"
)

// The hand-over socket (docs/formats.md): one request and one reply a connection, each with or without
// a descriptor beside its first byte.
const (
	handOverMagic   = "LDHO"
	handOverVersion = 1
	handOverTake    = 1
	handOverGive    = 2

	handOverReplyBytes = 12
	mostHandOverText   = 1024
)

// takeDescriptor receives the arena that the token stands for.
func takeDescriptor(ctx context.Context, socket string, token []byte) (*os.File, error) {
	return handOver(ctx, socket, handOverTake, token, nil)
}

// giveDescriptor sends an arena of ours. The file stays ours.
func giveDescriptor(ctx context.Context, socket string, token []byte, file *os.File) error {
	surplus, err := handOver(ctx, socket, handOverGive, token, file)
	if surplus != nil {
		surplus.Close()
	}
	return err
}

func handOver(ctx context.Context, socket string, kind uint16, token []byte, given *os.File) (
	*os.File, error) {
	if uint32(len(token)) != schema.HandOverTokenBytes {
		return nil, protocolError("a token of %d bytes", len(token))
	}
	stream, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, handOverFailure(ctx, err)
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { stream.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	request := append([]byte(handOverMagic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint16(request[4:], handOverVersion)
	binary.LittleEndian.PutUint16(request[6:], kind)
	request = append(request, token...)
	var rights []byte
	if given != nil {
		rights = unix.UnixRights(int(given.Fd()))
	}
	if _, _, err := stream.(*net.UnixConn).WriteMsgUnix(request, rights, nil); err != nil {
		return nil, handOverFailure(ctx, err)
	}
	taken, err := receiveHandOver(stream.(*net.UnixConn))
	if err == nil && kind == handOverTake && taken == nil {
		err = protocolError("an arena was handed over without its descriptor")
	}
	if err != nil {
		if taken != nil {
			taken.Close()
		}
		return nil, handOverFailure(ctx, err)
	}
	return taken, nil
}

func handOverFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, ErrProtocol) || isRefusal(err) {
		return err
	}
	return fmt.Errorf("%w: the hand-over socket: %w", ErrDisconnected, err)
}

// receiveHandOver reads the reply and the descriptor that came with it, if one did. Both may be there.
func receiveHandOver(stream *net.UnixConn) (*os.File, error) {
	reply := make([]byte, handOverReplyBytes)
	control := make([]byte, unix.CmsgSpace(4*4))
	n, controlBytes, _, _, err := stream.ReadMsgUnix(reply, control)
	taken, surplus := descriptorsOf(control[:controlBytes])
	if err != nil {
		return taken, err
	}
	if surplus {
		return taken, protocolError("more than one descriptor")
	}
	if _, err := io.ReadFull(stream, reply[n:]); err != nil {
		return taken, err
	}
	version := binary.LittleEndian.Uint16(reply[4:])
	if string(reply[:4]) != handOverMagic || version != handOverVersion {
		return taken, protocolError("a reply that begins with %x", reply[:6])
	}
	length := binary.LittleEndian.Uint16(reply[10:])
	if length > mostHandOverText {
		return taken, protocolError("a text of %d bytes", length)
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(stream, text); err != nil {
		return taken, err
	}
	if code := binary.LittleEndian.Uint16(reply[6:]); code != 0 {
		reason := binary.LittleEndian.Uint16(reply[8:])
		return taken, newRefusal(code, reason, string(text))
	}
	return taken, nil
}

// descriptorsOf returns the first, and closes all others.
func descriptorsOf(control []byte) (first *os.File, surplus bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, false
	}
	for i := range messages {
		descriptors, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range descriptors {
			file := os.NewFile(uintptr(fd), "arena")
			if first == nil {
				first = file
			} else {
				file.Close()
				surplus = true
			}
		}
	}
	return first, surplus
}
