// SPDX-License-Identifier: Apache-2.0

// Loads a checkpoint with flow-go's code and writes it again, as its service does, with the time
// that each took as lines of JSON, and compares the bytes. The page cache is warm: every file is
// read once before.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"github.com/onflow/flow-go/ledger/complete/wal"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "flow-go checkpoint:", err)
		os.Exit(1)
	}
}

func run() error {
	directory := flag.String("directory", "", "directory of the checkpoint (required)")
	name := flag.String("name", "", "its header file's name (required)")
	rounds := flag.Int("rounds", 3, "how often")
	flag.Parse()
	if *directory == "" || *name == "" {
		flag.Usage()
		os.Exit(2)
	}
	files, err := filepath.Glob(filepath.Join(*directory, *name+"*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if _, err := os.ReadFile(file); err != nil {
			return err
		}
	}
	for range *rounds {
		if err := once(*directory, *name, files); err != nil {
			return err
		}
	}
	return nil
}

func once(directory, name string, files []string) error {
	logger := zerolog.Nop()
	runtime.GC()
	start := time.Now()
	tries, err := wal.OpenAndReadCheckpointV6(directory, name, logger)
	if err != nil {
		return err
	}
	report(map[string]any{"case": "checkpoint-load", "tries": len(tries), "seconds": time.Since(start).Seconds()})

	// On the same disk.
	beside, err := os.MkdirTemp(directory, "written-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(beside)
	start = time.Now()
	if err := wal.StoreCheckpointV6SingleThread(tries, beside, name, logger); err != nil {
		return err
	}
	report(map[string]any{"case": "checkpoint-write", "seconds": time.Since(start).Seconds()})

	for _, file := range files {
		theirs, err := os.ReadFile(filepath.Join(beside, filepath.Base(file)))
		if err != nil {
			return err
		}
		ours, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !bytes.Equal(ours, theirs) {
			return fmt.Errorf("%s is not the same when flow-go writes it", filepath.Base(file))
		}
	}
	return nil
}

func report(line map[string]any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}
