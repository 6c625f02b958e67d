// SPDX-License-Identifier: Apache-2.0

//go:build linux

package ledgerd_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	ledgerd "ledgerd/client/go"
)

// The environment names what the tests run: LEDGERD is a ledgerd, LEDGERD_GOLDEN the directory of
// flow-go's golden data.
var program, golden string

// address is the socket of the ledger that the examples use.
var address string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	program, golden = os.Getenv("LEDGERD"), os.Getenv("LEDGERD_GOLDEN")
	if program == "" || golden == "" {
		fmt.Fprintln(os.Stderr, "LEDGERD must be the path of //server:ledgerd, LEDGERD_GOLDEN what "+
			"tools/unpack-golden prints")
		return 1
	}
	server, err := newServer()
	if err == nil {
		err = server.start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	address = server.socket
	code := m.Run()
	if err := server.end(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// server is a ledgerd on a directory of its own, which can be started again and again.
type server struct {
	directory, socket string
	process           *exec.Cmd // Nil: it does not run.
	log               bytes.Buffer
}

func newServer() (*server, error) {
	// A socket's path holds 107 bytes: not a test's own directory.
	directory, err := os.MkdirTemp("", "ledgerd-")
	return &server{directory: directory, socket: filepath.Join(directory, "socket")}, err
}

// start returns once it serves.
func (s *server) start(flags ...string) error {
	ready, input, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	s.log.Reset()
	s.process = exec.Command(program, append([]string{"--triedir", filepath.Join(s.directory, "triedir"),
		"--socket", s.socket, "--ready-fd", "3"}, flags...)...)
	s.process.ExtraFiles = []*os.File{input}
	s.process.Stderr = &s.log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = s.process.Start()
	input.Close()
	if err != nil {
		s.process = nil
		return err
	}
	if said, err := io.ReadAll(ready); err != nil || string(said) != "ready\n" {
		s.signal(syscall.SIGKILL)
		return fmt.Errorf("ledgerd is not ready: %q, %v\n%s", said, err, s.log.Bytes())
	}
	return nil
}

// freeze returns once it stands still, until SIGCONT.
func (s *server) freeze(t *testing.T) {
	t.Helper()
	s.process.Process.Signal(syscall.SIGSTOP)
	await(t, "the server's threads to stop", func() bool {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.process.Process.Pid))
		for _, file := range files {
			text, err := os.ReadFile(file)
			_, state, _ := bytes.Cut(text, []byte(") "))
			if err != nil || !bytes.HasPrefix(state, []byte("T")) {
				return false
			}
		}
		return err == nil && len(files) > 0
	})
}

// signal ends it with SIGTERM or SIGKILL.
func (s *server) signal(how syscall.Signal) error {
	s.process.Process.Signal(how)
	err := s.process.Wait()
	s.process = nil
	return err
}

// end is a clean stop.
func (s *server) end() error {
	defer os.RemoveAll(s.directory)
	if s.process == nil {
		return nil
	}
	if err := s.signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("ledgerd: %w\n%s", err, s.log.Bytes())
	}
	return nil
}

func startServer(t *testing.T, flags ...string) *server {
	t.Helper()
	s, err := newServer()
	if err == nil {
		err = s.start(flags...)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t *testing.T, options ledgerd.Options) *ledgerd.Client {
	t.Helper()
	client, err := ledgerd.Connect(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// must fails the test at once on an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// await waits for what others do; what never comes fails the test.
func await(t *testing.T, what string, isThere func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !isThere() {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
		runtime.Gosched()
	}
}

// expectNoGoroutines: what a client started ends with it.
func expectNoGoroutines(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	await(t, "the end of all goroutines", func() bool {
		for _, stack := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			isTest := strings.Contains(stack, "testing.tRunner")
			if !isTest && strings.Contains(stack, "capnproto.org/go/capnp") ||
				!isTest && strings.Contains(stack, "ledgerd/client/go.") {
				return false
			}
		}
		return true
	})
}

func register(i int) ledgerd.Key {
	return ledgerd.RegisterKey([]byte("accounts"), fmt.Appendf(nil, "register %d", i))
}

// registers are `count` keys and values of `size` bytes, unlike each other.
func registers(count, size int) (keys []ledgerd.Key, values [][]byte) {
	for i := range count {
		keys = append(keys, register(i))
		values = append(values, bytes.Repeat(fmt.Appendf(nil, "%08d", i), (size+7)/8)[:size])
	}
	return keys, values
}
