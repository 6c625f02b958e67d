// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/onflow/flow-go/ledger/remote"
)

const (
	startLimit = 10 * time.Minute // A replay of millions of registers takes minutes.
	pollPeriod = time.Millisecond
)

// service is flow-go's ledger service in a process of its own, and a client of it.
type service struct {
	binary  string
	folder  string // Holds the ledger directory, the socket and the log.
	forest  int
	process *exec.Cmd
	ended   chan error
	client  *remote.Client
}

// start returns once the service has answered a call.
func (s *service) start() error {
	socket := filepath.Join(s.folder, "ledger.sock")
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.process = exec.Command(s.binary,
		"-triedir", filepath.Join(s.folder, "trie"),
		"-ledger-service-socket", socket,
		"-mtrie-cache-size", strconv.Itoa(s.forest),
		"-loglevel", "warn")
	s.process.Stderr = log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return err
	}
	s.ended = make(chan error, 1)
	go func() { s.ended <- s.process.Wait() }()

	// The socket is there once the replay is over.
	deadline := time.Now().Add(startLimit)
	for {
		connection, err := net.Dial("unix", socket)
		if err == nil {
			connection.Close()
			break
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			return fmt.Errorf("the service ended before it served: %v; its log: %s", err, s.log())
		case <-time.After(pollPeriod):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the service does not serve after %v; its log: %s", startLimit, s.log())
		}
	}
	logger := zerolog.New(os.Stderr).Level(zerolog.ErrorLevel)
	s.client, err = remote.NewClient(socket, logger)
	if err != nil {
		return err
	}
	s.client.InitialState() // Ends the process if it fails.
	return nil
}

func (s *service) stop() error {
	<-s.client.Done()
	if err := s.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := <-s.ended; err != nil {
		return fmt.Errorf("the service did not end cleanly: %w; its log: %s", err, s.log())
	}
	return nil
}

// kill is for ends that are not clean. The process may have ended already.
func (s *service) kill() {
	if s.process != nil && s.process.Process != nil {
		_ = s.process.Process.Kill()
	}
}

func (s *service) log() string {
	text, err := os.ReadFile(filepath.Join(s.folder, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// memory is what the service holds, in bytes: anonymous memory. (It makes no memfds.)
func (s *service) memory() (uint64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if err != nil {
		return 0, err
	}
	for _, line := range bytes.Split(status, []byte("\n")) {
		if rest, ok := strings.CutPrefix(string(line), "RssAnon:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no RssAnon in the status of process %d", s.process.Process.Pid)
}
