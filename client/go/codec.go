// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"bufio"
	"net"
	"sync"

	"capnproto.org/go/capnp/v3"

	"ledgerd/client/go/internal/schema"
)

const (
	wordBytes       = 8
	readBufferBytes = 64 << 10

	// The table of segments, which limits of messages do not count, at its longest.
	framingBytes = 4 << 10
)

// messageBytes is the length of the longest message that a peer needs which carries payloads of so
// many bytes: schema/ledger.capnp, messageSlackWords.
func messageBytes(payload uint64) uint64 {
	return wordBytes * (payload/8 + payload/64 + schema.MessageSlackWords)
}

// codec reads and writes messages of up to a limit, and notes how the stream ended.
type codec struct {
	connection net.Conn
	limit      uint64 // Bytes of an incoming message.
	decoder    *capnp.Decoder
	encoder    *capnp.Encoder

	once  sync.Once
	lost  chan struct{} // Closed once nothing more will be read or written.
	fault error         // Then: the server's breach of the contract, or nil.
}

func newCodec(connection net.Conn, limit uint64) *codec {
	c := &codec{connection: connection, limit: limit, lost: make(chan struct{})}
	c.decoder = capnp.NewDecoder(bufio.NewReaderSize((*codecReader)(c), readBufferBytes))
	c.decoder.MaxMessageSize = limit + framingBytes
	c.encoder = capnp.NewEncoder(connection)
	return c
}

// codecReader notes the end of the stream, before the decoder complains about what is missing.
type codecReader codec

func (c *codecReader) Read(to []byte) (int, error) {
	n, err := c.connection.Read(to)
	if err != nil && n == 0 {
		(*codec)(c).end(nil)
	}
	return n, err
}

func (c *codec) Decode() (*capnp.Message, error) {
	message, err := c.decoder.Decode()
	if err != nil {
		c.end(protocolError("a message that cannot be read: %w", err))
		return nil, err
	}
	// The library takes a message of nothing, and panics when it looks for the root.
	if first, err := message.Segment(0); err != nil || len(first.Data()) < wordBytes {
		err = protocolError("a message without content")
		c.end(err)
		return nil, err
	}
	message.TraverseLimit = c.limit
	return message, nil
}

func (c *codec) Encode(message *capnp.Message) error {
	err := c.encoder.Encode(message)
	if err != nil {
		// Half a message may be on its way.
		c.end(nil)
		c.connection.Close()
	}
	return err
}

func (c *codec) Close() error {
	c.end(nil)
	return c.connection.Close()
}

func (c *codec) end(fault error) {
	c.once.Do(func() {
		c.fault = fault
		close(c.lost)
	})
}

func (c *codec) isLost() bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}
