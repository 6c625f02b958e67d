// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package ledgerd

import (
	"context"
	"errors"
	"os"
)

// There are memfds on Linux only.
const memoryCanBeShared = false

type sharedMemory struct {
	file  *os.File
	bytes []byte
}

func newSharedMemory(uint64) (*sharedMemory, error) { return nil, errors.ErrUnsupported }
func (m *sharedMemory) close()                      {}
func mapArena(*os.File, uint64) (*mapping, error)   { return nil, errors.ErrUnsupported }
func unmap([]byte)                                  {}
func populate(_ []byte, _, _ uint64)                {}
func takeDescriptor(context.Context, string, []byte) (*os.File, error) {
	return nil, errors.ErrUnsupported
}
func giveDescriptor(context.Context, string, []byte, *os.File) error { return errors.ErrUnsupported }
