// SPDX-License-Identifier: Apache-2.0
package ledgerd

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

const memoryCanBeShared = true

// Where a file can be replaced by huge pages the kernel says so; those are no plain memfds.
const tmpfsMagic = unix.TMPFS_MAGIC

// From here on one call that maps all pages is cheaper than a fault for every few of them.
const populateBytes = 256 << 10

// sharedMemory is a memfd of this process's, mapped to be written.
type sharedMemory struct {
	file  *os.File
	bytes []byte
}

// newSharedMemory commits every page: a shortage is an error here and no signal later.
func newSharedMemory(size uint64) (memory *sharedMemory, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return nil, err
	}
	if size > limit.Cur || size > math.MaxInt {
		return nil, fmt.Errorf("%d bytes are over the limit for files (ulimit -f)", size)
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	// Where the machine refuses executable memfds the flag is required; old kernels do not know it.
	fd, err := unix.MemfdCreate("ledgerd-request", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("ledgerd-request", flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "memfd")
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	if err := commit(fd, int64(size)); err != nil {
		return nil, os.NewSyscallError("fallocate", err)
	}
	const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, os.NewSyscallError("fcntl(F_ADD_SEALS)", err)
	}
	bytes, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &sharedMemory{file, bytes}, nil
}

// commit goes in steps: a signal, of which Go's runtime sends many, makes the kernel give back all
// that one call has done.
func commit(fd int, size int64) error {
	const step = 64 << 20
	for at := int64(0); at < size; {
		err := unix.Fallocate(fd, 0, at, min(step, size-at))
		if err == nil {
			at += step
		} else if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return nil
}

func (m *sharedMemory) close() {
	unmap(m.bytes)
	m.bytes = nil
	m.file.Close()
}

// mapArena maps the first `size` bytes of a server's memfd, and closes it. It must be one that can
// neither shrink under the mapping nor be something else than memory.
func mapArena(file *os.File, size uint64) (*mapping, error) {
	defer file.Close()
	fd := file.Fd()
	var system unix.Statfs_t
	if err := unix.Fstatfs(int(fd), &system); err != nil {
		return nil, os.NewSyscallError("fstatfs", err)
	}
	var status unix.Stat_t
	if err := unix.Fstat(int(fd), &status); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	seals, err := unix.FcntlInt(fd, unix.F_GET_SEALS, 0)
	if err != nil || system.Type != tmpfsMagic || seals&unix.F_SEAL_SHRINK == 0 {
		return nil, protocolError("an arena that is no memfd, or may shrink (seals %#x)", seals)
	}
	if size == 0 || size > math.MaxInt || status.Size < 0 || size > uint64(status.Size) {
		return nil, protocolError("an arena said to have %d bytes has %d", size, status.Size)
	}
	bytes, err := unix.Mmap(int(fd), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return newMapping(bytes), nil
}

// unmap cannot fail: what is passed was mapped as a whole.
func unmap(bytes []byte) { _ = unix.Munmap(bytes) }

// populate maps pages that are about to be read at once. It is only advice.
func populate(bytes []byte, offset, length uint64) {
	if length < populateBytes {
		return
	}
	begin := offset &^ uint64(os.Getpagesize()-1)
	_ = unix.Madvise(bytes[begin:offset+length], unix.MADV_POPULATE_READ)
}
