// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ledgerd_test

import (
	"sync/atomic"
	"testing"

	ledgerd "ledgerd/client/go"
)

// What a call costs, each way that payloads can take: one read after the other, reads of many
// goroutines, a Get of 4 MiB copied and as a view.
func BenchmarkClient(b *testing.B) {
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			s, err := newServer()
			if err == nil {
				err = s.start()
			}
			if err != nil {
				b.Fatal(err)
			}
			defer s.end()
			c, err := ledgerd.Connect(background, ledgerd.Options{Address: s.socket,
				Transport: way.transport, StoreViews: way.views})
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			state, err := c.InitialState(background)
			if err != nil {
				b.Fatal(err)
			}
			keys, values := registers(1024, 4096)
			if state, err = c.Set(background, state, keys, values); err != nil {
				b.Fatal(err)
			}
			b.Run("read", func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					if _, err := c.GetSingleValue(background, state, keys[i%len(keys)]); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("reads", func(b *testing.B) {
				var next atomic.Int64
				b.SetParallelism(32)
				b.RunParallel(func(p *testing.PB) {
					for p.Next() {
						key := keys[int(next.Add(1))%len(keys)]
						if _, err := c.GetSingleValue(background, state, key); err != nil {
							b.Error(err)
						}
					}
				})
			})
			b.Run("get", func(b *testing.B) {
				b.SetBytes(int64(len(values) * len(values[0])))
				for b.Loop() {
					if _, err := c.Get(background, state, keys); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("view", func(b *testing.B) {
				b.SetBytes(int64(len(values) * len(values[0])))
				for b.Loop() {
					got, err := c.ViewValues(background, state, keys)
					if err != nil {
						b.Fatal(err)
					}
					got.Release()
				}
			})
		})
	}
}
