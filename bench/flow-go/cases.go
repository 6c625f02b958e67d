// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bytes"
	"crypto/sha3"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/common/proof"
)

// benchCase is one line of ../cases.txt, which says what the operations do.
type benchCase struct {
	name      string
	operation string
	size      int
	samples   int
}

// bench runs cases against one service.
type bench struct {
	workload
	service *service
	base    ledger.State         // After the load.
	tip     ledger.State         // After the last Set.
	sets    uint64               // After the load, for versions of values.
	runs    map[string]uint64    // Of each case.
	large   map[int]ledger.State // Where the value of so many bytes is.
}

// step is one sample: only call is timed.
type step struct {
	prepare func()
	call    func() error
	check   func() error
}

var errWrongValue = errors.New("a value is not what was written")

func (b *bench) run(c benchCase) error {
	switch c.operation {
	case "load":
		return b.load(c)
	case "memory":
		held, err := b.service.memory()
		if err != nil {
			return err
		}
		printLine(map[string]any{"case": c.name, "transport": transport, "n": 1, "bytes": held})
		return nil
	case "restart":
		return b.restart(c)
	case "in-flight":
		return b.inFlight(c)
	case "core-read":
		return b.coreRead(c)
	}

	picks := b.nextPicks(c)
	var s step
	switch c.operation {
	case "initial-state":
		var state ledger.State
		s.call = func() error { state = b.service.client.InitialState(); return nil }
		s.check = func() error {
			if state == ledger.DummyState {
				return errors.New("no initial state")
			}
			return nil
		}
	case "has-state":
		s.call = func() error {
			if !b.service.client.HasState(b.base) {
				return errors.New("the base state is gone")
			}
			return nil
		}
	case "get-single-value":
		if c.size > 0 {
			picks = picks.among(c.size)
		}
		s = b.getSingleValue(&picks)
	case "get", "batch":
		s = b.get(&picks, c.size)
	case "prove":
		s = b.prove(&picks, c.size)
	case "set":
		s = b.set(&picks, c.size)
	case "value", "value-held":
		var err error
		if s, err = b.largeValue(c); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown operation %q", c.operation)
	}
	return measure(c, s)
}

func measure(c benchCase, s step) error {
	return measurePer(c, s, 1)
}

