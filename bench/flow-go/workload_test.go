// SPDX-License-Identifier: Apache-2.0
package main

import (
	"encoding/hex"
	"testing"
)

// The same numbers are in ../workload-test.cc: with other registers, or other picks, the two sides
// of the comparison would not do the same work.
func TestWorkloadIsTheOneThatWasSpecified(t *testing.T) {
	w := workload{seed: 1, registers: 1000}

	parts := w.key(7).KeyParts
	if got := hex.EncodeToString(parts[0].Value); parts[0].Type != 0 || got != "bc8c16ba23ce253f" {
		t.Errorf("owner: %d %s", parts[0].Type, got)
	}
	const name = "6d02c6e68d3eedc184f839807de2ff5b75c92b91c872"
	if got := hex.EncodeToString(parts[1].Value); parts[1].Type != 2 || got != name {
		t.Errorf("name: %d %s", parts[1].Type, got)
	}
	if got := hex.EncodeToString(w.value(7, 1, 13)); got != "cff3077e90983a73b9675f8f9b" {
		t.Errorf("value: %s", got)
	}
	picks := w.picks("get-100", 2)
	for i, want := range []uint64{289, 22, 896, 950, 602} {
		if got := picks.one(); got != want {
			t.Errorf("pick %d: %d, want %d", i, got, want)
		}
	}
}
