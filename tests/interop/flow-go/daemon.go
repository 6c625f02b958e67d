// SPDX-License-Identifier: Apache-2.0
package interop

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// daemon is a ledgerd process that serves flow-go's gRPC service, over a Unix socket and over TCP, and
// ledgerd's own.
type daemon struct {
	socket, tcp string
	capnp       string
	process     *exec.Cmd
}

const listeningOnTCP = "gRPC server listening on TCP"

// startDaemon returns once it serves. It is stopped at the end of the test.
func startDaemon(t *testing.T, program string, flags ...string) *daemon {
	t.Helper()
	// A socket's path holds 107 bytes: not in t.TempDir().
	directory, err := os.MkdirTemp("", "ledgerd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	ready, readyInput, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Close()

	d := &daemon{socket: filepath.Join(directory, "grpc"), capnp: filepath.Join(directory, "capnp")}
	d.process = exec.Command(program, append([]string{
		"--triedir", filepath.Join(directory, "triedir"),
		"--socket", d.capnp,
		"--ledger-service-socket", d.socket,
		"--ledger-service-tcp", "127.0.0.1:0",
		"--ready-fd", "3",
	}, flags...)...)
	d.process.ExtraFiles = []*os.File{readyInput}
	d.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := d.process.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.process.Start(); err != nil {
		t.Fatal(err)
	}
	readyInput.Close()

	// The log is read to its end, so that it never fills its pipe.
	addresses, lines := make(chan string, 1), make(chan []string, 1)
	go func() {
		var all []string
		for scanner := bufio.NewScanner(log); scanner.Scan(); {
			all = append(all, scanner.Text())
			var line struct{ Message, Address string }
			if json.Unmarshal(scanner.Bytes(), &line) == nil {
				if line.Message == listeningOnTCP {
					addresses <- line.Address
				}
			}
		}
		close(addresses)
		lines <- all
	}()
	t.Cleanup(func() {
		d.process.Process.Signal(syscall.SIGTERM)
		all := <-lines
		if err := d.process.Wait(); err != nil {
			t.Errorf("ledgerd: %v\n%s", err, strings.Join(all, "\n"))
		}
	})
	said, err := io.ReadAll(ready)
	if err != nil || string(said) != "ready\n" {
		t.Fatal(fmt.Errorf("ledgerd is not ready: %q, %w", said, err))
	}
	d.tcp = <-addresses
	return d
}