// measurePer takes one unrecorded sample for each ten recorded ones first. A step does calls calls,
// and its time is divided by that.
func measurePer(c benchCase, s step, calls int) error {
	taken := make(samples, 0, c.samples)
	for i := -(c.samples/10 + 1); i < c.samples; i++ {
		if s.prepare != nil {
			s.prepare()
		}
		start := time.Now()
		err := s.call()
		elapsed := time.Since(start)
		if err == nil && s.check != nil {
			err = s.check()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if i >= 0 {
			taken = append(taken, elapsed/time.Duration(calls))
		}
	}
	taken.print(c.name)
	return nil
}

func (b *bench) nextPicks(c benchCase) picks {
	run := b.runs[c.name]
	b.runs[c.name] = run + 1
	return b.workload.picks(c.name, run)
}

func (b *bench) load(c benchCase) error {
	b.tip = b.service.client.InitialState()
	var taken samples
	var registers []uint64
	for first := uint64(0); first < b.registers; first += uint64(c.size) {
		registers = registers[:0]
		for i := first; i < min(first+uint64(c.size), b.registers); i++ {
			registers = append(registers, i)
		}
		elapsed, err := b.setRegisters(registers, 1)
		if err != nil {
			return err
		}
		taken = append(taken, elapsed/time.Duration(len(registers)))
	}
	b.base = b.tip
	taken.print(c.name)
	return b.printFingerprint()
}

// printFingerprint tells the base state and the hash of a proof, so that two ledgers under
// comparison can be seen to hold the same, byte for byte.
func (b *bench) printFingerprint() error {
	registers := make([]uint64, min(100, b.registers))
	for i := range registers {
		registers[i] = uint64(i)
	}
	query, err := ledger.NewQuery(b.base, b.keys(registers))
	if err != nil {
		return err
	}
	encoded, err := b.service.client.Prove(query)
	if err != nil {
		return err
	}
	decoded, err := ledger.DecodeTrieBatchProof(encoded)
	if err != nil {
		return err
	}
	if !proof.VerifyTrieBatchProof(decoded, b.base) {
		return errors.New("the proof does not verify")
	}
	sum := sha3.Sum256(encoded)
	printLine(map[string]any{"transport": transport,
		"base": hex.EncodeToString(b.base[:]), "proof_sha3": hex.EncodeToString(sum[:])})
	return nil
}

func (b *bench) setRegisters(registers []uint64, version uint64) (time.Duration, error) {
	update, err := ledger.NewUpdate(b.tip, b.keys(registers), b.values(registers, version))
	if err != nil {
		return 0, err
	}
	start := time.Now()
	state, _, err := b.service.client.Set(update)
	elapsed := time.Since(start)
	b.tip = state
	return elapsed, err
}

func (b *bench) restart(c benchCase) error {
	if err := b.service.stop(); err != nil {
		return err
	}
	start := time.Now()
	if err := b.service.start(); err != nil {
		return err
	}
	samples{time.Since(start)}.print(c.name)
	if !b.service.client.HasState(b.base) {
		return errors.New("the base state did not survive the restart")
	}
	return nil
}

func (b *bench) getSingleValue(picks *picks) step {
	var query *ledger.QuerySingleValue
	var register uint64
	var value ledger.Value
	return step{
		prepare: func() {
			register = picks.one()
			query, _ = ledger.NewQuerySingleValue(b.base, b.key(register)) // Never fails.
		},
		call: func() (err error) { value, err = b.service.client.GetSingleValue(query); return err },
		check: func() error {
			if !bytes.Equal(value, b.value(register, 1, valueBytes)) {
				return errWrongValue
			}
			return nil
		},
	}
}

func (b *bench) get(picks *picks, size int) step {
	var query *ledger.Query
	var registers []uint64
	var values []ledger.Value
	return step{
		prepare: func() {
			registers = picks.distinct(size)
			query, _ = ledger.NewQuery(b.base, b.keys(registers)) // Never fails.
		},
		call: func() (err error) { values, err = b.service.client.Get(query); return err },
		check: func() error {
			for i, register := range registers {
				if !bytes.Equal(values[i], b.value(register, 1, valueBytes)) {
					return errWrongValue
				}
			}
			return nil
		},
	}
}

func (b *bench) prove(picks *picks, size int) step {
	var query *ledger.Query
	var encoded ledger.Proof
	return step{
		prepare: func() { query, _ = ledger.NewQuery(b.base, b.keys(picks.distinct(size))) },
		call:    func() (err error) { encoded, err = b.service.client.Prove(query); return err },
		check: func() error {
			// Each proof holds its payload, among other things.
			if len(encoded) < size*valueBytes {
				return fmt.Errorf("a proof of %d registers has only %d bytes", size, len(encoded))
			}
			return nil
		},
	}
}

func (b *bench) set(picks *picks, size int) step {
	var update *ledger.Update
	var state ledger.State
	return step{
		prepare: func() {
			registers := picks.distinct(size)
			b.sets++
			update, _ = ledger.NewUpdate(b.tip, b.keys(registers), b.values(registers, 1+b.sets))
		},
		call: func() (err error) { state, _, err = b.service.client.Set(update); return err },
		check: func() error {
			if state == b.tip {
				return errors.New("a Set of new values left the state as it was")
			}
			b.tip = state
			return nil
		},
	}
}

func (b *bench) largeValue(c benchCase) (step, error) {
	key := b.key(b.registers + uint64(c.size))
	written := b.value(b.registers+uint64(c.size), 1, c.size)
	if _, ok := b.large[c.size]; !ok {
		update, err := ledger.NewUpdate(b.tip, []ledger.Key{key}, []ledger.Value{written})
		if err != nil {
			return step{}, err
		}
		if b.tip, _, err = b.service.client.Set(update); err != nil {
			return step{}, err
		}
		b.large[c.size] = b.tip
	}
	query, err := ledger.NewQuerySingleValue(b.large[c.size], key)
	if err != nil {
		return step{}, err
	}
	want := sumWords(written)
	var value ledger.Value
	var sum uint64
	return step{
		call: func() (err error) {
			value, err = b.service.client.GetSingleValue(query)
			if c.operation == "value" {
				sum = sumWords(value)
			}
			return err
		},
		check: func() error {
			if len(value) != c.size || c.operation == "value" && sum != want {
				return errWrongValue
			}
			return nil
		},
	}, nil
}

// sumWords reads every byte; a rest of less than eight is left out.
func sumWords(bytes []byte) uint64 {
	var sum uint64
	for ; len(bytes) >= 8; bytes = bytes[8:] {
		sum += binary.LittleEndian.Uint64(bytes)
	}
	return sum
}

// inFlight keeps size calls going, each from a goroutine of its own.
func (b *bench) inFlight(c benchCase) error {
	const callsEach = 16
	picks := b.nextPicks(c)
	queries := make([]*ledger.QuerySingleValue, c.size*callsEach)
	s := step{
		prepare: func() {
			for i := range queries {
				queries[i], _ = ledger.NewQuerySingleValue(b.base, b.key(picks.one()))
			}
		},
		call: func() error {
			failed := make(chan error, c.size)
			for worker := range c.size {
				go func() {
					for i := range callsEach {
						if _, err := b.service.client.GetSingleValue(queries[worker*callsEach+i]); err != nil {
							failed <- err
							return
						}
					}
					failed <- nil
				}()
			}
			var all error
			for range c.size {
				all = errors.Join(all, <-failed)
			}
			return all
		},
	}
	return measurePer(c, s, c.size*callsEach)
}
