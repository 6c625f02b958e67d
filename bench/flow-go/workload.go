// SPDX-License-Identifier: Apache-2.0
package main

// The registers and the picks of every benchmark, the same as ../workload.h makes: its comment is
// the specification.

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/onflow/flow-go/ledger"
)

const (
	ownerBytes = 8
	nameBytes  = 22
	valueBytes = 128

	ownerPart = 0
	namePart  = 2
)

// splitMix64 is Steele, Lea and Flood's generator.
type splitMix64 uint64

func (s *splitMix64) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	z := uint64(*s)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *splitMix64) fill(out []byte) {
	var word [8]byte
	for len(out) > 0 {
		binary.LittleEndian.PutUint64(word[:], s.next())
		out = out[copy(out, word[:]):]
	}
}

func mix(x uint64) uint64 {
	s := splitMix64(x)
	return s.next()
}

func stream(a, b, c uint64) splitMix64 {
	return splitMix64(mix(mix(mix(a)+b) + c))
}

type workload struct {
	seed      uint64
	registers uint64
}

func (w workload) key(register uint64) ledger.Key {
	bytes := make([]byte, ownerBytes+nameBytes)
	s := stream(w.seed, register, 0)
	s.fill(bytes)
	return ledger.NewKey([]ledger.KeyPart{
		ledger.NewKeyPart(ownerPart, bytes[:ownerBytes]),
		ledger.NewKeyPart(namePart, bytes[ownerBytes:]),
	})
}

// Version 1 is what the load writes.
func (w workload) value(register, version uint64, length int) ledger.Value {
	bytes := make([]byte, length)
	s := stream(w.seed, register, version)
	s.fill(bytes)
	return bytes
}

// picks draws the registers of one run of one case.
type picks struct {
	random    splitMix64
	registers uint64
}

func (w workload) picks(name string, run uint64) picks {
	h := fnv.New64a()
	h.Write([]byte(name))
	return picks{stream(w.seed, h.Sum64(), run), w.registers}
}

// among makes the same draws, from the first registers alone.
func (p picks) among(first int) picks {
	return picks{p.random, min(uint64(first), p.registers)}
}

func (p *picks) one() uint64 {
	return p.random.next() % p.registers
}

// distinct draws count registers, no two the same; there must be as many.
func (p *picks) distinct(count int) []uint64 {
	seen := make(map[uint64]struct{}, count)
	result := make([]uint64, 0, count)
	for len(result) < count {
		register := p.one()
		if _, ok := seen[register]; ok {
			continue
		}
		seen[register] = struct{}{}
		result = append(result, register)
	}
	return result
}

func (w workload) keys(registers []uint64) []ledger.Key {
	keys := make([]ledger.Key, len(registers))
	for i, register := range registers {
		keys[i] = w.key(register)
	}
	return keys
}

func (w workload) values(registers []uint64, version uint64) []ledger.Value {
	values := make([]ledger.Value, len(registers))
	for i, register := range registers {
		values[i] = w.value(register, version, valueBytes)
	}
	return values
}
