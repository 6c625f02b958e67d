// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func unhex(text string) []byte {
	bytes, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		panic(err)
	}
	return bytes
}

// The examples of docs/formats.md.
func TestFormats(t *testing.T) {
	key := RegisterKey(unhex("f233dcee88fe0abe"), append([]byte{'$'}, 0, 0, 0, 0, 0, 0, 0, 1))
	if want := unhex("0002 0000000a 0000 f233dcee88fe0abe 0000000b 0002 240000000000000001"); !bytes.Equal(
		key, want) {
		t.Errorf("a key: %x", key)
	}
	if none, err := NewKey(); err != nil || !bytes.Equal(none, []byte{0, 0}) {
		t.Errorf("no parts: %x, %v", none, err)
	}

	items := [][]byte{[]byte("ab"), {}, []byte("c")}
	list := make([]byte, packedSize(items))
	writePacked(list, items)
	if want := unhex("03000000 00000000 02000000 00000000 01000000 6162 63"); !bytes.Equal(list, want) {
		t.Errorf("a list: %x", list)
	}
	if empty := make([]byte, packedSize[Key](nil)); len(empty) != 8 {
		t.Errorf("a list of nothing has %d bytes", len(empty))
	}

	table := unhex("02000000 00000000 0010000000000000 1000000000000000" +
		"03000000 00000000 0000000000000000 0500000000000000")
	spans, err := parseTable(table, 21)
	if err != nil || !slices.Equal(spans, []span{{2, 4096, 16}, {3, 0, 5}}) {
		t.Errorf("a table: %v, %v", spans, err)
	}
	for _, wrong := range []uint64{0, 15, 20, 22, 1 << 63} {
		if _, err := parseTable(table, wrong); !errors.Is(err, ErrProtocol) {
			t.Errorf("a table of %d bytes: %v", wrong, err)
		}
	}
	table[4] = 1
	if _, err := parseTable(table, 21); !errors.Is(err, ErrProtocol) {
		t.Errorf("a table with a number that must be zero: %v", err)
	}
}

func TestPackedLists(t *testing.T) {
	items := [][]byte{[]byte("ab"), {}, []byte("c"), {}, []byte("defg"), {}}
	list := make([]byte, packedSize(items))
	writePacked(list, items)
	same := func(pieces ...[]byte) {
		t.Helper()
		if got, err := parsePacked(pieces, len(items)); err != nil ||
			!slices.EqualFunc(got, items, bytes.Equal) {
			t.Errorf("%q, %v", got, err)
		}
	}
	head := 8 + 4*len(items)
	same(list)
	same(list[:head], list[head:head+2], nil, list[head+2:head+3], list[head+3:], nil)

	refused := func(what string, count int, pieces ...[]byte) {
		t.Helper()
		if got, err := parsePacked(pieces, count); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	for cut := range list {
		refused("cut", len(items), list[:cut])
	}
	refused("nothing", len(items))
	refused("another count", len(items)+1, list)
	refused("more", len(items), list, []byte{1})
	refused("an item across two pieces", len(items), list[:head+1], list[head+1:])
	for at := 4; at < head; at++ {
		damaged := slices.Clone(list)
		damaged[at] |= 0x80
		refused("a damaged head", len(items), damaged)
	}
}

func TestMappingBounds(t *testing.T) {
	m := newMapping(make([]byte, 100))
	for _, good := range []span{{0, 0, 0}, {0, 0, 100}, {0, 100, 0}, {0, 50, 50}} {
		if got, err := m.slice(good); err != nil || uint64(len(got)) != good.length {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, bad := range []span{{0, 0, 101}, {0, 101, 0}, {0, 50, 51}, {0, 1, 1<<64 - 1},
		{0, 1<<64 - 1, 1}, {0, 1<<64 - 1, 1<<64 - 1}} {
		if _, err := m.slice(bad); !errors.Is(err, ErrProtocol) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := Backoff{First: 100 * time.Millisecond, Most: time.Second}
	next := b.waits()
	middle := float64(b.First)
	for range 20 {
		wait := next()
		if low := time.Duration(middle * 0.79); wait < low || wait > b.Most ||
			wait > time.Duration(middle*1.21) {
			t.Fatalf("%v where %v is the middle", wait, time.Duration(middle))
		}
		middle = min(middle*backoffFactor, float64(b.Most))
	}
}

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"/run/socket":         "/run/socket",
		"unix:/run/socket":    "/run/socket",
		"unix:///run/socket":  "/run/socket",
		"unix-abstract:there": "@there",
		"@there":              "@there",
	} {
		if o, err := (Options{Address: given}).complete(); err != nil || o.Address != want {
			t.Errorf("%s: %s, %v", given, o.Address, err)
		}
	}
	for _, bad := range []Options{{}, {Address: "a", Transport: 3}, {Address: "a", Attempts: -1}} {
		if _, err := bad.complete(); err == nil {
			t.Errorf("%+v makes no sense", bad)
		}
	}
}

func TestNames(t *testing.T) {
	for _, want := range []string{"unknown state", "set id reused"} {
		found := false
		for reason := Unspecified; reason <= BadEncoding; reason++ {
			found = found || reason.String() == want
		}
		if !found {
			t.Errorf("no reason is called %q", want)
		}
	}
	if text := newRefusal(99, 99, "x"); text.Code != Internal || text.Reason != Unspecified {
		t.Errorf("numbers of a later version: %v", text)
	}
	if text := Reason(99).String(); text != "reason 99" {
		t.Error(text)
	}
}

func TestState(t *testing.T) {
	state := State{1, 2}
	if again, err := ParseState(state.String()); err != nil || again != state {
		t.Errorf("%v, %v", again, err)
	}
	for _, bad := range []string{"", "12", strings.Repeat("x", 64), strings.Repeat("0", 66)} {
		if _, err := ParseState(bad); err == nil {
			t.Errorf("%q is no state", bad)
		}
	}
}
