// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"capnproto.org/go/capnp/v3"
	"capnproto.org/go/capnp/v3/rpc"
	"capnproto.org/go/capnp/v3/rpc/transport"
	"golang.org/x/sys/unix"

	"ledgerd/client/go/internal/schema"
)

// A server that breaks the contract: every way must be an error, and the client of use afterwards.

const (
	scriptedArena      = 7
	scriptedArenaBytes = 4 << 20
)

// scripted serves one client and answers each Get with a list of the values "one", "", "three", or with
// what a test makes of that.
type scripted struct {
	schema.Session_Server // What no test calls.

	path     string
	arena    *sharedMemory
	features uint64
	regions  atomic.Int32 // That the client holds.

	mutex   sync.Mutex
	spoil   func(schema.Bulk)
	welcome func(schema.Welcome)
	opened  func(schema.OpenedArena)
	handed  func() (*os.File, []byte) // Descriptor and reply of the hand-over socket.
	form    schema.Bulk_Which
}

var (
	scriptedKeys   = []Key{RegisterKey(nil, []byte{1}), RegisterKey(nil, []byte{2}), RegisterKey(nil, []byte{3})}
	scriptedValues = [][]byte{[]byte("one"), {}, []byte("three")}
)

func serveScript(t *testing.T) *scripted {
	t.Helper()
	directory, err := os.MkdirTemp("", "ledgerd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	s := &scripted{path: filepath.Join(directory, "socket"),
		features: schema.FeatureHandOver | schema.FeatureTables}
	if s.arena, err = newSharedMemory(scriptedArenaBytes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.change(s.arena.close) })
	s.reset()
	s.listen(t, s.path, func(stream net.Conn) {
		server := schema.Ledgerd_ServerToClient(s)
		<-rpc.NewConn(transport.NewStream(stream), &rpc.Options{BootstrapClient: capnp.Client(server)}).Done()
	})
	s.listen(t, s.path+".handover", s.handOver)
	return s
}

func (s *scripted) listen(t *testing.T, path string, serve func(net.Conn)) {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			stream, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(stream)
		}
	}()
}

// change runs `how`, which changes what it answers.
func (s *scripted) change(how func()) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	how()
}

func (s *scripted) setForm(form schema.Bulk_Which) { s.change(func() { s.form = form }) }

// reset makes it keep to the contract.
func (s *scripted) reset() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.spoil, s.welcome = func(schema.Bulk) {}, func(schema.Welcome) {}
	s.opened = func(schema.OpenedArena) {}
	s.handed = func() (*os.File, []byte) { return s.arena.file, handOverReply(0, "") }
}

func handOverReply(code uint16, text string) []byte {
	reply := append([]byte("LDHO"), 1, 0)
	reply = binary.LittleEndian.AppendUint16(reply, code)
	reply = append(reply, 0, 0)
	reply = binary.LittleEndian.AppendUint16(reply, uint16(len(text)))
	return append(reply, text...)
}

