// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ledgerpb "github.com/onflow/flow-go/ledger/protobuf"
	"github.com/onflow/flow-go/ledger/remote"
)

// panicked is the message of a call that would have ended flow-go's process.
const panicked = "flow-go's service panicked"

// serveFlowGo serves flow-go's own ledger with flow-go's own service, in this process, until the end
// of the test. It returns the path of its socket.
func serveFlowGo(t *testing.T, c config, options ...grpc.ServerOption) string {
	t.Helper()
	f := &flowGo{}
	if err := f.open(t.TempDir(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.abandon)

	directory, err := os.MkdirTemp("", "flow-go-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	socket := filepath.Join(directory, "grpc")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.UnaryInterceptor(recoverPanic))...)
	ledgerpb.RegisterLedgerServiceServer(server, remote.NewService(f.ledger, zerolog.Nop()))
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return socket
}

func recoverPanic(ctx context.Context, request any, _ *grpc.UnaryServerInfo,
	handler grpc.UnaryHandler) (response any, err error) {
	defer func() {
		if recover() != nil {
			err = status.Error(codes.Unknown, panicked)
		}
	}()
	return handler(ctx, request)
}
