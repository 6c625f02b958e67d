// SPDX-License-Identifier: Apache-2.0

// Package adapter is ledgerd as flow-go's ledger: what an execution node uses in place of
// remote.NewRemoteLedgerFactory to reach ledgerd over Cap'n Proto and shared memory.
package adapter

import (
	"context"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/common/pathfinder"
	"github.com/onflow/flow-go/ledger/complete"

	ledgerd "ledgerd/client/go"
)

// Factory makes ledgers that share nothing but their server.
type Factory struct {
	options ledgerd.Options
	logger  zerolog.Logger
}

var _ ledger.Factory = (*Factory)(nil)

// NewFactory needs Options.Address; the rest may be zero.
func NewFactory(options ledgerd.Options, logger zerolog.Logger) *Factory {
	return &Factory{options, logger.With().Str("component", "ledgerd_client").Logger()}
}

func (f *Factory) NewLedger() (ledger.Ledger, error) {
	client, err := ledgerd.NewClient(f.options)
	if err != nil {
		return nil, err
	}
	return &Ledger{client, f.logger, make(chan struct{}), make(chan struct{}, 1)}, nil
}

// Ledger behaves as flow-go's remote client does, but for three things: it asks what that cannot
// (StateCount, StateByIndex, and Get or Prove of no keys), calls that a restart of the service cut off
// are made again, and the trie update of a Set is made here: it says nothing that the request does not.
type Ledger struct {
	client *ledgerd.Client
	logger zerolog.Logger
	done   chan struct{}
	ending chan struct{} // Full once somebody called Done.
}

var _ ledger.Ledger = (*Ledger)(nil)

// The client has a time limit of its own for each call.
var background = context.Background()

// Ready is closed once the server answers, or, as with flow-go's, once it did not for several minutes.
func (l *Ledger) Ready() <-chan struct{} {
	const patience, pause = 10 * time.Minute, time.Second
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		ctx, cancel := context.WithTimeout(background, patience)
		defer cancel()
		for {
			_, err := l.client.InitialState(ctx)
			if err == nil {
				l.logger.Info().Msg("ledger service ready")
				return
			}
			if ctx.Err() != nil || l.isEnding() {
				l.logger.Warn().Err(err).Msg("ledger service not ready, proceeding anyway")
				return
			}
			l.logger.Warn().Err(err).Msg("ledger service not ready")
			// The client waits between attempts, but not after a refusal.
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}()
	return ready
}

// Done ends all calls.
func (l *Ledger) Done() <-chan struct{} {
	select {
	case l.ending <- struct{}{}:
		go func() {
			l.client.Close()
			close(l.done)
		}()
	default:
	}
	return l.done
}

func (l *Ledger) isEnding() bool { return len(l.ending) > 0 }

// InitialState ends the process if there is no answer.
func (l *Ledger) InitialState() ledger.State {
	state, err := l.client.InitialState(background)
	if err != nil {
		l.logger.Fatal().Err(err).Msg("failed to get initial state")
		return ledger.DummyState
	}
	return ledger.State(state)
}

// HasState is false if there is no answer.
func (l *Ledger) HasState(state ledger.State) bool {
	has, err := l.client.HasState(background, ledgerd.State(state))
	if err != nil {
		l.logger.Error().Err(err).Msg("failed to check state")
		return false
	}
	return has
}

func (l *Ledger) GetSingleValue(query *ledger.QuerySingleValue) (ledger.Value, error) {
	key, err := toKey(query.Key())
	if err != nil {
		return nil, err
	}
	value, err := l.client.GetSingleValue(background, ledgerd.State(query.State()), key)
	if err != nil {
		return nil, fmt.Errorf("failed to get single value: %w", err)
	}
	return value, nil
}

func (l *Ledger) Get(query *ledger.Query) ([]ledger.Value, error) {
	keys, err := toKeys(query.Keys())
	if err != nil {
		return nil, err
	}
	got, err := l.client.Get(background, ledgerd.State(query.State()), keys)
	if err != nil {
		return nil, fmt.Errorf("failed to get values: %w", err)
	}
	values := make([]ledger.Value, len(got))
	for i, value := range got {
		values[i] = value
	}
	return values, nil
}

func (l *Ledger) Set(update *ledger.Update) (ledger.State, *ledger.TrieUpdate, error) {
	if update.Size() == 0 {
		return update.State(), &ledger.TrieUpdate{
			RootHash: ledger.RootHash(update.State()),
			Paths:    []ledger.Path{},
			Payloads: []*ledger.Payload{},
		}, nil
	}
	trieUpdate, err := pathfinder.UpdateToTrieUpdate(update, complete.DefaultPathFinderVersion)
	if err != nil {
		return ledger.DummyState, nil, err
	}
	keys, err := toKeys(update.Keys())
	if err != nil {
		return ledger.DummyState, nil, err
	}
	values := make([][]byte, update.Size())
	for i, value := range update.Values() {
		values[i] = value
	}
	state, err := l.client.Set(background, ledgerd.State(update.State()), keys, values)
	if err != nil {
		return ledger.DummyState, nil, fmt.Errorf("failed to set values: %w", err)
	}
	return ledger.State(state), trieUpdate, nil
}

func (l *Ledger) Prove(query *ledger.Query) (ledger.Proof, error) {
	keys, err := toKeys(query.Keys())
	if err != nil {
		return nil, err
	}
	proof, err := l.client.Prove(background, ledgerd.State(query.State()), keys)
	if err != nil {
		return nil, fmt.Errorf("failed to generate proof: %w", err)
	}
	return proof, nil
}

// StateCount is 0 if there is no answer.
func (l *Ledger) StateCount() int {
	count, err := l.client.StateCount(background)
	if err != nil {
		l.logger.Error().Err(err).Msg("failed to count states")
		return 0
	}
	return int(count)
}

func (l *Ledger) StateByIndex(index int) (ledger.State, error) {
	state, err := l.client.StateByIndex(background, int64(index))
	if err != nil {
		return ledger.DummyState, fmt.Errorf("failed to get a state by its index: %w", err)
	}
	return ledger.State(state), nil
}

func toKey(key ledger.Key) (ledgerd.Key, error) {
	parts := make([]ledgerd.KeyPart, len(key.KeyParts))
	for i, part := range key.KeyParts {
		parts[i] = ledgerd.KeyPart(part)
	}
	return ledgerd.NewKey(parts...)
}

func toKeys(from []ledger.Key) ([]ledgerd.Key, error) {
	keys := make([]ledgerd.Key, len(from))
	for i, key := range from {
		var err error
		if keys[i], err = toKey(key); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