func (s *scripted) handOver(stream net.Conn) {
	defer stream.Close()
	if _, err := io.ReadFull(stream, make([]byte, 8+schema.HandOverTokenBytes)); err != nil {
		return // The client looked whether somebody is here.
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	file, reply := s.handed()
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	stream.(*net.UnixConn).WriteMsgUnix(reply, rights, nil)
}

func (s *scripted) Connect(_ context.Context, call schema.Ledgerd_connect) error {
	reply, err := call.AllocResults()
	if err != nil {
		return err
	}
	welcome, err := reply.NewWelcome()
	if err != nil {
		return err
	}
	hello, err := call.Args().Hello()
	if err != nil {
		return err
	}
	welcome.SetVersion(1)
	welcome.SetFeatures(s.features & hello.Features())
	welcome.SetHandOverSocket(s.path + ".handover")
	limits, err := welcome.NewLimits()
	if err != nil {
		return err
	}
	limits.SetRequestBytes(1 << 30)
	limits.SetResponseBytes(1 << 30)
	limits.SetMessageWords(1 << 27)
	limits.SetCallsInFlight(10)
	limits.SetBatchOperations(10)
	if err := welcome.SetSession(schema.Session_ServerToClient(s)); err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.welcome(welcome)
	return nil
}

func (s *scripted) OpenArena(_ context.Context, call schema.Session_openArena) error {
	reply, err := call.AllocResults()
	if err != nil {
		return err
	}
	if call.Args().Id() != scriptedArena {
		refused, err := reply.NewError()
		if err != nil {
			return err
		}
		refused.SetCode(schema.Code_invalidArgument)
		refused.SetReason(schema.Reason_badArena)
		return refused.SetMessage_("no such arena")
	}
	opened, err := reply.NewOpened()
	if err != nil {
		return err
	}
	opened.SetSize(scriptedArenaBytes)
	if err := opened.SetHandOverToken(make([]byte, schema.HandOverTokenBytes)); err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.opened(opened)
	return nil
}

// lentRegion counts the regions that are held.
type lentRegion struct{ s *scripted }

func (l lentRegion) Shutdown() { l.s.regions.Add(-1) }

func (s *scripted) region() schema.Region {
	s.regions.Add(1)
	return schema.Region_ServerToClient(lentRegion{s})
}

// The arena: the list at 0, a table of it in three pieces at tableAt, a lease at leaseAt.
const (
	tableAt    = 4096
	leaseAt    = 8192
	leaseValue = 5
)

func (s *scripted) Get(_ context.Context, call schema.Session_get) error {
	reply, err := call.AllocResults()
	if err != nil {
		return err
	}
	bulk, err := reply.NewValues()
	if err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	list := make([]byte, packedSize(scriptedValues))
	writePacked(list, scriptedValues)
	memory := s.arena.bytes
	copy(memory, list)
	head := uint64(len(list) - 8)
	table := binary.LittleEndian.AppendUint32(nil, scriptedArena)
	for _, piece := range [][2]uint64{{0, head}, {head, 3}, {head + 3, 5}} {
		table = binary.LittleEndian.AppendUint32(table, 0)
		table = binary.LittleEndian.AppendUint64(table, piece[0])
		table = binary.LittleEndian.AppendUint64(table, piece[1])
		table = binary.LittleEndian.AppendUint32(table, scriptedArena)
	}
	copy(memory[tableAt:], table[:3*schema.TableEntryBytes])
	binary.LittleEndian.PutUint64(memory[leaseAt:], leaseValue)

	switch s.form {
	case schema.Bulk_Which_inline:
		chunks, err := bulk.NewInline(1)
		if err != nil {
			return err
		}
		if err := chunks.Set(0, list); err != nil {
			return err
		}
	case schema.Bulk_Which_span:
		bulk.SetSpan()
		bulk.Span().SetArena(scriptedArena)
		bulk.Span().SetLength(uint64(len(list)))
		if err := bulk.Span().SetRegion(s.region()); err != nil {
			return err
		}
	case schema.Bulk_Which_table:
		bulk.SetTable()
		at := bulk.Table()
		at.SetArena(scriptedArena)
		at.SetOffset(tableAt)
		at.SetCount(3)
		at.SetLength(uint64(len(list)))
		at.SetLeaseArena(scriptedArena)
		at.SetLease(leaseAt)
		at.SetLeaseValue(leaseValue)
		if err := at.SetRegion(s.region()); err != nil {
			return err
		}
	}
	s.spoil(bulk)
	return nil
}

// chunk is the only one of an inline payload, in place.
func chunk(bulk schema.Bulk) []byte {
	list, err := bulk.Inline()
	if err != nil {
		panic(err)
	}
	bytes, err := list.At(0)
	if err != nil {
		panic(err)
	}
	return bytes
}

func TestHostilePayloads(t *testing.T) {
	const inline, span, table = schema.Bulk_Which_inline, schema.Bulk_Which_span, schema.Bulk_Which_table
	s := serveScript(t)
	client, err := Connect(context.Background(), Options{Address: s.path, Transport: SharedMemory,
		StoreViews: true})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	get := func() ([][]byte, error) {
		return client.Get(context.Background(), State{}, scriptedKeys)
	}
	for _, attack := range []struct {
		name  string
		form  schema.Bulk_Which
		spoil func(schema.Bulk)
	}{
		{"unset", inline, func(b schema.Bulk) { b.SetUnset() }},
		{"of no chunks", inline, func(b schema.Bulk) { b.NewInline(0) }},
		{"of too many chunks", inline, func(b schema.Bulk) { b.NewInline(1 << 20) }},
		{"one value too many", inline, func(b schema.Bulk) { chunk(b)[0]++ }},
		{"one value too few", inline, func(b schema.Bulk) { chunk(b)[0]-- }},
		{"2^31 values more", inline, func(b schema.Bulk) { chunk(b)[3] = 0x80 }},
		{"zero is not zero", inline, func(b schema.Bulk) { chunk(b)[4] = 1 }},
		{"longer than there is", inline, func(b schema.Bulk) { chunk(b)[8]++ }},
		{"much longer", inline, func(b schema.Bulk) { chunk(b)[11] = 0xff }},
		{"bytes left", inline, func(b schema.Bulk) { chunk(b)[8]-- }},
		{"no region", span, func(b schema.Bulk) { b.Span().SetRegion(schema.Region{}) }},
		{"unknown arena", span, func(b schema.Bulk) { b.Span().SetArena(99) }},
		{"offset at the end", span, func(b schema.Bulk) { b.Span().SetOffset(scriptedArenaBytes) }},
		{"offset beyond", span, func(b schema.Bulk) { b.Span().SetOffset(scriptedArenaBytes + 1) }},
		{"offset overflows", span, func(b schema.Bulk) { b.Span().SetOffset(math.MaxUint64 - 3) }},
		{"length beyond", span, func(b schema.Bulk) { b.Span().SetLength(scriptedArenaBytes + 1) }},
		{"length overflows", span, func(b schema.Bulk) { b.Span().SetLength(math.MaxUint64) }},
		{"span cut", span, func(b schema.Bulk) { b.Span().SetLength(b.Span().Length() - 1) }},
		{"table without region", table, func(b schema.Bulk) { b.Table().SetRegion(schema.Region{}) }},
		{"table in no arena", table, func(b schema.Bulk) { b.Table().SetArena(0) }},
		{"table beyond", table, func(b schema.Bulk) { b.Table().SetOffset(scriptedArenaBytes - 1) }},
		{"table overflows", table, func(b schema.Bulk) { b.Table().SetOffset(math.MaxUint64) }},
		{"table too long", table, func(b schema.Bulk) { b.Table().SetCount(math.MaxUint32) }},
		{"table over the arena", table, func(b schema.Bulk) { b.Table().SetCount(200_000) }},
		{"table empty", table, func(b schema.Bulk) { b.Table().SetCount(0) }},
		{"table cut", table, func(b schema.Bulk) { b.Table().SetCount(2) }},
		{"sum too large", table, func(b schema.Bulk) { b.Table().SetLength(b.Table().Length() + 1) }},
		{"sum too small", table, func(b schema.Bulk) { b.Table().SetLength(1) }},
		{"shifted by four", table, func(b schema.Bulk) { b.Table().SetOffset(tableAt + 4) }},
		{"of zeros", table, func(b schema.Bulk) { b.Table().SetOffset(leaseAt + 64) }},
		{"a span of another arena", table, func(schema.Bulk) { s.arena.bytes[tableAt+24]++ }},
		{"a span that overflows", table, func(schema.Bulk) { s.arena.bytes[tableAt+24+15] = 0xff }},
		{"lease beyond", table, func(b schema.Bulk) { b.Table().SetLease(scriptedArenaBytes) }},
		{"lease between", table, func(b schema.Bulk) { b.Table().SetLease(4) }},
		{"lease overflows", table, func(b schema.Bulk) { b.Table().SetLease(math.MaxUint64 - 7) }},
		{"lease in no arena", table, func(b schema.Bulk) { b.Table().SetLeaseArena(0) }},
	} {
		s.change(func() { s.form, s.spoil = attack.form, attack.spoil })
		if got, err := get(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %q, %v", attack.name, got, err)
		}
		s.reset()
		if got, err := get(); err != nil || !slices.EqualFunc(got, scriptedValues, bytes.Equal) {
			t.Fatalf("after %s: %q, %v", attack.name, got, err)
		}
	}
	// All regions come back, with messages of their own.
	s.setForm(inline)
	for s.regions.Load() > 0 {
		if _, err := get(); err != nil {
			t.Fatal(err)
		}
	}

	// A lease that ended: the bytes are not used, and what is asked again gets the same.
	s.change(func() {
		s.form = table
		s.spoil = func(schema.Bulk) { s.arena.bytes[leaseAt]++ }
	})
	if got, err := get(); !errors.Is(err, ErrDisconnected) {
		t.Errorf("a lease that ended: %q, %v", got, err)
	}
}

func TestHostileLimits(t *testing.T) {
	s := serveScript(t)
	for _, form := range []schema.Bulk_Which{schema.Bulk_Which_inline, schema.Bulk_Which_span,
		schema.Bulk_Which_table} {
		s.setForm(form)
		client, err := Connect(context.Background(), Options{Address: s.path, StoreViews: true,
			MaxPayloadBytes: 10})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Get(context.Background(), State{}, scriptedKeys); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s, over our limit: %v", form, err)
		}
		client.Close()
		for _, option := range []Options{{Address: s.path, Transport: Inline}, {Address: s.path}} {
			agreed := form == schema.Bulk_Which_inline ||
				form == schema.Bulk_Which_span && option.Transport == Auto
			if client, err = Connect(context.Background(), option); err != nil {
				t.Fatal(err)
			}
			_, err = client.Get(context.Background(), State{}, scriptedKeys)
			if agreed && err != nil || !agreed && !errors.Is(err, ErrProtocol) {
				t.Errorf("%s where %+v was agreed on: %v", form, option, err)
			}
			client.Close()
		}
	}
}

