// SPDX-License-Identifier: Apache-2.0
package main

import (
	"fmt"

	"github.com/rs/zerolog"

	"github.com/onflow/flow-go/ledger"
	"github.com/onflow/flow-go/ledger/complete"
	"github.com/onflow/flow-go/ledger/complete/wal/fixtures"
	"github.com/onflow/flow-go/module/metrics"
)

// coreSetSize is the number of registers in one Set of the load, as in the service's.
const coreSetSize = 10_000

// coreRead times single reads in a ledger in this process, which has no log.
func (b *bench) coreRead(c benchCase) error {
	local, err := complete.NewLedger(&fixtures.NoopWAL{}, b.service.forest, &metrics.NoopCollector{},
		zerolog.Nop(), complete.DefaultPathFinderVersion)
	if err != nil {
		return err
	}
	compactor := fixtures.NewNoopCompactor(local)
	<-compactor.Ready()
	defer func() { <-compactor.Done() }()

	state := local.InitialState()
	for first := uint64(0); first < b.registers; first += coreSetSize {
		var registers []uint64
		for i := first; i < min(first+coreSetSize, b.registers); i++ {
			registers = append(registers, i)
		}
		update, err := ledger.NewUpdate(state, b.keys(registers), b.values(registers, 1))
		if err != nil {
			return err
		}
		if state, _, err = local.Set(update); err != nil {
			return err
		}
	}
	if state != b.base {
		return fmt.Errorf("the local ledger came to state %x, the service to %x", state, b.base)
	}

	picks := b.nextPicks(c)
	var query *ledger.QuerySingleValue
	return measure(c, step{
		prepare: func() { query, _ = ledger.NewQuerySingleValue(state, b.key(picks.one())) },
		call:    func() error { _, err := local.GetSingleValue(query); return err },
	})
}
