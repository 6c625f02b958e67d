// SPDX-License-Identifier: Apache-2.0

// Package ledgerd is the Go client of ledgerd: Flow's execution ledger in another process of the same
// machine, over Cap'n Proto RPC on a Unix socket, with large payloads in shared memory.
//
//	client, err := ledgerd.Connect(ctx, ledgerd.Options{Address: "/run/ledgerd.sock"})
//	...
//	defer client.Close()
//	value, err := client.GetSingleValue(ctx, state, ledgerd.RegisterKey(owner, name))
//
// A Client is safe for use by many goroutines at once, whose calls go out side by side. It outlives
// its connections: when the server goes away, it connects again, and sends once more what had no
// answer yet. That is safe for a Set too, since it has an id by which a server knows it again.
//
// # Results
//
// Results are copies, and the caller's own. The methods whose names begin with View do not copy what
// lies in shared memory: their results keep it, with the server, until Release.
//
// # Errors
//
// What the ledger refuses is an [*Error], with a code, a reason and a message:
//
//	if errors.Is(err, ledgerd.UnknownState) { ... }
//
// Everything else is one of [ErrDisconnected], [ErrOverloaded], [ErrUnimplemented], [ErrFailed],
// [ErrProtocol], [ErrClosed] or the context's error, all of them for errors.Is.
//
// # Time limits
//
// Every call ends with its context. A context without a deadline gets that of Options.CallTimeout. A
// call that ends early is dropped at the server, too: a Set that it has not begun to log is not done.
//
// # Shared memory
//
// On Linux, memory is shared if the server offers its hand-over socket and it can be reached; else,
// and on other systems, everything goes through the connection. Options.Transport demands either.
package ledgerd
