// SPDX-License-Identifier: Apache-2.0
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"time"
)

const transport = "flow-go"

type samples []time.Duration

// percentile by nearest rank: the smallest sample that at least that part of all do not exceed.
func (s samples) percentile(part float64) time.Duration {
	sort.Slice(s, func(i, j int) bool { return s[i] < s[j] })
	rank := int(math.Ceil(part * float64(len(s))))
	return s[max(rank, 1)-1]
}

func microseconds(d time.Duration) float64 {
	return float64(d.Nanoseconds()) / 1000
}

func (s samples) print(name string) {
	printLine(map[string]any{
		"case": name, "transport": transport, "n": len(s),
		"p50_us": microseconds(s.percentile(0.50)),
		"p99_us": microseconds(s.percentile(0.99)),
	})
}

// printLine writes one line of JSON to standard output.
func printLine(fields map[string]any) {
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	if _, err := fmt.Fprintf(os.Stdout, "%s\n", line); err != nil {
		panic(err) // Nobody reads the results any more.
	}
}
