// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ledgerd_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	ledgerd "ledgerd/client/go"
)

func Example() {
	ctx := context.Background()
	client, err := ledgerd.Connect(ctx, ledgerd.Options{Address: address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	parent, err := client.StateByIndex(ctx, -1) // The newest state.
	if err != nil {
		log.Fatal(err)
	}
	key := ledgerd.RegisterKey([]byte{0, 0, 0, 0, 0, 0, 0, 1}, []byte("greeting"))
	state, err := client.Set(ctx, parent, []ledgerd.Key{key}, [][]byte{[]byte("hello")})
	if err != nil {
		log.Fatal(err) // Nothing was changed.
	}
	value, err := client.GetSingleValue(ctx, state, key) // Ours: a copy.
	if err != nil {
		log.Fatal(err)
	}
	proof, err := client.Prove(ctx, state, []ledgerd.Key{key})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, and a proof of it: %t\n", value, len(proof) > 0)
	// Output: hello, and a proof of it: true
}

func ExampleError() {
	ctx := context.Background()
	client, err := ledgerd.Connect(ctx, ledgerd.Options{Address: address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	nowhere := ledgerd.State{1, 2, 3}
	_, err = client.GetSingleValue(ctx, nowhere, ledgerd.RegisterKey(nil, []byte("uuid")))
	var refused *ledgerd.Error
	switch {
	case errors.Is(err, ledgerd.UnknownState):
		fmt.Println("the state was never built here, or has been evicted")
	case errors.As(err, &refused):
		fmt.Println("refused:", refused.Message)
	case err != nil:
		fmt.Println("no answer:", err)
	}
	// Output: the state was never built here, or has been evicted
}

// Views of large answers are read where the server wrote them.
func ExampleClient_ViewProof() {
	client, err := ledgerd.Connect(context.Background(), ledgerd.Options{Address: address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	state, err := client.InitialState(ctx)
	if err != nil {
		log.Fatal(err)
	}
	proof, err := client.ViewProof(ctx, state, []ledgerd.Key{ledgerd.RegisterKey(nil, []byte("uuid"))})
	if err != nil {
		log.Fatal(err)
	}
	defer proof.Release()
	fmt.Println(len(proof.Bytes()), "bytes")
	// Output: 105 bytes
}

func ExampleClient_Batch() {
	ctx := context.Background()
	client, err := ledgerd.Connect(ctx, ledgerd.Options{Address: address})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	state, err := client.InitialState(ctx)
	if err != nil {
		log.Fatal(err)
	}
	results, err := client.Batch(ctx, []ledgerd.Operation{
		ledgerd.HasStateOperation{State: state},
		ledgerd.GetSingleValueOperation{State: state, Key: ledgerd.RegisterKey(nil, []byte("uuid"))},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(results[0].Found, len(results[1].Value), results[1].Err)
	// Output: true 0 <nil>
}
