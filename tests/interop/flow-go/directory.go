// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	walLibrary "github.com/onflow/wal/wal"
	"github.com/rs/zerolog"

	"github.com/onflow/flow-go/ledger/complete/wal"
)

const checkpointParts = 17

// logged is one record of a log.
type logged struct {
	segment int
	record  string
}

// segmentsOf returns the numbers of a directory's segments, ascending.
func segmentsOf(directory string) ([]int, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, entry := range entries {
		if number, err := strconv.Atoi(entry.Name()); err == nil {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// readLog reads the segments from `first` on with the library of flow-go's log. `torn` says that the
// last record is not complete; anything else that is wrong is an error.
func readLog(directory string, first int) (records []logged, torn bool, err error) {
	segments, err := segmentsOf(directory)
	if err != nil {
		return nil, false, err
	}
	for _, segment := range segments {
		if segment < first {
			continue
		}
		count := len(records)
		damage, err := readSegment(directory, segment, &records)
		if err != nil {
			return nil, false, err
		}
		if torn && len(records) > count {
			return nil, false, fmt.Errorf("segment %d has records behind a torn one", segment)
		}
		torn = torn || damage != nil
	}
	return records, torn, nil
}

func readSegment(directory string, segment int, records *[]logged) (damage, err error) {
	file, err := walLibrary.NewSegmentsRangeReader(zerolog.Nop(),
		walLibrary.SegmentRange{Dir: directory, First: segment, Last: segment})
	if err != nil {
		return nil, err
	}
	defer file.Close()
	reader := walLibrary.NewReader(file)
	for reader.Next() {
		*records = append(*records, logged{segment, string(reader.Record())})
	}
	return reader.Err(), nil
}

// filesOfCheckpoint returns the names of the files that it has, or would have.
func filesOfCheckpoint(number int) []string {
	header := wal.NumberToFilename(number)
	names := []string{header}
	for part := range checkpointParts {
		names = append(names, fmt.Sprintf("%s.%03d", header, part))
	}
	return names
}

func removeCheckpoint(directory string, number int) error {
	for _, name := range filesOfCheckpoint(number) {
		if err := os.Remove(filepath.Join(directory, name)); err != nil {
			return err
		}
	}
	return nil
}

func removeSegment(directory string, number int) error {
	return os.Remove(walLibrary.SegmentName(directory, number))
}

// hasUnfinishedCheckpoint: a writer died before it wrote the header, which comes last.
func hasUnfinishedCheckpoint(directory string) (bool, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return false, err
	}
	finished, err := wal.Checkpoints(directory)
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		part, isPart := strings.CutPrefix(entry.Name(), "checkpoint.")
		number, _, isPart2 := strings.Cut(part, ".")
		if !isPart || !isPart2 {
			continue
		}
		if n, err := strconv.Atoi(number); err == nil && !slices.Contains(finished, n) {
			return true, nil
		}
	}
	return false, nil
}

// compareFiles says what is different in files that are in both directories.
func compareFiles(a, b string, names []string) error {
	for _, name := range names {
		one, err := os.ReadFile(filepath.Join(a, name))
		if err != nil {
			return err
		}
		other, err := os.ReadFile(filepath.Join(b, name))
		if err != nil {
			return err
		}
		if !bytes.Equal(one, other) {
			offset := 0
			for offset < min(len(one), len(other)) && one[offset] == other[offset] {
				offset++
			}
			return fmt.Errorf("%s is different from byte %d on: %d bytes in %s, %d in %s", name,
				offset, len(one), a, len(other), b)
		}
	}
	return nil
}

// filesOf returns names in order, without the lock.
func filesOf(directory string) ([]string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != ".lock" {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
