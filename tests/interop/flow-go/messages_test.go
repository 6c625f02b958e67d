// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/onflow/flow-go/ledger"
	ledgerpb "github.com/onflow/flow-go/ledger/protobuf"
)

// Requests as bytes, many of them damaged: ledgerd must take what flow-go's service takes, refuse
// what it refuses, with the same code and text, and answer with the same bytes. So do both where
// requests or answers are over the limits, but that ledgerd applies no Set that it cannot answer.
func TestMessages(t *testing.T) {
	const request, response = 2000, 1500
	for _, scenario := range []struct {
		name    string
		flags   []string
		options []grpc.ServerOption
	}{
		{"damaged", nil, nil},
		{"limited", []string{
			"--max-request-size", fmt.Sprint(request), "--max-response-size", fmt.Sprint(response)},
			[]grpc.ServerOption{grpc.MaxRecvMsgSize(request), grpc.MaxSendMsgSize(response)}},
	} {
		t.Run(scenario.name, func(t *testing.T) {
			c := config{capacity: 500, segmentSize: 32 << 20, distance: 100, keep: 3}
			m := &messages{
				workload: newWorkload(seed, t.Name(), c),
				ours:     dial(t, startDaemon(t, daemonProgram, scenario.flags...).socket),
				theirs:   dial(t, serveFlowGo(t, c, scenario.options...)),
				states:   []ledger.State{initialState()},
			}
			for step := range 2000 {
				if m.step(t); t.Failed() {
					t.Fatalf("in step %d; INTEROP_SEED=%d", step, seed)
				}
			}
			totals.calls += 2000
			t.Logf("%d answered, %d refused, %d ended flow-go's process", m.answered, m.refused, m.fatal)
		})
	}
}

// asIs is a codec of messages that are bytes already.
type asIs struct{}

func (asIs) Marshal(message any) ([]byte, error) { return *message.(*[]byte), nil }
func (asIs) Unmarshal(bytes []byte, message any) error {
	*message.(*[]byte) = append([]byte{}, bytes...)
	return nil
}
func (asIs) Name() string { return "proto" }

func dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	connection, err := grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	return connection
}

type messages struct {
	*workload
	ours, theirs             *grpc.ClientConn
	states                   []ledger.State
	answered, refused, fatal int
}

func (m *messages) step(t *testing.T) {
	method, message := m.request(t)
	if m.oneIn(2) {
		message = damage(m.Rand, message)
	}
	ours, ourError := invoke(m.ours, method, message)
	theirs, theirError := invoke(m.theirs, method, message)
	if status.Convert(theirError).Message() == panicked {
		// An answer, which may be over the limit.
		m.fatal++
		if ourError != nil && status.Code(ourError) != codes.ResourceExhausted {
			t.Errorf("%s %s: %v", method, hex.EncodeToString(message), ourError)
		}
		return
	}
	if text(ourError) != text(theirError) {
		t.Errorf("%s %s: %s, but flow-go: %s", method, hex.EncodeToString(message), text(ourError),
			text(theirError))
	}
	if !bytes.Equal(ours, theirs) {
		t.Errorf("%s %s: %x, but flow-go: %x", method, hex.EncodeToString(message), ours, theirs)
	}
	if theirError != nil {
		m.refused++
		return
	}
	m.answered++
	if method == "Set" {
		var response ledgerpb.SetResponse
		if err := proto.Unmarshal(theirs, protoadapt.MessageV2Of(&response)); err != nil {
			t.Fatal(err)
		}
		m.states = append(m.states, ledger.State(response.NewState.Hash))
		totals.sets++
	}
}

func invoke(connection *grpc.ClientConn, method string, request []byte) (response []byte, err error) {
	err = connection.Invoke(context.Background(), "/ledger.LedgerService/"+method, &request,
		&response, grpc.ForceCodec(asIs{}))
	return response, err
}

// text is code and message of an error. Go's protobuf varies the blank after "proto:" from build to
// build.
func text(err error) string { return strings.ReplaceAll(fmt.Sprint(err), "\u00a0", " ") }

// request is one that is well-formed, though perhaps not one that is executed.
func (m *messages) request(t *testing.T) (method string, message []byte) {
	state := &ledgerpb.State{Hash: m.states[max(0, len(m.states)-1-m.IntN(8))][:]}
	var keys []*ledgerpb.Key
	var values []*ledgerpb.Value
	for _, index := range m.Perm(len(m.keys))[:m.IntN(20)] {
		keys = append(keys, wireKey(m.keys[index]))
		value := &ledgerpb.Value{Data: m.bytes(m.IntN(200)), IsNil: m.oneIn(5)}
		if m.oneIn(4) {
			value.Data = nil
		}
		values = append(values, value)
	}
	var request protoadapt.MessageV1
	switch method = []string{"InitialState", "HasState", "GetSingleValue", "Get", "Set", "Set",
		"Prove"}[m.IntN(7)]; method {
	case "InitialState", "HasState":
		request = &ledgerpb.StateRequest{State: state}
	case "GetSingleValue":
		request = &ledgerpb.GetSingleValueRequest{State: state, Key: wireKey(m.keys[m.IntN(len(m.keys))])}
	case "Get":
		request = &ledgerpb.GetRequest{State: state, Keys: keys}
	case "Set":
		request = &ledgerpb.SetRequest{State: state, Keys: keys, Values: values}
	case "Prove":
		request = &ledgerpb.ProveRequest{State: state, Keys: keys}
	}
	message, err := proto.Marshal(protoadapt.MessageV2Of(request))
	if err != nil {
		t.Fatal(err)
	}
	return method, message
}

func wireKey(key ledger.Key) *ledgerpb.Key {
	result := &ledgerpb.Key{}
	for _, part := range key.KeyParts {
		result.Parts = append(result.Parts,
			&ledgerpb.KeyPart{Type: uint32(part.Type), Value: part.Value})
	}
	return result
}

// damage changes a few bytes, or moves, repeats, cuts or adds some.
func damage(random *rand.Rand, message []byte) []byte {
	message = bytes.Clone(message)
	for range 1 + random.IntN(3) {
		if len(message) == 0 {
			return []byte{byte(random.Uint32())}
		}
		// Heads are where most goes wrong: half of the time one of the first bytes.
		at := random.IntN(len(message))
		if random.IntN(2) == 0 {
			at = random.IntN(min(50, len(message)))
		}
		upTo := at + 1 + random.IntN(min(40, len(message)-at))
		switch random.IntN(6) {
		case 0:
			message[at] ^= 1 << random.IntN(8)
		case 1:
			message[at] = byte(random.Uint32())
		case 2:
			message = append(message[:at:at], message[upTo:]...)
		case 3:
			message = append(message[:upTo:upTo], message[at:]...)
		case 4:
			message = message[:at]
		case 5:
			field := [][]byte{{0x08, 0x01}, {0x0b, 0x0c}, {0x25, 1, 2, 3, 4}, {0x1a, 0}, {0x0a, 0},
				{0x80, 0x01, 0xff, 0xff, 0x03}, {0x0c}, {0x12, 0}}[random.IntN(8)]
			message = append(message[:at:at], append(bytes.Clone(field), message[at:]...)...)
		}
	}
	return message
}
