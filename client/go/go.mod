module ledgerd/client/go

go 1.25.0

require (
	// Not v3.1.0-alpha.1 or -alpha.2: they keep every answer of the server, and the memory lent with
	// it, for another 250 ms after its return.
	capnproto.org/go/capnp/v3 v3.0.1-alpha.2
	golang.org/x/sys v0.47.0
)

require (
	github.com/colega/zeropool v0.0.0-20230505084239-6fb4a4f75381 // indirect
	golang.org/x/sync v0.7.0 // indirect
)