func TestHostileWelcomes(t *testing.T) {
	s := serveScript(t)
	for name, spoil := range map[string]func(schema.Welcome){
		"another version": func(w schema.Welcome) { w.SetVersion(2) },
		"no version":      func(w schema.Welcome) { w.SetVersion(0) },
		"more features":   func(w schema.Welcome) { w.SetFeatures(w.Features() | 1<<63) },
		"no session":      func(w schema.Welcome) { w.SetSession(schema.Session{}) },
		"no calls":        func(w schema.Welcome) { w.NewLimits() },
	} {
		s.change(func() { s.welcome = spoil })
		_, err := Connect(context.Background(), Options{Address: s.path, ConnectTimeout: -1})
		if !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What the hand-over socket answers, and what it hands over, is looked at.
func TestHostileHandOvers(t *testing.T) {
	s := serveScript(t)
	s.setForm(schema.Bulk_Which_span)
	unsealed, err := unix.MemfdCreate("unsealed", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	loose := os.NewFile(uintptr(unsealed), "unsealed")
	defer loose.Close()
	if err := loose.Truncate(scriptedArenaBytes); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	reply := handOverReply(0, "")
	handed := func(file *os.File, reply []byte) func() {
		return func() { s.handed = func() (*os.File, []byte) { return file, reply } }
	}
	opened := func(change func(schema.OpenedArena)) func() { return func() { s.opened = change } }
	for _, attack := range []struct {
		name  string
		spoil func()
		want  error
	}{
		{"nothing", handed(nil, reply), ErrProtocol},
		{"a memfd that can shrink", handed(loose, reply), ErrProtocol},
		{"a device", handed(null, reply), ErrProtocol},
		{"another protocol", handed(s.arena.file, []byte("HTTP/1.1 200 OK")), ErrProtocol},
		{"a long text", handed(s.arena.file, append(reply[:10:10], 1, 4)), ErrProtocol},
		{"a refusal", handed(nil, handOverReply(5, "no")), ErrProtocol},
		{"a cut reply", handed(s.arena.file, reply[:11]), ErrDisconnected},
		{"less than it says", opened(func(o schema.OpenedArena) { o.SetSize(scriptedArenaBytes + 1) }),
			ErrProtocol},
		{"no bytes", opened(func(o schema.OpenedArena) { o.SetSize(0) }), ErrProtocol},
		{"all bytes", opened(func(o schema.OpenedArena) { o.SetSize(math.MaxUint64) }), ErrProtocol},
		{"no token", opened(func(o schema.OpenedArena) { o.SetHandOverToken(nil) }), ErrProtocol},
	} {
		s.change(attack.spoil)
		client, err := Connect(context.Background(), Options{Address: s.path, Transport: SharedMemory,
			Attempts: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Get(context.Background(), State{}, scriptedKeys); !errors.Is(err,
			attack.want) {
			t.Errorf("%s: %v", attack.name, err)
		}
		s.reset()
		if _, err := client.Get(context.Background(), State{}, scriptedKeys); err != nil {
			t.Errorf("after %s: %v", attack.name, err)
		}
		client.Close()
	}
}

// Bytes that are no messages, after any number of which the connection may end.
func TestHostileFraming(t *testing.T) {
	directory := t.TempDir()
	for name, sent := range map[string][]byte{
		"nothing":           {},
		"zeros":             make([]byte, 64),
		"2^32 segments":     bytes.Repeat([]byte{0xff}, 64),
		"too many segments": {0xff, 0xff, 0, 0, 1, 0, 0, 0},
		"a huge segment":    {0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f},
		"a cut message":     {0, 0, 0, 0, 2, 0, 0, 0, 1},
		"no pointer":        {0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(directory, "s")
			listener, err := net.Listen("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			go func() {
				for {
					stream, err := listener.Accept()
					if err != nil {
						return
					}
					stream.Write(sent)
					stream.Close()
				}
			}()
			_, err = Connect(context.Background(), Options{Address: path, ConnectTimeout: -1})
			if !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrDisconnected) {
				t.Error(err)
			}
		})
	}
}
